"""Label shares: a label that became more or less frequent than chance explains."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations.arguments import (
    COLUMN,
    CONFIDENCE,
    SHARE,
    SHARES_BY_LABEL,
    Argument,
    Fault,
)
from sluicegate.stages.validation.expectations.literals import (
    comparable,
    is_boolean,
    is_numeric,
    members,
    places,
)
from sluicegate.stages.validation.expectations.measures import Levels, LevelsFound
from sluicegate.stages.validation.expectations.noise import total_variation_bound
from sluicegate.stages.validation.expectations.questions import (
    Misfit,
    count,
    nothing_to_judge,
    within_noise,
)
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    from sluicegate.stages.validation.scan.base import Measure

__all__ = ["CONFIDENT", "SPECS", "normal", "sum_fault"]

CONFIDENT: Final = 0.999
"""One clean batch in a thousand may exceed the noise that is allowed, at most: a pipeline
that validates hourly would see less than one such batch in a month."""

ROUNDING: Final = 0.001
"""How far shares may be from a sum of 1: they were rounded when they were written."""

_WHOLE: Final = re.compile(r"-?[0-9]{1,30}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_TRUTH: Final = MappingProxyType({"true": True, "True": True, "false": False, "False": False})


def normal(shares: list[float]) -> list[float]:
    """Return shares that sum to 1."""
    total = math.fsum(shares)
    return [share / total for share in shares]


def sum_fault(at: str, shares: list[float]) -> Fault | None:
    """Return what is wrong with the sum of shares, or None."""
    total = math.fsum(shares)
    if abs(total - 1) > ROUNDING:
        return Fault(at, f"shares that sum to 1, within {ROUNDING}", f"a sum of {total:.6g}")
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    levels: Levels
    shares: tuple[float, ...]
    """Of all labels of the suite, in its order; they sum to 1."""
    places: tuple[int | None, ...]
    """Of each label among the known values of the column; None if its type has no such."""
    max_distance: float
    confidence: float

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"levels": self.levels})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        levels: LevelsFound = found["levels"]
        nothing = nothing_to_judge(levels.total, levels.present)
        if nothing:
            return nothing
        counts = [0 if place is None else levels.counts[place] for place in self.places]
        gaps = [
            abs(number / levels.present - share)
            for number, share in zip(counts, self.shares, strict=True)
        ]
        return within_noise(
            "the distance between the label shares",
            math.fsum((*gaps, levels.others / levels.present)) / 2,
            self.max_distance,
            total_variation_bound(self.shares, levels.present, self.confidence),
            total=levels.total,
            present=levels.present,
            distribution=(*counts, levels.others),
        )

    def failing(self, _found: Mapping[str, Any]) -> None:
        return


def _ask(kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows) -> Question:
    column = columns[kwargs["column"]]
    labels = [_value(column, label) for label in kwargs["shares"]]
    known = members(column, [one for one in labels if one is not None])
    if not len(known):
        return Misfit.of(column, rows, "no label of the column's type is in the suite")
    return _Shares(
        Levels(column.name, comparable(column), known, strangers=False, rows=rows),
        tuple(normal([float(share) for share in kwargs["shares"].values()])),
        places(column, labels, known),
        float(kwargs["max_distance"]),
        float(kwargs["confidence"]),
    )


def _value(column: Column, label: str) -> Json:
    """Return a label, which is a key of JSON and so a text, as a value of a column."""
    if is_boolean(column):
        return _TRUTH.get(label)
    return _number(label) if is_numeric(column) else label


def _number(label: str) -> int | float | None:
    if _WHOLE.fullmatch(label):
        return int(label)
    return float(label) if _DECIMAL.fullmatch(label) else None


def _fault(kwargs: Mapping[str, Json]) -> Fault | None:
    if kwargs["max_distance"] >= 1:
        return Fault(".max_distance", "below 1: no distance is greater", kwargs["max_distance"])
    seen: dict[Json, str] = {}
    for label in kwargs["shares"]:
        number = _number(label)
        value: Json = label if number is None else number
        value = str(_TRUTH[label]) if label in _TRUTH else value
        if seen.setdefault(value, label) != label:
            return Fault(f".shares.{label[:80]}", "another label than the others", label)
    return sum_fault(".shares", list(kwargs["shares"].values()))


def _line(kwargs: Mapping[str, Json]) -> str:
    return (
        f"the shares of {count(len(kwargs['shares']), 'label')} in {kwargs['column']!r} are within "
        f"{kwargs['max_distance']:.10g} (total variation) of the baseline, beyond the sampling "
        f"noise at confidence {kwargs['confidence']:.10g}"
    )


SPECS: Final = (
    Spec(
        type="expect_column_label_shares_to_match",
        shape=Shape.COLUMN,
        summary="""The shares of labels are those of trusted data.

The distance is the total variation: half of the sum of |share - baseline| over all labels,
where values that are no label of the baseline count as one more, of share 0. It may be
max_distance, and on top what so many values come to by chance, with the given confidence
(the lesser of two bounds: Weissman et al. 2003, and McDiarmid 1989 around the expectation).
Labels are keys of JSON and so texts: "3" stands for 3 in a column of numbers, "true" for true
in one of truth values. Missing values are left out. Unknown if every value is missing, there
is no row, or the distance is above max_distance with too few values to tell (noise above
0.25).""",
        arguments=(
            COLUMN,
            Argument(
                name="shares",
                form=SHARES_BY_LABEL,
                explanation="share of each label in trusted data",
            ),
            Argument(
                name="max_distance",
                form=SHARE,
                explanation="total variation that is accepted beyond chance",
            ),
            Argument(
                name="confidence",
                form=CONFIDENCE,
                required=False,
                default=CONFIDENT,
                explanation="how sure the allowance for sampling noise is",
            ),
        ),
        ask=_ask,
        line=_line,
        fault=_fault,
    ),
)
"""The types of this family."""
