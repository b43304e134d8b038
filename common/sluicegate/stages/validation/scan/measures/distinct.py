"""The different values of a column, with how often each occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of
from sluicegate.stages.validation.scan.measures.parted_rows import compact

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Distinct", "DistinctFound"]

_COUNT: Final = "__count__"
_PENDING: Final = 8
"""Batches whose values wait to be merged with those before them."""

_MOST_BYTES: Final = 64 << 20
"""Most memory for values; beyond it they count as too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistinctFound:
    """The different values of some columns."""

    overflow: bool
    """There are more than were asked for; then nothing else is known."""
    frame: pl.DataFrame | None
    """The columns, and ``__count__``: one row for each different value, in no order. None
    after an overflow, and where there was no row."""

    def __len__(self) -> int:
        """Return how many different values there are; 0 after an overflow."""
        return 0 if self.frame is None else self.frame.height

    def counts(self) -> dict[Any, int]:
        """Return each value, as a Python object, with its count; of several columns, tuples."""
        if self.frame is None:
            return {}
        names = [name for name in self.frame.columns if name != _COUNT]
        rows = self.frame.select(names).rows()
        values = [row[0] for row in rows] if len(names) == 1 else rows
        return dict(zip(values, self.frame[_COUNT].to_list(), strict=True))


@dataclass(slots=True)
class _Collecting:
    measure: Distinct
    parts: list[pl.DataFrame] = field(default_factory=list)
    overflow: bool = False

    def add(self, _values: Sequence[Any], frame: pl.DataFrame) -> None:
        import polars as pl

        if self.overflow:
            return
        rows = self.measure.select(frame)
        names = list(self.measure.columns)
        self.parts.append(rows.group_by(names).agg(pl.len().cast(pl.Int64).alias(_COUNT)))
        if len(self.parts) >= _PENDING or self.parts[-1].height > self.measure.most:
            self._merge()

    def _merge(self) -> None:
        import polars as pl

        names = list(self.measure.columns)
        merged = pl.concat(self.parts)
        if len(self.parts) > 1:
            merged = merged.group_by(names).agg(pl.col(_COUNT).sum())
        if merged.height > self.measure.most or merged.estimated_size() > _MOST_BYTES:
            self.overflow, self.parts = True, []
        else:
            self.parts = [compact(merged)]

    def finish(self) -> DistinctFound:
        if self.parts:
            self._merge()
        frame = self.parts[0] if self.parts else None
        return DistinctFound(overflow=self.overflow, frame=frame)


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """Different values with counts, as long as there are at most ``most`` of them.

    A null is a value like any other: leave it out by the mask. 0.0 and -0.0 are the same.
    """

    columns: tuple[str, ...]
    most: int = 10_000
    mask: pl.Expr | None = None
    """Only rows for which this is true."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("distinct", repr(self.columns), self.most, self.mask, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return nothing: after an overflow nothing must be computed any more."""
        return ()

    def select(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a batch that are asked about, only their columns."""
        import polars as pl

        lazy = frame.lazy()
        for mask in (self.rows.condition, self.mask):
            lazy = lazy if mask is None else lazy.filter(mask)
        return lazy.select(pl.col(list(self.columns))).collect(engine="in-memory")

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Collecting(self)
