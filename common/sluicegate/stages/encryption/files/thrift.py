"""The part of Apache Thrift's compact protocol that the footer of a Parquet file takes.

Values are read into plain dictionaries by field number, within bounds. A library that reads
whole Parquet files ends the interpreter when it is asked about a column whose key it lacks;
what is needed here is only the footer. Source: Apache Thrift, ``thrift-compact-protocol.md``.
"""

from __future__ import annotations

from typing import Any, Final

from sluicegate.stages.encryption.files.structure import MalformedError

__all__ = ["read_struct"]

_DEEPEST: Final = 16
"""Structures nest in structures so deep at most; Parquet's footer takes seven levels."""
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS: Final = (4, 5, 6)


def read_struct(data: bytes, start: int = 0) -> tuple[dict[int, Any], int]:
    """Read one structure.

    Returns:
        Its fields by number (booleans, integers, bytes, lists, dictionaries), and where it ends.

    Raises:
        MalformedError: these bytes are no structure.
    """
    try:
        return _struct(data, start, 0)
    except IndexError as error:
        raise MalformedError("its metadata ends before its structure does") from error


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > _DEEPEST:
        raise MalformedError("its metadata is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            raw, at = _varint(data, at)
            number = _signed(raw)
        kind = head & 0x0F
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        raw, at = _varint(data, at)
        return _signed(raw), at
    if kind == _BINARY:
        length, at = _varint(data, at)
        return _take(data, at, length)
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    if kind in (_LIST, _SET):
        return _list(data, at, depth)
    if kind in (_TRUE, _FALSE, _BYTE):
        return data[at], at + 1
    if kind == _DOUBLE:
        return _take(data, at, 8)
    if kind == _MAP:
        return _map(data, at, depth)
    raise MalformedError("its metadata has a field of unknown type")


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    count = head >> 4
    if count == 15:
        count, at = _varint(data, at)
    if count > len(data) - at:
        raise MalformedError("its metadata has a list longer than itself")
    values = []
    for _ in range(count):
        value, at = _value(data, at, head & 0x0F, depth + 1)
        values.append(value)
    return values, at


def _map(data: bytes, at: int, depth: int) -> tuple[None, int]:
    """Pass over a map: Parquet's footer has none."""
    count, at = _varint(data, at)
    if not count:
        return None, at
    if count > len(data) - at:
        raise MalformedError("its metadata has a map longer than itself")
    kinds = data[at]
    at += 1
    for _ in range(count):
        _, at = _value(data, at, kinds >> 4, depth + 1)
        _, at = _value(data, at, kinds & 0x0F, depth + 1)
    return None, at


def _take(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if length > len(data) - at:
        raise MalformedError("its metadata ends before its structure does")
    return data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise MalformedError("its metadata has a number of more than 64 bits")


def _signed(raw: int) -> int:
    return (raw >> 1) ^ -(raw & 1)
