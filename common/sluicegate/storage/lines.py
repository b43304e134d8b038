"""Many lines, held compactly: one run of bytes and where each line ends.

Millions of records as objects take a gigabyte; as lines they take what they take on disk.
Above a size they lie in a temporary file without a name, mapped into memory, which the
system can drop and read again.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import IO, Final

__all__ = ["MAPPED_ABOVE", "Lines", "LinesWriter", "line_blocks"]

MAPPED_ABOVE: Final = 16 << 20
"""Bytes above which lines lie in a file: about 100,000 records."""

_READ: Final = 1 << 20
"""Bytes that are looked at together when all lines are gone through."""


class Lines:
    """Lines without their newlines, by number."""

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes | mmap.mmap, ends: array[int]) -> None:
        self._data = data
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, at: int) -> bytes:
        """Return one line; ``at`` is 0 to ``len - 1``."""
        start = self._ends[at - 1] if at else 0
        return self._data[start : self._ends[at] - 1]

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield whole lines with their newlines, about a megabyte at a time."""
        stop = len(self._ends) if stop is None else stop
        at = self._ends[start - 1] if start else 0
        end = self._ends[stop - 1] if stop > start else at
        return line_blocks(self._data, at, end)

    def tobytes(self) -> bytes:
        """Return all lines with their newlines."""
        return self._data if isinstance(self._data, bytes) else self._data[:]


def line_blocks(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    """Yield the whole lines between two line starts, about a megabyte at a time."""
    at = start
    while at < end:
        cut = min(at + _READ, end)
        if cut < end:
            found = data.rfind(b"\n", at, cut)
            cut = (found if found >= 0 else data.find(b"\n", cut)) + 1
        yield data[at:cut]
        at = cut


class LinesWriter:
    """Collects lines."""

    def __init__(self, *, mapped_above: int = MAPPED_ABOVE) -> None:
        self._limit = mapped_above
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._ends = array("Q")
        self._size = 0

    def write(self, block: bytes, lengths: Iterable[int]) -> None:
        """Append whole lines, with the length of each, newline included."""
        ends = accumulate(lengths, initial=self._size)
        next(ends)
        self._ends.extend(ends)
        self._size += len(block)
        if self._file is not None:
            self._file.write(block)
            return
        self._parts.append(block)
        if self._size > self._limit:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  the mapping outlives it
            self._file.writelines(self._parts)
            self._parts = []

    def finish(self) -> Lines:
        """Return what was written."""
        if self._file is None:
            return Lines(b"".join(self._parts), self._ends)
        with self._file as file:
            file.flush()
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return Lines(data, self._ends)
