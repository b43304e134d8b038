"""The journal of a ledger: entries on their way into its tiles.

A journal holds the entries that are not yet in bundles the disk is known to have, and enough
of the entries before them that the newest files can be made again after a power failure.

It is a header and frames, numbers little-endian::

    magic "slj1" | first entry, uint64 | chain, 32 bytes | length of note, uint32 | note | CRC-32
    magic "slg1" | number, uint64 | length, uint32 | CRC-32, uint32 | chain, 32 bytes | entry

``chain`` is ``sha256(chain of the frame before || leaf hash of the entry)``; the header holds
the one before its first frame, and the last checkpoint that was synced (``note``). So a
frame of another time or another place in the journal never passes for the next one.

Writers append under an exclusive lock on the file. What they find behind the last sound frame
is what a killed writer left: no checkpoint covers it, nobody was told that it is stored. It
moves aside into ``torn-<offset>-<digest>``. A frame that a checkpoint does cover and that
does not read back is damage.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import MAX_ENTRY_BYTES
from sluicegate.ledger.note import MAX_NOTE_BYTES
from sluicegate.merkle import leaf_hash
from sluicegate.storage.local import fsync_directory, write_atomically

__all__ = ["Journal", "Position", "create_journal", "open_journal"]

_HEAD: Final = struct.Struct("<4sQ32sI")
_HEAD_MAGIC: Final = b"slj1"
_CHECKSUM: Final = struct.Struct("<I")
_FRAME: Final = struct.Struct("<4sQII32s")
_FRAME_MAGIC: Final = b"slg1"
_COPY_BYTES: Final = 1 << 20
"""How much of a journal is held in memory while it is copied."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two frames: what the next one must be, and where."""

    number: int
    """Number of the next frame."""
    offset: int
    """Byte at which it starts."""
    chain: bytes
    """Chain of the frame before."""
    before: int | None = None
    """Byte at which the frame before starts; None at the start of a journal."""

    def encode(self) -> str:
        """Return one line, for whoever looks for this place later."""
        return f"{self.number} {self.offset} {self.before} {self.chain.hex()}"

    @classmethod
    def parse(cls, line: str) -> Position | None:
        """Read such a line; None if it is none. It may lie: ask :meth:`Journal.holds`."""
        try:
            number, offset, before, chain = line.split(" ")
            return cls(int(number), int(offset), bytes.fromhex(chain), int(before))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class _Header:
    base: int
    chain: bytes
    note: bytes

    def encode(self) -> bytes:
        head = _HEAD.pack(_HEAD_MAGIC, self.base, self.chain, len(self.note)) + self.note
        return head + _CHECKSUM.pack(zlib.crc32(head))


