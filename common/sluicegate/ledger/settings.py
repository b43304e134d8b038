"""Which ledger a policy means, and what must be true of it before anybody believes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.ledger.note import COSIGNATURE, ED25519, NoteVerifier
from sluicegate.storage.uri import SubjectUri

__all__ = ["DEFAULT_ORIGIN", "LedgerSettings"]

DEFAULT_ORIGIN: Final = "sluicegate.local/ledger"
"""Origin of a ledger that nobody signs: it stays in one evidence folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """The ``ledger`` part of a policy.

    Raises:
        ConfigurationError: more witnesses are asked for than are listed, a key of the wrong
            kind, or a witness listed twice.
    """

    location: SubjectUri
    """Folder or ``s3://bucket/prefix`` that holds it."""
    key: NoteVerifier | None = None
    """The key that signs its checkpoints. Without one, a ledger is only as safe as its
    folder: whoever can write there can write another history."""
    witnesses: tuple[NoteVerifier, ...] = ()
    """Witnesses that are believed."""
    witnessed_by: int = 0
    """How many of them must have cosigned a checkpoint."""
    witnessed_within: timedelta | None = None
    """How old a cosignature may be. Without a limit, a ledger that was put back to a state
    that witnesses saw once is as good as the newest."""
    remember: Path | None = None
    """Where a consumer keeps the newest checkpoint that it saw. With it, a ledger that was
    truncated or replaced is seen even if it is signed."""
    links: bool = False
    """A shared folder without working locks: writers are kept apart by creating files."""

    object_lock: str | None = None
    """On S3, ``COMPLIANCE`` or ``GOVERNANCE``: what is written cannot be deleted for a while."""
    retain_days: int = 0
    """For how many days."""

    def __post_init__(self) -> None:
        if (self.object_lock is None) != (self.retain_days == 0) or self.retain_days < 0:
            raise ConfigurationError("Object Lock takes a mode and a number of days from 1")
        if self.object_lock is not None and self.location.scheme != "s3":
            raise ConfigurationError("only a ledger on s3:// can have Object Lock")
        if self.key is not None and any(w.public == self.key.public for w in self.witnesses):
            raise ConfigurationError("the log's own key is listed as a witness")
        if self.key is not None and self.key.kind != ED25519:
            raise ConfigurationError(f"{self.key.name} is a witness's key, not a log's")
        if any(witness.kind != COSIGNATURE for witness in self.witnesses):
            raise ConfigurationError("a log's key is listed as a witness")
        if len({witness.public for witness in self.witnesses}) != len(self.witnesses):
            raise ConfigurationError("a witness is listed twice")
        if not 0 <= self.witnessed_by <= len(self.witnesses):
            raise ConfigurationError(
                f"{self.witnessed_by} cosignatures are asked of {len(self.witnesses)} witnesses"
            )
        if self.witnesses and self.key is None:
            raise ConfigurationError(
                "witnesses are listed, and no key of the log", next_step="name `key` as well"
            )

    @property
    def origin(self) -> str:
        """The origin line of its checkpoints."""
        return self.key.name if self.key else DEFAULT_ORIGIN
