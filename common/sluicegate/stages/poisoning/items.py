"""Items: what rows can have in common in one column — a value, a range, a gap.

A backdoor's trigger is an item, or several that always come together. Values that repeat
exactly are items; columns with many different values are also cut into ranges of ranks,
because a trigger such as "very large" need not repeat exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset

__all__ = ["MAX_HOLDERS", "Tally", "View", "observed", "tally", "views"]

MIN_HOLDERS: Final = 5
"""Fewer rows than this are no item: five rows cannot reach the required significance
against the number of items there are."""

MAX_HOLDERS: Final = 0.2
"""An item held by a larger share of rows is what is usual, not a trigger."""

RANGES: Final = 32
"""A column with more different values than this is also cut into this many ranges of ranks;
each holds about 3 % of the rows, a common share of poison."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One way to sort a column's rows into items."""

    kind: str
    """``value``, ``range`` or ``missing``."""
    code: npt.NDArray[np.int64]
    """Shape (rows,): the item of each row, 0 … items-1."""
    items: npt.NDArray[np.int64]
    """Items with a usable number of holders, ascending."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Observed and expected labels among the holders of each item; shapes (items, classes)."""

    holders: npt.NDArray[np.int64]
    """Shape (items,): how many rows hold each item."""
    observed: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]

    @property
    def z(self) -> npt.NDArray[np.float64]:
        """Excess over the expected count in standard deviations, damped by half a row."""
        import numpy as np

        score: npt.NDArray[np.float64] = (self.observed - self.expected) / np.sqrt(
            self.variance + 0.5
        )
        return score


def views(data: Dataset, feature: int) -> Iterator[View]:
    """Yield the views of one column that have at least one item."""
    import numpy as np

    column, gaps = data.x[:, feature], data.missing[:, feature]
    distinct, exact = np.unique(column, return_inverse=True)
    exact[gaps] = len(distinct)  # filled-in values are not what these rows have in common
    candidates = [View("value", exact, _usable(exact, skip=len(distinct)))]
    if len(distinct) > RANGES:
        cuts = np.unique(np.quantile(column, np.arange(1, RANGES) / RANGES))
        binned = np.searchsorted(cuts, column, side="right")
        binned[gaps] = RANGES
        candidates.append(View("range", binned, _usable(binned, skip=RANGES)))
    if gaps.any():
        candidates.append(View("missing", gaps.astype(np.int64), _usable(gaps, skip=0)))
    yield from (view for view in candidates if len(view.items))


def _usable(code: npt.NDArray[np.integer | np.bool_], *, skip: int) -> npt.NDArray[np.int64]:
    import numpy as np

    holders = np.bincount(code)
    enough = (holders >= MIN_HOLDERS) & (holders <= MAX_HOLDERS * len(code))
    found = np.flatnonzero(enough)
    return np.asarray(found[found != skip], dtype=np.int64)


def tally(
    code: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
) -> Tally:
    """Count labels by item, and add up what a model expected.

    Args:
        code: shape (rows,): the item of each row, from 0.
        y: shape (rows,): the label of each row.
        probabilities: shape (rows, classes): what the model expects without this column.
    """
    import numpy as np

    items, classes = int(code.max()) + 1, probabilities.shape[1]
    expected = np.empty((items, classes))
    variance = np.empty((items, classes))
    for label in range(classes):
        p = probabilities[:, label]
        expected[:, label] = np.bincount(code, p, items)
        variance[:, label] = np.bincount(code, p * (1.0 - p), items)
    return Tally(
        holders=np.bincount(code, minlength=items),
        observed=observed(code, y, items, classes),
        expected=expected,
        variance=variance,
    )


def observed(
    code: npt.NDArray[np.int64], y: npt.NDArray[np.int64], items: int, classes: int
) -> npt.NDArray[np.float64]:
    """Count the rows of each item and label; shape (items, classes)."""
    import numpy as np

    counts = np.bincount(code * classes + y, minlength=items * classes)
    return counts.reshape(items, classes).astype(np.float64)
