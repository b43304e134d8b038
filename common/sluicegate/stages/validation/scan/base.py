"""The words of the one-scan engine: columns, measures, claims.

A suite is planned into one scan of the data. Each expectation either becomes a *claim*, or is
left to Great Expectations with a reason. A claim says which *measures* it needs, and what
they mean. Measures that several claims share are taken once, for all of them in one pass over
batches of rows; each keeps a state whose size does not grow with the data, or that spills.

What a claim concludes is what Great Expectations would have concluded about the same file as
pandas reads it, with the same counts, or something stricter, which the answer's engine says.
A claim that finds, after the scan, that it cannot be sure of that, raises :class:`Unclaimed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from sluicegate.stages.validation.answers import Answer, Unclaimed
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Claim", "Column", "Kind", "Measure", "RowFinder", "Rows", "State", "Unclaimed"]


class Kind(StrEnum):
    """What a column holds, as coarsely as most claims need to know."""

    INTEGER = "integer"
    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATETIME = "datetime"
    """A timestamp, with or without a time zone: see the column's ``dtype``."""
    DATE = "date"
    NULL = "null"
    """Nothing but missing values, by its type."""
    NESTED = "nested"
    """Lists, structs, maps."""
    OTHER = "other"
    """Binary, decimal, time, duration, and whatever comes: left to Great Expectations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as batches hold it."""

    name: str
    kind: Kind
    dtype: pl.DataType
    """Its polars type in every batch. NaN never occurs: it was made null, as pandas reads it."""
    arrow: str
    """Its type in the file, in the words of Arrow (``int64``, ``timestamp[us, tz=UTC]``); for
    files without types, the one that was inferred."""
    nullable: bool = True
    """Whether the file's schema allows missing values; True where there is no schema."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a question is about: all of them, or those that a condition selects."""

    condition: pl.Expr | None = None
    """Boolean over the rows of a batch, never null."""

    def of(self, expression: pl.Expr) -> pl.Expr:
        """Return an expression over rows, restricted to these rows; aggregate what it gives."""
        return expression if self.condition is None else expression.filter(self.condition)

    def mask(self, expression: pl.Expr) -> pl.Expr:
        """Return a boolean expression that is false for other rows and for null."""
        mask = expression.fill_null(value=False)
        return mask if self.condition is None else mask & self.condition


class State(Protocol):
    """What a measure has seen so far."""

    def add(self, values: Sequence[Any], frame: pl.DataFrame, /) -> None:
        """Take in one batch.

        Args:
            values: of the measure's expressions, in their order.
            frame: the rows of the batch.
        """
        ...

    def finish(self) -> Any:
        """Return what was measured, over all batches; called once, and releases resources."""
        ...


class Measure(Protocol):
    """One quantity of the data. Small, immutable; the state is apart."""

    @property
    def key(self) -> str:
        """Equal for measures that always come to the same: they are taken once."""
        ...

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return aggregations, one value each, computed for all measures in one select."""
        ...

    def start(self) -> State:
        """Return the state before the first row."""
        ...


RowFinder = Callable[["pl.DataFrame"], "pl.Series"]
"""Marks rows of a batch: a boolean series of its height."""


class Claim(Protocol):
    """One expectation that the scan answers."""

    @property
    def expectation(self) -> Expectation:
        """What is asked."""
        ...

    @property
    def measures(self) -> Mapping[str, Measure]:
        """What must be measured, by names of the claim's own."""
        ...

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """Return the answer, without positions of rows.

        Args:
            found: what was measured, by the names in :attr:`measures`.

        Raises:
            Unclaimed: the data is such that only Great Expectations can say.
        """
        ...

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        """Return what marks the rows that are not as expected; None where no row is to blame.

        Asked only after an answer that is a failure: rows are found in a second pass. A row
        is marked exactly if it was counted as unexpected.
        """
        ...


ClaimMaker = Callable[[Expectation, Mapping[str, Column], Rows], Claim]
"""Plans one expectation, or raises :class:`Unclaimed`. A column that does not exist is
answered before."""
