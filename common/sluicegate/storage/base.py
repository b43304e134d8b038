"""What storage does for everything above it: list the files of a subject and open one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

from sluicegate.storage.uri import SubjectUri

__all__ = ["Entry", "Progress", "Store", "no_progress"]

Progress = Callable[[str, int, int], None]
"""Told ``(what, done, total)`` during long work; ``total`` is 0 when it is not known."""


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
