"""A real Prefect server for the session, and a fresh project for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Read when Prefect is imported and by the server it starts.
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ.pop("PREFECT_API_URL", None)

import pytest
from prefect import task
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

from sluicegate.stages import registry
from sluicegate_prefect import Cleared, requires_clearance
from tests.toy_project import BUILT_IN, Project, new_project, values_of


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One server on its own SQLite database; results stay in the session's folder."""
    folder = tmp_path_factory.mktemp("prefect")
    settings: dict[Any, Any] = {
        PREFECT_HOME: folder,
        PREFECT_LOCAL_STORAGE_PATH: folder / "results",
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # or each flow waits a second for it
    }
    with (
        temporary_settings(settings),
        prefect_test_harness(server_startup_timeout=180),
    ):
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A policy that takes two toy stages for training, and its keys."""
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    made = new_project(tmp_path / "project")
    monkeypatch.setenv("SLUICEGATE_POLICY", str(made.policy))
    monkeypatch.setenv("TOY_EXECUTIONS", str(made.executions_log))
    return made


@pytest.fixture
def trained() -> list[tuple[int, ...]]:
    """What was trained on, one entry a training."""
    return []


@pytest.fixture
def train(project: Project, trained: list[tuple[int, ...]]) -> Callable[..., Any]:
    """The consumer as a user writes it."""

    @task
    @requires_clearance("train")
    def train(dataset: Cleared) -> int:
        trained.append(values_of(dataset))
        return len(trained[-1])

    return train
