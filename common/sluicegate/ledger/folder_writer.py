"""Writing to a ledger in a folder: the journal, group commit, repair. See ``folder``."""

from __future__ import annotations

import fcntl
import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.folder_files import FolderFiles, names_between
from sluicegate.ledger.journal import Journal, Position, create_journal, open_journal
from sluicegate.ledger.note import Checkpoint, NoteSigner, SignedCheckpoint, sign_checkpoint
from sluicegate.ledger.tiles import TILE_WIDTH, Edge, Growth, TileTree, grow
from sluicegate.merkle import EMPTY_ROOT, leaf_hash
from sluicegate.storage.local import write_atomically

__all__ = ["FolderWriter", "check_origin"]

_JOURNAL_ENTRIES: Final = 16 * TILE_WIDTH
"""How many entries stay in the journal before it rotates. More share the syncs of one
rotation; fewer are read by a process that opens the ledger anew."""
_JOURNAL_BYTES: Final = 64 << 20
"""How long the journal gets before it rotates, however few its entries."""
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
"""Another one after every start of the machine, as Linux gives it."""
_LOWEST: Final = ("tile/entries/", "tile/0/")
"""The tiles that can be made again from the journal alone."""
_RESTORE: Final = "keep the files as evidence and restore the ledger from a copy"


@dataclass(frozen=True, slots=True)
class _Written:
    """What one writer put into the journal."""

    start: Position
    end: Position
    entries: Sequence[bytes]


