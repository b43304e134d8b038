"""Gates as Prefect tasks: how they run, retry, travel and are consumed."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task as PrefectTask

import sluicegate_prefect.tasks
from sluicegate.errors import ClearanceRefused, GateBlocked, KeyFileError, StageError
from sluicegate.evidence import Evidence
from sluicegate.receipts.bundle import Bundle
from sluicegate.receipts.statement import parse_statement
from sluicegate_prefect import Clearance, Cleared, gate, requires_clearance, secure
from tests.toy_project import CLEAN, NEGATIVE, POISONED, Project, values_of
from tests.toy_stages import FlagNegatives

Trained = list[tuple[int, ...]]
Task = Callable[..., Any]
STAGE = FlagNegatives()
AT_ONCE = gate.with_options(retry_delay_seconds=0)
HEAVY = (
    "prefect", "airflow", "great_expectations", "cleanlab", "sklearn", "pandas", "numpy", "boto3"
)  # fmt: skip


def test_a_block_is_decided_once_and_never_retried(project: Project) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> None:
        AT_ONCE(STAGE, raw)

    with pytest.raises(GateBlocked, match=r"toy\.poison"):
        nightly()
    assert project.executions() == {"flag-negatives": 1}


def test_a_refused_clearance_is_not_retried(project: Project) -> None:
    raw = project.data("clean")
    attempts = []

    @task(
        retries=2,
        retry_condition_fn=gate.retry_condition_fn,
        cache_policy=NO_CACHE,
    )
    def counted(subject: Any) -> None:
        attempts.append(subject)
        gate.fn(STAGE, subject)

    @flow
    def nightly() -> None:
        cleared = gate(STAGE, raw)
        project.data("clean", POISONED)
        counted(cleared)

    with pytest.raises(ClearanceRefused, match="is not what was cleared before"):
        nightly()
    assert len(attempts) == 1


def test_a_fault_is_retried_and_then_the_gate_passes(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("flaky", faults=2)

    @flow
    def nightly() -> Any:
        return AT_ONCE(STAGE, raw)

    assert isinstance(nightly(), Clearance)
    assert project.executions() == {"flag-negatives": 3}


def test_a_fault_that_stays_fails_the_flow_as_a_fault(project: Project) -> None:
    raw = project.data("broken", faults=99)

    @flow
    def nightly() -> None:
        AT_ONCE(STAGE, raw)

    with pytest.raises(StageError, match="the tool broke"):
        nightly()
    assert project.executions() == {"flag-negatives": 3}


def test_a_wrong_configuration_is_not_retried(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = project.data("clean")
    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(project.folder / "none.pem"))
    tries = []

    def count(task: Any, run: Any, state: Any) -> None:
        tries.append(state)

    @flow
    def nightly() -> None:
        AT_ONCE.with_options(on_running=[count])(STAGE, raw)

    with pytest.raises(KeyFileError):
        nightly()
    assert len(tries) == 1


def test_secure_runs_every_stage_of_the_purpose_as_a_task_of_its_own(project: Project) -> None:
    raw = project.data("clean")
    names = []

    def note(task: Any, run: Any, state: Any) -> None:
        names.append(run.name)

    gate.on_completion_hooks.append(note)
    try:

        @flow
        def nightly() -> Any:
            return secure(raw, purpose="train")

        clearance = nightly()
    finally:
        gate.on_completion_hooks.remove(note)
    assert project.executions() == {"count-rows": 1, "flag-negatives": 1}
    assert names == ["count-rows", "flag-negatives"]
    assert len(clearance.receipts) == 2


def test_after_a_quarantine_secure_examines_the_remainder_again(project: Project) -> None:
    raw = project.data("some", NEGATIVE)

    @flow
    def nightly() -> Any:
        return secure(raw, purpose="train")

    assert nightly().uri != f"file://{raw}"
    # Fewer rows is a new question for count-rows; no new negatives can have come in.
    assert project.executions() == {"count-rows": 2, "flag-negatives": 1}


def test_the_receipt_names_the_flow_and_the_task_run(project: Project) -> None:
    raw = project.data("clean")

    @flow(name="named-flow")
    def nightly() -> Any:
        return gate(STAGE, raw)

    ref = nightly().receipts[0]
    bundle = Bundle.parse(Evidence(project.folder / "evidence").receipt(ref))
    run = parse_statement(bundle._payload).run
    assert run.orchestrator == "prefect"
    assert run.labels["flow"] == "named-flow"
    assert run.labels["task_run_id"]


def test_a_gate_takes_the_future_of_the_task_that_made_the_data(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("clean")

    @task
    def ingest() -> str:
        return str(raw)

    @flow
    def nightly() -> None:
        train(secure(ingest.submit(), purpose="train"))

    nightly()
    assert trained == [CLEAN]


def test_mapped_gates_and_consumers_decide_for_each_element(
    project: Project, train: Task, trained: Trained
) -> None:
    paths = [project.data("one", (1, 2, 3)), project.data("two", (4, 5, 6))]
    bad = project.data("bad", POISONED)

    @flow
    def nightly() -> list[Any]:
        cleared = [secure(path, purpose="train") for path in paths]
        states = train.map([*cleared, bad], return_state=True)
        gates = gate.map(STAGE, [*paths, bad], return_state=True)
        return [states, gates]

    trains, gates = nightly()
    assert sorted(trained) == [(1, 2, 3), (4, 5, 6)]
    assert [state.is_completed() for state in trains] == [True, True, False]
    assert [state.is_completed() for state in gates] == [True, True, False]


def test_calling_the_function_below_the_task_still_verifies(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("clean")
    with pytest.raises(ClearanceRefused):
        train.fn(raw)
    assert not trained

    @flow
    def nightly() -> Any:
        return secure(raw, purpose="train")

    train.fn(nightly())
    assert trained == [CLEAN]


def test_an_async_consumer_verifies_before_it_runs(project: Project) -> None:
    trained = []

    @task
    @requires_clearance("train")
    async def train(dataset: Cleared) -> None:
        await asyncio.sleep(0)
        trained.append(values_of(dataset))

    @flow
    async def nightly(subject: str, *, gated: bool) -> None:
        await train(secure(subject, purpose="train") if gated else subject)

    assert inspect.iscoroutinefunction(train.fn)
    asyncio.run(nightly(str(project.data("clean")), gated=True))
    with pytest.raises(ClearanceRefused):
        asyncio.run(nightly(str(project.data("bad", POISONED)), gated=False))
    with pytest.raises(ClearanceRefused):
        asyncio.run(train.fn(str(project.data("bad", POISONED))))
    assert trained == [CLEAN]


def test_a_subject_given_by_keyword_or_in_another_position_is_verified_too(
    project: Project, trained: Trained
) -> None:
    @task
    @requires_clearance("train", argument="dataset")
    def train(epochs: int, dataset: Cleared) -> None:
        assert isinstance(dataset, Cleared)
        trained.append(values_of(dataset))

    @flow
    def nightly() -> tuple[Any, ...]:
        cleared = secure(project.data("clean"), purpose="train")
        train(1, dataset=cleared)
        train(1, cleared)
        bad = project.data("bad", POISONED)
        return train(1, dataset=bad, return_state=True), train(1, bad, return_state=True)

    for state in nightly():
        assert isinstance(state.result(raise_on_failure=False), ClearanceRefused)
    assert trained == [CLEAN, CLEAN]


@pytest.mark.parametrize("tool", [pickle, cloudpickle])
def test_a_block_survives_pickling_with_everything_it_says(project: Project, tool: Any) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> None:
        gate(STAGE, raw)

    with pytest.raises(GateBlocked) as caught:
        nightly()
    error, copy = caught.value, tool.loads(tool.dumps(caught.value))
    assert type(copy) is GateBlocked
    assert vars(copy) == {
        **vars(error),
        "stage": "flag-negatives",
        "subject": f"file://{raw}",
    }
    assert str(copy) == str(error)
    assert copy.reasons
    assert copy.receipt.endswith(".sigstore.json")


def test_none_of_our_tasks_caches_or_persists() -> None:
    ours = [
        value for value in vars(sluicegate_prefect.tasks).values() if isinstance(value, PrefectTask)
    ]
    assert ours == [gate]
    assert gate.cache_policy == NO_CACHE
    assert gate.persist_result is False


def test_changed_bytes_at_the_same_place_are_examined_again_even_where_results_persist(
    project: Project,
) -> None:
    raw = project.data("clean")

    @flow(persist_result=True)
    def nightly() -> Any:
        first = gate(STAGE, raw)
        project.data("clean", POISONED)
        return first, gate(STAGE, raw, return_state=True)

    _, second = nightly()
    assert second.is_failed()
    assert project.executions() == {"flag-negatives": 2}


@pytest.mark.parametrize("module", ["sluicegate_prefect", "sluicegate.stages.registry"])
def test_importing_the_package_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(HEAVY) & set(json.loads(result.stdout))
