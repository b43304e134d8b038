"""What a receipt says: an in-toto statement about one subject.

One kind a module of :mod:`sluicegate.receipts.statements`, with existing predicates wherever
there is one, so that other people's tools read them:

* a **verdict** (in-toto test result): stage S, configured like this, judged by that policy,
  came to this verdict about this subject;
* a **derivation** (SLSA provenance): this subject is that one without the rows or files
  that a verdict set aside;
* a **production** (SLSA provenance): this subject was made from those;
* a **summary** (SLSA verification summary): this subject was found fit for a purpose;
* a **growth** and a **commitment** (our own): this data set is that one and more; these are
  its files or rows under a salted tree;
* an **approval**, a **head** and an **event** (our own): who agreed, which version serves,
  what happened besides.

Source: in-toto Statement v1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sluicegate.canonical import Json, canonical_json, parse_json
from sluicegate.errors import ReceiptError
from sluicegate.receipts.statements.approval import APPROVAL, APPROVAL_TYPE, ApprovalStatement
from sluicegate.receipts.statements.commitment import (
    COMMITMENT,
    COMMITMENT_TYPE,
    CommitmentStatement,
)
from sluicegate.receipts.statements.derivation import (
    DERIVATION,
    QUARANTINE_BUILD,
    SLSA_PROVENANCE,
    DerivationStatement,
)
from sluicegate.receipts.statements.event import EVENT, EVENT_TYPE, EventStatement
from sluicegate.receipts.statements.frame import STATEMENT_TYPE, Subject
from sluicegate.receipts.statements.growth import GROWTH, GROWTH_TYPE, GrowthStatement
from sluicegate.receipts.statements.head import HEAD, HEAD_TYPE, HeadStatement
from sluicegate.receipts.statements.production import (
    PRODUCTION,
    PRODUCTION_BUILD,
    ProductionStatement,
)
from sluicegate.receipts.statements.summary import SUMMARY, SUMMARY_TYPE, SummaryStatement
from sluicegate.receipts.statements.verdict import TEST_RESULT, VerdictStatement, WaiverUse

__all__ = [
    "APPROVAL",
    "COMMITMENT",
    "DERIVATION",
    "EVENT",
    "GROWTH",
    "HEAD",
    "PRIVILEGED",
    "PRODUCTION",
    "SUMMARY",
    "WORDS",
    "ApprovalStatement",
    "CommitmentStatement",
    "DerivationStatement",
    "EventStatement",
    "GrowthStatement",
    "HeadStatement",
    "ProductionStatement",
    "Statement",
    "Subject",
    "SummaryStatement",
    "VerdictStatement",
    "WaiverUse",
    "parse_statement",
    "place_of",
    "write_statement",
]

WORDS: Final = (
    APPROVAL,
    COMMITMENT,
    DERIVATION,
    EVENT,
    GROWTH,
    HEAD,
    PRODUCTION,
    SUMMARY,
)
"""What a policy's ``stages`` list may name besides stages."""
PRIVILEGED: Final = frozenset({APPROVAL, HEAD})
"""What ``*`` does not cover: decisions of people, which a key of a gate should not make."""

Statement = (
    VerdictStatement
    | DerivationStatement
    | ProductionStatement
    | ApprovalStatement
    | HeadStatement
    | EventStatement
    | SummaryStatement
    | GrowthStatement
    | CommitmentStatement
)


def write_statement(statement: Statement) -> bytes:
    """Return the payload to sign: canonical JSON."""
    return canonical_json(statement.to_json())


def place_of(statement: Statement) -> str | None:
    """Return where the subject lies; None for an event, which is about no data."""
    return None if isinstance(statement, EventStatement) else statement.subject.uri


def parse_statement(payload: bytes) -> Statement:
    """Read the payload of a bundle **whose signature was verified**.

    Raises:
        ReceiptError: not an in-toto statement of a kind that sluicegate writes.
    """
    try:
        value = parse_json(payload)
    except ValueError as error:
        raise ReceiptError(f"the receipt's statement is {error}") from error
    if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
        raise ReceiptError("the receipt's payload is not an in-toto statement v1")
    subjects = value.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise ReceiptError("a receipt is about exactly one subject")
    return _read(value.get("predicateType"), Subject.from_json(subjects[0]), value.get("predicate"))


_READERS: Final[Mapping[str, Callable[[Subject, Json], Statement]]] = {
    TEST_RESULT: VerdictStatement.from_json,
    APPROVAL_TYPE: ApprovalStatement.from_json,
    COMMITMENT_TYPE: CommitmentStatement.from_json,
    EVENT_TYPE: EventStatement.from_json,
    GROWTH_TYPE: GrowthStatement.from_json,
    HEAD_TYPE: HeadStatement.from_json,
    SUMMARY_TYPE: SummaryStatement.from_json,
}


def _read(kind: Json, subject: Subject, predicate: Json) -> Statement:
    if kind == SLSA_PROVENANCE:
        return _read_provenance(subject, predicate)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        told = ascii(kind[:80]) if isinstance(kind, str) else "of another type"
        raise ReceiptError(f"the receipt's predicate {told} is not one that sluicegate reads")
    return reader(subject, predicate)


def _read_provenance(subject: Subject, predicate: Json) -> Statement:
    definition = predicate.get("buildDefinition") if isinstance(predicate, dict) else None
    build = definition.get("buildType") if isinstance(definition, dict) else None
    if build == QUARANTINE_BUILD:
        return DerivationStatement.from_json(subject, predicate)
    if build == PRODUCTION_BUILD:
        return ProductionStatement.from_json(subject, predicate)
    raise ReceiptError("the receipt is provenance of another kind of build")
