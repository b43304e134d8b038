"""How many labels contradict the predictions, beyond what the predictions expect themselves.

A model that gives a label one chance in twenty is contradicted by it one time in twenty,
and rightly so. Whoever flags every strong contradiction flags the honest rows of every
uncertain model, the more the more rows and classes there are. So contradictions are counted
at several strengths and compared with the number that calibrated predictions imply, the sum
of the probabilities of all labels that would contradict as strongly. Labels are flagged only
at strengths where there are significantly more, and several times more.

Overconfident predictions imply too few, and cautious ones, such as averages of models, too
many. How often predictions are wrong where they are unsure tells by how much, and all of them
are sharpened or softened accordingly; wrong labels hardly change that number, since many
labels contradict there anyway. Predictions that are never unsure are taken at their word.

Sources: the comparison of observed and expected contradictions is the false discovery rate
of Benjamini & Hochberg 1995 with known expectations; the correction is temperature scaling,
Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "LEVELS",
    "UNSURE",
    "Tally",
    "cuts",
    "faults",
    "forget_probabilities",
    "temperature",
    "tempered",
]

LEVELS: Final = tuple(math.log(10.0) * power for power in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0))
"""Strengths of contradiction, as ln of how many times likelier another class is: from where
"substantial" evidence begins, in the steps of Jeffreys 1961, Theory of Probability, appendix
B, and beyond."""

FALSE_ALARMS: Final = 0.05
"""Chance that calibrated predictions and honest labels lead to any flag at all."""

MIN_RATIO: Final = 3.0
"""Observed over expected contradictions from a strength on: at least two of three flagged
labels are then wrong. As for triggers: errors of models are significant but small."""

MIN_BAND_RATIO: Final = 2.0
"""The same between two neighbouring strengths: most labels that a lower cut adds are wrong."""

MIN_EXPECTED: Final = 0.5
"""Half a label: what an expectation of zero may have been."""

UNSURE: Final = 0.9
"""Predictions whose likeliest class is below this show how calibrated a model is: if it is,
at least one label in ten contradicts them, far more than there are wrong ones."""

EXPONENTS: Final = tuple(round(0.2 + 0.1 * step, 1) for step in range(29))
"""Powers of probabilities that are tried: below 1 softens, above 1 sharpens. Beyond 3 the few
unsure predictions would have to tell too much about the sure ones."""

MIN_GAIN: Final = 2.0
"""Log-likelihood that a correction must gain: 1.92 is the 95 % quantile of chance."""


SUM_TOLERANCE: Final = 1e-3
"""How far the probabilities of a token may be from 1 in sum: printed with four digits, ten
classes still fit."""

RANGE_TOLERANCE: Final = 1e-6
"""How far a probability may be outside of 0 to 1: rounding of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Contradictions by strength and group; both shapes (levels, groups)."""

    observed: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, groups: int) -> Tally:
        """Return a tally of nothing."""
        import numpy as np

        shape = (len(LEVELS), groups)
        return cls(np.zeros(shape), np.zeros(shape))

    def add(self, probabilities: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> None:
        """Count some labels.

        Args:
            probabilities: shape (rows, groups): chance of each label; rows sum to 1.
            y: shape (rows,): given labels.
        """
        import numpy as np

        best = probabilities.max(axis=1, initial=0.0)
        own = probabilities[np.arange(len(y)), y]
        for level, strength in enumerate(LEVELS):
            odds = math.exp(strength)
            contradicted = best[:, None] >= probabilities * odds
            self.expected[level] += np.where(contradicted, probabilities, 0.0).sum(axis=0)
            given = y[best >= own * odds]
            self.observed[level] += np.bincount(given, minlength=probabilities.shape[1])


def faults(probabilities: npt.NDArray[np.float64], *, exclusive: bool) -> tuple[int, int, int]:
    """Count rows that are not finite, that are outside of 0 to 1, and that do not sum to 1.

    One NaN would silence a whole class: nothing is ever compared with it successfully.

    Args:
        probabilities: shape (rows, classes).
        exclusive: whether a row has one class, so that it sums to 1.
    """
    import numpy as np

    low, high = -RANGE_TOLERANCE, 1.0 + RANGE_TOLERANCE
    finite = np.isfinite(probabilities).all(axis=1)
    ranged = ((probabilities >= low) & (probabilities <= high)).all(axis=1)
    inside = np.asarray(finite & ranged, dtype=bool)
    sums = np.where(inside[:, None], probabilities, 0.0).sum(axis=1)
    wrong = inside & (np.abs(sums - 1.0) > SUM_TOLERANCE) & exclusive
    return int((~finite).sum()), int((finite & ~inside).sum()), int(wrong.sum())


def temperature(
    best: npt.NDArray[np.float64], rest: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]
) -> float:
    """Return the exponent that makes unsure predictions as often right as they claim.

    Args:
        best: shape (labels,): probability of the likeliest class.
        rest: shape (labels, others): probabilities of all others.
        wrong: shape (labels,): whether the given label is another one.

    Returns:
        1.0 unless another exponent is clearly likelier.
    """
    import numpy as np

    unsure = best < UNSURE
    top, others, missed = best[unsure], rest[unsure], wrong[unsure]
    likelihoods = []
    for exponent in EXPONENTS:
        share = 1.0 / (1.0 + ((others / top[:, None]) ** exponent).sum(axis=1))
        chance = np.clip(np.where(missed, 1.0 - share, share), 1e-12, 1.0)
        likelihoods.append(round(float(np.log(chance).sum()), 6))
    likeliest = int(np.argmax(likelihoods))
    gain = likelihoods[likeliest] - likelihoods[EXPONENTS.index(1.0)]
    return EXPONENTS[likeliest] if gain > MIN_GAIN else 1.0


def tempered(probabilities: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """Return probabilities to a power, normalised; none is below 1e-9 before that.

    Args:
        probabilities: shape (rows, classes).
        exponent: as :func:`temperature` returns it.
    """
    import numpy as np

    raised = np.clip(probabilities, 1e-9, 1.0) ** exponent
    result: npt.NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return result


def cuts(tally: Tally) -> npt.NDArray[np.float64]:
    """Return from which strength of contradiction on the labels of each group are flagged.

    Each group is judged alone first; those in which nothing is found are then judged together:
    a few wrong labels in each of many classes show only in the sum.

    Returns:
        Shape (groups,): a log margin; infinite where nothing is flagged.
    """
    import numpy as np

    groups = tally.observed.shape[1]
    result = np.full(groups, math.inf)
    for group in np.flatnonzero(tally.observed[0]):
        result[group] = _cut(tally.observed[:, group], tally.expected[:, group], tests=groups)
    rest = np.isinf(result)
    result[rest] = _cut(
        tally.observed[:, rest].sum(axis=1), tally.expected[:, rest].sum(axis=1), tests=1
    )
    return result


def _cut(
    observed: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], *, tests: int
) -> float:
    """Return the least strength from which on there are too many contradictions."""
    from scipy.stats import poisson

    allowed = FALSE_ALARMS / (2 * tests * len(LEVELS))
    for level, strength in enumerate(LEVELS):
        if observed[level] < MIN_RATIO * max(expected[level], MIN_EXPECTED):
            continue
        significant = poisson.sf(observed[level] - 1, expected[level]) <= allowed
        last = level + 1 == len(LEVELS)
        above = (0.0, 0.0) if last else (observed[level + 1], expected[level + 1])
        band = observed[level] - above[0] >= MIN_BAND_RATIO * (expected[level] - above[1])
        if significant and band:
            return strength
    return math.inf


def forget_probabilities() -> None:
    """Delete the copy of all probabilities that cleanlab's filters leave in their module."""
    from cleanlab import filter as cleanlab_filter

    for name in ("pred_probs_by_class", "prune_count_matrix_cols"):
        if hasattr(cleanlab_filter, name):
            delattr(cleanlab_filter, name)
