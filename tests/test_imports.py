"""Light imports: orchestrators load these modules in every process."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "airflow",
    "boto3",
    "cleanlab",
    "great_expectations",
    "jinja2",
    "numpy",
    "pandas",
    "prefect",
    "pyarrow",
    "scipy",
    "sklearn",
)


def loaded_by(statement):
    """Return which heavy packages a fresh interpreter loads."""
    script = f"import sys\n{statement}\nprint(*(n for n in {HEAVY!r} if n in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import sluicegate_airflow, sluicegate_airflow.provider",
        "import sluicegate_prefect",
        "import sluicegate.stages, sluicegate.stages.registry",
        "import sluicegate.stages as s; s.ScanForPoisoning(label='y')",
        "import sluicegate.clearance, sluicegate.policy.load",
        "import sluicegate.cli.main",
    ],
)
def test_nothing_heavy_is_imported(statement):
    assert loaded_by(statement) == set()


@pytest.mark.slow
def test_the_airflow_operators_load_airflow_and_nothing_else_heavy():
    base = loaded_by("import airflow.sdk")
    assert loaded_by("import sluicegate_airflow.operators") - base == set()


@pytest.mark.slow
def test_the_prefect_tasks_load_what_prefect_loads():
    base = loaded_by("from prefect import task")
    assert loaded_by("import sluicegate_prefect.tasks") - base == set()
