"""What measured quantities mean: from counts to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import OWN, SCAN, Answer
from sluicegate.stages.validation.expectations.measures import Marked, Tally, within

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.expectations.spec import Column, Rows
    from sluicegate.stages.validation.scan.base import Measure, RowFinder

__all__ = [
    "Misfit",
    "Untold",
    "ValuesQuestion",
    "count",
    "enough",
    "nothing_to_judge",
    "unfit",
    "verdict",
    "within_noise",
]

MOST_NOISE: Final = 0.25
"""Most that a distance may be by chance for a sample to tell anything: as much is a major
shift by itself. For ten bins, categories or labels and a confidence of 0.999 it takes about
110 rows. Source: Siddiqi, "Credit Risk Scorecards", 2006, which calls an index of population
stability above 0.25 a major shift, and one below 0.1 none."""

SEVERAL_TYPES: Final = "a column holds values of several types"
NO_ROWS: Final = "there is no row to examine"
NO_VALUES: Final = "there is no value to examine: all are missing"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 value``, ``2 values``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def enough(present: int, unexpected: int, mostly: float) -> bool:
    """Return whether as many values as ``mostly`` asks for are as expected.

    Computed as Great Expectations does, so that a share on the bound has one verdict.
    """
    return (float(present) - float(unexpected)) / float(present) >= mostly


def nothing_to_judge(total: int, present: int, unexpected: int | None = None) -> Answer | None:
    """Return the answer about no values at all: nobody can tell. None if there are some.

    Args:
        total: rows.
        present: rows with a value.
        unexpected: 0 where values are judged one by one.
    """
    if present:
        return None
    return Answer(
        engine=OWN,
        success=None,
        reason=NO_VALUES if total else NO_ROWS,
        elements=total,
        missing=total,
        unexpected=unexpected,
    )


def verdict(
    *,
    success: bool,
    total: int,
    present: int,
    problems: tuple[str, ...] = (),
    unexpected: int | None = None,
    distribution: tuple[int, ...] | None = None,
    observed: Json = None,
) -> Answer:
    """Return yes or no, with the counts behind it.

    Args:
        success: the verdict.
        total: rows.
        present: rows with a value.
        problems: what is wrong, for a failure; left out of a success.
        unexpected: values that are not as expected, where they are judged one by one.
        distribution: counts of values in the bins that were asked about, others last.
        observed: what an aggregate came to.
    """
    return Answer(
        engine=SCAN,
        success=success,
        problems=() if success else problems,
        elements=total,
        missing=total - present,
        unexpected=unexpected,
        distribution=distribution,
        observed=observed,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ValuesQuestion:
    """Every present value by itself: which share of them is as expected."""

    measure: Tally | Marked
    mostly: float
    problem: str = ""
    """What is wrong with values that are not as expected, as a phrase, where the type of the
    column alone makes all of them so."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What must be measured."""
        return MappingProxyType({"values": self.measure})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """Return the answer to the counts."""
        values = found["values"]
        if isinstance(self.measure, Tally):
            total, present, unexpected = values
            problems: tuple[str, ...] = (self.problem,) if self.problem else ()
        else:
            total, present, unexpected = values.total, values.present, values.unexpected
            problems = tuple(f"{kind}: {count(number, 'row')}" for kind, number in values.kinds)
        nothing = nothing_to_judge(total, present, 0)
        if nothing:
            return nothing
        return verdict(
            success=enough(present, unexpected, self.mostly),
            total=total,
            present=present,
            problems=problems,
            unexpected=unexpected,
        )

    def failing(self, _found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        """Return what marks the rows that are not as expected."""
        if isinstance(self.measure, Tally):
            return within(self.measure.rows, self.measure.mask)
        return self.measure.mask


def unfit(column: Column, kwargs: Mapping[str, Json], rows: Rows, problem: str) -> ValuesQuestion:
    """Return the question about a column whose type alone makes every value unexpected.

    Args:
        column: the column.
        kwargs: complete arguments.
        rows: which rows.
        problem: what is wrong with such values.
    """
    import polars as pl

    mask = pl.col(column.name).is_not_null()
    return ValuesQuestion(Tally(column.name, mask, ("present",), rows), kwargs["mostly"], problem)


@dataclass(frozen=True, slots=True, eq=False)
class Untold:
    """A column whose type leaves a question without an answer."""

    tally: Tally
    reason: str

    @classmethod
    def of(cls, column: Column, rows: Rows, reason: str) -> Untold:
        """Return the question about a column.

        Args:
            column: the column.
            rows: which rows.
            reason: why nobody can tell.
        """
        import polars as pl

        mask = pl.col(column.name).is_not_null()
        return cls(Tally(column.name, mask, ("present",), rows), reason)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What must be measured."""
        return MappingProxyType({"values": self.tally})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """Return unknown."""
        total, present, _ = found["values"]
        nothing = nothing_to_judge(total, present)
        return nothing or verdict(success=False, total=total, present=present).undecided(
            self.reason
        )

    def failing(self, _found: Mapping[str, Any]) -> None:
        """No row."""
        return


@dataclass(frozen=True, slots=True, eq=False)
class Misfit:
    """A column whose type alone answers a question about all of it: no."""

    tally: Tally
    problem: str

    @classmethod
    def of(cls, column: Column, rows: Rows, problem: str) -> Misfit:
        """Return the question about a column.

        Args:
            column: the column.
            rows: which rows.
            problem: what is wrong with its type.
        """
        import polars as pl

        mask = pl.col(column.name).is_not_null()
        return cls(Tally(column.name, mask, ("present",), rows), problem)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What must be measured."""
        return MappingProxyType({"values": self.tally})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """Return no, or unknown where there is no value."""
        total, present, _ = found["values"]
        nothing = nothing_to_judge(total, present)
        return nothing or verdict(
            success=False, total=total, present=present, problems=(self.problem,)
        )

    def failing(self, _found: Mapping[str, Any]) -> None:
        """No row more than another."""
        return


def within_noise(
    what: str,
    observed: float,
    threshold: float,
    noise: float,
    *,
    total: int,
    present: int,
    distribution: tuple[int, ...] | None = None,
) -> Answer:
    """Return whether a distance is within a threshold and the noise of so many values.

    A distance up to the threshold passes. Beyond threshold and noise together it fails. In
    between it passes too, unless the noise itself is above :data:`MOST_NOISE`: then there are
    too few values to tell.

    Args:
        what: the distance, in words.
        observed: what it came to.
        threshold: the most that is expected.
        noise: what is possible by chance.
        total: rows.
        present: rows with a value.
        distribution: counts of values in the bins that were asked about, others last.
    """
    answer = verdict(
        success=observed <= threshold + noise,
        total=total,
        present=present,
        problems=(f"{what} is above {threshold:.6g}, also with {noise:.3g} for sampling noise",),
        distribution=distribution,
        observed=observed,
    )
    if threshold < observed <= threshold + noise and noise > MOST_NOISE:
        return answer.undecided(
            f"{what} is above {threshold:.6g}, and {count(present, 'value')} are too few to tell "
            "whether by chance"
        )
    return answer
