"""Lengths of values, in code points; of whole numbers, of their digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.rules import (
    Bounds,
    Guard,
    column_of,
    each_value,
    full_or_float,
    never,
    number,
)
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["as_text", "between", "equal"]

_UINT32: tuple[int, int] = (0, (1 << 32) - 1)


def between(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_value_lengths_to_be_between``."""
    column = column_of(expectation, columns)
    bounds = Bounds.of(expectation, _length)
    if bounds.reversed:
        raise Unclaimed("the lower bound lies above the upper one")
    text, extra, guard = as_text(column, "lengths")
    expected = bounds.integers(text.str.len_chars(), *_UINT32)
    return each_value(expectation, rows, column, expected, extra=extra, guard=guard)


def equal(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_value_lengths_to_equal``."""
    column = column_of(expectation, columns)
    value = expectation.kwargs.get("value")
    if not number(value):
        raise Unclaimed("a length that is not a number")
    text, extra, guard = as_text(column, "lengths")
    expected = Bounds(low=value, high=value).integers(text.str.len_chars(), *_UINT32)
    return each_value(expectation, rows, column, expected, extra=extra, guard=guard)


def as_text(column: Column, what: str) -> tuple[Any, dict[str, Measure], Guard]:
    """Return a column's values as the texts that pandas makes of them.

    Raises:
        Unclaimed: of values that are no texts or integers.
    """
    import polars as pl

    if column.kind == Kind.TEXT:
        return pl.col(column.name), {}, never
    if column.kind != Kind.INTEGER:
        raise Unclaimed(f"{what} of values of type {column.arrow}")
    return pl.col(column.name).cast(pl.String), *full_or_float(column, what)


def _length(value: Any) -> int:
    if not number(value) or value != int(value):
        raise Unclaimed("a length that is not an integer")
    return int(value)
