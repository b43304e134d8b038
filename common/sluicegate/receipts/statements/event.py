"""That something happened which is no verdict.

A policy changed, a key was revoked, a task was marked successful by hand. The subject is the
document that changed, or one that says what happened. Nothing is cleared by an event; it is
there to be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluicegate.canonical import Json
from sluicegate.errors import ReceiptError
from sluicegate.model import RunIdentity
from sluicegate.receipts.statements.frame import (
    Subject,
    frame,
    read_run,
    read_text,
    read_time,
    write_time,
)

__all__ = ["EVENT", "EVENT_TYPE", "EventStatement"]

EVENT: Final = "event"
"""The word that a policy's ``stages`` list uses for the right to record events."""
EVENT_TYPE: Final = "pkg:pypi/sluicegate#event-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStatement:
    """Something happened."""

    subject: Subject
    kind: str
    """Dotted words, such as ``policy.changed`` or ``key.revoked``."""
    details: Mapping[str, str]
    """Short texts; never a secret, never a data value."""
    issued: datetime
    run: RunIdentity
    invocation: str = ""
    """Different for each event, so that a copy of a receipt is known as one."""
    stage: str = EVENT

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "kind": self.kind,
            "details": dict(self.details),
            "issuedAt": write_time(self.issued),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        return frame(self.subject, EVENT_TYPE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> EventStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing or of the wrong type.
        """
        try:
            details = predicate["details"]
            return cls(
                subject=subject,
                kind=read_text(predicate["kind"]),
                details={read_text(key): read_text(text) for key, text in details.items()},
                issued=read_time(predicate["issuedAt"]),
                invocation=read_text(predicate["invocationId"]),
                run=read_run(predicate["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no event of the expected shape") from error
