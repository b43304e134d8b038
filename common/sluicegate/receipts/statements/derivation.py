"""That a subject is another one without what a verdict set aside, as SLSA provenance.

Source: SLSA provenance v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ReceiptError
from sluicegate.model import RunIdentity
from sluicegate.receipts.statements.frame import (
    Subject,
    frame,
    read_count,
    read_digest,
    read_run,
    read_text,
    read_time,
    write_time,
)

__all__ = ["DERIVATION", "QUARANTINE_BUILD", "SLSA_PROVENANCE", "DerivationStatement"]

SLSA_PROVENANCE: Final = "https://slsa.dev/provenance/v1"
QUARANTINE_BUILD: Final = "pkg:pypi/sluicegate#quarantine-v1"
DERIVATION: Final = "quarantine"
"""The word that a policy's ``stages`` list uses for the right to sign derivations."""
_BUILDER: Final = "pkg:pypi/sluicegate#gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivationStatement:
    """A subject is another one without what a verdict set aside."""

    subject: Subject
    """What remains."""
    parent: Subject
    """What it was taken from."""
    verdict_receipt: Digest
    """The receipt of the quarantine verdict."""
    set_aside: Subject
    """What was taken out."""
    rows: int
    """How many rows were taken out."""
    files: int
    """How many whole files were taken out."""
    issued: datetime
    run: RunIdentity

    invocation: str = ""
    """Different for each run of a gate, so that a copy of a receipt is known as one."""
    stage: str = DERIVATION

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "buildDefinition": {
                "buildType": QUARANTINE_BUILD,
                "externalParameters": {"rows": self.rows, "files": self.files},
                "internalParameters": {"run": self.run.to_json()},
                "resolvedDependencies": [
                    self.parent.to_json(),
                    {"name": "verdict", "digest": {"sha256": self.verdict_receipt.hex}},
                ],
            },
            "runDetails": {
                "builder": {"id": _BUILDER},
                "metadata": {
                    "invocationId": self.invocation,
                    "finishedOn": write_time(self.issued),
                },
                "byproducts": [self.set_aside.to_json()],
            },
        }
        return frame(self.subject, SLSA_PROVENANCE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> DerivationStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing, or another kind of build.
        """
        try:
            definition, details = predicate["buildDefinition"], predicate["runDetails"]
            if definition["buildType"] != QUARANTINE_BUILD:
                raise ReceiptError("the receipt is provenance of another kind of build")
            parent, verdict = definition["resolvedDependencies"]
            (set_aside,) = details["byproducts"]
            parameters = definition["externalParameters"]
            return cls(
                subject=subject,
                parent=Subject.from_json(parent),
                verdict_receipt=read_digest(verdict),
                set_aside=Subject.from_json(set_aside),
                rows=read_count(parameters["rows"]),
                files=read_count(parameters["files"]),
                issued=read_time(details["metadata"]["finishedOn"]),
                invocation=read_text(details["metadata"]["invocationId"]),
                run=read_run(definition["internalParameters"]["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no derivation of the expected shape") from error
