"""That a verifier found a subject fit for a purpose, for tools that only read such summaries.

sluicegate's own consumers never rely on one: they verify what it summarises.

Source: SLSA verification summary v1.
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
    read_digest,
    read_text,
    read_time,
    write_time,
)

__all__ = ["SUMMARY", "SUMMARY_TYPE", "SummaryStatement"]

SUMMARY: Final = "summary"
"""The word that a policy's ``stages`` list uses for the right to sign summaries."""
SUMMARY_TYPE: Final = "https://slsa.dev/verification_summary/v1"
_VERIFIER: Final = "pkg:pypi/sluicegate#verify"
_LEVEL: Final = "SLUICEGATE_CLEARED_FOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryStatement:
    """A subject was verified for a purpose, and passed."""

    subject: Subject
    purpose: str
    policy: Digest
    """Digest of the policy's rules."""
    receipts: tuple[Digest, ...]
    """Receipts that the purpose rests on."""
    issued: datetime
    run: RunIdentity = RunIdentity(orchestrator="cli")  # noqa: RUF009  frozen
    """Not part of the predicate."""
    invocation: str = ""
    stage: str = SUMMARY

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "verifier": {"id": _VERIFIER},
            "timeVerified": write_time(self.issued),
            "resourceUri": self.subject.uri,
            "policy": {
                "uri": f"pkg:pypi/sluicegate#purpose/{self.purpose}",
                "digest": {"sha256": self.policy.hex},
            },
            "inputAttestations": [{"digest": {"sha256": item.hex}} for item in self.receipts],
            "verificationResult": "PASSED",
            "verifiedLevels": [_LEVEL + self.purpose.upper().replace("-", "_")],
            "slsaVersion": "1.1",
        }
        return frame(self.subject, SUMMARY_TYPE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> SummaryStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing, or it is no pass of ours.
        """
        try:
            passed = predicate["verificationResult"] == "PASSED"
            if predicate["verifier"] != {"id": _VERIFIER} or not passed:
                raise ReceiptError("the receipt is a summary of another verifier, or no pass")
            return cls(
                subject=subject,
                purpose=read_text(predicate["policy"]["uri"]).rpartition("/")[2],
                policy=read_digest(predicate["policy"]),
                receipts=tuple(map(read_digest, predicate["inputAttestations"])),
                issued=read_time(predicate["timeVerified"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no summary of the expected shape") from error
