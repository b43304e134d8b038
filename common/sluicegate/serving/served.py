"""The answer to "which version serves", and where its bytes are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sluicegate.canonical import Json
from sluicegate.errors import ClearanceRefused
from sluicegate.evidence import ReceiptRef
from sluicegate.receipts.statement import Subject
from sluicegate.receipts.statements.frame import write_time
from sluicegate.serving.history import Head
from sluicegate.storage.uri import SubjectUri

__all__ = ["Served", "vault_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The version that serves, as a verified head says."""

    model: str
    version: str
    epoch: int
    action: str
    """``promote`` or ``roll-back``."""
    reason: str
    subject: Subject
    """Its digests, and its place in the vault."""
    vault: SubjectUri
    receipt: ReceiptRef
    """The head."""
    key: str
    """Name of the key that signed it, as the policy lists it."""
    issued: datetime

    @classmethod
    def of(cls, head: Head) -> Served:
        """Describe a head that was verified."""
        says = head.says
        return cls(
            model=says.model,
            version=says.version,
            epoch=says.epoch,
            action=says.action,
            reason=says.reason,
            subject=says.subject,
            vault=vault_of(head),
            receipt=ReceiptRef(head.record.index, head.record.digest),
            key=head.record.key,
            issued=says.issued,
        )

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, for task results and programs."""
        return {
            "model": self.model,
            "version": self.version,
            "epoch": self.epoch,
            "action": self.action,
            "reason": self.reason,
            "digest": str(self.subject.digest),
            "uri": self.subject.uri,
            "receipt": [self.receipt.index, str(self.receipt.digest)],
            "key": self.key,
            "issued": write_time(self.issued),
        }


def vault_of(head: Head) -> SubjectUri:
    """Return the vault that a head's subject lies in.

    Raises:
        ClearanceRefused: its URI is not that of a version in a vault.
    """
    uri = SubjectUri.parse(head.says.subject.uri)
    tail = f"/models/{head.says.model}/{head.says.version}"
    if not uri.path.endswith(tail):
        raise ClearanceRefused(
            f"{head} names {uri}, which is no place of {head.says.version} in a vault",
            next_step="promote the version again",
        )
    return SubjectUri(uri.scheme, uri.path.removesuffix(tail))
