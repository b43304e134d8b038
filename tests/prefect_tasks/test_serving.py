"""Promoting and rolling back as Prefect tasks, and the backup through the generic gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from sluicegate.errors import ClearanceRefused, ConfigurationError
from sluicegate.serving import list_heads, pointer
from sluicegate.stages import registry
from sluicegate_prefect import gate
from sluicegate_prefect.serving import promote, roll_back
from tests.serving_scenes import BUILT_IN, MODEL, LookAtModel, ServingScene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServingScene:
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    made = ServingScene.new(tmp_path / "project")
    monkeypatch.setenv("SLUICEGATE_POLICY", str(made.policy))
    monkeypatch.setattr(pointer, "_PAUSE_SECONDS", 0.01)
    return made


def test_a_model_goes_through_gates_to_its_head_and_back(
    scene: ServingScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def release(version: str) -> Any:
        cleared = gate(LookAtModel(), str(scene.model(version)))
        return gate(scene.stage(version), cleared)

    @flow
    def serve(version: str) -> Any:
        return promote(MODEL, version, reason="nightly")

    @flow
    def undo() -> Any:
        return roll_back(MODEL, reason="drift")

    release("v1")
    release("v2")
    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(scene.folder / "heads.key.pem"))
    assert serve("v1")["epoch"] == 1
    assert serve("v2")["version"] == "v2"
    assert undo()["version"] == "v1"
    head = list_heads(MODEL, scene.policy).newest
    assert head is not None
    assert head.says.run.orchestrator == "prefect"
    assert head.says.run.labels["flow"] == "undo"


def test_a_refusal_is_decided_once(scene: ServingScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.back_up("v1")

    @flow
    def serve() -> None:
        promote(MODEL, "v1")

    with pytest.raises(ConfigurationError, match="not trusted for head"):
        serve()  # the worker holds the key of a gate
    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(scene.folder / "heads.key.pem"))

    @flow
    def undo() -> None:
        roll_back(MODEL, reason="drift")

    with pytest.raises(ClearanceRefused, match="was ever promoted"):
        undo()
    assert promote.retries == roll_back.retries == 0


@pytest.mark.slow
def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, sluicegate_prefect.tasks; before = set(sys.modules); "
        "import sluicegate_prefect.serving; print('loaded', *(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=90
    )
    loaded = result.stdout.splitlines()[-1].split()
    assert "sluicegate_prefect.serving" in loaded
    assert not {"boto3", "botocore", "pandas", "numpy", "pyarrow", "airflow"} & set(loaded)
