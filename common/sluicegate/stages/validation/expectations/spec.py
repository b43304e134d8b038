"""What a security expectation is: its arguments, its meaning, and one judge for all engines.

A spec turns its arguments into a :class:`Question`: which quantities of the data it needs,
and what they mean. The one-scan engine asks it over batches of a file; Great Expectations,
with the same code, over a data frame. So both come to the same verdict and the same counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations.arguments import (
    Argument,
    Fault,
    check,
    complete,
    refuse,
)
from sluicegate.stages.validation.expectations.literals import MIXED

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from sluicegate.stages.validation.scan.base import Claim, Measure, RowFinder
    from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["Column", "Question", "Rows", "Shape", "Spec"]


class Shape(StrEnum):
    """What is judged."""

    ROWS = "rows"
    """Every value of a column, by itself; ``mostly`` applies."""
    COLUMN = "column"
    """A column, or some columns, as a whole."""
    TABLE = "table"
    """The table's schema."""


class Column(Protocol):
    """What a question needs to know of a column before it sees values.

    :class:`sluicegate.stages.validation.scan.base.Column` is one.
    """

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def dtype(self) -> pl.DataType:
        """Its polars type in every batch; NaN was made null."""
        ...

    @property
    def arrow(self) -> str:
        """Its type in the file, in the words of Arrow."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether the file's schema allows missing values."""
        ...


class Rows(Protocol):
    """Which rows a question is about.

    :class:`sluicegate.stages.validation.scan.base.Rows` is one.
    """

    @property
    def condition(self) -> pl.Expr | None:
        """Boolean over the rows, never null; all rows when None."""
        ...


class Question(Protocol):
    """One expectation about columns whose types are known."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What must be measured."""
        ...

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """Return the answer to what was measured, without positions of rows."""
        ...

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        """Return what marks the rows that are not as expected, or None."""
        ...


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A question as a claim of the one-scan engine."""

    expectation: Expectation
    question: Question

    @property
    def measures(self) -> Mapping[str, Measure]:
        return self.question.measures

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        return self.question.conclude(found)

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        return self.question.failing(found)


def _no_fault(_kwargs: Mapping[str, Json]) -> Fault | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spec:
    """One security expectation type."""

    type: str
    """Its name in suite files."""
    shape: Shape
    summary: str
    """What it means, exactly, in a few sentences."""
    arguments: tuple[Argument, ...]
    ask: Callable[[Mapping[str, Json], Mapping[str, Column], Rows], Question]
    """Turns complete arguments into a question about columns, all of which exist."""
    line: Callable[[Mapping[str, Json]], str]
    """Says in one English line what complete arguments ask."""
    fault: Callable[[Mapping[str, Json]], Fault | None] = _no_fault
    """What is wrong with complete arguments taken together."""

    def check(self, kwargs: Mapping[str, Json], path: str = "$.kwargs") -> None:
        """Refuse arguments that are not understood completely.

        Args:
            kwargs: the arguments of the suite file, row condition and all.
            path: where they are in the file.

        Raises:
            ConfigurationError: an unknown, missing or wrong argument, with the nearest name
                that exists.
        """
        table = self.shape is Shape.TABLE
        fault = check(self.type, self.arguments, kwargs, table=table)
        fault = fault or self.fault(complete(self.arguments, kwargs))
        if fault:
            raise refuse(self.type, path, fault)

    def explain(self, kwargs: Mapping[str, Json]) -> str:
        """Return in one English line what arguments that were checked ask."""
        return self.line(complete(self.arguments, kwargs))

    def question(
        self, kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows
    ) -> Question:
        """Return the question that checked arguments ask about columns.

        Args:
            kwargs: the arguments.
            columns: all columns of the table, in their order.
            rows: which rows.
        """
        from sluicegate.stages.validation.expectations.questions import SEVERAL_TYPES, Untold

        named = [kwargs.get("column"), *(kwargs.get("column_list") or ())]
        for name in named:
            if name is not None and columns[name].arrow == MIXED:
                return Untold.of(columns[name], rows, SEVERAL_TYPES)
        return self.ask(complete(self.arguments, kwargs), columns, rows)

    def claim(self, expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
        """Return the claim of the one-scan engine: every column it names must exist.

        Raises:
            ConfigurationError: as :meth:`check`.
        """
        self.check(expectation.kwargs)
        return _Claimed(expectation, self.question(expectation.kwargs, columns, rows))

    def judge_frame(self, frame: pd.DataFrame, kwargs: Mapping[str, Json]) -> Answer:
        """Return the answer about a pandas data frame, by the same judge as the scan's.

        Args:
            frame: the rows; of a file, as ``pandas.read_parquet`` gives them.
            kwargs: the arguments.

        Raises:
            ConfigurationError: as :meth:`check`.
        """
        from sluicegate.stages.validation.expectations.frames import judge

        self.check(kwargs)
        return judge(self, frame, kwargs)
