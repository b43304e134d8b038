"""The inner loops over probabilities: compiled where numba is installed, numpy otherwise.

Both give the same integers, bit for bit: all they hand back are counts, codes and rows.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from sluicegate.stages.poisoning.confident.arithmetic import (
    BINS,
    DOUBT_SCALE,
    EPSILON,
    SCALE,
    TINY,
    bins_of,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Kernels", "kernels", "numpy_kernels"]

_CHUNK_VALUES: Final = 1 << 16
"""Probabilities that numpy works on at a time: half a megabyte stays in the cache."""


class Kernels(Protocol):
    """The loops.

    Probabilities ``p`` have shape (rows, classes), are float32 or float64 and in C order;
    labels ``y`` have shape (rows,).
    """

    def totals(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        sums: npt.NDArray[np.int64],
        least: float,
        tolerance: float,
        faults: npt.NDArray[np.int64],
    ) -> None:
        """Add each row's own probability to its class's sum, and count unusable rows.

        Args:
            p: at most 65,536 rows.
            y: given labels.
            sums: shape (classes,), added to: own probabilities in units of 1 / SCALE.
            least: smallest value that is allowed.
            tolerance: how far the sum of a row may be from 1.
            faults: shape (3,), added to: rows that are not finite, out of range, or do not
                sum to 1.
        """
        ...

    def guesses(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        limits: npt.NDArray[np.floating],
        counts: npt.NDArray[np.int64],
        guess: npt.NDArray[np.int32],
        doubt: npt.NDArray[np.int8],
    ) -> None:
        """Find each row's confident class, and whether another class is as likely as the label.

        Args:
            p: probabilities.
            y: given labels.
            limits: shape (classes,), of the type of ``p``: from where on a class is confident.
            counts: shape (classes, classes), added to: rows by label and confident class; or
                of no size, then they are not counted.
            guess: shape (rows,), written: the confident class, the likeliest where there are
                several, or -1.
            doubt: shape (rows,), written: 0 where the label is likelier than any other class,
                2 where another class beats it by more than EPSILON, else 1.
        """
        ...

    def margins(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        disagreed: npt.NDArray[np.int64],
        doubt: npt.NDArray[np.int64],
        margins: npt.NDArray[np.int64],
    ) -> None:
        """Count rows by how sure the model is, and by how far the label loses.

        Args:
            p: probabilities, at least 2 classes.
            y: given labels.
            rows: shape (BINS,), added to: rows by ratio of the two likeliest classes.
            disagreed: shape (BINS,), added to: of these, rows whose label is less likely than
                another class.
            doubt: shape (BINS,), added to: 1 less the likeliest probability, in units of
                1 / DOUBT_SCALE.
            margins: shape (BINS,), added to: rows whose label is less likely than another
                class, by ratio of the likeliest class and the label.
        """
        ...


@cache
def kernels() -> Kernels:
    """Return the fastest kernels there are."""
    try:
        from sluicegate.stages.poisoning.confident import compiled
    except (ImportError, RuntimeError):  # the latter: no folder in which numba could cache
        return numpy_kernels()
    return compiled.Compiled()


def numpy_kernels() -> Kernels:
    """Return the kernels that need numpy alone."""
    return _Numpy()


class _Numpy:
    def totals(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        sums: npt.NDArray[np.int64],
        least: float,
        tolerance: float,
        faults: npt.NDArray[np.int64],
    ) -> None:
        import numpy as np

        ones = np.ones(p.shape[1], dtype=p.dtype)
        sound = np.ones(len(p), dtype=bool)
        with np.errstate(invalid="ignore", over="ignore"):
            for rows in _chunks(p):
                part = p[rows]
                whole = np.abs(part @ ones - 1) <= tolerance
                if whole.all() and part.min() >= least:
                    continue
                finite = np.isfinite(part).all(axis=1)
                inside = ((part >= least) & (part <= 1 - least)).all(axis=1)
                sound[rows] = finite & inside & whole
                faults += [
                    (~finite).sum(),
                    (finite & ~inside).sum(),
                    (finite & inside & ~whole).sum(),
                ]
        at = np.flatnonzero(sound)
        own = np.rint(p[at, y[at]].astype(np.float64) * SCALE).astype(np.int64)
        order = np.argsort(_short(y[at], p.shape[1]), kind="stable")
        present, first = np.unique(y[at][order], return_index=True)
        if len(at):
            sums[present] += np.add.reduceat(own[order], first)

    def guesses(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        limits: npt.NDArray[np.floating],
        counts: npt.NDArray[np.int64],
        guess: npt.NDArray[np.int32],
        doubt: npt.NDArray[np.int8],
    ) -> None:
        import numpy as np

        for rows in _chunks(p):
            part, labels = p[rows], y[rows]
            at = np.arange(len(part))
            top = part.argmax(axis=1)
            own, peak = part[at, labels], part[at, top]
            # If the likeliest class is confident it is the guess, be it alone or not.
            found = np.where(peak >= limits[top], top, -1)
            unsure = np.flatnonzero(found < 0)
            over = part[unsure] >= limits
            several = over.sum(axis=1)
            found[unsure] = np.where(
                several == 0, -1, np.where(several == 1, over.argmax(axis=1), top[unsure])
            )
            guess[rows] = found
            if counts.size:
                codes = np.where(found < 0, 0, labels * p.shape[1] + found + 1)
                counts += np.bincount(codes, minlength=counts.size + 1)[1:].reshape(counts.shape)
            judged = (peak > own).astype(np.int8)
            alike = np.flatnonzero(judged == 0)
            judged[alike] = (part[alike] >= own[alike, None]).sum(axis=1) > 1
            doubted = np.flatnonzero(judged)
            raised = part[doubted]
            raised[np.arange(len(doubted)), labels[doubted]] += p.dtype.type(EPSILON)
            judged[doubted] += raised.argmax(axis=1) != labels[doubted]
            doubt[rows] = judged

    def margins(
        self,
        p: npt.NDArray[np.floating],
        y: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        disagreed: npt.NDArray[np.int64],
        doubt: npt.NDArray[np.int64],
        margins: npt.NDArray[np.int64],
    ) -> None:
        import numpy as np

        for chunk in _chunks(p):
            part = p[chunk].copy()
            at = np.arange(len(part))
            top = part.argmax(axis=1)
            own = np.maximum(part[at, y[chunk]].astype(np.float64), TINY)
            first = np.maximum(part[at, top].astype(np.float64), TINY)
            part[at, top] = -1
            second = np.maximum(part.max(axis=1).astype(np.float64), TINY)
            sure = bins_of(first / second)
            lost = own < first
            rows += np.bincount(sure, minlength=BINS)
            disagreed += np.bincount(sure[lost], minlength=BINS)
            margins += np.bincount(bins_of(first[lost] / own[lost]), minlength=BINS)
            rest = np.rint(np.maximum(1.0 - first, 0.0) * DOUBT_SCALE).astype(np.int64)
            np.add.at(doubt, sure, rest)


def _short(y: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.integer]:
    """Return labels in as few bits as they need: 16 are sorted by radix."""
    import numpy as np

    return y.astype(np.uint16) if classes <= 1 << 16 else y


def _chunks(p: npt.NDArray[Any]) -> list[slice]:
    step = max(_CHUNK_VALUES // p.shape[1], 1)
    return [slice(start, start + step) for start in range(0, len(p), step)]
