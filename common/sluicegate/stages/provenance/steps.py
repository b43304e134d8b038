"""The numbered steps, each a question with one answer.

A step that found nothing wrong is passed only if the walk saw the whole chain; if it
stopped early, what it did not see is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.model import Check, Finding
from sluicegate.receipts.lineage import Chain, Fault, History, Link, Origin, Problem
from sluicegate.receipts.statement import Subject
from sluicegate.stages.provenance.publisher import Vouched
from sluicegate.stages.provenance.settings import Settings

__all__ = ["CHECKS", "QUESTIONS", "Step", "Walked", "answer"]

QUESTIONS: Final = {
    "provenance.subject": (1, "Is the subject identified by all its digests?"),
    "provenance.origin": (2, "Was the subject admitted, or made from known inputs?"),
    "provenance.keys": (3, "Is every link signed by a key that is trusted for it?"),
    "provenance.swapped": (4, "Is every input the very bytes that an earlier link made?"),
    "provenance.missing": (4, "Is every input accounted for?"),
    "provenance.forked": (4, "Do no two statements contradict each other?"),
    "provenance.cyclic": (4, "Was nothing made from itself?"),
    "provenance.order": (4, "Was every input logged, and made, before it was used?"),
    "provenance.age": (4, "Is no statement too old?"),
    "provenance.hold": (4, "Is nothing on hold, or taken back?"),
    "provenance.sources": (5, "Does every chain begin where it may?"),
    "provenance.published": (6, "Does the publisher vouch for every file?"),
    "provenance.delay": (7, "Had the data been known for long enough before it was used?"),
    "provenance.required": (8, "Does the chain hold what it must?"),
}
"""Step and question by check."""
CHECKS: Final = tuple(name for name in QUESTIONS if name != "provenance.published")

_FAULTS: Final = {
    Fault.KEY: "provenance.keys",
    Fault.SWAPPED: "provenance.swapped",
    Fault.MISSING: "provenance.missing",
    Fault.FORKED: "provenance.forked",
    Fault.CYCLIC: "provenance.cyclic",
    Fault.DISORDERED: "provenance.order",
    Fault.HELD: "provenance.hold",
}
_ABOUT_ORIGIN: Final = frozenset({Fault.MISSING, Fault.SWAPPED, Fault.KEY})
"""What a walk says of a subject that no statement accounts for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """Everything that the steps look at."""

    chain: Chain
    history: History
    settings: Settings
    vouched: Vouched | None
    uri: str
    """Where the subject lies."""
    now: datetime

    @property
    def from_publisher(self) -> bool:
        """Whether the subject is data from outside that its publisher vouches for."""
        return self.chain.origin is None and self.vouched is not None and self.vouched.for_all

    @property
    def vouched_source(self) -> bool:
        """Whether a publisher vouches for the subject, and nothing before it is known.

        Also where it was admitted or imported before: that is no reason to trust it less.
        """
        own = all(link.subject.digest == self.chain.subject.digest for link in self.chain.sources)
        return self.vouched is not None and self.vouched.for_all and own

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the chain; nobody needs to have made what is just admitted."""
        if not self.from_publisher:
            return self.chain.problems
        return tuple(one for one in self.chain.problems if one.fault not in _ABOUT_ORIGIN)


@dataclass(frozen=True, slots=True)
class Step:
    """One answered question."""

    check: Check
    detail: str


def answer(walked: Walked) -> tuple[Step, ...]:
    """Answer all questions that apply, in order."""
    steps = [_subject(walked), _origin(walked), _sources(walked)]
    steps += [_fault(walked, fault, name) for fault, name in _FAULTS.items()]
    steps += [ask(walked) for applies, ask in _ASKED if applies(walked)]
    if walked.vouched:
        steps.append(Step(walked.vouched.check, walked.vouched.detail))
    order = list(QUESTIONS)
    return tuple(sorted(steps, key=lambda step: order.index(step.check.id)))


def _settle(walked: Walked, name: str, findings: Iterable[Finding], *, detail: str = "") -> Step:
    """Return failed for findings, unknown for a chain that was cut, and passed otherwise."""
    found = list(findings)
    if found:
        return Step(Check.failed(name, found), found[0].message)
    if walked.chain.cut:
        return Step(Check.unknown(name, walked.chain.cut), walked.chain.cut)
    return Step(Check.passed(name), detail)


def _finding(problem: Problem) -> Finding:
    return Finding(message=problem.message, evidence=problem.to_json())


def _subject(walked: Walked) -> Step:
    subject = walked.chain.subject
    detail = (
        f"merkleRoot:{subject.digest.hex}, sha256:{subject.sha256.hex}, dirHash1:{subject.dir_hash}"
    )
    return Step(Check.passed("provenance.subject"), detail)


def _origin(walked: Walked) -> Step:
    name, origin = "provenance.origin", walked.chain.origin
    if origin is not None:
        inputs = f" from {len(origin.inputs)} inputs" if origin.inputs else ""
        detail = (
            f"{origin.origin.value} ({origin.activity}){inputs}, ledger entry "
            f"{origin.record.index}, key {origin.record.key}"
        )
        return Step(Check.passed(name), detail)
    if walked.from_publisher:
        return Step(Check.passed(name), "its publisher vouches for it")
    why = [one for one in walked.problems if one.subject == walked.chain.subject.digest]
    return _settle(walked, name, map(_finding, why))


def _fault(walked: Walked, fault: Fault, name: str) -> Step:
    found = [_finding(one) for one in walked.problems if one.fault is fault]
    return _settle(walked, name, found, detail=f"{len(walked.chain.links)} links")


def _age(walked: Walked) -> Step:
    limit, findings = walked.settings.age(), []
    for link in walked.chain.links.values():
        issued = link.record.statement.issued
        if limit is not None and walked.now - issued > limit:
            message = (
                f"ledger entry {link.record.index} ({link.activity}) is of "
                f"{issued:%Y-%m-%d %H:%M}: older than {walked.settings.max_age}"
            )
            findings.append(Finding(message=message, evidence=_evidence(link)))
    return _settle(walked, "provenance.age", findings)


def _sources(walked: Walked) -> Step:
    name, allowed = "provenance.sources", walked.settings.origins()
    sources = walked.chain.sources
    if not walked.settings.sources and walked.vouched_source:
        return _settle(walked, name, [], detail="a publisher vouches for the subject")
    if not walked.settings.sources:
        reason = "no sources are named: nobody says where chains may begin"
        return Step(Check.unknown(name, reason), reason)
    findings = [
        Finding(
            message=f"the chain begins with {link.subject.uri or link.subject.name} on the word "
            f"of key {link.record.key} (ledger entry {link.record.index}), which sources does "
            "not allow",
            evidence=_evidence(link),
        )
        for link in sources
        if not allowed.allow(uri=link.subject.uri, key=link.record.key)
    ]
    if walked.from_publisher and walked.settings.sources and not allowed.allow_place(walked.uri):
        findings.append(Finding(message=f"sources does not allow data from {walked.uri}"))
    if not findings and not sources and not walked.from_publisher:
        reason = "the chain leads to no source"
        return Step(Check.unknown(name, reason), reason)
    return _settle(walked, name, findings, detail=f"{len(sources)} sources")


def _delay(walked: Walked) -> Step:
    """Look when each source was first logged, and when it was first used.

    What a quarantine takes out of fresh data is as fresh; only a production uses it.
    """
    name, limit = "provenance.delay", walked.settings.delay() or timedelta()
    findings = [
        finding
        for link in walked.chain.links.values()
        if link.origin is Origin.PRODUCTION
        for source in _sources_behind(walked.chain, link.inputs)
        if (finding := _used_too_early(walked, link, source, limit))
    ]
    if findings:
        return _settle(walked, name, findings)
    wait = _still_to_wait(walked, limit)
    return Step(Check.unknown(name, wait), wait) if wait else _settle(walked, name, ())


def _sources_behind(chain: Chain, subjects: Iterable[Subject]) -> list[Subject]:
    """Return the sources that subjects are, or were taken from by quarantines."""
    found: dict[Digest, Subject] = {}
    waiting, seen = list(subjects), set[Digest]()
    while waiting:
        subject = waiting.pop()
        link = chain.links.get(subject.digest)
        if link is None or subject.digest in seen:
            continue
        seen.add(subject.digest)
        if link.is_source:
            found[subject.digest] = subject
        elif link.origin is Origin.DERIVATION:
            waiting += link.inputs
    return list(found.values())


def _used_too_early(
    walked: Walked, product: Link, source: Subject, limit: timedelta
) -> Finding | None:
    seen, used = walked.history.first_seen.get(source.digest), product.record.statement.issued
    if seen is not None and used - seen.moment >= limit:
        return None
    since = f"at {seen.moment:%Y-%m-%d %H:%M} (entry {seen.entry})" if seen else "never"
    return Finding(
        message=f"ledger entry {product.record.index} used {source.uri or source.name} at "
        f"{used:%Y-%m-%d %H:%M}, and it was first logged {since}: less than "
        f"{walked.settings.quarantine_delay} before",
        evidence=_evidence(product),
    )


def _still_to_wait(walked: Walked, limit: timedelta) -> str:
    """Return until when the subject must wait; empty if it need not.

    It must if it is a source itself, or the remainder of one: it is about to be used.
    """
    chain = walked.chain
    if chain.origin is None:
        fresh = [chain.subject]
    elif chain.origin.inputs and chain.origin.origin is Origin.PRODUCTION:
        return ""
    else:
        fresh = _sources_behind(chain, [chain.subject])
    for subject in fresh:
        seen = walked.history.first_seen.get(subject.digest)
        since = seen.moment if seen else walked.now
        if seen is None or walked.now - since < limit:
            begin = f"first logged as entry {seen.entry}" if seen else "not logged before"
            return (
                f"{subject.uri or subject.name} was {begin}; it can be admitted from "
                f"{since + limit:%Y-%m-%d %H:%M} UTC on ({walked.settings.quarantine_delay})"
            )
    return ""


def _required(walked: Walked) -> Step:
    chain, settings = walked.chain, walked.settings
    findings = [
        Finding(message=f"no link of the chain is {activity!r}")
        for activity in settings.require
        if activity not in chain.activities
    ]
    if chain.depth < settings.require_depth:
        findings.append(
            Finding(
                message=f"the chain is {chain.depth} links long, and must be at least "
                f"{settings.require_depth}"
            )
        )
    if chain.cut and findings:  # what is asked for may lie beyond
        return Step(Check.unknown("provenance.required", chain.cut), chain.cut)
    return _settle(walked, "provenance.required", findings)


def _evidence(link: Link) -> dict[str, object]:
    return {"ledger_entry": link.record.index, "subject": str(link.subject.digest)}


_ASKED: Final[tuple[tuple[Callable[[Walked], bool], Callable[[Walked], Step]], ...]] = (
    (lambda walked: walked.settings.max_age is not None, _age),
    (lambda walked: walked.settings.quarantine_delay is not None, _delay),
    (lambda walked: bool(walked.settings.require or walked.settings.require_depth), _required),
)
"""Which questions are asked only of some, and who answers them."""
