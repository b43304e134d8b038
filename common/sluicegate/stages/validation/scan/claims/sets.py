"""Values out of a set, and the set of values.

pandas and Python agree on what equals what where values are numbers or texts: 1, 1.0 and true
are the same, "1" is another. Only members that can equal a value of the column's type count;
members that GX parses, such as dates in text, are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.ranges import is_large, magnitude
from sluicegate.stages.validation.scan.claims.rules import (
    EXACT,
    Guard,
    Whole,
    column_of,
    each_value,
    full_or_float,
    never,
    number,
    width,
)
from sluicegate.stages.validation.scan.measures import Distinct, Present, Total
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "distinct_contain_set",
    "distinct_equal_set",
    "distinct_in_set",
    "in_set",
    "most_common",
    "not_in_set",
]

_MOST_DIFFERENT: Final = 10_000
"""Different values of which the most common one is looked for; beyond it, GX looks."""

_MOST_OUTSIDE: Final = 10_000
"""Different values outside of a set that are counted; of more, GX says how many there are."""

_FEW: Final = 8
"""Texts that are compared one by one: up to here that is faster than looking them up."""

_KINDS: Final = (
    Kind.INTEGER,
    Kind.FLOAT64,
    Kind.FLOAT32,
    Kind.BOOLEAN,
    Kind.TEXT,
)


def in_set(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_in_set``."""
    column, members, extra, guard = _question(expectation, columns, rows)
    return each_value(
        expectation, rows, column, _is_member(column, members), extra=extra, guard=guard
    )


