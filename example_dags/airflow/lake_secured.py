"""Train on a bucket only if each object in it, and the bucket itself, is encrypted as agreed."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import dag, task

from sluicegate_airflow import secure

sys.path.append(str(Path(__file__).resolve().parents[1]))


@dag(schedule=None, catchup=False, tags=["example"])
def lake_secured():
    @task
    def ingest():
        import lake

        return lake.receive()

    @task.cleared(purpose="train")
    def train(dataset):
        import lake

        return lake.train(dataset.read_frame())

    train(secure(ingest(), purpose="train"))


lake_secured()
