"""Values in ascending or descending order, across batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sluicegate.stages.validation.scan.base import (
    Claim,
    Column,
    Kind,
    Measure,
    RowFinder,
    Rows,
    Unclaimed,
)
from sluicegate.stages.validation.scan.claims.ranges import is_large, magnitude
from sluicegate.stages.validation.scan.claims.rules import EachValue, column_of, width
from sluicegate.stages.validation.scan.measures import Count, OutOfOrder, Present, Total
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = ["decreasing", "increasing"]


def increasing(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_increasing``."""
    return _ordered(expectation, columns, rows, descending=False)


def decreasing(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_decreasing``."""
    return _ordered(expectation, columns, rows, descending=True)


def _ordered(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows, *, descending: bool
) -> Claim:
    import polars as pl

    column = column_of(expectation, columns)
    strictly = expectation.kwargs.get("strictly") or False
    if column.kind not in (Kind.INTEGER, Kind.FLOAT64, Kind.FLOAT32, Kind.DATETIME):
        raise Unclaimed(f"the order of values of type {column.arrow}")
    if column.kind == Kind.INTEGER and width(column)[0] == 0:
        raise Unclaimed("differences of unsigned integers, which wrap around")
    if not isinstance(strictly, bool):
        raise Unclaimed("strictly is not true or false")
    values = pl.col(column.name)
    extra: dict[str, Measure] = {}
    if column.kind == Kind.INTEGER:
        extra = magnitude(column, rows)
    elif column.kind != Kind.DATETIME:
        extra = {"infinite": Count(values.is_infinite(), rows)}

    def guard(found: Mapping[str, Any]) -> None:
        if (column.kind == Kind.INTEGER and is_large(found)) or found.get("infinite"):
            raise Unclaimed("differences that floats do not hold")

    return EachValue(
        expectation=expectation,
        measures={
            **extra,
            "total": Total(rows),
            "present": Present(column.name, rows),
            "unexpected": OutOfOrder(values, descending, strictly, rows),
        },
        marks=lambda _found: _finder(values, rows, descending=descending, strictly=strictly),
        guard=guard,
    )


def _finder(values: pl.Expr, rows: Rows, *, descending: bool, strictly: bool) -> RowFinder:
    """Return what marks values that do not follow the one before; sees batches in order."""
    import polars as pl

    last: list[pl.Series] = []

    def find(frame: pl.DataFrame) -> pl.Series:
        asked = frame.select(
            pl.when(rows.mask(values.is_not_null())).then(values).alias("value")
        ).to_series()
        before = asked.shift(1).fill_null(strategy="forward")
        if last:
            before = before.fill_null(last[0].item())
        follows = asked < before if descending else asked > before
        if not strictly:
            follows |= asked == before
        if asked.drop_nulls().len():
            last[:] = [asked.drop_nulls().tail(1)]
        return (~follows).fill_null(value=False)

    return find
