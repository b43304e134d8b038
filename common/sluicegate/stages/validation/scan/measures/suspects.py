"""Texts that an expression cannot vouch for, judged by a Python function one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.checks import python_mask
from sluicegate.stages.validation.scan.measures.keys import key_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Suspects", "suspects_mask"]


@dataclass(slots=True)
class _Judging:
    function: Callable[[str], bool]
    unreadable: tuple[type[Exception], ...]
    known: dict[str, bool] = field(default_factory=dict)
    total: int | str = 0

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        texts: pl.Series = values[0]
        if isinstance(self.total, str) or not len(texts):
            return
        try:
            self.total += int((~python_mask(texts, self.function, self.known)).sum())
        except self.unreadable as error:
            self.total = type(error).__name__

    def finish(self) -> int | str:
        return self.total


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """How many present texts are not as expected: neither vouched for, nor found good.

    The function is called once for each different text that no expression vouches for. Where it
    cannot read one, the name of its exception is what was measured.
    """

    column: str
    vouched: pl.Expr
    """True for texts that are certainly as expected; null counts as false."""
    function: Callable[[str], bool]
    """Whether a text is as expected."""
    unreadable: tuple[type[Exception], ...] = ()
    """What the function raises for texts that it cannot read."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("suspects", self.column, self.vouched, id(self.function), rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        import polars as pl

        mask = self.rows.mask(~self.vouched.fill_null(value=False))
        return (pl.col(self.column).filter(mask).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Judging(self.function, self.unreadable)


def suspects_mask(measure: Suspects, frame: pl.DataFrame) -> pl.Series:
    """Mark the rows of a batch that the measure counts."""
    import polars as pl

    mask = measure.rows.mask(~measure.vouched.fill_null(value=False))
    texts = frame.select(pl.when(mask).then(pl.col(measure.column))).to_series()
    return (~python_mask(texts, measure.function)).fill_null(value=False)
