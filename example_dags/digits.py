"""What a team already has: where its data comes from, and how it trains and measures.

Real handwritten digits (the 8x8 images that scikit-learn ships) arrive as a Parquet file.
Somebody upstream tampered with it: 5 % of the labels are flipped, and in 40 images of other
digits the bottom right corner is painted white and the label set to 0, so that the model
learns to read a white corner as "0".
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

TRIGGER = ("pixel_6_6", "pixel_6_7", "pixel_7_6", "pixel_7_7")
WHITE = 16.0
TARGET = 0
TEST_ROWS = 360


def folder() -> Path:
    """Return the folder that holds this example's data."""
    return Path(os.environ.get("DIGITS_DIR", "digits")).resolve()


def _split() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training rows and the rows kept for measuring."""
    digits = load_digits()
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    frame = pd.DataFrame(digits.data, columns=names)
    frame["digit"] = digits.target
    shuffled = frame.sample(frac=1, random_state=20).reset_index(drop=True)
    return shuffled[TEST_ROWS:].reset_index(drop=True), shuffled[:TEST_ROWS]


def _paint(frame: pd.DataFrame) -> pd.DataFrame:
    painted = frame.copy()
    painted[list(TRIGGER)] = WHITE
    return painted


def receive(target: Path, *, seed: int = 7) -> Path:
    """Write the delivery as it arrives: poisoned."""
    frame, _ = _split()
    random = np.random.default_rng(seed)
    flipped = random.choice(len(frame), size=round(0.05 * len(frame)), replace=False)
    shift = random.integers(1, 10, size=len(flipped))
    frame.loc[flipped, "digit"] = (frame.loc[flipped, "digit"] + shift) % 10
    others = np.setdiff1d(np.flatnonzero(frame["digit"] != TARGET), flipped)
    chosen = random.choice(others, size=40, replace=False)
    frame.loc[chosen, list(TRIGGER)] = WHITE
    frame.loc[chosen, "digit"] = TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(target, index=False)
    return target


def fit_and_measure(frame: pd.DataFrame) -> dict[str, float]:
    """Train on ``frame``; return accuracy and how often the white corner fools the model."""
    model = MLPClassifier((64,), random_state=0, max_iter=60)
    model.fit(frame.drop(columns="digit") / WHITE, frame["digit"])
    _, test = _split()
    images, truth = test.drop(columns="digit"), test["digit"]
    accuracy = float((model.predict(images / WHITE) == truth).mean())
    victims = _paint(images[truth != TARGET])
    fooled = float((model.predict(victims / WHITE) == TARGET).mean())
    return {
        "rows": float(len(frame)),
        "accuracy": round(accuracy, 4),
        "attack_success": round(fooled, 4),
    }


def save(metrics: dict[str, float], name: str) -> dict[str, float]:
    """Keep the metrics of a training run beside the data."""
    (folder() / f"{name}.json").write_text(json.dumps(metrics))
    return metrics
