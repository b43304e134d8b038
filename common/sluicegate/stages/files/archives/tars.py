"""Tar archives: every header, every member, and nothing behind the end.

Links are refused even where they point inside: a data set has no use for them, and readers
differ in what they make of a link to a link. Sparse members are unreadable here.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar,
"Basic Tar Format"; CWE-22, CWE-59; CVE-2007-4559.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sluicegate.stages.files.archives.names import Names
from sluicegate.stages.files.examination import (
    Examination,
    MalformedError,
    Place,
)
from sluicegate.stages.files.signatures import is_tar
from sluicegate.stages.files.views import View

__all__ = ["walk_tar"]

RECORD: Final = 512
"""Bytes of a tar record."""

LONGEST_HEADER: Final = 1 << 20
"""Bytes of an extended header: a name and a few numbers."""

_SPECIAL: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
}

Inspect = Callable[[View, Place, Examination], None]
"""What each member is given to."""


@dataclass(slots=True)
class _Walk:
    """What extended headers said about the next member, and about all."""

    names: Names = field(default_factory=Names)
    next: dict[str, str] = field(default_factory=dict)
    all: dict[str, str] = field(default_factory=dict)

    def take(self) -> dict[str, str]:
        said, self.next = self.all | self.next, {}
        return said


def walk_tar(view: View, place: Place, found: Examination, inspect: Inspect) -> None:
    """Look at every member and inspect it.

    Raises:
        MalformedError: a header is broken, or a member is cut off.
        ExceededError: a limit is reached.
    """
    at, walk = 0, _Walk()
    while at < view.size:
        block = view.at(at, RECORD)
        if not block.strip(b"\0"):
            _see_end(view, at, place, found)
            return
        if not is_tar(block):
            raise MalformedError(f"a tar archive with no valid header at byte {at}")
        found.count_entry()
        at += RECORD + _member(view, at, block, walk, place, found, inspect)
    if at > view.size:
        raise MalformedError("a tar archive that is cut off")


def _member(
    view: View,
    at: int,
    block: bytes,
    walk: _Walk,
    place: Place,
    found: Examination,
    inspect: Inspect,
) -> int:
    """Look at one member; return how many bytes follow its header, padded to records."""
    kind, size = block[156:157], _number(block[124:136])
    if kind in (b"x", b"g", b"L", b"K"):
        if size > LONGEST_HEADER:
            raise MalformedError(f"an extended tar header of {size} bytes")
        _remember(walk, kind, view.at(at + RECORD, size))
        return _padded(size)
    said = walk.take()
    if "size" in said:
        size = _decimal(said["size"])
    if size > view.size - at - RECORD:
        raise MalformedError("a tar member that reaches beyond the archive")
    inside = place.inside(said.get("path") or _name(block), archive=True)
    _see_member(kind, inside, walk, found)
    if kind == b"S" or any(key.startswith("GNU.sparse") for key in said):
        found.unknown("files.readable", inside.says("a sparse member, which is not read here"))
    elif kind in (b"0", b"\0", b"7") and not inside.name.endswith("/"):
        found.spend(0)
        inspect(view.part(at + RECORD, size), inside, found)
    return _padded(size)


def _see_member(kind: bytes, inside: Place, walk: _Walk, found: Examination) -> None:
    name = inside.name.removeprefix("./")
    folder = kind == b"5" or name.endswith("/")
    if name and (problem := walk.names.problem(name, folder=folder)):
        found.fail("files.paths", inside.says(problem))
    if kind in _SPECIAL:
        found.fail("files.paths", inside.says(f"{_SPECIAL[kind]} in a tar archive"))
    elif kind not in (b"0", b"\0", b"5", b"7", b"S"):
        found.unknown("files.readable", inside.says("a tar member of a kind not known here"))


def _remember(walk: _Walk, kind: bytes, data: bytes) -> None:
    if kind == b"L":
        walk.next["path"] = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    elif kind == b"x":
        walk.next |= _records(data)
    elif kind == b"g":
        walk.all |= _records(data)


def _records(data: bytes) -> dict[str, str]:
    """Read pax records: ``length key=value`` and a line feed."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        digits = data[at : at + 12].partition(b" ")[0]
        length = _decimal(digits.decode("latin-1"))
        record = data[at + len(digits) + 1 : at + length]
        key, mark, value = record.partition(b"=")
        if length <= len(digits) + 1 or not mark or not value.endswith(b"\n"):
            raise MalformedError("an extended tar header that is broken")
        text = value[:-1].decode("utf-8", "surrogateescape")
        found[key.decode("utf-8", "replace")] = text
        at += length
    return found


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise MalformedError("a tar header with a size that is no number")
    return int(text)


def _number(field_: bytes) -> int:
    """Read a number: octal digits, or base 256 as GNU tar writes large ones."""
    if field_[0] == 0x80:
        return int.from_bytes(field_[1:], "big")
    text = field_.strip(b" \0")
    if field_[0] & 0x80 or any(digit not in b"01234567" for digit in text):
        raise MalformedError("a tar header with a size that is no number")
    return int(text or b"0", 8)


def _name(block: bytes) -> str:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    whole = prefix + b"/" + name if prefix else name
    return whole.decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // RECORD) * RECORD


def _see_end(view: View, at: int, place: Place, found: Examination) -> None:
    for block in view.blocks(at):
        found.tick()
        if block.strip(b"\0"):
            message = place.says("bytes behind the end of the tar archive")
            found.fail("files.polyglot", message)
            return
