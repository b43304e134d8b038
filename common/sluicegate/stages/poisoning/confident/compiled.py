"""The loops of ``kernels``, compiled by numba. Importing this module needs the extra `fast`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sluicegate.stages.poisoning.confident.arithmetic import (
    DOUBT_SCALE,
    EPSILON,
    SCALE,
    TINY,
    bins_of,
)

__all__ = ["Compiled"]

_REORDERED = {"reassoc", "nsz"}
"""The values of a row may be added in any order: their sum is only compared with a
tolerance. NaN and infinity keep their meaning."""


@njit(cache=True, nogil=True, fastmath=_REORDERED)
def _totals(p, y, sums, least, tolerance, faults):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows, classes = p.shape
    zero = p.dtype.type(0)
    for row in range(rows):
        total = zero
        below = 0
        for column in range(classes):
            value = p[row, column]
            total += value
            below += value < least
        if abs(total - 1) <= tolerance and below == 0:
            sums[y[row]] += np.int64(np.rint(np.float64(p[row, y[row]]) * SCALE))
            continue
        finite = True
        inside = True
        for column in range(classes):
            value = p[row, column]
            finite &= np.isfinite(value)
            inside &= least <= value <= 1 - least
        if not finite:
            faults[0] += 1
        elif not inside:
            faults[1] += 1
        else:
            faults[2] += 1


@njit(cache=True, nogil=True)
def _guesses(p, y, limits, epsilon, counts, guess, doubt):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows, classes = p.shape
    for row in range(rows):
        label = y[row]
        own = p[row, label]
        rivals = np.int32(0)
        over = np.int32(0)
        for column in range(classes):
            rivals += p[row, column] >= own
            over += p[row, column] >= limits[column]
        if rivals == 1 and (over == 0 or own >= limits[label]):
            doubt[row] = 0
            guess[row] = label if over else -1
            if over and counts.size:
                counts[label, label] += 1
            continue
        top = 0
        confident = -1
        beaten = False
        raised = own + epsilon
        for column in range(classes):
            value = p[row, column]
            if value > p[row, top]:
                top = column
            if value >= limits[column]:
                confident = column
            if column != label and (value > raised or (value == raised and column < label)):
                beaten = True
        found = confident if over <= 1 else top
        guess[row] = found
        if over and counts.size:
            counts[label, found] += 1
        doubt[row] = 0 if rivals == 1 else (2 if beaten else 1)


@njit(cache=True, nogil=True)
def _extremes(p, y, first, second, own):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows, classes = p.shape
    for row in range(rows):
        high = p.dtype.type(-1)
        next_ = p.dtype.type(-1)
        for column in range(classes):
            value = p[row, column]
            lower = min(value, high)
            high = max(value, high)
            next_ = max(next_, lower)
        first[row] = max(np.float64(high), TINY)
        second[row] = max(np.float64(next_), TINY)
        own[row] = max(np.float64(p[row, y[row]]), TINY)


@njit(cache=True, nogil=True)
def _count(sure, lost, behind, first, rows, disagreed, doubt, margins):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(len(sure)):
        at = sure[row]
        rows[at] += 1
        doubt[at] += np.int64(np.rint(max(1.0 - first[row], 0.0) * DOUBT_SCALE))
        if lost[row]:
            disagreed[at] += 1
            margins[behind[row]] += 1


class Compiled:
    """See :class:`~.kernels.Kernels`."""

    def totals(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        sums: npt.NDArray[np.int64],
        least: float,
        tolerance: float,
        faults: npt.NDArray[np.int64],
    ) -> None:
        """Run the compiled loop."""
        _totals(p, y, sums, p.dtype.type(least), p.dtype.type(tolerance), faults)

    def guesses(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        limits: npt.NDArray[np.floating],
        counts: npt.NDArray[np.int64],
        guess: npt.NDArray[np.int32],
        doubt: npt.NDArray[np.int8],
    ) -> None:
        """Run the compiled loop."""
        _guesses(p, y, limits, p.dtype.type(EPSILON), counts, guess, doubt)

    def margins(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        disagreed: npt.NDArray[np.int64],
        doubt: npt.NDArray[np.int64],
        margins: npt.NDArray[np.int64],
    ) -> None:
        """Run the compiled loops."""
        first, second, own = (np.empty(len(p)) for _ in range(3))
        _extremes(p, y, first, second, own)
        sure, behind = bins_of(first / second), bins_of(first / own)
        _count(sure, own < first, behind, first, rows, disagreed, doubt, margins)
