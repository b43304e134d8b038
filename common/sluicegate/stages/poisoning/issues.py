"""Channel: rows whose label contradicts out-of-sample predictions.

A row in which classes overlap draws an unlikely label now and then, honestly. How often
follows from the predictions, once they are fitted to the labels: a mixture of labels drawn
from the predictions, sharpened or softened, and of labels that are simply wrong. Only the
first part is honest. The cut is the lowest at which the flags that honest rows are expected
to earn fit the budget. So overlapping classes are left alone, and flips in well-known rows
are flagged at once.

Where a person will look at what is flagged, the cut of ``confident.rule`` finds more: it
asks where the expected F1 is greatest, and not what honest rows it costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.errors import SubjectError
from sluicegate.stages.poisoning.channel import Channel, Group
from sluicegate.stages.poisoning.confident.arithmetic import BINS, TINY, bins_of, ratio_of
from sluicegate.stages.poisoning.crossfit import log_margin
from sluicegate.stages.poisoning.detector import examine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["LABEL_ISSUES", "Honest", "honest_fits", "label_issues", "probability_fault"]

LABEL_ISSUES: Final = "poisoning.label_issues"

LEAST_RATIO: Final = math.sqrt(10.0)
"""Another class must be at least this many times as likely as the label: below, evidence is
"not worth more than a bare mention". Source: Jeffreys 1961, Theory of Probability,
appendix B."""

LEAST_AFFORDED: Final = 0.75
"""Honest rows that may be flagged in any table: of less, no row of a small one could be."""

SHARPNESS: Final = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Powers of the predictions that are tried, half an octave apart."""

STEPS: Final = 50
"""Steps of expectation and maximisation for the share of wrong labels: more change the sixth
decimal."""

NEGLIGIBLE: Final = 0.01
"""Explanations with less weight are left out: each costs a sweep."""

MAX_FITTED: Final = 50_000
"""Rows, in hash order, that sharpness and share are fitted on."""

NAME: Final = 40
"""Longest class name in a message, in characters."""

WORST: Final = 5
"""How many of the worst margins a finding quotes."""


@dataclass(frozen=True, slots=True)
class Honest:
    """How labels come about: drawn from sharpened predictions, or wrong."""

    sharpness: float
    """The power of the predictions."""
    wrong: float
    """Share of labels that are wrong, whatever the row."""
    weight: float
    """Likelihood, relative to the sum over all sharpnesses."""


def label_issues(
    probabilities: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    budget: float,
    first: npt.NDArray[np.float64] | None = None,
    reference: npt.NDArray[np.float64] | None = None,
) -> Channel:
    """Flag rows whose label is contradicted.

    A row's score is its log-margin: ln of how many times likelier the best other class is.
    Its p-value is the probability of a label that is as unlikely as the given one: by the
    predictions or, if there is a reference, the share of trusted rows that score as high.

    How good each label is by cleanlab's own score (``normalized_margin``, 0 to 1) is told
    beside: as the mean over the table, and as the worst of each group.

    Args:
        probabilities: shape (rows, classes): finite out-of-sample probabilities.
        y: shape (rows,): given labels, all of which occur.
        classes: names of the classes, by code.
        budget: share of honest rows that may be flagged.
        first: shape (rows, classes): predictions of models that learnt from all rows, to tell
            how ambiguous labels are; ``None`` if that is what ``probabilities`` are.
        reference: shape (trusted rows,): log-margins of trusted rows, if there are any; needs
            1 / budget rows to tell.
    """
    import numpy as np
    from cleanlab.rank import get_label_quality_scores

    normal = _normalised(probabilities)
    before = normal if first is None else _normalised(first)
    fits = honest_fits(before, y)
    at = max(_affordable(normal, before, fits, budget), int(bins_of(np.array([LEAST_RATIO]))[0]))
    rows = np.arange(len(y))
    best, own = normal.max(axis=1), normal[rows, y]
    scores = log_margin(normal, y)
    p_values = np.where(normal <= own[:, None], normal, 0.0).sum(axis=1)
    flagged = (own < best) & (bins_of(best / own) >= at)
    unknown = ""
    if reference is not None and len(reference) < 1 / budget:
        unknown = (
            f"the reference has {len(reference)} rows: to tell a share of {budget:g}, it needs "
            f"{math.ceil(1 / budget)}"
        )
    elif reference is not None:
        above = len(reference) - np.searchsorted(np.sort(reference), scores, side="left")
        p_values = (1.0 + above) / (len(reference) + 1.0)
        flagged &= p_values <= budget
    suggested = normal.argmax(axis=1)
    found = np.flatnonzero(flagged)
    quality = get_label_quality_scores(y, normal, method="normalized_margin")
    return Channel(
        id=LABEL_ISSUES,
        scores=np.round(scores, 6),
        p_values=np.round(p_values, 9),
        groups=tuple(_groups(found, y, suggested, scores, quality, classes)),
        unknown=unknown,
        suggested=np.where(own < best, suggested, y),
        metrics={
            "accuracy": round(float((suggested == y).mean()), 6),
            "label_quality": round(float(quality.mean()), 6),
            "label_cut_ratio": round(ratio_of(at), 6),
            "label_noise_fitted": round(sum(fit.weight * fit.wrong for fit in fits), 6),
        },
    )


