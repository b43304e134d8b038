"""What a person is asked: this action, on these bytes, in this run.

A request holds no authority. It is shown to the person, who compares; what it says is checked
again when they answer (:mod:`sluicegate.approving.approve`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.clearance import Clearance, Cleared, PolicySource, SubjectSource, as_subject
from sluicegate.errors import ClearanceRefused, ConfigurationError, ReceiptError
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Approvals, Policy
from sluicegate.receipts.statement import Subject
from sluicegate.receipts.statements.approval import approval_binding
from sluicegate.receipts.statements.frame import read_text, read_time, write_time
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri

__all__ = ["ApprovalRequest", "approvals_of", "request_approval"]

_KIND: Final = "sluicegate-approval-request/v1"
_MOST_RUN: Final = 200
"""Characters of the name of a run, as in :class:`RunIdentity`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """What a person is asked, as it is shown to them. Worth nothing by itself."""

    action: str
    """The purpose, as the policy names it."""
    subject: Subject
    run: str
    """The run that asks; empty for an approval that any run may use."""
    asked: datetime
    nonce: str
    """Different for each request, so that an answer is good for one."""

    @property
    def uri(self) -> str:
        """Where the subject lies."""
        return self.subject.uri

    @property
    def binding(self) -> Digest:
        """The digest of action, subject and run: what the receipt is bound to."""
        return approval_binding(action=self.action, subject=self.subject.digest, run=self.run)

    @property
    def short_code(self) -> str:
        """The first 8 digits of the binding, for a person to compare on two screens.

        32 bits: enough against a mistake. Against somebody who looks for a second subject with
        the same code, which takes hours, only the whole digest is.
        """
        return self.binding.hex[:8]

    @property
    def question(self) -> Json:
        """What a security key signs the digest of."""
        return {
            "kind": _KIND,
            "binding": self.binding.hex,
            "asked": write_time(self.asked),
            "nonce": self.nonce,
        }

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, for a page or another process."""
        return {
            "kind": _KIND,
            "action": self.action,
            "subject": self.subject.to_json(),
            "run": self.run,
            "asked": write_time(self.asked),
            "nonce": self.nonce,
            "binding": self.binding.hex,
            "code": self.short_code,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> ApprovalRequest:
        """Read the JSON form. That it parses means nothing; :func:`approve` checks it.

        Raises:
            ClearanceRefused: it is no request, or its binding is not that of its parts.
        """
        try:
            request = cls(
                action=read_text(value["action"]),
                subject=Subject.from_json(value["subject"]),
                run=read_text(value["run"]),
                asked=read_time(value["asked"]),
                nonce=read_text(value["nonce"]),
            )
            if value["kind"] != _KIND or value["binding"] != request.binding.hex:
                raise ValueError("another kind, or another binding")
        except (KeyError, TypeError, ValueError, AttributeError, ReceiptError) as error:
            raise ClearanceRefused(
                "this is no request for an approval, or it was changed",
                next_step="ask again with `request_approval`",
            ) from error
        return request


def request_approval(
    subject: SubjectSource | Cleared,
    *,
    action: str,
    policy: PolicySource = None,
    run: str = "",
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> ApprovalRequest:
    """Return what a person is asked to approve.

    Args:
        subject: a path, a URI, a clearance, or what was opened with one.
        action: the purpose, as the policy names it.
        policy: the policy or its file.
        run: which run asks; empty for an approval that any run may use.
        now: the instant of asking; the clock is read otherwise.
        progress: told how many bytes are hashed.

    Raises:
        ConfigurationError: the policy asks for no approvals for this action.
        ClearanceRefused: the bytes are not those of the clearance.
        SluicegateError: the subject or the policy cannot be read.
    """
    rules = load_policy(policy)
    approvals_of(rules, action)
    if len(run) > _MOST_RUN or not (run.isprintable() or not run):
        raise ConfigurationError(f"the name of a run has at most {_MOST_RUN} printable characters")
    return ApprovalRequest(
        action=action,
        subject=Subject.of(_snapshot(subject, progress)),
        run=run,
        asked=(now or datetime.now(UTC)).replace(microsecond=0),
        nonce=secrets.token_hex(16),
    )


def approvals_of(policy: Policy, action: str) -> Approvals:
    """Return what a policy asks of people for an action.

    Raises:
        ConfigurationError: it asks for no approvals, or does not know the action.
    """
    need = policy.purpose(action).approvals
    if need is None:
        raise ConfigurationError(
            f"{policy.source} asks for no approvals for {action!r}",
            next_step=f"add `approvals: {{by: [...]}}` to purposes.{action}",
        )
    return need


def _snapshot(subject: SubjectSource | Cleared, progress: Progress) -> Snapshot:
    """Return the snapshot of a subject as it lies there now."""
    if isinstance(subject, Cleared):
        subject = Clearance(uri=subject.uri, digest=subject.digest, receipts=subject.receipts)
    source = as_subject(subject)
    if isinstance(source, SubjectUri):
        return take_snapshot(source, progress=progress)
    snapshot = take_snapshot(SubjectUri.parse(source.uri), progress=progress)
    if snapshot.digest != source.digest:
        raise ClearanceRefused(
            f"{source.uri} is not what was cleared: expected {source.digest}, "
            f"found {snapshot.digest}",
            next_step="find out who changed it, then run the gates again",
        )
    return snapshot
