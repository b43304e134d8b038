"""Kullback-Leibler divergence of a column from a partition.

The counts are exact; the sum over them is not, so near the threshold Great Expectations is
asked. Left to it as well: partitions that it builds from the data, and infinite bins.

Source: Kullback and Leibler, "On Information and Sufficiency", 1951.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.ranges import is_large, magnitude
from sluicegate.stages.validation.scan.claims.rules import (
    EXACT,
    Whole,
    column_of,
    full_or_float,
    number,
)
from sluicegate.stages.validation.scan.measures import (
    Count,
    Distinct,
    Histogram,
    Present,
    Total,
)
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["kullback_leibler"]

_SUMS_TO: Final = 1e-9
_NEAR: Final = 1e-9
_MOST_CATEGORIES: Final = 10_000


def kullback_leibler(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_kl_divergence_to_be_less_than``."""
    column = column_of(expectation, columns)
    given = expectation.kwargs.get("partition_object")
    threshold = expectation.kwargs.get("threshold")
    if not isinstance(given, dict) or not number(threshold) or float(str(threshold)) < 0:
        raise Unclaimed("no partition, or no threshold")
    if expectation.kwargs.get("bucketize_data", True) is not True:
        raise Unclaimed("data that is not put into bins")
    if set(given) == {"values", "weights"}:
        return _categories(expectation, column, rows, given)
    if set(given) - {"tail_weights"} == {"bins", "weights"}:
        return _bins(expectation, column, rows, given)
    raise Unclaimed("a partition of another form")


def _categories(
    expectation: Expectation, column: Column, rows: Rows, given: Mapping[str, Any]
) -> Claim:
    import polars as pl

    values, weights = given["values"], _weights(given["weights"])
    wanted = {Kind.TEXT: str, Kind.INTEGER: int}.get(column.kind)
    if wanted is None or not isinstance(values, list) or len(values) != len(weights):
        raise Unclaimed("categories that are not texts or integers, each with its weight")
    if any(type(one) is not wanted for one in values) or len(set(values)) != len(values):
        raise Unclaimed("categories of another type than the column, or repeated ones")
    tail, internal = _holdout(expectation, "tail"), _holdout(expectation, "internal")
    if internal or abs(math.fsum(weights) - 1) > _SUMS_TO:
        raise Unclaimed("weights that do not sum to 1")
    extra, guard = full_or_float(column, "categories")

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        guard(found)
        if found["values"].overflow or not found["present"]:
            raise Unclaimed("too many categories, or none")
        counts = found["values"].counts()
        if column.kind == Kind.INTEGER and any(abs(one) >= EXACT for one in counts):
            raise Unclaimed("integers beyond 2**53")
        new = [one for one in counts if one not in set(values)]
        scale = 1 - tail if new else 1.0
        seen = [counts.get(one, 0) for one in values] + [counts[one] for one in new]
        expected = [one * scale for one in weights] + [tail / len(new) for _ in new]
        return _verdict(seen, expected, expectation)

    mask = pl.col(column.name).is_not_null()
    return Whole(
        expectation=expectation,
        measures={
            **extra,
            "total": Total(rows),
            "present": Present(column.name, rows),
            "values": Distinct((column.name,), _MOST_CATEGORIES, mask, rows),
        },
        judge=judge,
    )


def _bins(expectation: Expectation, column: Column, rows: Rows, given: Mapping[str, Any]) -> Claim:
    import polars as pl

    if column.kind not in (Kind.INTEGER, Kind.FLOAT64):
        raise Unclaimed(f"bins of values of type {column.arrow}")
    edges, weights = _edges(given["bins"]), _weights(given["weights"])
    tails = _weights(given["tail_weights"]) if "tail_weights" in given else None
    tail, internal = _holdout(expectation, "tail"), _holdout(expectation, "internal")
    if len(edges) != len(weights) + 1 or (tails is not None and (len(tails) != 2 or tail)):
        raise Unclaimed("bins, weights and tails that do not fit")
    if abs(math.fsum([*weights, *(tails or [])]) - 1) > _SUMS_TO:
        raise Unclaimed("weights that do not sum to 1")
    expected = [one * (1 - tail - internal) for one in weights]
    empty = sum(one == 0 for one in expected)
    expected = [internal / empty if not one and internal else one for one in expected]
    ends = tails or [tail / 2, tail / 2]
    values = pl.col(column.name)
    integers = column.kind == Kind.INTEGER

    def judge(found: Mapping[str, Any]) -> tuple[bool, Any]:
        if not found["present"] or (is_large(found) if integers else found["infinities"]):
            raise Unclaimed("no values, infinities, or integers beyond 2**53")
        bins = found["bins"]
        return _verdict(
            [bins.below, *bins.counts, bins.above], [ends[0], *expected, ends[1]], expectation
        )

    check = magnitude(column, rows) if integers else {}
    return Whole(
        expectation=expectation,
        measures={
            **check,
            **({} if integers else {"infinities": Count(values.is_infinite(), rows)}),
            "total": Total(rows),
            "present": Present(column.name, rows),
            "bins": Histogram(values, tuple(edges), rows),
        },
        judge=judge,
    )


def _verdict(
    seen: Sequence[int], expected: Sequence[float], expectation: Expectation
) -> tuple[bool, float | None]:
    threshold = float(str(expectation.kwargs["threshold"]))
    total, whole = sum(seen), math.fsum(expected)
    if not whole:
        raise Unclaimed("no weight at all")
    if any(count and not weight for count, weight in zip(seen, expected, strict=True)):
        return False, None
    divergence = math.fsum(
        count / total * math.log(count / total / (weight / whole))
        for count, weight in zip(seen, expected, strict=True)
        if count
    )
    if abs(divergence - threshold) < _NEAR:
        raise Unclaimed("so near to the threshold that rounding decides")
    return divergence <= threshold, divergence


def _weights(given: Any) -> list[float]:
    if not isinstance(given, list) or not given or not all(number(one) for one in given):
        raise Unclaimed("weights that are not numbers")
    if min(given) < 0:
        raise Unclaimed("negative weights")
    return [float(one) for one in given]


def _edges(given: Any) -> list[float]:
    if not isinstance(given, list) or len(given) < 2 or not all(number(one) for one in given):
        raise Unclaimed("bins that are not finite numbers")
    edges = [float(one) for one in given]
    if any(low >= high for low, high in itertools.pairwise(edges)):
        raise Unclaimed("bins that do not ascend")
    return edges


def _holdout(expectation: Expectation, which: str) -> float:
    value = expectation.kwargs.get(f"{which}_weight_holdout", 0)
    if not number(value) or not 0 <= float(str(value)) <= 1:
        raise Unclaimed("a weight to hold out that is not between 0 and 1")
    return float(str(value))
