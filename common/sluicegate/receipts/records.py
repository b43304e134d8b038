"""What a stage may know of the ledger: the statements that the policy's keys signed.

The gate that runs a stage reads and authenticates the ledger; the stage only looks. So a
stage can walk a chain of provenance without a key, a policy or a storage of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sluicegate.canonical import Digest
from sluicegate.receipts.statement import PRIVILEGED, Statement

__all__ = ["Record", "Records", "Rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A statement that a trusted key signed, where it was first logged."""

    index: int
    """Place in the ledger."""
    digest: Digest
    """SHA-256 of the receipt's bytes."""
    payload: Digest
    """SHA-256 of the signed payload: the same for every copy, however it is wrapped."""
    statement: Statement
    key: str
    """Name of the key, as the policy lists it."""
    key_id: str
    """SHA-256 of the key's PEM text."""
    may_sign: tuple[str, ...] = ("*",)
    """What the policy trusts that key for, as it is written there; :meth:`signs` reads it."""
    required: bool = False
    """Of a verdict: whether some purpose of the policy asks exactly this, so that nobody's own
    choice of options stands behind it."""
    objection: str = ""
    """Why it cannot speak for a subject (any more), e.g. that its key has expired."""

    def signs(self, stage: str) -> bool:
        """Return whether the key is trusted for a stage, or a word such as ``production``."""
        return stage in self.may_sign or ("*" in self.may_sign and stage not in PRIVILEGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An entry of the ledger that the policy does not listen to."""

    index: int
    digest: Digest
    """SHA-256 of the entry."""
    reason: str
    earlier: Record | None = None
    """What it says, if all that speaks against it is that its verdict was made under other
    rules; None for everything else, which may be anybody's words."""


class Records(Protocol):
    """The statements of a ledger, in order, each copy once."""

    def __iter__(self) -> Iterator[Record]:
        """Yield what trusted keys signed, oldest first."""
        ...

    @property
    def rejected(self) -> Sequence[Rejected]:
        """Entries that are malformed, or by keys that the policy does not trust for that."""
        ...

    @property
    def size(self) -> int:
        """Number of entries that the ledger had when it was read."""
        ...

    def bundle(self, index: int) -> bytes:
        """Return the receipt at a place of the ledger, as it was logged.

        Raises:
            LedgerError: there is no such entry.
        """
        ...
