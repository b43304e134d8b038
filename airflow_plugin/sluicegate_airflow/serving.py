"""Operators that say which version of a model serves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from sluicegate_airflow.outcomes import decisions_fail, reject_defaults, run_identity

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["PromoteOperator", "RollBackOperator"]

_OWN_PARAMETERS = ("model", "version", "to", "reason", "policy")


class PromoteOperator(BaseOperator):
    """Let a version of a model serve, once it was backed up and is cleared for ``deploy``.

    The head is signed with the worker's key, which the policy must trust for ``head``: give
    the task a queue or pool of its own, so that workers that run gates do not hold that key.

    Only ``version`` and ``reason`` are templated. A version must have its receipts, whoever
    names it.

    Args:
        model: name of the model.
        version: name of a version that was backed up.
        reason: why, for the record.
        policy: the policy file; by default the one that ``SLUICEGATE_POLICY`` names on the
            worker.
        **kwargs: as for every operator.

    Returns:
        The head as JSON: model, version, epoch, digest, receipt.

    Raises:
        AirflowFailException: it must not serve, or somebody else was first. Never retried.
        SluicegateError: could not conclude.
        ValueError: when the DAG is parsed, if ``default_args`` sets a parameter of it.
    """

    template_fields: Sequence[str] = ("version", "reason")
    ui_color: str = "#dfe9f7"
    custom_operator_name: ClassVar[str] = "Promote"

    def __init__(
        self,
        *,
        model: str,
        version: Any,
        reason: str = "",
        policy: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        reject_defaults("PromoteOperator", _OWN_PARAMETERS, kwargs.get("default_args") or {})
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.reason = reason
        self.policy = policy

    def execute(self, context: Context) -> dict[str, Any]:
        """Sign the head; see the class."""
        from sluicegate.serving import promote

        with decisions_fail():
            served = promote(
                self.model,
                self.version,
                self.policy,
                reason=self.reason,
                run=run_identity(dict(context)),
            )
        self.log.info("%s: %s serves (epoch %d)", served.model, served.version, served.epoch)
        return served.to_json()


class RollBackOperator(BaseOperator):
    """Let an earlier version of a model serve again.

    As :class:`PromoteOperator`; ``reason`` is needed, and only it and ``to`` are templated.

    Args:
        model: name of the model.
        reason: why, for the record.
        to: a version that served before; by default the one that served before the present one
            was promoted.
        policy: the policy file.
        **kwargs: as for every operator.

    Returns:
        The head as JSON.

    Raises:
        AirflowFailException: it must not serve, or somebody else was first. Never retried.
        SluicegateError: could not conclude.
        ValueError: when the DAG is parsed, if ``default_args`` sets a parameter of it, or the
            task has retries and does not say where ``to`` go: a retry would go back further.
    """

    template_fields: Sequence[str] = ("to", "reason")
    ui_color: str = "#f7e5df"
    custom_operator_name: ClassVar[str] = "Roll back"

    def __init__(
        self,
        *,
        model: str,
        reason: str,
        to: Any = None,
        policy: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        reject_defaults("RollBackOperator", _OWN_PARAMETERS, kwargs.get("default_args") or {})
        super().__init__(**kwargs)
        if to is None and self.retries:
            raise ValueError(
                f"{self.task_id} has {self.retries} retries and no `to`: a retry after a lost "
                "answer would go back further; name `to`, or set retries=0"
            )
        self.model = model
        self.reason = reason
        self.to = to
        self.policy = policy

    def execute(self, context: Context) -> dict[str, Any]:
        """Sign the head; see the class."""
        from sluicegate.serving import roll_back

        with decisions_fail():
            served = roll_back(
                self.model,
                self.policy,
                to=self.to,
                reason=self.reason,
                run=run_identity(dict(context)),
            )
        self.log.info("%s: %s serves (epoch %d)", served.model, served.version, served.epoch)
        return served.to_json()