class Journal:
    """An open journal; what is not marked otherwise needs its lock."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        """Read the header.

        Raises:
            LedgerError: it is damaged.
        """
        self.path: Final = path
        self._file = file
        header = _read_header(file)
        if header is None:
            raise LedgerError(
                f"the journal {path} is damaged in its header",
                next_step="keep the files as evidence and restore the ledger from a copy",
            )
        self.base: Final = header.base
        """Number of its first entry."""
        self.note: Final = header.note
        """The last checkpoint that was synced before this journal was made."""
        self.start: Final = Position(header.base, len(header.encode()), header.chain)
        """The place before its first frame."""
        status = os.fstat(file.fileno())
        self.identity: Final = (status.st_dev, status.st_ino, header)
        """Tells this journal from every other; one of them never becomes another."""

    @property
    def length(self) -> int:
        """How long the file is, in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def unlock(self) -> None:
        """Let writers append again; what was read until then stays where it is."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def lock(self) -> None:
        """Keep writers out again."""
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def sync(self) -> None:
        """Return once the disk has what was appended before; needs no lock."""
        os.fdatasync(self._file.fileno())

    def holds(self, place: Position) -> bool:
        """Say whether a place that was found earlier is one of this journal; needs no lock."""
        if place.before is None:
            return place == self.start
        if not 0 <= place.before < place.offset <= self.length:
            return False
        header = os.pread(self._file.fileno(), _FRAME.size, place.before)
        if len(header) < _FRAME.size:
            return False
        magic, number, length, _, chain = _FRAME.unpack(header)
        end = place.before + _FRAME.size + length
        found = (magic, number, chain, end)
        return found == (_FRAME_MAGIC, place.number - 1, place.chain, place.offset)

    def skip(self, place: Position, number: int) -> Position:
        """Return the place before frame ``number``, reading headers only; needs no lock.

        Raises:
            LedgerError: the journal does not reach that far, though a checkpoint says that it
                does.
        """
        length = self.length
        while place.number < number:
            header = os.pread(self._file.fileno(), _FRAME.size, place.offset)
            if len(header) < _FRAME.size:
                raise self._damaged(place)
            magic, found, size, _, chain = _FRAME.unpack(header)
            end = place.offset + _FRAME.size + size
            if (magic, found) != (_FRAME_MAGIC, place.number) or end > length:
                raise self._damaged(place)
            place = Position(found + 1, end, chain, place.offset)
        if place.number > number:
            raise LedgerError(
                f"the journal {self.path} starts at entry {place.number}, and the checkpoint "
                f"covers only {number} entries: the checkpoint is older than what was synced "
                "with it",
                next_step="somebody put an old checkpoint back: keep it, and restore the ledger",
            )
        return place

    def frames(self, place: Position, stop: int | None = None) -> Iterator[tuple[bytes, Position]]:
        """Yield ``(entry, place behind it)`` as long as frames are whole and sound.

        Needs no lock as far as a place that was found under one.

        Args:
            place: where to start.
            stop: number of the first frame that is not read; all before it must be there.

        Raises:
            LedgerError: one before ``stop`` is not.
        """
        while stop is None or place.number < stop:
            found = _read_frame(self._file, place)
            if found is None:
                if stop is not None:
                    raise self._damaged(place)
                return
            yield found
            place = found[1]

    def tail(self, place: Position) -> Position:
        """Return the place behind the last sound frame from ``place`` on."""
        for _, after in self.frames(place):
            place = after
        return place

    def set_aside_from(self, end: Position) -> None:
        """Move what stands behind ``end`` into a file of its own."""
        if self.length == end.offset:
            return
        digest = hashlib.sha256()
        self._file.seek(end.offset)
        while chunk := self._file.read(_COPY_BYTES):
            digest.update(chunk)
        self._file.seek(end.offset)
        name = f"torn-{end.offset}-{digest.hexdigest()[:16]}"
        write_atomically(self.path.with_name(name), self._file)
        os.ftruncate(self._file.fileno(), end.offset)

    def append(self, end: Position, entries: Sequence[bytes]) -> Position:
        """Write frames behind the last one, and return the place behind them. Syncs nothing.

        Raises:
            OSError: they cannot be written; the journal is as before.
        """
        place, parts = end, list[bytes]()
        for entry in entries:
            chain = _chain(place.chain, entry)
            parts.append(
                _FRAME.pack(_FRAME_MAGIC, place.number, len(entry), zlib.crc32(entry), chain)
            )
            parts.append(entry)
            after = place.offset + _FRAME.size + len(entry)
            place = Position(place.number + 1, after, chain, place.offset)
        rest, at = memoryview(b"".join(parts)), end.offset
        try:
            while rest:
                written = os.pwrite(self._file.fileno(), rest, at)
                rest, at = rest[written:], at + written
        except OSError:
            os.ftruncate(self._file.fileno(), end.offset)
            raise
        return place

    def cut(self, end: Position) -> None:
        """Remove the frames behind a place, which nobody was told are stored."""
        os.ftruncate(self._file.fileno(), end.offset)

    def rotate(self, first: Position, note: bytes) -> None:
        """Put a journal in place of this one that starts at ``first``; synced.

        The caller holds this journal's lock, and owes: that the disk has all earlier entries
        in bundles, and ``note`` as the checkpoint.
        """
        header = _Header(first.number, first.chain, note).encode()
        self._file.seek(first.offset)
        _replace(self.path, header, self._file)

    def _damaged(self, place: Position) -> LedgerError:
        return LedgerError(
            f"the ledger is damaged at entry {place.number}, byte {place.offset} of {self.path}: "
            "a checkpoint covers the entry, and it does not read back",
            next_step="keep the files as evidence and restore the ledger from a copy; what "
            "stands behind the damage proves nothing",
        )


def create_journal(path: Path, note: bytes) -> None:
    """Make the journal of a new ledger; synced.

    Raises:
        OSError: the file system refuses.
    """
    _replace(path, _Header(0, bytes(32), note).encode(), None)


@contextmanager
def open_journal(path: Path, *, shared: bool = False) -> Iterator[Journal]:
    """Open the journal under its lock, until it is unlocked or the block is left.

    Args:
        path: of the journal.
        shared: only keep writers out, and write nothing.

    Raises:
        OSError: it cannot be opened.
        LedgerError: its header is damaged.
    """
    while True:
        with path.open("rb" if shared else "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            status = path.stat()
            if os.path.samestat(status, os.fstat(file.fileno())):  # not rotated while we waited
                yield Journal(file, path)
                return


def _replace(path: Path, header: bytes, rest: IO[bytes] | None) -> None:
    temporary = path.with_name(".journal.new")
    with temporary.open("wb") as out:
        os.fchmod(out.fileno(), 0o644)
        out.write(header)
        while rest is not None and (chunk := rest.read(_COPY_BYTES)):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    fsync_directory(path.parent)


def _read_header(file: IO[bytes]) -> _Header | None:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, base, chain, length = _HEAD.unpack(head)
    if magic != _HEAD_MAGIC or length > MAX_NOTE_BYTES:
        return None
    note = file.read(length)
    checksum = file.read(_CHECKSUM.size)
    if len(note) < length or checksum != _CHECKSUM.pack(zlib.crc32(head + note)):
        return None
    return _Header(base, chain, note)


def _chain(before: bytes, entry: bytes) -> bytes:
    return hashlib.sha256(before + leaf_hash(entry)).digest()


def _read_frame(file: IO[bytes], place: Position) -> tuple[bytes, Position] | None:
    """Return the frame at a place, or None if there is no whole, sound one that continues it."""
    file.seek(place.offset)
    header = file.read(_FRAME.size)
    if len(header) < _FRAME.size:
        return None
    magic, number, length, checksum, chain = _FRAME.unpack(header)
    if (magic, number) != (_FRAME_MAGIC, place.number) or not 0 < length <= MAX_ENTRY_BYTES:
        return None
    entry = file.read(length)
    if len(entry) < length or zlib.crc32(entry) != checksum:
        return None
    if chain != _chain(place.chain, entry):
        return None
    return entry, Position(number + 1, place.offset + _FRAME.size + length, chain, place.offset)
