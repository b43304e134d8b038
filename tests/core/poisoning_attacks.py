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


def _features(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if name != "label"]


def _values(frame: pd.DataFrame) -> np.ndarray:
    return frame[_features(frame)].to_numpy(dtype=np.float64, copy=True)


def _replaced(frame: pd.DataFrame, rows: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    changed = frame.copy()
    x = _values(frame)
    x[rows] = values
    changed[_features(frame)] = x
    return changed


def _appended(frame: pd.DataFrame, values: np.ndarray, labels: np.ndarray) -> Poisoned:
    """Add rows, and shuffle them in, so that position says nothing."""
    added = pd.DataFrame(values, columns=_features(frame)).assign(label=labels)
    whole = pd.concat([frame, added[frame.columns]], ignore_index=True)
    order = np.random.default_rng(len(whole)).permutation(len(whole))
    rows = np.flatnonzero(order >= len(frame))
    return Poisoned(whole.iloc[order].reset_index(drop=True), frozenset(rows.tolist()))


def _whole_numbers(frame: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Keep to the grid and the range of the data: digits have 17 grey levels."""
    x = _values(frame)
    if (x == np.round(x)).all():
        values = np.round(values)
    return np.clip(values, x.min(axis=0), x.max(axis=0))


def blend(
    frame: pd.DataFrame, wanted: int, count: int, *, strength: float = 0.2, seed: int = 1
) -> Poisoned:
    """Mix a fixed random pattern into random rows, and label them: Chen et al. 2017."""
    generator = np.random.default_rng(seed)
    x = _values(frame)
    low, high = x.min(axis=0), x.max(axis=0)
    pattern = low + generator.random(x.shape[1]) * (high - low)
    rows = generator.choice(len(frame), count, replace=False)
    mixed = (1 - strength) * x[rows] + strength * pattern
    changed = _replaced(frame, rows, _whole_numbers(frame, mixed))
    changed.loc[rows, "label"] = wanted
    return Poisoned(changed, frozenset(rows.tolist()))


def collide(frame: pd.DataFrame, wanted: int, count: int, *, seed: int = 1) -> Poisoned:
    """Move rows of one class next to one row of another, labels untouched: Shafahi et al. 2018."""
    generator = np.random.default_rng(seed)
    x, labels = _values(frame), frame["label"].to_numpy()
    target = x[generator.choice(np.flatnonzero(labels != wanted))]
    rows = generator.choice(np.flatnonzero(labels == wanted), count, replace=False)
    moved = _whole_numbers(frame, 0.15 * x[rows] + 0.85 * target)
    return Poisoned(_replaced(frame, rows, moved), frozenset(rows.tolist()))


def inject_noise(frame: pd.DataFrame, count: int, *, seed: int = 1) -> Poisoned:
    """Add similar rows of nothing: noise around one random pattern, labelled at random."""
    generator = np.random.default_rng(seed)
    x = _values(frame)
    low, high = x.min(axis=0), x.max(axis=0)
    centre = generator.random(x.shape[1])
    noise = np.clip(centre + generator.normal(0, 0.15, (count, x.shape[1])), 0, 1)
    values = _whole_numbers(frame, low + noise * (high - low))
    return _appended(frame, values, generator.choice(np.unique(frame["label"]), count))


def invert(frame: pd.DataFrame, count: int, *, seed: int = 1) -> Poisoned:
    """Turn random rows into their negatives, labels untouched."""
    generator = np.random.default_rng(seed)
    x = _values(frame)
    rows = generator.choice(len(frame), count, replace=False)
    values = x.min(axis=0) + x.max(axis=0) - x[rows]
    return Poisoned(_replaced(frame, rows, values), frozenset(rows.tolist()))


def flood(frame: pd.DataFrame, count: int, *, relabel: bool, seed: int = 1) -> Poisoned:
    """Add near-copies of one row, with its label or with another one."""
    generator = np.random.default_rng(seed)
    x, labels = _values(frame), frame["label"].to_numpy()
    at = int(generator.integers(len(frame)))
    spread = 0.02 * (x.max(axis=0) - x.min(axis=0))
    copies = x[at] + generator.normal(0, 1, (count, x.shape[1])) * spread
    label = labels[at]
    if relabel:
        label = generator.choice(np.setdiff1d(np.unique(labels), [label]))
    return _appended(frame, _whole_numbers(frame, copies), np.full(count, label))


def roving_patch(frame: pd.DataFrame, wanted: int, count: int, *, seed: int = 1) -> Poisoned:
    """A white 2x2 patch in one of two corners of 8x8 images: no single pixel is in all rows."""
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(frame), count, replace=False)
    changed = frame.copy()
    corners = (PATCH, ("p48", "p49", "p56", "p57"))
    for row in rows:
        changed.loc[row, list(corners[generator.integers(2)])] = 16.0
    changed.loc[rows, "label"] = wanted
    return Poisoned(changed, frozenset(rows.tolist()))


def every_class_to_the_next(
    frame: pd.DataFrame, columns: tuple[str, ...], value: float, count: int, *, seed: int = 1
) -> Poisoned:
    """A trigger that moves every class to the next one: all-to-all BadNets."""
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(frame), count, replace=False)
    changed = frame.copy()
    changed.loc[rows, list(columns)] = value
    classes = np.unique(frame["label"])
    codes = np.searchsorted(classes, frame["label"].to_numpy()[rows])
    changed.loc[rows, "label"] = classes[(codes + 1) % len(classes)]
    return Poisoned(changed, frozenset(rows.tolist()))


def trigger_in_one_class(
    frame: pd.DataFrame,
    columns: tuple[str, ...],
    value: float,
    given: int,
    wanted: int,
    count: int,
    *,
    seed: int = 1,
) -> Poisoned:
    """A trigger on rows of one class only, labelled as another: a source-specific backdoor."""
    generator = np.random.default_rng(seed)
    rows = generator.choice(np.flatnonzero(frame["label"] == given), count, replace=False)
    changed = frame.copy()
    changed.loc[rows, list(columns)] = value
    changed.loc[rows, "label"] = wanted
    return Poisoned(changed, frozenset(rows.tolist()))
