"""What a ledger of receipts does. Kept narrow: any append-only log can stand behind it.

Whatever stores it, a ledger is the same set of files: a checkpoint, the tiles of its Merkle
tree and bundles of entries, as C2SP tlog-tiles names them. So reading, proving and checking
are written once, over a :class:`TileSource`; the kinds of ledger differ only in how an
append becomes durable and how two writers are kept apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sluicegate.ledger.note import SignedCheckpoint

__all__ = ["MAX_ENTRY_BYTES", "Ledger", "LedgerState", "TileSource"]

MAX_ENTRY_BYTES: Final = 65_535
"""As in C2SP tlog-tiles, whose entry length is a 16-bit number."""


class TileSource(Protocol):
    """Read access to the files of a ledger, by their C2SP names."""

    def read(self, name: str) -> bytes | None:
        """Return a whole file, None if there is none.

        Args:
            name: such as ``checkpoint``, ``tile/0/x001/234`` or ``tile/entries/000.p/7``.

        Raises:
            LedgerError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """What a complete check of a ledger established."""

    size: int
    """Number of entries."""
    root: bytes
    """RFC 6962 root over the entries, 32 bytes."""
    torn_bytes: int = 0
    """Length of an unacknowledged broken tail, which the next append moves aside."""


class Ledger(Protocol):
    """An append-only sequence of entries. What was acknowledged is never lost."""

    @property
    def tiles(self) -> TileSource:
        """The files, for whoever reads, proves or copies."""
        ...

    @property
    def size(self) -> int:
        """Number of entries that the newest checkpoint covers; 0 for a new ledger.

        Raises:
            LedgerError: the checkpoint cannot be read.
        """
        ...

    def checkpoint(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint, unverified; None for a ledger that was never written.

        Raises:
            LedgerError: it cannot be read.
        """
        ...

    def append(self, entry: bytes) -> int:
        """Add one entry; return its index once it is durable and covered by the checkpoint.

        Raises:
            LedgerError: the ledger is damaged or cannot be written.
        """
        ...

    def append_many(self, entries: Sequence[bytes]) -> range:
        """Add entries together, next to each other; return their indices once all are durable.

        Raises:
            LedgerError: the ledger is damaged or cannot be written; nothing was acknowledged.
        """
        ...

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield ``(index, entry)`` from ``start`` up to the newest checkpoint.

        Entries are checked against the leaf hashes of their tile; only :meth:`verify` and
        proofs check those against the root.

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

    def verify(self) -> LedgerState:
        """Read everything and check it: entries, every tile, the checkpoint's root.

        Raises:
            LedgerError: something is damaged; says which entry or file.
        """
        ...
