"""Measures about the order of values: quantiles, and whether values ascend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of
from sluicegate.stages.validation.scan.measures.sorted_runs import SortedRuns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["OutOfOrder", "Quantiles", "QuantilesFound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantilesFound:
    """The values around each quantile, exact; how to choose between them is up to the claim."""

    count: int
    """Present values."""
    neighbours: tuple[tuple[float | int, float | int, float], ...]
    """For each quantile ``p``: the values at ranks ``floor(p * (count - 1))`` and one above
    (the same at the end), and the fraction between them; empty without values."""
    ranks: tuple[int, ...] = ()
    """Rank of the lower neighbour of each quantile."""

    def linear(self, at: int) -> float:
        """Return a quantile, interpolated as ``numpy.quantile(method="linear")``."""
        low, high, part = self.neighbours[at]
        if low == high:
            return float(low)
        distance = high - low
        return float(low + distance * part if part < 0.5 else high - distance * (1 - part))

    def nearest(self, at: int) -> float | int:
        """Return a quantile, of two equally near values the one at the even rank."""
        low, high, part = self.neighbours[at]
        if part == 0.5:
            return low if self.ranks[at] % 2 == 0 else high
        return low if part < 0.5 else high


@dataclass(slots=True)
class _Sorting:
    at: tuple[float, ...]
    runs: SortedRuns = field(default_factory=SortedRuns)

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        self.runs.add(numbers_of(values[0]))

    def finish(self) -> QuantilesFound:
        count = self.runs.total
        if not count:
            self.runs.close()
            return QuantilesFound(count=0, neighbours=())
        places = [p * (count - 1) for p in self.at]
        ranks = tuple(math.floor(place) for place in places)
        wanted = sorted({min(rank + more, count - 1) for rank in ranks for more in (0, 1)})
        found = self._at(wanted)
        self.runs.close()
        neighbours = tuple(
            (found[rank], found[min(rank + 1, count - 1)], place - rank)
            for rank, place in zip(ranks, places, strict=True)
        )
        return QuantilesFound(count=count, neighbours=neighbours, ranks=ranks)

    def _at(self, wanted: list[int]) -> dict[int, float | int]:
        found: dict[int, float | int] = {}
        start = 0
        for numbers, times in self.runs.pieces():
            end = start + len(numbers) * times
            for rank in wanted:
                if start <= rank < end:
                    found[rank] = numbers[(rank - start) // times].item()
            start = end
        return found


def numbers_of(series: pl.Series) -> Any:
    """Return present values as one type of numbers, in whose order they are.

    Times become integers of their unit; 0.0 and -0.0 become the same.

    Raises:
        TypeError: the values are no numbers.
    """
    import polars as pl

    kind = series.dtype
    if kind.is_float():
        return series.to_numpy() + 0.0
    if kind.is_temporal():
        return series.to_physical().to_numpy()
    if kind == pl.Boolean:
        return series.cast(pl.UInt8).to_numpy()
    if not kind.is_integer() or kind in (pl.Int128, pl.UInt128):
        raise TypeError("only numbers are sorted")
    return series.to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Quantiles:
    """Exact order statistics of a numeric or temporal expression, over any number of rows.

    Times are given as integers of their unit. Infinities take part.
    """

    expression: pl.Expr
    at: tuple[float, ...]
    """Quantiles from 0 to 1."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("quantiles", self.expression, repr(self.at), rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Sorting(self.at)


@dataclass(slots=True)
class _Following:
    descending: bool
    strictly: bool
    last: pl.Series | None = None
    total: int = 0

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        series: pl.Series = values[0]
        if not len(series):
            return
        self.total += int(self._wrong(series[:-1], series[1:]).sum())
        if self.last is not None:
            self.total += int(self._wrong(self.last, series.head(1)).sum())
        self.last = series.tail(1).clone()

    def _wrong(self, before: pl.Series, after: pl.Series) -> pl.Series:
        first, second = (after, before) if self.descending else (before, after)
        return first >= second if self.strictly else first > second

    def finish(self) -> int:
        return self.total


@dataclass(frozen=True, slots=True, eq=False)
class OutOfOrder:
    """How many present values do not follow the present value before them, across batches."""

    expression: pl.Expr
    descending: bool = False
    strictly: bool = False
    """Equal neighbours count too."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("order", self.expression, self.descending, self.strictly, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Following(self.descending, self.strictly)
