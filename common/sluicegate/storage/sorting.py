"""Sort more rows than fit in memory: sorted runs in a temporary file, then a merge.

A million listed files take a gigabyte as Python objects and a tenth of that as bytes on disk.
Few rows never touch the disk.
"""

from __future__ import annotations

import heapq
import marshal
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import IO, Any, Final, Generic, TypeVar

__all__ = ["SortedRows", "blocks"]

RUN_ROWS: Final = 1 << 18
"""Rows of one sorted run, some 80 MB of objects: the only ones that are in memory at once."""

_PIECE: Final = 1 << 10
"""Rows that the merge reads at once from each run: 4 runs at 10^6 rows, so 4,000 in memory."""

RowT = TypeVar("RowT", bound=tuple[Any, ...])
ItemT = TypeVar("ItemT")


def blocks(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Cut items into lists of ``size``; the last one may be shorter."""
    items = iter(items)
    while block := list(islice(items, size)):
        yield block


class SortedRows(Generic[RowT]):
    """Rows sorted by their first column, which is text; can be gone through several times.

    Rows hold text and integers only. They are kept by ``marshal`` in a file that has no name,
    so nobody else can write what is read back.
    """

    def __init__(self, rows: Iterable[RowT], *, run_rows: int = RUN_ROWS) -> None:
        """Read all rows; ``run_rows`` of them are held in memory."""
        self._rows: list[RowT] = []
        self._runs: list[list[tuple[int, int]]] = []
        self._file: IO[bytes] | None = None
        self._count = 0
        self._apart, last = True, ""
        for run in blocks(rows, run_rows):
            run.sort(key=itemgetter(0))
            self._count += len(run)
            self._apart, last = self._apart and last <= run[0][0], run[-1][0]
            if len(run) < run_rows and self._file is None:
                self._rows = run
            else:
                self._spill(run)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RowT]:
        if self._file is None:
            return iter(self._rows)
        if self._apart:  # as it is where the rows came in order
            return chain.from_iterable(map(self._run, self._runs))
        return heapq.merge(*(self._run(pieces) for pieces in self._runs), key=itemgetter(0))

    def _spill(self, run: Sequence[RowT]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the rows
        places = []
        at = self._file.seek(0, os.SEEK_END)
        for piece in blocks(run, _PIECE):
            length = self._file.write(marshal.dumps(piece))
            places.append((at, length))
            at += length
        self._runs.append(places)

    def _run(self, places: Sequence[tuple[int, int]]) -> Iterator[RowT]:
        file = self._file
        if file is None:
            return
        for at, length in places:
            file.seek(at)
            yield from marshal.loads(file.read(length))  # noqa: S302  written above, no name

    def close(self) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()
