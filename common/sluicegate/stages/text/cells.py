"""Batches of rows to texts, also out of nested columns.

Chats, tags and documents lie in lists and structs: every text in a column's cell, at any
depth, belongs to the cell's row. The depth is that of the column's type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Texts", "holds_text", "texts_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Texts of one column in one batch."""

    values: pl.Series
    """Strings, some of them null."""
    rows: pl.Series | None
    """For each, its row in the batch; None where text ``i`` is that of row ``i``."""

    def row(self, at: int) -> int:
        """Return the row of a text."""
        return at if self.rows is None else int(self.rows[at])


def holds_text(kind: Any) -> bool:
    """Return whether a column of an Arrow type can hold text, at any depth."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return holds_text(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return True
    return any(holds_text(kind.field(at).type) for at in range(kind.num_fields))


def texts_of(column: Any) -> Iterator[Texts]:
    """Yield all texts of one Arrow array that holds text."""
    import polars as pl

    series = pl.from_arrow(column)
    if not isinstance(series, pl.Series):
        raise TypeError(f"expected one column, got {type(series).__name__}")
    yield from _leaves(series, None)


def _leaves(series: pl.Series, rows: pl.Series | None) -> Iterator[Texts]:
    import polars as pl

    kind = series.dtype
    if kind == pl.String:
        yield Texts(series, rows)
    elif isinstance(kind, pl.Categorical | pl.Enum):
        yield Texts(series.cast(pl.String), rows)
    elif isinstance(kind, pl.List | pl.Array):
        if rows is None:
            rows = pl.int_range(len(series), eager=True)
        flat = series.arr.to_list() if isinstance(kind, pl.Array) else series
        frame = pl.DataFrame({"row": rows, "cell": flat}).explode("cell")
        yield from _leaves(frame["cell"], frame["row"])
    elif isinstance(kind, pl.Struct):
        for field in series.struct.fields:
            yield from _leaves(series.struct.field(field), rows)
