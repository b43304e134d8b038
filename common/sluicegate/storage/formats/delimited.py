"""Comma- and tab-separated text (RFC 4180), with one header line, UTF-8."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.base import (
    CONTENT,
    HEADER,
    Limits,
    check_ordinals,
    chosen,
    unreadable,
)
from sluicegate.storage.formats.column_types import MIXED, join_csv_types

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

__all__ = ["Delimited"]

_MAX_FIELD: Final = 16 << 20
"""Longest field, in characters, and longest line, in bytes. The csv module's own limit,
128 KiB, is short for text; while a field is parsed it takes four bytes a character."""

_MAX_RECORD: Final = 64 << 20
"""Longest record, in characters, with the blank lines before it."""

_MAX_LINES: Final = 1 << 20
"""Most lines of one record, with the blank lines before it."""

_PIECE: Final = 16 << 20
"""Characters of text that are parsed at one time."""

_PIECE_ROWS: Final = 1 << 16
_PIECES: Final = b"sluicegate.pieces"
"""Key of a schema's metadata: how many rows to parse at one time, as ``[[rows, times], …]``."""

_NUMBER: Final = r"^\s*[+-]?[0-9]{19,}\s*$"
"""Integers that may be beyond 64 bits: pandas reads such columns in ways of its own."""


