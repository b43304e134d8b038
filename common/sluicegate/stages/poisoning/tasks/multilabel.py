"""Rows that lack a class they should have, or have one they should not.

Every row and class is a decision of its own: given or not. A decision is flagged if the
predictions contradict it strongly, and if there are more such contradictions than the
predictions themselves expect; see ``excess``. Each class is judged by that rule twice, for
classes wrongly given and for classes missing, and all are judged together.

cleanlab confirms each flagged decision. Its default filter is not used: it removes as many
decisions as it estimates to be wrong, by class, also where predictions are merely uncertain.

Source: Thyagarajan et al. 2022, "Identifying Incorrect Annotations in Multi-Label
Classification Data", arXiv:2211.13895.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["MULTILABEL_ISSUES", "fit_probabilities", "multilabel_issues"]

MULTILABEL_ISSUES: Final = "poisoning.multilabel_issues"

MAX_CLASSES: Final = 1000
"""Most classes that models are fitted for: each costs a model for every fold."""

TREES: Final = 80
"""Trees of a forest, as for one label a row."""

LEAF_BYTES: Final = 2**28
"""Most memory for the leaves of one forest, which hold two numbers for each class: classes
are dealt to as many forests as that takes."""

WORST: Final = 5
"""How many of the worst margins a group quotes."""


def multilabel_issues(
    labels: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float64]
) -> Channel:
    """Compare which classes rows have with out-of-sample probabilities.

    Args:
        labels: shape (rows, classes): whether a row has a class.
        probabilities: shape (rows, classes): how likely it is to; rows need not sum to 1.

    Returns:
        A channel with one group for each class and direction, most rows first. A row's score
        is the ln of how many times likelier the opposite of its least likely decision is. Its
        p-value is the chance that calibrated predictions contradict any of its decisions as
        strongly. Unknown if a value is missing, infinite or outside of 0 to 1.
    """
    import numpy as np

    from sluicegate.stages.poisoning.tasks.excess import cuts

    fault = _fault(labels, probabilities)
    if fault:
        nothing = np.full(len(labels), np.nan)
        return Channel(id=MULTILABEL_ISSUES, scores=nothing, p_values=nothing, unknown=fault)
    exponents = _exponents(labels, probabilities)
    margins = np.full(len(labels), -np.inf)
    tally = _count(labels, probabilities, exponents, margins)
    classes = labels.shape[1]
    cut = cuts(tally).reshape(classes, 2)
    groups: list[Group] = []
    for at in np.flatnonzero(np.isfinite(cut).any(axis=1)):
        groups += _groups(int(at), labels[:, at], probabilities[:, at], exponents[at], cut[at])
    groups.sort(key=lambda group: (-len(group.rows), group.evidence["class"]))
    return Channel(
        id=MULTILABEL_ISSUES,
        scores=margins,
        p_values=-np.expm1(classes * np.log1p(-1.0 / (1.0 + np.exp(np.maximum(margins, 0.0))))),
        groups=tuple(groups),
        metrics={
            "decisions_flagged": sum(group.evidence["count"] for group in groups),
            "contradictions_expected": round(float(tally.expected[0].sum()), 6),
            "contradictions_observed": int(tally.observed[0].sum()),
            "exponent": round(float(exponents.max()), 6),
        },
    )


def _fault(labels: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float64]) -> str:
    """Return why the decisions cannot be judged, or nothing."""
    from sluicegate.stages.poisoning.tasks.excess import faults

    if labels.ndim != 2 or labels.shape != probabilities.shape:
        return "labels and probabilities do not have the same rows and classes"
    if not labels.size:
        return "there are no rows or no classes"
    bad = faults(probabilities, exclusive=False)
    told = (
        f"{bad[0]} rows have probabilities that are missing or infinite" if bad[0] else "",
        f"{bad[1]} rows have probabilities outside of 0 to 1" if bad[1] else "",
    )
    return "; ".join(part for part in told if part)


def _exponents(
    labels: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return how to correct the probabilities of each class; shape (classes,).

    What holds for all classes together; but a class is not sharpened further than it allows by
    itself, since it may be harder than others. Nor is it softened for what it alone says: a
    class whose labels were all taken away would be softened until that looks right.
    """
    import numpy as np

    alone = [_temperature(given, p) for given, p in zip(labels.T, probabilities.T, strict=True)]
    return np.minimum(_temperature(labels, probabilities), np.maximum(alone, 1.0))


