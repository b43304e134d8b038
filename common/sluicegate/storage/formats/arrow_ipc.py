"""Apache Arrow IPC files, also known as Feather, version 2."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.canonical import canonical_json
from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.arrow_sizes import inflated_bytes
from sluicegate.storage.formats.base import (
    Limits,
    as_schema,
    check_ordinals,
    chosen,
    decoded_schema,
    unreadable,
)
from sluicegate.storage.formats.parquet import json_values

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

__all__ = ["ArrowIpc"]

_ENCODED_ROWS: Final = 1 << 12
"""Rows that are Python objects at one time while they are encoded."""

_MOST_BATCH: Final = 512 << 20
"""Most bytes of one record batch of a file, inflated: it cannot be read in parts. Writers make
batches of tens of thousands of rows."""


_DECODED_BYTES: Final = 32 << 20
"""Most bytes of one column of a batch once its dictionary is decoded."""


class ArrowIpc:
    """Columnar files as Arrow writes them; the streaming form has no rows by number."""

    suffixes = (".arrow", ".feather", ".ipc")

    def read(
        self,
        source: IO[bytes],
        *,
        name: str,
        limits: Limits,
        columns: Collection[str] | None = None,
    ) -> pandas.DataFrame:
        """Read batch by batch under the memory limit; see :class:`Format`."""
        with _failures(name):
            import pyarrow as pa

            file = _open(source, name)
            schema = file.schema
            if (names := chosen(schema.names, columns)) is not None:
                schema = pa.schema([schema.field(one) for one in names])
            batches, decoded = [], 0
            for whole in _all(file):
                batch = whole if names is None else whole.select(names)
                decoded += batch.nbytes
                if decoded > limits.max_decoded_bytes:
                    raise SubjectError(
                        f"{name} decodes to more than {limits.max_decoded_bytes:,} bytes"
                    )
                batches.append(batch)
            table = pa.Table.from_batches(batches, schema=schema)
            return table.to_pandas(ignore_metadata=True)

    def survey(self, source: IO[bytes], *, name: str) -> pa.Schema:
        """Return the schema of the file; see :class:`Format`."""
        with _failures(name):
            return decoded_schema(_open(source, name).schema)

    def batches(
        self,
        source: IO[bytes],
        *,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str],
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """Slice the batches of the file; see :class:`Format`."""
        with _failures(name):
            for batch in _all(_open(source, name)):
                at_once = min(rows, _rows_at_once(batch, columns))
                for at in range(0, batch.num_rows, at_once):
                    yield as_schema(batch.slice(at, at_once), schema, columns)

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Rewrite batch by batch, keeping schema and metadata; see :class:`Format`."""
        with _failures(name):
            import numpy as np
            import pyarrow as pa

            file = _open(source, name)
            rows = sum(batch.num_rows for batch in _all(file))
            check_ordinals(drop, rows, name)
            unwanted, start = np.array(sorted(drop), dtype="int64"), 0
            with (
                pa.ipc.new_file(kept, file.schema) as out,
                pa.ipc.new_file(removed, file.schema) as aside,
            ):
                for batch in _all(file):
                    mask = np.isin(np.arange(start, start + batch.num_rows), unwanted)
                    start += batch.num_rows
                    aside.write_batch(batch.filter(pa.array(mask)))
                    out.write_batch(batch.filter(pa.array(~mask)))
            return int(rows)

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield names and types, then each row's values, as Parquet does; see :class:`Format`."""
        with _failures(name):
            file = _open(source, name)
            yield canonical_json([[field.name, str(field.type)] for field in file.schema])
            for batch in _all(file):
                for at in range(0, batch.num_rows, _ENCODED_ROWS):
                    columns = [json_values(one) for one in batch.slice(at, _ENCODED_ROWS).columns]
                    for row in zip(*columns, strict=True):
                        yield canonical_json(list(row))


def _rows_at_once(batch: Any, columns: Sequence[str]) -> int:
    """Return how many rows' dictionaries can be decoded at once, whichever values they have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    each = 1
    for column in (batch.column(name) for name in columns):
        values = column.dictionary if pa.types.is_dictionary(column.type) else None
        if values is not None and len(values):
            longest = values.nbytes  # of nested values; of texts it is known exactly
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                longest = pc.max(pc.binary_length(values)).as_py() or 0
            elif pa.types.is_primitive(values.type):
                longest = 8
            each = max(each, longest)
    return max(1, _DECODED_BYTES // each)


def _open(source: IO[bytes], name: str) -> Any:
    """Open a file none of whose parts inflates to more than memory should hold."""
    import pyarrow as pa

    if inflated_bytes(source) > _MOST_BATCH:
        raise unreadable(name, "Arrow IPC", f"a record batch has over {_MOST_BATCH:,} bytes")
    source.seek(0)
    file = pa.ipc.open_file(source)
    for field in file.schema:
        _read_names(field)
    return file


def _read_names(field: Any) -> None:
    """Raise UnicodeDecodeError for names that are no UTF-8: nothing has looked at them yet."""
    _ = field.name
    for at in range(field.type.num_fields):
        _read_names(field.type.field(at))


def _all(file: Any) -> Iterator[Any]:
    for at in range(file.num_record_batches):
        batch = file.get_batch(at)
        batch.validate(full=True)  # offsets are the writer's word, and nothing has checked them
        yield batch


@contextmanager
def _failures(name: str) -> Iterator[None]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "an Arrow file") from error
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise unreadable(name, "Arrow IPC", type(error).__name__) from error
