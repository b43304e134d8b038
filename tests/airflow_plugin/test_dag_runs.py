"""A real DAG run: what is trained on, and what Airflow says about the rest.

All cases are lanes of one DAG (``dags/lanes.py``), which runs once.
"""

from __future__ import annotations

import json
import re

import pytest

from sluicegate.evidence import Evidence
from sluicegate.receipts.bundle import Bundle
from sluicegate.receipts.statement import parse_statement
from tests.airflow_plugin.conftest import Airflow, Run
from tests.toy_project import CLEAN, NEGATIVE, POISONED, new_project

REFUSED = {
    "swapped.train": "is not what was cleared",
    "forged.train": "is not what was cleared",
    "forged.train_invented": "is not the receipt",
    "raw.train": "no receipt for it speaks",
    "careless.train_result": "found NoneType",
    "careless.train_path": "needs flag-negatives",
    "marked.train_result": "found NoneType",
    "marked.train_path": "no receipt for it speaks",
    "concurrent.refused_args": "no receipt for it speaks",
    "concurrent.refused_kwargs": "no receipt for it speaks",
}
"""Tasks that ran behind gates that cleared nothing, and why each was refused."""


@pytest.fixture(scope="module")
def run(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Run:
    project = new_project(tmp_path_factory.mktemp("lanes") / "project")
    for lane in ("clean", "forged", "swapped"):
        project.data(lane)
    project.data("some", NEGATIVE)
    project.data("blocked", POISONED)
    project.data("careless", (*POISONED, 9))
    project.data("broken", (10, 11, 12), faults=1)
    project.data("stuck", (20, 21, 22), faults=99)
    project.data("small", (1,))
    project.data("retried", (90, 91, 92))
    project.data("unseen", (30, 31, 32))
    project.data("marked", (40, 41, 42))
    project.data("concurrent", (50, 51, 52))
    project.data("first", (60, 61, 62))
    project.data("second", (70, -71, 72, 73))
    project.data("templated", (80, 81, 82))
    return airflow.run(
        "lanes",
        "--conf",
        json.dumps({"lane": "templated"}),
        "--mark-success-pattern",
        r"marked\.secure\..*",
        project=project,
    )


def test_clean_data_is_trained_on(run: Run) -> None:
    assert run.states["clean.train"] == "success"
    assert run.trained["clean.train"] == list(CLEAN)


def test_after_a_quarantine_only_the_remainder_is_trained_on(run: Run) -> None:
    assert run.states["some.secure.flag-negatives"] == "success"
    assert run.trained["some.train"] == [value for value in NEGATIVE if value >= 0]


def test_a_block_fails_on_the_first_try_and_nothing_behind_it_runs(run: Run) -> None:
    assert run.states["blocked.secure.flag-negatives"] == "failed"
    assert run.tries["blocked.secure.flag-negatives"] == 1
    assert run.states["blocked.train"] == "upstream_failed"
    error = run.errors["blocked.secure.flag-negatives"]
    assert re.match(r"AirflowFailException: flag-negatives: .* blocked\n  - toy\.poison", error)
    assert "next: see " in error


def test_gates_run_one_after_the_other_and_stop_at_the_first_block(run: Run) -> None:
    assert run.states["small.secure.count-rows"] == "failed"
    assert run.states["small.secure.flag-negatives"] == "upstream_failed"
    assert run.states["small.train"] == "upstream_failed"


def test_a_fault_is_retried_and_training_follows(run: Run) -> None:
    assert run.tries["broken.secure.count-rows"] == 2
    assert run.states["broken.secure.count-rows"] == "success"
    assert run.trained["broken.train"] == [10, 11, 12]


def test_a_fault_that_stays_stops_the_lane_after_its_retries(run: Run) -> None:
    assert run.states["stuck.secure.count-rows"] == "failed"
    assert run.tries["stuck.secure.count-rows"] == 2
    assert run.errors["stuck.secure.count-rows"].startswith("StageError")
    assert run.states["stuck.train"] == "upstream_failed"


def test_a_training_that_fails_by_itself_is_retried_and_verifies_again(run: Run) -> None:
    assert run.tries["retried.train_at_last"] == 2
    assert run.trained["retried.train_at_last"] == [90, 91, 92]


def test_gates_that_were_marked_successful_never_ran(run: Run) -> None:
    assert run.states["marked.secure.count-rows"] == "success"
    assert run.states["marked.secure.flag-negatives"] == "success"
    assert "/marked/" not in run.project.executions_log.read_text()


@pytest.mark.parametrize(("task", "reason"), REFUSED.items())
def test_a_consumer_refuses_what_no_gate_cleared(run: Run, task: str, reason: str) -> None:
    assert task not in run.trained
    assert run.states[task] == "failed"
    assert run.tries[task] == 1
    assert run.errors[task].startswith("AirflowFailException")
    assert reason in run.errors[task]


def test_async_consumers_receive_the_verified_subject(run: Run) -> None:
    assert run.trained["concurrent.train_args"] == [50, 51, 52]
    assert run.trained["concurrent.train_kwargs"] == [50, 51, 52]


def test_mapped_gates_clear_each_subject_for_mapped_consumers(run: Run) -> None:
    assert run.trained["mapped.score[0]"] == [60, 61, 62]
    assert run.trained["mapped.score[1]"] == [70, 72, 73]


def test_a_mapped_consumer_refuses_one_element_and_takes_another(run: Run) -> None:
    assert run.states["mapped.other[0]"] == "success"
    assert run.states["mapped.other[1]"] == "failed"
    assert run.tries["mapped.other[1]"] == 1


def test_the_subject_is_templated(run: Run) -> None:
    assert run.trained["templated.score"] == [80, 81, 82]


def test_nothing_else_was_trained_on(run: Run) -> None:
    assert set(run.trained) == {
        "clean.train",
        "some.train",
        "broken.train",
        "retried.train_at_last",
        "concurrent.train_args",
        "concurrent.train_kwargs",
        "mapped.score[0]",
        "mapped.score[1]",
        "mapped.other[0]",
        "templated.score",
    }


def test_receipts_name_the_task_of_the_run(run: Run) -> None:
    evidence = Evidence(run.project.folder / "evidence")
    statements = [
        parse_statement(Bundle.parse(bundle)._payload) for _, bundle in evidence.receipts()
    ]
    labels = [statement.run.labels for statement in statements]
    assert {statement.run.orchestrator for statement in statements} == {"airflow"}
    assert {label["dag_id"] for label in labels} == {"lanes"}
    assert {"task_id": "mapped.gate", "map_index": "1"}.items() <= max(
        labels, key=lambda label: int(label["map_index"])
    ).items()
    retried = [label for label in labels if label["task_id"] == "broken.secure.count-rows"]
    assert [label["try_number"] for label in retried] == ["2"]


def test_no_key_and_no_data_travels_through_xcom(run: Run) -> None:
    assert "sluicegate-clearance/v1" in run.xcoms
    assert "PRIVATE" not in run.xcoms
    for value in ("-999", "[1, 2"):
        assert value not in run.xcoms
