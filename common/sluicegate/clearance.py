"""Clearances, and what a consumer verifies before it opens a subject.

A clearance is a small handle that travels between tasks. It is worth nothing by itself:
anybody who can write a task result can write one. :func:`open_cleared` therefore believes
nothing in it and works through this list, under the consumer's own policy:

1. the policy knows the purpose, and says which stages it takes, configured how;
2. every receipt is in the ledger, where the reference says, and unedited;
3. every receipt is signed by a key that this policy trusts for that stage, now and then;
4. every verdict was made under these very rules, is not from the future, and no waiver
   behind it has run out;
5. derivations lead from the subject back to what was examined, each resting on the
   quarantine verdict it names;
6. every stage the purpose needs has a verdict that speaks for the subject, fresh enough,
   and no later verdict of that stage contradicts it;
7. the bytes that are there now are the bytes the receipts are about, and stay so while
   they are read.

It returns the data or raises; there is no boolean to forget.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ClearanceRefused, ConfigurationError, ReceiptError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.model import Verdict
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy, Purpose, Requirement
from sluicegate.receipts.bundle import Bundle
from sluicegate.receipts.statement import (
    DerivationStatement,
    Statement,
    VerdictStatement,
    parse_statement,
)
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.tables import read_table
from sluicegate.storage.uri import SubjectUri

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Clearance",
    "Cleared",
    "PolicySource",
    "SubjectSource",
    "admit",
    "as_subject",
    "open_cleared",
    "requires_clearance",
]

_KIND: Final = "sluicegate-clearance/v1"
_MAX_RECEIPTS: Final = 200
_CLOCK_SKEW: Final = timedelta(minutes=5)
"""Between the clocks of workers; also what Kerberos allows by default (RFC 4120, 3.1.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """A subject by digest, and references to the receipts that speak for it.

    Safe to pass through task state: it holds no data, no secret and no authority.
    """

    uri: str
    """Where the subject lies."""
    digest: Digest
    """Merkle root of its manifest."""
    receipts: tuple[ReceiptRef, ...]
    """In the order in which they were issued."""

    def open(self, purpose: str, policy: PolicySource = None) -> Cleared:
        """Verify everything and return the subject; see :func:`open_cleared`."""
        return open_cleared(self, purpose=purpose, policy=policy)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, for XCom and other task results."""
        return {
            "kind": _KIND,
            "uri": self.uri,
            "digest": str(self.digest),
            "receipts": [[ref.index, str(ref.digest)] for ref in self.receipts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Clearance:
        """Read the JSON form. That it parses means nothing.

        Raises:
            ClearanceRefused: it is not one.
        """
        try:
            if set(value) != {"kind", "uri", "digest", "receipts"} or value["kind"] != _KIND:
                raise ValueError("other members")
            if len(value["receipts"]) > _MAX_RECEIPTS or not isinstance(value["uri"], str):
                raise ValueError("too large")
            return cls(
                uri=value["uri"],
                digest=Digest.parse(value["digest"]),
                receipts=tuple(_reference(item) for item in value["receipts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ClearanceRefused(
                "this is no clearance: it does not have the form that a gate returns",
                next_step="pass on exactly what the gate returned",
            ) from error


def _reference(value: Json) -> ReceiptRef:
    index, digest = value
    if type(index) is not int or index < 0:
        raise ValueError("an index is a number from 0")
    return ReceiptRef(index, Digest.parse(digest))


SubjectSource = str | os.PathLike[str] | SubjectUri | Clearance | Mapping[str, Json]
"""What names a subject: a path, a URI, or what an earlier gate returned."""
PolicySource = Policy | str | os.PathLike[str] | None
"""A policy, its file, or None for the one that ``SLUICEGATE_POLICY`` names."""


def as_subject(value: SubjectSource) -> Clearance | SubjectUri:
    """Read what names a subject.

    Raises:
        ClearanceRefused: something that cannot name one.
        SubjectError: a malformed path or URI.
    """
    if isinstance(value, Clearance | SubjectUri):
        return value
    if isinstance(value, Mapping):
        return Clearance.from_json(value)
    if isinstance(value, str | os.PathLike):
        return SubjectUri.parse(value)
    raise ClearanceRefused(
        f"expected a clearance or the URI of a subject, found {type(value).__name__}",
        next_step="pass on what the gate returned, not the data itself",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """A subject that was verified for a purpose. Reading goes on verifying."""

    purpose: str
    snapshot: Snapshot
    receipts: tuple[ReceiptRef, ...]
    """The receipts that the purpose rests on."""

    @property
    def uri(self) -> str:
        """Where the subject lies. Do not open it yourself: read through this object."""
        return str(self.snapshot.uri)

    @property
    def digest(self) -> Digest:
        """Merkle root of the manifest."""
        return self.snapshot.digest

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files inside the subject."""
        return tuple(file.path for file in self.snapshot.manifest.files)

    def open(self, path: str | None = None) -> IO[bytes]:
        """Return the verified bytes of one file; of a single-file subject without ``path``.

        Raises:
            SubjectChangedError: the bytes are not the cleared ones.
        """
        if path is None:
            if len(self.files) != 1:
                raise ConfigurationError(
                    f"{self.uri} has {len(self.files)} files: name one", next_step="see .files"
                )
            path = self.files[0]
        return self.snapshot.open(path)

    def read_frame(self) -> pandas.DataFrame:
        """Return all rows as a pandas data frame, from verified bytes.

        Raises:
            SubjectError: the subject is not tabular.
            SubjectChangedError: the bytes are not the cleared ones.
        """
        return read_table(self.snapshot).frame

    def copy_to(self, folder: str | os.PathLike[str]) -> Path:
        """Write verified copies below ``folder``, for libraries that want a path.

        The folder must be private to the consumer: what others can write to, they can
        change after the check.

        Raises:
            SubjectChangedError: the bytes are not the cleared ones.
        """
        return self.snapshot.copy_to(Path(folder))


def open_cleared(
    subject: SubjectSource,
    *,
    purpose: str,
    policy: PolicySource = None,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> Cleared:
    """Verify that a subject may be used for a purpose, and open it.

    Args:
        subject: a clearance, or a path or URI; then the ledger is searched for receipts
            about the bytes that lie there.
        purpose: what it is to be used for, as the policy names it.
        policy: the consumer's own policy.
        now: the instant to judge by; the clock is read once otherwise.
        progress: told how many bytes are hashed.

    Raises:
        ClearanceRefused: the subject may not be used; says what is wrong and what to do.
        SluicegateError: could not tell (subject, policy or ledger unreadable).
    """
    rules = load_policy(policy)
    need = rules.purpose(purpose)
    now = now or datetime.now(UTC)
    evidence = Evidence(rules.evidence)
    source = as_subject(subject)
    if isinstance(source, Clearance):
        case = _Case.of_references(source.receipts, evidence, rules, now)
        receipts = case.require(need, source.digest, now)
        snapshot = take_snapshot(SubjectUri.parse(source.uri), progress=progress)
        if snapshot.digest != source.digest:
            raise ClearanceRefused(
                f"{source.uri} is not what was cleared: expected {source.digest}, "
                f"found {snapshot.digest}",
                next_step="find out who changed it, then run the gates again",
            )
    else:
        snapshot = take_snapshot(source, progress=progress)
        case = _Case.of_ledger(evidence, rules, now)
        receipts = case.require(need, snapshot.digest, now)
    case.check_unchallenged(receipts, evidence, rules, now)
    return Cleared(purpose=purpose, snapshot=snapshot, receipts=tuple(ref for ref, _ in receipts))


def admit(bundle: bytes, policy: Policy, *, now: datetime) -> Statement:
    """Return what a receipt says, if this policy lets its signer say it.

    Covers steps 3 and 4 of the module's list.

    Raises:
        ReceiptError: malformed, or the signature does not verify.
        ClearanceRefused: key not trusted for it, other rules, future date, waiver run out.
    """
    parsed = Bundle.parse(bundle)
    trusted = policy.key(parsed.hint)
    statement = parse_statement(parsed.verify(lambda _: trusted.key))
    trusted.check(statement.stage, issued=statement.issued, now=now)
    if statement.issued > now + _CLOCK_SKEW:
        raise ClearanceRefused(
            f"a receipt for {statement.stage} was issued in the future: {statement.issued}",
            next_step="check the clocks of the workers",
        )
    if isinstance(statement, VerdictStatement):
        _check_rules(statement, policy)
        _check_waivers(statement, now)
    return statement


def _check_rules(statement: VerdictStatement, policy: Policy) -> None:
    if statement.policy != policy.digest:
        raise ClearanceRefused(
            f"the verdict of {statement.stage} was made under other rules: expected policy "
            f"{policy.digest.short}, found {statement.policy.short}",
            next_step=f"{policy.source} changed after the gate ran, or the gate used another "
            "policy; review the change, then run the gates again",
        )


def _check_waivers(statement: VerdictStatement, now: datetime) -> None:
    for waiver in statement.waivers:
        if now.date() > date.fromisoformat(waiver.expires):
            raise ClearanceRefused(
                f"the verdict of {statement.stage} rests on a waiver of {waiver.check} by "
                f"{waiver.owner}, which expired on {waiver.expires}",
                next_step="mend what was waived, or renew the waiver; run the gate again",
            )


class _Case:
    """The receipts that were admitted, by what they are about."""

    def __init__(self) -> None:
        self.verdicts: list[tuple[ReceiptRef, VerdictStatement]] = []
        self.derivations: list[tuple[ReceiptRef, DerivationStatement]] = []
        self.rejected: list[str] = []

    @classmethod
    def of_references(
        cls, references: Iterable[ReceiptRef], evidence: Evidence, policy: Policy, now: datetime
    ) -> _Case:
        """Admit exactly these receipts; one that is not good refuses everything."""
        case = cls()
        for ref in references:
            try:
                case._add(ref, admit(evidence.receipt(ref), policy, now=now))
            except ReceiptError as error:
                raise ClearanceRefused(
                    f"receipt {ref.digest.short} (ledger entry {ref.index}): {error.what}",
                    next_step=error.next_step or "the receipt was forged or damaged",
                ) from error
        return case

    @classmethod
    def of_ledger(cls, evidence: Evidence, policy: Policy, now: datetime) -> _Case:
        """Admit what is good in the whole ledger; leave the rest aside, with the reason."""
        case = cls()
        for ref, bundle in evidence.receipts():
            try:
                case._add(ref, admit(bundle, policy, now=now))
            except (ReceiptError, ClearanceRefused) as error:
                case.rejected.append(f"ledger entry {ref.index}: {error.what}")
        return case

    def _add(self, ref: ReceiptRef, statement: Statement) -> None:
        if isinstance(statement, VerdictStatement):
            self.verdicts.append((ref, statement))
        else:
            self.derivations.append((ref, statement))

    def require(
        self, purpose: Purpose, digest: Digest, now: datetime
    ) -> list[tuple[ReceiptRef, Statement]]:
        """Return the receipts by which ``digest`` meets a purpose: steps 5 and 6.

        Raises:
            ClearanceRefused: a stage is missing, not passed, or too old.
        """
        line = self._line_of_descent(digest)
        chosen: list[tuple[ReceiptRef, Statement]] = list(line.values())
        chosen += [self._satisfy(need, digest, line, purpose, now) for need in purpose.requirements]
        return chosen

    def _line_of_descent(
        self, digest: Digest
    ) -> dict[Digest, tuple[ReceiptRef, DerivationStatement]]:
        """Map each subject in the line, newest first, to the derivation that made it."""
        line: dict[Digest, tuple[ReceiptRef, DerivationStatement]] = {}
        while digest not in line:
            made = [item for item in self.derivations if item[1].subject.digest == digest]
            rooted = [item for item in made if self._rests_on_verdict(item[1])]
            if not rooted:
                break
            line[digest] = rooted[-1]
            digest = rooted[-1][1].parent.digest
        return line

    def _rests_on_verdict(self, derivation: DerivationStatement) -> bool:
        return any(
            ref.digest == derivation.verdict_receipt
            and verdict.verdict is Verdict.QUARANTINE
            and verdict.subject.digest == derivation.parent.digest
            for ref, verdict in self.verdicts
        )

    def _satisfy(
        self,
        need: Requirement,
        digest: Digest,
        line: Mapping[Digest, tuple[ReceiptRef, DerivationStatement]],
        purpose: Purpose,
        now: datetime,
    ) -> tuple[ReceiptRef, VerdictStatement]:
        """Return the newest verdict that meets one requirement."""
        speaking = {digest}
        quarantines: set[Digest] = set()
        if need.stage.hereditary:
            speaking |= {step.parent.digest for _, step in line.values()}
            quarantines = {step.verdict_receipt for _, step in line.values()}
        near: list[str] = []
        others = 0
        for ref, verdict in sorted(self.verdicts, key=lambda item: item[0], reverse=True):
            if verdict.stage != need.stage.name:
                continue
            if verdict.subject.digest not in speaking:
                others += 1
            elif verdict.configuration != need.configuration:
                near.append(f"entry {ref.index} is for another configuration of the stage")
            elif not (verdict.verdict.clears or ref.digest in quarantines):
                near.append(f"entry {ref.index} says {verdict.verdict.value}")
                if verdict.verdict is Verdict.QUARANTINE and verdict.subject.digest != digest:
                    continue  # of an ancestor: another run of the quarantine in the line
                break  # the newest verdict counts, not the kindest
            elif purpose.max_age and now - verdict.issued > purpose.max_age:
                near.append(
                    f"entry {ref.index} is of {verdict.issued:%Y-%m-%d %H:%M}, older than "
                    f"{purpose.max_age}"
                )
            else:
                return ref, verdict
        if others:
            near.append(f"{others} receipts are about other data")
        raise ClearanceRefused(
            f"{purpose.name!r} needs {need.stage.name}, and no receipt for it speaks for "
            f"{digest.short}" + "".join(f"; {reason}" for reason in [*near, *self.rejected][:5]),
            next_step=f"run the gate {need.stage.name} on exactly these bytes",
        )

    def check_unchallenged(
        self,
        receipts: Iterable[tuple[ReceiptRef, Statement]],
        evidence: Evidence,
        policy: Policy,
        now: datetime,
    ) -> None:
        """Refuse a verdict that a later one of the same stage on the same bytes revokes.

        Raises:
            ClearanceRefused: the ledger holds a later, worse verdict.
        """
        held = {
            (item.stage, item.configuration, item.subject.digest): (ref, item.verdict)
            for ref, item in receipts
            if isinstance(item, VerdictStatement)
        }
        if not held:
            return
        first = min(ref.index for ref, _ in held.values())
        for ref, bundle in evidence.receipts(first + 1):
            try:
                later = admit(bundle, policy, now=now)
            except (ReceiptError, ClearanceRefused):
                continue  # says nothing that this policy would believe
            if not isinstance(later, VerdictStatement):
                continue
            known = held.get((later.stage, later.configuration, later.subject.digest))
            if (
                known
                and ref.index > known[0].index
                and later.verdict.rank > max(known[1].rank, Verdict.WARN.rank)
            ):
                raise ClearanceRefused(
                    f"a later verdict of {later.stage} on the same bytes says "
                    f"{later.verdict.value} (ledger entry {ref.index})",
                    next_step="look at that report; the subject must not be used as it is",
                )


def requires_clearance(
    purpose: str, *, policy: PolicySource = None, argument: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a consumer: it receives a verified :class:`Cleared`, or does not run.

    Works for functions, generators and coroutine functions. Every way to call the function
    passes here.

    Args:
        purpose: what the function does with the subject, as the policy names it.
        policy: the consumer's own policy.
        argument: name of the parameter that takes the subject; by default the first one.

    Raises:
        ConfigurationError: when decorating, if the function has no such parameter.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        name = _subject_parameter(function, signature, argument)

        def verify(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
            bound = signature.bind(*args, **kwargs)
            if name not in bound.arguments:
                raise ClearanceRefused(f"{function.__name__}() was called without {name!r}")
            bound.arguments[name] = open_cleared(
                bound.arguments[name], purpose=purpose, policy=policy
            )
            return bound

        if inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"{function.__name__}() is an asynchronous generator, which cannot be guarded",
                next_step="return the result, or put the guard on a function it calls",
            )
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def consume_and_yield(*args: Any, **kwargs: Any) -> Any:
                bound = verify(args, kwargs)
                return (yield from function(*bound.args, **bound.kwargs))

            return consume_and_yield

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def consume_async(*args: Any, **kwargs: Any) -> Any:
                bound = verify(args, kwargs)
                return await function(*bound.args, **bound.kwargs)

            return consume_async

        @functools.wraps(function)
        def consume(*args: Any, **kwargs: Any) -> Any:
            bound = verify(args, kwargs)
            return function(*bound.args, **bound.kwargs)

        return consume

    return decorate


def _subject_parameter(
    function: Callable[..., Any], signature: inspect.Signature, argument: str | None
) -> str:
    positional = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if argument is None and positional:
        return positional[0]
    if argument is not None and argument in positional:
        return argument
    raise ConfigurationError(
        f"{function.__name__}() has no parameter {argument or 'to take the subject'!r}"
    )
