"""The compact protocol of Thrift, as far as Parquet uses it.

Source: Apache Thrift, "Thrift Compact protocol encoding".
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["Compact"]

_INTEGERS: Final = (4, 5, 6)
"""Types of the protocol: i16, i32 and i64."""

_DEEPEST: Final = 12
"""Structures inside of structures; a footer has seven levels."""


class Compact:
    """Reads one structure of the Thrift compact protocol; IndexError where data ends."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields by their ids; skipped ones (text, floats) as None."""
        if depth > _DEEPEST:
            raise ValueError("its structures are nested too deep")
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
        elif kind in (9, 10):
            return self._list(depth)
        else:  # maps occur nowhere in Parquet
            raise ValueError("it holds an unknown type")
        return None

    def _list(self, depth: int) -> list[Any]:
        """Return the elements of a list or set; of texts and numbers, None for each."""
        head = self._data[self.at]
        self.at += 1
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self._varint()
        if size > len(self._data) - self.at:  # each takes a byte at least
            raise IndexError
        if kind in (1, 2):
            self._skip(size)
            return [None] * size
        return [
            self._signed() if kind in _INTEGERS else self._value(kind, depth) for _ in range(size)
        ]

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
                raise ValueError("a number in it is too long")
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
        return value
