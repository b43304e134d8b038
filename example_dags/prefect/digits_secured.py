"""The same flow with gates: what is ingested is examined, and training verifies it."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow, task

from sluicegate_prefect import Cleared, requires_clearance, secure

sys.path.append(str(Path(__file__).resolve().parents[1]))
import digits


@task
def ingest() -> str:
    return str(digits.receive(digits.folder() / "raw" / "digits.parquet"))


@task
@requires_clearance(purpose="train")
def train(dataset: Cleared) -> dict[str, float]:
    frame = dataset.read_frame()
    return digits.save(digits.fit_and_measure(frame), "prefect_secured")


@flow
def digits_secured() -> dict[str, float]:
    return train(secure(ingest(), purpose="train"))


if __name__ == "__main__":
    digits_secured()
