"""Real Airflow on its own SQLite database, in a folder of the session.

Airflow reads its configuration when it is imported. So tests import it inside functions,
after the fixture has set the environment, and whole DAG runs happen in subprocesses.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluicegate.stages import registry
from tests.toy_project import BUILT_IN, Project, new_project

DAGS = Path(__file__).with_name("dags")


@dataclass(frozen=True)
class Run:
    """What became of a DAG run."""

    states: Mapping[str, str]
    """State by task id; of a mapped task by ``task_id[index]``."""
    tries: Mapping[str, int]
    errors: Mapping[str, str]
    """The exception of each task that failed: its type and text."""
    trained: Mapping[str, list[int]]
    """What each training task trained on."""
    project: Project
    xcoms: str
    """Everything that tasks left in XCom."""


@dataclass(frozen=True)
class Airflow:
    """An Airflow installation with a migrated database."""

    home: Path

    def environment(self, project: Project) -> dict[str, str]:
        inherited = os.environ.get("PYTHONPATH", "")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(project.distribution), inherited])),
            "SLUICEGATE_POLICY": str(project.policy),
            "TOY_FOLDER": str(project.folder),
            "TOY_EXECUTIONS": str(project.executions_log),
        }

    def command(self, *words: str, project: Project) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *words],
            env=self.environment(project),
            cwd=project.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def run(self, dag_id: str, *words: str, project: Project) -> Run:
        """Run a DAG once, as ``airflow dags test`` does."""
        result = self.command("dags", "test", dag_id, *words, project=project)
        query = (
            "select task_id, map_index, state, try_number from task_instance "
            "where run_id = (select run_id from dag_run where dag_id = ? order by id desc limit 1)"
        )
        with sqlite3.connect(self.home / "airflow.db") as database:
            rows = database.execute(query, [dag_id]).fetchall()
            xcoms = database.execute("select value from xcom where dag_id = ?", [dag_id]).fetchall()
        assert rows, result.stdout[-5000:] + result.stderr[-5000:]
        instances = {
            task + (f"[{index}]" if index >= 0 else ""): (state, tries)
            for task, index, state, tries in rows
        }
        return Run(
            states={task: state for task, (state, _) in instances.items()},
            tries={task: tries for task, (_, tries) in instances.items()},
            errors=_collect(project.folder / "errors"),
            trained=_collect(project.folder / "trained"),
            project=project,
            xcoms=str(xcoms),
        )


def _collect(folder: Path) -> dict:
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*"))}


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment that Airflow reads when a test first imports it."""
    home = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(home))
        patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{home}/airflow.db")
        patch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield home


@pytest.fixture(scope="session")
def airflow(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow with a migrated database."""
    made = Airflow(airflow_home)
    result = made.command(
        "db", "migrate", project=new_project(tmp_path_factory.mktemp("migration") / "project")
    )
    assert result.returncode == 0, result.stderr
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A policy that takes two toy stages for training, for tests in this process."""
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    made = new_project(tmp_path / "project")
    monkeypatch.setenv("SLUICEGATE_POLICY", str(made.policy))
    monkeypatch.setenv("TOY_EXECUTIONS", str(made.executions_log))
    # Operators may be called outside of a task runner.
    monkeypatch.setenv("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    return made
