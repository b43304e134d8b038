"""The same two DAGs with gates: what is ingested is examined, and training verifies it."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import Asset, dag, task

from sluicegate_airflow import secure

sys.path.append(str(Path(__file__).resolve().parents[1]))

DIGITS = Asset("digits_secured")


@dag(schedule=None, catchup=False, tags=["example"])
def digits_ingest_secured():
    @task
    def ingest():
        import digits

        return str(digits.receive(digits.folder() / "raw" / "digits.parquet"))

    @task(outlets=[DIGITS])
    def publish(dataset, *, outlet_events):
        outlet_events[DIGITS].extra = {"dataset": dataset}

    publish(secure(ingest(), purpose="train"))


@dag(schedule=[DIGITS], catchup=False, tags=["example"])
def digits_train_secured():
    @task(inlets=[DIGITS])
    def newest(*, inlet_events):
        return inlet_events[DIGITS][-1].extra["dataset"]

    @task.cleared(purpose="train")
    def train(dataset):
        import digits

        frame = dataset.read_frame()
        return digits.save(digits.fit_and_measure(frame), "airflow_secured")

    train(newest())


digits_ingest_secured()
digits_train_secured()
