"""A part of an open file, as if it were a file of its own, without copying it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from sluicegate.stages.files.limits import BLOCK

__all__ = ["View", "whole"]

SPOOL: Final = 4 << 20
"""Inflated members up to this size stay in memory; larger ones go to an unlinked file."""


class View:
    """``size`` bytes of a seekable file from ``start``. Reads never go beyond them."""

    __slots__ = ("_file", "_start", "size")

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file = file
        self._start = start
        self.size = size

    def at(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``; fewer at the end, none outside."""
        if offset < 0 or count <= 0 or offset >= self.size:
            return b""
        self._file.seek(self._start + offset)
        return self._file.read(min(count, self.size - offset))

    def tail(self, count: int) -> bytes:
        """Return the last ``count`` bytes, or all if there are fewer."""
        return self.at(max(0, self.size - count), count)

    def part(self, offset: int, count: int) -> View:
        """Return a part of this part; ``count`` bytes at most."""
        offset = min(max(offset, 0), self.size)
        return View(self._file, self._start + offset, max(0, min(count, self.size - offset)))

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes from ``offset`` in blocks."""
        while block := self.at(offset, BLOCK):
            yield block
            offset += len(block)

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Open a descriptor whose file is exactly this part, at its start.

        A part of a larger file is copied: whoever gets the descriptor could seek.
        """
        self._file.seek(0, os.SEEK_END)
        if self._start == 0 and self._file.tell() == self.size:
            self._file.flush()
            self._file.seek(0)
            yield self._file.fileno()
            return
        with tempfile.TemporaryFile() as copy:
            for block in self.blocks():
                copy.write(block)
            copy.flush()
            copy.seek(0)
            yield copy.fileno()


def whole(file: IO[bytes]) -> View:
    """Return a view of all of a seekable file."""
    return View(file, 0, file.seek(0, os.SEEK_END))
