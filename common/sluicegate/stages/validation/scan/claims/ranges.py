"""Values between bounds: numbers, times and dates, compared as GX compares them.

Numbers: GX makes the bounds floats, and pandas compares 64-bit integers with them as floats;
the stricter rule compares exactly. Times and dates: only with bounds in full ISO 8601 notation
of the column's own kind; everything else GX refuses, or reads in some way of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.rules import (
    EXACT,
    Bounds,
    column_of,
    day,
    each_value,
    gaps,
    has_gaps,
    infinite_rows,
    instant,
    number,
    width,
)
from sluicegate.stages.validation.scan.measures import Count, Maximum, Minimum
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["between", "magnitude", "numeric_bounds", "tick_bounds", "zoned"]

_TICKS: Final = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_INT64: Final = (-(1 << 63), (1 << 63) - 1)


def between(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_between``."""
    column = column_of(expectation, columns)
    if column.kind == Kind.INTEGER:
        return _integers(expectation, column, rows)
    if column.kind in (Kind.FLOAT64, Kind.FLOAT32):
        return _floats(expectation, column, rows)
    if column.kind == Kind.BOOLEAN:
        return _booleans(expectation, column, rows)
    if column.kind == Kind.DATETIME:
        return _times(expectation, column, rows)
    if column.kind == Kind.DATE:
        return _dates(expectation, column, rows)
    raise Unclaimed(f"bounds of a column of type {column.arrow}")


def numeric_bounds(expectation: Expectation) -> Bounds:
    """Return bounds that are numbers, exactly as they are written.

    Raises:
        Unclaimed: they are not, or the lower one lies above the upper one.
    """

    def read(value: Any) -> int | float:
        if not number(value):
            raise Unclaimed("a bound that is not a number")
        return int(value) if isinstance(value, int) else float(value)

    bounds = Bounds.of(expectation, read)
    if bounds.reversed:
        raise Unclaimed("the lower bound lies above the upper one")
    return bounds


def magnitude(column: Column, rows: Rows) -> dict[str, Measure]:
    """Return measures of how far from 0 a column of integers gets."""
    import polars as pl

    return {
        "lowest": Minimum(pl.col(column.name), rows),
        "highest": Maximum(pl.col(column.name), rows),
    }


def is_large(found: Mapping[str, Any]) -> bool:
    """Whether :func:`magnitude` found integers that floats cannot tell apart."""
    extremes = (found["lowest"], found["highest"])
    return any(one is not None and abs(one) > EXACT for one in extremes)


def _integers(expectation: Expectation, column: Column, rows: Rows) -> Claim:
    import polars as pl

    bounds, values = numeric_bounds(expectation), pl.col(column.name)
    exact = bounds.integers(values, *width(column))
    wide = width(column)[1] > EXACT
    extra = gaps(column) | (magnitude(column, rows) if wide else {})

    def guard(found: Mapping[str, Any]) -> None:
        if has_gaps(column, found) and (bounds.large or (wide and is_large(found))):
            raise Unclaimed("integers beyond 2**53 with gaps are rounded by pandas")

    if str(column.dtype) != "Int64" or not bounds.large:
        # Rounding keeps the order: a bound that is a float parts floats where it parts integers.
        return each_value(expectation, rows, column, exact, extra=extra, guard=guard)
    return each_value(
        expectation,
        rows,
        column,
        bounds.each(float).expression(values.cast(pl.Float64)),
        stricter=~exact,
        problem=lambda _count: "integers beyond 2**53 were compared exactly",
        extra=extra,
        guard=guard,
    )


def _floats(expectation: Expectation, column: Column, rows: Rows) -> Claim:
    import polars as pl

    bounds = numeric_bounds(expectation).each(float)
    values = pl.col(column.name).cast(pl.Float64)
    extra: dict[str, Measure] = {}
    if bounds.large:
        extra = {f"at {one}": Count(values == one, rows) for one in bounds.given}

    def guard(found: Mapping[str, Any]) -> None:
        if any(found[name] for name in extra):
            raise Unclaimed("a value beyond 2**53 lies on a bound")

    return each_value(
        expectation,
        rows,
        column,
        bounds.expression(values),
        stricter=values.is_infinite(),
        problem=infinite_rows,
        extra=extra,
        guard=guard,
    )


def _booleans(expectation: Expectation, column: Column, rows: Rows) -> Claim:
    import polars as pl

    bounds = numeric_bounds(expectation)
    values = pl.col(column.name).cast(pl.Float64)
    return each_value(expectation, rows, column, bounds.each(float).expression(values))


def zoned(column: Column) -> bool:
    """Whether a column of times has a time zone."""
    return getattr(column.dtype, "time_zone", None) is not None


def tick_bounds(expectation: Expectation, column: Column) -> Bounds:
    """Return bounds of a column of times, as exact numbers of its own unit since 1970.

    Raises:
        Unclaimed: they are not full times of the column's kind.
    """
    ticks = _TICKS[str(getattr(column.dtype, "time_unit", "us"))]

    def read(value: Any) -> Fraction:
        return instant(value, aware=zoned(column)) * ticks

    bounds = Bounds.of(expectation, read)
    if bounds.reversed:
        raise Unclaimed("the lower bound lies above the upper one")
    if any(not _INT64[0] < math.floor(one) < _INT64[1] - 1 for one in bounds.given):
        raise Unclaimed("a bound that nanoseconds in 64 bits do not reach")
    return bounds


def _times(expectation: Expectation, column: Column, rows: Rows) -> Claim:
    import polars as pl

    bounds = tick_bounds(expectation, column)
    ticks = pl.col(column.name).to_physical()
    return each_value(expectation, rows, column, bounds.integers(ticks, *_INT64))


def _dates(expectation: Expectation, column: Column, rows: Rows) -> Claim:
    import polars as pl

    bounds = Bounds.of(expectation, day)
    if bounds.reversed:
        raise Unclaimed("the lower bound lies above the upper one")
    return each_value(expectation, rows, column, bounds.expression(pl.col(column.name)))
