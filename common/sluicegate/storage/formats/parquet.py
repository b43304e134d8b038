"""Apache Parquet, through pyarrow."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, TypeGuard

from sluicegate.canonical import Json, canonical_json
from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.base import (
    Limits,
    as_schema,
    check_ordinals,
    chosen,
    decoded_schema,
    unreadable,
)
from sluicegate.storage.formats.parquet_frames import stream_frames
from sluicegate.storage.formats.parquet_stream import open_parquet, stream_rows

if TYPE_CHECKING:
    import pandas
    import polars as pl
    import pyarrow as pa

__all__ = ["Parquet", "json_values"]

_BATCH_ROWS: Final = 1 << 16
_ENCODED_ROWS: Final = 1 << 12
"""Rows that are Python objects at one time while they are encoded."""
_EXACT_INTEGERS: Final = 1 << 53
"""Beyond this, a JSON number may be another one to its reader (RFC 8785, section 3.2.2.3)."""


class Parquet:
    """Columnar files. The decoded size is measured while reading, never believed."""

    suffixes = (".parquet", ".pq")

    def read(
        self,
        source: IO[bytes],
        *,
        name: str,
        limits: Limits,
        columns: Collection[str] | None = None,
    ) -> pandas.DataFrame:
        """Decode batch by batch under the memory limit; see :class:`Format`."""
        with _failures(name):
            import pyarrow as pa

            plain = open_parquet(source)
            schema = plain.schema_arrow
            if (names := chosen(schema.names, columns)) is not None:
                schema = pa.schema([schema.field(one) for one in names])
            # One long value in a dictionary, repeated a million times, takes kilobytes on
            # disk: text stays encoded until its decoded length is known.
            file = open_parquet(source, read_dictionary=_text_columns(plain))
            batches, decoded = [], 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                batch = batch if names is None else batch.select(names)
                decoded += _decoded_bytes(batch, schema)
                if decoded > limits.max_decoded_bytes:
                    raise SubjectError(
                        f"{name} decodes to more than {limits.max_decoded_bytes:,} bytes",
                        next_step="split the file, or find out why it is so compressible",
                    )
                batches.append(batch.cast(schema))
            table = pa.Table.from_batches(batches, schema=schema)
            # Pandas metadata is the writer's word: a column that it calls an index would
            # disappear from the columns, and from every examination.
            return table.to_pandas(ignore_metadata=True)

    def survey(self, source: IO[bytes], *, name: str) -> pa.Schema:
        """Return the schema of the file; see :class:`Format`."""
        with _failures(name):
            return decoded_schema(open_parquet(source).schema_arrow)

    def batches(
        self,
        source: IO[bytes],
        *,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str],
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """Decode as many rows at once as are sure to fit into memory; see :class:`Format`."""
        with _failures(name):
            for batch in stream_rows(source, columns=columns, rows=rows, name=name):
                yield as_schema(batch, schema, columns)

    def frames(
        self,
        source: IO[bytes],
        *,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str],
        rows: int,
    ) -> Iterator[pl.DataFrame | pa.RecordBatch]:
        """Decode rows as :meth:`batches` does, by polars where it can: that is faster."""
        with _failures(name):
            read = stream_frames(source, schema=schema, columns=columns, rows=rows, name=name)
            for piece in read:
                yield as_schema(piece, schema, columns) if _is_arrow(piece) else piece

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Rewrite row group by row group, keeping schema and metadata; see :class:`Format`."""
        with _failures(name):
            import pyarrow as pa
            import pyarrow.compute as pc
            import pyarrow.parquet as pq

            file = open_parquet(source)
            rows = file.metadata.num_rows
            check_ordinals(drop, rows, name)
            unwanted, start = set(drop), 0
            options = {"compression": "zstd", "version": "2.6", "store_schema": True}
            with (
                pq.ParquetWriter(kept, file.schema_arrow, **options) as out,
                pq.ParquetWriter(removed, file.schema_arrow, **options) as aside,
            ):
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    mask = [start + at in unwanted for at in range(batch.num_rows)]
                    start += batch.num_rows
                    chosen = pa.array(mask, type=pa.bool_())
                    aside.write_batch(batch.filter(chosen))
                    out.write_batch(batch.filter(pc.invert(chosen)))
            return int(rows)

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield names and types, then each row's values in canonical JSON.

        Values that JSON has not, or not exactly, are objects with their type as the only
        member. See :class:`Format`.
        """
        with _failures(name):
            file = open_parquet(source)
            fields = [[field.name, str(field.type)] for field in file.schema_arrow]
            yield canonical_json(fields)
            for batch in file.iter_batches(batch_size=_ENCODED_ROWS):
                columns = [json_values(column) for column in batch.columns]
                for row in zip(*columns, strict=True) if columns else ():
                    yield canonical_json(list(row))


def _is_arrow(piece: pl.DataFrame | pa.RecordBatch) -> TypeGuard[pa.RecordBatch]:
    import pyarrow as pa

    return isinstance(piece, pa.RecordBatch)


def json_values(column: Any) -> list[Json]:
    """Return a column's values as JSON that loses nothing."""
    import pyarrow as pa

    if pa.types.is_temporal(column.type):  # as numbers: Python's dates have no nanoseconds
        wide = pa.types.is_date32(column.type) or pa.types.is_time32(column.type)
        column = column.cast(pa.int32() if wide else pa.int64())
    return [_exact(value) for value in column.to_pylist()]


def _exact(value: Any) -> Json:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < _EXACT_INTEGERS else {"int": str(value)}
    if isinstance(value, float):
        plain = math.isfinite(value) and (value or math.copysign(1, value) > 0)
        return value if plain else {"float": repr(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if isinstance(value, dict):
        return {"struct": [[key, _exact(item)] for key, item in value.items()]}
    return {type(value).__name__: str(value)}


def _text_columns(file: Any) -> list[str]:
    """Return the top-level columns of variable length."""
    columns = (file.schema.column(at) for at in range(len(file.schema)))
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and "." not in column.path
    ]


def _decoded_bytes(batch: Any, schema: Any) -> int:
    """Return the memory that a batch will take once its text is decoded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for column, field in zip(batch.columns, schema, strict=True):
        if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(field.type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
            total += (pc.sum(lengths).as_py() or 0) + 4 * len(column)
        else:
            total += column.nbytes
    return total


@contextmanager
def _failures(name: str) -> Iterator[None]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "a Parquet file") from error
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise unreadable(name, "Parquet", type(error).__name__) from error
