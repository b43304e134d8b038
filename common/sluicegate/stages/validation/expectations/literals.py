"""Values of a suite file in the type of a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.expectations.arguments import is_number

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.expectations.spec import Column

__all__ = [
    "MIXED",
    "NESTED",
    "comparable",
    "integer_limits",
    "is_boolean",
    "is_numeric",
    "is_text",
    "members",
    "places",
]


MIXED: Final = "mixed"
"""The type of a column whose values are of several types; batches hold them as text."""

NESTED: Final = "nested"
"""The type of a column of lists and objects in a file without types; batches hold them as
text."""


def is_text(column: Column) -> bool:
    """Whether a column holds texts, dictionary-encoded or not."""
    import polars as pl

    texts = isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum)
    return texts and column.arrow not in (MIXED, NESTED)


def is_boolean(column: Column) -> bool:
    """Whether a column holds truth values, and not only stands for values of another type."""
    import polars as pl

    return isinstance(column.dtype, pl.Boolean) and column.arrow in ("bool", "boolean")


def is_numeric(column: Column) -> bool:
    """Whether a column holds numbers; true and false are none."""
    return column.dtype.is_numeric()


def comparable(column: Column) -> pl.Expr:
    """Return a column in the type that values of a suite file are compared in.

    Dictionary-encoded texts become texts, decimals floats.
    """
    import polars as pl

    values = pl.col(column.name)
    if is_text(column):
        return values.cast(pl.String)
    return values.cast(pl.Float64) if column.dtype.is_decimal() else values


def integer_limits(dtype: pl.DataType) -> tuple[int, int]:
    """Return the least and the greatest integer of an integer type."""
    name = str(dtype)
    bits = int(name.lstrip("UInt"))
    if name.startswith("U"):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def members(column: Column, values: Sequence[Json]) -> pl.Series:
    """Return those values that can occur in a column, each once, in its comparable type.

    Text is not a number and a number is no truth value: ``"1"``, ``1`` and ``true`` are
    three values. 1 and 1.0 are one.

    Args:
        column: the column.
        values: texts, numbers, true and false.
    """
    import polars as pl

    dtype = column.dtype
    if is_text(column):
        texts = [one for one in values if isinstance(one, str)]
        return pl.Series(list(dict.fromkeys(texts)), dtype=pl.String)
    if is_boolean(column):
        truths = [one for one in values if isinstance(one, bool)]
        return pl.Series(list(dict.fromkeys(truths)), dtype=pl.Boolean)
    numbers = [one for one in values if is_number(one)]
    if dtype.is_integer():
        low, high = integer_limits(dtype)
        whole = [int(one) for one in numbers if one == int(one) and low <= one <= high]
        return pl.Series(list(dict.fromkeys(whole)), dtype=dtype)
    if dtype.is_numeric():
        kind = pl.Float64() if dtype.is_decimal() else dtype
        return pl.Series([float(one) for one in numbers], dtype=kind).unique(maintain_order=True)
    return pl.Series([], dtype=pl.Null)


def places(column: Column, values: Sequence[Json], known: pl.Series) -> tuple[int | None, ...]:
    """Return where each value is among the known ones of :func:`members`.

    None for a value that cannot occur in the column, or equals one before it.

    Args:
        column: the column.
        values: as in the suite file.
        known: those of them that can occur.
    """
    if len(values) == len(known):
        return tuple(range(len(known)))
    free = {value: place for place, value in enumerate(known.to_list())}
    found = []
    for value in values:
        mine = members(column, [value]).to_list()
        found.append(free.pop(mine[0], None) if mine else None)
    return tuple(found)
