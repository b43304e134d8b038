"""What each column of a data set holds, and batches of rows as the claims see them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sluicegate.stages.validation.scan.base import Column, Kind
from sluicegate.storage.batches import BatchReader
from sluicegate.storage.formats.base import CONTENT, ORIGINAL
from sluicegate.storage.snapshot import Snapshot

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = ["as_frame", "opened", "repeated_names", "scan_columns"]


@contextmanager
def opened(source: Snapshot | BatchReader) -> Iterator[BatchReader]:
    """Read a snapshot, or go on with a reader, which stays open."""
    if isinstance(source, BatchReader):
        yield source
        return
    with BatchReader(source) as reader:
        yield reader


def scan_columns(source: Snapshot | BatchReader) -> dict[str, Column]:
    """Return what each column holds, by name, in file order.

    Of columns with one name only the first is there: see :func:`repeated_names`.

    Raises:
        SubjectError: the files are not what their names say, or differ in their columns.
        SubjectChangedError: the bytes are not those of the snapshot.
    """
    found: dict[str, Column] = {}
    with opened(source) as reader:
        for field in reader.schema:
            found.setdefault(field.name, _column(field))
    return found


def repeated_names(source: Snapshot | BatchReader) -> tuple[int, ...]:
    """Return the positions, from 0, of columns whose name occurred before them."""
    with opened(source) as reader:
        seen: set[str] = set()
        repeated = []
        for position, name in enumerate(reader.names):
            if name in seen:
                repeated.append(position)
            seen.add(name)
        return tuple(repeated)


def _column(field: pa.Field) -> Column:
    import polars as pl
    import pyarrow as pa

    notes = field.metadata or {}
    kind = {b"mixed": Kind.OTHER, b"encoded": Kind.OTHER, b"nested": Kind.NESTED}.get(
        notes.get(CONTENT, b"")
    )
    # Not pa.array([]), which imports pandas.
    empty = pl.Series(pl.from_arrow(_readable(pa.nulls(0, field.type))))
    return Column(
        name=field.name,
        kind=kind or _kind(field.type),
        dtype=empty.dtype,
        arrow=notes.get(ORIGINAL, notes.get(CONTENT) or str(field.type).encode()).decode(),
        nullable=field.nullable,
    )


def _kind(kind: pa.DataType) -> Kind:
    import pyarrow as pa

    tests = (
        (pa.types.is_integer, Kind.INTEGER),
        (pa.types.is_float64, Kind.FLOAT64),
        (pa.types.is_float32, Kind.FLOAT32),
        (pa.types.is_boolean, Kind.BOOLEAN),
        (pa.types.is_string, Kind.TEXT),
        (pa.types.is_large_string, Kind.TEXT),
        (pa.types.is_string_view, Kind.TEXT),
        (pa.types.is_timestamp, Kind.DATETIME),
        (pa.types.is_date32, Kind.DATE),
        (pa.types.is_null, Kind.NULL),
        (pa.types.is_nested, Kind.NESTED),
    )
    return next((found for test, found in tests if test(kind)), Kind.OTHER)


def _is_known(kind: pa.DataType) -> bool:
    """Whether polars reads a type; it panics at some, so it is never asked."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return all(_is_known(kind.field(at).type) for at in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_known(kind.value_type)
    if pa.types.is_map(kind):
        return _is_known(kind.key_type) and _is_known(kind.item_type)
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_float32(kind)
        or pa.types.is_float64(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
        or pa.types.is_duration(kind)
        or pa.types.is_decimal128(kind)
        or pa.types.is_null(kind)
    )


def _readable(values: pa.Array) -> pa.Array:
    """Return values as polars can read them; where it cannot, whether each row has one."""
    import pyarrow as pa

    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    return values if _is_known(values.type) else _presence(values)


def _presence(values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(values.is_valid(), True, pa.scalar(None, pa.bool_()))  # noqa: FBT003


def as_frame(batch: pl.DataFrame | pa.RecordBatch) -> pl.DataFrame:
    """Return rows as claims see them: NaN is null, as pandas reads it."""
    import polars as pl

    frame = batch if isinstance(batch, pl.DataFrame) else _from_arrow(batch)
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    nan = [name for name in floats if frame[name].is_nan().any()]
    return frame.with_columns(pl.col(nan).fill_nan(None)) if nan else frame


def _from_arrow(batch: pa.RecordBatch) -> pl.DataFrame:
    import polars as pl
    import pyarrow as pa

    arrays = [_readable(column) for column in batch.columns]
    ready = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
    return pl.DataFrame(pl.from_arrow(ready))
