"""A flow as a team has it: ingest digits, then train."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from prefect import flow, task

sys.path.append(str(Path(__file__).resolve().parents[1]))
import digits


@task
def ingest() -> str:
    return str(digits.receive(digits.folder() / "raw" / "digits.parquet"))


@task
def train(dataset: str) -> dict[str, float]:
    frame = pd.read_parquet(dataset)
    return digits.save(digits.fit_and_measure(frame), "prefect_plain")


@flow
def digits_plain() -> dict[str, float]:
    return train(ingest())


if __name__ == "__main__":
    digits_plain()
