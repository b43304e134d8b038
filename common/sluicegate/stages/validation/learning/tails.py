"""How far values may lie from the rest: bounds that a few planted values cannot move.

The smallest and the largest value of a reference are whatever somebody planted there. So a
bound is never read off the ends of the data. Each side of the median gets a model of its own,
fitted to quantiles that one percent of planted values cannot reach, and the model says where
values become so rare that a clean batch has none. Values beyond are trimmed, and the rest is
modelled again, until nothing changes.

The model is the g-distribution: ``median + b (exp(g z) - 1) / g`` of a normal ``z``. With
``g`` = 0 it is normal, with growing ``g`` log-normal and heavier; ``g`` and ``b`` follow from
three quantiles. Two kinds of sides are told apart first, because no curve describes them:

* without spread (most values are equal, few differ): bounded by a multiple of what the few
  reach;
* with a second hump far out: bounded by the range that the inner 98.5 % span, twice more.

Values beyond a gap that no tail leaves are planted whatever the model says: see
:func:`_before_gap`. An end where values pile up, and a zero that a column stops at, is a bound
as it stands: see :mod:`~sluicegate.stages.validation.learning.borders`.

Limits: more than :data:`TRIMMED_AT_MOST` planted values are taken for part of the data, and
planted values that lie where the model would put genuine ones are not seen. Tails as heavy
as Cauchy's have no bound that is both useful and never exceeded.

Sources: D. C. Hoaglin, "Summarizing shape numerically: the g-and-h distributions", 1985;
J. Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3,
1975.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from sluicegate.stages.validation.learning.borders import PILE, last_step, piled, stops_at_zero

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["TRIMMED_AT_MOST", "Bounds", "robust_bounds"]

TRIMMED_AT_MOST: Final = 0.015
"""Most values on one side, as a share, that are taken for planted: more is a part of the data.
Above one percent, which the bounds must withstand, with room for genuine stragglers."""

ALARM: Final = 0.002
"""How many values of a batch as large as the reference may be expected beyond a bound."""

FEWEST: Final = 1000
"""Batches are taken to be at least this large: bounds of small references stay wide."""

HEAVIEST: Final = 2.5
"""Greatest ``g``: a log-normal whose logarithm deviates by 2.5. Beyond, it is no hump."""

HEAVY: Final = 0.4
"""From this ``g`` on the far tail is looked at, too: it may be a power of the value."""

ONE_SIDED: Final = 0.6
"""Greatest tail index of a side that is heavy alone: amounts, durations, sizes."""

TWO_SIDED: Final = 1.0
"""Greatest tail index where both sides are heavy: Cauchy's, the heaviest in use."""

EXTRA: Final = 0.15
"""Added to the tail index where both sides are heavy: three quantiles understate the index of
Student's t by about this much."""

GAP: Final = 3.0
"""A gap is a step to this multiple of the distance from the median, or more."""

UNLIKELY: Final = 50.0
"""What the size of a gap, to the power of the number of values beyond, must exceed. In a tail
that falls like ``1 / x**2``, one such gap in 2,500 is chance; like ``1 / x``, one in fifty."""

REACH: Final = 40.0
"""A side without spread may reach this many times as far as its inner 98.5 %: amounts that are
mostly zero are log-normal where they are not."""

LONE: Final = 100.0
"""A column that is nearly always one value may leave it by this multiple of that value."""

ROUNDS: Final = 8
"""Most rounds of trimming; each removes something, and what is planted goes in the first."""

