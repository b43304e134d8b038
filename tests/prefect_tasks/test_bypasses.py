"""Ways in which a flow goes on although a gate failed: none of them may train.

Each test is ordinary code that somebody writes, or an attack by somebody who can write to
Prefect's storage. Nobody has the signing key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prefect import allow_failure, flow, task
from prefect.cache_policies import INPUTS
from prefect.results import ResultRecord
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH
from prefect.states import Failed, State
from prefect.transactions import transaction

from sluicegate.clearance import Clearance
from sluicegate.errors import ClearanceRefused, GateBlocked
from sluicegate_prefect import gate, secure
from tests.toy_project import CLEAN, NEGATIVE, POISONED, Project
from tests.toy_stages import FlagNegatives

Trained = list[tuple[int, ...]]
Task = Callable[..., Any]
STAGE = FlagNegatives()


def refusal(state: Any, reason: str) -> None:
    """Check that this state is a consumer's refusal, for this reason."""
    assert state.is_failed()
    error = state.result(raise_on_failure=False)
    while isinstance(error, State):  # a flow that returns its task's state
        error = error.result(raise_on_failure=False)
    assert isinstance(error, ClearanceRefused), error
    assert reason in error.what


NO_RECEIPT = "no receipt for it speaks"


def test_good_data_is_trained_on(project: Project, train: Task, trained: Trained) -> None:
    @flow
    def nightly() -> int:
        return train(secure(project.data("clean"), purpose="train"))

    assert nightly() == len(CLEAN)
    assert trained == [CLEAN]


def test_after_a_quarantine_only_the_remainder_is_trained_on(
    project: Project, train: Task, trained: Trained
) -> None:
    @flow
    def nightly() -> int:
        return train(secure(project.data("some", NEGATIVE), purpose="train"))

    assert nightly() == 6
    assert trained == [tuple(value for value in NEGATIVE if value >= 0)]


def test_a_gate_that_blocks_raises_and_fails_the_flow(
    project: Project, train: Task, trained: Trained
) -> None:
    @flow
    def nightly() -> None:
        train(gate(STAGE, project.data("bad", POISONED)))

    state = nightly(return_state=True)
    assert state.is_failed()
    assert isinstance(state.result(raise_on_failure=False), GateBlocked)
    assert not trained


def test_a_task_that_returns_failed_instead_of_raising_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @task
    def polite_gate() -> Any:
        try:
            return gate(STAGE, raw)
        except GateBlocked as error:
            return Failed(message=error.what)

    @flow
    def nightly() -> Any:
        polite_gate()
        return train(raw, return_state=True)

    refusal(nightly(return_state=True), NO_RECEIPT)
    assert not trained


def test_submitting_a_gate_and_asking_for_its_result_fails_the_flow(
    project: Project, train: Task, trained: Trained
) -> None:
    @flow
    def nightly() -> None:
        train(gate.submit(STAGE, project.data("bad", POISONED)).result())

    state = nightly(return_state=True)
    assert isinstance(state.result(raise_on_failure=False), GateBlocked)
    assert not trained


def test_a_submitted_gate_that_nobody_awaits_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        gate.submit(STAGE, raw)
        return train(raw, return_state=True)

    refusal(nightly(return_state=True), NO_RECEIPT)
    assert not trained


def test_waiting_for_a_gate_without_taking_its_result_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        return train.submit(raw, wait_for=[gate.submit(STAGE, raw)])

    state = nightly(return_state=True)
    assert state.is_failed()
    assert state.result(raise_on_failure=False).name == "NotReady"
    assert not trained


