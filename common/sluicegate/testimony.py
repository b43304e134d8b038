"""What a ledger says about a subject, to somebody who judges by a policy.

Receipts speak *for* a subject and *against* it, and not by the same rules:

* **For**: signed by a key that the policy trusts for that stage and that subject, now and
  when it was issued; made under these very rules; not from the future; no waiver behind it
  has run out; fresh enough; and by as many different keys as the purpose asks for.
* **Against**: signed by such a key under these rules. Neither an expired key nor a waiver
  that ran out silences a "no".

What a revoked key signed counts, for and against, if it was logged before the revocation; the
ledger's order says so, and not the date that the key wrote itself. All of that rests on the
ledger being the one that the policy means: its checkpoint is verified, and the root over the
entries that were read must be the checkpoint's.

What counts is the *first* time that a statement was logged. Whoever may append to the
ledger can append an old receipt again; that makes it no newer.

A verdict speaks for a subject if it is about exactly its bytes. Where a stage is hereditary,
an unreserved verdict about an ancestor speaks as well, along derivations: each signed by a
key that may also sign the verdict it rests on. And any newer verdict of that stage that does
not clear, about the subject or an ancestor in that line, takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.errors import ClearanceRefused, ReceiptError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.ledger.note import Checkpoint
from sluicegate.ledger.trust import believe, believed_entries, unwitnessed_entries
from sluicegate.model import Verdict
from sluicegate.policy.approvals import judge_approvals
from sluicegate.policy.model import Policy, Purpose, Requirement, TrustedKey
from sluicegate.receipts.bundle import Bundle
from sluicegate.receipts.records import Record, Rejected
from sluicegate.receipts.statement import (
    ApprovalStatement,
    DerivationStatement,
    Statement,
    VerdictStatement,
    parse_statement,
    place_of,
)

__all__ = ["LedgerRecords", "Testimony", "Witnessed", "admit", "authenticate"]

_CLOCK_SKEW: Final = timedelta(minutes=5)
"""Between the clocks of workers; also what Kerberos allows by default (RFC 4120, 3.1.3)."""
_REASONS: Final = 5
"""How many reasons a refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A statement that a key of the policy signed, where it was first logged."""

    ref: ReceiptRef
    statement: Statement
    key: TrustedKey
    payload: Digest
    """SHA-256 of the signed payload: the same for every copy, however it is wrapped."""
    objection: str = ""
    """Why it cannot speak for a subject (any more); it may still speak against one."""


def authenticate(ref: ReceiptRef, bundle: bytes, policy: Policy) -> Witnessed:
    """Return what a receipt says, if a key that may say so signed it under these rules.

    Raises:
        ReceiptError: malformed, or the signature does not verify.
        ClearanceRefused: the policy does not trust the key for this, or other rules.
    """
    witnessed = _identify(ref, bundle, policy)
    if objection := _other_rules(witnessed.statement, policy):
        raise ClearanceRefused(
            objection,
            next_step=f"{policy.source} changed after the gate ran, or the gate used another "
            "policy; review the change, then run the gates again",
        )
    return witnessed


def _identify(ref: ReceiptRef, bundle: bytes, policy: Policy) -> Witnessed:
    """Do what :func:`authenticate` does, whatever rules a verdict was made under."""
    parsed = Bundle.parse(bundle)
    key = policy.key(parsed.hint)
    payload = parsed.verify(lambda _: key.key)
    statement = parse_statement(payload)
    key.check_stage(statement.stage)
    key.check_place(uri=place_of(statement), index=ref.index)
    return Witnessed(ref=ref, statement=statement, key=key, payload=Digest.of(payload))


def _other_rules(statement: Statement, policy: Policy) -> str:
    """Return that a verdict was made under other rules, or nothing."""
    if not isinstance(statement, VerdictStatement) or statement.policy == policy.digest:
        return ""
    return (
        f"the verdict of {statement.stage} was made under other rules: expected policy "
        f"{policy.digest.short}, found {statement.policy.short}"
    )


def admit(ref: ReceiptRef, bundle: bytes, policy: Policy, *, now: datetime) -> Witnessed:
    """Return what a receipt says, if it can speak for a subject now.

    Raises:
        ReceiptError: malformed, or the signature does not verify.
        ClearanceRefused: key, rules, date or waivers speak against it.
    """
    witnessed = authenticate(ref, bundle, policy)
    _check_current(witnessed, now)
    return witnessed


def recall(
    ref: ReceiptRef, bundle: bytes, policy: Policy, *, now: datetime
) -> tuple[Statement, str]:
    """Return what a receipt said, and why it does not count any more, or nothing.

    For people who look back; never for deciding.

    Raises:
        ReceiptError: malformed, or the signature does not verify.
        ClearanceRefused: the policy does not trust the key for this.
    """
    witnessed = _identify(ref, bundle, policy)
    objection = _other_rules(witnessed.statement, policy)
    try:
        _check_current(witnessed, now)
    except ClearanceRefused as error:
        objection = objection or error.what
    return witnessed.statement, objection


def _check_current(witnessed: Witnessed, now: datetime) -> None:
    statement = witnessed.statement
    witnessed.key.check_time(issued=statement.issued, now=now)
    if statement.issued > now + _CLOCK_SKEW:
        raise ClearanceRefused(
            f"a receipt for {statement.stage} was issued in the future: {statement.issued}",
            next_step="check the clocks of the workers",
        )
    for waiver in statement.waivers if isinstance(statement, VerdictStatement) else ():
        if now.date() > waiver.expires:
            raise ClearanceRefused(
                f"the verdict of {statement.stage} rests on a waiver of {waiver.check} by "
                f"{waiver.owner}, which expired on {waiver.expires}",
                next_step="mend what was waived, or renew the waiver; run the gate again",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """A witnessed verdict."""

    at: Witnessed
    says: VerdictStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A derivation with the verdict that it rests on."""

    at: Witnessed
    says: DerivationStatement
    verdict: _Verdict


