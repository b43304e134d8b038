"""The directory of a zip archive, and the local headers it should agree with.

Every reader believes one of the two, and not all the same one. So both are read here, and
whatever differs is said.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sluicegate.stages.files.examination import MalformedError, UnreadableError
from sluicegate.stages.files.views import View

__all__ = ["Directory", "Entry", "Local", "entries_of", "read_directory", "read_local"]

LARGEST: Final = 64 << 20
"""Longest directory read, in bytes; room for about half a million entries."""

_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"
_LOCATOR64: Final = b"PK\x06\x07"
_CENTRAL: Final = b"PK\x01\x02"
_LOCAL: Final = b"PK\x03\x04"
_FULL: Final = 0xFFFFFFFF
_UTF8: Final = 0x800
_STREAMED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the directory says of one member."""

    name: str
    raw_name: bytes
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    """The file mode of Unix, 0 if the entry holds none."""
    odd_name: str
    """Another name in an extra field, which some readers use; empty if there is none."""

    @property
    def encrypted(self) -> bool:
        """Whether its bytes are encrypted, in any of the ways."""
        return bool(self.flags & 1) or bool(self.flags & 0x40) or self.method == 99

    def agrees(self, local: Local) -> bool:
        """Whether checksum and sizes are those in front of the bytes, as far as they are there.

        A reader that does not wait for the directory believes those in front.
        """
        pairs = zip((self.crc, self.packed, self.size), local.numbers, strict=True)
        unsaid = (_FULL, 0) if local.flags & _STREAMED else (_FULL,)
        return all(mine == theirs or theirs in unsaid for mine, theirs in pairs)

    @property
    def folder(self) -> bool:
        """Whether it is a folder by its name."""
        return self.name.endswith("/")

    @property
    def special(self) -> str:
        """What it is if neither file nor folder (``link``, ``device``); else empty."""
        kind = stat.S_IFMT(self.mode)
        if kind == stat.S_IFLNK:
            return "a symbolic link"
        return "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "a device or a pipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """What stands in front of the bytes of one member."""

    raw_name: bytes
    method: int
    flags: int
    numbers: tuple[int, int, int]
    """Checksum and both sizes; zeros if they follow the bytes."""
    start: int
    """Where its bytes begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where the directory lies, and how much is around it."""

    start: int
    size: int
    end: int
    """Where the archive ends, comment and all."""
    count: int
    shift: int
    """Bytes in front of the archive, by which all offsets are off."""
    records: int
    """Where the end records begin: right behind the directory, or there is a gap."""


def read_directory(view: View) -> Directory:
    """Find the directory.

    Raises:
        MalformedError: there is none, or it lies outside of the file.
        UnreadableError: it is too large, or the archive is split over several files.
    """
    tail = view.tail(65557)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise MalformedError("a zip archive without a directory")
    disk, disk_start, here, count, size, offset, comment = struct.unpack_from(
        "<4H2IH", tail, at + 4
    )
    place = view.size - len(tail) + at
    records = place
    if count == 0xFFFF or size == _FULL or offset == _FULL:
        records, count, size, offset = _zip64(view, place, (count, size, offset))
    elif disk or disk_start or here != count:
        raise UnreadableError("a zip archive that is split over several files")
    if size > LARGEST:
        raise UnreadableError(f"a zip directory of {size} bytes, more than {LARGEST}")
    start = records - size
    if start < 0 or offset > start:
        raise MalformedError("a zip directory that lies outside of the file")
    shift = start - offset
    if count and view.at(offset, 4) == _CENTRAL and view.at(start, 4) != _CENTRAL:
        start, shift = offset, 0  # something lies between the directory and its end record
    return Directory(
        start=start,
        size=size,
        end=place + 22 + comment,
        count=count,
        shift=shift,
        records=records,
    )


def _zip64(view: View, place: int, plain: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Read the larger end record, if there is one; the plain one may mean what it says."""
    locator = view.at(place - 20, 20)
    if not locator.startswith(_LOCATOR64):
        return (place, *plain)
    where = struct.unpack_from("<Q", locator, 8)[0]
    for at in (where, place - 76):
        record = view.at(at, 56)
        if record.startswith(_END64) and len(record) == 56:
            count, size, offset = struct.unpack_from("<3Q", record, 32)
            return at, count, size, offset
    raise MalformedError("a zip64 archive without its end record")


def entries_of(view: View, directory: Directory) -> Iterator[Entry]:
    """Yield what the directory says, entry by entry.

    Raises:
        MalformedError: it is broken, or holds another number of entries than it says.
    """
    data = view.at(directory.start, directory.size)
    at, seen = 0, 0
    while at < len(data):
        if data[at : at + 4] != _CENTRAL or at + 46 > len(data):
            raise MalformedError("a zip directory with something between its entries")
        fields = struct.unpack_from("<2H2H4xI2I3H2H2I", data, at + 4)
        lengths = fields[7:10]
        stop = at + 46 + sum(lengths)
        if stop > len(data):
            raise MalformedError("a zip directory that is cut off")
        yield _entry(data[at + 46 : stop], fields, directory.shift)
        at, seen = stop, seen + 1
    if seen != directory.count:
        raise MalformedError(f"a zip directory of {seen} entries that claims {directory.count}")


def _entry(rest: bytes, fields: tuple[int, ...], shift: int) -> Entry:
    made, _, flags, method, crc, packed, size, name, extra, _, _, _, attributes, offset = fields
    raw = rest[:name]
    more = dict(_extra_fields(rest[name : name + extra]))
    big = more.get(1, b"")
    values = []
    for value in (size, packed, offset):
        if value == _FULL and len(big) >= 8:
            value, big = int.from_bytes(big[:8], "little"), big[8:]
        values.append(value)
    shown = _decoded(raw, flags)
    other = more.get(0x7075, b"")[5:].decode("utf-8", "replace")
    return Entry(
        name=shown,
        raw_name=raw,
        method=method,
        flags=flags,
        crc=crc,
        size=values[0],
        packed=values[1],
        offset=values[2] + shift,
        mode=attributes >> 16 if made >> 8 in (3, 19) or attributes >> 16 else 0,
        odd_name=other if other and other != shown else "",
    )


def _decoded(raw: bytes, flags: int) -> str:
    """Return a name as text. Bytes that are no UTF-8 are read in code page 437, as readers do."""
    if flags & _UTF8 or raw.isascii():
        return raw.decode("utf-8", "surrogateescape")
    return raw.decode("cp437")


def _extra_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        tag, size = struct.unpack_from("<2H", data, at)
        yield tag, data[at + 4 : at + 4 + size]
        at += 4 + size


def read_local(view: View, entry: Entry) -> Local:
    """Read the header in front of a member's bytes.

    Raises:
        MalformedError: there is none where the directory says.
    """
    head = view.at(entry.offset, 30)
    if len(head) < 30 or not head.startswith(_LOCAL):
        raise MalformedError("an entry of the zip directory that points at no entry")
    flags, method = struct.unpack_from("<2H", head, 6)
    crc, packed, size = struct.unpack_from("<3I", head, 14)
    name, extra = struct.unpack_from("<2H", head, 26)
    return Local(
        raw_name=view.at(entry.offset + 30, name),
        method=method,
        flags=flags,
        numbers=(crc, packed, size),
        start=entry.offset + 30 + name + extra,
    )
