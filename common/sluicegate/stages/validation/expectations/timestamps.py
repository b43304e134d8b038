"""Timestamps in a window: nothing from the future, nothing from before there was data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.expectations.arguments import (
    COLUMN,
    MOSTLY,
    Argument,
    Fault,
    Form,
)
from sluicegate.stages.validation.expectations.literals import comparable, is_text
from sluicegate.stages.validation.expectations.measures import Tally
from sluicegate.stages.validation.expectations.moments import (
    DAY,
    NOW,
    clock,
    is_moment,
    moment,
    outside,
    outside_text,
)
from sluicegate.stages.validation.expectations.questions import ValuesQuestion, unfit
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPECS"]

_TICKS: Final = {"ns": 1, "us": 1000, "ms": 1_000_000}
_SHOWN_TEXT: Final = 'a date or time in ISO 8601, such as "2024-02-29T12:00:00Z", or "now"'


def _ask(kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows) -> Question:
    column = columns[kwargs["column"]]
    low, high = _window(kwargs)
    mask = _outside(column, low, high)
    if mask is None:
        return unfit(column, kwargs, rows, "the column holds no dates or times")
    return ValuesQuestion(Tally(column.name, mask, ("moments", low, high), rows), kwargs["mostly"])


def _window(kwargs: Mapping[str, Json]) -> tuple[int | None, int | None]:
    first, last, now = kwargs["not_before"], kwargs["not_after"], clock()
    return (
        None if first is None else moment(first, latest=False, now=now),
        None if last is None else moment(last, latest=True, now=now),
    )


def _outside(column: Column, low: int | None, high: int | None) -> pl.Expr | None:
    import polars as pl

    dtype, values = column.dtype, pl.col(column.name)
    if isinstance(dtype, pl.Datetime):
        return outside(values.to_physical(), _TICKS[dtype.time_unit], low, high)
    if isinstance(dtype, pl.Date):
        return outside(values.to_physical(), DAY, low, high)
    return outside_text(comparable(column), low, high) if is_text(column) else None


def _moment_fault(value: Json) -> Fault | None:
    if isinstance(value, str) and is_moment(value):
        return None
    return Fault("", _SHOWN_TEXT, value)


_MOMENT: Final = Form(_SHOWN_TEXT, "text", _moment_fault)


def _fault(kwargs: Mapping[str, Json]) -> Fault | None:
    first, last = kwargs["not_before"], kwargs["not_after"]
    if first is None and last is None:
        return Fault("", "given not_before, not_after, or both", "neither")
    low, high = _window(kwargs)
    # A window that ends now is checked where it is run: a file must not expire.
    if NOW not in (first, last) and low is not None and high is not None and low > high:
        return Fault(".not_after", "not before not_before", last)
    return None


def _line(kwargs: Mapping[str, Json]) -> str:
    first, last = kwargs["not_before"], kwargs["not_after"]
    bounds = [f"not before {first}"] if first else []
    bounds += [f"not after {last}"] if last else []
    part = "" if kwargs["mostly"] == 1 else f"at least {kwargs['mostly']:.10g} of the "
    return f"{part}times in {kwargs['column']!r} are {' and '.join(bounds)}"


SPECS: Final = (
    Spec(
        type="expect_column_timestamps_to_be_within",
        shape=Shape.ROWS,
        summary="""Every date or time is not before one moment and not after another.

Bounds are ISO 8601, or "now": the moment at which the data is examined, with five minutes
for clocks that differ. Both bounds are within; a date as not_after means the whole day. A
value or a bound without a time zone is taken as UTC, a date as its first moment. Texts must be
ISO 8601 (a date, or date and time, with or without a zone); any other text is unexpected, and
so is every value of a column that holds no times. Missing values are left out. Unknown if
every value is missing, or there is no row.""",
        arguments=(
            COLUMN,
            Argument(
                name="not_before",
                form=_MOMENT,
                required=False,
                explanation="the first moment that is within",
            ),
            Argument(
                name="not_after",
                form=_MOMENT,
                required=False,
                explanation="the last moment that is within",
            ),
            MOSTLY,
        ),
        ask=_ask,
        line=_line,
        fault=_fault,
    ),
)
"""The types of this family."""
