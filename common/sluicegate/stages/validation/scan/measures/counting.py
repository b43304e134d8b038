"""Counts and extremes: one number a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Count", "Maximum", "Minimum", "Present", "Total"]


@dataclass(slots=True)
class _Adding:
    total: int = 0

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        self.total += int(values[0] or 0)

    def finish(self) -> int:
        return self.total


@dataclass(slots=True)
class _Keeping:
    better: Callable[[Any, Any], Any]
    best: Any = None

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        if values[0] is not None:
            self.best = values[0] if self.best is None else self.better(self.best, values[0])

    def finish(self) -> Any:
        return self.best


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """How many rows there are."""

    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("total", rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        import polars as pl

        condition = self.rows.condition
        return (pl.len() if condition is None else condition.sum(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Adding()


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """How many rows a boolean expression is true for; null counts as false."""

    mask: pl.Expr
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("count", self.mask, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.marks().sum(),)

    def marks(self) -> pl.Expr:
        """Return the rows that are counted, as a boolean expression without nulls."""
        return self.rows.mask(self.mask)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Adding()


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """How many rows have a value in a column."""

    column: str
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("present", self.column, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        import polars as pl

        return (self.rows.of(pl.col(self.column)).count(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Adding()


@dataclass(frozen=True, slots=True, eq=False)
class Minimum:
    """The least value; computed from the values, never from what a file's footer says."""

    expression: pl.Expr
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("minimum", self.expression, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).min(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Keeping(min)


@dataclass(frozen=True, slots=True, eq=False)
class Maximum:
    """The greatest value; computed from the values, never from what a file's footer says."""

    expression: pl.Expr
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("maximum", self.expression, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).max(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Keeping(max)
