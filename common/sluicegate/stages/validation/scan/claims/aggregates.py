"""Least, greatest, mean, median, sum, standard deviation, quantiles.

The scan computes them exactly; pandas in floats, in an order of its own. Where the two could
come to lie on different sides of a bound, Great Expectations is asked.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.ranges import (
    is_large,
    magnitude,
    tick_bounds,
    zoned,
)
from sluicegate.stages.validation.scan.claims.rules import (
    EXACT,
    Bounds,
    Guard,
    Whole,
    column_of,
    full_or_float,
    never,
    number,
)
from sluicegate.stages.validation.scan.measures import (
    Count,
    ExactSum,
    Maximum,
    Minimum,
    Moments,
    Present,
    Quantiles,
    Total,
)
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["deviation", "maximum", "mean", "median", "minimum", "quantiles", "total"]

_EPSILON: Final = 2.0**-52
_TICKS: Final = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NUMBERS: Final = (Kind.INTEGER, Kind.FLOAT64, Kind.FLOAT32, Kind.BOOLEAN)
_CLOSE: Final = 1e-4
_CLOSE_TO_ZERO: Final = 1e-8
"""Relative and absolute distance at which GX takes a quantile for its bound."""

_TIE: Final = 1e-9
"""Where a quantile lies so nearly between two values, rounding may choose the other one."""

Observe = Callable[[Mapping[str, Any]], tuple[Any, float]]
"""Returns a value, and how far pandas' value may be from it; None for no value."""


