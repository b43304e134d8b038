"""How many values lie outside of a window that follows from the values themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of
from sluicegate.stages.validation.scan.measures.order import Quantiles, QuantilesFound, numbers_of
from sluicegate.stages.validation.scan.measures.sorted_runs import SortedRuns
from sluicegate.stages.validation.scan.measures.sums import Moments, MomentsFound

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Outlying", "OutlyingFound", "Window"]

_QUARTILES: Final = (0.25, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Bounds of the values that are as expected."""

    low: float
    high: float
    strict: bool
    """Values on a bound are outside."""
    margin: float
    """Values so near to a bound cannot be judged."""
    beyond_floats: bool = False
    """Arithmetic in floats would have come to another window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlyingFound:
    """What lies outside."""

    window: Window | None
    """None if the values give no basis for one: then nothing lies outside."""
    outside: int = 0
    doubtful: int = 0
    """Values within the margin of a bound."""


WindowOf = Callable[[QuantilesFound | MomentsFound], Window | None]


@dataclass(slots=True)
class _Collecting:
    measure: Outlying
    statistics: State
    runs: SortedRuns = field(default_factory=SortedRuns)

    def add(self, values: Sequence[Any], frame: pl.DataFrame) -> None:
        self.statistics.add(values, frame)
        self.runs.add(numbers_of(values[0]))

    def finish(self) -> OutlyingFound:
        window = self.measure.window(self.statistics.finish())
        outside = doubtful = 0
        if window is not None:
            for numbers, times in self.runs.pieces():
                outside += int(_outside(numbers, window).sum()) * times
                doubtful += int(_near(numbers, window).sum()) * times
        self.runs.close()
        return OutlyingFound(window=window, outside=outside, doubtful=doubtful)


def _outside(numbers: Any, window: Window) -> Any:
    if window.strict:
        return (numbers <= window.low) | (numbers >= window.high)
    return (numbers < window.low) | (numbers > window.high)


def _near(numbers: Any, window: Window) -> Any:
    import numpy as np

    if not window.margin:
        return np.zeros(len(numbers), dtype=bool)
    values = numbers.astype("float64")
    near: Any = np.zeros(len(numbers), dtype=bool)
    for bound in (window.low, window.high):
        near |= abs(values - bound) <= window.margin
    return near


@dataclass(frozen=True, slots=True, eq=False)
class Outlying:
    """Values outside of a window around their quartiles, or their mean; exact counts.

    The values are kept sorted, on disk where they are many, until the window is known.
    """

    expression: pl.Expr
    quartiles: bool
    """The window follows from the quartiles; otherwise from the moments."""
    window: WindowOf
    name: str
    """What tells the window from others: it is part of the key."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("outlying", self.expression, self.name, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        inner: Quantiles | Moments = (
            Quantiles(self.expression, _QUARTILES, self.rows)
            if self.quartiles
            else Moments(self.expression, self.rows)
        )
        return _Collecting(self, inner.start())
