"""Questions about the table: its rows and its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sluicegate.stages.validation.scan.base import Claim, Column, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.rules import Bounds, Whole, number
from sluicegate.stages.validation.scan.measures import Total
from sluicegate.stages.validation.suites.model import Expectation

__all__ = [
    "column_count",
    "column_count_between",
    "column_exists",
    "column_set",
    "ordered_columns",
    "row_count",
    "row_count_between",
]


def row_count(expectation: Expectation, _columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_table_row_count_to_equal``."""
    value = _integer(expectation.kwargs.get("value"))
    return _table(expectation, rows, lambda total: (total == value, total))


def row_count_between(
    expectation: Expectation, _columns: Mapping[str, Column], rows: Rows
) -> Claim:
    """Plan ``expect_table_row_count_to_be_between``."""
    bounds = Bounds.of(expectation, _integer)
    return _table(expectation, rows, lambda total: (bounds.holds(total), total))


def column_count(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_table_column_count_to_equal``."""
    value, count = _integer(expectation.kwargs.get("value")), len(columns)
    return _table(expectation, rows, lambda _total: (count == value, count))


def column_count_between(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows
) -> Claim:
    """Plan ``expect_table_column_count_to_be_between``."""
    bounds, count = Bounds.of(expectation, _number), len(columns)
    return _table(expectation, rows, lambda _total: (bounds.holds(count), count))


def column_exists(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_to_exist``."""
    name, at = expectation.kwargs.get("column"), expectation.kwargs.get("column_index")
    if not isinstance(name, str):
        raise Unclaimed("column is not a name")
    if at is not None and (isinstance(at, bool) or not isinstance(at, int) or at < 0):
        raise Unclaimed("column_index is not the place of a column")
    names = list(columns)
    # GX takes the place 0 for none, and asks only whether the column is there.
    exists = at < len(names) and names[at] == name if at else name in columns
    return _table(expectation, rows, lambda _total: (exists, None))


def ordered_columns(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_table_columns_to_match_ordered_list``."""
    wanted, names = _names(expectation.kwargs.get("column_list")), list(columns)
    return _table(expectation, rows, lambda _total: (wanted == names, None))


def column_set(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_table_columns_to_match_set``."""
    wanted = set(_names(expectation.kwargs.get("column_set")))
    exact = expectation.kwargs.get("exact_match", True)
    if not isinstance(exact, bool):
        raise Unclaimed("exact_match is not true or false")
    met = wanted == set(columns) if exact else wanted <= set(columns)
    return _table(expectation, rows, lambda _total: (met, None))


def _table(expectation: Expectation, rows: Rows, judge: Callable[[int], tuple[bool, Any]]) -> Claim:
    return Whole(
        expectation=expectation,
        measures={"total": Total(rows)},
        judge=lambda found: judge(found["total"]),
        empty=(),
    )


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unclaimed("an argument that is not an integer")
    return value


def _number(value: Any) -> float:
    if not number(value):
        raise Unclaimed("a bound that is not a number")
    return float(value)


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unclaimed("no list of column names")
    return value
