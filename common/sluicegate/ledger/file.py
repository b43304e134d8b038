"""A ledger in one local file, for many processes at once.

Each entry is one frame, numbers little-endian::

    magic "slg1" | number, uint64 | length, uint32 | CRC-32, uint32 | chain, 32 bytes | entry

``chain`` is ``sha256(chain of the frame before || leaf hash of the entry)``, so an entry
cannot be edited, removed from the middle or reordered without every later frame showing it.

Appending holds an exclusive lock, writes one frame, syncs it to disk, and only then records
its offset in ``index`` and answers. So a frame that the index knows was acknowledged: if it
does not read back, the ledger is damaged and says so. A broken frame *behind* the last
indexed one was never acknowledged: it is what a killed writer leaves, and the next writer
moves it aside into ``torn-<offset>-<digest>``. The index only says how far the acknowledged
frames reach and where to look first: a wrong offset in it costs time and no trust. Readers
take no lock: they read what is indexed, which nobody ever changes. Only a complete check looks
behind that, and holds a shared lock while it does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sluicegate.errors import LedgerError
from sluicegate.merkle import RootBuilder, leaf_hash
from sluicegate.storage.local import fsync_directory, write_atomically

__all__ = ["FileLedger", "LedgerState"]

MAX_ENTRY_BYTES: Final = 65_535
"""As in C2SP tlog-tiles, whose entry length is a 16-bit number."""
_HEADER: Final = struct.Struct("<4sQII32s")
_MAGIC: Final = b"slg1"
_OFFSET: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """What a complete check of a ledger established."""

    size: int
    """Number of entries."""
    root: bytes
    """RFC 6962 root over the entries, 32 bytes."""
    torn_bytes: int
    """Length of an unacknowledged broken tail, which the next append moves aside."""


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int
    entry: bytes
    chain: bytes
    end: int


_START: Final = _Frame(-1, b"", bytes(32), 0)
"""What stands before the first frame."""


class FileLedger:
    """The ledger in a folder: ``log``, ``index`` and torn tails, if there were any."""

    def __init__(self, folder: Path) -> None:
        """Use the ledger in ``folder``; the first append makes it."""
        self.folder = folder
        self._log = folder / "log"
        self._index = folder / "index"

    def append(self, entry: bytes) -> int:
        """Add one entry; see :class:`Ledger`."""
        if not 0 < len(entry) <= MAX_ENTRY_BYTES:
            raise LedgerError(f"an entry has 1 to {MAX_ENTRY_BYTES} bytes, not {len(entry)}")
        try:
            self._create()
            with self._log.open("r+b") as log, self._index.open("r+b") as index:
                fcntl.flock(log, fcntl.LOCK_EX)  # held until the log is closed
                last = self._recover(log, index)
                number = last.number + 1
                header = _HEADER.pack(
                    _MAGIC, number, len(entry), zlib.crc32(entry), _chain(last.chain, entry)
                )
                log.seek(last.end)
                log.write(header + entry)
                log.flush()
                os.fsync(log.fileno())
                _write_offset(index, number, last.end)
                return number
        except OSError as error:
            raise LedgerError(
                f"cannot append to the ledger {self.folder}: {error.strerror}",
                next_step="check permissions and free space; nothing was acknowledged",
            ) from error

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield entries from ``start`` on; see :class:`Ledger`."""
        if start < 0:
            raise ValueError(f"entries are counted from 0, not {start}")
        with self._reading():
            for frame in self._frames(start):
                yield frame.number, frame.entry

    def get(self, index: int) -> bytes:
        """Return one entry; see :class:`Ledger`."""
        if index >= 0:
            for _, entry in self.entries(index):
                return entry
        raise LedgerError(
            f"the ledger {self.folder} has no entry {index}",
            next_step="the receipt was not logged here, or the ledger was truncated: restore it",
        )

    def verify(self) -> LedgerState:
        """Read everything and check every frame, whether the index knows it or not.

        Raises:
            LedgerError: a frame is damaged; says which and where.
        """
        tree, last = RootBuilder(), _START
        torn = 0
        with self._reading():
            for frame in self._frames(0):
                tree.add(leaf_hash(frame.entry))
                last = frame
            if self._log.exists():
                with self._log.open("rb") as log:
                    fcntl.flock(log, fcntl.LOCK_SH)  # no writer is in the middle of a frame
                    while (beyond := _read_frame(log, last.end, last)) is not None:
                        tree.add(leaf_hash(beyond.entry))
                        last = beyond
                    torn = self._torn_tail(log, last)
        return LedgerState(size=tree.size, root=tree.root(), torn_bytes=torn)

    def _create(self) -> None:
        if not self._index.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in (self._log, self._index):
                path.touch()
            fsync_directory(self.folder)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerError(
                f"cannot read the ledger {self.folder}: {error.strerror}",
                next_step="check the permissions of this worker",
            ) from error

    def _frames(self, start: int) -> Iterator[_Frame]:
        # Asked in this order, because a first writer makes both files before it writes to one.
        written = any(path.exists() and path.stat().st_size for path in (self._log, self._index))
        if not (self._log.exists() and self._index.exists()):
            if written:
                raise self._damaged(0, 0)
            return
        with self._log.open("rb") as log, self._index.open("rb") as index:
            known = index.seek(0, os.SEEK_END) // _OFFSET.size
            if start >= known:
                return
            last = self._frame_before(log, index, start)
            while last.number + 1 < known:
                frame = _read_frame(log, last.end, last)
                if frame is None:
                    raise self._damaged(last.number + 1, last.end)
                yield frame
                last = frame

    def _frame_before(self, log: IO[bytes], index: IO[bytes], number: int) -> _Frame:
        """Return the frame before entry ``number``, found through the index."""
        if number == 0:
            return _START
        index.seek((number - 1) * _OFFSET.size)
        (offset,) = _OFFSET.unpack(index.read(_OFFSET.size))
        inside = offset < log.seek(0, os.SEEK_END)
        frame = _read_frame(log, offset, None) if inside else None
        if frame is None or frame.number != number - 1:
            return self._scan_to(log, number - 1)
        return frame

    def _scan_to(self, log: IO[bytes], number: int) -> _Frame:
        """Find a frame without the index, which a power failure can leave wrong."""
        last = _START
        while last.number < number:
            frame = _read_frame(log, last.end, last)
            if frame is None:
                raise self._damaged(last.number + 1, last.end)
            last = frame
        return last

    def _recover(self, log: IO[bytes], index: IO[bytes]) -> _Frame:
        """Find the last frame; index complete ones, move a torn tail aside."""
        known = index.seek(0, os.SEEK_END) // _OFFSET.size
        last = self._frame_before(log, index, max(known - 1, 0))
        if known:  # the last frame that was acknowledged, chain included
            acknowledged = _read_frame(log, last.end, last)
            if acknowledged is None:
                raise self._damaged(known - 1, last.end)
            last = acknowledged
        while (frame := _read_frame(log, last.end, last)) is not None:
            _write_offset(index, frame.number, last.end)
            last = frame
        if self._torn_tail(log, last):
            log.seek(last.end)
            tail = log.read()
            aside = self.folder / f"torn-{last.end}-{hashlib.sha256(tail).hexdigest()[:16]}"
            write_atomically(aside, tail)
            log.truncate(last.end)
        return last

    def _torn_tail(self, log: IO[bytes], last: _Frame) -> int:
        """Return the length of what stands behind the last sound frame.

        One killed writer leaves at most one frame. More than that is damage.
        """
        torn, most = log.seek(0, os.SEEK_END) - last.end, _HEADER.size + MAX_ENTRY_BYTES
        log.seek(last.end)
        header = log.read(_HEADER.size)
        if len(header) == _HEADER.size:
            magic, number, length, _, _ = _HEADER.unpack(header)
            if magic == _MAGIC and number == last.number + 1:
                most = _HEADER.size + length
        if not 0 <= torn <= most:
            raise self._damaged(last.number + 1, last.end)
        return torn

    def _damaged(self, number: int, offset: int) -> LedgerError:
        return LedgerError(
            f"the ledger {self.folder} is damaged at entry {number}, byte {offset} of its log",
            next_step="keep the files as evidence and restore the ledger from a backup; what "
            "stands behind the damage proves nothing",
        )


def _write_offset(index: IO[bytes], number: int, offset: int) -> None:
    index.seek(number * _OFFSET.size)
    index.write(_OFFSET.pack(offset))
    index.flush()
    os.fsync(index.fileno())


def _chain(before: bytes, entry: bytes) -> bytes:
    return hashlib.sha256(before + leaf_hash(entry)).digest()


def _read_frame(log: IO[bytes], offset: int, before: _Frame | None) -> _Frame | None:
    """Return the frame at ``offset``, or None if there is no whole, sound one.

    With ``before``, number and chain must continue it.
    """
    log.seek(offset)
    header = log.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, number, length, checksum, chain = _HEADER.unpack(header)
    if magic != _MAGIC or length > MAX_ENTRY_BYTES:
        return None
    entry = log.read(length)
    if len(entry) < length or zlib.crc32(entry) != checksum:
        return None
    if before is not None and (number, chain) != (before.number + 1, _chain(before.chain, entry)):
        return None
    return _Frame(number, entry, chain, offset + _HEADER.size + length)