class LedgerRecords:
    """What the policy's keys signed, in the order of the ledger, each copy once.

    Reading it believes nothing: the checkpoint is verified as the policy asks, and the entries
    against its root.
    """

    def __init__(self, evidence: Evidence, policy: Policy, now: datetime) -> None:
        """Read the ledger once.

        Raises:
            LedgerError: the ledger is damaged, is not the one that the policy means, or is not
                signed and witnessed as the policy asks.
        """
        self.witnessed: list[Witnessed] = []
        self.rejected: list[Rejected] = []
        self.payloads: dict[Digest, Digest] = {}
        """The payload of each bundle by the bundle's digest; copies differ in signature."""
        self._evidence, self._policy, self._now = evidence, policy, now
        self._heard: set[Digest] = set()
        ledger, settings = evidence.ledger, policy.ledger_settings
        self.checkpoint: Checkpoint | None = believe(ledger, settings, clock=lambda: now)
        for index, bundle in believed_entries(ledger, self.checkpoint):
            self._hear(ReceiptRef(index, Digest.of(bundle)), bundle, covered=True)
        # What the log signed since then speaks for nothing yet; a "no" is heard at once.
        for index, bundle in unwitnessed_entries(ledger, settings, self.checkpoint):
            self._hear(ReceiptRef(index, Digest.of(bundle)), bundle, covered=False)

    def _hear(self, ref: ReceiptRef, bundle: bytes, *, covered: bool) -> None:
        try:
            witnessed = _identify(ref, bundle, self._policy)
        except (ReceiptError, ClearanceRefused) as error:
            self._reject(ref, error.what)
            return
        if objection := _other_rules(witnessed.statement, self._policy):
            self._reject(ref, objection, earlier=self.record(witnessed))
            return
        if witnessed.payload not in self._heard:
            self._heard.add(witnessed.payload)
            try:
                _check_current(witnessed, self._now)
            except ClearanceRefused as error:
                witnessed = replace(witnessed, objection=error.what)
            if not covered:
                witnessed = replace(witnessed, objection="no witness has seen it yet")
            self.witnessed.append(witnessed)
        self.payloads[ref.digest] = witnessed.payload

    def _reject(self, ref: ReceiptRef, reason: str, earlier: Record | None = None) -> None:
        self.rejected.append(
            Rejected(index=ref.index, digest=ref.digest, reason=reason, earlier=earlier)
        )

    def record(self, witnessed: Witnessed) -> Record:
        """Return a statement as stages see it."""
        says = witnessed.statement
        asked = isinstance(says, VerdictStatement) and bool(
            self._policy.find_stage(says.stage, says.configuration)
        )
        return Record(
            index=witnessed.ref.index,
            digest=witnessed.ref.digest,
            payload=witnessed.payload,
            statement=says,
            key=witnessed.key.name,
            key_id=witnessed.key.key.id,
            may_sign=witnessed.key.stages,
            required=asked,
            objection=witnessed.objection,
        )

    def __iter__(self) -> Iterator[Record]:
        """Yield what trusted keys signed, oldest first."""
        return map(self.record, self.witnessed)

    @property
    def size(self) -> int:
        """Number of entries that the ledger had when it was read."""
        return self.checkpoint.size if self.checkpoint else 0

    def bundle(self, index: int) -> bytes:
        """Return the receipt at a place of the ledger; see :class:`Records`."""
        return self._evidence.ledger.get(index)


