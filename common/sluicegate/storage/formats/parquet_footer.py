"""Parquet footers: where column chunks lie and how many rows they are to hold.

pyarrow has the same, and some of what it asks of a damaged footer ends the process: an error in
the statistics of a column is raised where nothing catches it. Nothing here is believed: the
headers of the pages are held against it. Source: Apache Parquet format 2.11, ``FileMetaData``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any, Final

from sluicegate.storage.formats.thrift import Compact

__all__ = ["Chunk", "RowGroup", "read_footer"]

_MAGIC: Final = b"PAR1"
_LONGEST: Final = 64 << 20
"""As much of a footer as pyarrow is allowed to take."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group."""

    start: int
    """Where its first page begins; 0 if it has none."""
    size: int
    """Bytes in the file."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Some consecutive rows."""

    rows: int
    chunks: tuple[Chunk, ...]
    """One for each leaf column, in the order of the schema."""


def read_footer(source: IO[bytes]) -> tuple[RowGroup, ...]:
    """Return the row groups that a file says it has.

    Raises:
        ValueError: this is no footer, or a column is encrypted.
    """
    end = source.seek(0, 2)
    source.seek(max(0, end - 8))
    tail = source.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or not 0 < length <= min(_LONGEST, end - 8):
        raise ValueError("it has no footer")
    source.seek(end - 8 - length)
    try:
        fields = Compact(source.read(length)).struct()
    except IndexError:
        raise ValueError("its footer is cut off") from None
    groups = fields.get(4, [])
    if not isinstance(groups, list):
        raise ValueError("its footer lacks the list of row groups")  # noqa: TRY004  wrong bytes
    return tuple(_group(one) for one in groups)


def _group(fields: Any) -> RowGroup:
    columns = fields.get(1) if isinstance(fields, dict) else None
    if not isinstance(columns, list):
        raise ValueError("a row group in its footer lacks columns")  # noqa: TRY004  wrong bytes
    return RowGroup(_number(fields, 3), tuple(_chunk(one) for one in columns))


def _chunk(fields: Any) -> Chunk:
    known = fields.get(3) if isinstance(fields, dict) else None
    if not isinstance(known, dict):
        raise ValueError("a column in its footer is encrypted, or not described")  # noqa: TRY004
    offsets = [_number(known, 9)] + ([_number(known, 11)] if 11 in known else [])
    return Chunk(min((at for at in offsets if at), default=0), _number(known, 7))


def _number(fields: dict[int, Any], at: int) -> int:
    number = fields.get(at)
    if not isinstance(number, int) or number < 0:
        raise ValueError("its footer lacks a number")
    return number
