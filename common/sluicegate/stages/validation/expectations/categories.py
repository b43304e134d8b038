"""Frozen categories: no value outside of the set that trusted data had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations.arguments import (
    BOOLEAN,
    CATEGORY,
    COLUMN,
    MOSTLY,
    Argument,
    Fault,
    listed,
    repeated,
)
from sluicegate.stages.validation.expectations.literals import comparable, members, places
from sluicegate.stages.validation.expectations.measures import (
    MOST_STRANGERS,
    Levels,
    LevelsFound,
    within,
)
from sluicegate.stages.validation.expectations.questions import (
    count,
    enough,
    nothing_to_judge,
    unfit,
    verdict,
)
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.scan.base import Measure, RowFinder

__all__ = ["SPECS"]


@dataclass(frozen=True, slots=True, eq=False)
class _Frozen:
    levels: Levels
    places: tuple[int | None, ...]
    """Of each category among the known values of the column's type."""
    mostly: float
    all_present: bool

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"levels": self.levels})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        levels: LevelsFound = found["levels"]
        nothing = nothing_to_judge(levels.total, levels.present, 0)
        if nothing:
            return nothing
        counts = [0 if place is None else levels.counts[place] for place in self.places]
        absent = sum(number == 0 for number in counts)
        answer = verdict(
            success=enough(levels.present, levels.others, self.mostly),
            total=levels.total,
            present=levels.present,
            problems=(_new(levels),),
            unexpected=levels.others,
            distribution=(*counts, levels.others),
        )
        if self.all_present and absent:
            text = f"{absent} of {len(counts)} categories do not occur"
            return replace(answer, success=False, problems=(*answer.problems, text))
        return answer

    def failing(self, _found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        known = self.levels.values.is_in(self.levels.known.implode())
        return within(self.levels.rows, ~known)


def _new(levels: LevelsFound) -> str:
    if levels.strangers is None:
        return f"more than {MOST_STRANGERS} different values are not in the set"
    noun = "value that is" if levels.strangers == 1 else "values that are"
    return f"{levels.strangers} different {noun} not in the set"


def _ask(kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows) -> Question:
    column = columns[kwargs["column"]]
    known = members(column, kwargs["categories"])
    if not len(known):
        return unfit(column, kwargs, rows, "no value of the column's type is in the set")
    values = comparable(column)
    return _Frozen(
        Levels(column.name, values, known, strangers=True, rows=rows),
        places(column, kwargs["categories"], known),
        kwargs["mostly"],
        bool(kwargs["all_present"]),
    )


def _fault(kwargs: Mapping[str, Json]) -> Fault | None:
    if repeated(kwargs["categories"]):
        return Fault(".categories", "values that occur once", "a value that occurs twice")
    return None


def _line(kwargs: Mapping[str, Json]) -> str:
    number = count(len(kwargs["categories"]), "known value")
    every = ", and each of them occurs" if kwargs["all_present"] else ""
    part = "" if kwargs["mostly"] == 1 else f" (at least {kwargs['mostly']:.10g} of them)"
    return f"values of {kwargs['column']!r}{part} are among {number}{every}"


SPECS: Final = (
    Spec(
        type="expect_column_categories_to_be_frozen",
        shape=Shape.ROWS,
        summary="""No value is outside of a set of categories.

A value of another type than a category is another value: "1", 1 and true are three; 1 and
1.0 are one. Missing values (null, NaN) are left out. The answer says how many different
values were new. With all_present, the expectation also fails if a category does not occur.
Unknown if every value is missing, or there is no row.""",
        arguments=(
            COLUMN,
            Argument(
                name="categories",
                form=listed(CATEGORY),
                explanation="every value that may occur",
            ),
            Argument(
                name="all_present",
                form=BOOLEAN,
                required=False,
                default=False,
                explanation="whether each category must occur",
            ),
            MOSTLY,
        ),
        ask=_ask,
        line=_line,
        fault=_fault,
    ),
)
"""The types of this family."""
