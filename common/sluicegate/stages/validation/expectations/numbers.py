"""Robust ranges: bounds that a few absurd values in the trusted data could not widen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.expectations.arguments import (
    COLUMN,
    MOSTLY,
    NOT_NEGATIVE,
    NUMBER,
    Argument,
    Fault,
)
from sluicegate.stages.validation.expectations.literals import integer_limits, is_numeric
from sluicegate.stages.validation.expectations.measures import Tally
from sluicegate.stages.validation.expectations.questions import ValuesQuestion, unfit
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPECS", "bounds"]


def bounds(kwargs: Mapping[str, Json]) -> tuple[float, float]:
    """Return the bounds of a robust range, both inclusive.

    Args:
        kwargs: complete arguments: ``low``, ``high``, ``margin``.

    Source: Tukey, "Exploratory Data Analysis", 1977, fences: quantiles, and a multiple of the
    distance between them to either side.
    """
    low, high = float(kwargs["low"]), float(kwargs["high"])
    room = float(kwargs["margin"]) * (high - low)
    return low - room, high + room


def _outside(column: Column, low: float, high: float) -> pl.Expr:
    import polars as pl

    values = pl.col(column.name)
    if column.dtype.is_integer():
        return _outside_integers(values, column.dtype, math.ceil(low), math.floor(high))
    values = values.cast(pl.Float64)
    return (values < low) | (values > high)


def _outside_integers(values: pl.Expr, dtype: pl.DataType, low: int, high: int) -> pl.Expr:
    """Compare as integers: as floats, those beyond 2**53 would be rounded onto a bound."""
    import polars as pl

    least, most = integer_limits(dtype)
    if low > most or high < least:
        return values.is_not_null()
    outside = pl.lit(value=False)
    if low > least:
        outside = outside | (values < pl.lit(low, dtype=dtype))
    if high < most:
        outside = outside | (values > pl.lit(high, dtype=dtype))
    return outside & values.is_not_null()


def _ask(kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows) -> Question:
    column = columns[kwargs["column"]]
    if not is_numeric(column):
        return unfit(column, kwargs, rows, "the column holds no numbers")
    low, high = bounds(kwargs)
    mask = _outside(column, low, high)
    tally = Tally(column.name, mask, ("outside", low, high), rows)
    return ValuesQuestion(tally, kwargs["mostly"])


def _fault(kwargs: Mapping[str, Json]) -> Fault | None:
    if kwargs["low"] > kwargs["high"]:
        return Fault(".high", "at least low", kwargs["high"])
    if not all(math.isfinite(bound) for bound in bounds(kwargs)):
        return Fault(".margin", "small enough for finite bounds", kwargs["margin"])
    return None


def _line(kwargs: Mapping[str, Json]) -> str:
    low, high = bounds(kwargs)
    part = "" if kwargs["mostly"] == 1 else f"at least {kwargs['mostly']:.10g} of the "
    return f"{part}values of {kwargs['column']!r} are finite and from {low:.10g} to {high:.10g}"


SPECS: Final = (
    Spec(
        type="expect_column_values_to_be_in_robust_range",
        shape=Shape.ROWS,
        summary="""Every value is within low - margin * (high - low) and
high + margin * (high - low), bounds included.

low and high are robust quantiles of trusted data. An infinity is outside. Integers compare
exactly. Missing values (null, NaN) are left out; in a column that holds no numbers every
value is unexpected. Unknown if every value is missing, or there is no row.""",
        arguments=(
            COLUMN,
            Argument(name="low", form=NUMBER, explanation="low quantile of trusted data"),
            Argument(name="high", form=NUMBER, explanation="high quantile of trusted data"),
            Argument(
                name="margin",
                form=NOT_NEGATIVE,
                explanation="room to either side, as a multiple of high - low",
            ),
            MOSTLY,
        ),
        ask=_ask,
        line=_line,
        fault=_fault,
    ),
)
"""The types of this family."""
