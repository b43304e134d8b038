"""Airflow's connections as descriptions: from the environment, and inside of a DAG run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import SubjectError
from sluicegate.storage.orchestrators import DescriptionStore
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate_airflow.connections import read_connection, read_deployment

PASSWORD = "hunter2-Zebra!"
DATABASE = {
    "conn_type": "postgres",
    "host": "db.example",
    "port": 5432,
    "login": "me",
    "password": PASSWORD,
    "schema": "data",
    "extra": {"sslmode": "disable", "token": PASSWORD},
}


def described(reader: Any, scheme: str, name: str) -> dict[str, Any]:
    """Return what the core sees of it."""
    uri = SubjectUri(scheme, name)
    snapshot = take_snapshot(uri, store=DescriptionStore(reader))
    with snapshot.open("description.json") as source:
        data = source.read()
    assert b"hunter2" not in data
    return json.loads(data)


def test_a_connection_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MY_DB", json.dumps(DATABASE))
    fields = described(read_connection, "airflow-connection", "my_db")["fields"]
    assert fields["conn_type"] == "postgres"
    assert (fields["host"], fields["port"], fields["schema"]) == ("db.example", 5432, "data")
    assert fields["password"]["where"] == "secret store"
    assert fields["extra"]["sslmode"] == "disable"
    assert fields["extra"]["token"]["where"] == "plain"


def test_a_connection_given_as_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"postgres://me:{PASSWORD.replace('!', '%21')}@db.example:5432/data?sslmode=require"
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", uri)
    fields = described(read_connection, "airflow-connection", "by_uri")["fields"]
    assert fields["extra"] == {"sslmode": "require"}
    assert fields["password"]["where"] == "secret store"


def test_a_connection_that_is_not_there() -> None:
    with pytest.raises(SubjectError, match="gives this process no connection 'nowhere'"):
        read_connection("nowhere")


@pytest.mark.parametrize("text", ['{"port": "hunter2"}', "{hunter2", "hunter2"])
def test_a_connection_that_cannot_be_parsed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", text)
    try:
        shown = str(described(read_connection, "airflow-connection", "broken"))
    except SubjectError as error:
        shown = str(error)
    assert "hunter2" not in shown


def test_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"redis://:{PASSWORD}@r:6379/0")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example")
    fields = described(read_deployment, "airflow-deployment", "local")["fields"]
    assert fields["core"]["fernet_key"]["length"] == "up to 64 characters"
    assert fields["celery"]["broker_url"]["url"]["scheme"] == "redis"
    assert fields["api"]["base_url"]["url"]["scheme"] == "https"
    assert fields["database"]["sql_alchemy_conn"]["url"]["scheme"] == "sqlite"


def test_an_empty_fernet_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    fields = described(read_deployment, "airflow-deployment", "local")["fields"]
    assert fields["core"]["fernet_key"]["length"] == "empty"


def test_the_database_of_a_deployment_is_not_seen_by_a_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    seen = described(read_deployment, "airflow-deployment", "local")
    assert "database.sql_alchemy_conn" in seen["unseen"]
    assert "sql_alchemy_conn" not in seen["fields"]["database"]


DAG = """
import json
from pathlib import Path
from airflow.sdk import dag, task

@dag(schedule=None)
def describe_connections():
    @task
    def look():
        from sluicegate_airflow.connections import read_connection, read_deployment
        seen = {"connection": read_connection("stored"), "deployment": read_deployment("local")}
        Path(OUT).write_text(json.dumps(seen))
    look()

made = describe_connections()
if __name__ == "__main__":
    made.test()
"""


@pytest.mark.slow
def test_a_connection_of_the_database_in_a_dag_run(
    airflow: Any, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In its test mode Airflow gives a task no connections of the database.
    monkeypatch.setenv("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
    added = airflow.command(
        "connections", "add", "stored", "--conn-json", json.dumps(DATABASE), project=project
    )
    assert added.returncode == 0, added.stderr[-2000:]
    out, folder = tmp_path / "seen.json", tmp_path / "dags"
    folder.mkdir()
    (folder / "look.py").write_text(f"OUT = {str(out)!r}\n{DAG}")
    environment = {
        **airflow.environment(project),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
    }
    result = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "describe_connections"],
        env=environment,
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert out.exists(), result.stdout[-3000:] + result.stderr[-3000:]
    seen = json.loads(out.read_text())
    fields = described(lambda _: seen["connection"], "airflow-connection", "stored")["fields"]
    assert fields["host"] == "db.example"
    assert fields["password"]["where"] == "secret store"
    assert described(lambda _: seen["deployment"], "airflow-deployment", "local")["kind"]
