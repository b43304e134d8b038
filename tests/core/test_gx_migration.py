"""The guide on moving from the GX provider is true: every block of it runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import ConfigurationError, GateBlocked
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import default_key_path

GUIDE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
BLOCKS = {
    match[1]: match[0]
    for match in re.finditer(
        r"(?<=^```python\n)# (\S+)\n.*?(?=^```$)", GUIDE, re.MULTILINE | re.DOTALL
    )
}
POLICY = re.search(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)

PROVIDER = {
    "GXValidateDataFrameOperator": {
        "configure_dataframe", "configure_expectations", "result_format", "context_type", "conn_id",
    },
    "GXValidateBatchOperator": {
        "configure_batch_definition", "configure_expectations", "batch_parameters",
        "result_format", "context_type", "conn_id", "gx_batch_parameters",
    },
    "GXValidateCheckpointOperator": {
        "configure_checkpoint", "batch_parameters", "context_type",
        "configure_file_data_context", "conn_id", "gx_batch_parameters",
    },
}  # fmt: skip
"""Parameters of the provider's operators, version 1.0.0."""

pytestmark = pytest.mark.slow

DRIVER = """
import contextlib, io, json, logging, runpy
from types import SimpleNamespace

logging.disable(logging.INFO)
names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
context = {"ti": SimpleNamespace(**names)}


def dag(name):
    from sluicegate.clearance import requires_clearance

    made = runpy.run_path(f"dags/{name}.py")[name]()
    params = {key: str(value) for key, value in made.params.dump().items()}
    values = {}

    def known(value):
        if hasattr(value, "operator"):
            return values[value.operator.task_id]
        return next((v for k, v in params.items() if value == "{{ params.%s }}" % k), value)

    for task in made.topological_sort():
        if hasattr(task, "stage"):
            task.subject = known(task.subject)
            values[task.task_id] = task.execute(context)
            continue
        call = task.python_callable
        if hasattr(task, "purpose"):
            call = requires_clearance(task.purpose, policy=task.policy)(call)
        named = {key: known(one) for key, one in task.op_kwargs.items()}
        values[task.task_id] = call(*map(known, task.op_args), **named)
    return values["train"]


def script(name):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(name)
    return said.getvalue().splitlines()


script("write_suite.py")
said = {name: dag(f"orders_{name}") for name in ("frame", "batch", "checkpoint")}
said["export"] = script("export_suites.py")
said["source"] = script("on_source.py")
print(json.dumps(said))
"""
"""Runs the tasks of each DAG one after the other, in one process: parsing and handing over are
Airflow's, scheduling is not asked for here."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the guide supposes it: data, a database, a GX project, policy and keys."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    folder = tmp_path_factory.mktemp("shop")
    assert POLICY
    (folder / "policy.yaml").write_text(POLICY[1])
    new_key_pair(default_key_path(folder / ".sluicegate"), folder / "keys" / "gates.pub.pem")
    (folder / "orders.csv").write_text("id,amount,day\n1,1.5,2026-01-01\n2,20,2026-01-02\n")
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute("create table orders (id int, amount real, day text)")
        rows = [(2, 20.0, "2026-01-02"), (1, 1.5, "2026-01-01"), (3, 5000.0, "2026-02-01")]
        connection.executemany("insert into orders values (?, ?, ?)", rows)
    context = gx.get_context(mode="file", project_root_dir=folder / "shop")
    batch = (
        context.data_sources.add_sqlite("shop", connection_string=f"sqlite:///{folder}/shop.db")
        .add_table_asset("orders", table_name="orders")
        .add_batch_definition_monthly("monthly", column="day")
    )
    suite = context.suites.add(
        gx.ExpectationSuite(
            name="orders",
            expectations=[
                gxe.ExpectColumnValuesToNotBeNull(column="id"),
                gxe.ExpectColumnMaxToBeBetween(column="amount", max_value=100),
            ],
        )
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="orders monthly", data=batch, suite=suite)
    )
    context.checkpoints.add(gx.Checkpoint(name="nightly", validation_definitions=[definition]))
    empty = context.suites.add(gx.ExpectationSuite(name="empty", expectations=[]))
    nothing = context.validation_definitions.add(
        gx.ValidationDefinition(name="nothing", data=batch, suite=empty)
    )
    context.checkpoints.add(gx.Checkpoint(name="hollow", validation_definitions=[nothing]))
    for name, text in BLOCKS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def said(project: Path) -> dict[str, Any]:
    """What the blocks of the guide came to, all in one process."""
    result: dict[str, Any] = json.loads(run(project, "-c", DRIVER).splitlines()[-1])
    return result


def run(folder: Path, *words: str, **extra: str) -> str:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SLUICEGATE")},
        "SLUICEGATE_POLICY": str(folder / "policy.yaml"),
        "SHOP_URL": f"sqlite:///{folder}/shop.db",
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        **extra,
    }
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("operator", PROVIDER)
def test_every_parameter_of_the_provider_has_its_row(operator: str) -> None:
    section = GUIDE.partition(f"### `{operator}`")[2].partition("\n##")[0]
    column = " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))
    missing = {name for name in PROVIDER[operator] if name not in column}
    assert not missing


@pytest.mark.parametrize("name", ["frame", "batch", "checkpoint"])
def test_the_dags_run_as_they_are_written(said: dict[str, Any], name: str) -> None:
    assert said[name] == 2


def test_the_checkpoint_gives_its_suites_and_a_hollow_one_is_refused(
    project: Path, said: dict[str, Any]
) -> None:
    from sluicegate.stages.validation.gx.checkpoints import checkpoint_suites

    assert said["export"] == ["suites/orders_monthly.suite.json orders monthly"]
    suite = json.loads((project / "suites/orders_monthly.suite.json").read_text())
    assert [one["type"] for one in suite["expectations"]] == [
        "expect_column_values_to_not_be_null",
        "expect_column_max_to_be_between",
    ]
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=project / "shop")
    for name in ("hollow", "absent"):
        with pytest.raises(ConfigurationError):
            checkpoint_suites(context, name)
    (one,) = checkpoint_suites(context, "nightly")
    assert one.write_suite(project / "suites").read_bytes() == one.suite
    (project / "suites/orders_monthly.suite.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="another suite"):
        one.write_suite(project / "suites")


def test_people_are_told_and_the_block_stands(
    project: Path, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "bad.csv").write_text("id,amount\n,1\n2,2\n")
    names: dict[str, Any] = {}
    exec(compile(BLOCKS["gate_and_tell.py"], "gate_and_tell.py", "exec"), names)
    with pytest.raises(GateBlocked):
        names["validate"]("bad.csv")
    told = (project / "told.txt").read_text()
    assert "bad.csv" in told
    assert Path(told.splitlines()[-1]).exists()
    assert names["validate"]("orders.csv").uri.endswith("orders.csv")


def test_the_source_is_asked_as_it_is_written(said: dict[str, Any]) -> None:
    assert said["source"] == [
        "expect_column_values_to_not_be_null gx True 0 shop",
        "expect_column_values_to_be_between gx True 0 shop",
    ]


@pytest.mark.slow
def test_the_prefect_flow_runs_as_it_is_written(project: Path, said: dict[str, Any]) -> None:
    script = "import runpy; print(runpy.run_path('flows/orders.py')['orders']())"
    extra = {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(project / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    assert run(project, "-c", script, **extra).splitlines()[-1] == "2"
