"""The shape of a numeric distribution: counts in bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of
from sluicegate.stages.validation.scan.measures.order import numbers_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Histogram", "HistogramFound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramFound:
    """Counts of the present values."""

    counts: tuple[int, ...]
    """In each bin, one fewer than edges: a bin holds its lower edge and not its upper one; the
    last bin holds both, as ``numpy.histogram`` has it."""
    below: int
    """Below the first edge, negative infinities among them."""
    above: int
    """Above the last edge, positive infinities among them."""

    @property
    def total(self) -> int:
        """All present values."""
        return sum(self.counts) + self.below + self.above


@dataclass(slots=True)
class _Counting:
    edges: tuple[float, ...]
    totals: Any = 0

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        import numpy as np

        numbers, edges = numbers_of(values[0]), np.asarray(self.edges)
        places = np.searchsorted(edges, numbers, side="right")
        counts = np.bincount(places, minlength=len(edges) + 1)
        last = int((numbers == edges[-1]).sum())
        counts[-1] -= last
        counts[-2] += last
        self.totals = self.totals + counts

    def finish(self) -> HistogramFound:
        totals = [0] * (len(self.edges) + 1) if isinstance(self.totals, int) else self.totals
        below, *counts, above = (int(one) for one in totals)
        return HistogramFound(counts=tuple(counts), below=below, above=above)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many present values of a numeric expression lie in each bin.

    Integers beyond 2**53 are compared with the edges as floats.
    """

    expression: pl.Expr
    edges: tuple[float, ...]
    """At least two, ascending; infinite ones may be first and last."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("histogram", self.expression, repr(self.edges), rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Counting(self.edges)
