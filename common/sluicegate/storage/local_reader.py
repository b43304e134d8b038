"""Hash local files so that what was listed, what was opened and what was read is one file.

Files are opened below an open folder, without following links, so no folder on the way can
be swapped for a link. After the last byte the open file must have the size, times, inode and
device of the listing: a swap, a write or a growth meanwhile is an error, not a digest. A pipe
in the place of a file is never waited for.

What this cannot see: a write within the same tick of the file system's clock (about 4 ms) as
the listing, and writes through a memory mapping that the system has not yet noted. The
consumer compares the bytes that it reads itself, so such a write ends there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import Final

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.base import ListedRow
from sluicegate.storage.hashing import BEYOND, CHUNK, Hashed, changed_while_read, interrupted
from sluicegate.storage.local import local_rows, open_below, stamp
from sluicegate.storage.names import shown
from sluicegate.storage.uri import SubjectUri

__all__ = ["LocalReader", "usable_cores"]

_MOST_THREADS: Final = 8
"""More threads than this wait for the disk, and each has a buffer."""

_PLAIN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_STAMP: Final = ("size", "modification time", "change time", "inode", "device")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalReader:
    """Lists and hashes a local folder or file; see :class:`~sluicegate.storage.base.Reader`."""

    alone_below = 1 << 19
    """Half a megabyte takes a third of a millisecond to hash, ten times what a hand-over does."""

    def __init__(self, subject: SubjectUri, *, threads: int | None = None) -> None:
        """Open the subject; ``threads`` is by default the number of usable cores.

        Raises:
            SubjectError: it does not exist or cannot be read.
        """
        cores = min(usable_cores(), _MOST_THREADS) if threads is None else threads
        self.threads = cores if cores > 1 else 0
        self._subject = subject
        self._root = subject.local
        self._top = -1
        self._opening = threading.Lock()
        self._folders: dict[int, tuple[str, int]] = {}

    def rows(self) -> Iterator[ListedRow]:
        """List; see :class:`~sluicegate.storage.base.Reader`."""
        return local_rows(self._root)

    def hash(self, row: ListedRow, stop: threading.Event) -> Hashed:
        """Hash one file; see :class:`~sluicegate.storage.base.Reader`."""
        path, size = row[0], row[1]
        descriptor = self._open(path)
        try:
            digest, done = _digest(descriptor, size, stop)
            status = os.fstat(descriptor)
        except OSError as error:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SubjectError(
                    f"{shown(path)} of {self._subject} is no plain file any more"
                ) from error
            raise interrupted(self._subject, error) from error
        finally:
            os.close(descriptor)
        seen = stamp(status)
        if done != size:
            raise changed_while_read(self._subject, path, size, done)
        if seen != row[1:]:
            other = [name for name, a, b in zip(_STAMP, row[1:], seen, strict=True) if a != b]
            raise SubjectChangedError(
                f"{shown(path)} of {self._subject} changed while it was read: another "
                f"{', '.join(other)} than when it was listed",
                next_step="take the snapshot when nothing writes to the subject",
            )
        return (path, size, digest), None

    def close(self) -> None:
        """Close the folders that are open."""
        for _, descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    def _open(self, path: str) -> int:
        """Open one file for reading; the subject itself may be a link that a person made."""
        folder, _, name = path.rpartition("/")
        try:
            below = self._folder(folder)
            if below < 0:
                return os.open(self._root, _PLAIN)
            return os.open(name, _PLAIN | os.O_NOFOLLOW, dir_fd=below)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise SubjectChangedError(
                    f"{shown(path)} of {self._subject} was removed while the subject was read"
                ) from error
            raise SubjectError(
                f"{shown(path)} of {self._subject} became a symbolic link or cannot be read: "
                f"{error.strerror}",
                next_step="find out who writes to the subject; take the snapshot again",
            ) from error

    def _folder(self, folder: str) -> int:
        """Return the open folder of a file, -1 where the subject is one file.

        Each thread keeps the last one: sorted files mostly lie beside each other.
        """
        me = threading.get_ident()
        known = self._folders.get(me)
        if known is not None and known[0] == folder:
            return known[1]
        with self._opening:
            if self._top < 0:
                if not self._root.is_dir():
                    return -1
                self._top = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened = open_below(self._top, folder)
        if known is not None:
            os.close(known[1])
        self._folders[me] = (folder, opened)
        return opened


def _digest(descriptor: int, size: int, stop: threading.Event) -> tuple[str, int]:
    """Return the SHA-256 in hexadecimal and how many bytes were read."""
    if size < CHUNK:
        data = os.read(descriptor, size + BEYOND)
        if len(data) >= size:
            return hashlib.sha256(data).hexdigest(), len(data)
        os.lseek(descriptor, 0, os.SEEK_SET)  # shorter, or a read that was cut short
    hasher, done = hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK))
    while done <= size and not stop.is_set():
        count = os.readv(descriptor, (buffer,))
        if not count:
            break
        hasher.update(buffer[:count])
        done += count
    return hasher.hexdigest(), done
