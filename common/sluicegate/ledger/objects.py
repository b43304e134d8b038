"""A ledger on a store that has no locks, only *create if absent* and *replace if unchanged*.

Names and contents are those of C2SP tlog-tiles, and beside them the batches::

    checkpoint   tile/...   batch/<index of its first entry, 20 digits>   witnessed

:mod:`sluicegate.ledger.chain` says how two writers are kept apart. An append is acknowledged
once its batch exists and the checkpoint covers it. Appends that wait in one process at the
same time share a batch.

What this cannot prevent: who may delete batches and the checkpoint can let the chain begin
anew. Object Lock prevents it, and a consumer that remembers, or asks for witnesses, sees it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import MAX_ENTRY_BYTES, LedgerState, TileSource
from sluicegate.ledger.batches import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, batch_name
from sluicegate.ledger.chain import Chain, other_root
from sluicegate.ledger.note import NoteSigner, SignedCheckpoint
from sluicegate.ledger.object_files import ObjectFiles, Objects
from sluicegate.ledger.settings import DEFAULT_ORIGIN
from sluicegate.ledger.signatures import CHECKPOINT, WITNESSED
from sluicegate.ledger.tiles import TileTree

__all__ = ["ObjectLedger"]

_PATIENCE_SECONDS: Final = 120.0
"""Longest wait for other writers in one append."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """What one thread wants to append."""

    entries: Sequence[bytes]
    bytes: int
    places: range | None = None
    error: LedgerError | None = None

    @property
    def done(self) -> bool:
        """Whether they were appended, or could not be."""
        return self.places is not None or self.error is not None


class ObjectLedger:
    """A :class:`~sluicegate.ledger.base.Ledger` over :class:`Objects`, for threads as well."""

    def __init__(
        self,
        objects: Objects,
        *,
        origin: str = DEFAULT_ORIGIN,
        signer: NoteSigner | None = None,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        """Use the ledger that lies in ``objects``; the first append makes it.

        Args:
            objects: the store.
            origin: first line of its checkpoints.
            signer: the ledger's key, which every writer of a signed ledger has.
            patience: longest wait for other writers in one append, in seconds.

        Raises:
            LedgerError: the key has another name than the origin.
        """
        self._objects = objects
        self._chain = Chain(objects, origin=origin, signer=signer, patience=patience)
        self._queue: deque[_Waiting] = deque()
        self._turn = threading.Lock()
        """Held by the thread that works on the chain."""
        self._news = threading.Condition()
        """Guards the queue and ``_leading``; told when places were given out."""
        self._leading = False

    @property
    def tiles(self) -> TileSource:
        """The files; see :class:`Ledger`."""
        return ObjectFiles(self._objects)

    @property
    def size(self) -> int:
        """Number of entries; see :class:`Ledger`."""
        signed = self.checkpoint()
        return signed.checkpoint.size if signed else 0

    def checkpoint(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint, unverified; see :class:`Ledger`."""
        found = self._objects.read(CHECKPOINT)
        return SignedCheckpoint.parse(found[0]) if found else None

    def witnessed(self) -> SignedCheckpoint | None:
        """Return the newest checkpoint that signatures were attached to, unverified.

        It may be older than :meth:`checkpoint`, whose cosignatures are still to come.

        Raises:
            LedgerError: it cannot be read.
        """
        found = self._objects.read(WITNESSED)
        return SignedCheckpoint.parse(found[0]) if found else None

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield entries from ``start`` on; see :class:`Ledger`."""
        return TileTree(self.tiles, self.size).entries(start)

    def get(self, index: int) -> bytes:
        """Return one entry; see :class:`Ledger`."""
        return TileTree(self.tiles, self.size).entry(index)

    def append(self, entry: bytes) -> int:
        """Add one entry; see :class:`Ledger`."""
        return self.append_many([entry]).start

    def append_many(self, entries: Sequence[bytes]) -> range:
        """Add entries next to each other; see :class:`Ledger`.

        Raises:
            LedgerError: as there, or more than 131,072 entries or 64 MiB at a time.
        """
        mine = _Waiting(tuple(entries), sum(map(_cost, entries)))
        if mine.bytes > MAX_BATCH_BYTES or len(mine.entries) > MAX_BATCH_ENTRIES:
            raise LedgerError(
                f"{len(mine.entries)} entries of {mine.bytes} bytes are too much for one append",
                next_step=f"append at most {MAX_BATCH_ENTRIES} entries and {MAX_BATCH_BYTES} "
                "bytes at a time",
            )
        if not mine.entries:
            size = self.size
            return range(size, size)
        with self._news:
            self._queue.append(mine)
        while self._must_lead(mine):
            self._lead()
        if mine.places is None:
            raise mine.error or LedgerError("the append was interrupted")
        return mine.places

    def attach(self, note: bytes) -> bool:
        """Add the signature lines of ``note`` to the newest checkpoint, if it has that text.

        The caller owes: that the lines verify.

        Returns:
            False if another checkpoint is the newest one by now.

        Raises:
            LedgerError: not a checkpoint, or it cannot be written.
        """
        given = SignedCheckpoint.parse(note)
        with self._turn:
            return self._chain.attach(given)

    def verify(self) -> LedgerState:
        """Read and check every tile and entry; see :class:`Ledger`.

        A batch behind the end of the checkpoint shows that it was put back.
        """
        # In this order: a batch at n is created after the checkpoint of size n.
        newest = max(self._batches(), default=0)
        with self._turn:
            checkpoint = self._chain.head().checkpoint
        if newest > checkpoint.size:
            raise LedgerError(
                f"the checkpoint of {self._objects.where} covers {checkpoint.size} entries, and "
                f"there is a batch at {newest}: the checkpoint was put back or deleted",
                next_step="find out who did that; an append rolls an older checkpoint forward",
            )
        self._check_batches(checkpoint.size)
        root = TileTree(self.tiles, checkpoint.size).check()
        if root != checkpoint.root:
            raise other_root(
                self._objects.where, checkpoint.size, expected=checkpoint.root, found=root
            )
        return LedgerState(size=checkpoint.size, root=root)

    def _check_batches(self, size: int) -> None:
        """Refuse a chain of batches with a gap: its place could be taken a second time."""
        at = 0
        while at < size:
            batch = self._chain.batch(at)
            if batch is None or batch.end > size:
                raise LedgerError(
                    f"{self._objects.where} has no batch at {at} that ends within its {size} "
                    "entries: it was deleted or replaced",
                    next_step="restore it from a copy: until then another history can begin there",
                )
            at = batch.end

    def _batches(self) -> Iterator[int]:
        for name in self._objects.list("batch/"):
            number = name.removeprefix("batch/")
            if not number.isdecimal() or name != batch_name(int(number)):
                raise LedgerError(f"{self._objects.where} holds {name!r}, which is no batch")
            yield int(number)

    def _must_lead(self, mine: _Waiting) -> bool:
        """Wait until the entries have their places, or this thread is to append the queue."""
        with self._news:
            while self._leading and not mine.done:
                self._news.wait()
            self._leading = self._leading or not mine.done
            return not mine.done

    def _lead(self) -> None:
        """Append what several threads wait for; each learns its places, or why there are none."""
        failed = LedgerError("the append was interrupted", next_step="retry it")
        with self._news:
            group = self._next_group()
        try:
            with self._turn:
                at = self._chain.place([entry for waiting in group for entry in waiting.entries])
            for waiting in group:
                waiting.places = range(at, at + len(waiting.entries))
                at += len(waiting.entries)
        except LedgerError as error:
            failed = error
        finally:
            with self._news:
                for waiting in group:
                    waiting.error = failed
                self._leading = False
                self._news.notify_all()

    def _next_group(self) -> list[_Waiting]:
        group = [self._queue.popleft()]
        size, count = group[0].bytes, len(group[0].entries)
        while self._queue:
            size += self._queue[0].bytes
            count += len(self._queue[0].entries)
            if size > MAX_BATCH_BYTES or count > MAX_BATCH_ENTRIES:
                break
            group.append(self._queue.popleft())
        return group


def _cost(entry: bytes) -> int:
    if not 0 < len(entry) <= MAX_ENTRY_BYTES:
        raise LedgerError(f"an entry has 1 to {MAX_ENTRY_BYTES} bytes, not {len(entry)}")
    return len(entry) + 2
