"""That a subject was made from others: a training session, an import, a transformation.

SLSA provenance. What went in is named by the same three digests as every subject, so that a
chain can be walked: each input must be the subject of an earlier trusted statement. The
parameters, metrics, code and environment of the session are a document of their own, which
the statement binds by its digest; receipts stay small enough for keys in hardware.

Source: SLSA provenance v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ReceiptError
from sluicegate.model import RunIdentity
from sluicegate.receipts.statements.derivation import SLSA_PROVENANCE
from sluicegate.receipts.statements.frame import (
    Subject,
    frame,
    read_digest,
    read_run,
    read_text,
    read_time,
    write_time,
)

__all__ = ["PRODUCTION", "PRODUCTION_BUILD", "ProductionStatement"]

PRODUCTION: Final = "production"
"""The word that a policy's ``stages`` list uses for the right to say what was made from what."""
PRODUCTION_BUILD: Final = "pkg:pypi/sluicegate#production-v1"
_BUILDER: Final = "pkg:pypi/sluicegate#session"
_RECEIPT: Final = "receipt"
_RECORD: Final = "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionStatement:
    """A subject was made from others."""

    subject: Subject
    """What was made."""
    activity: str
    """What was done: ``train``, ``import``, ``transform`` or a word of the user's."""
    made_from: tuple[Subject, ...]
    """What went in; empty for what has no recorded source."""
    cleared_by: tuple[Digest, ...]
    """Digests of the receipts that the inputs' clearances rested on, sorted."""
    record: Digest
    """SHA-256 of the session's record, a canonical JSON document among the reports."""
    started: datetime
    issued: datetime
    """When it was finished."""
    run: RunIdentity
    invocation: str = ""
    """Different for each session, so that a copy of a receipt is known as one."""
    stage: str = PRODUCTION

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        receipts = [
            {"name": _RECEIPT, "digest": {"sha256": receipt.hex}} for receipt in self.cleared_by
        ]
        predicate: dict[str, Json] = {
            "buildDefinition": {
                "buildType": PRODUCTION_BUILD,
                "externalParameters": {"activity": self.activity},
                "internalParameters": {"run": self.run.to_json()},
                "resolvedDependencies": [
                    *(source.to_json() for source in self.made_from),
                    *receipts,
                ],
            },
            "runDetails": {
                "builder": {"id": _BUILDER},
                "metadata": {
                    "invocationId": self.invocation,
                    "startedOn": write_time(self.started),
                    "finishedOn": write_time(self.issued),
                },
                "byproducts": [{"name": _RECORD, "digest": {"sha256": self.record.hex}}],
            },
        }
        return frame(self.subject, SLSA_PROVENANCE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> ProductionStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing, or another kind of build.
        """
        try:
            definition, details = predicate["buildDefinition"], predicate["runDetails"]
            if definition["buildType"] != PRODUCTION_BUILD:
                raise ReceiptError("the receipt is provenance of another kind of build")
            inputs = definition["resolvedDependencies"]
            sources = [item for item in inputs if not _is_receipt(item)]
            receipts = [item for item in inputs if _is_receipt(item)]
            (record,) = details["byproducts"]
            if record["name"] != _RECORD:
                raise ReceiptError("the receipt names no record of the session")
            metadata = details["metadata"]
            return cls(
                subject=subject,
                activity=read_text(definition["externalParameters"]["activity"]),
                made_from=tuple(map(Subject.from_json, sources)),
                cleared_by=tuple(map(read_digest, receipts)),
                record=read_digest(record),
                started=read_time(metadata["startedOn"]),
                issued=read_time(metadata["finishedOn"]),
                invocation=read_text(metadata["invocationId"]),
                run=read_run(definition["internalParameters"]["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no production of the expected shape") from error


def _is_receipt(item: Json) -> bool:
    """Return whether an input is the receipt of a clearance; subjects have more digests."""
    return bool(item["name"] == _RECEIPT and set(item["digest"]) == {"sha256"})
