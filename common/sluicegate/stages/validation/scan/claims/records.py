"""Several columns of the same row: pairs and records.

Values of different columns are compared where pandas compares them as they are: numbers with
numbers, texts with texts, times with times of the same unit and zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import combinations
from operator import add, and_, or_
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.rules import (
    EachValue,
    Guard,
    column_of,
    number,
    plain,
)
from sluicegate.stages.validation.scan.measures import Count, Maximum, Minimum, Total
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "all_equal",
    "columns_of",
    "judged_rows",
    "pair_equal",
    "pair_greater",
    "pair_in_set",
    "sum_equals",
    "unique_within_record",
    "valued",
]

_NUMBERS: Final = (Kind.INTEGER, Kind.FLOAT64, Kind.FLOAT32)
_MOST_COLUMNS: Final = 20
_MOST_PAIRS: Final = 500
_SAFE: Final = 1 << 48
"""Integers below it can be added, 20 of them, and stay exact as floats."""

_JUDGED: Final[Mapping[str, Any]] = {
    "both_values_are_missing": or_,
    "either_value_is_missing": and_,
    "neither": None,
    "all_values_are_missing": or_,
    "any_value_is_missing": and_,
    "never": None,
}


def pair_equal(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_pair_values_to_be_equal``."""
    pair = _pair(expectation, columns)
    left, right = _comparable(*pair)
    return _records(expectation, pair, rows, left == right)


