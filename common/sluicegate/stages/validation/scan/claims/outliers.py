"""Values far from the others: by z-score, or by distance from the quartiles.

The window is computed exactly, and pandas computes it in floats: a value so near to its edge
that the two might differ is left to Great Expectations. Where pandas' squares overflow, the
scan's answer is its own.

Source: Tukey, "Exploratory Data Analysis", 1977, for the fences.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Measure, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.ranges import is_large, magnitude
from sluicegate.stages.validation.scan.claims.rules import EachValue, column_of, number
from sluicegate.stages.validation.scan.measures import Count, Present, Total
from sluicegate.stages.validation.scan.measures.outlying import Outlying, Window
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["outliers", "z_scores"]

_EPSILON: Final = 2.0**-52
_ENDLESS: Final = float("inf")
_SLACK: Final = 8
"""Roundings between the statistics and the comparison, generously."""


def z_scores(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_value_z_scores_to_be_less_than``."""
    threshold, both = expectation.kwargs.get("threshold"), expectation.kwargs.get("double_sided")
    if not number(threshold) or not isinstance(both, bool):
        raise Unclaimed("a threshold that is not a number, or sides that are not said")
    level = float(str(threshold))
    level = abs(level) if both else level

    def window(found: Any) -> Window | None:
        spread = found.stdev()
        if not spread:
            _must_be_whole(found, spread)
            return None
        mean = float(found.finite / found.count)
        low = mean - level * spread if both else -_ENDLESS
        return Window(
            low=low,
            high=mean + level * spread,
            strict=True,
            margin=_margin(found, level, spread),
            beyond_floats=found.beyond_floats,
        )

    return _claim(expectation, columns, rows, window, quartiles=False)


def outliers(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_not_be_outliers``."""
    method = expectation.kwargs.get("method", "iqr")
    multiplier = expectation.kwargs.get("multiplier", 1.5)
    if method not in ("iqr", "std") or not number(multiplier) or float(str(multiplier)) <= 0:
        raise Unclaimed("a method or a multiplier that is none")
    times = float(str(multiplier))

    def around_mean(found: Any) -> Window | None:
        spread = found.stdev()
        if not spread:
            _must_be_whole(found, spread)
            return None
        mean = float(found.finite / found.count)
        return Window(
            low=mean - times * spread,
            high=mean + times * spread,
            strict=True,
            margin=_margin(found, times, spread),
            beyond_floats=found.beyond_floats,
        )

    def fences(found: Any) -> Window | None:
        return _fences(found, times) if found.count else None

    quartiles = method == "iqr"
    return _claim(
        expectation, columns, rows, fences if quartiles else around_mean, quartiles=quartiles
    )


def _must_be_whole(found: Any, spread: float | None) -> None:
    """Refuse equal values that spread in floats; where nothing spreads, there is no window."""
    if spread is not None and found.finite.denominator != 1:
        raise ArithmeticError("equal fractions, whose spread may be rounded up from 0")


def _margin(found: Any, level: float, spread: float) -> float:
    mean = abs(float(found.finite / found.count))
    rows: int = found.count
    size = mean + abs(level) * spread + spread
    return _EPSILON * size * (rows + _SLACK)


def _fences(found: Any, times: float) -> Window:
    """Return Tukey's fences; without a margin if every step of it is exact in floats."""
    exact = [_linear(*one) for one in found.neighbours]
    low, high = (float(one) for one in exact)
    spread = high - low
    fences = (low - times * spread, high + times * spread)
    true_spread = exact[1] - exact[0]
    true = (exact[0] - Fraction(times) * true_spread, exact[1] + Fraction(times) * true_spread)
    steps = [*exact, true_spread, Fraction(times) * true_spread, *true]
    whole = all(Fraction(float(step)) == step for step in steps)
    size = abs(low) + abs(high) + times * spread
    return Window(
        low=fences[0],
        high=fences[1],
        strict=False,
        margin=0.0 if whole else _EPSILON * size * _SLACK,
    )


def _linear(low: float, high: float, part: float) -> Fraction:
    return Fraction(low) + (Fraction(high) - Fraction(low)) * Fraction(part)


def _claim(
    expectation: Expectation,
    columns: Mapping[str, Column],
    rows: Rows,
    window: Any,
    *,
    quartiles: bool,
) -> Claim:
    import polars as pl

    column = column_of(expectation, columns)
    if column.kind not in (Kind.INTEGER, Kind.FLOAT64):
        raise Unclaimed(f"outliers among values of type {column.arrow}")
    values = pl.col(column.name)
    integers = column.kind == Kind.INTEGER
    extra: dict[str, Measure] = magnitude(column, rows) if integers else {}
    # Infinities make the statistics meaningless; they are counted to be refused.
    finite = values if integers else pl.when(values.is_finite()).then(values)
    if not integers:
        extra = {"infinities": Count(values.is_infinite(), rows)}

    def guard(found: Mapping[str, Any]) -> None:
        if (is_large(found) if integers else found["infinities"]) or found["outlying"].doubtful:
            raise Unclaimed("infinities, integers beyond 2**53, or values on the window's edge")

    def marks(found: Mapping[str, Any]) -> pl.Expr | None:
        edges = found["outlying"].window
        if edges is None:
            return None
        if edges.strict:
            return rows.mask((values <= edges.low) | (values >= edges.high))
        return rows.mask((values < edges.low) | (values > edges.high))

    return EachValue(
        expectation=expectation,
        measures={
            **extra,
            "total": Total(rows),
            "present": Present(column.name, rows),
            "outlying": Outlying(finite, quartiles, window, _name(expectation), rows),
        },
        marks=marks,
        guard=guard,
        counted=lambda found: int(found["outlying"].outside),
        own=lambda found: bool(edges := found["outlying"].window) and edges.beyond_floats,
    )


def _name(expectation: Expectation) -> str:
    kwargs = {key: expectation.kwargs.get(key) for key in ("threshold", "double_sided", "method")}
    return f"{expectation.type} {kwargs} {expectation.kwargs.get('multiplier')}"
