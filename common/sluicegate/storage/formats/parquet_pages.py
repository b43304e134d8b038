"""Parquet pages: what the headers of the pages say, which the decoder has to keep to.

A footer is the writer's word, and nothing checks its sizes. A page's header is another matter:
its page is inflated into as many bytes as the header says, or refused. So the headers bound
what decoding some rows can cost, before it is done. Source: Apache Parquet format 2.11,
``PageHeader``, in the Thrift compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

__all__ = ["Page", "walk_pages"]

DICTIONARY: Final = 2
"""``PageType.DICTIONARY_PAGE``."""
_DATA: Final = (0, 3)
"""``PageType.DATA_PAGE`` and ``DATA_PAGE_V2``."""

_INTEGERS: Final = (4, 5, 6)
"""Types of the compact protocol: i16, i32 and i64."""

_HEADER: Final = 1 << 9
"""Bytes read for a header at first: statistics of long values can make it longer."""
_LONGEST_HEADER: Final = 8 << 20
_DEEPEST: Final = 8
"""Structures inside of structures; the format has three levels."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a column chunk."""

    kind: int
    """``PageType``."""
    size: int
    """Bytes, inflated."""
    values: int
    """Values, nulls among them."""
    encoding: int
    """``Encoding`` of the values."""


def walk_pages(source: IO[bytes], start: int, size: int) -> Iterator[Page]:
    """Yield the pages of a column chunk, reading their headers only.

    Args:
        source: the file.
        start: where the chunk begins.
        size: its bytes in the file.

    Raises:
        ValueError: this is not a chain of pages.
    """
    end = start + size
    while start < end:
        fields, length = _header(source, start)
        kind, inflated, stored = (_number(fields, at) for at in (1, 2, 3))
        inner = fields.get({0: 5, DICTIONARY: 7, 3: 8}.get(kind, -1), {})
        if not isinstance(inner, dict):
            raise ValueError("a page header lacks a structure")  # noqa: TRY004  the bytes are wrong
        values = _number(inner, 1) if inner else 0
        encoding = _number(inner, 4 if kind == 3 else 2) if inner else 0
        if kind in _DATA or kind == DICTIONARY:
            yield Page(kind, inflated, values, encoding)
        start += length + stored
    if start != end:
        raise ValueError("a page reaches beyond its column chunk")


def _number(fields: dict[int, Any], at: int) -> int:
    number = fields.get(at)
    if not isinstance(number, int) or number < 0:
        raise ValueError("a page header lacks a number")
    return number


def _header(source: IO[bytes], start: int) -> tuple[dict[int, Any], int]:
    size = _HEADER
    while True:
        source.seek(start)
        data = source.read(size)
        try:
            parser = _Compact(data)
            return parser.struct(), parser.at
        except IndexError:
            if len(data) < size or size >= _LONGEST_HEADER:
                raise ValueError("a page header is cut off") from None
            size *= 16


class _Compact:
    """Reads one structure of the Thrift compact protocol; IndexError where data ends."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields by their ids; skipped ones (text, lists) as None."""
        if depth > _DEEPEST:
            raise ValueError("a page header is nested too deep")
        fields: dict[int, Any] = {}
        data, name = self._data, 0
        while head := data[self.at]:
            self.at += 1
            name = name + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[name] = self._signed() if kind in _INTEGERS else self._value(kind, depth)
        self.at += 1
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 12:
            return self.struct(depth + 1)
        if kind == 3:
            self._skip(1)
        elif kind == 7:
            self._skip(8)
        elif kind == 8:
            self._skip(self._varint())
        else:  # lists, sets and maps do not occur in page headers
            raise ValueError("a page header holds an unknown type")
        return None

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def _signed(self) -> int:
        """Read a number, and undo the zigzag."""
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        value, shift = byte & 127, 7
        while byte > 127:
            if shift > 63:
                raise ValueError("a number in a page header is too long")
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
        return value
