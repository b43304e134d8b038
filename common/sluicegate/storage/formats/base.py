"""What a tabular file format must do: read all rows, and split rows in two."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol

from sluicegate.errors import SubjectError

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

__all__ = [
    "CONTENT",
    "HEADER",
    "ORIGINAL",
    "Format",
    "Limits",
    "as_schema",
    "chosen",
    "decoded_schema",
    "unreadable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may cost once it is decoded."""

    max_decoded_bytes: int = 4 << 30
    """Most memory that one file's rows may take. A 2 MB Parquet file can decode to 20 GB."""


DEFAULT_LIMITS: Final = Limits()


class Format(Protocol):
    """One file format. Row ordinals count data rows from 0, in file order."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings, lower case, with the dot."""
        ...

    def read(
        self,
        source: IO[bytes],
        *,
        name: str,
        limits: Limits,
        columns: Collection[str] | None = None,
    ) -> pandas.DataFrame:
        """Return all rows with a fresh 0-based index.

        Args:
            source: the file.
            name: of the file, for messages.
            limits: what it may cost.
            columns: names of the columns that will be looked at, where not all will be. Others
                may be left out; those that are there are as they are among all.

        Raises:
            SubjectError: the content is not of this format, or is beyond the limits.
        """
        ...

    def survey(self, source: IO[bytes], *, name: str) -> pa.Schema:
        """Return the columns, in file order, with the types that all rows together have.

        A field's metadata may hold :data:`HEADER`, the name in the file, where it is another,
        and :data:`CONTENT`, where the type does not say what pandas would make of the column:
        ``mixed`` for values of several types, ``nested`` for lists and objects, given as text,
        ``encoded`` for a dictionary, given as its values; :data:`ORIGINAL` then holds its type.

        Raises:
            SubjectError: the content is not of this format.
        """
        ...

    def batches(
        self,
        source: IO[bytes],
        *,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str],
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows in file order, in memory that does not grow with the file.

        Args:
            source: the file.
            name: of the file, for messages.
            schema: what :meth:`survey` said of this file, or wider types that hold the same.
            columns: names of the columns to give, in this order.
            rows: most rows in a batch.

        Raises:
            SubjectError: the content is not of this format, or has other columns.
        """
        ...

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Write the rows in ``drop`` to ``removed`` and all others to ``kept``.

        Returns:
            How many rows the file has.

        Raises:
            SubjectError: the content is not of this format, or an ordinal is beyond it.
        """
        ...

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield the columns as bytes, then each row: what a tree over rows is built from.

        A row has the same bytes in every file of this format with the same columns, so also
        after :meth:`split`; and other bytes if any of its values is another.

        Raises:
            SubjectError: the content is not of this format.
        """
        ...


HEADER: Final = b"sluicegate.header"
"""Key of a field's metadata: the column's name as the file has it."""

CONTENT: Final = b"sluicegate.content"
"""Key of a field's metadata: ``mixed``, ``nested``, or ``encoded`` for a dictionary."""

ORIGINAL: Final = b"sluicegate.type"
"""Key of a field's metadata: the type in the file, where rows are given in another."""


def as_schema(batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[str]) -> pa.RecordBatch:
    """Return some columns of a batch, each in the type that the schema has for it.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit into the type.
        KeyError: the schema or the batch lacks a column.
    """
    import pyarrow as pa

    if [field.name for field in schema] == list(columns) and batch.schema.equals(schema):
        return batch
    fields = [schema.field(name) for name in columns]
    arrays = [
        column if column.type == field.type else column.cast(field.type)
        for field in fields
        for column in (batch.column(field.name),)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def decoded_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema without dictionaries at its top level, which say so in their metadata."""
    import pyarrow as pa

    def plain(field: pa.Field) -> pa.Field:
        if not pa.types.is_dictionary(field.type):
            return field.remove_metadata()  # the writer's, which could pass for ours
        notes = {CONTENT: b"encoded", ORIGINAL: str(field.type).encode()}
        return field.with_type(field.type.value_type).with_metadata(notes)

    return pa.schema([plain(field) for field in schema])


def chosen(names: Sequence[str], columns: Collection[str] | None) -> list[str] | None:
    """Return the columns of a file to read, in its order; None for all of them.

    All, too, where names repeat, or where none is wanted: no columns would have no rows.
    """
    if columns is None or len(set(names)) < len(names):
        return None
    return [name for name in names if name in columns] or None


def unreadable(name: str, what: str, why: str) -> SubjectError:
    """Return the error for content that is not what its name says."""
    return SubjectError(
        f"{name} cannot be read as {what}: {why}",
        next_step="repair the file, or find out who wrote it",
    )


def check_ordinals(drop: Collection[int], rows: int, name: str) -> None:
    """Refuse to split rows that are not there.

    Raises:
        SubjectError: an ordinal is outside of the file.
    """
    if drop and not 0 <= min(drop) <= max(drop) < rows:
        raise SubjectError(f"{name} has {rows} rows; asked to set aside row {max(drop)}")
