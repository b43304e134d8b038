"""What must be true of a link, of each use of it, and of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.model import Verdict
from sluicegate.receipts.lineage.explain import blame, contradiction, named, same
from sluicegate.receipts.lineage.history import History, Maker, Said
from sluicegate.receipts.lineage.model import Fault, Link, Problem
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import (
    DerivationStatement,
    HeadStatement,
    ProductionStatement,
    Subject,
    VerdictStatement,
)

__all__ = [
    "CLOCK_SKEW",
    "check_admission",
    "check_clearances",
    "check_edge",
    "check_fork",
    "check_heads",
    "check_hold",
    "check_verdict",
    "find_cycles",
]

CLOCK_SKEW: Final = timedelta(minutes=5)
"""By how much the clocks of two workers may differ; what Kerberos allows, too (RFC 4120)."""


def check_edge(
    history: History, link: Link, item: Subject, product: Link | None
) -> Iterator[Problem]:
    """Check one use of a link's subject."""
    if not same(link.subject, item):
        yield contradiction(item, link.subject, link.record, product)
    if product is not None:
        yield from _check_order(link, item, product)
        yield from _check_not_blocked(history, item, product)


def check_hold(history: History, item: Subject) -> Iterator[Problem]:
    """Check that nobody holds a subject back."""
    if hold := history.on_hold(item.digest):
        yield blame(
            Fault.HELD,
            item,
            f"{named(item)} is on hold since ledger entry {hold.index}",
            at=hold,
        )


def _check_order(link: Link, item: Subject, product: Link) -> Iterator[Problem]:
    before, after = link.record, product.record
    if before.index >= after.index:
        yield blame(
            Fault.DISORDERED,
            item,
            f"ledger entry {after.index} used {named(item)} before entry {before.index} "
            "said where it came from",
            at=after,
        )
    elif before.statement.issued > after.statement.issued + CLOCK_SKEW:
        yield blame(
            Fault.DISORDERED,
            item,
            f"{named(item)} was made at {before.statement.issued:%Y-%m-%d %H:%M:%S} (ledger "
            f"entry {before.index}), after it was used at "
            f"{after.statement.issued:%Y-%m-%d %H:%M:%S} (entry {after.index}): a clock was "
            "wrong, or set back",
            at=after,
        )


def _check_not_blocked(history: History, item: Subject, product: Link) -> Iterator[Problem]:
    """Check that no newer verdict takes back what a product was made from."""
    statement = product.record.statement
    if not isinstance(statement, ProductionStatement):
        return  # what a quarantine takes from was not cleared, and need not be
    relied = [
        said
        for said in map(history.spoken_by, statement.cleared_by)
        if said and said.verdict.subject.digest == item.digest
    ]
    # A quarantine verdict in the line of descent took nothing back: it made the remainder.
    newer = [history.taken_back(said) for said in relied if said.verdict.verdict.clears]
    against = next((one for one in newer if one), None)
    if not relied:
        against = history.blocking(item.digest)
    if against:
        yield blame(
            Fault.HELD,
            item,
            f"ledger entry {product.record.index} used {named(item)}, and entry "
            f"{against.record.index} says {against.verdict.verdict.value} of it "
            f"({against.verdict.stage})",
            at=against.record,
        )


def check_fork(subject: Subject, makers: list[Maker]) -> Iterator[Problem]:
    """Check that all statements that made a subject say from what, and say the same."""
    first = makers[0]
    for other in makers[1:]:
        if other.input_digests != first.input_digests:
            yield blame(
                Fault.FORKED,
                subject,
                f"ledger entries {first.record.index} and {other.record.index} both made "
                f"{named(subject)}, from different inputs",
                at=other.record,
                expected=_listed(first),
                found=_listed(other),
            )
            return


def check_heads(history: History, subject: Subject) -> Iterator[Problem]:
    """Check that the models of which a subject is a version have one head an epoch."""
    for model in sorted(history.models.get(subject.digest, ())):
        epochs: dict[int, Record] = {}
        for record in history.heads[model]:
            says = record.statement
            if not isinstance(says, HeadStatement) or record.objection:
                continue
            other = epochs.setdefault(says.epoch, record)
            if other.statement != says:
                yield blame(
                    Fault.FORKED,
                    subject,
                    f"model {model!r} has two heads of epoch {says.epoch}: ledger entries "
                    f"{other.index} and {record.index}",
                    at=record,
                    expected=str(other.statement.subject.digest),
                    found=str(says.subject.digest),
                )


