"""The chain of batches: winning the next places of a ledger, and rolling it forward.

An append is decided at one point: who creates the batch at the newest checkpoint's size has
these places, for ever, because a batch is never deleted or replaced. Everything after that
follows from the batches alone (tiles, root, and an Ed25519 signature over them), so whoever
comes next can finish what a killed writer began, and gets the same bytes. A batch at size n
is created only by a writer that read a checkpoint of size n, so the batches are one chain: a
writer with an old view finds its place taken, and a checkpoint that was put back is rolled
forward along the same chain. There cannot be two heads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.batches import NONCE_BYTES, Batch, batch_name, open_batch, seal_batch
from sluicegate.ledger.note import Checkpoint, NoteSigner, SignedCheckpoint, sign_checkpoint
from sluicegate.ledger.object_files import KeptFiles, Objects, Overlay
from sluicegate.ledger.patience import Patience
from sluicegate.ledger.proofs import verify_consistency
from sluicegate.ledger.signatures import CHECKPOINT, WITNESSED, merge_signatures
from sluicegate.ledger.tiles import TILE_WIDTH, Growth, TileTree, entries_path, grow, tile_path
from sluicegate.merkle import EMPTY_ROOT

__all__ = ["Chain", "Head", "other_root"]

_STALE_READS: Final = 5
"""How often an older checkpoint than before is taken for a cache, before it is an attack."""
_UPLOADS: Final = 8
"""Files written at the same time after a large append."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest checkpoint and the tag under which it may be replaced."""

    checkpoint: Checkpoint
    signed: SignedCheckpoint | None
    """None for a ledger without one, whose ``checkpoint`` is that of an empty log."""
    tag: str | None


