"""The default rule: how far a label must lose against another class to be flagged.

A label that is not the likeliest class is wrong, or the model is. Which of the two depends
on what spoilt the labels, and no fixed rule serves both ways:

* *Noise that does not look at the row* (flips at random, by class) also hits rows of which
  the model is sure. There it is nearly the only disagreement; among rows of which the model
  is unsure, most disagreement is the model's. So the cut belongs high.
* *Noise of people*, who err where rows are ambiguous, leaves the sure rows alone. The
  disagreement is all among unsure rows, and a good model is right more often than they
  are. So every disagreement is flagged, and a high cut would drop most of them.

What tells them apart is the *floor*: the rate of disagreement in the surest quarter of all
rows, against the rate overall. The rule in full, for rows sorted by how sure the model is:

1. d(s), the share of disagreement at sureness s, non-increasing by isotonic regression.
2. floor e = d over the surest quarter; overall rate d0; ratio r = e / d0.
3. h, how much of d(s) - e counts as noise: 1 for r up to 0.1, falling to 0 at 0.2. Where
   much is disagreed on, flagging too much costs little, so both bounds rise by 0.75 (d0 -
   0.1).
4. A disagreement at margin s is noise with weight w(s) = (e + h (d(s) - e)) / d(s). A model
   that was itself surer than that disagreement allows is no explanation either: w(s) is at
   least 1 - 3 u(s) / d(s), with u(s) the model's own mean probability of being wrong.
5. The cut is where the expected F1 of the flagged rows is greatest, with w as the
   probability that a row is wrong.

Sureness and margin are ratios of probabilities, in sixteenths of a power of two: read from
the bits of the quotient, so that every machine puts a row into the same bin. All sums are
integers: any cut of the data into shards gives the same rule.

Source: floor and transition: Patrini et al. 2017, arXiv:1609.03683 (anchor points); noise
that depends on the row: Xia et al. 2020, arXiv:2006.07836; people's noise: Wei et al. 2022,
arXiv:2110.12088; the cut: Lipton et al. 2014, arXiv:1402.1892, theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.confident.arithmetic import BINS, DOUBT_SCALE, ratio_of
from sluicegate.stages.poisoning.confident.kernels import kernels
from sluicegate.stages.poisoning.confident.probabilities import Batch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["BINS", "Cut", "Margins", "Tally", "decide"]

SUREST: Final = 0.25
"""Share of the rows that the floor is taken from: enough to count in, few enough to be sure."""

MIN_SUREST: Final = 20
"""At least so many rows, where there are: a quarter of a small table counts nothing."""

HUMAN: Final = (0.1, 0.2)
"""Ratio of floor and overall rate up to which, and from which on, noise is people's or not."""

SLACK: Final = 0.75
"""How these bounds rise with the overall rate beyond ..."""

USUAL_DISAGREEMENT: Final = 0.1
"""... a tenth, which good models reach on data without noise."""

OVERCONFIDENCE: Final = 3.0
"""A model may be wrong three times as often as it says before labels are blamed: neural
networks are known to be that overconfident. Source: Guo et al. 2017, arXiv:1706.04599."""


@dataclass(slots=True, eq=False)
class Tally:
    """Counts by bin; shapes (BINS,)."""

    rows: npt.NDArray[np.int64]
    """All rows, by sureness: likeliest over second likeliest class."""
    disagreed: npt.NDArray[np.int64]
    """Rows whose label is not the likeliest class, by sureness."""
    doubt: npt.NDArray[np.int64]
    """Probability of all but the likeliest class, summed in units of
    1 / DOUBT_SCALE, by sureness."""
    margins: npt.NDArray[np.int64]
    """Rows whose label is not the likeliest class, by margin: likeliest class over label."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The rule for one data set."""

    bin: int
    """A label is flagged if the likeliest class beats it by a margin in this bin or above."""
    floor: float
    """Rate of disagreement in the surest quarter."""
    rate: float
    """Rate of disagreement overall."""
    human: float
    """0 … 1: how much of the disagreement beyond the floor counts as noise."""
    expected: float
    """How many labels are expected to be wrong."""

    @property
    def ratio(self) -> float:
        """How many times likelier than the label another class must be."""
        return ratio_of(self.bin)


@dataclass(frozen=True, slots=True)
class Margins:
    """The detector: counts sureness and margins, and decides where to cut."""

    def init(self) -> Tally:
        """Return the state of no rows."""
        import numpy as np

        return Tally(*(np.zeros(BINS, dtype=np.int64) for _ in range(4)))

    def update(self, state: Tally, batch: Batch) -> Tally:
        """Add a batch of sound probabilities."""
        kernels().margins(batch.p, batch.y, state.rows, state.disagreed, state.doubt, state.margins)
        return state

    def merge(self, one: Tally, other: Tally) -> Tally:
        """Add two states."""
        one.rows += other.rows
        one.disagreed += other.disagreed
        one.doubt += other.doubt
        one.margins += other.margins
        return one

    def finalize(self, state: Tally) -> Cut:
        """Decide."""
        return decide(state)


def decide(tally: Tally) -> Cut:
    """Return where to cut, given the counts of all rows."""
    import numpy as np

    total, disagreed = int(tally.rows.sum()), int(tally.disagreed.sum())
    if not disagreed:
        return Cut(BINS, 0.0, 0.0, 0.0, 0.0)
    wanted = min(max(SUREST * total, MIN_SUREST), total)
    least = BINS - 1 - int(np.searchsorted(np.cumsum(tally.rows[::-1]), wanted))
    floor = (int(tally.disagreed[least:].sum()) + 0.5) / (int(tally.rows[least:].sum()) + 1)
    rate = disagreed / total
    human = _human(floor / rate, rate)
    share = np.maximum(_falling(tally.disagreed, tally.rows), floor)
    weight = np.minimum((floor + human * (share - floor)) / share, 1.0)
    own = _falling(tally.doubt, tally.rows) / DOUBT_SCALE
    weight = np.maximum.accumulate(np.maximum(weight, 1.0 - OVERCONFIDENCE * own / share))
    expected = weight * tally.margins
    above = np.cumsum(expected[::-1])[::-1]
    flagged = np.cumsum(tally.margins[::-1])[::-1]
    f1 = np.where(flagged > 0, 2 * above / np.maximum(flagged + above[0], 1e-9), 0.0)
    cut = int(BINS - 1 - np.argmax(f1[::-1]))
    return Cut(cut, floor, rate, human, float(above[0]))


def _human(ratio: float, rate: float) -> float:
    low, high = HUMAN
    rise = SLACK * max(rate - USUAL_DISAGREEMENT, 0.0)
    return min(max((high + rise - ratio) / (high - low), 0.0), 1.0)


def _falling(hits: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the rate in each bin that falls with the bin and fits best; shape (BINS,).

    Bins without rows get a rate between their neighbours'. Adjacent violators are pooled.
    Source: Ayer et al. 1955, "An empirical distribution function for sampling with
    incomplete information".
    """
    import numpy as np

    held = np.flatnonzero(rows)
    pools: list[tuple[int, int, int]] = []  # rows, hits, bins
    for n, k in zip(rows[held].tolist(), hits[held].tolist(), strict=True):
        pool = (n, k, 1)
        while pools and pools[-1][1] * pool[0] < pool[1] * pools[-1][0]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    rates = np.repeat([k / n for n, k, _ in pools], [bins for _, _, bins in pools])
    fitted: npt.NDArray[np.float64] = np.interp(np.arange(BINS), held, rates)
    return fitted
