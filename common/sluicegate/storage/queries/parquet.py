"""One way to write rows as Parquet: the same rows, the same bytes.

The same in one installation: another version of pyarrow may encode otherwise, and writes its
name into the file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json, canonical_json
from sluicegate.errors import MissingExtraError, SubjectError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DESCRIPTION_KEY", "ROW_GROUP", "parquet_file", "plain_schema", "read_description"]

ROW_GROUP: Final = 1 << 17
"""Rows of a group: what readers hold in memory at one time."""

DESCRIPTION_KEY: Final = b"sluicegate.batch"
"""Where the file says what it is an extract of, so that its digest binds that too."""

_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "store_schema": True,
    "use_dictionary": True,
    "write_statistics": True,
}


@contextmanager
def parquet_file(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], description: Mapping[str, Json] | None
) -> Iterator[IO[bytes]]:
    """Write batches of rows to an unlinked Parquet file, open for reading from its start.

    Args:
        schema: plain, of every batch.
        batches: the rows. Where they are cut makes no difference to the file.
        description: goes into the file's metadata.

    Raises:
        SubjectError: there are no rows, or a column has a type that Parquet does not have.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if description is not None:
        schema = schema.with_metadata({DESCRIPTION_KEY: canonical_json(dict(description))})
    with tempfile.TemporaryFile() as out:
        rows = 0
        try:
            with pq.ParquetWriter(out, schema, **_OPTIONS) as writer:
                for group in _groups(schema, batches):
                    rows += group.num_rows
                    writer.write_table(group, row_group_size=ROW_GROUP)
        except pa.ArrowException as error:
            raise SubjectError(
                f"the rows cannot be written as Parquet: {type(error).__name__}",
                next_step="cast the columns to plain types first",
            ) from None
        if not rows:
            raise SubjectError(
                "there are no rows to write", next_step="an empty data set cannot pass"
            )
        out.seek(0)
        yield out


def _groups(schema: Any, batches: Iterable[Any]) -> Iterator[Any]:
    """Cut the rows anew, into full groups: how they came must not show in the file."""
    import pyarrow as pa

    held: list[Any] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        while rows >= ROW_GROUP:
            table = pa.Table.from_batches(held, schema=schema)
            yield table.slice(0, ROW_GROUP).combine_chunks()
            held, rows = table.slice(ROW_GROUP).to_batches(), rows - ROW_GROUP
    if rows:
        yield pa.Table.from_batches(held, schema=schema).combine_chunks()


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema without what only says how a library held the values.

    Dictionaries become their values, large and view types plain ones, metadata goes: so the
    same values are the same file, whichever library brings them.
    """
    import pyarrow as pa

    if len(set(schema.names)) != len(schema.names):
        raise SubjectError(
            "two columns have the same name", next_step="rename one: readers pick either"
        )
    return pa.schema([pa.field(one.name, _plain(one.type), one.nullable) for one in schema])


def _plain(kind: Any) -> Any:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind):
        return pa.list_(_plain(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([pa.field(one.name, _plain(one.type), one.nullable) for one in kind])
    return kind


def read_description(source: IO[bytes]) -> dict[str, Json]:
    """Return what an extract says it is; empty where it says nothing.

    Raises:
        SubjectError: it is no Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "an extract") from error
    try:
        metadata = pq.read_schema(source).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise SubjectError("the extract is no Parquet file") from error
    said = json.loads(metadata.get(DESCRIPTION_KEY, b"{}"))
    return said if isinstance(said, dict) else {}