_NORMAL: Final = NormalDist()
_INNER: Final = 1 - TRIMMED_AT_MOST
_QUARTILE: Final = 0.75
_MIDDLE: Final = 0.90
_OUTER: Final = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a numeric column may hold, and how that came about."""

    low: float
    """0.1 % quantile of what was kept."""
    high: float
    """99.9 % quantile of what was kept."""
    below: float
    """Values from here on are expected."""
    above: float
    """Values up to here are expected."""
    trimmed_low: int
    """How many values lay below and were left out."""
    trimmed_high: int
    """How many values lay above and were left out."""
    border_low: bool = False
    """:attr:`below` is where the column stops by its nature."""
    border_high: bool = False
    """:attr:`above` is where the column stops by its nature."""

    @property
    def trimmed(self) -> int:
        """How many values were left out in all."""
        return self.trimmed_low + self.trimmed_high


def robust_bounds(values: Floats, *, integers: bool, pile: float = PILE) -> Bounds:
    """Return what values may be, given values most of which are as they should be.

    Args:
        values: finite numbers in any order, at least one.
        integers: whether all are whole numbers, which tie.
        pile: share of the values that makes an end of theirs a border.
    """
    import numpy as np

    ordered = np.sort(values)
    below, above = _settled(ordered, integers=integers)
    above = min(above, last_step(ordered, pile, TRIMMED_AT_MOST))
    below = max(below, -last_step(-ordered[::-1], pile, TRIMMED_AT_MOST))
    zero = below < 0 and stops_at_zero(ordered[ordered >= below], len(ordered))
    below = 0.0 if zero else below
    start = int(np.searchsorted(ordered, below, "left"))
    stop = int(np.searchsorted(ordered, above, "right"))
    kept = ordered[start:stop]
    low, high = np.quantile(kept, [0.001, 0.999])
    floor, ceiling = piled(kept, kept[0], pile), piled(kept, kept[-1], pile)
    return Bounds(
        low=float(low),
        high=float(high),
        below=float(kept[0] if floor else below),
        above=float(kept[-1] if ceiling else above),
        trimmed_low=start,
        trimmed_high=len(ordered) - stop,
        border_low=bool(floor or zero),
        border_high=bool(ceiling),
    )


def _settled(ordered: Floats, *, integers: bool) -> tuple[float, float]:
    """Trim and model until nothing is left to trim; return the bounds."""
    import numpy as np

    kept = ordered
    ceiling, floor = _before_gap(ordered), -_before_gap(-ordered[::-1])
    kept = kept[np.searchsorted(kept, floor, "left") : np.searchsorted(kept, ceiling, "right")]
    for _ in range(ROUNDS):
        below, above = _both(kept, len(ordered), integers=integers)
        above = min(_with_all_but_few(ordered, above), ceiling)
        below = max(-_with_all_but_few(-ordered[::-1], -below), floor)
        inside = kept[np.searchsorted(kept, below, "left") : np.searchsorted(kept, above, "right")]
        if len(inside) == len(kept):
            break
        kept = inside
    return below, above


def _before_gap(ordered: Floats) -> float:
    """Return where the upper side stops before a gap that few values lie beyond, or infinity.

    Between both ends of the gap lies the geometric mean of their distances from the median.
    """
    import numpy as np

    center, quartile = np.quantile(ordered, [0.5, _QUARTILE])
    few = max(int(TRIMMED_AT_MOST * len(ordered)), 1)
    tail = np.maximum(ordered[-few - 1 :] - center, quartile - center)
    if quartile <= center or len(tail) < 2:
        return math.inf
    beyond = np.arange(len(tail) - 1, 0, -1)
    steps = np.log(tail[1:]) - np.log(tail[:-1])
    found = np.flatnonzero((steps >= math.log(GAP)) & (steps * beyond >= math.log(UNLIKELY)))
    if not len(found):
        return math.inf
    at = int(found[0])
    return float(center + math.sqrt(tail[at]) * math.sqrt(tail[at + 1]))


def _with_all_but_few(ordered: Floats, above: float) -> float:
    """Return a bound that cuts off no more than may be planted: else there is a second hump."""
    import numpy as np

    cut = len(ordered) - int(np.searchsorted(ordered, above, "right"))
    if cut <= max(TRIMMED_AT_MOST * len(ordered), 1):
        return above
    center, inner = np.quantile(ordered, [0.5, _INNER])
    return max(above, _second_hump(float(center), float(inner)))


def _both(kept: Floats, total: int, *, integers: bool) -> tuple[float, float]:
    """Return the bounds of sorted values by the model of each side."""
    spread = _untied(kept) if integers else kept
    sides = (_heaviness(spread), _heaviness(-spread[::-1]))
    heavy = min(sides) > HEAVY / 3 and sum(sides) > 1.5 * HEAVY
    above = _reach(spread, kept, total, both_heavy=heavy)
    below = -_reach(-spread[::-1], -kept[::-1], total, both_heavy=heavy)
    return below, above


def _untied(kept: Floats) -> Floats:
    """Spread tied whole numbers evenly over one unit, so that quantiles do not jump."""
    import numpy as np

    _, starts, counts = np.unique(kept, return_index=True, return_counts=True)
    rank = np.arange(len(kept)) - np.repeat(starts, counts)
    out: Floats = kept + (rank + 0.5) / np.repeat(counts, counts) - 0.5
    return out


def _heaviness(spread: Floats) -> float:
    """Return ``g`` of the upper side of sorted values; 0 for a side without spread."""
    import numpy as np

    center, quartile, outer = np.quantile(spread, [0.5, _QUARTILE, _OUTER])
    if quartile <= center:
        return 0.0
    return _shape((outer - center) / (quartile - center), _OUTER)


def _reach(spread: Floats, kept: Floats, total: int, *, both_heavy: bool) -> float:
    """Return how far the upper side of sorted values reaches."""
    import numpy as np

    center, quartile, inner = np.quantile(kept, [0.5, _QUARTILE, _INNER])
    if quartile > center:
        return _modelled(spread, total, both_heavy=both_heavy)
    if inner > center:
        return float(center + REACH * (inner - center))
    if kept[-1] == center:
        return float(center)
    return float(center + LONE * max(abs(center), 1.0))


def _second_hump(center: float, inner: float) -> float:
    return inner + 2 * (inner - center)


def _modelled(spread: Floats, total: int, *, both_heavy: bool) -> float:
    import numpy as np

    center, quartile, middle, outer, inner = (
        float(one) for one in np.quantile(spread, [0.5, _QUARTILE, _MIDDLE, _OUTER, _INNER])
    )
    unsure = 1 / math.sqrt(len(spread))
    near = _shape((middle - center) / (quartile - center), _MIDDLE)
    g = _shape((outer - center) / (quartile - center), _OUTER)
    stops = g > 1 and _stops(g, (middle, outer, inner), sure=len(spread) >= 500)
    if abs(g - near) > 0.8 + 10 * unsure or g >= HEAVIEST or stops:
        return _second_hump(center, inner)
    rare = ALARM / max(total, FEWEST)
    curve = g + unsure
    unit = (quartile - center) / _curve(curve, _NORMAL.inv_cdf(_QUARTILE))
    reach = center + unit * _curve(curve, -_NORMAL.inv_cdf(rare)) * (1 + 4 * unsure)
    if g > HEAVY or both_heavy:
        reach = max(reach, _power_tail(spread, rare, both_heavy=both_heavy))
    return reach


def _curve(g: float, z: float) -> float:
    return math.expm1(g * z) / g if g > 1e-9 else z


def _shape(ratio: float, p: float) -> float:
    """Return the ``g`` at which the distances of two quantiles from the median relate so."""
    quartile, z = _NORMAL.inv_cdf(_QUARTILE), _NORMAL.inv_cdf(p)
    low, high = 0.0, HEAVIEST
    if z / quartile >= ratio:
        return low
    for _ in range(50):
        middle = (low + high) / 2
        if _curve(middle, z) / _curve(middle, quartile) < ratio:
            low = middle
        else:
            high = middle
    return high


def _stops(g: float, quantiles: tuple[float, float, float], *, sure: bool) -> bool:
    """Whether the tail ends where the curve would go on: a hump, and no tail."""
    middle, outer, inner = quantiles
    at = [_curve(g, _NORMAL.inv_cdf(p)) for p in (_MIDDLE, _OUTER, _INNER)]
    expected = (at[2] - at[1]) / (at[1] - at[0])
    found = (inner - outer) / (outer - middle) if outer > middle else math.inf
    return found < expected * (0.4 if sure else 0.2)


def _power_tail(spread: Floats, rare: float, *, both_heavy: bool) -> float:
    """Return the quantile of a generalised Pareto tail through three outer quantiles."""
    import numpy as np

    start, middle, outer = np.quantile(spread, [0.9, 0.95, 0.975])
    if not outer > middle > start:
        return float(outer)
    index = max(math.log2((outer - middle) / (middle - start)), 0.01)
    index = min(index + EXTRA, TWO_SIDED) if both_heavy else min(index, ONE_SIDED)
    scale = (middle - start) * index / (2**index - 1)
    return float(start + scale / index * ((0.1 / rare) ** index - 1))
