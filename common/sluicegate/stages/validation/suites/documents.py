"""Suite files as values: JSON, or YAML that says no more than JSON can.

YAML has tags that build objects, aliases a few lines of which expand to gigabytes, keys that
occur twice, and words that are booleans to some readers and text to others. What is read here
is the part without any of them. Values are made of the parser's events, one by one and
without recursion, so that neither depth nor size can take the process down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.canonical import Json, parse_json
from sluicegate.errors import ConfigurationError

__all__ = ["Document", "read_document"]

MAX_BYTES: Final = 4 << 20
"""Largest suite file: a hundred thousand categories of forty characters fit."""

MAX_VALUES: Final = 100_000
"""Most values in one file, of which each takes part in every later check. Reading so many
from YAML takes about a CPU second."""

_MAX_MARKS: Final = 3 * MAX_VALUES
"""Most commas and brackets in a JSON file, counted before it is parsed: each could begin a
value that takes twenty times its space in memory. Texts may hold some too."""

_MAX_KEY: Final = 1_000
"""Longest key, in characters: keys are repeated in messages."""

_MAX_DEPTH: Final = 100
"""Deepest nesting: far more than a suite uses, far less than would overflow a stack."""

_MAX_LINES: Final = 20_000
_MAX_PATH: Final = 300
"""Places that are remembered for messages; what is deeper or later is named by its parent."""

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,38})")
_FLOAT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,4})?")
_NULLS: Final = ("", "~", "null")
_KNOWN_TAGS: Final = {"tag:yaml.org,2002:" + word: word for word in
                      ("null", "bool", "int", "float", "str", "timestamp")}  # fmt: skip


@dataclass(slots=True)
class Document:
    """A value, and where its parts stand if the file's language has readable lines."""

    value: Json
    lines: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, by JSON path; empty for JSON."""

    def place(self, path: str) -> str:
        """Return ``line 3, column 5`` of the nearest part that contains a path, or nothing."""
        while path:
            if path in self.lines:
                return "line {}, column {}".format(*self.lines[path])
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return ""


def read_document(data: bytes, *, name: str = "") -> Document:
    """Read a suite file into plain values.

    Args:
        data: its bytes, UTF-8 encoded.
        name: its file name: one that ends in ``.yaml`` or ``.yml`` is YAML whatever it
            begins with. Otherwise a brace or a bracket begins JSON.

    Raises:
        ConfigurationError: too large, not UTF-8, neither JSON nor YAML, or beyond what is
            read of them.
    """
    if len(data) > MAX_BYTES:
        raise _refused(f"larger than {MAX_BYTES:,} bytes: found {len(data):,}", "split the suite")
    yaml = name.lower().endswith((".yaml", ".yml")) or data.lstrip()[:1] not in (b"{", b"[")
    if not yaml and sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MAX_MARKS:
        raise _refused(f"larger than {MAX_VALUES:,} values", "split the suite")
    try:
        text = data.decode("utf-8")
        document = _yaml(text) if yaml else Document(parse_json(text))
    except UnicodeDecodeError as error:
        raise _refused(f"not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        what = str(error)
        plain = yaml or what.startswith(("not ", "nested "))
        raise _refused(what if plain else f"not plain JSON: {what}") from error
    _check_values(document)
    return document


def _refused(what: str, next_step: str = "") -> ConfigurationError:
    return ConfigurationError(
        f"the validation suite is {what}",
        next_step=next_step
        or "check the file with a validator; it must be UTF-8, without duplicate keys",
    )


def _check_values(document: Document) -> None:
    """Bound what every later step walks over, and refuse text that cannot be written."""
    pending, seen = [document.value], 0
    while pending:
        item = pending.pop()
        seen += 1
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            for key in item:
                _check_text(key)
                if len(key) > _MAX_KEY:
                    raise _refused(f"one with a key of more than {_MAX_KEY:,} characters")
            pending += item.values()
        if seen + len(pending) > MAX_VALUES:
            raise _refused(f"larger than {MAX_VALUES:,} values", "split the suite")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused("not valid Unicode: a text holds half of a surrogate pair") from None


def _yaml(text: str) -> Document:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"neither JSON nor YAML{at}: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise ValueError(f"neither JSON nor YAML at line {line}: {error.reason}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"neither JSON nor YAML: {type(error).__name__}") from error
    return builder.document()


class _Builder:
    """Plain values out of the events of a YAML stream."""

    def __init__(self) -> None:
        self._open: list[tuple[Any, str]] = []
        self._keys: list[str | None] = []
        self._lines: dict[str, tuple[int, int]] = {}
        self._roots: list[Json] = []
        self._noted = 0

    def document(self) -> Document:
        """Return what was built.

        Raises:
            ValueError: nothing was, or more than one document.
        """
        if len(self._roots) != 1:
            found = "empty" if not self._roots else "several YAML documents in one file"
            raise ValueError(found)
        return Document(self._roots[0], self._lines)

    def take(self, event: Any) -> None:
        """Take in the next event of the parser.

        Raises:
            ValueError: it is beyond JSON.
        """
        kind = type(event).__name__
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise self._fail(event, "an alias or an anchor: write the value out")
        if getattr(event, "tag", None):
            raise self._fail(event, "a tag: write plain values")
        if kind == "ScalarEvent":
            self._scalar(event)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._start(event, {} if kind == "MappingStartEvent" else [])
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._open.pop()
            self._keys.pop()

    def _start(self, event: Any, value: Json) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise self._fail(event, f"nested more than {_MAX_DEPTH} deep")
        if self._awaits_key():
            raise self._fail(event, "a key that is not text")
        path = self._place(event, value)
        self._open.append((value, path))
        self._keys.append(None)

    def _scalar(self, event: Any) -> None:
        if self._awaits_key():
            self._key(event)
        else:
            self._place(event, self._plain(event))

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1][0], dict) and self._keys[-1] is None

    def _key(self, event: Any) -> None:
        key, (mapping, path) = event.value, self._open[-1]
        if event.implicit[0] and key in ("<<", "="):
            raise self._fail(event, f"the key {key!r}, which merges mappings")
        if event.implicit[0] and not isinstance(self._plain(event), str):
            raise self._fail(event, "a key that is not text: put it in quotes")
        if key in mapping:
            raise self._fail(event, f"a key that occurs twice in one mapping: {key[:80]!r}")
        self._keys[-1] = key
        # Where a key stands is where people look for its value.
        self._note(event, _within(path, f".{key}"))

    def _place(self, event: Any, value: Json) -> str:
        if not self._open:
            self._roots.append(value)
            self._note(event, "$")
            return "$"
        parent, path = self._open[-1]
        if isinstance(parent, dict):
            key = self._keys[-1]
            parent[key] = value
            self._keys[-1] = None
            return _within(path, f".{key}")
        path = _within(path, f"[{len(parent)}]")
        parent.append(value)
        self._note(event, path)
        return path

    def _note(self, event: Any, path: str) -> None:
        self._noted += 1
        if self._noted > MAX_VALUES:
            raise self._fail(event, f"more than {MAX_VALUES:,} values")
        if path and len(self._lines) < _MAX_LINES:
            self._lines[path] = (event.start_mark.line + 1, event.start_mark.column + 1)

    def _plain(self, event: Any) -> Json:
        """Return the value of a scalar that every reader of YAML reads alike."""
        text = str(event.value)
        if not event.implicit[0]:
            return text
        kind = _resolved(text)
        if kind == "null" and text in _NULLS:
            return None
        if kind == "bool" and text in ("true", "false"):
            return text == "true"
        if kind == "int" and _INTEGER.fullmatch(text):
            return int(text)
        if kind in ("float", "str") and _FLOAT.fullmatch(text):
            value = float(text)
            if not math.isfinite(value):
                raise self._fail(event, "a number beyond the range of floats")
            return value
        if kind in ("str", "timestamp"):
            return text
        raise self._fail(
            event, f"{text[:80]!r}, which readers of YAML take for different values: write true, "
            "false, null or a decimal number, or put it in quotes",
        )  # fmt: skip

    def _fail(self, event: Any, what: str) -> ValueError:
        mark = event.start_mark
        return ValueError(f"not plain YAML at line {mark.line + 1}, column {mark.column + 1}: "
                          f"it holds {what}")  # fmt: skip


def _within(path: str, part: str) -> str:
    """Return the path of a part, or nothing where paths get too long to keep for each part."""
    longer = len(path) + len(part)
    return f"{path}{part}" if path and longer <= _MAX_PATH else ""


def _resolved(text: str) -> str:
    """Return what YAML 1.1 takes a plain scalar for."""
    import yaml

    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    candidates = resolvers.get(text[:1], []) if text else resolvers.get("", [])
    for tag, pattern in candidates:
        if pattern.match(text):
            return _KNOWN_TAGS.get(tag, "other")
    return "str"
