"""Duplicate share: how many rows say what another row says."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations.arguments import SHARE, TEXT, Argument, Fault, listed
from sluicegate.stages.validation.expectations.measures import Tally
from sluicegate.stages.validation.expectations.questions import nothing_to_judge, verdict
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.scan.base import Measure, RowFinder

__all__ = ["SPECS"]

_MEASURES: Final = "sluicegate.stages.validation.scan.measures"
"""Found by name when data is there: the engine of the scan in its turn imports this package."""


@dataclass(frozen=True, slots=True, eq=False)
class _Duplicates:
    tally: Tally
    duplicated: Measure
    max_share: float

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"rows": self.tally, "duplicates": self.duplicated})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        total, _, present = found["rows"]
        nothing = nothing_to_judge(total, present, 0)
        if nothing:
            return nothing
        repeated = found["duplicates"].rows
        return verdict(
            success=repeated / present <= self.max_share,
            total=total,
            present=present,
            problems=("values occur more than once",),
            unexpected=repeated,
            observed=repeated / present,
        )

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        finder: RowFinder = found["duplicates"].find
        return finder


def _ask(kwargs: Mapping[str, Json], _columns: Mapping[str, Column], rows: Rows) -> Question:
    import polars as pl

    names = _names(kwargs)
    present = pl.any_horizontal([pl.col(name).is_not_null() for name in names])
    duplicated = importlib.import_module(_MEASURES).Duplicated
    return _Duplicates(
        Tally(names[0], present, ("any", *names), rows),
        duplicated(tuple(names), present, rows),
        float(kwargs["max_share"]),
    )


def _names(kwargs: Mapping[str, Json]) -> Sequence[str]:
    names: Sequence[str] = kwargs["column_list"] or [kwargs["column"]]
    return names


def _fault(kwargs: Mapping[str, Json]) -> Fault | None:
    column, several = kwargs["column"], kwargs["column_list"]
    if (column is None) == (several is None):
        given = "neither" if column is None else "both"
        return Fault("", "given either column or column_list", given)
    if several is not None and len(set(several)) < len(several):
        return Fault(".column_list", "different columns", several)
    if kwargs["max_share"] >= 1:
        return Fault(".max_share", "below 1: no share is greater", kwargs["max_share"])
    return None


def _line(kwargs: Mapping[str, Json]) -> str:
    names = ", ".join(map(repr, _names(kwargs)))
    return f"at most {kwargs['max_share']:.10g} of the rows share their {names} with another row"


SPECS: Final = (
    Spec(
        type="expect_column_duplicate_share_to_be_less_than",
        shape=Shape.COLUMN,
        summary="""At most a share of the rows has a value that another row has too.

Every member of a group of equal values counts, as for GX's uniqueness: three equal values
among ten are a share of 0.3. A share of exactly max_share passes. Of one column, missing
values are left out; of several, rows in which all are missing, and a missing value equals
another. Counted exactly. Unknown if every value is missing, or there is no row.""",
        arguments=(
            Argument(name="column", form=TEXT, required=False, explanation="the column"),
            Argument(
                name="column_list",
                form=listed(TEXT),
                required=False,
                explanation="columns whose values together are compared, instead of one",
            ),
            Argument(
                name="max_share",
                form=SHARE,
                explanation="the most that may be duplicated, of the rows with a value",
            ),
        ),
        ask=_ask,
        line=_line,
        fault=_fault,
    ),
)
"""The types of this family."""
