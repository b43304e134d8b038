"""The example DAG that trains from a bucket, in a real Airflow on a simulated AWS."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow_plugin.conftest import Airflow
from tests.lake import EXAMPLES, Lake, lake_project, mend


def run(lake: Lake, airflow: Airflow) -> tuple[dict[str, str], str]:
    """Run the DAG once; return the states of its tasks, and what was printed."""
    result = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "lake_secured"],
        env={
            **lake.environment(),
            "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES / "airflow" / "lake_secured.py"),
            "PYTHONPATH": str(EXAMPLES),
        },
        cwd=lake.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    query = (
        "select task_id, state from task_instance where run_id = "
        "(select run_id from dag_run where dag_id = 'lake_secured' order by id desc limit 1)"
    )
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        return dict(database.execute(query).fetchall()), result.stdout + result.stderr


@pytest.mark.slow
def test_the_dag_trains_from_the_mended_bucket_only(airflow: Airflow, tmp_path: Path) -> None:
    with lake_project(tmp_path) as lake:
        states, output = run(lake, airflow)
        assert states["secure.check-encryption"] == "failed", output[-3000:]
        assert states["train"] == "upstream_failed"
        assert "encryption.s3_object_mode" in output
        mend(lake.aws)
        states, output = run(lake, airflow)
        assert set(states.values()) == {"success"}, output[-3000:]
