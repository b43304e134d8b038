"""Missing values: what is there at all. NaN is missing too, as for pandas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluicegate.stages.validation.scan.base import Claim, Column, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.rules import Bounds, EachValue, Whole, number
from sluicegate.stages.validation.scan.measures import Count, Present, Total
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["not_null", "null", "share"]


def null(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_null``."""
    return _rows(expectation, columns, rows, wanted=False)


def not_null(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_not_be_null``."""
    return _rows(expectation, columns, rows, wanted=True)


def _rows(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows, *, wanted: bool
) -> Claim:
    import polars as pl

    name = _any_column(expectation, columns)
    values = pl.col(name)
    unexpected = values.is_null() if wanted else values.is_not_null()
    return EachValue(
        expectation=expectation,
        measures={
            "total": Total(rows),
            "present": Total(rows),
            "unexpected": Count(unexpected, rows),
        },
        marks=lambda _found: rows.mask(unexpected),
        skips=False,
    )


def share(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_proportion_of_non_null_values_to_be_between``."""
    name = _any_column(expectation, columns)
    bounds = Bounds.of(expectation, _number)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        observed = found["present"] / found["total"]
        return bounds.holds(observed), observed

    return Whole(
        expectation=expectation,
        measures={"total": Total(rows), "present": Present(name, rows)},
        judge=judge,
        empty=(),
    )


def _any_column(expectation: Expectation, columns: Mapping[str, Column]) -> str:
    """Return the name of the column: of any type, for missing is missing."""
    name = expectation.kwargs.get("column")
    if not isinstance(name, str) or name not in columns:
        raise Unclaimed("column is not the name of a column")
    return name


def _number(value: Any) -> float:
    if not number(value):
        raise Unclaimed("a bound that is not a number")
    return float(value)