def pair_greater(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_pair_values_a_to_be_greater_than_b``."""
    pair = _pair(expectation, columns)
    if any(one.kind in (Kind.BOOLEAN, Kind.DATE) for one in pair):
        raise Unclaimed("the order of values that pandas holds as objects")
    or_equal = expectation.kwargs.get("or_equal") or False
    left, right = _comparable(*pair)
    return _records(expectation, pair, rows, left >= right if or_equal else left > right)


def pair_in_set(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_pair_values_to_be_in_set``."""
    pair = _pair(expectation, columns)
    wanted = expectation.kwargs.get("value_pairs_set")
    if not isinstance(wanted, list) or not wanted or len(wanted) > _MOST_PAIRS:
        raise Unclaimed("no list of some pairs")
    if any(not isinstance(one, list) or len(one) != 2 for one in wanted):
        raise Unclaimed("a pair that is none")
    if any(len({_kind(one) for one in side}) > 1 for side in zip(*wanted, strict=True)):
        raise Unclaimed("pairs whose members are of several kinds")
    met = _never(pair[0])
    for one in wanted:
        met = met | (_equals(pair[0], one[0]) & _equals(pair[1], one[1]))
    return _records(expectation, pair, rows, met)


def _kind(member: Any) -> str:
    """Return what a member of a set is; null is left to GX, which turns it into other things."""
    if member is None:
        raise Unclaimed("null among the members of pairs")
    return "number" if number(member) else type(member).__name__


def all_equal(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_multicolumn_values_to_be_equal``."""
    chosen = columns_of(expectation, columns)
    met = ~_never(chosen[0])
    for other in chosen[1:]:
        left, right = _comparable(chosen[0], other)
        met = met & left.eq_missing(right)
    return _records(expectation, chosen, rows, met)


def unique_within_record(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows
) -> Claim:
    """Plan ``expect_select_column_values_to_be_unique_within_record``."""
    import polars as pl

    chosen = columns_of(expectation, columns)
    families = {_family(one) for one in chosen}
    if not families <= {"numbers", "text"} and len(families) > 1:
        raise Unclaimed("columns of kinds that pandas mixes in its own way")
    if any(one.kind in (Kind.BOOLEAN, Kind.DATE) for one in chosen):
        raise Unclaimed("values that pandas holds as objects")
    equal = _never(chosen[0])
    for one, other in combinations(chosen, 2):
        if _family(one) == _family(other):
            left, right = _comparable(one, other)
            equal = equal | left.eq_missing(right)
        else:
            equal = equal | (pl.col(one.name).is_null() & pl.col(other.name).is_null())
    return _records(expectation, chosen, rows, ~equal)


def sum_equals(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_multicolumn_sum_to_equal``."""
    import polars as pl

    chosen, wanted = columns_of(expectation, columns), expectation.kwargs.get("sum_total")
    integers = all(one.kind == Kind.INTEGER for one in chosen)
    floats = all(one.kind in (Kind.INTEGER, Kind.FLOAT64) for one in chosen)
    if not number(wanted) or not (integers or (floats and len(chosen) <= 2)):
        raise Unclaimed("a sum whose rounding depends on pandas")
    summed = reduce(add, (pl.col(one.name).cast(pl.Float64) for one in chosen))
    return _records(expectation, chosen, rows, summed == pl.lit(float(str(wanted))))


def columns_of(expectation: Expectation, columns: Mapping[str, Column]) -> list[Column]:
    """Return the columns of ``column_list``.

    Raises:
        Unclaimed: no list, too many, one of them twice, or of a type pandas holds differently.
    """
    names = expectation.kwargs.get("column_list")
    if not isinstance(names, list) or not 1 <= len(names) <= _MOST_COLUMNS:
        raise Unclaimed("no list of some columns")
    if any(not isinstance(one, str) or one not in columns for one in names):
        raise Unclaimed("a name that is not of a column")
    if len(set(names)) != len(names):
        raise Unclaimed("a column that is named twice")
    return [plain(columns[str(one)]) for one in names]


def judged_rows(expectation: Expectation, chosen: Sequence[Column]) -> pl.Expr | None:
    """Return which rows are judged, as ``ignore_row_if`` says; None for all of them."""
    import polars as pl

    default = "all_values_are_missing" if "column_list" in expectation.kwargs else None
    how = expectation.kwargs.get("ignore_row_if", default or "both_values_are_missing")
    if not isinstance(how, str) or how not in _JUDGED:
        raise Unclaimed("ignore_row_if is none of its values")
    if _JUDGED[how] is None:
        return None
    present: pl.Expr = reduce(_JUDGED[how], (pl.col(one.name).is_not_null() for one in chosen))
    return present


def valued(chosen: Sequence[Column], rows: Rows) -> dict[str, Measure]:
    """Return the measure of rows where any of the columns has a value."""
    import polars as pl

    return {"valued": Count(reduce(or_, (pl.col(one.name).is_not_null() for one in chosen)), rows)}


def _pair(expectation: Expectation, columns: Mapping[str, Column]) -> list[Column]:
    pair = [column_of(expectation, columns, key) for key in ("column_A", "column_B")]
    if pair[0].name == pair[1].name:
        raise Unclaimed("a column and itself")
    return pair


def _family(column: Column) -> str:
    if column.kind in _NUMBERS:
        return "numbers"
    return str(column.dtype) if column.kind == Kind.DATETIME else str(column.kind)


def _comparable(one: Column, other: Column) -> tuple[pl.Expr, pl.Expr]:
    """Return two columns' values in a type in which they compare as in pandas."""
    import polars as pl

    if _family(one) != _family(other):
        raise Unclaimed(f"comparing {one.arrow} with {other.arrow}")
    left, right = pl.col(one.name), pl.col(other.name)
    if one.kind in _NUMBERS and one.kind == other.kind == Kind.INTEGER:
        return left.cast(pl.Int64), right.cast(pl.Int64)
    if one.kind in _NUMBERS:
        return left.cast(pl.Float64), right.cast(pl.Float64)
    return left, right


def _never(column: Column) -> pl.Expr:
    """Return what is false for every row; a literal alone would stand for one row only."""
    import polars as pl

    values = pl.col(column.name)
    return values.is_null() & values.is_not_null()


def _equals(column: Column, wanted: Any) -> pl.Expr:
    import polars as pl

    values = pl.col(column.name)
    if not isinstance(wanted, str | bool) and not number(wanted):
        raise Unclaimed("members that are not texts or numbers")
    if column.kind == Kind.TEXT:
        return values == wanted if isinstance(wanted, str) else _never(column)
    if column.kind not in (*_NUMBERS, Kind.BOOLEAN) or column.kind == Kind.FLOAT32:
        raise Unclaimed(f"sets of pairs with values of type {column.arrow}")
    if isinstance(wanted, str):
        return _never(column)
    return values.cast(pl.Float64) == float(wanted)


def _records(expectation: Expectation, chosen: Sequence[Column], rows: Rows, met: pl.Expr) -> Claim:
    """Return the claim that an expression is true of each row that is judged."""
    mask = judged_rows(expectation, chosen)
    unmet = ~met.fill_null(value=False)
    unexpected = unmet if mask is None else mask & unmet
    extra, guard = _exactness(chosen, rows)
    return EachValue(
        expectation=expectation,
        measures={
            **extra,
            **valued(chosen, rows),
            "total": Total(rows),
            "present": Total(rows) if mask is None else Count(mask, rows),
            "unexpected": Count(unexpected, rows),
        },
        marks=lambda _found: rows.mask(unexpected),
        guard=guard,
    )


def _exactness(chosen: Sequence[Column], rows: Rows) -> tuple[dict[str, Measure], Guard]:
    """Guard against large integers and infinities, with which the stricter rules deal."""
    import polars as pl

    measures: dict[str, Measure] = {}
    checks: list[Callable[[Any], bool]] = []
    for one in chosen:
        values = pl.col(one.name)
        if one.kind == Kind.INTEGER:
            measures[f"lowest {one.name}"] = Minimum(values, rows)
            measures[f"highest {one.name}"] = Maximum(values, rows)
        elif one.kind in (Kind.FLOAT64, Kind.FLOAT32):
            measures[f"infinite {one.name}"] = Count(values.is_infinite(), rows)
    checks.append(lambda value: value is None or abs(value) < _SAFE)

    def guard(found: Mapping[str, Any]) -> None:
        for name in measures:
            value = found[name]
            if name.startswith("infinite ") and value:
                raise Unclaimed("infinities")
            if not checks[0](value):
                raise Unclaimed("large integers")

    return measures, guard
