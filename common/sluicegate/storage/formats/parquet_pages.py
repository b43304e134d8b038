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

from sluicegate.storage.formats.thrift import Compact

__all__ = ["Page", "walk_pages"]

DICTIONARY: Final = 2
"""``PageType.DICTIONARY_PAGE``."""
_DATA: Final = (0, 3)
"""``PageType.DATA_PAGE`` and ``DATA_PAGE_V2``."""

_HEADER: Final = 1 << 9
"""Bytes read for a header at first: statistics of long values can make it longer."""
_LONGEST_HEADER: Final = 8 << 20


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
            parser = Compact(data)
            return parser.struct(), parser.at
        except ValueError as error:
            raise ValueError(f"a page header is damaged: {error}") from None
        except IndexError:
            if len(data) < size or size >= _LONGEST_HEADER:
                raise ValueError("a page header is cut off") from None
            size *= 16