class FolderWriter:
    """What writes to one ledger. Threads may share one, and processes need not."""

    def __init__(
        self, folder: Path, files: FolderFiles, *, origin: str, signer: NoteSigner | None
    ) -> None:
        """Write to the ledger in ``folder``; its parameters are those of the ledger."""
        self._folder = folder
        self._files = files
        self._origin = origin
        self._signer = signer
        self._journal = folder / "journal"
        self._lock = folder / "commit"
        self._believed: tuple[bytes, Checkpoint] | None = None
        self._known: tuple[object, Position, Position] | None = None
        self._edge: Edge | None = None

    def append(self, entries: Sequence[bytes]) -> range:
        """Put entries into the journal, and return once a checkpoint covers them.

        Raises:
            LedgerError: the ledger is damaged, or another writer's disk failed.
            OSError: the file system refuses.
        """
        self._create()
        with open_journal(self._journal) as journal:
            mark, start = self._places(journal, self._last(journal))
            end = journal.append(start, entries)
            self._known = (journal.identity, mark, end)
        self.commit(_Written(start, end, entries))
        return range(start.number, end.number)

    def commit(self, mine: _Written | None = None) -> None:
        """Return once a checkpoint covers what was written, and with None all there is.

        Raises:
            LedgerError: the ledger is damaged; nothing was signed.
            OSError: the file system refuses.
        """
        with self.lock() as lock, open_journal(self._journal) as journal:
            last = self._last(journal)
            if mine is not None and last.size >= mine.end.number:
                self._find(mine, last)  # another writer was the leader for us
                return
            mark, tail = self._places(journal, last)
            if mine is not None and not _holds(journal, mark, tail, mine.end):
                raise self._taken_out()
            journal.unlock()
            self._sync(journal, mark)
            growth = None
            if mine is not None and _of_this_boot(lock):
                growth = self._grown(journal, last, mine, mark, tail)
            made = self._publish(growth or self._remade(journal, last, mark, tail), last)
            self._known = (journal.identity, tail, tail)
            stale = (journal.base, made.size) if growth is None else (last.size, last.size)
            self._files.drop_partials(journal.base, *stale)
            _leave_word(lock, tail)
            self._rotate_if_long(journal, made, mark)

    def _find(self, mine: _Written, last: Checkpoint) -> None:
        """Return if the last entry that was written is where it must be."""
        number = mine.end.number - 1
        (leaf,) = TileTree(self._files, last.size).leaf_hashes(number, number + 1)
        if leaf != leaf_hash(mine.entries[-1]):
            raise self._taken_out()

    def _taken_out(self) -> LedgerError:
        return LedgerError(
            f"the entries were taken out of the journal of {self._folder} again: another writer "
            "could not sync it",
            next_step="check the disk and append again; nothing was acknowledged",
        )

    @contextmanager
    def lock(self) -> Iterator[IO[bytes]]:
        """Hold the commit lock: nobody else publishes anything.

        Raises:
            OSError: the file system refuses.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock

    def _create(self) -> None:
        """Make a new ledger: first the checkpoint of nothing, so that it is never missing."""
        if self._journal.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.lock():
            if self._journal.exists():
                return
            if (self._folder / "tile").exists():
                raise self._damaged("its tiles are there, and its journal is missing")
            published = self._files.read("checkpoint")
            note = sign_checkpoint(
                Checkpoint(origin=self._origin, size=0, root=EMPTY_ROOT), self._signer
            )
            if published not in (None, b"", note):
                raise self._damaged("its checkpoint is there, and its journal is missing")
            write_atomically(self._folder / "checkpoint", note)
            create_journal(self._journal, note)

    def _last(self, journal: Journal) -> Checkpoint:
        """Return the last checkpoint, which this writer may extend.

        Where a power failure left no readable one, that is the one in the journal's header.
        """
        note = self._files.read("checkpoint")
        if note is None:
            raise self._damaged("its checkpoint is missing")
        if self._believed is not None and self._believed[0] == note:
            return self._believed[1]
        try:
            signed = SignedCheckpoint.parse(note)
        except LedgerError:
            signed = SignedCheckpoint.parse(journal.note)
        check_origin(signed, self._folder, self._origin, self._signer)
        if self._signer is None and signed.signatures:
            raise LedgerError(
                f"the ledger {self._folder} is signed, and this writer has no key for it",
                next_step="set the ledger's signing key for this worker",
            )
        self._believed = (note, signed.checkpoint) if signed.note == note else None
        return signed.checkpoint

    def _places(self, journal: Journal, last: Checkpoint) -> tuple[Position, Position]:
        """Return the places behind what ``last`` covers, and behind the last sound frame.

        Moves a torn tail aside. Needs the journal's lock.
        """
        mark = tail = journal.start
        for near, far in self._remembered(journal):
            if journal.holds(near) and journal.holds(far):
                mark, tail = near, far
                break
        if mark.number > last.size:
            mark = journal.start  # the checkpoint was torn: the one in the header is older
        mark = journal.skip(mark, last.size)
        tail = journal.tail(tail if tail.number >= mark.number else mark)
        journal.set_aside_from(tail)
        self._known = (journal.identity, mark, tail)
        return mark, tail

    def _remembered(self, journal: Journal) -> Iterator[tuple[Position, Position]]:
        """Yield places that this process knows, or that the last one who published noted."""
        if self._known is not None and self._known[0] == journal.identity:
            yield self._known[1:]
        noted = self._lock.read_bytes() if self._lock.exists() else b""
        place = Position.parse(noted[len(_boot()) :].decode("ascii", "replace").strip())
        if place is not None:
            yield place, place

    def _sync(self, journal: Journal, mark: Position) -> None:
        """Sync the journal; where that fails, take out what no checkpoint covers.

        A kernel forgets what it could not write, so a second try would succeed without the
        data being there.
        """
        try:
            journal.sync()
        except OSError:
            journal.lock()
            journal.cut(mark)
            raise

    def _grown(
        self,
        journal: Journal,
        last: Checkpoint,
        mine: _Written,
        mark: Position,
        tail: Position,
    ) -> Growth | None:
        """Return the files that synced entries make on top of the very tree of ``last``.

        None if the files of that tree do not hold up.
        """
        entries = mine.entries
        if (mark, tail) != (mine.start, mine.end):  # others wrote as well
            entries = [entry for entry, _ in journal.frames(mark, tail.number)]
        edge = self._edge if self._edge is not None and self._edge.root == last.root else None
        try:
            growth = grow(self._files, last.size, entries, edge=edge)
        except LedgerError:
            return None
        return growth if growth.old_root == last.root else None

    def _remade(self, journal: Journal, last: Checkpoint, mark: Position, tail: Position) -> Growth:
        """Do the same after making the files of that tree anew from the journal.

        For when they do not hold up, or power may have failed.

        Raises:
            LedgerError: the journal and the last checkpoint are not of one ledger.
        """
        earlier = [entry for entry, _ in journal.frames(journal.start, last.size)]
        before = grow(self._files, journal.base, earlier)
        if before.root != last.root:
            raise LedgerError(
                f"the entries of the ledger {self._folder} do not have the root of its last "
                f"checkpoint, of {last.size} entries: expected {last.root.hex()[:12]}, found "
                f"{before.root.hex()[:12]}; nothing was signed",
                next_step="tiles, journal or checkpoint were changed: " + _RESTORE,
            )
        for name, content in before.files.items():
            self._files.put(name, content)
        return grow(
            self._files, last.size, [entry for entry, _ in journal.frames(mark, tail.number)]
        )

    def _publish(self, growth: Growth, last: Checkpoint) -> Checkpoint:
        """Write tiles, then the checkpoint; return that."""
        for name, content in growth.files.items():
            self._files.put(name, content)
        self._edge = growth.edge
        made = Checkpoint(origin=self._origin, size=growth.size, root=growth.root)
        if self._believed is None:
            note = sign_checkpoint(made, self._signer)
            self._files.put("checkpoint", note)  # and keep the torn one
        elif made != last:
            note = sign_checkpoint(made, self._signer)
            self._files.publish(note)
        else:
            return last
        self._believed = (note, made)
        return made

    def _rotate_if_long(self, journal: Journal, last: Checkpoint, mark: Position) -> None:
        """Make the disk keep the full tiles, and drop their entries from the journal."""
        base = last.size - last.size % TILE_WIDTH
        long = last.size - journal.base >= _JOURNAL_ENTRIES or journal.length >= _JOURNAL_BYTES
        if not long or base == journal.base:
            return
        names = list(names_between(journal.base, base))
        self._files.sync(names)
        note = self._files.read("checkpoint")
        if note is None:
            raise self._damaged("its checkpoint is missing")
        journal.lock()
        near = mark if mark.number <= base else journal.start
        journal.rotate(journal.skip(near, base), note)
        self._files.drop_all_partials(names)

    def _damaged(self, what: str) -> LedgerError:
        return LedgerError(f"the ledger {self._folder} is damaged: {what}", next_step=_RESTORE)


def check_origin(
    signed: SignedCheckpoint, folder: Path, origin: str, signer: NoteSigner | None
) -> None:
    """Return if a checkpoint is of this ledger, and signed by its key if we have that.

    Raises:
        LedgerError: it is not.
    """
    if signer is not None:
        signed.verify(signer.verifier)
    elif signed.checkpoint.origin != origin:
        raise LedgerError(
            f"the folder {folder} holds the ledger {signed.checkpoint.origin!r}, expected "
            f"{origin!r}",
            next_step="point the policy at the right folder, or name the ledger's key in it",
        )


def _holds(journal: Journal, mark: Position, tail: Position, end: Position) -> bool:
    """Say whether a journal still has the frames up to ``end``; it may have rotated since."""
    if journal.holds(end):
        return True
    return end.number <= tail.number and journal.skip(mark, end.number).chain == end.chain


@functools.cache
def _boot() -> bytes:
    try:
        return _BOOT.read_bytes()
    except OSError:
        return b""


def _of_this_boot(lock: IO[bytes]) -> bool:
    """Say whether the last who published did so since the machine was started.

    If not, power may have failed since, and files that were not synced may be torn.
    """
    lock.seek(0)
    boot = _boot()
    return bool(boot) and lock.read(len(boot)) == boot


def _leave_word(lock: IO[bytes], tail: Position) -> None:
    """Note the boot, and how far the journal is published; a hint that nobody has to believe."""
    word = _boot() + f"{tail.encode()}\n".encode()
    lock.seek(0)
    if lock.read() != word:
        os.pwrite(lock.fileno(), word, 0)
        os.ftruncate(lock.fileno(), len(word))
