"""One DAG with a lane for each case: data, gates, and a training task behind them.

Lanes do not depend on each other, so one run answers for all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import TaskGroup, TriggerRule, dag, task
from toy_stages import FlagNegatives, read_values

from sluicegate_airflow import GateOperator, cleared, secure

FOLDER = Path(os.environ["TOY_FOLDER"])


def keep(kind: str, name: str, value: object) -> None:
    folder = FOLDER / kind
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value))


def note_error(context) -> None:
    instance, error = context["ti"], context["exception"]
    keep("errors", instance.task_id, f"{type(error).__name__}: {error}")


def data(lane: str) -> str:
    return str(FOLDER / "data" / lane / "rows.csv")


def learn(dataset, instance) -> None:
    index = f"[{instance.map_index}]" if instance.map_index >= 0 else ""
    keep("trained", instance.task_id + index, read_values(dataset.open()))


@task
def ingest(lane: str) -> str:
    return data(lane)


@task.cleared(purpose="train")
def train(dataset, ti=None):
    learn(dataset, ti)


@task.cleared(purpose="score")
def score(dataset, ti=None):
    learn(dataset, ti)


@task.cleared(purpose="train")
def train_at_last(dataset, ti=None):
    if ti.try_number == 1:
        raise RuntimeError("out of memory")
    learn(dataset, ti)


@cleared(purpose="train", argument="dataset")
async def train_async(epochs, dataset, *, ti=None):
    await asyncio.sleep(0)
    learn(dataset, ti)


@task
def swap(clearance):
    """Change the data after the gates, and hand on the genuine clearance."""
    Path(data("swapped")).write_bytes(Path(data("blocked")).read_bytes())
    return clearance


@task
def forge(clearance):
    """Keep the genuine receipts, and point at other data."""
    return {**clearance, "uri": "file://" + data("blocked")}


@task
def invent():
    """Write what a gate would write, without any receipt."""
    digest = "sha256:" + "0" * 64
    uri = "file://" + data("blocked")
    kind = "sluicegate-clearance/v1"
    return {"kind": kind, "uri": uri, "digest": digest, "receipts": [[0, digest]]}


@dag(
    schedule=None,
    catchup=False,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(0),
        "on_failure_callback": note_error,
    },
)
def lanes():
    for lane in ("clean", "some", "blocked", "broken", "small"):
        with TaskGroup(lane):
            train(secure(ingest(lane), purpose="train"))

    with TaskGroup("stuck"):
        train(secure(data("stuck"), purpose="train", retries=1))
    with TaskGroup("retried"):
        train_at_last(secure(data("retried"), purpose="train"))
    with TaskGroup("swapped"):
        train(swap(secure(data("swapped"), purpose="train")))
    with TaskGroup("forged"):
        train(forge(secure(data("forged"), purpose="train")))
        train.override(task_id="train_invented")(invent())
    with TaskGroup("raw"):
        train(data("unseen"))
    with TaskGroup("careless"):
        # A trigger rule that lets the consumer run after the gate has failed.
        gates = secure(data("careless"), purpose="train")
        late = train.override(trigger_rule=TriggerRule.ALL_DONE)
        late.override(task_id="train_result")(gates)
        gates >> late.override(task_id="train_path")(data("careless"))
    with TaskGroup("marked"):
        # The run marks these gates as successful instead of running them.
        gates = secure(data("marked"), purpose="train")
        train.override(task_id="train_result")(gates)
        gates >> train.override(task_id="train_path")(data("marked"))
    with TaskGroup("concurrent"):
        gates = secure(data("concurrent"), purpose="train")
        train_async.override(task_id="train_args")(1, gates)
        train_async.override(task_id="train_kwargs")(epochs=1, dataset=gates)
        train_async.override(task_id="refused_args")(1, data("unseen"))
        train_async.override(task_id="refused_kwargs")(epochs=1, dataset=data("unseen"))
    with TaskGroup("mapped"):
        paths = [data("first"), data("second")]
        gate = GateOperator.partial(task_id="gate", stage=FlagNegatives()).expand(subject=paths)
        score.expand(dataset=gate.output)
        score.override(task_id="other").expand(dataset=[data("first"), data("unseen")]) << gate
    with TaskGroup("templated"):
        gate = GateOperator(
            task_id="gate",
            stage=FlagNegatives(),
            subject=str(FOLDER) + "/data/{{ dag_run.conf['lane'] }}/rows.csv",
        )
        score(gate.output)


lanes()
