"""Bounded memory of an unbounded stream: rows and values drawn by a hash.

Rows are drawn by a hash of their position, so that any stretch of the data is represented,
and the same bytes give the same sample. Values are drawn by a hash of themselves: whoever is
drawn is counted completely, so repeats are seen however far apart they are.

Source: E. Cohen and H. Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint64]

__all__ = ["MOST_ROWS", "Domain", "Repeats", "RowSample", "row_hashes"]

MOST_ROWS: Final = 1 << 18
"""Rows that are kept: a 99.9 % quantile then has 262 rows above it; 2 MB for each column."""

MOST_VALUES: Final = 1 << 16
"""Different values of a column, or rows, that are counted to see whether any comes twice."""

MOST_CATEGORIES: Final = 10_000
"""Different texts that are counted before those that came once are forgotten."""

LONGEST: Final = 200
"""Longest category in characters: longer texts are prose."""


def row_hashes(start: int, rows: int, seed: int) -> Hashes:
    """Return one hash for each of some consecutive rows.

    Args:
        start: position of the first row.
        rows: how many.
        seed: draws another sample.

    Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014 (SplitMix64).
    """
    import numpy as np

    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + rows + 1, dtype=np.uint64)
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed & ((1 << 64) - 1))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Hashes = z ^ (z >> np.uint64(31))
    return mixed


@dataclass(slots=True)
class RowSample:
    """The rows with the smallest hashes: positions and float64 columns, NaN for missing."""

    seed: int
    most: int = MOST_ROWS
    hashes: Any = None
    positions: Any = None
    columns: dict[str, Any] = field(default_factory=dict)

    def add(self, start: int, columns: dict[str, Any], rows: int) -> None:
        """Take in consecutive rows.

        Args:
            start: position of the first.
            columns: float64 arrays of this length, the same columns every time.
            rows: how many rows.
        """
        import numpy as np

        hashes = row_hashes(start, rows, self.seed)
        positions = np.arange(start, start + rows, dtype=np.int64)
        if self.hashes is not None:
            if len(self.hashes) >= self.most:
                drawn = hashes < self.hashes.max()
                hashes, positions = hashes[drawn], positions[drawn]
                columns = {name: values[drawn] for name, values in columns.items()}
            hashes = np.concatenate([self.hashes, hashes])
            positions = np.concatenate([self.positions, positions])
            columns = {
                name: np.concatenate([self.columns[name], values])
                for name, values in columns.items()
            }
        if len(hashes) > self.most:
            kept = np.sort(np.argpartition(hashes, self.most)[: self.most])
            hashes, positions = hashes[kept], positions[kept]
            columns = {name: values[kept] for name, values in columns.items()}
        self.hashes, self.positions, self.columns = hashes, positions, columns


@dataclass(slots=True)
class Repeats:
    """How many values come more than once, counted over the values with the smallest hashes."""

    most: int = MOST_VALUES
    hashes: Any = None
    counts: Any = None

    def add(self, hashes: Hashes) -> None:
        """Take in the hashes of present values."""
        import numpy as np

        if self.hashes is not None and len(self.hashes) >= self.most:
            hashes = hashes[hashes <= self.hashes[-1]]
        found, counts = np.unique(hashes, return_counts=True)
        if self.hashes is not None:
            found, inverse = np.unique(np.concatenate([self.hashes, found]), return_inverse=True)
            both = np.concatenate([self.counts, counts])
            counts = np.bincount(inverse, weights=both).astype(np.int64)
        self.hashes, self.counts = found[: self.most], counts[: self.most]

    @property
    def rows(self) -> int:
        """How many rows hold the counted values."""
        return 0 if self.counts is None else int(self.counts.sum())

    @property
    def repeated(self) -> int:
        """How many of these rows hold a value that another one holds, too."""
        return 0 if self.counts is None else int(self.counts[self.counts > 1].sum())

    @property
    def extra(self) -> int:
        """How many of these rows could go without losing a value."""
        return 0 if self.counts is None else int((self.counts - 1).sum())

    @property
    def share(self) -> float:
        """Share of rows whose value is not theirs alone."""
        return self.repeated / self.rows if self.rows else 0.0


@dataclass(slots=True)
class Domain:
    """How often each value comes, as long as there are few different ones."""

    counts: Counter[Any] = field(default_factory=Counter)
    closed: bool = True
    """Whether all values were counted; otherwise there are too many, or one is too long."""
    forgotten: int = 0
    """How many values that came once were dropped to make room."""

    def add(self, values: dict[Any, int]) -> None:
        """Take in counts of present values."""
        if not self.closed:
            return
        if any(isinstance(one, str) and len(one) > LONGEST for one in values):
            self._give_up()
            return
        self.counts.update(values)
        if len(self.counts) > MOST_CATEGORIES:
            common = Counter({one: count for one, count in self.counts.items() if count > 1})
            self.forgotten += len(self.counts) - len(common)
            self.counts = common
        if len(self.counts) > MOST_CATEGORIES // 2:
            self._give_up()

    def _give_up(self) -> None:
        self.counts.clear()
        self.closed = False
