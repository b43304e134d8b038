"""Ends at which a column stops by its nature: zero of an amount, a hundred of a percentage."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["PILE", "last_step", "piled", "stops_at_zero"]

PILE: Final = 0.05
"""An end that holds this share of all values is a border."""

PILE_ROWS: Final = 20
"""An end that holds fewer values may be the smallest of a rounded few."""

STEPS: Final = 3.0
"""A value that is more than so many steps beyond the last common one is none of a kind with
it: counts fall off step by step, codes do not go on at all."""

MISSING: Final = 10
"""So many values below zero must be expected before their absence says something: if they were
to come, none would be seen once in twenty thousand times."""

NEVER: Final = 0.01
"""So few values below zero are expected that a batch as large as the reference has none."""

APART: Final = 0.2
"""Values below zero stand apart from the rest if they are this far away, in standard
deviations: near the end of a normal sample of hundreds, neighbours are closer."""

PLANTED_AT_MOST: Final = 0.015
"""Largest share of values below zero that may be planted."""

_NORMAL: Final = NormalDist()


def piled(ordered: Floats, end: float, share: float) -> bool:
    """Whether so many of the values equal an end of theirs that it is a border and no chance.

    Args:
        ordered: sorted values.
        end: the first or the last of them.
        share: how many, of all.
    """
    import numpy as np

    equal = int(np.count_nonzero(ordered == end))
    return equal >= max(share * len(ordered), PILE_ROWS)


def last_step(ordered: Floats, share: float, few: float) -> float:
    """Return the last common value of a column of few values, or infinity.

    That is where a column of codes or flags ends: many rows have its last value, and what few
    lie beyond are farther away than its values are from each other.

    Args:
        ordered: sorted values.
        share: how many rows make a value common, of all.
        few: how many rows may lie beyond, of all.
    """
    import numpy as np

    last = ordered[min(int((1 - few) * len(ordered)), len(ordered) - 1)]
    start = int(np.searchsorted(ordered, last, "left"))
    stop = int(np.searchsorted(ordered, last, "right"))
    if stop == len(ordered) or not start or stop - start < max(share * len(ordered), PILE_ROWS):
        return float("inf")
    step = last - ordered[start - 1]
    return float(last) if ordered[stop] - last > STEPS * step else float("inf")


def stops_at_zero(ordered: Floats, total: int) -> bool:
    """Whether a column has no values below zero by its nature, whatever was planted there.

    The lower half of the values says, as half of a normal distribution, how many values there
    should be below zero, and below the smallest value that is not. Where far fewer are, the
    column ends before; where practically none should be, nothing is lost by saying so.

    Args:
        ordered: sorted values.
        total: how many there were before some were trimmed.
    """
    import numpy as np

    negative = int(np.searchsorted(ordered, 0.0, "left"))
    if negative > PLANTED_AT_MOST * total or negative == len(ordered):
        return False
    center, tenth = np.quantile(ordered, [0.5, 0.1])
    unit = float(center - tenth) / -_NORMAL.inv_cdf(0.1)
    if unit <= 0:
        return negative == 0
    least = float(ordered[negative])
    below_zero = total * _NORMAL.cdf(-float(center) / unit)
    below_least = total * _NORMAL.cdf((least - float(center)) / unit)
    if not negative:
        return below_least >= MISSING or below_zero <= NEVER
    apart = least - float(ordered[negative - 1]) >= APART * unit
    return (below_least >= MISSING and apart) or below_zero >= max(MISSING, 5 * negative)