class Chain:
    """The writers' view of a ledger on a store; for one thread at a time."""

    def __init__(
        self, objects: Objects, *, origin: str, signer: NoteSigner | None, patience: float
    ) -> None:
        """Work on the ledger in ``objects``, waiting at most ``patience`` seconds for others.

        Raises:
            LedgerError: the key has another name than the origin.
        """
        if signer is not None and signer.name != origin:
            raise LedgerError(f"the key {signer.name!r} cannot sign for the log {origin!r}")
        self._objects = objects
        self._origin = origin
        self._signer = signer
        self._patience = patience
        self._edge = KeptFiles(objects)
        self._empty: Final = Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
        self._last = self._empty
        self._fits = self._empty

    def place(self, entries: Sequence[bytes]) -> int:
        """Win the next places for entries; return the first, once the checkpoint covers all.

        Raises:
            LedgerError: the ledger is damaged or was put back, cannot be written, or other
                writers were always first.
        """
        patience = self._waiting("other writers were always first")
        nonce, seen = os.urandom(NONCE_BYTES), -1
        while True:
            head = self.head()
            self._must_have_the_key(head)
            self._must_fit_the_tiles(head.checkpoint)
            first = head.checkpoint.size
            batch = Batch(first=first, nonce=nonce, entries=tuple(entries))
            sealed = seal_batch(batch, origin=self._origin, signer=self._signer)
            if self._objects.create(batch_name(first), sealed):
                self._finish(head, batch)
                return first
            found = self.batch(first)
            if found is not None and found.nonce == nonce:  # created, and the answer was lost
                self._finish(head, batch)
                return first
            if found is not None and first == seen:  # its writer had the time to finish it
                self._finish(head, found)
            else:
                seen = first if found is not None else seen
                patience.wait()

    def attach(self, given: SignedCheckpoint) -> bool:
        """Add signature lines to the newest checkpoint, if it has that text.

        Raises:
            LedgerError: the checkpoint is damaged or cannot be written.
        """
        patience = self._waiting("the checkpoint changes all the time")
        while True:
            head = self.head()
            merged = merge_signatures(head.signed, given) if head.signed else None
            if merged is None:
                return False
            if self._objects.replace(CHECKPOINT, merged, head.tag):
                break
            patience.wait()
        while not self._keep_witnessed(SignedCheckpoint.parse(merged)):
            patience.wait()
        return True

    def head(self) -> Head:
        """Return the newest checkpoint after checking everything that a writer can know.

        Raises:
            LedgerError: it is of another log, not by the ledger's key, or does not extend the
                one that this process saw before.
        """
        patience = self._waiting("the checkpoint is older than it was")
        for _ in range(_STALE_READS):
            head = self._read_head()
            if head.checkpoint.size >= self._last.size:
                break
            patience.wait()  # some network file systems answer from a cache
        self._must_extend(self._last, head.checkpoint)
        self._last = head.checkpoint
        return head

    def _read_head(self) -> Head:
        found = self._objects.read(CHECKPOINT)
        if found is None:
            return Head(checkpoint=self._empty, signed=None, tag=None)
        signed = SignedCheckpoint.parse(found[0])
        checkpoint = signed.checkpoint
        if checkpoint.origin != self._origin:
            raise LedgerError(
                f"the ledger in {self._objects.where} is {checkpoint.origin!r}, not "
                f"{self._origin!r}",
                next_step="check the ledger's location and key in the policy",
            )
        if self._signer is not None:
            signed.verify(self._signer.verifier)
        return Head(checkpoint=checkpoint, signed=signed, tag=found[1])

    def _must_have_the_key(self, head: Head) -> None:
        if self._signer is None and head.signed is not None and head.signed.signatures:
            raise LedgerError(
                f"the ledger in {self._objects.where} is signed, and this writer has no key",
                next_step="give it the ledger's signing key",
            )

    def _must_fit_the_tiles(self, checkpoint: Checkpoint) -> None:
        """Put nothing down behind a checkpoint that was forged or put in from elsewhere."""
        if checkpoint == self._fits:
            return
        root = TileTree(self._edge, checkpoint.size).root()
        if root != checkpoint.root:
            raise other_root(
                self._objects.where, checkpoint.size, expected=checkpoint.root, found=root
            )
        self._fits = checkpoint

    def _must_extend(self, old: Checkpoint, new: Checkpoint) -> None:
        if new.size < old.size:
            raise LedgerError(
                f"the ledger in {self._objects.where} had {old.size} entries and has {new.size}",
                next_step="it was truncated or put back: find out who did; nothing was signed",
            )
        if old.size and (new.size, new.root) != (old.size, old.root):
            proof = TileTree(self._edge, new.size).consistency_proof(old.size)
            verify_consistency(
                size1=old.size, size2=new.size, root1=old.root, root2=new.root, proof=proof
            )

    def batch(self, first: int) -> Batch | None:
        """Return the batch at a place, None if there is none.

        Raises:
            LedgerError: it cannot be read, or is no batch of this ledger.
        """
        found = self._objects.read(batch_name(first))
        if found is None:
            return None
        verifier = self._signer.verifier if self._signer else None
        return open_batch(found[0], first, origin=self._origin, verifier=verifier)

    def _finish(self, head: Head, batch: Batch) -> None:
        """Publish what follows from a batch; return once the checkpoint covers it."""
        old = head.checkpoint
        if head.signed is None:
            self._must_be_the_only(batch)
        growth = self._grow(old, batch.entries)
        self._publish(growth.files)
        new = Checkpoint(origin=self._origin, size=growth.size, root=growth.root)
        note = sign_checkpoint(new, self._signer)
        patience = self._waiting("the checkpoint changes all the time")
        while not self._objects.replace(CHECKPOINT, note, head.tag):
            head = self.head()
            if head.checkpoint.size >= new.size:  # somebody else finished it
                self._must_extend(new, head.checkpoint)
                break
            patience.wait()
        else:
            self._last = self._fits = new
        self._edge.keep(growth.files)
        self._tidy(old.size, new.size)

    def _must_be_the_only(self, batch: Batch) -> None:
        """Refuse a ledger that lost its checkpoint.

        Without one there is at most the very first batch: a second is created only after the
        checkpoint over the first was there.
        """
        more = self._objects.read(batch_name(batch.end)) is not None
        if more and self._objects.read(CHECKPOINT) is None:
            raise LedgerError(
                f"the checkpoint of {self._objects.where} is missing, and there is more than one "
                "batch",
                next_step="somebody deleted it: find out who, and restore it from a copy or "
                "from a version that the store kept",
            )

    def _grow(self, old: Checkpoint, entries: Sequence[bytes]) -> Growth:
        """Derive the files of the larger tree, and make sure that it extends the old one."""
        growth = grow(self._edge, old.size, entries)
        if growth.old_root != old.root:
            raise other_root(
                self._objects.where, old.size, expected=old.root, found=growth.old_root
            )
        if old.size:
            tree = TileTree(Overlay(growth.files, self._edge), growth.size)
            verify_consistency(
                size1=old.size,
                size2=growth.size,
                root1=old.root,
                root2=growth.root,
                proof=tree.consistency_proof(old.size),
            )
        return growth

    def _publish(self, files: Mapping[str, bytes]) -> None:
        if len(files) <= _UPLOADS:
            for name, content in files.items():
                self._put(name, content)
            return
        with ThreadPoolExecutor(_UPLOADS) as pool:
            for _ in pool.map(self._put, files, files.values()):
                pass

    def _put(self, name: str, content: bytes) -> None:
        patience = self._waiting(f"{name} could not be written")
        while not self._objects.create(name, content):
            found = self._objects.read(name)
            if found is not None and found[0] == content:
                return
            if found is not None:
                raise LedgerError(
                    f"{name} of {self._objects.where} is not what the batches of the ledger say",
                    next_step="it was damaged or forged: keep it as evidence, then remove it, "
                    "and the next append writes it again; nothing was signed",
                )
            patience.wait()

    def _tidy(self, old: int, new: int) -> None:
        """Remove the partial files whose full ones are published."""
        level = 0
        while (hashes := old >> 8 * level) and new >> 8 * level > hashes:
            index = hashes // TILE_WIDTH
            if hashes % TILE_WIDTH and (new >> 8 * level) // TILE_WIDTH > index:
                self._remove_partial(tile_path(level, index))
                if level == 0:
                    self._remove_partial(entries_path(index))
            level += 1

    def _remove_partial(self, full: str) -> None:
        with suppress(LedgerError):  # the append succeeded; what stays costs space only
            self._objects.remove(list(self._objects.list(f"{full}.p/")))

    def _keep_witnessed(self, signed: SignedCheckpoint) -> bool:
        found = self._objects.read(WITNESSED)
        if found is None:
            return self._objects.replace(WITNESSED, signed.note, None)
        content, tag = found
        kept = SignedCheckpoint.parse(content)
        if content == signed.note or kept.checkpoint.size > signed.checkpoint.size:
            return True
        return self._objects.replace(WITNESSED, signed.note, tag)

    def _waiting(self, what: str) -> Patience:
        return Patience(self._patience, waiting_for=f"{what} in {self._objects.where}")


def other_root(where: str, size: int, *, expected: bytes, found: bytes) -> LedgerError:
    """Return what to say where tiles and checkpoint do not belong together."""
    return LedgerError(
        f"the tiles of {where} are not those of its checkpoint over {size} entries: expected root "
        f"{expected.hex()[:12]}, found {found.hex()[:12]}",
        next_step="the ledger was rewritten or damaged: keep its files as evidence; nothing was "
        "signed",
    )
