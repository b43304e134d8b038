"""Gates and consumers as a DAG file sees them: parsing, templating, serialising, importing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.errors import ConfigurationError, GateBlocked, PolicyError, StageError
from tests.toy_project import CLEAN, POISONED, Project, values_of
from tests.toy_stages import FlagNegatives

HEAVY = ("great_expectations", "cleanlab", "sklearn", "pandas", "boto3", "numpy", "pyarrow")
TEACHES = "default_args sets {} of {}: name it at the task"


@pytest.fixture
def sdk(project: Project) -> Any:
    import airflow.sdk

    return airflow.sdk


@pytest.fixture
def context() -> dict[str, Any]:
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
    return {"ti": SimpleNamespace(**names)}


def train(dataset: Any) -> tuple[int, ...]:
    return values_of(dataset)


@pytest.mark.parametrize("name", ["policy", "stage", "subject"])
@pytest.mark.parametrize("place", ["dag", "group"])
def test_default_args_cannot_set_a_parameter_of_a_gate(sdk: Any, name: str, place: str) -> None:
    from sluicegate_airflow import GateOperator

    hidden = {name: "elsewhere"}
    with (
        pytest.raises(ValueError, match=TEACHES.format(name, "GateOperator")),
        sdk.DAG("d", default_args=hidden if place == "dag" else {}),
        sdk.TaskGroup("g", default_args=hidden if place == "group" else {}),
    ):
        GateOperator(task_id="gate", stage=FlagNegatives(), subject="x", policy="policy.yaml")


@pytest.mark.parametrize("name", ["purpose", "policy", "argument"])
def test_default_args_cannot_set_a_parameter_of_a_consumer(sdk: Any, name: str) -> None:
    from sluicegate_airflow import cleared

    with (
        pytest.raises(ValueError, match=TEACHES.format(name, "@task.cleared")),
        sdk.DAG("d", default_args={name: "elsewhere"}),
    ):
        cleared(train, purpose="train")("x")


@pytest.mark.parametrize("name", ["policy", "stage", "subject"])
def test_default_args_cannot_set_a_parameter_of_a_mapped_gate_either(sdk: Any, name: str) -> None:
    from sluicegate_airflow import GateOperator

    with sdk.DAG("d", default_args={name: "elsewhere"}):
        gates = GateOperator.partial(task_id="gate", stage=FlagNegatives()).expand(subject=["x"])
    # Airflow builds mapped operators on the worker: this is where it must be refused.
    with pytest.raises(ValueError, match=TEACHES.format(name, "GateOperator")):
        gates.unmap({"subject": "x"})


@pytest.mark.parametrize("name", ["purpose", "policy", "argument"])
def test_default_args_cannot_set_a_parameter_of_a_mapped_consumer_either(
    sdk: Any, name: str
) -> None:
    from sluicegate_airflow import cleared

    with sdk.DAG("d", default_args={name: "elsewhere"}):
        mapped = cleared(train, purpose="train").expand(dataset=["x"]).operator
    with pytest.raises(ValueError, match=TEACHES.format(name, "@task.cleared")):
        mapped.unmap({"op_kwargs": {"dataset": "x"}})


def test_a_dag_file_with_hidden_security_parameters_is_an_import_error_that_teaches(
    sdk: Any, tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "hidden.py").write_text(
        "from airflow.sdk import DAG\n"
        "from sluicegate_airflow import secure\n"
        "with DAG('hidden', default_args={'policy': '/tmp/lax.yaml'}):\n"
        "    secure('s3://lake/raw', purpose='train')\n"
    )
    bag = DagBag(tmp_path)
    assert not bag.dags
    (error,) = bag.import_errors.values()
    assert TEACHES.format("policy", "GateOperator") in error


def test_a_consumer_without_a_parameter_for_its_subject_is_an_error_of_the_dag_file(
    sdk: Any,
) -> None:
    from sluicegate_airflow import cleared

    with sdk.DAG("d"), pytest.raises(ConfigurationError, match="no parameter 'data'"):
        cleared(train, purpose="train", argument="data")("x")


def test_only_the_subject_of_a_gate_is_templated(sdk: Any) -> None:
    from sluicegate_airflow import GateOperator

    text = "{{ dag_run.conf['lax'] }}"
    stage = FlagNegatives(column=text)
    with sdk.DAG("d"):
        gate = GateOperator(task_id="gate", stage=stage, subject=text, policy=text)
    gate.render_template_fields({"dag_run": SimpleNamespace(conf={"lax": "given"})})
    assert gate.subject == "given"
    assert gate.policy == text
    assert gate.stage is stage
    assert gate.stage.column == text


def test_nothing_of_a_consumer_but_its_arguments_is_templated(sdk: Any) -> None:
    from sluicegate_airflow import cleared

    text = "{{ dag_run.conf['lax'] }}"
    with sdk.DAG("d"):
        task = cleared(train, purpose=text, policy=text)(text).operator
    task.render_template_fields({"dag_run": SimpleNamespace(conf={"lax": "given"})})
    assert list(task.op_args) == ["given"]
    assert (task.purpose, task.policy) == (text, text)


def test_a_block_ends_the_task_and_keeps_what_the_gate_said(
    sdk: Any, project: Project, context: dict[str, Any]
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from sluicegate_airflow import GateOperator

    bad = project.data("bad", POISONED)
    gate = GateOperator(task_id="gate", stage=FlagNegatives(), subject=str(bad))
    with pytest.raises(AirflowFailException, match=r"toy\.poison") as caught:
        gate.execute(context)
    assert isinstance(caught.value.__cause__, GateBlocked)
    assert caught.value.__cause__.subject == f"file://{bad}"


def test_a_fault_stays_an_ordinary_exception_that_airflow_may_retry(
    sdk: Any, project: Project, context: dict[str, Any]
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from sluicegate_airflow import GateOperator

    subject = str(project.data("flaky", faults=1))
    gate = GateOperator(task_id="gate", stage=FlagNegatives(), subject=subject)
    with pytest.raises(StageError) as caught:
        gate.execute(context)
    assert not isinstance(caught.value, AirflowFailException)
    assert gate.execute(context)["uri"] == f"file://{subject}"


def test_the_policy_of_a_gate_is_the_one_named_at_the_task(
    sdk: Any, project: Project, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from sluicegate_airflow import GateOperator

    monkeypatch.setenv("SLUICEGATE_POLICY", "/nowhere/policy.yaml")
    subject = str(project.data("clean", CLEAN))
    gate = GateOperator(
        task_id="gate", stage=FlagNegatives(), subject=subject, policy=project.policy
    )
    assert gate.execute(context)["receipts"]
    with pytest.raises(AirflowFailException, match="cannot read the policy"):
        GateOperator(task_id="gate", stage=FlagNegatives(), subject=subject).execute(context)


def test_secure_lays_one_gate_for_each_stage_in_the_order_of_the_policy(sdk: Any) -> None:
    from sluicegate_airflow import secure

    with sdk.DAG("d") as dag:

        @sdk.task
        def ingest() -> str: ...

        cleared = secure(ingest(), purpose="train", retries=5)
        sdk.task.cleared(train, purpose="train")(cleared)
    assert dag.task_ids == [
        "ingest",
        "secure.count-rows",
        "secure.flag-negatives",
        "train",
    ]
    order = {task.task_id: task.upstream_task_ids for task in dag.tasks}
    assert order == {
        "ingest": set(),
        "secure.count-rows": {"ingest"},
        "secure.flag-negatives": {"secure.count-rows"},
        "train": {"secure.flag-negatives"},
    }
    assert dag.get_task("secure.count-rows").stage.at_least == 3
    assert dag.get_task("secure.count-rows").retries == 5


def test_a_stage_that_a_purpose_needs_twice_gets_a_gate_each(sdk: Any, project: Project) -> None:
    from sluicegate_airflow import secure

    twice = "stages: [count-rows: {at_least: 1}, count-rows: {at_least: 2}]"
    text = project.policy.read_text().replace("stages: [flag-negatives]", twice)
    project.policy.write_text(text)
    with sdk.DAG("d") as dag:
        secure("s3://lake/raw", purpose="score", group_id="checks")
    assert dag.task_ids == ["checks.count-rows", "checks.count-rows-2"]


def test_a_purpose_that_the_policy_does_not_know_is_an_error_of_the_dag_file(sdk: Any) -> None:
    from sluicegate_airflow import secure

    with sdk.DAG("d"), pytest.raises(PolicyError, match="no purpose 'trian'"):
        secure("s3://lake/raw", purpose="trian")


def test_the_serialised_dag_holds_no_secret(
    sdk: Any, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from sluicegate_airflow import GateOperator, secure

    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(project.key))
    monkeypatch.setenv("SLUICEGATE_KEY_PASSWORD", "correct horse")
    stage = FlagNegatives(token="hunter2")
    with sdk.DAG("d") as dag:
        secure("s3://lake/raw", purpose="train", policy=project.policy)
        GateOperator(task_id="one", stage=stage, subject="s3://lake/a", policy=project.policy)
        GateOperator.partial(task_id="many", stage=stage, policy=str(project.policy)).expand(
            subject=["s3://lake/a"]
        )
    text = json.dumps(DagSerialization.to_dict(dag))
    assert "flag-negatives" in text
    assert "FlagNegatives(column='value'" in text  # the mapped gate's stage, as its repr
    for secret in ("hunter2", "correct horse", "PRIVATE KEY", str(project.key)):
        assert secret not in text


def test_the_decorator_is_registered_with_airflow_and_can_be_imported(sdk: Any) -> None:
    from sluicegate_airflow import cleared
    from sluicegate_airflow.decorators import ClearedOperator

    with sdk.DAG("d"):
        registered = sdk.task.cleared(purpose="train")(train)("x").operator
        imported = cleared(purpose="train")(train)("x").operator
    assert type(registered) is type(imported) is ClearedOperator
    assert registered.custom_operator_name == "@task.cleared"


def test_airflow_accepts_the_provider_metadata(sdk: Any) -> None:
    from airflow.providers_manager import ProvidersManager

    info = ProvidersManager().providers["sluicegate"]  # validated against Airflow's schema
    assert info.data["package-name"] == "sluicegate"
    assert info.version == version("sluicegate")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sluicegate_airflow", ("airflow", "prefect", *HEAVY)),
        ("sluicegate_airflow.provider", ("airflow", "prefect", *HEAVY)),
        ("sluicegate_airflow.operators", ("prefect", *HEAVY)),
        ("sluicegate_airflow.decorators, sluicegate_airflow.groups", ("prefect", *HEAVY)),
    ],
)
@pytest.mark.slow
def test_importing_the_adapter_loads_nothing_heavy(module: str, absent: tuple[str, ...]) -> None:
    build = "from sluicegate.stages.poisoning import ScanForPoisoning as S; S(label='y')"
    code = f"import sys, {module}; {build}; print('loaded', *sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = result.stdout.splitlines()[-1].split()
    assert loaded[0] == "loaded"
    assert not set(absent) & set(loaded)
    assert ("airflow.sdk" in loaded) == ("airflow" not in absent)
