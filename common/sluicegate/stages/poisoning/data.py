"""The rows that are examined, in an order and in folds that depend on content alone.

Rows are sorted by a keyed hash of their features. Whoever shuffles a data set or writes it
in other files gets the same folds, the same models and the same flags; whoever picks rows
to fall into a certain fold must know the seed. Equal and nearly equal rows share a fold,
whatever their labels: a copy cannot vouch for a copy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sluicegate.stages.poisoning.columns import Features
from sluicegate.stages.poisoning.duplicates import Copies, find_copies, groups_of
from sluicegate.stages.poisoning.labels import Labels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Dataset", "arrange", "row_keys", "without"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dataset:
    """The rows that can be examined, in canonical order."""

    positions: npt.NDArray[np.int64]
    """Shape (rows,): where each row is in the table."""
    x: npt.NDArray[np.float64]
    """Shape (rows, features): finite features, not standardised."""
    missing: npt.NDArray[np.bool_]
    """Shape (rows, features): where ``x`` was filled in."""
    y: npt.NDArray[np.int64]
    """Shape (rows,): the given label of each row, an index into :attr:`classes`."""
    fold: npt.NDArray[np.int64]
    """Shape (rows,): the fold, 0 … folds-1, in which a row is predicted."""
    folds: int
    classes: tuple[str, ...]
    """Names of the classes that are examined."""
    features: tuple[str, ...]
    """Names of the columns of :attr:`x`."""
    mined: int
    """How many of them, from the left, may hold a trigger: the others summarise text or are
    embeddings, and have no values that anybody put there."""
    copies: Copies
    """Which rows repeat which."""
    group: npt.NDArray[np.int64]
    """Shape (rows,): the group of copies that each row is in."""
    small: tuple[str, ...]
    """Classes left out: fewer different rows than folds, so no model can learn them."""

    @property
    def priors(self) -> npt.NDArray[np.float64]:
        """The share of each class; shape (classes,)."""
        import numpy as np

        return np.bincount(self.y, minlength=len(self.classes)) / max(len(self.y), 1)


def without(data: Dataset, rows: npt.NDArray[np.int64]) -> Dataset:
    """Return the data set without some rows; copies are numbered as before.

    Args:
        data: the rows.
        rows: indices of rows to leave out.
    """
    import numpy as np

    kept = np.setdiff1d(np.arange(len(data.y)), rows)
    return replace(
        data,
        positions=data.positions[kept],
        x=data.x[kept],
        missing=data.missing[kept],
        y=data.y[kept],
        fold=data.fold[kept],
        group=data.group[kept],
    )


def arrange(
    features: Features,
    labels: Labels,
    usable: npt.NDArray[np.bool_],
    *,
    folds: int,
    seed: int,
    mined: int | None = None,
) -> Dataset:
    """Choose the rows to examine, sort them, and deal them into folds.

    Args:
        features: the features of all rows.
        labels: the labels of all rows.
        usable: shape (rows,): rows with an acceptable label.
        folds: number of folds, at least 2.
        seed: key of the row hash.
        mined: how many of the features, from the left, may hold a trigger; ``None`` for all.
    """
    import numpy as np

    keys = row_keys(features, seed)
    small = _small_classes(keys, labels, usable, folds)
    chosen = np.flatnonzero(usable & ~np.isin(labels.codes, small))
    chosen = chosen[np.lexsort((labels.codes[chosen], keys[chosen]))]
    present, y = np.unique(labels.codes[chosen], return_inverse=True)
    x = np.ascontiguousarray(features.x[chosen])
    copies = find_copies(x)
    group = groups_of(copies)
    return Dataset(
        positions=chosen,
        x=x,
        missing=features.missing[chosen],
        y=y.astype(np.int64),
        fold=_deal(_least(keys[chosen], group), y, folds),
        folds=folds,
        classes=tuple(labels.classes[code] for code in present),
        features=features.names,
        small=tuple(labels.classes[code] for code in small),
        mined=len(features.names) if mined is None else mined,
        copies=copies,
        group=group,
    )


def _least(keys: npt.NDArray[np.uint64], group: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return the least key of each row's group: one key for all of them."""
    import numpy as np

    least = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(least, group, keys)
    return least[group]


def row_keys(features: Features, seed: int) -> npt.NDArray[np.uint64]:
    """Return a keyed hash of each row's features: equal rows, equal keys.

    The first 64 bits of SHA-256. A collision puts two different rows into one fold, which
    harms nobody.
    """
    import numpy as np

    rows = np.ascontiguousarray(np.hstack([features.x, features.missing.astype(np.float64)]))
    content, width = memoryview(rows.tobytes()), rows.shape[1] * rows.itemsize
    keyed = hashlib.sha256(f"sluicegate fold {seed}\n".encode())
    digests = bytearray()
    for start in range(0, len(rows) * width, width or 1):
        hasher = keyed.copy()
        hasher.update(content[start : start + width])
        digests += hasher.digest()[:8]
    if not width:
        return np.zeros(len(rows), dtype=np.uint64)
    return np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)


def _small_classes(
    keys: npt.NDArray[np.uint64], labels: Labels, usable: npt.NDArray[np.bool_], folds: int
) -> npt.NDArray[np.int64]:
    """Return the codes of usable classes with fewer different rows than folds."""
    import numpy as np

    pairs = np.unique(np.stack([labels.codes[usable].astype(np.uint64), keys[usable]]), axis=1)
    codes, counts = np.unique(pairs[0], return_counts=True)
    return np.asarray(codes[counts < folds], dtype=np.int64)


def _deal(
    keys: npt.NDArray[np.uint64], y: npt.NDArray[np.int64], folds: int
) -> npt.NDArray[np.int64]:
    """Deal groups of equal rows into folds, class by class: stratified, in O(n log n)."""
    import numpy as np

    distinct, group = np.unique(keys, return_inverse=True)
    order = np.lexsort((distinct, _majority(group, y, len(distinct))))
    fold = np.empty(len(distinct), dtype=np.int64)
    fold[order] = np.arange(len(distinct)) % folds
    return fold[group]


def _majority(
    group: npt.NDArray[np.int64], y: npt.NDArray[np.int64], groups: int
) -> npt.NDArray[np.int64]:
    """Return the most frequent label of each group, the lowest of equally frequent ones."""
    import numpy as np

    pairs, counts = np.unique(np.stack([group, y]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = np.searchsorted(pairs[0][order], np.arange(groups))
    return np.asarray(pairs[1][order][first], dtype=np.int64)
