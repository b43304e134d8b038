"""Drift of a whole column: the population stability index, and Kolmogorov-Smirnov."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations.arguments import (
    CATEGORY,
    COLUMN,
    CONFIDENCE,
    NUMBER,
    POSITIVE,
    SHARE,
    Argument,
    Fault,
    Form,
    listed,
    repeated,
)
from sluicegate.stages.validation.expectations.literals import (
    comparable,
    is_numeric,
    members,
    places,
)
from sluicegate.stages.validation.expectations.measures import (
    Levels,
    LevelsFound,
    Ranks,
    RanksFound,
)
from sluicegate.stages.validation.expectations.noise import kolmogorov_bound, stability_bound
from sluicegate.stages.validation.expectations.questions import (
    Misfit,
    count,
    nothing_to_judge,
    within_noise,
)
from sluicegate.stages.validation.expectations.shares import CONFIDENT, normal, sum_fault
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    from sluicegate.stages.validation.scan.base import Measure

__all__ = ["SPECS", "distance_of_points", "stability_index"]

EMPTY_BIN: Final = 0.0001
"""Least share of a bin, on either side, in the index: the logarithm of 0 has no value. Lower
would let a single value in a bin that was empty decide; this is the usual choice."""


def stability_index(shares: Sequence[float], counts: Sequence[int]) -> float:
    """Return the population stability index of counts against baseline shares.

    sum (a - e) ln(a / e) over the bins, with shares below :data:`EMPTY_BIN` raised to it.

    Args:
        shares: of the baseline.
        counts: in the same bins.

    Source: Siddiqi, "Credit Risk Scorecards", 2006, chapter 6; it is the symmetrised
    divergence of Kullback and Leibler, "On information and sufficiency", 1951.
    """
    total = sum(counts)
    terms = []
    for share, number in zip(shares, counts, strict=True):
        expected, actual = max(share, EMPTY_BIN), max(number / total, EMPTY_BIN)
        terms.append((actual - expected) * math.log(actual / expected))
    return math.fsum(terms)


def distance_of_points(quantiles: Sequence[Sequence[float]], found: RanksFound) -> float:
    """Return how far an empirical distribution function is from known quantiles.

    The quantile at p is v: so at most p of the baseline is below v, and at least p is at most
    v. The distance is the most by which either is missed. It never exceeds the statistic of
    Kolmogorov and Smirnov against the baseline itself, of which only these points are known,
    and ties (constants, counts, integers) do not count as a distance.

    Args:
        quantiles: pairs of p and v, ascending.
        found: ranks of the values v.

    Source: Kolmogorov, "Sulla determinazione empirica di una legge di distribuzione", 1933.
    """
    gaps = [0.0]
    for (p, _), below, until in zip(quantiles, found.below, found.until, strict=True):
        gaps += [below / found.present - p, p - until / found.present]
    return max(gaps)


@dataclass(frozen=True, slots=True, eq=False)
class _Stability:
    """The index over categories, or over bins between edges."""

    measure: Levels | Ranks
    places: tuple[int | None, ...]
    """Of each category among the known values of the column."""
    shares: tuple[float, ...]
    threshold: float
    confidence: float

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"bins": self.measure})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        bins: LevelsFound | RanksFound = found["bins"]
        nothing = nothing_to_judge(bins.total, bins.present)
        if nothing:
            return nothing
        counts = self._counts(bins)
        bounded = sum(share > 0 for share in self.shares)
        return within_noise(
            "the population stability index",
            stability_index((*self.shares, 0.0), counts),
            self.threshold,
            stability_bound(bounded, bins.present, self.confidence),
            total=bins.total,
            present=bins.present,
            distribution=tuple(counts),
        )

    def _counts(self, bins: LevelsFound | RanksFound) -> list[int]:
        if isinstance(bins, LevelsFound):
            counts = [0 if place is None else bins.counts[place] for place in self.places]
        else:
            # The last bin has both of its edges, as in numpy.histogram.
            ranks = [*bins.below[:-1], bins.until[-1]]
            counts = [until - below for below, until in pairwise(ranks)]
        return [*counts, bins.present - sum(counts)]

    def failing(self, _found: Mapping[str, Any]) -> None:
        return


def _ask_stability(
    kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows
) -> Question:
    column = columns[kwargs["column"]]
    measure: Levels | Ranks
    placed: tuple[int | None, ...] = ()
    if kwargs["edges"] is not None:
        if not is_numeric(column):
            return Misfit.of(column, rows, "the column holds no numbers")
        measure = Ranks(column.name, tuple(map(float, kwargs["edges"])), rows)
    else:
        known = members(column, kwargs["categories"])
        if not len(known):
            return Misfit.of(column, rows, "no category of the column's type is in the suite")
        measure = Levels(column.name, comparable(column), known, strangers=False, rows=rows)
        placed = places(column, kwargs["categories"], known)
    return _Stability(
        measure,
        placed,
        tuple(normal([float(share) for share in kwargs["shares"]])),
        float(kwargs["threshold"]),
        float(kwargs["confidence"]),
    )


def _stability_fault(kwargs: Mapping[str, Json]) -> Fault | None:
    edges, categories, shares = kwargs["edges"], kwargs["categories"], kwargs["shares"]
    if (edges is None) == (categories is None):
        given = "neither" if edges is None else "both"
        return Fault("", "given either edges or categories", given)
    if edges is not None and not _ascending(edges):
        return Fault(".edges", "ascending numbers, each once", edges)
    if categories is not None and repeated(categories):
        return Fault(".categories", "values that occur once", "a value that occurs twice")
    bins = len(categories) if edges is None else len(edges) - 1
    if len(shares) != bins:
        return Fault(".shares", f"one share for each of {bins} bins", f"{len(shares)} shares")
    return sum_fault(".shares", shares)


def _ascending(values: Sequence[float]) -> bool:
    return all(float(low) < float(high) for low, high in pairwise(values))


def _stability_line(kwargs: Mapping[str, Json]) -> str:
    return (
        f"the distribution of {kwargs['column']!r} over {count(len(kwargs['shares']), 'bin')} is "
        f"that of the baseline: population stability index at most {kwargs['threshold']:.10g}, "
        "beyond sampling noise"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Distance:
    ranks: Ranks
    quantiles: tuple[tuple[float, float], ...]
    threshold: float
    confidence: float

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"ranks": self.ranks})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        ranks: RanksFound = found["ranks"]
        nothing = nothing_to_judge(ranks.total, ranks.present)
        return nothing or within_noise(
            "the distance between the distribution functions",
            distance_of_points(self.quantiles, ranks),
            self.threshold,
            kolmogorov_bound(ranks.present, self.confidence),
            total=ranks.total,
            present=ranks.present,
        )

    def failing(self, _found: Mapping[str, Any]) -> None:
        return


def _ask_distance(
    kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows
) -> Question:
    column = columns[kwargs["column"]]
    if not is_numeric(column):
        return Misfit.of(column, rows, "the column holds no numbers")
    quantiles = tuple((float(p), float(value)) for p, value in kwargs["quantiles"])
    ranks = Ranks(column.name, tuple(value for _, value in quantiles), rows)
    return _Distance(ranks, quantiles, float(kwargs["threshold"]), float(kwargs["confidence"]))


def _distance_fault(kwargs: Mapping[str, Json]) -> Fault | None:
    quantiles = kwargs["quantiles"]
    if not _ascending([p for p, _ in quantiles]):
        return Fault(".quantiles", "pairs whose shares ascend", quantiles)
    if any(low > high for (_, low), (_, high) in pairwise(quantiles)):
        return Fault(".quantiles", "pairs whose values do not descend", quantiles)
    if kwargs["threshold"] >= 1:
        return Fault(".threshold", "below 1: no distance is greater", kwargs["threshold"])
    return None


def _pair(value: Json) -> Fault | None:
    if not isinstance(value, list) or len(value) != 2:
        return Fault("", _PAIR.name, value)
    return SHARE.fault(value[0]) or NUMBER.fault(value[1])


_PAIR: Final = Form("a pair of a share and a value", "list of number", _pair)


def _distance_line(kwargs: Mapping[str, Json]) -> str:
    return (
        f"the distribution function of {kwargs['column']!r} is within "
        f"{kwargs['threshold']:.10g} of {count(len(kwargs['quantiles']), 'quantile')} of the "
        "baseline (Kolmogorov-Smirnov), beyond sampling noise"
    )


_CONFIDENCE: Final = Argument(
    name="confidence",
    form=CONFIDENCE,
    required=False,
    default=CONFIDENT,
    explanation="how sure the allowance for sampling noise is",
)

SPECS: Final = (
    Spec(
        type="expect_column_psi_to_be_less_than",
        shape=Shape.COLUMN,
        summary="""The population stability index (PSI) against a baseline is at most a threshold.

