"""Gates as Prefect tasks.

What a task returns or what state it ends in proves nothing: a returned ``Failed``, a future
that nobody awaits, ``allow_failure`` or an edited result file all let a flow go on. So a
gate raises, returns a clearance that is worth nothing by itself, and the consumer verifies.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.tasks import Task

from sluicegate.clearance import Clearance, SubjectSource
from sluicegate.errors import ConfigurationError, Decision
from sluicegate.gate import run_gate
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.stages.base import Stage

__all__ = ["gate", "run_identity", "secure"]


async def _only_faults(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Retry what could not be concluded; never a decision, never a wrong configuration.

    A coroutine function, because only that form is right for sync and async tasks alike.
    """
    result = await state.aresult(raise_on_failure=False)
    return not isinstance(result, Decision | ConfigurationError)


@task(
    name="gate",
    task_run_name="{stage.name}",
    tags={"sluicegate"},
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=_only_faults,
    cache_policy=NO_CACHE,  # the same URI may hold other bytes a moment later
    persist_result=False,
)
def gate(
    stage: Stage,
    subject: SubjectSource,
    policy: str | os.PathLike[str] | None = None,
) -> Clearance:
    """Pass a subject through one gate.

    Args:
        stage: what to examine, e.g. ``ScanForPoisoning(label="digit")``.
        subject: a path, a URI, or the clearance that an earlier gate returned.
        policy: the policy file; by default the one that ``SLUICEGATE_POLICY`` names.

    Returns:
        A clearance for the subject or, after a quarantine, for what remains of it.

    Raises:
        GateBlocked: policy says no. Never retried.
        ClearanceRefused: the clearance handed in is not good. Never retried.
        SluicegateError: could not conclude. Retried twice.
    """
    log = get_run_logger()
    outcome = run_gate(stage, subject, policy, run=run_identity())
    log.info(
        "%s: %s (ledger entry %d), report %s",
        outcome.stage,
        outcome.verdict.value,
        outcome.receipt.index,
        outcome.report_path,
    )
    for reason in outcome.judgement.reasons:
        log.warning("%s: %s", outcome.stage, reason)
    return outcome.clear_or_raise()


def secure(
    subject: SubjectSource,
    *,
    purpose: str,
    policy: str | os.PathLike[str] | None = None,
) -> Clearance:
    """Pass a subject through every gate that a purpose needs, in the policy's order.

    Call it in a flow: each gate is a task run of its own.

    Args:
        subject: a path, a URI, or a clearance.
        purpose: what the subject is for, as the policy names it.
        policy: the policy file; by default the one that ``SLUICEGATE_POLICY`` names.

    Returns:
        The clearance to hand to a function decorated with ``requires_clearance``.

    Raises:
        GateBlocked: policy says no.
        SluicegateError: could not conclude, or the policy cannot be read.
    """
    cleared: Any = subject
    for need in load_policy(policy).purpose(purpose).requirements:
        cleared = gate(need.stage, cleared, policy)
    if not isinstance(cleared, Clearance):
        raise ConfigurationError(f"the purpose {purpose!r} needs no stage")
    return cleared


def run_identity() -> RunIdentity:
    """Return which task run of which flow run this is, for the receipt."""
    labels = {
        "flow": flow_run.flow_name,
        "flow_run": flow_run.name,
        "flow_run_id": flow_run.id,
        "task_run_id": task_run.id,
    }
    return RunIdentity(
        orchestrator="prefect", labels={key: str(value) for key, value in labels.items() if value}
    )
