"""That a named person approved, or refused, to use a subject in a way.

No published predicate says this, so the predicate is our own. It is bound three times: to the
subject's digest, to the action and to the run for which it was asked; ``binding`` is the one
digest of all three, and what the second factor confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ReceiptError
from sluicegate.model import RunIdentity
from sluicegate.receipts.statements.frame import (
    Subject,
    frame,
    read_run,
    read_text,
    read_time,
    write_time,
)

__all__ = ["APPROVAL", "APPROVAL_TYPE", "ApprovalStatement", "approval_binding"]

APPROVAL: Final = "approval"
"""The word that a policy's ``stages`` list uses for the right to sign approvals."""
APPROVAL_TYPE: Final = "pkg:pypi/sluicegate#approval-v1"
_DECISIONS: Final = {"approved": True, "refused": False}


def approval_binding(*, action: str, subject: Digest, run: str) -> Digest:
    """Return the digest of what is asked: this action, on these bytes, in this run.

    Args:
        action: the purpose, as the policy names it.
        subject: digest of the subject.
        run: which run asks; free text, empty for an approval that any run may use.
    """
    return Digest.of_json({"action": action, "run": run, "subject": subject.hex})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalStatement:
    """A person's decision about a subject."""

    subject: Subject
    action: str
    """The purpose that it is for, as the policy names it."""
    for_run: str
    """The run that asked; empty if it is not bound to one."""
    approver: str
    """Who decided, as the policy names them."""
    approved: bool
    factor: str
    """How they proved that it was them besides the signature: ``totp``, ``webauthn`` or
    ``none``."""
    factor_digest: Digest
    """Digest of what the second factor used up (a time step, an assertion): the same one
    never counts twice."""
    expires: datetime
    issued: datetime
    run: RunIdentity
    """Where the decision was made."""
    reason: str = ""
    """A sentence of the approver's."""
    invocation: str = ""
    """Different for each decision, so that a copy of a receipt is known as one."""
    stage: str = APPROVAL

    @property
    def binding(self) -> Digest:
        """The digest of action, subject and run; see :func:`approval_binding`."""
        return approval_binding(action=self.action, subject=self.subject.digest, run=self.for_run)

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "action": self.action,
            "forRun": self.for_run,
            "binding": {"sha256": self.binding.hex},
            "approver": self.approver,
            "decision": "approved" if self.approved else "refused",
            "secondFactor": {"kind": self.factor, "digest": {"sha256": self.factor_digest.hex}},
            "reason": self.reason,
            "issuedAt": write_time(self.issued),
            "expiresAt": write_time(self.expires),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        return frame(self.subject, APPROVAL_TYPE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> ApprovalStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing, or the binding is not that of its parts.
        """
        try:
            factor = predicate["secondFactor"]
            statement = cls(
                subject=subject,
                action=read_text(predicate["action"]),
                for_run=read_text(predicate["forRun"]),
                approver=read_text(predicate["approver"]),
                approved=_DECISIONS[predicate["decision"]],
                factor=read_text(factor["kind"]),
                factor_digest=Digest(factor["digest"]["sha256"]),
                reason=read_text(predicate["reason"]),
                issued=read_time(predicate["issuedAt"]),
                expires=read_time(predicate["expiresAt"]),
                invocation=read_text(predicate["invocationId"]),
                run=read_run(predicate["run"]),
            )
            if predicate["binding"] != {"sha256": statement.binding.hex}:
                raise ReceiptError("the approval is not bound to its action, subject and run")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no approval of the expected shape") from error
        return statement
