"""Two DAGs as a team has them: one ingests digits, the other trains when they arrived."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.sdk import Asset, dag, task

sys.path.append(str(Path(__file__).resolve().parents[1]))

DIGITS = Asset("digits_plain")


@dag(schedule=None, catchup=False, tags=["example"])
def digits_ingest_plain():
    @task
    def ingest():
        import digits

        return str(digits.receive(digits.folder() / "raw" / "digits.parquet"))

    @task(outlets=[DIGITS])
    def publish(dataset, *, outlet_events):
        outlet_events[DIGITS].extra = {"dataset": dataset}

    publish(ingest())


@dag(schedule=[DIGITS], catchup=False, tags=["example"])
def digits_train_plain():
    @task(inlets=[DIGITS])
    def newest(*, inlet_events):
        return inlet_events[DIGITS][-1].extra["dataset"]

    @task
    def train(dataset):
        import digits
        import pandas as pd

        frame = pd.read_parquet(dataset)
        return digits.save(digits.fit_and_measure(frame), "airflow_plain")

    train(newest())


digits_ingest_plain()
digits_train_plain()
