"""Channel 1: rows whose label contradicts out-of-fold predictions.

cleanlab names the rows whose predicted class is not the given one; of these, a row counts
only if another class is ten times as likely as its label.

Why not cleanlab's default filter: it removes as many rows as it estimates to be wrong,
which depends on an unstable sort wherever margins tie (the same bytes give other rows on
another processor), and keeps a copy of all probabilities in the module afterwards. The
filter ``predicted_neq_given`` sorts nothing and keeps nothing. Alone it would flag every
error of the model, a third of all rows where classes overlap; hence the factor of ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.crossfit import log_margin

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LabelIssues", "ProbabilityFault", "find_label_issues", "probability_fault"]

MIN_LOG_MARGIN: Final = math.log(10.0)
"""Another class must be this many times (ln) as likely as the given label. Ten to one is
where "strong" evidence begins. Source: Jeffreys 1961, Theory of Probability, appendix B."""

SUM_TOLERANCE: Final = 1e-3
"""How far a row of ready-made probabilities may be from 1 in sum: printed with four
digits, ten classes still fit."""

RANGE_TOLERANCE: Final = 1e-6
"""How far a ready-made probability may be outside of [0, 1]: rounding of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelIssues:
    """Rows with a suspect label, by row of the data set."""

    rows: npt.NDArray[np.int64]
    """Shape (issues,): indices into the data set, ascending."""
    suggested: npt.NDArray[np.int64]
    """Shape (issues,): the likeliest class of each."""
    margins: npt.NDArray[np.float64]
    """Shape (issues,): ln of how many times likelier it is than the given label."""
    accuracy: float
    """Share of all rows whose given label is the likeliest class."""


@dataclass(frozen=True, slots=True)
class ProbabilityFault:
    """How many rows have probabilities that are none."""

    not_finite: int
    outside: int
    """Rows with a value outside of [0, 1]."""
    wrong_sum: int
    """Rows that are finite and in range, and do not sum to 1."""


def find_label_issues(
    probabilities: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
) -> LabelIssues:
    """Return the rows whose label is strongly contradicted.

    Args:
        probabilities: shape (rows, classes): finite out-of-sample probabilities; rows are
            normalised here, because cleanlab refuses a value above 1 + 1e-6.
        y: shape (rows,): given labels; every class has rows, since cleanlab never suggests
            a class without any.

    Source: Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068.
    """
    import numpy as np
    from cleanlab import filter as cleanlab_filter

    floor = np.clip(probabilities, 1e-9, None)
    normal = floor / floor.sum(axis=1, keepdims=True)
    contradicted = cleanlab_filter.find_label_issues(
        y, normal, filter_by="predicted_neq_given", n_jobs=1
    )
    margins = log_margin(normal, y)
    rows = np.flatnonzero(contradicted & (margins > MIN_LOG_MARGIN))
    predicted = normal.argmax(axis=1)
    return LabelIssues(rows, predicted[rows], margins[rows], float((predicted == y).mean()))


def probability_fault(probabilities: npt.NDArray[np.float64]) -> ProbabilityFault | None:
    """Return what is wrong with ready-made probabilities, or None.

    One NaN would silence a whole class: its threshold becomes NaN, and nothing is ever
    compared with it successfully.

    Args:
        probabilities: shape (rows, classes).
    """
    import numpy as np

    finite = np.isfinite(probabilities).all(axis=1)
    low, high = -RANGE_TOLERANCE, 1 + RANGE_TOLERANCE
    inside = ((probabilities >= low) & (probabilities <= high)).all(axis=1)
    sums = np.abs(probabilities.sum(axis=1) - 1.0) <= SUM_TOLERANCE
    fault = ProbabilityFault(
        not_finite=int((~finite).sum()),
        outside=int((finite & ~inside).sum()),
        wrong_sum=int((finite & inside & ~sums).sum()),
    )
    return fault if fault.not_finite or fault.outside or fault.wrong_sum else None
