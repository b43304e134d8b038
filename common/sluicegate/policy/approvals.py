"""Whether the people whom a policy names agreed to use a subject.

What counts is the order of the ledger, not the dates in the receipts:

* an approval counts for exactly its subject, its action and its run; one that is bound to no
  run counts for every run, and one that is bound to a run for no consumer that names none;
* a refusal takes back what the same person approved before it, does not expire, and needs no
  second factor: it is easier to say no than yes;
* what a second factor used up (:attr:`ApprovalStatement.factor_digest`) counts once, for
  whatever it was logged first, about any subject and for anybody;
* two approvals of one person are one.

What was confirmed by a second factor is what the holder of the approval key says was. The
assertion of a security key can be checked again afterwards; a one-time code cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.errors import ClearanceRefused
from sluicegate.policy.model import Approvals
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import ApprovalStatement

__all__ = ["SECOND_FACTORS", "judge_approvals"]

SECOND_FACTORS: Final = frozenset({"totp", "webauthn"})
"""What counts as a second factor; any other word does not."""
_CLOCK_SKEW: Final = timedelta(minutes=5)
"""Between the clocks of workers; also what Kerberos allows by default (RFC 4120, 3.1.3)."""
_REASONS: Final = 5
"""How many reasons a refusal names."""


def judge_approvals(
    approvals: Sequence[Record],
    need: Approvals,
    *,
    subject: Digest,
    action: str,
    now: datetime,
    run: str | None = None,
    may_sign: Callable[[str, str], bool],
) -> list[Record]:
    """Return the approvals by which a subject may be used, one for each approver.

    Args:
        approvals: what trusted keys signed, about any subject; other statements are passed
            over. All of them, because a second factor counts only once in a whole ledger.
        need: what the policy asks.
        subject: digest of what is to be used.
        action: the purpose.
        now: the instant to judge by.
        run: which run asks; None for one that does not say, to which only approvals speak
            that are bound to no run, and every refusal.
        may_sign: whether a key, by its id, may sign the approvals of an approver, by name.

    Raises:
        ClearanceRefused: too few people agree; says what became of each approval.
    """
    run = run or None
    standing: dict[str, Record] = {}
    reasons: dict[str, str] = {}
    used: set[Digest] = set()
    for record, says in _in_order(approvals):
        if not may_sign(record.key_id, says.approver):
            reasons[f"key {record.key}"] = (
                f"entry {record.index} is signed by key {record.key!r}, which may not sign "
                f"approvals of {says.approver}"
            )
            continue
        first = says.factor_digest not in used
        used.add(says.factor_digest)
        if says.subject.digest != subject or says.action != action:
            continue
        if not says.approved:
            if _concerns(says, run):
                standing.pop(says.approver, None)
                reasons[says.approver] = f"{says.approver} refused in entry {record.index}"
            continue
        if reason := _objection(record, says, need, now=now, run=run, first=first):
            if says.approver not in standing:
                reasons[says.approver] = f"entry {record.index} of {says.approver} {reason}"
            continue
        standing[says.approver] = record
        reasons.pop(says.approver, None)
    if len(standing) < need.count:
        raise _too_few(need, list(standing), list(reasons.values()), subject=subject, action=action)
    return sorted(standing.values(), key=lambda record: record.index)


def _in_order(approvals: Sequence[Record]) -> list[tuple[Record, ApprovalStatement]]:
    """Return the approvals in the order of the ledger, with what they say."""
    pairs = [
        (record, record.statement)
        for record in approvals
        if isinstance(record.statement, ApprovalStatement)
    ]
    return sorted(pairs, key=lambda pair: pair[0].index)


def _concerns(refusal: ApprovalStatement, run: str | None) -> bool:
    """Return whether a refusal is about this run, as far as one can tell."""
    return run is None or refusal.for_run in ("", run)


def _objection(
    record: Record,
    says: ApprovalStatement,
    need: Approvals,
    *,
    now: datetime,
    run: str | None,
    first: bool,
) -> str:
    """Return why an approval of this subject and action does not count, or nothing."""
    if says.approver not in need.by:
        return "does not count: the policy does not name this approver"
    if record.objection:
        return f"does not count: {record.objection}"
    if says.for_run not in ("", run):
        return f"is for the run {says.for_run!r}"
    if says.issued > now + _CLOCK_SKEW:
        return "was issued in the future"
    if now >= says.expires:
        return f"expired on {says.expires:%Y-%m-%d %H:%M}"
    if need.max_age is not None and now - says.issued > need.max_age:
        return f"is of {says.issued:%Y-%m-%d %H:%M}, older than {need.max_age}"
    if need.second_factor and says.factor not in SECOND_FACTORS:
        return "was not confirmed by a second factor"
    if not first:
        return "uses a second factor again that was used before"
    return ""


def _too_few(
    need: Approvals, who: list[str], reasons: list[str], *, subject: Digest, action: str
) -> ClearanceRefused:
    found = ", ".join(sorted(who)) or "none"
    return ClearanceRefused(
        f"{action!r} needs {need.count} approvals by {', '.join(need.by)} for {subject.short}; "
        f"found {found}" + "".join(f"; {reason}" for reason in reasons[:_REASONS]),
        next_step=f"`sluicegate approve SUBJECT --purpose {action} --as NAME`, on exactly "
        "these bytes",
    )
