"""Words for what is wrong, and for what is nearest to a statement that is missing."""

from __future__ import annotations

from sluicegate.receipts.lineage.history import History, Maker
from sluicegate.receipts.lineage.model import Fault, Link, Problem
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import Subject

__all__ = ["absence", "asked", "blame", "contradiction", "difference", "named", "objection", "same"]


def blame(
    fault: Fault,
    subject: Subject,
    message: str,
    *,
    at: Record | None = None,
    expected: str = "",
    found: str = "",
) -> Problem:
    """Return a problem with a subject, at a statement."""
    return Problem(
        fault=fault,
        message=message,
        subject=subject.digest,
        entry=at.index if at else None,
        expected=expected,
        found=found,
    )


def same(one: Subject, other: Subject) -> bool:
    """Return whether all digests of two descriptions agree."""
    return (one.digest, one.sha256, one.dir_hash) == (other.digest, other.sha256, other.dir_hash)


def difference(expected: Subject, found: Subject) -> tuple[str, str, str]:
    """Return the name of the first digest that differs, and both values."""
    pairs = (
        ("merkleRoot", expected.digest.hex, found.digest.hex),
        ("sha256", expected.sha256.hex, found.sha256.hex),
        ("dirHash1", expected.dir_hash, found.dir_hash),
    )
    for name, one, other in pairs:
        if one != other:
            return name, f"{name}:{one}", f"{name}:{other}"
    return "digest", "", ""


def named(subject: Subject) -> str:
    """Return where a subject was, and the start of its digest."""
    return f"{subject.uri or subject.name} ({subject.digest.short})"


def asked(product: Link | None) -> str:
    """Return who used a subject, as the beginning of a sentence."""
    return f"ledger entry {product.record.index} used" if product else "this is"


def contradiction(subject: Subject, made: Subject, by: Record, product: Link | None) -> Problem:
    """Return that a statement with the right root gives another digest beside it."""
    name, expected, found = difference(made, subject)
    # A folder of one file has the root of that file, and another sha256.
    hint = ": one names a file, the other its folder?" if name == "sha256" else ""
    return blame(
        Fault.SWAPPED,
        subject,
        f"{asked(product)} {named(subject)} with another {name} than ledger entry "
        f"{by.index}, which made it{hint}",
        at=product.record if product else by,
        expected=expected,
        found=found,
    )


def objection(subject: Subject, record: Record) -> Problem:
    """Return that a statement about a subject cannot speak for it any more."""
    return blame(
        Fault.KEY,
        subject,
        f"ledger entry {record.index} says where {named(subject)} came from, and does not "
        f"count: {record.objection}",
        at=record,
    )


def absence(history: History, subject: Subject, product: Link | None) -> Problem:
    """Say what is nearest to the statement that is missing."""
    at = product.record if product else None
    if claim := history.claim(subject.digest):
        return blame(
            Fault.KEY,
            subject,
            f"ledger entry {claim.index} claims to have made {named(subject)}, and the "
            f"policy does not listen to it: {claim.reason}",
            at=at,
        )
    if other := _look_alike(history, subject, product):
        _, expected, found = difference(other.subject, subject)
        return blame(
            Fault.SWAPPED,
            subject,
            f"{asked(product)} {named(subject)}, and ledger entry {other.record.index} "
            "made other bytes under that name or digest",
            at=at or other.record,
            expected=expected,
            found=found,
        )
    return blame(
        Fault.MISSING,
        subject,
        f"{asked(product)} {named(subject)}, and no trusted statement says where that came from",
        at=at,
        found=str(subject.digest),
    )


def _look_alike(history: History, subject: Subject, product: Link | None) -> Maker | None:
    """Return what was made under the same name, or shares one digest and not the root."""
    end = product.record.index if product else None
    for key in (subject.sha256.hex, subject.dir_hash):
        if found := history.by_other_digest.get(key):
            return found[-1]
    earlier = [
        maker
        for maker in history.by_uri.get(subject.uri, ())
        if subject.uri and (end is None or maker.record.index < end)
    ]
    return earlier[-1] if earlier else None
