"""Strict reading of YAML: every error names the file, the line and the key.

YAML is composed into nodes and read by type. Nothing is constructed that was not asked
for: no tags, no aliases (a few lines of which expand to gigabytes), no duplicate keys, no
keys that nobody reads.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final, NoReturn

import yaml

from sluicegate.errors import PolicyError

__all__ = ["Node", "near_miss", "read_yaml"]

_DURATION: Final = re.compile(r"([0-9]{1,6})\s*(s|m|h|d|w)")
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same language either way; libyaml's reader is an order of magnitude faster."""
_MAX_DEPTH: Final = 50
"""Far deeper than any policy; libyaml's composer crashes the process at some ten thousand."""
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def near_miss(word: str, known: Collection[str]) -> str:
    """Return `` (did you mean 'x'?)`` when a known word is close to ``word``, else nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value, with where it stands."""

    raw: yaml.Node
    file: str
    key: str
    """Dotted path from the top, for messages."""

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.raw.start_mark.line + 1}"

    def fail(self, expected: str, next_step: str = "") -> NoReturn:
        """Refuse this value.

        Raises:
            PolicyError: always.
        """
        raise PolicyError(
            f"{self.where}: {self.key or 'the policy'}: {expected}", next_step=next_step
        )

    def mapping(self, known: Collection[str] | None = None) -> dict[str, Node]:
        """Read a mapping whose keys are text.

        Args:
            known: the keys that may occur; None allows any.

        Raises:
            PolicyError: not a mapping, a duplicate or an unknown key.
        """
        if not isinstance(self.raw, yaml.MappingNode):
            self.fail(f"expected a mapping, found {_describe(self.raw)}")
        values: dict[str, Node] = {}
        for raw_key, raw_value in self.raw.value:
            name = raw_key.value if isinstance(raw_key, yaml.ScalarNode) else "?"
            child = Node(raw_value, self.file, f"{self.key}.{name}".lstrip("."))
            at = Node(raw_key, self.file, child.key)
            if not isinstance(raw_key, yaml.ScalarNode):
                at.fail("a key must be text")
            if name in values:
                at.fail("this key occurs twice")
            if known is not None and name not in known:
                at.fail(
                    f"unknown key{near_miss(name, known)}",
                    f"the keys here are: {', '.join(sorted(known))}",
                )
            values[name] = child
        return values

    def required(self, values: dict[str, Node], name: str) -> Node:
        """Return a member that must be there.

        Raises:
            PolicyError: it is missing.
        """
        if name not in values:
            self.fail(f"the key {name!r} is missing")
        return values[name]

    def items(self) -> Iterator[Node]:
        """Read a list.

        Raises:
            PolicyError: not a list.
        """
        if not isinstance(self.raw, yaml.SequenceNode):
            self.fail(f"expected a list, found {_describe(self.raw)}")
        for number, raw in enumerate(self.raw.value):
            yield Node(raw, self.file, f"{self.key}[{number}]")

    def text(self) -> str:
        """Read text that is not empty.

        Raises:
            PolicyError: something else.
        """
        value = self._scalar("str", "text")
        if not value.strip():
            self.fail("must not be empty")
        return value

    def choice(self, allowed: Iterable[str]) -> str:
        """Read one of several words.

        Raises:
            PolicyError: another word.
        """
        words, value = list(allowed), self.text()
        if value not in words:
            known = ", ".join(words)
            self.fail(f"found {value!r}{near_miss(value, words)}", f"use one of: {known}")
        return value

    def integer(self, *, least: int = 0) -> int:
        """Read a whole number.

        Raises:
            PolicyError: not one, or below ``least``.
        """
        value = self._scalar("int", "a whole number")
        if not _DECIMAL.fullmatch(value):  # 010 is 8 to some readers and 10 to others
            self.fail(f"expected a whole number in decimal digits, found {value!r}")
        number = int(value)
        if number < least:
            self.fail(f"must be at least {least}, found {number}")
        return number

    def number(self) -> float:
        """Read a finite number.

        Raises:
            PolicyError: not one.
        """
        kind = "float" if self._is("float") else "int"
        text = self._scalar(kind, "a number")
        try:
            value = float(self.integer(least=-(2**53)) if kind == "int" else text)
        except ValueError:
            self.fail(f"expected a finite number in decimal digits, found {text!r}")
        if not math.isfinite(value):
            self.fail("must be finite")
        return value

    def share(self) -> float:
        """Read a share: a number from 0 to 1, or a percentage such as ``5%``.

        Raises:
            PolicyError: neither, or outside of the range.
        """
        raw = self.raw.value if isinstance(self.raw, yaml.ScalarNode) else ""
        if isinstance(raw, str) and raw.endswith("%"):
            try:
                value = float(raw[:-1]) / 100
            except ValueError:
                self.fail(f"expected a percentage, found {raw!r}")
        else:
            value = self.number()
        if not 0 <= value <= 1:
            self.fail(f"a share lies between 0 and 1, or 0% and 100%; found {raw!r}")
        return value

    def boolean(self) -> bool:
        """Read ``true`` or ``false``.

        Raises:
            PolicyError: anything else, also YAML's ``yes`` and ``on``.
        """
        value = self._scalar("bool", "true or false")
        if value not in ("true", "false"):
            self.fail(f"write true or false, not {value!r}")
        return value == "true"

    def duration(self) -> timedelta:
        """Read a duration such as ``30m``, ``12h``, ``7d`` or ``2w``.

        Raises:
            PolicyError: anything else, or zero.
        """
        raw = self.raw.value if isinstance(self.raw, yaml.ScalarNode) else None
        match = _DURATION.fullmatch(raw) if isinstance(raw, str) else None
        if match is None or not int(match.group(1)):
            self.fail("expected a duration such as 12h, 7d or 2w")
        return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})

    def date(self) -> date:
        """Read a date, ``YYYY-MM-DD``.

        Raises:
            PolicyError: anything else.
        """
        raw = self.raw.value if isinstance(self.raw, yaml.ScalarNode) else None
        try:
            if raw is None or not _DATE.fullmatch(raw):
                raise ValueError("not YYYY-MM-DD")
            return date.fromisoformat(raw)
        except (ValueError, TypeError):
            self.fail("expected a date, YYYY-MM-DD")

    def end_of_date(self) -> datetime:
        """Read a date as the last moment of that day, UTC.

        Raises:
            PolicyError: not a date.
        """
        return datetime.combine(self.date(), time.max, tzinfo=UTC)

    def start_of_date(self) -> datetime:
        """Read a date as the first moment of that day, UTC.

        Raises:
            PolicyError: not a date.
        """
        return datetime.combine(self.date(), time.min, tzinfo=UTC)

    def plain(self) -> object:
        """Read any value as plain Python: for options whose type a stage decides.

        Raises:
            PolicyError: a mapping, or a scalar of a type that options do not have.
        """
        if isinstance(self.raw, yaml.SequenceNode):
            return tuple(item.plain() for item in self.items())
        if self._is("int"):
            return self.integer(least=-(2**53))
        if self._is("float"):
            return self.number()
        if self._is("bool"):
            return self.boolean()
        return self.text()

    def _is(self, kind: str) -> bool:
        return self.raw.tag == f"tag:yaml.org,2002:{kind}"

    def _scalar(self, kind: str, expected: str) -> str:
        if not isinstance(self.raw, yaml.ScalarNode) or not self._is(kind):
            self.fail(f"expected {expected}, found {_describe(self.raw)}")
        return str(self.raw.value)


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    words = {
        "str": "text",
        "int": "a number",
        "float": "a number",
        "bool": "a boolean",
        "null": "nothing",
        "timestamp": "a date",
    }
    return words.get(str(node.tag).rpartition(":")[2], "something else")


def read_yaml(path: Path) -> Node:
    """Read a YAML file into nodes.

    Raises:
        PolicyError: unreadable, not YAML, empty, several documents, or with aliases.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path} is not UTF-8 at byte {error.start}") from error
    try:
        _refuse_aliases_and_depths(text, path)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = mark.line + 1 if (mark := error.problem_mark) else 1
        raise PolicyError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes, PyYAML's own reader characters: the same but for rare text.
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise PolicyError(f"{path}:{line}: not YAML: {error.reason}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise PolicyError(f"{path}: not YAML: {type(error).__name__}") from error
    if root is None:
        raise PolicyError(f"{path} is empty", next_step="run `sluicegate init` for a start")
    return Node(root, str(path), "")


def _refuse_aliases_and_depths(text: str, path: Path) -> None:
    """Refuse what the composer would expand, or recurse into until the process dies."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif not isinstance(event, yaml.AliasEvent):
            continue
        line = mark.line + 1 if (mark := event.start_mark) else 1
        if depth > _MAX_DEPTH:
            raise PolicyError(f"{path}:{line}: nested more than {_MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            raise PolicyError(
                f"{path}:{line}: aliases are not allowed in a policy",
                next_step="write the value out",
            )
