"""Hash the files of a subject, several at once, with a result that does not depend on how.

``hashlib`` lets other threads run while it hashes, so threads use all cores on large files.
Small ones are hashed by the calling thread: to hand them over would cost more than to hash
them. Results come in the order of the listing, and only a few files are under way at a time.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import IO, Final

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.base import ListedRow, Reader, Store
from sluicegate.storage.names import shown
from sluicegate.storage.records import Place, RecordRow
from sluicegate.storage.uri import SubjectUri

__all__ = [
    "BEYOND",
    "CHUNK",
    "Hashed",
    "StreamReader",
    "changed_while_read",
    "hash_all",
    "hash_stream",
    "interrupted",
]

CHUNK: Final = 1 << 18
"""Read size; the one at which hashing is fastest (as in ``hashlib.file_digest``)."""

BEYOND: Final = 1 << 12
"""Bytes asked for beyond the listed length, so that a file that grew is seen to have grown."""

_AHEAD: Final = 4096
"""Results that may wait for an earlier file to be done; a kilobyte each at the most."""

Hashed = tuple[RecordRow, Place | None]


def hash_all(reader: Reader, rows: Iterable[tuple[ListedRow, str]]) -> Iterator[Hashed]:
    """Hash files; yield their records in the order of ``rows``.

    Args:
        reader: hashes one file.
        rows: files as they were listed, each with its digest where that is known already, or
            with an empty text.

    Raises:
        SubjectError: as :meth:`Reader.hash` does; what is under way is stopped first.
    """
    stop = Event()
    if not reader.threads:
        for row, known in rows:
            yield ((row[0], row[1], known), None) if known else reader.hash(row, stop)
        return
    pool = ThreadPoolExecutor(reader.threads, thread_name_prefix="sluicegate-hash")
    try:
        yield from _in_order(pool, reader, rows, stop)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor,
    reader: Reader,
    rows: Iterable[tuple[ListedRow, str]],
    stop: Event,
) -> Iterator[Hashed]:
    waiting: deque[Hashed | Future[Hashed]] = deque()
    under_way = 0
    for row, known in rows:
        if known:
            waiting.append(((row[0], row[1], known), None))
        elif row[1] < reader.alone_below:
            waiting.append(reader.hash(row, stop))
        else:
            waiting.append(pool.submit(reader.hash, row, stop))
            under_way += 1
        while waiting and (
            not isinstance(first := waiting[0], Future)
            or first.done()
            or under_way > 2 * reader.threads
            or len(waiting) > _AHEAD
        ):
            waiting.popleft()
            if isinstance(first, Future):
                under_way -= 1
                yield first.result()
            else:
                yield first
    for one in waiting:
        yield one.result() if isinstance(one, Future) else one


class StreamReader:
    """Reads any store through its own ``entries`` and ``open``, one file at a time.

    Whether such a store may be used by several threads at once is not known, so it is not.
    """

    threads = 0
    alone_below = 0

    def __init__(self, store: Store, subject: SubjectUri) -> None:
        self._store = store
        self._subject = subject

    def rows(self) -> Iterator[ListedRow]:
        """List every file; see :class:`Reader`."""
        for entry in self._store.entries(self._subject):
            yield entry.path, entry.size, 0, 0, 0, 0

    def hash(self, row: ListedRow, stop: Event) -> Hashed:
        """Hash one file through ``open``; see :class:`Reader`."""
        path, size = row[:2]
        with self._store.open(self._subject, path) as source:
            digest = hash_stream(source, self._subject, path, size, stop=stop)
        return (path, size, digest), None

    def close(self) -> None:
        """Give nothing back: nothing is kept open."""


def hash_stream(
    source: IO[bytes],
    subject: SubjectUri,
    path: str,
    size: int,
    *,
    stop: Event,
    also: Callable[[memoryview], None] | None = None,
) -> str:
    """Return the SHA-256 of an open file in hexadecimal.

    Args:
        source: the file, at its start.
        subject: for messages.
        path: the file's name inside the subject, for messages.
        size: how many bytes were listed; a file that grows is not followed.
        stop: given up once this is set.
        also: gets the same bytes.

    Raises:
        SubjectChangedError: another length than listed.
        SubjectError: reading fails.
    """
    hasher, done = hashlib.sha256(), 0
    buffer = memoryview(bytearray(min(CHUNK, size + BEYOND)))
    while not stop.is_set() and (count := _fill(source, buffer, subject)):
        hasher.update(buffer[:count])
        if also is not None:
            also(buffer[:count])
        done += count
        if done > size:
            break
    if done != size:
        raise changed_while_read(subject, path, size, done)
    return hasher.hexdigest()


def _fill(source: IO[bytes], buffer: memoryview, subject: SubjectUri) -> int:
    readinto = getattr(source, "readinto", None)
    try:
        if readinto is not None:
            return int(readinto(buffer))
        piece = source.read(len(buffer))
    except OSError as error:
        raise interrupted(subject, error) from error
    buffer[: len(piece)] = piece
    return len(piece)


def changed_while_read(
    subject: SubjectUri, path: str, listed: int, read: int
) -> SubjectChangedError:
    """Say that a file has another length than its listing."""
    return SubjectChangedError(
        f"{shown(path)} of {subject} changed while it was read: listed with {listed} bytes, read "
        f"{read}",
        next_step="take the snapshot when nothing writes to the subject",
    )


def interrupted(subject: SubjectUri, error: OSError) -> SubjectError:
    """Say that reading failed halfway."""
    return SubjectError(f"reading {subject} failed: {type(error).__name__}")
