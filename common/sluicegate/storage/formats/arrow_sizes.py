"""How large the messages of an Arrow IPC file become, before any is inflated.

Each compressed buffer of a message begins with its inflated size, which the reader allocates
and then fills. Where the buffers lie is in a FlatBuffers table, of which as much is read here
as that takes. Source: Arrow columnar format 1.5, "Serialization and Interprocess
Communication", and ``File.fbs``, ``Message.fbs``; the FlatBuffers binary format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Final

__all__ = ["inflated_bytes"]

_MAGIC: Final = b"ARROW1"
_MOST_METADATA: Final = 16 << 20
"""Longest metadata of one message or footer: that of some hundred thousand columns."""


def inflated_bytes(source: IO[bytes]) -> int:
    """Return the inflated size of the largest message of a file.

    Raises:
        ValueError: this is no Arrow IPC file.
    """
    size = source.seek(0, 2)
    source.seek(max(0, size - 10))
    tail = source.read(10)
    if size < 20 or tail[4:] != _MAGIC:
        raise ValueError("no Arrow IPC file")
    length = int.from_bytes(tail[:4], "little", signed=True)
    footer = _Table.root(_read(source, size - 10 - length, length))
    blocks = [block for field in (2, 3) for block in footer.structs(field, "<qixxxxq")]
    return max((_inflated(source, *block) for block in blocks), default=0)


def _inflated(source: IO[bytes], start: int, metadata: int, body: int) -> int:
    head = _read(source, start, min(metadata, _MOST_METADATA + 1))
    head = head[8:] if head[:4] == b"\xff\xff\xff\xff" else head[4:]
    message = _Table.root(head)
    batch = message.table(2)
    if message.number(1, "<B") == 2:  # a dictionary: its values are a record batch
        batch = batch.table(1) if batch else None
    if batch is None or not batch.has(3):  # not compressed
        return body
    total = 0
    for offset, size in batch.structs(2, "<qq"):
        if size >= 8 and 0 <= offset <= body:
            inflated = struct.unpack("<q", _read(source, start + metadata + offset, 8))[0]
            total += size if inflated < 0 else inflated  # -1: this buffer is as it is
    return total


def _read(source: IO[bytes], start: int, size: int) -> bytes:
    if start < 0 or not 0 <= size <= _MOST_METADATA:
        raise ValueError("no Arrow IPC file")
    source.seek(start)
    data = source.read(size)
    if len(data) != size:
        raise ValueError("an Arrow IPC file is cut off")
    return data


class _Table:
    """One FlatBuffers table; every position is checked by ``struct``."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, 0).follow(0)

    def _unpack(self, form: str, at: int) -> int:
        try:
            return int(struct.unpack_from(form, self._data, at)[0]) if at >= 0 else -1
        except struct.error as error:
            raise ValueError("no Arrow IPC file") from error

    def follow(self, at: int) -> _Table:
        return _Table(self._data, at + self._unpack("<I", at))

    def _field(self, index: int) -> int:
        """Return where a field is, 0 if it is not there."""
        known = self._at - self._unpack("<i", self._at)
        if known < 0 or 4 + 2 * index >= self._unpack("<H", known):
            return 0
        offset = self._unpack("<H", known + 4 + 2 * index)
        return self._at + offset if offset else 0

    def has(self, index: int) -> bool:
        return bool(self._field(index))

    def number(self, index: int, form: str) -> int:
        at = self._field(index)
        return self._unpack(form, at) if at else 0

    def table(self, index: int) -> _Table | None:
        at = self._field(index)
        return self.follow(at) if at else None

    def structs(self, index: int, form: str) -> Iterator[tuple[int, ...]]:
        at = self._field(index)
        if not at:
            return
        start = at + self._unpack("<I", at)
        count, size = self._unpack("<I", start), struct.calcsize(form)
        if start + 4 + count * size > len(self._data):
            raise ValueError("no Arrow IPC file")
        for one in range(count):
            yield struct.unpack_from(form, self._data, start + 4 + one * size)
