"""Promoting and rolling back as Airflow tasks, and the backup through the generic gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.errors import ClearanceRefused, ConfigurationError
from sluicegate.serving import list_heads, pointer
from sluicegate.stages import registry
from tests.serving_scenes import BUILT_IN, MODEL, LookAtModel, ServingScene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServingScene:
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    made = ServingScene.new(tmp_path / "project")
    monkeypatch.setenv("SLUICEGATE_POLICY", str(made.policy))
    monkeypatch.setenv("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    monkeypatch.setattr(pointer, "_PAUSE_SECONDS", 0.01)
    return made


@pytest.fixture
def sdk(scene: ServingScene) -> Any:
    import airflow.sdk

    return airflow.sdk


@pytest.fixture
def context() -> dict[str, Any]:
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
    return {"ti": SimpleNamespace(**names)}


def sign_heads(scene: ServingScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(scene.folder / "heads.key.pem"))


def test_a_model_goes_through_gates_to_its_head_and_back(
    sdk: Any, scene: ServingScene, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluicegate_airflow import GateOperator
    from sluicegate_airflow.serving import PromoteOperator, RollBackOperator

    for version in ("v1", "v2"):
        subject: Any = str(scene.model(version))
        for number, stage in enumerate((LookAtModel(), scene.stage(version))):
            gate = GateOperator(task_id=f"gate{number}", stage=stage, subject=subject)
            subject = gate.execute(context)
        with monkeypatch.context() as patch:
            sign_heads(scene, patch)
            served = PromoteOperator(task_id="p", model=MODEL, version=version).execute(context)
            assert (served["version"], served["key"]) == (version, "heads")
    sign_heads(scene, monkeypatch)
    back = RollBackOperator(task_id="b", model=MODEL, reason="drift", retries=0)
    assert back.execute(context)["version"] == "v1"
    head = list_heads(MODEL, scene.policy).newest
    assert head is not None
    assert head.says.run.labels["dag_id"] == "d"
    assert head.says.reason == "drift"


def test_a_refusal_is_never_retried(
    sdk: Any, scene: ServingScene, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from sluicegate_airflow.serving import PromoteOperator, RollBackOperator

    scene.back_up("v1")
    promote = PromoteOperator(task_id="p", model=MODEL, version="v1")
    with pytest.raises(AirflowFailException, match="not trusted for head") as caught:
        promote.execute(context)  # the worker holds the key of a gate
    assert isinstance(caught.value.__cause__, ConfigurationError)
    sign_heads(scene, monkeypatch)
    back = RollBackOperator(task_id="b", model=MODEL, reason="drift", to="v1")
    with pytest.raises(AirflowFailException, match="was ever promoted") as caught:
        back.execute(context)
    assert isinstance(caught.value.__cause__, ClearanceRefused)
    assert promote.execute(context)["epoch"] == 1


@pytest.mark.parametrize("name", ["model", "policy", "reason"])
def test_default_args_cannot_set_what_decides(sdk: Any, name: str) -> None:
    from sluicegate_airflow.serving import PromoteOperator, RollBackOperator

    teaches = f"default_args sets {name}"
    with sdk.DAG("d", default_args={name: "elsewhere"}):
        with pytest.raises(ValueError, match=teaches):
            PromoteOperator(task_id="p", model="m", version="v")
        with pytest.raises(ValueError, match=teaches):
            RollBackOperator(task_id="b", model="m", reason="x", retries=0)


def test_a_roll_back_that_could_go_back_twice_is_an_error_of_the_dag_file(sdk: Any) -> None:
    from sluicegate_airflow.serving import RollBackOperator

    with sdk.DAG("d", default_args={"retries": 2}):
        with pytest.raises(ValueError, match="would go back further"):
            RollBackOperator(task_id="a", model="m", reason="x")
        RollBackOperator(task_id="b", model="m", reason="x", retries=0)
        RollBackOperator(task_id="c", model="m", reason="x", to="v1")


def test_model_and_policy_are_not_templated(sdk: Any) -> None:
    from sluicegate_airflow.serving import PromoteOperator, RollBackOperator

    text = "{{ dag_run.conf['x'] }}"
    given = {"dag_run": SimpleNamespace(conf={"x": "given"})}
    with sdk.DAG("d"):
        promote = PromoteOperator(task_id="p", model=text, version=text, policy=text, reason=text)
        back = RollBackOperator(task_id="b", model=text, to=text, policy=text, reason=text)
    for operator in (promote, back):
        operator.render_template_fields(given)
        assert (operator.model, operator.policy, operator.reason) == (text, text, "given")
    assert (promote.version, back.to) == ("given", "given")


@pytest.mark.slow
def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, sluicegate_airflow.serving; print('loaded', *sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = result.stdout.splitlines()[-1].split()
    assert not {"boto3", "pandas", "numpy", "pyarrow", "prefect"} & set(loaded)
