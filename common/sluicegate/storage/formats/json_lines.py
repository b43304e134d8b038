"""JSON Lines: one JSON object a line, UTF-8."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json, parse_json
from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.base import CONTENT, Limits, check_ordinals, chosen, unreadable
from sluicegate.storage.formats.column_types import JsonColumn

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

__all__ = ["JsonLines"]

_MAX_LINE: Final = 16 << 20
"""Longest line, in bytes: as Python objects it takes up to thirty times as much."""

_MAX_MEMBERS: Final = 100_000
"""Most different members of a file's objects: more columns are no table."""

_PIECE: Final = 16 << 20
"""Bytes of lines that are Python objects at one time."""


class JsonLines:
    """One object a line.

    Parsed with the standard library: a parser that a deeply nested line cannot crash.
    """

    suffixes = (".jsonl", ".ndjson")

    def read(
        self,
        source: IO[bytes],
        *,
        name: str,
        limits: Limits,
        columns: Collection[str] | None = None,
    ) -> pandas.DataFrame:
        """Parse line by line; see :class:`Format`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "tables", "a JSON Lines file") from error
        rows, size = [], 0
        for number, line in _lines(source, name):
            size += len(line)
            if size > limits.max_decoded_bytes:
                raise SubjectError(f"{name} is larger than {limits.max_decoded_bytes:,} bytes")
            rows.append(_parse(line, number, name))
        if not rows:
            raise unreadable(name, "JSON Lines", "it holds no objects")
        try:
            frame = pd.DataFrame.from_records(rows)
        except (ValueError, TypeError, OverflowError) as error:
            raise unreadable(name, "JSON Lines", type(error).__name__) from error
        if len(frame) != len(rows):
            raise unreadable(name, "JSON Lines", "its objects have no members")
        names = chosen(list(frame.columns), columns)
        return frame if names is None else frame[names]

    def survey(self, source: IO[bytes], *, name: str) -> pa.Schema:
        """Parse all lines for the types of their members; see :class:`Format`."""
        import pyarrow as pa

        columns: dict[str, JsonColumn] = {}
        rows = 0
        for number, line in _lines(source, name):
            rows += 1
            for key, value in _parse(line, number, name).items():
                column = columns.get(key)
                if column is None:
                    if len(columns) == _MAX_MEMBERS:
                        raise unreadable(name, "JSON Lines", f"over {_MAX_MEMBERS:,} members")
                    column = columns[key] = JsonColumn()
                column.take(value)
        if not rows:
            raise unreadable(name, "JSON Lines", "it holds no objects")
        if not columns:
            raise unreadable(name, "JSON Lines", "its objects have no members")
        fields = []
        for key, column in columns.items():
            kind, metadata = column.type_in(rows)
            fields.append(pa.field(key, kind, metadata=metadata))
        return pa.schema(fields)

    def batches(
        self,
        source: IO[bytes],
        *,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str],
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """Parse some megabytes of lines at a time; see :class:`Format`."""
        fields = [schema.field(column) for column in columns]
        held: list[dict[str, Json]] = []
        size = 0
        for number, line in _lines(source, name):
            held.append(_parse(line, number, name))
            size += len(line)
            if len(held) == rows or size >= _PIECE:
                yield _batch(held, fields, name)
                held, size = [], 0
        if held:
            yield _batch(held, fields, name)

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Copy each line's own bytes to one side or the other; see :class:`Format`."""
        unwanted, rows = set(drop), 0
        for rows, (number, line) in enumerate(_lines(source, name), start=1):
            _parse(line, number, name)
            (removed if rows - 1 in unwanted else kept).write(line)
        check_ordinals(drop, rows, name)
        return rows

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield nothing for the columns, then each line; see :class:`Format`."""
        yield b""
        for number, line in _lines(source, name):
            _parse(line, number, name)
            yield line.strip(b"\r\n")


def _batch(rows: list[dict[str, Json]], fields: list[pa.Field], name: str) -> pa.RecordBatch:
    import pyarrow as pa

    try:
        arrays = [_array([row.get(one.name) for row in rows], one) for one in fields]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise unreadable(name, "JSON Lines", type(error).__name__) from error
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _array(values: list[Json], one: pa.Field) -> pa.Array:
    import pyarrow as pa

    ready: list[Any] = values
    if CONTENT in (one.metadata or {}):
        ready = [_text(value) for value in values]
    elif pa.types.is_floating(one.type):
        ready = [float(value) if isinstance(value, int) else value for value in values]
    return pa.array(ready, type=one.type)


def _text(value: Json) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _lines(source: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := source.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise unreadable(name, "JSON Lines", f"line {number} is over {_MAX_LINE:,} bytes")
        if line.strip():
            yield number, line if line.endswith(b"\n") else line + b"\n"


def _parse(line: bytes, number: int, name: str) -> dict[str, Json]:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise unreadable(name, "JSON Lines", f"line {number}: {error}") from error
    if not isinstance(value, dict):
        raise unreadable(name, "JSON Lines", f"line {number} is not an object")
    return value