class Delimited:
    """Text with one record a line; quoted fields may hold line breaks.

    Rows are split without being parsed and written again: what is kept is kept byte for
    byte.
    """

    def __init__(self, delimiter: str, *suffixes: str) -> None:
        """Read files with these endings, whose fields are separated by ``delimiter``."""
        self.delimiter = delimiter
        self.suffixes = suffixes

    def read(
        self,
        source: IO[bytes],
        *,
        name: str,
        limits: Limits,
        columns: Collection[str] | None = None,
    ) -> pandas.DataFrame:
        """Parse with pandas; the record count must match our own; see :class:`Format`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "tables", "a CSV file") from error
        records = sum(1 for _ in self._records(source, name)) - 1
        source.seek(0)
        try:
            frame = pd.read_csv(
                source,
                sep=self.delimiter,
                encoding="utf-8",
                low_memory=False,
                index_col=False,
                usecols=self._chosen(source, columns),
            )
        except (ValueError, pd.errors.ParserError, OverflowError) as error:
            raise unreadable(name, "delimited text", type(error).__name__) from error
        if len(frame) != records:
            raise unreadable(
                name,
                "delimited text",
                f"two parsers disagree on the number of rows ({len(frame)} and {records})",
            )
        if int(frame.memory_usage(deep=False).sum()) > limits.max_decoded_bytes:
            raise SubjectError(f"{name} decodes to more than {limits.max_decoded_bytes:,} bytes")
        return frame

    def _chosen(self, source: IO[bytes], columns: Collection[str] | None) -> list[str] | None:
        """Return the columns to read, by the names that pandas gives them."""
        import pandas as pd

        if columns is None:
            return None
        header = pd.read_csv(source, sep=self.delimiter, encoding="utf-8", index_col=False, nrows=0)
        source.seek(0)
        return chosen([str(name) for name in header.columns], columns)

    def survey(self, source: IO[bytes], *, name: str) -> pa.Schema:
        """Read all rows twice: for their records, and for the types; see :class:`Format`."""
        import pyarrow as pa

        header, pieces = self._pieces(source, name)
        kinds: dict[str, list[str]] = {}
        for frame in self._frames(source, name, pieces):
            for at, column in enumerate(frame.columns):
                kinds.setdefault(str(column), []).append(_kind(frame.iloc[:, at]))
        if len(kinds) != len(header):
            raise unreadable(name, "delimited text", "two parsers disagree on the columns")
        fields = [
            _field(column, join_csv_types(found), raw)
            for (column, found), raw in zip(kinds.items(), header, strict=True)
        ]
        return pa.schema(fields, metadata={_PIECES: json.dumps(_packed(pieces))})

    def batches(
        self,
        source: IO[bytes],
        *,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str],
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """Parse with the types that the whole file has; see :class:`Format`."""
        import pyarrow as pa

        packed = json.loads(schema.metadata[_PIECES])
        pieces = [size for size, times in packed for _ in range(times)]
        fields = [schema.field(column) for column in columns]
        dtypes = {field.name: _dtype(field) for field in fields}
        for frame in self._frames(source, name, pieces, dtype=dtypes, usecols=list(columns)):
            arrays = [_array(frame[field.name], field, name) for field in fields]
            batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
            for at in range(0, batch.num_rows, rows):
                yield batch.slice(at, rows)

    def _pieces(self, source: IO[bytes], name: str) -> tuple[list[str], list[int]]:
        """Return the header, and how many rows can be parsed at one time, again and again."""
        records = self._records(source, name)
        text = next(records).decode("utf-8-sig")
        header = next(fields for fields in csv.reader([text], delimiter=self.delimiter) if fields)
        pieces, rows, size = [], 0, 0
        for record in records:
            rows += 1
            size += len(record)
            if rows == _PIECE_ROWS or size >= _PIECE:
                pieces.append(rows)
                rows = size = 0
        return header, [*pieces, rows] if rows else pieces

    def _frames(
        self, source: IO[bytes], name: str, pieces: Sequence[int], **options: Any
    ) -> Iterator[pandas.DataFrame]:
        """Parse piece by piece; the header alone, if there are no rows."""
        import pandas as pd

        source.seek(0)
        try:
            with pd.read_csv(
                source,
                sep=self.delimiter,
                encoding="utf-8",
                low_memory=False,
                index_col=False,
                iterator=True,
                **options,
            ) as reader:
                for rows in pieces or [1]:
                    frame = reader.get_chunk(rows)
                    if len(frame) != (rows if pieces else 0):
                        raise _disagree(name)
                    yield frame
                if pieces and len(reader.get_chunk(1)):
                    raise _disagree(name)
        except StopIteration:
            return
        except (ValueError, pd.errors.ParserError, OverflowError) as error:
            raise unreadable(name, "delimited text", type(error).__name__) from error

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Copy each record's own bytes to one side or the other; see :class:`Format`."""
        records = self._records(source, name)
        header = next(records)
        kept.write(header)
        removed.write(header)
        unwanted, rows = set(drop), 0
        for rows, record in enumerate(records, start=1):
            (removed if rows - 1 in unwanted else kept).write(record)
        check_ordinals(drop, rows, name)
        return rows

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield the header and each record as it is written; see :class:`Format`."""
        for record in self._records(source, name):
            yield record.strip(b"\r\n")

    def _records(self, source: IO[bytes], name: str) -> Iterator[bytes]:
        """Yield the raw bytes of each record, the header first, blank lines attached."""
        taken: list[str] = []
        width, number, size = 0, 0, 0

        def lines() -> Iterator[str]:
            for line in _text_lines(source, name):
                if "\x00" in line:
                    raise unreadable(name, "delimited text", "it holds NUL bytes")
                taken.append(line)
                nonlocal size
                size += len(line)
                if size > _MAX_RECORD or len(taken) > _MAX_LINES:
                    raise unreadable(name, "delimited text", "a record is too long")
                yield line

        csv.field_size_limit(_MAX_FIELD)
        try:
            for fields in csv.reader(lines(), delimiter=self.delimiter, strict=True):
                if not fields:
                    continue  # a blank line: stays with the record that follows
                width = width or len(fields)
                if len(fields) != width:  # readers drop, fill or shift: each sees other data
                    raise unreadable(
                        name,
                        "delimited text",
                        f"row {number} has {len(fields)} fields, the header {width}",
                    )
                number += 1
                yield "".join(taken).encode()
                taken.clear()
                size = 0
        except UnicodeDecodeError as error:
            raise unreadable(name, "delimited text", "it is not UTF-8") from error
        except csv.Error as error:
            raise unreadable(name, "delimited text", str(error)) from error
        if not width:
            raise unreadable(name, "delimited text", "it has no header line")


def _text_lines(source: IO[bytes], name: str) -> Iterator[str]:
    """Decode line by line, keeping line ends, and leave the file open."""
    while line := source.readline(_MAX_FIELD + 1):
        if len(line) > _MAX_FIELD:
            raise unreadable(name, "delimited text", f"a line is over {_MAX_FIELD:,} bytes")
        yield line.decode("utf-8")


def _disagree(name: str) -> SubjectError:
    return unreadable(name, "delimited text", "two parsers disagree on the number of rows")


def _packed(pieces: Sequence[int]) -> list[list[int]]:
    return [[rows, len(list(same))] for rows, same in itertools.groupby(pieces)]


def _kind(values: pandas.Series[Any]) -> str:
    """Return the type of some rows of a column, in the words of :func:`join_csv_types`."""
    import pandas as pd

    kind = values.dtype.name
    if kind == "float64":
        return kind if values.notna().any() else "empty"
    if kind == "object":
        known = pd.api.types.infer_dtype(values, skipna=True) == "boolean"
        return "bool?" if known else MIXED
    if kind == "str":
        return MIXED if values.str.match(_NUMBER).any() else kind
    return kind if kind in ("int64", "uint64", "bool") else MIXED


def _field(name: str, kind: str, raw: str) -> pa.Field:
    import pyarrow as pa

    types = {"int64": pa.int64(), "uint64": pa.uint64(), "float64": pa.float64()}
    types |= {"bool": pa.bool_(), "bool?": pa.bool_()}
    metadata = {HEADER: raw.encode()}
    if kind == MIXED:
        metadata[CONTENT] = MIXED.encode()
    return pa.field(name, types.get(kind, pa.string()), metadata=metadata)


def _dtype(field: pa.Field) -> str:
    names = {"int64": "int64", "uint64": "uint64", "double": "float64", "bool": "boolean"}
    return names.get(str(field.type), "str")


def _array(values: pandas.Series[Any], field: pa.Field, name: str) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, type=field.type, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise unreadable(name, "delimited text", type(error).__name__) from error
