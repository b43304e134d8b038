"""Ask for an approval, and give or refuse it.

Two steps, because a person looks at something in between. ``request_approval`` takes the
subject's snapshot and returns what is shown to them; :func:`approve` checks that

1. the policy asks for approvals for this action, and names this approver;
2. the request is not stale;
3. the key that would sign is trusted for approvals of exactly this person;
4. the second factor is right, and was used for nothing else;
5. the bytes that lie there are still the ones that were shown;

and only then signs and logs. A code that was right is used up even if step 5 fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sluicegate.approving.attempts import REQUEST_LIFE, Factor
from sluicegate.approving.enrolment import ApproverBook
from sluicegate.approving.request import ApprovalRequest, approvals_of
from sluicegate.canonical import Digest
from sluicegate.clearance import PolicySource
from sluicegate.errors import ClearanceRefused, ConfigurationError
from sluicegate.evidence import ReceiptRef
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Approvals, Policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.statement import APPROVAL, ApprovalStatement, Subject
from sluicegate.signing import attest, check_signer, load_signer, open_evidence
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

__all__ = ["approve", "refuse"]

_SKEW: Final = timedelta(minutes=1)
"""Between the machine that asks and the one that signs."""
_LONGEST: Final = timedelta(days=366)
"""An approval that lasts for longer is a rule, and belongs into the policy."""
_DEFAULT_LIFE: Final = timedelta(hours=24)
_MOST_REASON: Final = 500
"""Characters of a reason; receipts must stay small enough for keys in hardware."""


def approve(
    request: ApprovalRequest,
    *,
    approver: str,
    policy: PolicySource = None,
    code: str | None = None,
    assertion: Mapping[str, Any] | None = None,
    reason: str = "",
    expires_in: timedelta = _DEFAULT_LIFE,
    signer: Signer | None = None,
    book: ApproverBook | None = None,
    where: RunIdentity | None = None,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> ReceiptRef:
    """Approve what was asked: check everything, then sign and log it.

    Args:
        request: what was shown to the approver.
        approver: who approves, as the policy names them.
        policy: the policy or its file.
        code: what their authenticator app shows.
        assertion: what their security key answered to the request's question.
        reason: a sentence of theirs, at most 500 characters; goes into the receipt.
        expires_in: how long it is good for, at most 366 days.
        signer: holds the key for approvals; by default the one of :func:`load_signer`.
        book: who is enrolled; by default the one that belongs to the policy.
        where: where this happens, for the receipt.
        now: the instant of the decision; the clock is read otherwise.
        progress: told how many bytes are hashed.

    Returns:
        The receipt, durable in the ledger.

    Raises:
        ClearanceRefused: not a named approver, a stale request, a second factor that is wrong,
            missing or used, too many attempts, or other bytes than were shown.
        ConfigurationError: the key may not sign approvals of this person, or the policy asks
            for none.
        SluicegateError: something cannot be read or written.
    """
    desk = _Desk.open(policy, signer, request, approver, where, now)
    if not timedelta(0) < expires_in <= _LONGEST:
        raise ConfigurationError(f"an approval lasts for {_LONGEST.days} days at most")
    desk.check_fresh()
    factor = desk.confirm(book, code, assertion)
    found = Subject.of(take_snapshot(SubjectUri.parse(request.uri), progress=progress))
    if found != request.subject:
        raise ClearanceRefused(
            f"{request.uri} is not what was shown: expected {request.subject.digest}, "
            f"found {found.digest}",
            next_step="find out who changed it; ask again and look again",
        )
    return desk.decide(factor, approved=True, reason=reason, expires=desk.now + expires_in)


def refuse(
    request: ApprovalRequest,
    *,
    approver: str,
    policy: PolicySource = None,
    code: str | None = None,
    assertion: Mapping[str, Any] | None = None,
    reason: str = "",
    signer: Signer | None = None,
    book: ApproverBook | None = None,
    where: RunIdentity | None = None,
    now: datetime | None = None,
) -> ReceiptRef:
    """Refuse what was asked, or take back an approval of it.

    It takes no second factor, and the subject need not be there any more: saying no is easier
    than saying yes. It does not expire; a later approval of the same person takes it back.

    Args:
        request: what was shown; its subject, action and run are refused.
        approver: who refuses, as the policy names them.
        policy: the policy or its file.
        code: what their authenticator app shows, if they have it at hand.
        assertion: what their security key answered, if they have it at hand.
        reason: a sentence of theirs, at most 500 characters.
        signer: holds the key for approvals; by default the one of :func:`load_signer`.
        book: who is enrolled; by default the one that belongs to the policy.
        where: where this happens, for the receipt.
        now: the instant of the decision; the clock is read otherwise.

    Raises:
        ClearanceRefused: not a named approver, or a second factor was given that is wrong.
        ConfigurationError: the key may not sign approvals of this person.
        SluicegateError: something cannot be read or written.
    """
    desk = _Desk.open(policy, signer, request, approver, where, now)
    factor = None
    if code is not None or assertion is not None:
        factor = desk.confirm(book, code, assertion)
    return desk.decide(factor, approved=False, reason=reason, expires=desk.now + _LONGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """One decision about one request: what approving and refusing share."""

    policy: Policy
    need: Approvals
    signer: Signer
    request: ApprovalRequest
    approver: str
    where: RunIdentity
    now: datetime

    @classmethod
    def open(
        cls,
        policy: PolicySource,
        signer: Signer | None,
        request: ApprovalRequest,
        approver: str,
        where: RunIdentity | None,
        now: datetime | None,
    ) -> _Desk:
        """Check all that takes no second factor."""
        rules = load_policy(policy)
        desk = cls(
            policy=rules,
            need=approvals_of(rules, request.action),
            signer=signer or load_signer(rules),
            request=request,
            approver=approver,
            where=where or RunIdentity(orchestrator="cli"),
            now=now or datetime.now(UTC),
        )
        if approver not in desk.need.by:
            raise ClearanceRefused(
                f"{approver} is not named as an approver of {request.action!r}",
                next_step=f"approvers: {', '.join(desk.need.by)}",
            )
        check_signer(rules, desk.signer, APPROVAL, uri=request.uri, now=desk.now, approver=approver)
        return desk

    def check_fresh(self) -> None:
        age = self.now - self.request.asked
        if age > REQUEST_LIFE or age < -_SKEW:
            raise ClearanceRefused(
                f"the request is of {self.request.asked:%Y-%m-%d %H:%M:%S} and is not good any "
                "more, or not yet",
                next_step="ask again, and look again at what is shown",
            )

    def confirm(
        self, book: ApproverBook | None, code: str | None, assertion: Mapping[str, Any] | None
    ) -> Factor | None:
        """Use up the second factor; None where there is none and none is asked for."""
        if code is not None and assertion is not None:
            raise ConfigurationError("give a code or an assertion, not both")
        book = book or ApproverBook.of(self.policy)
        if code is not None:
            return book.confirm_code(self.approver, code, now=self.now)
        if assertion is not None:
            return book.confirm_assertion(
                self.approver, assertion, question=self.request.question, now=self.now
            )
        if self.need.second_factor:
            raise ClearanceRefused(
                f"{self.request.action!r} takes a second factor, and none was given",
                next_step="give the code of the authenticator app, or use the security key",
            )
        return None

    def decide(
        self, factor: Factor | None, *, approved: bool, reason: str, expires: datetime
    ) -> ReceiptRef:
        """Sign and log the decision."""
        if len(reason) > _MOST_REASON:
            raise ConfigurationError(f"a reason has at most {_MOST_REASON} characters")
        evidence = open_evidence(self.policy, write=True)
        invocation = secrets.token_hex(8)
        factor = factor or Factor(kind="none", digest=Digest.of_json({"invocation": invocation}))
        if factor.document:
            evidence.write(evidence.report_path(factor.digest), factor.document)
        statement = ApprovalStatement(
            subject=self.request.subject,
            action=self.request.action,
            for_run=self.request.run,
            approver=self.approver,
            approved=approved,
            factor=factor.kind,
            factor_digest=factor.digest,
            expires=expires,
            issued=self.now,
            run=self.where,
            reason=reason,
            invocation=invocation,
        )
        return attest(statement, evidence, self.signer)