def probability_fault(p: npt.NDArray[np.float64]) -> str:
    """Return what is wrong with ready-made probabilities, or nothing.

    Args:
        p: shape (rows, classes).
    """
    import numpy as np

    from sluicegate.stages.poisoning.confident.learning import Thresholds
    from sluicegate.stages.poisoning.confident.probabilities import array_shards

    some = np.zeros(len(p), dtype=np.int64)
    try:
        examine(Thresholds(p.shape[1]), array_shards(some, p)).require_sound()
    except SubjectError as error:
        return error.what
    return ""


def _normalised(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    import numpy as np

    positive = np.clip(p, TINY, None)
    normal: npt.NDArray[np.float64] = positive / positive.sum(axis=1, keepdims=True)
    return normal


def honest_fits(p: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> tuple[Honest, ...]:
    """Fit the share of wrong labels for each sharpness, by maximum likelihood.

    In small data softer predictions with fewer wrong labels explain as much as sharper ones
    with more. So all are kept, weighted by their likelihood.

    Args:
        p: shape (rows, classes): positive probabilities.
        y: shape (rows,): given labels.
    """
    import numpy as np

    p, y = p[:MAX_FITTED], y[:MAX_FITTED]
    logs = np.log(p)
    logs -= logs.max(axis=1, keepdims=True)
    rows = np.arange(len(y))
    found = []
    for sharpness in SHARPNESS:
        own = np.exp(sharpness * logs[rows, y]) / np.exp(sharpness * logs).sum(axis=1)
        wrong, labels = 0.05, np.full(p.shape[1], 1.0 / p.shape[1])
        for _ in range(STEPS):
            blamed = wrong * labels[y] / (wrong * labels[y] + (1 - wrong) * own)
            wrong = float(blamed.mean())
            # Which labels wrong rows carry: all alike before anything is known.
            labels = np.bincount(y, blamed, p.shape[1]) + 1.0
            labels /= labels.sum()
        likelihood = np.log(wrong * labels[y] + (1 - wrong) * own).sum()
        found.append((sharpness, wrong, float(likelihood)))
    best = max(likelihood for _, _, likelihood in found)
    total = sum(math.exp(likelihood - best) for _, _, likelihood in found)
    return tuple(
        Honest(sharpness, wrong, math.exp(likelihood - best) / total)
        for sharpness, wrong, likelihood in found
    )


def _affordable(
    p: npt.NDArray[np.float64],
    first: npt.NDArray[np.float64],
    fits: Sequence[Honest],
    budget: float,
) -> int:
    """Return the lowest bin of margins at which honest rows stay within the budget."""
    import numpy as np

    earned = np.zeros(BINS)
    for fit in fits:
        if fit.weight < NEGLIGIBLE:
            continue
        for start in range(0, len(p), 4096):
            part = p[start : start + 4096]
            drawn = first[start : start + 4096]
            drawn = (drawn / drawn.max(axis=1, keepdims=True)) ** fit.sharpness
            drawn *= fit.weight / drawn.sum(axis=1, keepdims=True)
            bins = bins_of((part.max(axis=1, keepdims=True) / part).ravel())
            earned += np.bincount(bins, drawn.ravel(), minlength=BINS)
    above = np.append(np.cumsum(earned[::-1])[::-1], 0.0)
    return int(np.argmax(above <= max(budget * len(p), LEAST_AFFORDED)))


def _groups(
    found: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    suggested: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    quality: npt.NDArray[np.float64],
    classes: Sequence[str],
) -> Iterator[Group]:
    """Yield a group for each pair of given and suggested label, most frequent first."""
    import numpy as np

    pair = y[found] * len(classes) + suggested[found]
    codes, counts = np.unique(pair, return_counts=True)
    for code in codes[np.argsort(-counts, kind="stable")]:
        given, wanted = divmod(int(code), len(classes))
        rows = found[pair == code]
        worst: list[Json] = [round(float(one), 6) for one in np.sort(scores[rows])[::-1][:WORST]]
        yield Group(
            message=f"{len(rows)} rows labelled {classes[given][:NAME]!r} look like "
            f"{classes[wanted][:NAME]!r}",
            rows=rows,
            evidence={
                "given": classes[given],
                "suggested": classes[wanted],
                "count": len(rows),
                "worst_margins": worst,
                "worst_quality": round(float(quality[rows].min()), 6),
            },
        )
