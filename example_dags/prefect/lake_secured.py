"""Train on a bucket only if each object in it, and the bucket itself, is encrypted as agreed."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow, task

from sluicegate_prefect import Cleared, requires_clearance, secure

sys.path.append(str(Path(__file__).resolve().parents[1]))
import lake


@task
def ingest() -> str:
    return lake.receive()


@task
@requires_clearance(purpose="train")
def train(dataset: Cleared) -> int:
    return lake.train(dataset.read_frame())


@flow
def lake_secured() -> int:
    return train(secure(ingest(), purpose="train"))


if __name__ == "__main__":
    lake_secured()
