"""What storage does for everything above it: list the files of a subject and open one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import IO, Protocol, TypeAlias, runtime_checkable

from sluicegate.storage.records import Place, RecordRow
from sluicegate.storage.uri import SubjectUri

__all__ = [
    "Entry",
    "ListedRow",
    "Progress",
    "Reader",
    "Store",
    "VersionedStore",
    "no_progress",
]

Progress = Callable[[str, int, int], None]
"""Told ``(what, done, total)`` during long work; ``total`` is 0 when it is not known."""

ListedRow: TypeAlias = tuple[str, int, int, int, int, int]
"""``(path, size, mtime_ns, ctime_ns, inode, device)`` of a listed file, as the lists of large
subjects keep it; the last four are 0 where a store has no such thing."""


def no_progress(what: str, done: int, total: int) -> None:
    """Say nothing: the progress of a run that nobody watches."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of a subject, as the store lists it: not yet read, not yet trusted."""

    path: str
    """Path relative to the subject, with ``/``. A single file is its own name."""
    size: int
    """Length in bytes."""


class Store(Protocol):
    """One kind of storage. Implementations keep no state between calls."""

    def entries(self, subject: SubjectUri) -> Iterator[Entry]:
        """List every file of the subject, in any order.

        Raises:
            SubjectError: it does not exist, cannot be read, or holds something that is
                not a plain file (a link, a device, a name that leaves the folder).
        """
        ...

    def open(self, subject: SubjectUri, path: str) -> IO[bytes]:
        """Open one listed file for reading from its start.

        Raises:
            SubjectError: it is gone, or is no plain file any more.
        """
        ...

    def write(self, target: SubjectUri, source: IO[bytes]) -> None:
        """Write one whole file so that a reader sees all of it or nothing.

        Raises:
            SubjectError: the target cannot be written.
        """
        ...


@runtime_checkable
class VersionedStore(Protocol):
    """A store that keeps earlier versions of a file and can read one of them."""

    def open_version(self, subject: SubjectUri, path: str, version_id: str) -> IO[bytes]:
        """Open the version of a file that a snapshot saw.

        Raises:
            SubjectError: that version is gone or cannot be read.
        """
        ...


class Reader(Protocol):
    """Lists and hashes the files of one subject; made for one snapshot, then closed."""

    threads: int
    """How many files may be hashed at once; 0 for none beside the calling thread."""
    alone_below: int
    """Files smaller than this many bytes are hashed by the calling thread: handing them to
    another one would cost more than hashing them."""

    def rows(self) -> Iterator[ListedRow]:
        """List every file, in any order; raises as :meth:`Store.entries` does."""
        ...

    def hash(self, row: ListedRow, stop: Event) -> tuple[RecordRow, Place | None]:
        """Hash the bytes of one listed file; called from several threads at once.

        Args:
            row: the file, as it was listed.
            stop: given up between two pieces of a file once this is set.

        Raises:
            SubjectChangedError: it is not the file that was listed, or changed meanwhile.
            SubjectError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...
