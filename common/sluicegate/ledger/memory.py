"""The newest checkpoint that somebody saw, kept to compare the next one with.

A signature says whose a ledger is. Only a memory says that it is still the same ledger: not
shorter, not another one of equal length, not rewritten. The file is a signed note, as it was
read. It never goes back; whoever reads and writes it holds a lock beside it. What does not
fit is not remembered: both checkpoints are kept next to the file, as the evidence.

A memory that was deleted begins anew with whatever it sees first. Keep it where whoever can
write the ledger cannot.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import TileSource
from sluicegate.ledger.note import MAX_NOTE_BYTES, Checkpoint, SignedCheckpoint
from sluicegate.ledger.proofs import verify_consistency
from sluicegate.ledger.tiles import TileTree
from sluicegate.storage.local import open_plain, write_atomically

__all__ = ["LedgerRewrittenError", "Memory", "must_extend"]

_ATTEMPTS: Final = 4
"""How often a checkpoint that is older than the remembered one is read again."""
_PAUSE_SECONDS: Final = 0.25
"""Between them: some network file systems answer from a cache for a moment."""


class LedgerRewrittenError(LedgerError):
    """Two checkpoints cannot both be of one ledger that only grows.

    Attributes:
        evidence: files that hold the checkpoints, if they were kept.
    """

    evidence: tuple[str, ...] = ()


class Memory:
    """One remembered checkpoint in a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        """Use the file ``path``, which need not exist."""
        self._path = path

    def advance(
        self, newest: Callable[[], SignedCheckpoint | None], tiles: TileSource
    ) -> SignedCheckpoint | None:
        """Return the newest checkpoint after comparing it with the remembered one, and keep it.

        Args:
            newest: reads and authenticates the newest checkpoint.
            tiles: the ledger's files, from which the proof comes.

        Raises:
            LedgerRewrittenError: the ledger was truncated, rolled back, forked, rewritten or
                replaced; says which.
            LedgerError: a file cannot be read or written, or the tiles are damaged.
        """
        with self.locked():
            old = self.read()
            found = self.next(old, newest, tiles)
            if found is not None and (old is None or found.note != old.note):
                self.write(found.note)
            return found

    def next(
        self,
        old: SignedCheckpoint | None,
        newest: Callable[[], SignedCheckpoint | None],
        tiles: TileSource,
    ) -> SignedCheckpoint | None:
        """Return the newest checkpoint after comparing it with ``old``; writes nothing else.

        Raises:
            LedgerError: as for :meth:`advance`.
        """
        found = newest()
        if old is None:
            return found
        for _ in range(_ATTEMPTS):
            if found is not None and found.checkpoint.size >= old.checkpoint.size:
                break
            time.sleep(_PAUSE_SECONDS)
            found = newest()
        try:
            must_extend(tiles, old.checkpoint, found.checkpoint if found else None)
        except LedgerRewrittenError as error:
            error.evidence = self.keep(old, found)
            error.next_step += f"; kept as evidence: {', '.join(error.evidence)}"
            raise
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from reading and writing it.

        Raises:
            LedgerError: the lock cannot be taken.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(
                self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600
            )
        except OSError as error:
            raise self._failed("lock", error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self) -> SignedCheckpoint | None:
        """Return what is remembered, None for nothing yet. Hold the lock.

        Raises:
            LedgerError: it cannot be read, or is no checkpoint.
        """
        try:
            with open_plain(self._path) as file:
                note = file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from error
        try:
            return SignedCheckpoint.parse(note)
        except LedgerError as error:
            raise LedgerError(
                f"what {self._path} remembers of the ledger is damaged: {error.what}",
                next_step="compare the ledger with another copy before you remove this file; "
                "without it, a replaced ledger is not seen",
            ) from error

    def write(self, note: bytes) -> None:
        """Remember a checkpoint. Hold the lock; what it replaces must be its prefix.

        Raises:
            LedgerError: it cannot be written.
        """
        try:
            write_atomically(self._path, note, mode=0o600)
        except OSError as error:
            raise self._failed("write", error) from error

    def keep(self, old: SignedCheckpoint, found: SignedCheckpoint | None) -> tuple[str, ...]:
        """Keep two checkpoints that contradict each other; return where.

        Raises:
            LedgerError: they cannot be written.
        """
        notes = [("remembered", old.note)] + ([("found", found.note)] if found else [])
        pair = hashlib.sha256(b"\n".join(note for _, note in notes)).hexdigest()[:16]
        paths = []
        for word, note in notes:
            path = self._path.with_name(f"{self._path.name}.{pair}-{word}")
            try:
                write_atomically(path, note, mode=0o600)
            except OSError as error:
                raise self._failed("keep evidence beside", error) from error
            paths.append(str(path))
        return tuple(paths)

    def _failed(self, what: str, error: OSError) -> LedgerError:
        return LedgerError(
            f"cannot {what} {self._path}, which remembers the ledger: {error.strerror}",
            next_step="check the permissions of this worker",
        )


def must_extend(tiles: TileSource, old: Checkpoint, new: Checkpoint | None) -> None:
    """Return if a checkpoint is of the same ledger, grown or not.

    The proof is made from the ledger's tiles, and checked like anybody else's.

    Raises:
        LedgerRewrittenError: it is not.
        LedgerError: the tiles are not those of the new checkpoint, so nothing can be said.
    """
    if new is None:
        raise _rewritten(f"the ledger is gone: it had {old.size} entries", old, new)
    if new.origin != old.origin:
        raise _rewritten(f"the ledger was replaced by {new.origin!r}", old, new)
    if new.size < old.size:
        raise _rewritten("the ledger was truncated or rolled back", old, new)
    if new.size == old.size:
        if new.root != old.root:
            raise _rewritten("the ledger was forked: one size, two roots", old, new)
        return
    if old.size == 0:
        return  # an empty ledger is the beginning of every other
    tree = TileTree(tiles, new.size)
    if tree.root() != new.root:
        raise LedgerError(
            f"the tiles of the ledger {new.origin!r} are not those of its checkpoint over "
            f"{new.size} entries, so nothing shows that it only grew",
            next_step="verify the ledger; keep its files as evidence",
        )
    try:
        verify_consistency(
            size1=old.size,
            size2=new.size,
            root1=old.root,
            root2=new.root,
            proof=tree.consistency_proof(old.size),
        )
    except LedgerError as error:
        raise _rewritten("the ledger was rewritten: it does not continue", old, new) from error


def _rewritten(what: str, old: Checkpoint, new: Checkpoint | None) -> LedgerRewrittenError:
    found = f"{new.size} with root {new.root.hex()[:12]}" if new else "no checkpoint"
    return LedgerRewrittenError(
        f"{what}; remembered of {old.origin!r}: {old.size} entries with root "
        f"{old.root.hex()[:12]}, found: {found}",
        next_step="do not use it; find out who wrote to it, and compare with other copies",
    )