def _temperature(labels: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float64]) -> float:
    import numpy as np

    from sluicegate.stages.poisoning.tasks.excess import UNSURE, temperature

    unsure = (probabilities < UNSURE) & (probabilities > 1.0 - UNSURE)
    likely, given = probabilities[unsure], labels[unsure]
    best = np.maximum(likely, 1.0 - likely)
    return temperature(best, (1.0 - best)[:, None], (likely >= 0.5) != given)


def _both(likely: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """Return the probabilities of not having and of having a class; shape (rows, 2)."""
    import numpy as np

    from sluicegate.stages.poisoning.tasks.excess import tempered

    inside = np.clip(likely, 0.0, 1.0)
    return tempered(np.stack([1.0 - inside, inside], axis=1), exponent)


def _count(
    labels: npt.NDArray[np.bool_],
    probabilities: npt.NDArray[np.float64],
    exponents: npt.NDArray[np.float64],
    margins: npt.NDArray[np.float64],
) -> Any:
    """Tally contradictions, two groups for each class, and raise each row's margin."""
    import numpy as np

    from sluicegate.stages.poisoning.crossfit import log_margin
    from sluicegate.stages.poisoning.tasks.excess import Tally

    classes = labels.shape[1]
    parts = []
    for at in range(classes):
        given, both = labels[:, at].astype(np.int64), _both(probabilities[:, at], exponents[at])
        part = Tally.empty(2)
        part.add(both, given)
        parts.append(part)
        np.maximum(margins, log_margin(both, given), out=margins)
    return Tally(
        observed=np.concatenate([part.observed for part in parts], axis=1),
        expected=np.concatenate([part.expected for part in parts], axis=1),
    )


def _groups(
    at: int,
    given: npt.NDArray[np.bool_],
    likely: npt.NDArray[np.float64],
    exponent: float,
    cut: npt.NDArray[np.float64],
) -> Iterator[Group]:
    """Yield the flagged rows of one class: those that lack it, and those that have it."""
    import numpy as np

    from sluicegate.stages.poisoning.crossfit import log_margin

    both = _both(likely, exponent)
    codes = given.astype(np.int64)
    margins = log_margin(both, codes)
    chosen = (margins >= cut[codes]) & _cleanlab_agrees(codes, both)
    for code, direction in enumerate(("missing", "given")):
        rows = np.flatnonzero(chosen & (codes == code))
        if not len(rows):
            continue
        words = "lack a class they look like" if code == 0 else "have a class they do not look like"
        worst = np.sort(margins[rows])[::-1][:WORST]
        yield Group(
            message=f"{len(rows)} rows {words}",
            rows=rows.astype(np.int64),
            evidence={
                "class": at,
                "direction": direction,
                "count": len(rows),
                "cut": round(float(cut[code]), 6),
                "worst_margins": [round(float(margin), 6) for margin in worst],
            },
        )


def _cleanlab_agrees(
    given: npt.NDArray[np.int64], both: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which decisions cleanlab finds to be contradicted; shape (rows,)."""
    import numpy as np
    from cleanlab import multilabel_classification

    from sluicegate.stages.poisoning.tasks.excess import forget_probabilities

    if len(np.unique(given)) < 2:  # cleanlab refuses a class that all rows have, or none
        return np.asarray(both.argmax(axis=1) != given)
    try:
        found = multilabel_classification.filter.find_multilabel_issues_per_class(
            [[0] if has else [] for has in given],
            np.ascontiguousarray(both[:, 1:]),
            filter_by="predicted_neq_given",
            n_jobs=1,
        )
    finally:
        forget_probabilities()
    return np.asarray(found[:, 0], dtype=bool)


def fit_probabilities(
    x: npt.NDArray[np.float64],
    labels: npt.NDArray[np.bool_],
    fold: npt.NDArray[np.int64],
    seed: int,
) -> npt.NDArray[np.float64]:
    """Return out-of-fold probabilities of every class: a linear model and a forest, averaged.

    Args:
        x: shape (rows, features): finite numbers.
        labels: shape (rows, classes).
        fold: shape (rows,): the fold in which a row is predicted; equal rows share one.
        seed: seed of the forests, and key of the hash by which rows are ordered and chosen.

    Returns:
        Shape (rows, classes). The models' log odds are averaged.

    Raises:
        ConfigurationError: more than :data:`MAX_CLASSES` classes.
    """
    import numpy as np

    from sluicegate.errors import ConfigurationError
    from sluicegate.stages.poisoning.crossfit import CLIP, reproducible
    from sluicegate.stages.poisoning.tasks.training import canonical_order, training_rows

    if labels.shape[1] > MAX_CLASSES:
        raise ConfigurationError(
            f"{labels.shape[1]} classes are more than {MAX_CLASSES}",
            next_step="give ready-made probabilities, or scan fewer classes",
        )
    order = canonical_order(np.hstack([x, labels, fold[:, None]]), seed)
    sorted_x, sorted_labels, sorted_fold = x[order], labels[order], fold[order]
    result = np.empty(labels.shape)
    with reproducible():
        for part in np.unique(sorted_fold):
            train = training_rows(sorted_fold != part)
            test = np.flatnonzero(sorted_fold == part)
            logits = np.zeros((len(test), labels.shape[1]))
            for guess in _families(sorted_x[train], sorted_labels[train], sorted_x[test], seed):
                inside = np.clip(guess, CLIP, 1.0 - CLIP)
                logits += np.log(inside / (1.0 - inside)) / 2
            result[order[test]] = 1.0 / (1.0 + np.exp(-logits))
    return result


def _families(
    x: npt.NDArray[np.float64],
    labels: npt.NDArray[np.bool_],
    test: npt.NDArray[np.float64],
    seed: int,
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield each family's probabilities of all classes; shape (tested rows, classes)."""
    import numpy as np

    shares = labels.mean(axis=0) if len(labels) else np.full(labels.shape[1], 0.5)
    linear = np.tile(shares, (len(test), 1))
    forest = linear.copy()
    varied = np.flatnonzero((shares > 0) & (shares < 1))
    if x.shape[1] and len(varied):
        _fit_linear(x, labels, test, varied, linear)
        each = max(1, LEAF_BYTES // (TREES * len(x) * 16))
        for start in range(0, len(varied), each):
            _fit_forest(x, labels, test, varied[start : start + each], forest, seed)
    yield linear
    yield forest


def _fit_linear(
    x: npt.NDArray[np.float64],
    labels: npt.NDArray[np.bool_],
    test: npt.NDArray[np.float64],
    classes: npt.NDArray[np.int64],
    result: npt.NDArray[np.float64],
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    scaled, tested = scaler.transform(x), scaler.transform(test)
    for at in classes:
        model = LogisticRegression(C=0.1, max_iter=500).fit(scaled, labels[:, at])
        result[:, at] = model.predict_proba(tested)[:, 1]


def _fit_forest(
    x: npt.NDArray[np.float64],
    labels: npt.NDArray[np.bool_],
    test: npt.NDArray[np.float64],
    classes: npt.NDArray[np.int64],
    result: npt.NDArray[np.float64],
    seed: int,
) -> None:
    from sklearn.ensemble import ExtraTreesClassifier

    model = ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
    model.fit(x, labels[:, classes])
    found = model.predict_proba(test)
    for place, at in enumerate(classes):
        result[:, at] = (found if len(classes) == 1 else found[place])[:, 1]