def test_a_flow_that_returns_a_constant_hides_the_failure_and_still_trains_on_nothing(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> str:
        train.submit(raw, wait_for=[gate.submit(STAGE, raw)]).wait()
        return "done"

    assert nightly() == "done"
    assert not trained


def test_allow_failure_hands_the_consumer_an_exception_which_it_refuses(
    project: Project, train: Task, trained: Trained
) -> None:
    @flow
    def nightly() -> Any:
        blocked = gate.submit(STAGE, project.data("bad", POISONED))
        return train(allow_failure(blocked), return_state=True)

    refusal(nightly(return_state=True), "found GateBlocked")
    assert not trained


def test_waiting_with_allow_failure_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        blocked = gate.submit(STAGE, raw)
        return train(raw, wait_for=[allow_failure(blocked)], return_state=True)

    refusal(nightly(return_state=True), NO_RECEIPT)
    assert not trained


def test_an_ignored_return_state_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        assert gate(STAGE, raw, return_state=True).is_failed()
        return train(raw, return_state=True)

    refusal(nightly(return_state=True), NO_RECEIPT)
    assert not trained


def test_a_result_taken_without_raising_is_an_exception_which_the_consumer_refuses(
    project: Project, train: Task, trained: Trained
) -> None:
    @flow
    def nightly() -> Any:
        future = gate.submit(STAGE, project.data("bad", POISONED))
        return train(future.result(raise_on_failure=False), return_state=True)

    refusal(nightly(return_state=True), "found GateBlocked")
    assert not trained


def test_a_transaction_around_an_ignored_gate_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        with transaction():
            gate(STAGE, raw, return_state=True)
            return train(raw, return_state=True)

    refusal(nightly(return_state=True), NO_RECEIPT)
    assert not trained


def test_a_swallowed_exception_lets_nothing_through(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        cleared: Any = raw
        try:
            cleared = secure(raw, purpose="train")
        except Exception:  # noqa: BLE001  as careless code does
            print("gates are flaky again")
        return train(cleared, return_state=True)

    # The first stage passed, so the refusal names the verdict of the second.
    refusal(nightly(return_state=True), "says block")
    assert not trained


def test_a_raw_path_that_no_gate_saw_is_refused(
    project: Project, train: Task, trained: Trained
) -> None:
    @flow
    def nightly() -> Any:
        return train(project.data("unseen"), return_state=True)

    refusal(nightly(return_state=True), NO_RECEIPT)
    assert not trained


def test_one_of_two_gates_is_not_enough(project: Project, train: Task, trained: Trained) -> None:
    @flow
    def nightly() -> Any:
        return train(gate(STAGE, project.data("clean")), return_state=True)

    refusal(nightly(return_state=True), "needs count-rows")
    assert not trained


def test_a_forged_clearance_is_refused(project: Project, train: Task, trained: Trained) -> None:
    bad = project.data("bad", POISONED)

    @flow
    def nightly() -> Any:
        genuine = secure(project.data("clean"), purpose="train")
        return train(replace(genuine, uri=f"file://{bad}"), return_state=True)

    refusal(nightly(return_state=True), "is not what was cleared")
    assert not trained


def test_a_file_that_was_swapped_after_the_gates_is_refused(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("clean")

    @flow
    def nightly() -> Any:
        cleared = secure(raw, purpose="train")
        raw.write_bytes(project.data("bad", POISONED).read_bytes())
        return train(cleared, return_state=True)

    refusal(nightly(return_state=True), "is not what was cleared")
    assert not trained


def test_an_edited_result_file_is_refused(project: Project, train: Task, trained: Trained) -> None:
    bad = project.data("bad", POISONED)

    @task(persist_result=True, cache_policy=INPUTS, result_storage_key="nightly-clearance")
    def prepare(uri: str) -> Clearance:
        return secure(uri, purpose="train")

    def edit() -> None:
        file = PREFECT_LOCAL_STORAGE_PATH.value() / "nightly-clearance"
        record = ResultRecord.deserialize(file.read_bytes())
        record.result = replace(record.result, uri=f"file://{bad}")
        file.write_bytes(record.serialize())

    @flow
    def nightly() -> Any:
        prepared = prepare(str(clean), return_state=True)
        return prepared.name, train(prepared, return_state=True)

    clean = project.data("clean")
    nightly()
    edit()
    name, state = nightly(return_state=True).result(raise_on_failure=False)
    assert name == "Cached"
    refusal(state, "is not what was cleared")
    assert trained == [CLEAN]


def test_a_cached_clearance_cannot_vouch_for_other_bytes(
    project: Project, train: Task, trained: Trained
) -> None:
    raw = project.data("clean")

    @task(persist_result=True, cache_policy=INPUTS)
    def prepare(uri: str) -> Clearance:
        return secure(uri, purpose="train")

    @flow
    def nightly() -> Any:
        prepared = prepare(str(raw), return_state=True)
        return prepared.name, train(prepared, return_state=True)

    nightly()
    project.data("clean", POISONED)
    name, state = nightly(return_state=True).result(raise_on_failure=False)
    assert name == "Cached"
    refusal(state, "is not what was cleared")
    assert trained == [CLEAN]
