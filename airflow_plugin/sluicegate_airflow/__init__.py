"""sluicegate for Airflow: gates as tasks, and consumers that verify for themselves.

::

    from sluicegate_airflow import secure

    raw = ingest()
    cleared = secure(raw, purpose="train", policy="policy.yaml")
    train(cleared)          # @task.cleared(purpose="train", policy="policy.yaml")

Importing this package imports neither Airflow nor anything heavy: Airflow reads its
provider metadata in every process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sluicegate_airflow.decorators import cleared
    from sluicegate_airflow.groups import secure
    from sluicegate_airflow.operators import GateOperator
    from sluicegate_airflow.serving import PromoteOperator, RollBackOperator

__all__ = ["GateOperator", "PromoteOperator", "RollBackOperator", "cleared", "secure"]

_HOMES: Final = {
    "GateOperator": "sluicegate_airflow.operators",
    "PromoteOperator": "sluicegate_airflow.serving",
    "RollBackOperator": "sluicegate_airflow.serving",
    "cleared": "sluicegate_airflow.decorators",
    "secure": "sluicegate_airflow.groups",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