def check_admission(history: History, said: Said) -> Iterator[Problem]:
    """Check that no verdict takes back the one that admitted a subject."""
    if newest := history.against_admission(said):
        subject = said.verdict.subject
        yield blame(
            Fault.HELD,
            subject,
            f"ledger entry {said.record.index} admitted {named(subject)}, and entry "
            f"{newest.record.index} speaks against it: {newest.verdict.verdict.value}",
            at=newest.record,
        )


def check_verdict(
    history: History, link: Link, statement: DerivationStatement
) -> Iterator[Problem]:
    """Check that a derivation rests on a verdict that set something aside."""
    receipt = statement.verdict_receipt
    record = history.rested_on(receipt)
    if record is None or not isinstance(record.statement, VerdictStatement):
        yield _not_held(history, link, receipt, "a verdict")
        return
    verdict, parent = record.statement, record.statement.subject.digest
    if record.index >= link.record.index:
        yield _too_late(link, record)
    if not link.record.signs(verdict.stage):
        yield blame(
            Fault.KEY,
            link.subject,
            f"ledger entry {link.record.index} acts on a verdict of {verdict.stage}, and its key "
            f"{link.record.key} is not trusted for that stage",
            at=link.record,
        )
    if parent != statement.parent.digest or verdict.verdict is not Verdict.QUARANTINE:
        yield blame(
            Fault.SWAPPED,
            link.subject,
            f"ledger entry {link.record.index} rests on the verdict of entry "
            f"{record.index}, which is no quarantine of what it was taken from",
            at=link.record,
            expected=str(statement.parent.digest),
            found=str(parent),
        )


def check_clearances(
    history: History, link: Link, statement: ProductionStatement
) -> Iterator[Problem]:
    """Check that the receipts a production rests on are in the ledger, before it."""
    for receipt in statement.cleared_by:
        record = history.rested_on(receipt)
        if record is None:
            yield _not_held(history, link, receipt, "a receipt")
        elif record.index >= link.record.index:
            yield _too_late(link, record)


def _too_late(link: Link, record: Record) -> Problem:
    return blame(
        Fault.DISORDERED,
        link.subject,
        f"ledger entry {link.record.index} rests on the receipt of entry {record.index}, which "
        "was logged after it",
        at=link.record,
    )


def _not_held(history: History, link: Link, receipt: Digest, what: str) -> Problem:
    if rejected := history.rejected.get(receipt):
        return blame(
            Fault.KEY,
            link.subject,
            f"ledger entry {link.record.index} rests on {what} of entry {rejected.index}, and "
            f"the policy does not listen to that: {rejected.reason}",
            at=link.record,
            expected=str(receipt),
        )
    return blame(
        Fault.MISSING,
        link.subject,
        f"ledger entry {link.record.index} rests on {what} that the ledger does not hold",
        at=link.record,
        expected=str(receipt),
    )


def find_cycles(links: Mapping[Digest, Link], start: Digest) -> Iterator[Problem]:
    """Blame every link that leads back to one that is still being followed."""
    following: dict[Digest, Iterator[Subject]] = {}
    done: set[Digest] = set()
    if start in links:
        following[start] = iter(links[start].inputs)
    while following:
        here = next(reversed(following))
        source = next(following[here], None)
        if source is None:
            del following[here]
            done.add(here)
        elif source.digest in following:
            link = links[here]
            yield blame(
                Fault.CYCLIC,
                link.subject,
                f"ledger entry {link.record.index} made {named(link.subject)} from "
                f"{named(source)}, which was itself made from it",
                at=link.record,
                found=str(source.digest),
            )
        elif source.digest not in done and source.digest in links:
            following[source.digest] = iter(links[source.digest].inputs)


def _listed(maker: Maker) -> str:
    return ", ".join(sorted(f"merkleRoot:{item.hex}" for item in maker.input_digests)[:10])
