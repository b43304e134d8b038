"""Numbers in ascending order, more of them than memory holds.

Numbers are collected; whenever enough are there they are sorted and written to a temporary
file without a name. In the end the runs are merged piece by piece: pivots that were sampled
from the numbers themselves part all runs at the same values, so a piece takes little memory
whatever the order and the distribution; a value that occurs very often is only counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SortedRuns"]

_RUN: Final = 1 << 22
"""Numbers of one run: 32 MiB of them in memory."""

_STEP: Final = 1 << 12
"""Each so-manieth number of a run is a sample."""

_PIECE: Final = 1 << 20
"""Numbers that a piece of the merged sequence has, roughly."""


class SortedRuns:
    """Collects numbers of one type, and gives them back sorted, once."""

    def __init__(self, *, run: int = _RUN, step: int = _STEP, piece: int = _PIECE) -> None:
        """Take sizes, in numbers, that only tests need to change."""
        self._run, self._step, self._piece = run, step, piece
        self._waiting: list[np.ndarray[Any, Any]] = []
        self._count = 0
        self._runs: list[_Run] = []
        self._file: IO[bytes] | None = None
        self.total = 0
        """Numbers so far."""

    def add(self, numbers: np.ndarray[Any, Any]) -> None:
        """Take in numbers, in any order; all of one type, none of them NaN."""
        self.total += len(numbers)
        if not len(numbers):
            return
        self._waiting.append(numbers.copy())
        self._count += len(numbers)
        if self._count >= self._run:
            self._spill()

    def _sorted(self) -> np.ndarray[Any, Any]:
        import numpy as np

        numbers = np.concatenate(self._waiting)
        self._waiting, self._count = [], 0
        if (numbers[1:] < numbers[:-1]).any():
            numbers.sort()
        return numbers

    def _spill(self) -> None:
        self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        numbers = self._sorted()
        samples = numbers[:: self._step].copy()
        self._runs.append(_Run(self._file, self._file.tell(), len(numbers), samples, self._step))
        self._file.write(numbers.data.cast("B"))

    def pieces(self) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
        """Yield sorted numbers and how often each of them stands there.

        Every piece lies above the one before it: equal numbers never are in two of them.
        """
        import numpy as np

        if not self._runs:
            if self._waiting:
                yield self._sorted(), 1
            return
        if self._waiting:
            self._spill()
        samples = np.sort(np.concatenate([run.samples for run in self._runs]))
        pivots = np.unique(samples[:: max(1, self._piece // self._step)])
        ends = [0] * len(self._runs)
        for pivot in pivots:
            lefts = [run.find(pivot, "left") for run in self._runs]
            yield from self._between(ends, lefts)
            ends = [run.find(pivot, "right") for run in self._runs]
            times = sum(ends) - sum(lefts)
            yield np.array([pivot], dtype=samples.dtype), times
        yield from self._between(ends, [run.count for run in self._runs])

    def _between(
        self, starts: list[int], ends: list[int]
    ) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
        import numpy as np

        taken = [
            run.read(start, end)
            for run, start, end in zip(self._runs, starts, ends, strict=True)
            if end > start
        ]
        if taken:
            merged = np.concatenate(taken)
            merged.sort(kind="stable")  # which merges runs that are sorted already
            yield merged, 1

    def close(self) -> None:
        """Let go of memory and file."""
        self._waiting, self._runs = [], []
        if self._file is not None:
            self._file.close()
            self._file = None


class _Run:
    """Sorted numbers in a file."""

    def __init__(
        self, file: IO[bytes], start: int, count: int, samples: np.ndarray[Any, Any], step: int
    ) -> None:
        self._file, self._start, self._step = file, start, step
        self.count, self.samples = count, samples

    def read(self, start: int, end: int) -> np.ndarray[Any, Any]:
        import numpy as np

        size = self.samples.dtype.itemsize
        self._file.seek(self._start + start * size)
        return np.frombuffer(self._file.read((end - start) * size), dtype=self.samples.dtype)

    def find(self, value: Any, side: Any) -> int:
        """Return where a value begins ("left") or ends ("right")."""
        import numpy as np

        block = int(np.searchsorted(self.samples, value, side)) - 1
        if block < 0:
            return 0
        start = block * self._step
        numbers = self.read(start, min(start + self._step, self.count))
        return start + int(np.searchsorted(numbers, value, side))