class Testimony:
    """All statements of a ledger that a policy listens to, in order."""

    def __init__(self, evidence: Evidence, policy: Policy, now: datetime) -> None:
        """Read the ledger once.

        Raises:
            LedgerError: the ledger is damaged, or is not the one that the policy means.
        """
        self._now = now
        self._policy = policy
        self._verdicts: list[_Verdict] = []
        self._derivations: list[tuple[Witnessed, DerivationStatement]] = []
        self._approvals: list[Witnessed] = []
        records = LedgerRecords(evidence, policy, now)
        self._records = records
        self._payloads = records.payloads
        self._ignored = _newest(
            [f"ledger entry {one.index}: {one.reason}" for one in records.rejected]
        )
        for witnessed in records.witnessed:
            self._sort(witnessed)
        self._check_clock(records)

    def _check_clock(self, records: LedgerRecords) -> None:
        """Refuse to judge by a clock that is behind what the ledger holds already."""
        newest = max((item.statement.issued for item in records.witnessed), default=self._now)
        if newest > self._now + _CLOCK_SKEW:
            raise ClearanceRefused(
                f"a receipt in the ledger was issued in the future, at {newest:%Y-%m-%d %H:%M}: "
                "this clock is behind, or the clock of a gate was ahead",
                next_step="check the clocks: ages and expiry cannot be judged by a wrong one",
            )

    def _sort(self, witnessed: Witnessed) -> None:
        statement = witnessed.statement
        if isinstance(statement, VerdictStatement):
            self._verdicts.append(_Verdict(at=witnessed, says=statement))
        elif isinstance(statement, DerivationStatement):
            self._derivations.append((witnessed, statement))
        elif isinstance(statement, ApprovalStatement):
            self._approvals.append(witnessed)

    def require(
        self,
        purpose: Purpose,
        digest: Digest,
        *,
        uri: str,
        run: str | None = None,
        only: frozenset[Digest] | None = None,
    ) -> list[Witnessed]:
        """Return the receipts by which a subject meets a purpose.

        Args:
            purpose: what it is for.
            digest: digest of the subject.
            uri: where the subject lies that is to be used; keys may be trusted for some places
                only.
            run: which run asks; approvals may be bound to one.
            only: payloads of the receipts that may speak for it; None for all. What speaks
                against it is never left out, and approvals need not be named.

        Raises:
            ClearanceRefused: a stage has no verdict that speaks for the subject, or somebody
                did not approve.
        """
        chosen = self.require_configuration(purpose, purpose.requirements)
        line = self._line_of_descent(purpose, digest, uri, only)
        steps = [step for made in line.values() for step in made]
        chosen += [part for step in steps for part in (step.verdict.at, step.at)]
        for need in purpose.requirements:
            chosen += self._satisfy(need, purpose, digest, uri, line, only)
        if purpose.approvals:
            chosen += self._approved(purpose, digest, uri, run)
        return list({part.payload: part for part in chosen}.values())

    def require_configuration(
        self, purpose: Purpose, needs: Iterable[Requirement]
    ) -> list[Witnessed]:
        """Return the receipts by which the files that configure stages are cleared.

        Args:
            purpose: says for what they must be; if it does not, nothing is needed.
            needs: the stages, of this purpose.

        Raises:
            ClearanceRefused: one of them is not cleared for what the purpose says.
        """
        if purpose.configuration is None:
            return []
        cleared = self._policy.purpose(purpose.configuration)
        chosen: list[Witnessed] = []
        for need in needs:
            for file in need.files:
                try:
                    chosen += self.require(cleared, file.digest, uri=file.uri)
                except ClearanceRefused as error:
                    raise ClearanceRefused(
                        f"{need.stage.name} is configured by {file.uri}, which is not cleared "
                        f"for {cleared.name!r}: {error.what}",
                        next_step=error.next_step,
                    ) from error
        return chosen

    def _approved(
        self, purpose: Purpose, digest: Digest, uri: str, run: str | None
    ) -> list[Witnessed]:
        """Return the approvals by which people agreed to a purpose."""
        assert purpose.approvals is not None  # noqa: S101  asked by the caller
        by_payload = {item.payload: item for item in self._approvals}
        counted = judge_approvals(
            [self._approval(item, uri) for item in self._approvals],
            purpose.approvals,
            subject=digest,
            action=purpose.name,
            now=self._now,
            run=run,
            may_sign=self._may_approve,
        )
        return [by_payload[record.payload] for record in counted]

    def _approval(self, item: Witnessed, uri: str) -> Record:
        """Return an approval, with an objection if its key may not speak about this place."""
        record = self._records.record(item)
        try:
            item.key.check_place(uri=uri, index=item.ref.index)
        except ClearanceRefused as error:
            return replace(record, objection=record.objection or error.what)
        return record

    def _may_approve(self, key_id: str, approver: str) -> bool:
        return approver in self._policy.key(key_id).approvers

    def _line_of_descent(
        self, purpose: Purpose, digest: Digest, uri: str, only: frozenset[Digest] | None
    ) -> dict[Digest, tuple[_Step, ...]]:
        """Map each subject in the line, the youngest first, to the steps that made it.

        As many keys must have signed each step as must sign a verdict: otherwise one key could
        make what others cleared into something else.
        """
        line: dict[Digest, tuple[_Step, ...]] = {}
        place: str | None = uri
        while digest not in line:
            parents: dict[Digest, dict[str, _Step]] = {}
            for step in self._steps_to(digest):
                if self._counts(step, place, only):
                    parents.setdefault(step.says.parent.digest, {})[step.at.key.key.id] = step
            enough = [
                (parent, steps)
                for parent, steps in parents.items()
                if len(steps) >= purpose.signatures
            ]
            if not enough:
                break
            parent, steps = max(
                enough, key=lambda item: max(step.at.ref.index for step in item[1].values())
            )
            line[digest] = tuple(steps.values())
            digest, place = parent, None
        return line

    def _counts(self, step: _Step, place: str | None, only: frozenset[Digest] | None) -> bool:
        """Return whether a step may lead from a subject to what it was taken from."""
        if step.at.objection or not (_allowed(step.at, only) and _allowed(step.verdict.at, only)):
            return False
        try:
            step.at.key.check_place(uri=place, index=step.at.ref.index)
        except ClearanceRefused:
            return False
        return True

    def _steps_to(self, digest: Digest) -> list[_Step]:
        """Return the derivations that made a subject and rest on a verdict, oldest first."""
        return [
            _Step(at=at, says=says, verdict=verdict)
            for at, says in self._derivations
            if says.subject.digest == digest
            for verdict in self._verdicts
            if verdict.at.payload == self._payloads.get(says.verdict_receipt)
            and verdict.says.verdict is Verdict.QUARANTINE
            and verdict.says.subject.digest == says.parent.digest
            and at.key.may_sign(verdict.says.stage)
        ]

    def _ancestors(self, digest: Digest) -> set[Digest]:
        """Return everything that a subject is said to be taken from, whoever says so."""
        found, pending = set[Digest](), [digest]
        while pending:
            for step in self._steps_to(pending.pop()):
                if (parent := step.says.parent.digest) not in found:
                    found.add(parent)
                    pending.append(parent)
        return found

    def _satisfy(
        self,
        need: Requirement,
        purpose: Purpose,
        digest: Digest,
        uri: str,
        line: Mapping[Digest, tuple[_Step, ...]],
        only: frozenset[Digest] | None,
    ) -> list[Witnessed]:
        """Return the newest verdicts that meet one requirement, one for each key it takes."""
        stage = need.stage
        speaking, against, in_line = {digest}, {digest}, set[Digest]()
        if stage.hereditary:
            speaking |= {step.says.parent.digest for made in line.values() for step in made}
            against |= self._ancestors(digest) | speaking
            # Another run of the same quarantine, with the same remainder, changes nothing.
            in_line = {
                step.verdict.at.payload for young in against for step in self._steps_to(young)
            }
        counted = {step.verdict.at.payload for made in line.values() for step in made}
        found: dict[str, Witnessed] = {}
        newest: Verdict | None = None
        near: list[str] = []
        others = 0
        for verdict in reversed(self._verdicts):
            says, entry = verdict.says, f"entry {verdict.at.ref.index}"
            if says.stage != stage.name:
                continue
            if says.subject.digest not in against:
                others += 1
            elif says.configuration != need.configuration:
                near.append(f"{entry} is for another configuration of the stage")
            elif not says.verdict.clears and verdict.at.payload not in in_line:
                near.append(f"{entry} says {says.verdict.value}")
                newest = says.verdict
                break  # the newest word counts, not the kindest
            elif says.subject.digest not in speaking:
                others += 1
            elif not says.verdict.clears and verdict.at.payload not in counted:
                continue  # led to the same remainder, and is not what this line rests on
            elif reservation := self._reservation(verdict, purpose, digest, uri):
                near.append(f"{entry} {reservation}")
            elif _allowed(verdict.at, only):
                found.setdefault(verdict.at.key.key.id, verdict.at)
                if len(found) == purpose.signatures:
                    return list(found.values())
        if found:
            near.insert(0, f"{len(found)} of {purpose.signatures} keys that it takes signed")
        if others:
            near.append(f"{others} receipts are about other data")
        raise ClearanceRefused(
            f"{purpose.name!r} needs {stage.name}, and no receipt for it speaks for "
            f"{digest.short}"
            + "".join(f"; {reason}" for reason in [*near, *self._ignored][:_REASONS]),
            next_step=_after(newest, stage.name),
        )

    def _reservation(self, verdict: _Verdict, purpose: Purpose, digest: Digest, uri: str) -> str:
        """Return why a verdict that clears does not speak for the subject, or nothing."""
        says = verdict.says
        if verdict.at.objection:
            return f"does not count: {verdict.at.objection}"
        if says.subject.digest == digest:
            try:
                verdict.at.key.check_place(uri=uri, index=verdict.at.ref.index)
            except ClearanceRefused as error:
                return f"does not count: {error.what}"
        if purpose.max_age and self._now - says.issued > purpose.max_age:
            return f"is of {says.issued:%Y-%m-%d %H:%M}, older than {purpose.max_age}"
        if says.subject.digest != digest and not says.unreserved:
            return "has warnings, and is about what this was taken from"
        return ""


def _newest(reasons: list[str]) -> list[str]:
    """Return one reason for all entries that do not count: they are about any subject."""
    if len(reasons) < 2:
        return reasons
    return [f"{len(reasons)} ledger entries do not count at all, the newest of them {reasons[-1]}"]


def _after(said: Verdict | None, stage: str) -> str:
    """Return what to do where a stage's newest word about a subject is this."""
    if said is Verdict.QUARANTINE:
        return "use what remains: the clearance that the gate returned names it"
    if said is Verdict.BLOCK:
        return "see the report (`sluicegate report`); these bytes are not to be used"
    return f"run the gate {stage} on exactly these bytes"


def _allowed(witnessed: Witnessed, only: frozenset[Digest] | None) -> bool:
    return only is None or witnessed.payload in only
