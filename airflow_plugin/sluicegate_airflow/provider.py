"""Provider metadata, which Airflow reads through the entry point."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

__all__ = ["get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow shows and registers: operators and the ``@task.cleared`` decorator."""
    return {
        "package-name": "sluicegate",
        "name": "sluicegate",
        "description": "Security gates for ML pipelines: signed receipts that consumers verify.",
        "versions": [version("sluicegate")],
        "operators": [
            {
                "integration-name": "sluicegate",
                "python-modules": ["sluicegate_airflow.operators"],
            }
        ],
        "task-decorators": [
            {"name": "cleared", "class-name": "sluicegate_airflow.decorators.cleared"}
        ],
    }
