"""The text of a policy file, and where lines can be put into it.

Positions come from the nodes that PyYAML composes; nothing is parsed here by hand but the
few characters before an entry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final, NoReturn

import yaml

from sluicegate.errors import PolicyError
from sluicegate.policy.model import TrustedKey
from sluicegate.receipts.keys import PublicKey

__all__ = ["KeyEntry", "PolicyText"]

_ITEM: Final = re.compile(r"( *)-( +)")
"""What stands before the first key of an entry, in the style that can be edited."""
_ODD_LINES: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
"""Line ends to YAML 1.1 that editors do not show as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """An entry of ``keys``, as it is written."""

    name: str
    file: str
    """Of the public key, relative to the policy's folder."""
    stages: tuple[str, ...]
    subjects: tuple[str, ...] = ("*",)
    approvers: tuple[str, ...] = ()
    not_before: date | None = None
    not_after: date | None = None

    def lines(self) -> list[str]:
        """Return the lines of the entry, without indentation."""
        found = [
            f"name: {_write(self.name)}",
            f"file: {_write(self.file)}",
            f"stages: {_write(list(self.stages))}",
        ]
        if self.subjects != ("*",):
            found.append(f"subjects: {_write(list(self.subjects))}")
        if self.approvers:
            found.append(f"approvers: {_write(list(self.approvers))}")
        if self.not_before:
            found.append(f"not_before: {self.not_before.isoformat()}")
        if self.not_after:
            found.append(f"not_after: {self.not_after.isoformat()}")
        return found

    def text(self) -> str:
        """Return the entry as it would be pasted below ``keys:``."""
        return _indented(self.lines(), dash=2, gap=1, end="\n")

    def trusted(self, base: Path) -> TrustedKey:
        """Return what the policy must hold once the entry is in it.

        Raises:
            KeyFileError: the public key cannot be read.
        """
        return TrustedKey(
            name=self.name,
            key=PublicKey.load(base / self.file),
            stages=self.stages,
            subjects=self.subjects,
            approvers=self.approvers,
            not_before=_moment(self.not_before, time.min),
            not_after=_moment(self.not_after, time.max),
        )


def _moment(day: date | None, at: time) -> datetime | None:
    return datetime.combine(day, at, tzinfo=UTC) if day else None


def _write(value: str | list[str]) -> str:
    """Write a text or a list of texts on one line, quoted where YAML needs it."""
    written = yaml.safe_dump(
        value if isinstance(value, list) else [value],
        default_flow_style=True,
        allow_unicode=True,
        width=1 << 30,
    ).strip()
    return written if isinstance(value, list) else written[1:-1]


def _indented(lines: Sequence[str], *, dash: int, gap: int, end: str) -> str:
    """Return the lines of an entry whose dash stands at a column."""
    first, *rest = lines
    head = f"{' ' * dash}-{' ' * gap}{first}{end}"
    return head + "".join(f"{' ' * (dash + 1 + gap)}{line}{end}" for line in rest)


class PolicyText:
    """The text of a policy file, and where its ``keys`` stand."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._text = content.decode("utf-8")
        self._end = "\r\n" if "\r\n" in self._text else "\n"
        if not self._text.endswith("\n"):
            self._text += self._end
        self._changes: list[tuple[int, int, int, str]] = []
        """Where each begins, its number, where what it replaces ends, and the new text."""
        self._wanted: list[str] = []
        # PyYAML's own reader counts characters, libyaml's bytes.
        root = yaml.compose(self._text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise PolicyError(f"{path}: expected a mapping")
        self._root = root
        self._node = next((value for key, value in root.value if key.value == "keys"), None)

    def revoke(self, number: int, at: int) -> None:
        """Note that the entry with this number becomes revoked."""
        line = f"revoked_at: {at}"
        self._wanted.append(f"in entry {number + 1} of keys: {line}")
        item = self._items()[number]
        for key, value in item.value:
            if key.value == "revoked_at":
                self._put(value.start_mark.index, value.end_mark.index, str(at))
                return
        _, column = self._style(item)
        position = self._after(item, column)
        self._put(position, position, f"{' ' * column}{line}{self._end}")

    def add(self, entry: KeyEntry) -> None:
        """Note that an entry is added at the end."""
        self._wanted.append(f"below keys:\n{entry.text()}")
        if self._node is None:
            if self._root.flow_style or self._root.start_mark.column:
                self._refuse("its top level is not in block style")
            position = self._after(self._root, 0)
            lines = _indented(entry.lines(), dash=2, gap=1, end=self._end)
            self._put(position, position, f"{self._end}keys:{self._end}{lines}")
            return
        last = self._items()[-1]
        dash, column = self._style(last)
        position = self._after(last, column)
        lines = _indented(entry.lines(), dash=dash, gap=column - dash - 1, end=self._end)
        self._put(position, position, lines)

    def content(self) -> bytes:
        """Return the changed text.

        Raises:
            PolicyError: the file's line ends, or its last line, allow no safe edit.
        """
        if _ODD_LINES.search(self._text) or (
            self._end == "\r\n" and re.search("(?<!\r)\n", self._text)
        ):
            self._refuse("it mixes several kinds of line ends")
        text = self._text
        # From the end, so that what stands before keeps its place. Of two at one place, the
        # one that was noted first stays first.
        for start, _, stop, new in sorted(self._changes, reverse=True):
            text = text[:start] + new + text[stop:]
        return text.encode("utf-8")

    def paste(self) -> str:
        """Return what a person would have to write."""
        return "write it by hand, " + "; ".join(self._wanted)

    def _items(self) -> list[yaml.MappingNode]:
        node = self._node
        if not isinstance(node, yaml.SequenceNode) or node.flow_style or not node.value:
            self._refuse("its keys are not a list in block style")
        if any(not isinstance(item, yaml.MappingNode) for item in node.value):
            self._refuse("its keys are not mappings")
        return list(node.value)

    def _style(self, item: yaml.MappingNode) -> tuple[int, int]:
        """Return the columns of an entry's dash and of its keys."""
        start = item.start_mark.index
        match = _ITEM.fullmatch(self._text[self._text.rfind("\n", 0, start) + 1 : start])
        # A tag or an anchor would stand between the dash and the first key.
        if item.flow_style or not match or item.value[0][0].start_mark.index != start:
            self._refuse("an entry of its keys is not in block style, begun beside its dash")
        return len(match.group(1)), item.start_mark.column

    def _after(self, node: yaml.Node, column: int) -> int:
        """Return where the line after a node begins, behind its own comments."""
        position = self._line_after(max(_last(node).end_mark.index - 1, 0))
        while column and position < len(self._text):
            line = self._text[position : self._line_after(position)]
            indent = len(line) - len(line.lstrip(" "))
            if not line[indent:].startswith("#") or indent < column:
                break
            position = self._line_after(position)
        return position

    def _line_after(self, position: int) -> int:
        end = self._text.find("\n", position)
        return len(self._text) if end < 0 else end + 1

    def _put(self, start: int, stop: int, new: str) -> None:
        self._changes.append((start, len(self._changes), stop, new))

    def _refuse(self, why: str) -> NoReturn:
        raise PolicyError(
            f"{self._path} cannot be edited safely: {why}; it is unchanged", next_step=self.paste()
        )


def _last(node: yaml.Node) -> yaml.Node:
    """Return the node at the end of a node: where block collections end is not exact."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node
