"""Labels and predicted probabilities, a bounded batch at a time.

A batch is at most 65,536 rows and 8 MB. Files are read, not mapped: pages of a mapped file
stay in memory until the system wants them back, and would count as ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import SubjectError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ArrayShard", "Batch", "array_shards", "batch_rows", "check_labels", "label_codes"]

MAX_BATCH_ROWS: Final = 1 << 16
"""Sums of so many probabilities in fixed point fit 64 bits."""

MAX_BATCH_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive rows."""

    start: int
    """Id of the first row; the others follow."""
    y: npt.NDArray[np.int64]
    """Shape (rows,): given labels, 0 … classes-1."""
    p: npt.NDArray[np.floating]
    """Shape (rows, classes): float32 or float64, C order."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayShard:
    """Rows of arrays in memory; or mapped, if the caller chose so."""

    y: npt.NDArray[np.integer]
    p: npt.NDArray[np.floating]
    start: int = 0
    """Id of the first row."""

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in batches."""
        step = batch_rows(self.p.shape[1], self.p.dtype.itemsize)
        for at in range(0, len(self.y), step):
            rows = slice(at, at + step)
            yield Batch(self.start + at, label_codes(self.y[rows]), working(self.p[rows]))


def array_shards(
    y: npt.NDArray[np.integer], p: npt.NDArray[np.floating], *, shards: int = 1
) -> Sequence[ArrayShard]:
    """Cut arrays into shards of about equal size.

    Raises:
        SubjectError: shapes or types do not fit; see :func:`check_labels`.
    """
    check_labels(y, p)
    step = max(-(-len(y) // shards), 1)
    return [
        ArrayShard(y[start : start + step], p[start : start + step], start)
        for start in range(0, len(y), step)
    ]


def batch_rows(classes: int, itemsize: int) -> int:
    """Return how many rows a batch holds."""
    return max(min(MAX_BATCH_BYTES // (classes * itemsize), MAX_BATCH_ROWS), 1)


def label_codes(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return labels as int64, whatever their size: arithmetic on uint16 would wrap."""
    import numpy as np

    return np.ascontiguousarray(labels, dtype=np.int64)


def working(p: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return probabilities as float32 or float64 in C order, without copying if they are."""
    import numpy as np

    dtype = np.float32 if p.dtype.itemsize <= np.dtype(np.float32).itemsize else np.float64
    return np.ascontiguousarray(p, dtype=dtype)


def check_labels(y: npt.NDArray[Any], p: npt.NDArray[Any]) -> None:
    """Refuse arrays that cannot be labels and probabilities of the same rows.

    Args:
        y: should have shape (rows,) and hold whole numbers 0 … classes-1.
        p: should have shape (rows, classes) and hold floating-point numbers.

    Raises:
        SubjectError: they are not; says what was expected and found.
    """
    import numpy as np

    if p.ndim != 2 or not p.shape[1]:
        raise SubjectError(
            f"probabilities have shape {p.shape}, not (rows, classes)",
            next_step="give one column for each class",
        )
    if y.ndim != 1 or len(y) != len(p):
        raise SubjectError(
            f"labels have shape {y.shape} and probabilities {p.shape}",
            next_step="give one label and one row of probabilities for each sample, in the "
            "same order",
        )
    if not len(y):
        raise SubjectError("there are no rows", next_step="give at least one sample")
    if p.dtype.kind != "f":
        raise SubjectError(
            f"probabilities are of type {p.dtype}", next_step="give floating-point numbers"
        )
    if y.dtype.kind not in "iu":
        raise SubjectError(
            f"labels are of type {y.dtype}",
            next_step="give whole numbers: the index of each sample's class among the columns",
        )
    step = 1 << 20
    for start in range(0, len(y), step):
        part = y[start : start + step]
        low, high = int(part.min()), int(part.max())
        if low < 0 or high >= p.shape[1]:
            row = start + int(np.flatnonzero((part < 0) | (part >= p.shape[1]))[0])
            raise SubjectError(
                f"row {row} has label {int(y[row])}; there are {p.shape[1]} columns of "
                f"probabilities, so labels are 0 to {p.shape[1] - 1}",
                next_step="number the classes in the order of the columns, from 0",
            )
