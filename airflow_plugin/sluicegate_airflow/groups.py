"""``secure``: every gate that a purpose needs, as one task group."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import TaskGroup

from sluicegate.policy.load import load_policy
from sluicegate_airflow.operators import GateOperator

__all__ = ["secure"]


def secure(
    subject: Any,
    *,
    purpose: str,
    policy: str | os.PathLike[str] | None = None,
    group_id: str = "secure",
    **kwargs: Any,
) -> Any:
    """Lay down a gate for each stage that the policy asks for, one after the other.

    Args:
        subject: a path, a URI, or the output of the task that makes the subject.
        purpose: what the subject is for, as the policy names it.
        policy: the policy file, read when the DAG is parsed (for the list of stages) and
            again by each gate.
        group_id: name of the task group; a number is added where it is taken.
        **kwargs: for every gate, e.g. ``retries`` or ``pool``.

    Returns:
        The output of the last gate: pass it to a task made with ``@task.cleared``.

    Raises:
        PolicyError: the policy cannot be read, or does not know the purpose.
    """
    requirements = load_policy(policy).purpose(purpose).requirements
    names = [need.stage.name for need in requirements]
    with TaskGroup(group_id=group_id, add_suffix_on_collision=True):
        for number, need in enumerate(requirements):
            repeat = names[:number].count(need.stage.name)
            subject = GateOperator(
                task_id=need.stage.name + (f"-{repeat + 1}" if repeat else ""),
                stage=need.stage,
                subject=subject,
                policy=policy,
                **kwargs,
            ).output
    return subject
