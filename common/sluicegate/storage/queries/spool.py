"""Results of a query on their way to one schema: a driver gives values, and no types.

Rows come in batches, and what a column holds is known only at the end: the first hundred
thousand cells may all be missing. So each batch is kept aside with the types that its values
have, and is cast once the types of all are known. Nothing is guessed: integers become floats
only where no value changes, and a column with texts and numbers is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final
from uuid import UUID

from sluicegate.canonical import canonical_json
from sluicegate.errors import SubjectError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Spool"]

_WIDEST: Final = 38
"""Digits of a 128-bit decimal. Source: Apache Arrow columnar format, Decimal128."""


class Spool:
    """Takes rows in, and gives them back with one type for each column.

    Args:
        names: the columns.
        most_rows: rows beyond this are refused.
    """

    def __init__(self, names: Sequence[str], *, most_rows: int) -> None:
        """Open an unlinked file for the batches."""
        self.rows = 0
        self._names = list(names)
        self._most_rows = most_rows
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._starts: list[int] = []
        self._schemas: list[Any] = []

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take in some rows.

        Raises:
            SubjectError: too many rows, or a column with values of several kinds.
        """
        import pyarrow as pa

        self.rows += len(rows)
        if self.rows > self._most_rows:
            raise SubjectError(
                f"the query gives more than {self._most_rows:,} rows",
                next_step="extract it in several batches, or raise the limit",
            )
        columns = zip(*rows, strict=True)
        arrays = [_array(name, cells) for name, cells in zip(self._names, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, names=self._names)
        self._starts.append(self._file.tell())
        self._schemas.append(batch.schema)
        with pa.ipc.new_stream(self._file, batch.schema) as writer:
            writer.write_batch(batch)

    def schema(self) -> pa.Schema:
        """Return the types of all rows.

        Raises:
            SubjectError: a column holds values of several kinds, or there are no rows.
        """
        import pyarrow as pa

        if not self._schemas:
            raise SubjectError("the query gives no rows", next_step="an empty data set cannot pass")
        fields = []
        for name in self._names:
            parts = [pa.schema([schema.field(name)]) for schema in self._schemas]
            try:
                kind = pa.unify_schemas(parts, promote_options="permissive").field(0).type
            except pa.ArrowException:
                raise _mixed(name) from None
            fields.append(pa.field(name, _wide(kind)))
        return pa.schema(fields)

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield all rows, cast to the schema.

        Raises:
            SubjectError: a value would change.
        """
        import pyarrow as pa

        for start in self._starts:
            self._file.seek(start)
            with pa.ipc.open_stream(self._file) as reader:
                batch = reader.read_next_batch()
            arrays = []
            for name, field in zip(self._names, schema, strict=True):
                try:
                    arrays.append(batch.column(name).cast(field.type))
                except pa.ArrowException:
                    raise _mixed(name) from None
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(name: str, cells: Sequence[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array([_value(cell) for cell in cells])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise _mixed(name) from None


def _value(cell: Any) -> Any:
    """Return a cell as Arrow takes it, the same whatever the session's settings are."""
    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return cell.astimezone(UTC)
    if isinstance(cell, UUID):
        return str(cell)
    if isinstance(cell, memoryview | bytearray):
        return bytes(cell)
    if isinstance(cell, dict) or (isinstance(cell, list) and any(map(_nested, cell))):
        return canonical_json(cell).decode()
    return cell


def _nested(cell: Any) -> bool:
    return isinstance(cell, dict | list)


def _wide(kind: Any) -> Any:
    """Return a type that does not depend on how large the decimals of this batch are."""
    import pyarrow as pa

    if not pa.types.is_decimal(kind):
        return kind
    fits = kind.precision <= _WIDEST
    return pa.decimal128(_WIDEST, kind.scale) if fits else pa.decimal256(76, kind.scale)


def _mixed(name: str) -> SubjectError:
    return SubjectError(
        f"column {name!r} of the query holds values of several kinds, or of one that Parquet "
        "does not have",
        next_step="cast it in the query, so that every row has one plain type",
    )
