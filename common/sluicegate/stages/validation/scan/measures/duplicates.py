"""Which values occur more than once: exact over any number of rows, in bounded memory.

Single columns of numbers and times are sorted in runs, and equal neighbours counted: no hash
is involved. Everything else is kept as rows, in memory as long as they are few, then parted by
a hash into files: equal rows always meet in the same part, and whether rows are equal is
decided by comparing them. A hash only parts; its random seed of each run keeps whoever wrote
the data from filling one part, and a part that is too large all the same is parted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.answers import MOST_ROWS
from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of
from sluicegate.stages.validation.scan.measures.order import numbers_of
from sluicegate.stages.validation.scan.measures.parted_rows import PartedRows, compact
from sluicegate.stages.validation.scan.measures.sorted_runs import SortedRuns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Duplicated", "DuplicatesFound"]

_MOST_BYTES: Final = 32 << 20
"""Most memory for repeated values that are kept to find their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesFound:
    """How often values occur more than once."""

    total: int
    """Rows that were asked about."""
    rows: int
    """Rows whose value another row has too; every member of a group counts."""
    distinct: int
    """Different values, exactly."""
    columns: tuple[str, ...]
    repeated: pl.DataFrame | None = None
    """The values that occur more than once, in the columns' own types; the least ones if they
    are more than an answer can name rows of, and None if even those take too much memory."""
    mask: pl.Expr | None = None
    condition: pl.Expr | None = None

    def find(self, frame: pl.DataFrame) -> pl.Series:
        """Mark the rows of a batch whose value is one of :attr:`repeated`: a row finder."""
        import polars as pl

        if self.repeated is None:
            return pl.repeat(False, frame.height, eager=True)  # noqa: FBT003
        asked = _wanted(self.mask, self.condition)
        if len(self.columns) == 1 and _is_plain(self.repeated.dtypes[0]):
            values = normal_columns(self.columns, frame.schema)[0]
            repeats = values.is_in(self.repeated.to_series().implode(), nulls_equal=True)
            return frame.lazy().select(repeats & asked).collect(engine="in-memory").to_series()
        chosen = frame.lazy().select(*normal_columns(self.columns, frame.schema), asked)
        known = self.repeated.lazy().with_columns(pl.lit(True).alias("__known__"))  # noqa: FBT003
        joined = chosen.join(
            known, on=list(self.columns), how="left", nulls_equal=True, maintain_order="left"
        )
        wanted = pl.col("__known__").fill_null(False) & pl.col("__wanted__")  # noqa: FBT003
        return joined.select(wanted).collect(engine="in-memory").to_series()


def _is_plain(kind: pl.DataType) -> bool:
    """Whether values are looked up by ``is_in``, which takes a tenth of a join's time."""
    import polars as pl

    return bool(kind.is_numeric() or kind.is_temporal() or kind in (pl.String, pl.Boolean))


def normal_columns(columns: Sequence[str], schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Return the columns with 0.0 for -0.0, which are equal."""
    import polars as pl

    return [pl.col(name) + 0.0 if schema[name].is_float() else pl.col(name) for name in columns]


def _wanted(*masks: pl.Expr | None) -> pl.Expr:
    import polars as pl

    given = [mask.fill_null(value=False) for mask in masks if mask is not None]
    every = pl.all_horizontal(given) if given else pl.lit(True)  # noqa: FBT003
    return every.alias("__wanted__")


@dataclass(slots=True)
class _Looking:
    """Rows are kept in one of two ways: which one, the first batch tells."""

    measure: Duplicated
    kind: pl.DataType | None = None
    runs: SortedRuns | None = None
    parted: PartedRows | None = None

    def add(self, _values: Sequence[Any], frame: pl.DataFrame) -> None:
        rows = self.measure.select(frame)
        if self.runs is None and self.parted is None:
            self._choose(rows)
        if self.runs is not None:
            self.runs.add(numbers_of(rows.to_series()))
        elif self.parted is not None:
            self.parted.add(rows if rows.height == frame.height else compact(rows))

    def _choose(self, rows: pl.DataFrame) -> None:
        kind = rows.dtypes[0]
        simple = kind.is_numeric() and kind.to_python() in (int, float)
        fits = not kind.is_decimal() and kind.to_python() is not None
        nulls = self.measure.mask is None  # then they may be among the values
        if rows.width == 1 and not nulls and (simple or kind.is_temporal()) and fits:
            self.kind, self.runs = kind, SortedRuns()
        else:
            self.parted = PartedRows(self.measure.columns)

    def finish(self) -> DuplicatesFound:
        total, rows, distinct, repeated = 0, 0, 0, None
        if self.runs is not None:
            total = self.runs.total
            rows, distinct, numbers = _equal_numbers(self.runs)
            repeated = self._as_values(numbers)
            self.runs.close()
        elif self.parted is not None:
            total = self.parted.total
            rows, distinct, repeated = self.parted.finish(MOST_ROWS, _MOST_BYTES)
        return DuplicatesFound(
            total=total,
            rows=rows,
            distinct=distinct,
            columns=self.measure.columns,
            repeated=repeated,
            mask=self.measure.mask,
            condition=self.measure.rows.condition,
        )

    def _as_values(self, numbers: Any) -> pl.DataFrame:
        import polars as pl

        values = pl.Series(numbers)
        kind = values.dtype if self.kind is None else self.kind
        return pl.DataFrame({self.measure.columns[0]: values.cast(kind)})


def _equal_numbers(runs: SortedRuns) -> tuple[int, int, Any]:
    """Return rows with repeated numbers, different numbers, and the least repeated numbers."""
    import numpy as np

    rows = distinct = kept = 0
    repeated: list[Any] = [np.empty(0, dtype="int64")]
    for numbers, times in runs.pieces():
        if times > 1:
            found, counted, different = numbers, times, 1
        else:
            found, counted, different = _repeated_in(numbers)
        rows += counted
        distinct += different
        if len(found) and kept < MOST_ROWS:
            repeated.append(found[: MOST_ROWS - kept])
            kept += len(repeated[-1])
    chosen = repeated[1:] or repeated
    return rows, distinct, np.concatenate(chosen)


def _repeated_in(numbers: Any) -> tuple[Any, int, int]:
    """Return what is repeated in sorted numbers, in how many rows, and the different ones."""
    import numpy as np

    same = numbers[1:] == numbers[:-1]
    equal = int(same.sum())
    if not equal:
        return numbers[:0], 0, len(numbers)
    found = np.unique(numbers[1:][same])
    return found, equal + len(found), len(numbers) - equal


@dataclass(frozen=True, slots=True, eq=False)
class Duplicated:
    """How many rows have a value, or a combination of values, that another row has too.

    As Great Expectations counts: every member of a group, 0.0 equal to -0.0. A null is equal
    to another null; rows to be skipped for their nulls are left out by the mask.
    """

    columns: tuple[str, ...]
    mask: pl.Expr | None = None
    """Only rows for which this is true. For one column, ``is_not_null()`` of it."""
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("duplicated", repr(self.columns), self.mask, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return nothing: the rows themselves are kept."""
        return ()

    def select(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a batch that are asked about, only their columns."""
        lazy = frame.lazy()
        for mask in (self.rows.condition, self.mask):
            lazy = lazy if mask is None else lazy.filter(mask)
        return lazy.select(normal_columns(self.columns, frame.schema)).collect(engine="in-memory")

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Looking(self)
