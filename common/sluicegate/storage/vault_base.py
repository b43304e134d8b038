"""What a vault needs of the place that it lies in, and the words for it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Final, Protocol, TypeVar

from sluicegate.canonical import Digest

__all__ = [
    "COMPLIANCE",
    "GOVERNANCE",
    "NO_LOCK",
    "Expected",
    "Fetched",
    "Kept",
    "Lock",
    "Shelf",
    "in_order",
]

COMPLIANCE: Final = "COMPLIANCE"
"""Nobody, not even the account's root, removes or shortens it before its date."""
GOVERNANCE: Final = "GOVERNANCE"
"""Whoever may bypass governance can remove it; everybody else cannot."""
NO_LOCK: Final = "none"
"""Whoever may delete can remove it."""
_STRENGTH: Final = (NO_LOCK, GOVERNANCE, COMPLIANCE)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """That a stored version cannot be removed or replaced until a date.

    Source: Amazon S3 Object Lock, retention modes.
    """

    mode: str
    """``COMPLIANCE`` or ``GOVERNANCE``."""
    until: datetime

    def joined(self, other: Lock | None) -> Lock:
        """Return the lock that covers both: what is locked already never gets less."""
        if other is None:
            return self
        mode = max(self.mode, other.mode, key=_STRENGTH.index)
        return Lock(mode=mode, until=max(self.until, other.until))

    def covers(self, wanted: Lock) -> bool:
        """Return whether this is at least as strong and as long as ``wanted``."""
        return self.until >= wanted.until and (
            _STRENGTH.index(self.mode) >= _STRENGTH.index(wanted.mode)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An object that is in the vault, with the right bytes."""

    name: str
    lock: Lock | None
    """Its retention as the store tells it; None without one."""
    disturbed: bool
    """Something else lies over it: another version, or a delete marker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the bytes of an object must be."""

    digest: Digest
    size: int

    def met_by(self, chunks: Iterator[bytes], target: IO[bytes] | None) -> bool:
        """Return whether the bytes are these; copies them to ``target`` on the way."""
        hasher, size = hashlib.sha256(), 0
        if target is not None:
            target.seek(0)
            target.truncate()
        for chunk in chunks:
            size += len(chunk)
            if size > self.size:
                return False
            hasher.update(chunk)
            if target is not None:
                target.write(chunk)
        return size == self.size and hasher.hexdigest() == self.digest.hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One stored version of an object, opened."""

    chunks: Iterator[bytes]
    """Its bytes, in pieces; raises SubjectError where reading fails."""
    version: str
    """The store's id for this version; empty where it keeps only one."""
    lock: Lock | None
    """Its retention, as the store tells it."""


class Shelf(Protocol):
    """Named objects that are created once. Names are relative, with ``/``."""

    threads: int
    """How many requests to have in flight."""

    def can_lock(self) -> bool:
        """Return whether objects can be locked here.

        Raises:
            SubjectError: the store does not answer.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is an object of that name.

        Raises:
            SubjectError: the store does not answer.
        """
        ...

    def create(
        self, name: str, source: IO[bytes], *, size: int, digest: Digest, lock: Lock | None
    ) -> bool:
        """Store an object unless there is one of that name; return whether it was stored.

        All of it becomes visible, or nothing.

        Raises:
            SubjectChangedError: ``source`` does not hold the bytes it should.
            SubjectError: it cannot be stored.
        """
        ...

    def fetch(
        self, name: str, version: str | None = None
    ) -> AbstractContextManager[Fetched | None]:
        """Open an object, by default its newest version; None if there is none.

        Raises:
            SubjectError: it cannot be read, or is a link.
        """
        ...

    def versions(self, name: str) -> list[str]:
        """Return the ids of all stored versions of an object, newest first.

        Those that a delete marker hides are among them.

        Raises:
            SubjectError: they cannot be listed.
        """
        ...

    def extend(self, name: str, version: str, lock: Lock) -> Lock | None:
        """Lock a version for longer; return what the store says of it afterwards.

        Raises:
            SubjectError: the store refuses.
        """
        ...

    def read_small(self, name: str, limit: int) -> tuple[bytes, str] | None:
        """Return an object of at most ``limit`` bytes and a tag for :meth:`replace`.

        Raises:
            SubjectError: larger, or cannot be read.
        """
        ...

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Replace an object if it still has this tag (None: is still absent).

        Raises:
            SubjectError: it cannot be written.
        """
        ...

    def sweep(self) -> None:
        """Remove what writers that were killed left behind, once it is a day old."""
        ...


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int
) -> Iterator[_Result]:
    """Yield ``function(item)`` for each item in order, a bounded number of them at once.

    The first exception ends it; what has not begun by then is not begun.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        window: deque[Future[_Result]] = deque()
        try:
            for item in items:
                window.append(pool.submit(function, item))
                if len(window) > 2 * threads:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for waiting in window:
                waiting.cancel()
