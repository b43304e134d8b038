"""Tasks that say which version of a model serves."""

from __future__ import annotations

import os
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from sluicegate import serving
from sluicegate_prefect.tasks import run_identity

__all__ = ["promote", "roll_back"]


@task(
    name="promote",
    task_run_name="promote {model} {version}",
    tags={"sluicegate"},
    retries=0,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def promote(
    model: str,
    version: str,
    policy: str | os.PathLike[str] | None = None,
    *,
    reason: str = "",
) -> dict[str, Any]:
    """Let a version of a model serve, once it was backed up and is cleared for ``deploy``.

    The head is signed with the worker's key, which the policy must trust for ``head``. Not
    retried by itself: a head that was logged before a fault would get a second one.

    Args:
        model: name of the model.
        version: name of a version that was backed up.
        policy: the policy file; by default the one that ``SLUICEGATE_POLICY`` names.
        reason: why, for the record.

    Returns:
        The head: model, version, epoch, digest, receipt. A server does not believe it; it asks
        :func:`sluicegate.serving.current`.

    Raises:
        ClearanceRefused: it must not serve, or somebody else was first.
        SluicegateError: could not conclude.
    """
    served = serving.promote(model, version, policy, reason=reason, run=run_identity())
    get_run_logger().info("%s: %s serves (epoch %d)", model, served.version, served.epoch)
    return served.to_json()


@task(
    name="roll-back",
    task_run_name="roll back {model}",
    tags={"sluicegate"},
    retries=0,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def roll_back(
    model: str,
    policy: str | os.PathLike[str] | None = None,
    *,
    reason: str,
    to: str | int | None = None,
) -> dict[str, Any]:
    """Let an earlier version of a model serve again.

    Args:
        model: name of the model.
        policy: the policy file; by default the one that ``SLUICEGATE_POLICY`` names.
        reason: why, for the record.
        to: a version that served before, or its epoch; by default the one that served before
            the present one was promoted. Not retried, so that it does not go back twice.

    Returns:
        The head, as for :func:`promote`.

    Raises:
        ClearanceRefused: it must not serve, or somebody else was first.
        SluicegateError: could not conclude.
    """
    served = serving.roll_back(model, policy, to=to, reason=reason, run=run_identity())
    get_run_logger().info("%s: %s serves (epoch %d)", model, served.version, served.epoch)
    return served.to_json()
