"""What a ledger of receipts does. Kept narrow: any append-only log can stand behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

__all__ = ["Ledger"]


class Ledger(Protocol):
    """An append-only sequence of entries. What was acknowledged is never lost."""

    def append(self, entry: bytes) -> int:
        """Add one entry; return its index once it is durable.

        Raises:
            LedgerError: the ledger is damaged or cannot be written.
        """
        ...

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield ``(index, entry)`` from ``start`` on, checked.

        Raises:
            LedgerError: the ledger is damaged.
        """
        ...

    def get(self, index: int) -> bytes:
        """Return one entry.

        Raises:
            LedgerError: there is no such entry, or it is damaged.
        """
        ...
