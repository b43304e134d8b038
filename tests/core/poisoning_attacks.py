"""Attacks on labelled tables: each returns a poisoned copy and the rows it touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri

PATCH = ("p54", "p55", "p62", "p63")
"""The four pixels in the lower right corner of an 8x8 digit."""
BIG_PATCH = ("p45", "p46", "p47", "p53", "p54", "p55", "p61", "p62", "p63")
"""The nine pixels of a 3x3 patch there."""


@dataclass(frozen=True)
class Poisoned:
    """A table and where it was poisoned."""

    frame: pd.DataFrame
    rows: frozenset[int]

    def recall(self, flagged: set[int]) -> float:
        return len(self.rows & flagged) / len(self.rows)

    def false_alarms(self, flagged: set[int]) -> float:
        return len(flagged - self.rows) / (len(self.frame) - len(self.rows))


def digits() -> pd.DataFrame:
    """1797 handwritten digits of 8x8 pixels with 17 grey levels."""
    data = datasets.load_digits()
    frame = pd.DataFrame(data.data, columns=[f"p{pixel:02d}" for pixel in range(64)])
    return frame.assign(label=data.target)


def bundled(name: str) -> pd.DataFrame:
    """A data set that ships with scikit-learn, by the name of its loader."""
    data = getattr(datasets, f"load_{name}")()
    frame = pd.DataFrame(data.data, columns=[f"f{at}" for at in range(data.data.shape[1])])
    return frame.assign(label=data.target)


def mixtures(*, classes: int = 4, rows: int = 1500, seed: int = 0) -> pd.DataFrame:
    """Clusters of continuous features that overlap a little."""
    x, y = datasets.make_classification(
        rows, 20, n_informative=10, n_classes=classes, class_sep=1.5, flip_y=0, random_state=seed
    )
    frame = pd.DataFrame(x, columns=[f"f{at}" for at in range(20)])
    return frame.assign(label=y)


def flip_labels(frame: pd.DataFrame, share: float, *, seed: int = 1) -> Poisoned:
    """Give a share of the rows another label, drawn uniformly."""
    generator = np.random.default_rng(seed)
    classes = np.unique(frame["label"])
    chosen = generator.choice(len(frame), round(share * len(frame)), replace=False)
    labels = frame["label"].to_numpy().copy()
    codes = np.searchsorted(classes, labels[chosen])
    labels[chosen] = classes[
        (codes + generator.integers(1, len(classes), len(chosen))) % len(classes)
    ]
    return Poisoned(frame.assign(label=labels), frozenset(chosen.tolist()))


def flip_pair(
    frame: pd.DataFrame, given: int, wanted: int, count: int, *, seed: int = 1
) -> Poisoned:
    """Label some rows of one class as another one: a targeted flip."""
    generator = np.random.default_rng(seed)
    labels = frame["label"].to_numpy().copy()
    chosen = generator.choice(np.flatnonzero(labels == given), count, replace=False)
    labels[chosen] = wanted
    return Poisoned(frame.assign(label=labels), frozenset(chosen.tolist()))


def plant_trigger(
    frame: pd.DataFrame,
    columns: tuple[str, ...],
    value: float,
    wanted: int,
    count: int,
    *,
    seed: int = 1,
) -> Poisoned:
    """Set columns of random rows to a value, and their label to the attacker's: BadNets."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(frame), count, replace=False)
    poisoned = frame.copy()
    poisoned.loc[chosen, list(columns)] = value
    poisoned.loc[chosen, "label"] = wanted
    return Poisoned(poisoned, frozenset(chosen.tolist()))


def save(frame: pd.DataFrame, path: Path) -> Snapshot:
    """Write a table in the format that its name says, and take its snapshot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path, index=False)
    return take_snapshot(SubjectUri.parse(path))
