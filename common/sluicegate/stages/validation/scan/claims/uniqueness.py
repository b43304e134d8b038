"""Values, and combinations of values, that occur once. All members of a group count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.ranges import is_large, magnitude
from sluicegate.stages.validation.scan.claims.rules import (
    EXACT,
    Bounds,
    EachValue,
    Guard,
    Whole,
    column_of,
    gaps,
    has_gaps,
    never,
    number,
    width,
)
from sluicegate.stages.validation.scan.measures import Count, Duplicated, Present, Total
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["compound", "unique", "unique_count", "unique_share"]


def unique(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_unique``."""
    column = column_of(expectation, columns)
    extra, guard = _rounding(column, rows)
    return EachValue(
        expectation=expectation,
        measures=extra | _values(column, rows),
        marks=lambda found: found["values"].find,
        guard=guard,
        counted=lambda found: int(found["values"].rows),
    )


def unique_count(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_unique_value_count_to_be_between``."""
    column = column_of(expectation, columns)
    bounds, (extra, guard) = Bounds.of(expectation, _whole), _rounding(column, rows)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        return bounds.holds(found["values"].distinct), found["values"].distinct

    return Whole(expectation=expectation, measures=extra | _values(column, rows), judge=judge)


def unique_share(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_proportion_of_unique_values_to_be_between``."""
    column = column_of(expectation, columns)
    bounds, (extra, guard) = Bounds.of(expectation, _number), _rounding(column, rows)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        share = found["values"].distinct / found["present"] if found["present"] else 0
        return bounds.holds(share), share

    return Whole(expectation=expectation, measures=extra | _values(column, rows), judge=judge)


def compound(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_compound_columns_to_be_unique``."""
    from sluicegate.stages.validation.scan.claims.records import columns_of, judged_rows, valued

    chosen = columns_of(expectation, columns)
    if len({one.name for one in chosen}) != len(chosen):
        raise Unclaimed("a column is named twice")
    if any(one.kind == Kind.INTEGER and width(one)[1] > EXACT for one in chosen):
        guards = [gaps(one) for one in chosen if one.kind == Kind.INTEGER]
    else:
        guards = []
    mask = judged_rows(expectation, chosen)
    measures: dict[str, Measure] = {name: one for each in guards for name, one in each.items()}

    def guard(found: Mapping[str, Any]) -> None:
        if guards and any(has_gaps(one, found) for one in chosen if one.kind == Kind.INTEGER):
            raise Unclaimed("integers with gaps are rounded by pandas")

    names = tuple(one.name for one in chosen)
    return EachValue(
        expectation=expectation,
        measures={
            **measures,
            **valued(chosen, rows),
            "total": Total(rows),
            "present": Total(rows) if mask is None else Count(mask, rows),
            "values": Duplicated(names, mask, rows),
        },
        marks=lambda found: found["values"].find,
        guard=guard,
        counted=lambda found: int(found["values"].rows),
    )


def _values(column: Column, rows: Rows) -> dict[str, Measure]:
    import polars as pl

    return {
        "total": Total(rows),
        "present": Present(column.name, rows),
        "values": Duplicated((column.name,), pl.col(column.name).is_not_null(), rows),
    }


def _rounding(column: Column, rows: Rows) -> tuple[dict[str, Measure], Guard]:
    """Guard against integers that become equal when pandas makes them floats."""
    if column.kind != Kind.INTEGER or width(column)[1] <= EXACT:
        return {}, never

    def guard(found: Mapping[str, Any]) -> None:
        if has_gaps(column, found) and is_large(found):
            raise Unclaimed("integers beyond 2**53 with gaps are rounded by pandas")

    return gaps(column) | magnitude(column, rows), guard


def _number(value: Any) -> float:
    if not number(value):
        raise Unclaimed("a bound that is not a number")
    return float(value)


def _whole(value: Any) -> int:
    if not number(value) or value != int(value):
        raise Unclaimed("a bound that is not an integer")
    return int(value)