def minimum(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_min_to_be_between``."""
    return _extreme(expectation, columns, rows, "lowest")


def maximum(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_max_to_be_between``."""
    return _extreme(expectation, columns, rows, "highest")


def mean(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_mean_to_be_between``."""
    column = _numbers(expectation, columns, Kind.INTEGER, Kind.FLOAT64, Kind.BOOLEAN)
    return _summed(expectation, column, rows, lambda found: found.mean, per_row=True)


def total(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_sum_to_be_between``."""
    column = _numbers(expectation, columns, Kind.INTEGER, Kind.FLOAT64, Kind.BOOLEAN)
    return _summed(expectation, column, rows, lambda found: found.value, per_row=False)


def deviation(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_stdev_to_be_between``."""
    import polars as pl

    column = _numbers(expectation, columns, Kind.INTEGER, Kind.FLOAT64)
    values = pl.col(column.name)

    def observe(found: Mapping[str, Any]) -> tuple[Any, float]:
        spread = found["moments"].stdev()
        if spread is None:
            return None, 0.0
        if not spread and column.kind == Kind.INTEGER:
            return 0.0, 0.0
        count = found["moments"].count
        return spread, _EPSILON * count * (_largest(found) + spread)

    return _aggregate(
        expectation, column, rows, observe, {"moments": Moments(values, rows)}, arithmetic=True
    )


def median(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_median_to_be_between``."""
    import polars as pl

    column = _numbers(expectation, columns, Kind.INTEGER, Kind.FLOAT64)
    values = pl.col(column.name)

    def observe(found: Mapping[str, Any]) -> tuple[Any, float]:
        if not found["middle"].count:
            return None, 0.0
        low, high, part = found["middle"].neighbours[0]
        middle = float(low) if not part else (float(low) + float(high)) / 2
        return (None if math.isnan(middle) else middle), 0.0

    return _aggregate(
        expectation, column, rows, observe, {"middle": Quantiles(values, (0.5,), rows)},
        arithmetic=True,
    )  # fmt: skip


def quantiles(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_quantile_values_to_be_between``."""
    import polars as pl

    column = column_of(expectation, columns)
    if column.kind not in (Kind.INTEGER, Kind.FLOAT64):
        raise Unclaimed(f"quantiles of values of type {column.arrow}")
    places, ranges = _ranges(expectation)
    values = pl.col(column.name)
    extra, guard = _plain_integers(column, rows)
    if column.kind == Kind.FLOAT64:
        extra = {"infinite": Count(values.is_infinite(), rows)}

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        given = found["quantiles"]
        if not given.count:
            return False, None
        if any(low != high and abs(part - 0.5) < _TIE for low, high, part in given.neighbours):
            raise Unclaimed("a quantile that lies between two values")
        chosen = [float(given.nearest(at)) for at in range(len(places))]
        return all(_in_range(one, *pair) for one, pair in zip(chosen, ranges, strict=True)), None

    return Whole(
        expectation=expectation,
        measures={
            **extra,
            "total": Total(rows),
            "present": Present(column.name, rows),
            "quantiles": Quantiles(values, places, rows),
        },
        judge=judge,
        infinite=rows.mask(values.is_infinite()) if column.kind == Kind.FLOAT64 else None,
    )


def _ranges(expectation: Expectation) -> tuple[tuple[float, ...], list[tuple[float, float]]]:
    given = expectation.kwargs.get("quantile_ranges")
    relative = expectation.kwargs.get("allow_relative_error")
    if relative is True or isinstance(relative, str) or not isinstance(given, dict):
        raise Unclaimed("quantiles that are not the nearest values")
    places, ranges = given.get("quantiles"), given.get("value_ranges")
    if not isinstance(places, list) or not isinstance(ranges, list) or len(places) != len(ranges):
        raise Unclaimed("not one range for each quantile")
    if not all(number(one) and 0 <= one <= 1 for one in places):
        raise Unclaimed("quantiles that are not between 0 and 1")
    read = []
    for pair in ranges:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Unclaimed("a range that is not a pair")
        if not all(one is None or number(one) for one in pair):
            raise Unclaimed("a range that is not of numbers")
        read.append((_open(pair[0], -math.inf), _open(pair[1], math.inf)))
    return tuple(float(one) for one in places), read


def _open(bound: Any, default: float) -> float:
    return default if bound is None else float(bound)


def _in_range(value: float, low: float, high: float) -> bool:
    return low <= value <= high or any(
        math.isfinite(one) and abs(value - one) <= _CLOSE_TO_ZERO + _CLOSE * abs(one)
        for one in (low, high)
    )


def _numbers(expectation: Expectation, columns: Mapping[str, Column], *kinds: Kind) -> Column:
    column = column_of(expectation, columns)
    if column.kind not in kinds:
        raise Unclaimed(f"arithmetic with values of type {column.arrow}")
    return column


def _bounds(expectation: Expectation) -> Bounds:
    def read(value: Any) -> int | float:
        if not number(value):
            raise Unclaimed("a bound that is not a number")
        return int(value) if isinstance(value, int) else float(value)

    bounds = Bounds.of(expectation, read)
    if bounds.large:
        raise Unclaimed("a bound beyond 2**53")
    return bounds.each(float)


def _plain_integers(column: Column, rows: Rows) -> tuple[dict[str, Measure], Guard]:
    """Guard against integers that floats do not hold; count infinities of floats instead."""
    if column.kind != Kind.INTEGER:
        return {}, never

    def guard(found: Mapping[str, Any]) -> None:
        if is_large(found):
            raise Unclaimed("integers beyond 2**53")

    return magnitude(column, rows), guard


def _largest(found: Mapping[str, Any]) -> float:
    extremes = [abs(float(found[one])) for one in ("lowest", "highest") if found[one] is not None]
    return max(extremes, default=0.0)


def _aggregate(
    expectation: Expectation,
    column: Column,
    rows: Rows,
    observe: Observe,
    measures: Mapping[str, Measure],
    *,
    arithmetic: bool,
) -> Claim:
    import polars as pl

    bounds, values = _bounds(expectation), pl.col(column.name)
    floats = column.kind in (Kind.FLOAT64, Kind.FLOAT32)
    extra, guard = (
        full_or_float(column, "aggregates") if column.kind == Kind.BOOLEAN else ({}, never)
    )

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        if column.kind == Kind.INTEGER and is_large(found):
            raise Unclaimed("integers beyond 2**53")
        value, margin = observe(found)
        if value is None:
            return False, None
        if arithmetic and margin and math.isfinite(value) and bounds.near(value, margin):
            raise Unclaimed("so near to a bound that rounding decides")
        return bounds.holds(value), value

    return Whole(
        expectation=expectation,
        measures={
            **extra,
            **({} if column.kind == Kind.BOOLEAN else magnitude(column, rows)),
            **({"infinite": Count(values.is_infinite(), rows)} if floats else {}),
            **measures,
            "total": Total(rows),
            "present": Present(column.name, rows),
        },
        judge=judge,
        infinite=rows.mask(values.is_infinite()) if floats else None,
        own=lambda found: "moments" in found and bool(found["moments"].beyond_floats),
    )


def _summed(
    expectation: Expectation,
    column: Column,
    rows: Rows,
    value: Callable[[Any], Any],
    *,
    per_row: bool,
) -> Claim:
    import polars as pl

    def observe(found: Mapping[str, Any]) -> tuple[Any, float]:
        taken = found["sum"]
        result = value(taken)
        if result is None or math.isnan(result):
            return None, 0.0
        if column.kind == Kind.BOOLEAN:
            return result, 0.0
        weight = taken.count * _largest(found)
        if column.kind == Kind.INTEGER and weight < EXACT:
            return result, 0.0
        if column.kind == Kind.INTEGER:
            raise Unclaimed("a sum beyond 2**53")
        margin = _EPSILON * taken.count * weight
        return result, (margin / taken.count if per_row else margin)

    values = pl.col(column.name)
    return _aggregate(
        expectation, column, rows, observe, {"sum": ExactSum(values, rows)}, arithmetic=True
    )


def _extreme(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows, which: str
) -> Claim:
    column = column_of(expectation, columns)
    if column.kind == Kind.DATETIME:
        return _latest(expectation, column, rows, which)
    if column.kind not in (Kind.INTEGER, Kind.FLOAT64, Kind.FLOAT32):
        raise Unclaimed(f"extremes of values of type {column.arrow}")

    def observe(found: Mapping[str, Any]) -> tuple[Any, float]:
        return found[which], 0.0

    if column.kind != Kind.FLOAT32:
        return _aggregate(expectation, column, rows, observe, {}, arithmetic=False)
    return _single(expectation, column, rows, which)


def _single(expectation: Expectation, column: Column, rows: Rows, which: str) -> Claim:
    """Compare as numpy compares a 32-bit float: the bound becomes one too."""
    import polars as pl

    bounds, values = _bounds(expectation).each(_rounded), pl.col(column.name)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        value = found[which]
        return (False, None) if value is None else (bounds.holds(value), value)

    return Whole(
        expectation=expectation,
        measures={
            **magnitude(column, rows),
            "infinite": Count(values.is_infinite(), rows),
            "total": Total(rows),
            "present": Present(column.name, rows),
        },
        judge=judge,
        infinite=rows.mask(values.is_infinite()),
    )


def _rounded(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        raise Unclaimed("a bound that 32-bit floats do not reach") from None


def _latest(expectation: Expectation, column: Column, rows: Rows, which: str) -> Claim:
    import polars as pl

    bounds, ticks = tick_bounds(expectation, column), pl.col(column.name).to_physical()
    measure = Minimum(ticks, rows) if which == "lowest" else Maximum(ticks, rows)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        value = found["extreme"]
        if value is None:
            return False, "NaT"
        return bounds.holds(value), _written(value, column)

    return Whole(
        expectation=expectation,
        measures={"total": Total(rows), "present": Present(column.name, rows), "extreme": measure},
        judge=judge,
    )


def _written(value: int, column: Column) -> str:
    """Return a time as pandas writes it."""
    per_second = _TICKS[str(getattr(column.dtype, "time_unit", "us"))]
    seconds, ticks = divmod(value, per_second)
    nanos = ticks * (1_000_000_000 // per_second)
    try:
        zone = ZoneInfo(str(getattr(column.dtype, "time_zone", "UTC"))) if zoned(column) else None
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        shown = moment.astimezone(zone) if zone else moment.replace(tzinfo=None)
    except (OverflowError, ZoneInfoNotFoundError, ValueError):
        raise Unclaimed("a time that Python cannot show") from None
    text = shown.strftime("%Y-%m-%d %H:%M:%S")
    if nanos:
        text += f".{nanos:09d}" if nanos % 1_000 else f".{nanos // 1_000:06d}"
    offset = shown.strftime("%z")
    return text + (f"{offset[:3]}:{offset[3:5]}" if offset else "")
