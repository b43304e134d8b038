"""The operator that runs any stage as a gate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from sluicegate_airflow.outcomes import decisions_fail, reject_defaults, run_identity

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluicegate.stages.base import Stage

__all__ = ["GateOperator"]

_OWN_PARAMETERS = ("stage", "subject", "policy")


class GateOperator(BaseOperator):
    """Pass a subject through one gate.

    The task returns a clearance as JSON: hand it to the next gate or to a consumer
    decorated with ``@task.cleared``. After a quarantine the clearance is for what remains.

    Only ``subject`` is templated (and ``security_stage``, a label that nothing decides by).
    The stage's thresholds and the policy are not, so a ``dag_run.conf`` cannot weaken a gate.

    Args:
        stage: what to examine, e.g. ``ValidateDataset(suite="suite.json")``.
        subject: a path, a URI, or the output of an earlier gate.
        policy: the policy file; by default the one that ``SLUICEGATE_POLICY`` names on the
            worker.
        **kwargs: as for every operator.

    Raises:
        AirflowFailException: the gate blocked. Never retried.
        SluicegateError: could not conclude. Retried as the task says, unless the configuration
            is wrong; stops the DAG.
        ValueError: when the DAG is parsed, if ``default_args`` sets a parameter of the gate.
    """

    template_fields: Sequence[str] = ("subject", "security_stage")
    ui_color: str = "#dfe9f7"
    custom_operator_name: ClassVar[str] = "Gate"

    def __init__(
        self,
        *,
        stage: Stage,
        subject: Any,
        policy: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        reject_defaults("GateOperator", _OWN_PARAMETERS, kwargs.get("default_args") or {})
        super().__init__(**kwargs)
        self.stage = stage
        self.subject = subject
        self.policy = policy
        # A label for people and for cluster policies; nothing reads it to decide.
        self.security_stage = stage.name

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the gate; see the class."""
        from sluicegate.gate import run_gate

        with decisions_fail():
            outcome = run_gate(
                self.stage, self.subject, self.policy, run=run_identity(dict(context))
            )
            self.log.info(
                "%s: %s (ledger entry %d), report %s",
                outcome.stage,
                outcome.verdict.value,
                outcome.receipt.index,
                outcome.report_path,
            )
            for reason in outcome.judgement.reasons:
                self.log.warning("%s: %s", outcome.stage, reason)
            return outcome.clear_or_raise().to_json()
