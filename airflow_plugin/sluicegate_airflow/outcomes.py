"""How the core's outcomes become Airflow's: a decision ends a task, a fault may be retried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from sluicegate.errors import ConfigurationError, Decision
from sluicegate.model import RunIdentity

__all__ = ["decisions_fail", "reject_defaults", "run_identity"]


@contextmanager
def decisions_fail() -> Iterator[None]:
    """Turn what a retry cannot change into a failure that Airflow never retries.

    Raises:
        AirflowFailException: a gate blocked, a clearance was refused, or the configuration
            is wrong.
    """
    try:
        yield
    except (Decision, ConfigurationError) as error:
        raise AirflowFailException(str(error)) from error


def run_identity(context: Mapping[str, Any]) -> RunIdentity:
    """Return which task of which run this is, for the receipt."""
    instance = context["ti"]
    return RunIdentity(
        orchestrator="airflow",
        labels={
            "dag_id": instance.dag_id,
            "run_id": instance.run_id,
            "task_id": instance.task_id,
            "map_index": str(getattr(instance, "map_index", -1)),
            "try_number": str(getattr(instance, "try_number", 1)),
        },
    )


def reject_defaults(kind: str, names: tuple[str, ...], default_args: Mapping[str, Any]) -> None:
    """Refuse security parameters that a DAG's ``default_args`` would set out of sight.

    Airflow hands every entry of ``default_args`` to each operator that has a parameter of
    that name.

    Raises:
        ValueError: ``default_args`` holds one of them.
    """
    if found := sorted(set(names) & set(default_args)):
        raise ValueError(
            f"default_args sets {', '.join(found)} of {kind}: name it at the task, where a "
            "reader of the DAG sees it"
        )
