r"""Texts that match regular expressions, or do not.

A match that owes itself to a final line feed, which Python's ``$`` ignores, is unexpected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.lengths import as_text
from sluicegate.stages.validation.scan.claims.regular import Translated, translate
from sluicegate.stages.validation.scan.claims.rules import Guard, column_of, each_value
from sluicegate.stages.validation.scan.measures import Count
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = ["match", "match_list", "not_match", "not_match_list"]


def match(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_match_regex``."""
    return _matching(expectation, columns, rows, [expectation.kwargs.get("regex")], every=False)


def match_list(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_match_regex_list``."""
    how = expectation.kwargs.get("match_on", "any")
    if how not in ("any", "all"):
        raise Unclaimed("match_on is not any or all")
    patterns = expectation.kwargs.get("regex_list")
    return _matching(expectation, columns, rows, patterns, every=how == "all")


def not_match(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_not_match_regex``."""
    return _not_matching(expectation, columns, rows, [expectation.kwargs.get("regex")])


def not_match_list(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_not_match_regex_list``."""
    return _not_matching(expectation, columns, rows, expectation.kwargs.get("regex_list"))


def _matching(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows, given: Any, *, every: bool
) -> Claim:
    column = column_of(expectation, columns)
    patterns = _translated(given)
    text, extra, guard = as_text(column, "matches")
    join = and_ if every else or_
    loose = reduce(join, (text.str.contains(one.loose) for one in patterns))
    check = _ascii_guard(column, patterns, rows)
    differs = column.kind == Kind.TEXT and any(one.loose != one.strict for one in patterns)
    return each_value(
        expectation,
        rows,
        column,
        loose,
        stricter=_only_loosely(text, patterns, join) if differs else None,
        problem=_line_ends if differs else None,
        extra=extra | check,
        guard=_both(guard),
    )


def _only_loosely(
    text: pl.Expr, patterns: Sequence[Translated], join: Callable[[pl.Expr, pl.Expr], pl.Expr]
) -> pl.Expr:
    """Return whether a text ends in a line feed without which it would not have matched.

    All other texts are null to the strict patterns, which costs nothing.
    """
    import polars as pl

    ended = pl.when(text.str.ends_with("\n")).then(text)
    strict = reduce(join, (ended.str.contains(one.strict) for one in patterns))
    return ended.is_not_null() & ~strict


def _not_matching(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows, given: Any
) -> Claim:
    column = column_of(expectation, columns)
    patterns = _translated(given)
    text, extra, guard = as_text(column, "matches")
    matches = reduce(or_, (text.str.contains(one.loose) for one in patterns))
    return each_value(
        expectation,
        rows,
        column,
        ~matches,
        extra=extra | _ascii_guard(column, patterns, rows),
        guard=_both(guard),
    )


def _translated(given: Any) -> list[Translated]:
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise Unclaimed("no list of regular expressions")
    patterns = [translate(one) for one in given]
    for one in patterns:
        _compiles(one.loose)
        _compiles(one.strict)
    return patterns


def _compiles(pattern: str) -> None:
    import polars as pl

    try:
        pl.Series(["a"]).str.contains(pattern)
    except pl.exceptions.PolarsError:
        raise Unclaimed("a regular expression that is too large") from None


def _ascii_guard(column: Column, patterns: Sequence[Translated], rows: Rows) -> dict[str, Measure]:
    import polars as pl

    if column.kind != Kind.TEXT or not any(one.ascii_only for one in patterns):
        return {}
    text = pl.col(column.name)
    return {"beyond ascii": Count(text.str.len_bytes() != text.str.len_chars(), rows)}


def _both(guard: Guard) -> Guard:
    """Return a guard that also minds texts beyond ASCII."""

    def guard_both(found: Mapping[str, Any]) -> None:
        guard(found)
        _ascii(found)

    return guard_both


def _ascii(found: Mapping[str, Any]) -> None:
    if found.get("beyond ascii"):
        raise Unclaimed(r"\w, \d or \b, and texts beyond ASCII")


def _line_ends(count: int) -> str:
    values = f"{count} value" + ("" if count == 1 else "s")
    return f'{values} matched only because "$" ignores a final line feed'