PSI = sum (a - e) ln(a / e), where a is a bin's share of the present values, e its share in
the baseline. Bins lie between edges (numbers; a bin has its lower edge, the last one both), or
are categories. One more bin, of share 0, takes all other values: beyond the edges, infinite,
or no known category. Shares below 0.0001 count as 0.0001. What so many values come to by
chance is allowed on top of the threshold: the quantile of chi-squared at the given confidence,
with one degree of freedom less than bins, divided by the number of values. Missing values are
left out. Unknown if every value is missing, there is no row, or the index is above the
threshold with too few values to tell (noise above 0.25).""",
        arguments=(
            COLUMN,
            Argument(
                name="edges",
                form=listed(NUMBER, least=2),
                required=False,
                explanation="edges of the bins, ascending; one more than shares",
            ),
            Argument(
                name="categories",
                form=listed(CATEGORY),
                required=False,
                explanation="categories, instead of edges; as many as shares",
            ),
            Argument(
                name="shares",
                form=listed(SHARE),
                explanation="share of each bin in trusted data",
            ),
            Argument(
                name="threshold",
                form=POSITIVE,
                required=False,
                default=0.2,
                explanation="the most that is accepted beyond chance",
            ),
            _CONFIDENCE,
        ),
        ask=_ask_stability,
        line=_stability_line,
        fault=_stability_fault,
    ),
    Spec(
        type="expect_column_ks_statistic_to_be_less_than",
        shape=Shape.COLUMN,
        summary="""The Kolmogorov-Smirnov distance to a baseline is at most a threshold.

The baseline is known by quantiles: pairs of a share p and a value v such that at most p of the
trusted values are below v and at least p are at most v. The distance is the most by which the
present values miss one of these, at any v. What so many values come to by chance is allowed
on top of the threshold: sqrt(ln(2 / (1 - confidence)) / (2 n)). Missing values are left out;
infinities are the least and greatest values. Unknown if every value is missing, there is no
row, or the distance is above the threshold with too few values to tell (noise above 0.25).""",
        arguments=(
            COLUMN,
            Argument(
                name="quantiles",
                form=listed(_PAIR, least=2),
                explanation="pairs of a share and the quantile of trusted data, ascending",
            ),
            Argument(
                name="threshold",
                form=POSITIVE,
                explanation="the most that is accepted beyond chance",
            ),
            _CONFIDENCE,
        ),
        ask=_ask_distance,
        line=_distance_line,
        fault=_distance_fault,
    ),
)
"""The types of this family."""
