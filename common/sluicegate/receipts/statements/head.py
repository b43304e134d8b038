"""Which version of a model serves: the newest of a chain of signed heads.

Each head names the one before it and has an epoch that is one higher, also when it goes back
to an older version: so an old head that somebody plays back is seen by its epoch.
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

__all__ = ["HEAD", "HEAD_TYPE", "HeadStatement"]

HEAD: Final = "head"
"""The word that a policy's ``stages`` list uses for the right to say which version serves."""
HEAD_TYPE: Final = "pkg:pypi/sluicegate#head-v1"
_ACTIONS: Final = ("promote", "roll-back")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadStatement:
    """This version of a model serves from now on."""

    subject: Subject
    """The version."""
    model: str
    """Name of the model."""
    version: str
    """Name of the version."""
    action: str
    """``promote`` or ``roll-back``."""
    epoch: int
    """1 for the first head of a model; one more with every head."""
    previous: Digest | None
    """Digest of the receipt of the head before, None for the first."""
    issued: datetime
    run: RunIdentity
    reason: str = ""
    invocation: str = ""
    """Different for each head, so that a copy of a receipt is known as one."""
    stage: str = HEAD

    def to_json(self) -> dict[str, Json]:
        """Return the statement."""
        predicate: dict[str, Json] = {
            "model": self.model,
            "version": self.version,
            "action": self.action,
            "epoch": self.epoch,
            "previous": {"digest": {"sha256": self.previous.hex}} if self.previous else None,
            "reason": self.reason,
            "issuedAt": write_time(self.issued),
            "invocationId": self.invocation,
            "run": self.run.to_json(),
        }
        return frame(self.subject, HEAD_TYPE, predicate)

    @classmethod
    def from_json(cls, subject: Subject, predicate: Json) -> HeadStatement:
        """Read the predicate of a verified statement.

        Raises:
            ReceiptError: members are missing, or the first head has a predecessor.
        """
        try:
            previous = predicate["previous"]
            statement = cls(
                subject=subject,
                model=read_text(predicate["model"]),
                version=read_text(predicate["version"]),
                action=_ACTIONS[_ACTIONS.index(predicate["action"])],
                epoch=read_count(predicate["epoch"]),
                previous=None if previous is None else read_digest(previous),
                reason=read_text(predicate["reason"]),
                issued=read_time(predicate["issuedAt"]),
                invocation=read_text(predicate["invocationId"]),
                run=read_run(predicate["run"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError("the receipt is no head of the expected shape") from error
        if statement.epoch < 1 or (statement.epoch == 1) != (statement.previous is None):
            raise ReceiptError("the head contradicts itself: epoch 1 alone has none before it")
        return statement
