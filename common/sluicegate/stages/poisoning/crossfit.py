"""Out-of-fold class probabilities: what models that never saw a row think of its label.

Three families of models err in different ways; where they agree against a label, the label
is suspect. Wrong labels teach them wrong things, so there is a second round that learns
only from rows which the first round agreed with, and judges all rows again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset
    from sluicegate.storage.base import Progress

__all__ = [
    "CLIP",
    "Consensus",
    "consensus",
    "log_margin",
    "reproducible",
    "standardised",
    "training_rows",
    "trees",
]

MAX_TRAINING_ROWS: Final = 20_000
"""Most rows a model learns from. Neighbour search costs training times tested rows: without
a bound, quadratic. Every row is judged all the same."""

MIN_TRAINING_ROWS: Final = 200
"""Rows of a class that the bound above leaves, if the class has them."""

MIN_AGREED_ROWS: Final = 10
"""A class that keeps fewer rows than this after the first round keeps all of them: else the
second round would not know it. As many as the neighbours that vote."""

CLIP: Final = 5e-3
"""No model is surer than this: the most that one family can weigh against the others."""

TREES: Final = 80
"""Trees of a forest. More lower the variance of probabilities, and cost in proportion."""

FIRST_TREES: Final = 40
"""Trees of a forest in the first round, which only has to tell which rows to learn from."""


@contextmanager
def reproducible() -> Iterator[None]:
    """Run numerical code on one thread: sums then do not depend on the number of cores.

    Convergence warnings are silenced: they are about the data, and a warning may quote it.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """Out-of-fold probabilities; shapes (rows, classes), rows sum to 1, no value is 0."""

    first: npt.NDArray[np.float64]
    """Of models that learnt from all other folds: they know how ambiguous labels are."""
    second: npt.NDArray[np.float64]
    """Of models that learnt from rows which the first ones agreed with: the better judges."""
    others: npt.NDArray[np.float64]
    """Of rows that no model learnt from, by the second models."""


def consensus(
    data: Dataset,
    *,
    seed: int,
    progress: Progress,
    others: npt.NDArray[np.float64] | None = None,
) -> Consensus:
    """Return out-of-fold probabilities on which three families of models agree, in two rounds.

    Args:
        data: the rows, with their folds.
        seed: seed of the trees.
        progress: told about each fitted fold.
        others: shape (other rows, features): rows to predict, too.

    Source:
        Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068: out-of-sample
        probabilities, and pruning before training again.
    """
    import numpy as np

    if others is None:
        others = np.empty((0, data.x.shape[1]))
    everyone = np.ones(len(data.y), dtype=bool)
    first, _ = _round(data, everyone, others[:0], FIRST_TREES, seed, progress, done=0)
    agreed = log_margin(first, data.y) < 0
    kept = np.bincount(data.y[agreed], minlength=len(data.classes))
    agreed |= (kept < MIN_AGREED_ROWS)[data.y]
    return Consensus(first, *_round(data, agreed, others, TREES, seed, progress, done=data.folds))