def not_in_set(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_not_be_in_set``."""
    column, members, extra, guard = _question(expectation, columns, rows)
    return each_value(
        expectation, rows, column, ~_is_member(column, members), extra=extra, guard=guard
    )


def distinct_in_set(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_distinct_values_to_be_in_set``."""
    column, members, extra, guard = _question(expectation, columns, rows)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        return not _different(found), None

    return Whole(
        expectation=expectation,
        measures=extra | _outside(column, members, rows),
        judge=judge,
        different=_different,
    )


def distinct_equal_set(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows
) -> Claim:
    """Plan ``expect_column_distinct_values_to_equal_set``."""
    column, members, extra, guard = _question(expectation, columns, rows)

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        lacking = _lacking(expectation, found["members"].counts())
        return not _different(found) and not lacking, None

    return Whole(
        expectation=expectation,
        measures=extra | _outside(column, members, rows) | _inside(column, members, rows),
        judge=judge,
        different=_different,
    )


def distinct_contain_set(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows
) -> Claim:
    """Plan ``expect_column_distinct_values_to_contain_set``."""
    column, members, extra, guard = _question(expectation, columns, rows)
    totals: dict[str, Measure] = {
        "total": Total(rows),
        "present": Present(column.name, rows),
    }

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        return not _lacking(expectation, found["members"].counts()), None

    return Whole(
        expectation=expectation,
        measures=extra | totals | _inside(column, members, rows),
        judge=judge,
    )


def most_common(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_most_common_value_to_be_in_set``."""
    import polars as pl

    column, _, extra, guard = _question(expectation, columns, rows)
    ties = expectation.kwargs.get("ties_okay")
    wanted = set(_members(expectation))

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        if found["values"].overflow:
            raise Unclaimed("too many different values to count each")
        counts = found["values"].counts()
        top = max(counts.values(), default=0)
        common = {value for value, count in counts.items() if count == top}
        met = len(wanted & common)
        return (met > 0 if ties else len(common) == 1 and met == 1), None

    mask = pl.col(column.name).is_not_null()
    return Whole(
        expectation=expectation,
        measures={
            **extra,
            "total": Total(rows),
            "present": Present(column.name, rows),
            "values": Distinct((column.name,), _MOST_DIFFERENT, mask, rows),
        },
        judge=judge,
    )


def _question(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows
) -> tuple[Column, list[Any], dict[str, Measure], Guard]:
    """Return the column, the members that its values can equal, and what must be guarded."""
    column = column_of(expectation, columns)
    if column.kind not in _KINDS:
        raise Unclaimed(f"sets of values of type {column.arrow}")
    given = _members(expectation)
    if column.kind == Kind.TEXT:
        return column, [one for one in given if isinstance(one, str)], {}, never
    numbers = [one for one in given if isinstance(one, bool | int | float)]
    if any(abs(one) >= EXACT for one in numbers if not isinstance(one, int)):
        raise Unclaimed("floats beyond 2**53 among the members")
    if column.kind == Kind.FLOAT32 and not all(_is_single(one) for one in numbers):
        raise Unclaimed("members that a 32-bit float cannot hold")
    if column.kind == Kind.INTEGER:
        return _integer_question(column, numbers, rows)
    if any(abs(one) > EXACT for one in numbers):
        raise Unclaimed("integers beyond 2**53 among the members of a set of floats")
    return column, [float(one) for one in numbers], {}, never


def _integer_question(
    column: Column, numbers: Sequence[Any], rows: Rows
) -> tuple[Column, list[Any], dict[str, Measure], Guard]:
    least, greatest = width(column)
    whole = [int(one) for one in numbers if one == int(one)]
    members = [one for one in whole if least <= one <= greatest]
    if greatest <= EXACT:
        return column, members, {}, never
    integers, kind_guard = full_or_float(column, "sets")
    exact = all(isinstance(one, int) for one in numbers) and all(abs(one) < EXACT for one in whole)

    def guard(found: Mapping[str, Any]) -> None:
        if not is_large(found) and all(abs(one) < EXACT for one in whole):
            return
        kind_guard(found)
        if not exact:
            raise Unclaimed("integers beyond 2**53 may be compared as floats")

    return column, members, integers | magnitude(column, rows), guard


def _members(expectation: Expectation) -> list[Any]:
    members = expectation.kwargs.get("value_set")
    if not isinstance(members, list):
        raise Unclaimed("value_set is not a list")
    for one in members:
        if not (one is None or isinstance(one, str | bool) or number(one)):
            raise Unclaimed("members that are not texts or numbers")
    return members


def _is_single(value: Any) -> bool:
    import struct

    return bool(struct.unpack("f", struct.pack("f", value))[0] == value)


def _is_member(column: Column, members: list[Any]) -> pl.Expr:
    import polars as pl

    values = pl.col(column.name)
    if not members:
        return values.is_null() & values.is_not_null()
    if column.kind == Kind.TEXT and len(set(members)) <= _FEW:
        return pl.any_horizontal([values == one for one in dict.fromkeys(members)])
    if column.kind == Kind.TEXT:
        return values.is_in(pl.Series(members, dtype=pl.String).implode())
    if column.kind == Kind.INTEGER:
        return values.is_in(pl.Series(members, dtype=column.dtype).implode())
    numbers = pl.Series([float(one) for one in members], dtype=pl.Float64)
    return values.cast(pl.Float64).is_in(numbers.implode())


def _outside(column: Column, members: list[Any], rows: Rows) -> dict[str, Measure]:
    import polars as pl

    mask = pl.col(column.name).is_not_null() & ~_is_member(column, members)
    return {
        "total": Total(rows),
        "present": Present(column.name, rows),
        "outside": Distinct((column.name,), _MOST_OUTSIDE, mask, rows),
    }


def _different(found: Mapping[str, Any]) -> int:
    """Return how many different values are outside of the set."""
    if found["outside"].overflow:
        raise Unclaimed("too many different values outside of the set to count them")
    return len(found["outside"])


def _inside(column: Column, members: list[Any], rows: Rows) -> dict[str, Measure]:
    import polars as pl

    mask = pl.col(column.name).is_not_null() & _is_member(column, members)
    return {"members": Distinct((column.name,), len(members) + 1, mask, rows)}


def _lacking(expectation: Expectation, present: Mapping[Any, int]) -> set[Any]:
    return {one for one in _members(expectation) if one not in present}
