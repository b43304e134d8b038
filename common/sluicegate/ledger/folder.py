"""A ledger in a local folder, for many processes at once, without a server.

::

    checkpoint            how many entries, which root; signed
    tile/...              tiles and bundles of entries, by their C2SP names
    witnessed             the newest checkpoint that witnesses cosigned, if any
    journal               entries that the disk is not yet known to have in bundles
    commit                the lock of whoever publishes
    torn-...              what a killed writer or a power failure left, moved aside

**Appending.** A writer puts its entries into the journal under the journal's lock, lets go of
it, and waits for the commit lock. Whoever gets that first looks whether the checkpoint covers
its entries already. If not, it is the leader: it syncs the journal once, for itself and for all
who wait behind it, computes the tiles of everything that was synced, and publishes tiles and
then the checkpoint, each by renaming. So N writers share one sync, and no daemon is needed.

**What survives.** Tiles and checkpoint are a function of the entries in their order, so what a
killed leader began the next one ends in the same bytes: two heads cannot come to be. They
are not synced one by one; the journal has their entries until bundles and full tiles were
synced, and drops them then (*rotates*). A checkpoint stands before the journal of a new
ledger, so a missing one is damage.

**Before signing** the last checkpoint is read again, its signature checked, and the tree must
still have its root over its entries. If it has not, nothing is signed.

**Readers** take no lock: first the checkpoint, then the tiles of its size, which never change.

The locks are `flock`: a folder on a file system without working ones needs another kind of
ledger. That an old state of the whole folder was put back only shows to who remembers a
newer checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger.base import MAX_ENTRY_BYTES, LedgerState
from sluicegate.ledger.folder_check import check_folder
from sluicegate.ledger.folder_files import FolderFiles
from sluicegate.ledger.folder_writer import FolderWriter, check_origin
from sluicegate.ledger.note import ED25519, NoteSigner, SignedCheckpoint
from sluicegate.ledger.settings import DEFAULT_ORIGIN
from sluicegate.ledger.signatures import WITNESSED, merge_signatures
from sluicegate.ledger.tiles import TileTree
from sluicegate.merkle import EMPTY_ROOT

__all__ = ["FolderLedger"]

_RESTORE: Final = "keep the files as evidence and restore the ledger from a copy"


class FolderLedger:
    """The ledger in a folder; see :class:`Ledger`. Threads may share one."""

    def __init__(
        self, folder: Path, *, origin: str = DEFAULT_ORIGIN, signer: NoteSigner | None = None
    ) -> None:
        """Use the ledger in ``folder``; the first append makes it.

        Args:
            folder: where it is.
            origin: name of the log in its checkpoints.
            signer: signs them; without one they are not signed. Readers need none.

        Raises:
            ConfigurationError: the signer is another log's, or a witness.
        """
        if signer is not None and (signer.name, signer.kind) != (origin, ED25519):
            raise ConfigurationError(
                f"the key {signer.name!r} does not sign for the ledger {origin!r}",
                next_step="use the key that was made for this ledger",
            )
        self.folder: Final = folder
        self.origin: Final = origin
        self._signer = signer
        self._files = FolderFiles(folder)
        self._writer = FolderWriter(folder, self._files, origin=origin, signer=signer)

    @property
    def tiles(self) -> FolderFiles:
        """The files; see :class:`Ledger`."""
        return self._files

    @property
    def size(self) -> int:
        """Number of entries; see :class:`Ledger`."""
        signed = self.checkpoint()
        return signed.checkpoint.size if signed else 0

    def checkpoint(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint, unverified; see :class:`Ledger`."""
        with self._reading():
            # In this order: a checkpoint is there before anything else is.
            begun = any((self.folder / name).exists() for name in ("journal", "tile"))
            note = self._files.read("checkpoint")
        if note is None and begun:
            raise LedgerError(
                f"the ledger {self.folder} is damaged: its checkpoint is missing",
                next_step=_RESTORE,
            )
        if note is None:
            return None
        try:
            return SignedCheckpoint.parse(note)
        except LedgerError as error:
            raise LedgerError(
                f"the checkpoint of the ledger {self.folder} is unreadable: {error.what}",
                next_step="if power failed, the next append repairs it; otherwise " + _RESTORE,
            ) from error

    def append(self, entry: bytes) -> int:
        """Add one entry; see :class:`Ledger`."""
        return self.append_many([entry]).start

    def append_many(self, entries: Sequence[bytes]) -> range:
        """Add entries next to each other; see :class:`Ledger`."""
        for entry in entries:
            if not 0 < len(entry) <= MAX_ENTRY_BYTES:
                raise LedgerError(f"an entry has 1 to {MAX_ENTRY_BYTES} bytes, not {len(entry)}")
        if not entries:
            return range(self.size, self.size)
        with self._writing():
            return self._writer.append(entries)

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield entries from ``start`` on; see :class:`Ledger`."""
        yield from TileTree(self._files, self.size).entries(start)

    def get(self, index: int) -> bytes:
        """Return one entry; see :class:`Ledger`."""
        size = self.size
        if not 0 <= index < size:
            raise LedgerError(
                f"the ledger {self.folder} of {size} entries has no entry {index}",
                next_step="the receipt was not logged here, or the ledger was truncated: restore "
                "it",
            )
        return TileTree(self._files, size).entry(index)

    def verify(self) -> LedgerState:
        """Read everything and check it; see :class:`Ledger`.

        Beyond the tree of the newest checkpoint that is: older partial tiles, the journal, and
        what was moved aside.

        Raises:
            LedgerError: something is damaged; says which entry or file.
        """
        signed = self.checkpoint()
        if signed is None:
            return LedgerState(size=0, root=EMPTY_ROOT)
        check_origin(signed, self.folder, self.origin, self._signer)
        with self._reading():
            return check_folder(self.folder, self._files, signed.checkpoint)

    def repair(self) -> None:
        """Publish what a killed writer left in the journal, and make torn files again.

        The next append does the same; this is for a ledger that waits for none.

        Raises:
            LedgerError: the ledger is damaged beyond that, or cannot be written.
        """
        with self._writing():
            if (self.folder / "journal").exists():
                self._writer.commit()

    def witnessed(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint that signatures were attached to, unverified.

        It may be older than :meth:`checkpoint`, whose cosignatures are still to come.

        Raises:
            LedgerError: it cannot be read.
        """
        note = self._files.read(WITNESSED)
        return SignedCheckpoint.parse(note) if note is not None else None

    def attach(self, note: bytes) -> bool:
        """Add the signature lines of ``note`` to the newest checkpoint, if it has that text.

        The caller owes: that the lines verify.

        Returns:
            False if another checkpoint is the newest one by now.

        Raises:
            LedgerError: not a checkpoint, or it cannot be written.
        """
        given = SignedCheckpoint.parse(note)
        with self._writing(), self._writer.lock():
            now = self.checkpoint()
            merged = merge_signatures(now, given) if now is not None else None
            if merged is None:
                return False
            self._files.publish(merged)
            self._files.publish(merged, WITNESSED)
        return True

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerError(
                f"cannot read the ledger {self.folder}: {error.strerror}",
                next_step="check the permissions of this worker",
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerError(
                f"cannot append to the ledger {self.folder}: {error.strerror}",
                next_step="check permissions and free space; nothing was acknowledged",
            ) from error