def log_margin(
    probabilities: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return ln of how many times likelier the best other class is than the given label.

    Args:
        probabilities: shape (rows, classes), at least 2 classes.
        y: shape (rows,): given labels.

    Returns:
        Shape (rows,): positive where another class is likelier; within ±20.8, since
        probabilities count as at least 1e-9.
    """
    import numpy as np

    rows = np.arange(len(y))
    others = probabilities.copy()
    others[rows, y] = -1.0
    best = np.clip(others.max(axis=1), 1e-9, 1.0)
    own = np.clip(probabilities[rows, y], 1e-9, 1.0)
    margin: npt.NDArray[np.float64] = np.log(best) - np.log(own)
    return margin


def training_rows(
    data: Dataset, fold: int, allowed: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Return the rows to learn from when ``fold`` is predicted, at most about 20,000.

    Rows are in hash order, so the first ones of each class are a random sample of it; a
    class keeps its share, and at least :data:`MIN_TRAINING_ROWS` rows.
    """
    import numpy as np

    usable = data.fold != fold if allowed is None else (data.fold != fold) & allowed
    rows = np.flatnonzero(usable)
    if len(rows) <= MAX_TRAINING_ROWS:
        return rows
    counts = np.bincount(data.y[rows], minlength=len(data.classes))
    quota = np.maximum(counts * MAX_TRAINING_ROWS // len(rows), MIN_TRAINING_ROWS)
    order = np.argsort(data.y[rows], kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows)) - starts[data.y[rows][order]]
    return rows[rank < quota[data.y[rows]]]


def standardised(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return columns with mean 0 and variance 1; a constant column becomes 0."""
    from sklearn.preprocessing import StandardScaler

    scaled: npt.NDArray[np.float64] = StandardScaler().fit_transform(x)
    return scaled


def trees(data: Dataset, columns: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.float64]:
    """Return out-of-fold probabilities of randomised trees on some columns.

    Args:
        data: the rows, with their folds.
        columns: indices of the columns to use, at least one.
        seed: seed of the trees.

    Returns:
        Shape (rows, classes).
    """
    import numpy as np
    from sklearn.ensemble import ExtraTreesClassifier

    chosen = np.ascontiguousarray(data.x[:, columns])
    result = np.zeros((len(data.y), len(data.classes)))
    for fold in range(data.folds):
        train, test = training_rows(data, fold), np.flatnonzero(data.fold == fold)
        model = ExtraTreesClassifier(FIRST_TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
        _predict(model, chosen[train], data.y[train], chosen[test], test, result)
    return result


def _round(
    data: Dataset,
    allowed: npt.NDArray[np.bool_],
    others: npt.NDArray[np.float64],
    size: int,
    seed: int,
    progress: Progress,
    *,
    done: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit all families on the allowed rows and return their normalised geometric mean.

    Returns:
        Shape (rows, classes), and (other rows, classes), the mean over all folds.
    """
    import numpy as np

    rows = len(data.y)
    logs = np.zeros((rows + len(others), len(data.classes)))
    beyond = np.arange(rows, rows + len(others))
    for fold in range(data.folds):
        train = training_rows(data, fold, allowed)
        test = np.flatnonzero(data.fold == fold)
        asked = np.concatenate([test, beyond])
        weights = np.repeat([1.0, 1.0 / data.folds], [len(test), len(beyond)])[:, None]
        raw = data.x[train], np.concatenate([data.x[test], others])
        for model, (fit_on, predict_on) in _families(len(train), raw, size, seed):
            part = np.zeros_like(logs)
            _predict(model, fit_on, data.y[train], predict_on, asked, part)
            part = np.clip(part[asked], CLIP, 1.0)
            logs[asked] += weights * np.log(part / part.sum(axis=1, keepdims=True)) / 3
        progress("cross-fitting", done + fold + 1, 2 * data.folds)
    mean = np.exp(logs - logs.max(axis=1, keepdims=True))
    mean /= mean.sum(axis=1, keepdims=True)
    return mean[:rows], mean[rows:]


def _families(
    rows: int, raw: tuple[Any, Any], size: int, seed: int
) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    """Yield each family's model with the features it wants: linear, local, trees."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(raw[0])
    scaled = scaler.transform(raw[0]), scaler.transform(raw[1])
    yield LogisticRegression(C=0.1, max_iter=500), scaled
    yield KNeighborsClassifier(min(10, rows), weights="distance", n_jobs=1), scaled
    yield ExtraTreesClassifier(size, random_state=seed, n_jobs=1), raw


def _predict(
    model: Any,
    fit_on: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    predict_on: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    result: npt.NDArray[np.float64],
) -> None:
    """Fit, and write the predictions of ``rows`` into ``result``, by class code."""
    import numpy as np

    known = np.unique(labels)
    if not len(rows):
        return
    if len(known) == 1:
        result[rows, known[0]] = 1.0  # several models refuse to learn a single class
        return
    model.fit(fit_on, labels)
    result[np.ix_(rows, known)] = model.predict_proba(predict_on)
