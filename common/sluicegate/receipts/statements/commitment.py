"""That a tree of salted leaves was built over a subject's files or rows.

Whoever holds the secret behind the salts can later show single leaves, and with them that a
file or row is part of the subject, without showing any other (:mod:`sluicegate.disclosure`).
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
    read_run,
    read_text,
    read_time,
    write_time,
)

__all__ = ["COMMITMENT", "COMMITMENT_TYPE", "CommitmentStatement"]

COMMITMENT: Final = "commitment"
"""The word that a policy's ``stages`` list uses for the right to sign commitments."""
COMMITMENT_TYPE: Final = "pkg:pypi/sluicegate#commitment-v1"
_OF: Final = ("files", "rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentStatement:
    """A salted tree over a subject."""

    subject: Subject
    of: str
    """``files`` or ``rows``."""
    root: Digest
    """RFC 6962 root over the salted leaves."""
    size: int
    """Number of leaves."""
    issued: datetime
    run: RunIdentity
    invocation: str = ""
    """Different for each commitment, so that a copy of a receipt is known as one."""
    stage: str = COMMITMENT

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "of": self.of,
            "tree": {"root": self.root.hex, "size": self.size},
            "issuedAt": write_time(self.issued),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        return frame(self.subject, COMMITMENT_TYPE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> CommitmentStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing or of the wrong type.
        """
        try:
            return cls(
                subject=subject,
                of=_OF[_OF.index(predicate["of"])],
                root=Digest(predicate["tree"]["root"]),
                size=read_count(predicate["tree"]["size"]),
                issued=read_time(predicate["issuedAt"]),
                invocation=read_text(predicate["invocationId"]),
                run=read_run(predicate["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no commitment of the expected shape") from error
