"""Confident learning in passes over batches: cleanlab's answer, exact, whatever the order.

1. :class:`Thresholds`: each class's mean probability among the rows that carry its label.
2. :class:`ConfidentJoint`: how many rows of each label are confidently of each class; and
   the *candidates*, all rows in which some other class is at least as likely as the label.
3. ``pruning``: from the joint, how many rows of each label belong to each other class; so
   many are taken, the clearest first.

Sums are in fixed point and counts are integers, ties are broken by row id: any cut of the
data into batches and shards gives the same rows. Where cleanlab's choice is decided by
rounding noise or by an unstable sort, ours is decided by class index and row id; elsewhere
the rows are the same.

Memory: a batch, the counts, and the candidates, which go to files when they are many.

Source: Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068, sections 3.1 and 3.2.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import SubjectError
from sluicegate.stages.poisoning.confident.arithmetic import EPSILON, SCALE
from sluicegate.stages.poisoning.confident.kernels import kernels
from sluicegate.stages.poisoning.confident.probabilities import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "Candidates",
    "ClassThresholds",
    "ConfidentJoint",
    "Joint",
    "Thresholds",
]

SUM_TOLERANCE: Final = 1e-3
"""How far a row of probabilities may be from 1 in sum: printed with four digits, ten classes
still fit, and so does half precision, whose values are off by at most one in 2048."""

MAX_DENSE: Final = 1 << 20
"""Up to this many pairs of classes (1024 squared: 8 MB) are counted in a matrix; more, as
the pairs that occur."""

SPILL_BYTES: Final = 24 << 20
"""Candidates that a pass keeps in memory before it writes them to a file."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassThresholds:
    """What the first pass found."""

    rows: int
    counts: npt.NDArray[np.int64]
    """Shape (classes,): rows that carry each label."""
    limits: npt.NDArray[np.float64]
    """Shape (classes,): from this probability on a class is confident. A class without rows
    has a limit above 1: nothing can be guessed as it."""
    faults: tuple[int, int, int]
    """Rows that are not finite, have a value out of range, or do not sum to 1."""

    def require_sound(self) -> None:
        """Refuse probabilities that are none.

        One NaN would silence a whole class: its threshold becomes NaN, and nothing compares
        with it successfully.

        Raises:
            SubjectError: some rows are unusable; says how many, and why.
        """
        reasons = ("missing or infinite", "outside of 0 to 1", "not 1 in sum")
        found = [
            f"in {count} of {self.rows} rows they are {reason}"
            for count, reason in zip(self.faults, reasons, strict=True)
            if count
        ]
        if found:
            raise SubjectError(
                f"probabilities are unusable: {'; '.join(found)}",
                next_step="give out-of-sample probabilities of all classes; scores and "
                "percentages must be normalised first",
            )


@dataclass(slots=True)
class _Totals:
    counts: npt.NDArray[np.int64]
    sums: npt.NDArray[np.object_]
    faults: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """First pass: the mean probability that each class's rows give to their own label."""

    classes: int

    def init(self) -> _Totals:
        """Return the state of no rows."""
        import numpy as np

        zeros = np.zeros(self.classes, dtype=np.int64)
        return _Totals(zeros, zeros.astype(object), np.zeros(3, dtype=np.int64))

    def update(self, state: _Totals, batch: Batch) -> _Totals:
        """Add a batch."""
        import numpy as np

        sums = np.zeros(self.classes, dtype=np.int64)
        kernels().totals(batch.p, batch.y, sums, -EPSILON, SUM_TOLERANCE, state.faults)
        state.sums += sums.astype(object)
        state.counts += np.bincount(batch.y, minlength=self.classes)
        return state

    def merge(self, one: _Totals, other: _Totals) -> _Totals:
        """Add two states."""
        one.counts += other.counts
        one.sums += other.sums
        one.faults += other.faults
        return one

    def finalize(self, state: _Totals) -> ClassThresholds:
        """Divide."""
        import numpy as np

        limits = np.full(self.classes, 2.0)
        for label in np.flatnonzero(state.counts):
            mean = state.sums[label] / (int(state.counts[label]) * SCALE)
            limits[label] = max(mean, 2 * EPSILON) - EPSILON
        broken, outside, unequal = state.faults.tolist()
        return ClassThresholds(
            int(state.counts.sum()), state.counts, limits, (broken, outside, unequal)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Rows in which another class is at least as likely as the label."""

    rows: npt.NDArray[np.int64]
    """Shape (candidates,): row ids."""
    y: npt.NDArray[np.int32]
    """Shape (candidates,): their labels."""
    flaggable: npt.NDArray[np.bool_]
    """Shape (candidates,): whether another class wins by more than EPSILON."""
    p: npt.NDArray[np.floating]
    """Shape (candidates, classes): their probabilities; perhaps a mapped file."""

    def at(self, chosen: npt.NDArray[np.int64]) -> Candidates:
        """Return some of them, by position."""
        return Candidates(self.rows[chosen], self.y[chosen], self.flaggable[chosen], self.p[chosen])


@dataclass(slots=True)
class _Counts:
    dense: npt.NDArray[np.int64] | None
    pairs: npt.NDArray[np.int64]
    """Shape (pairs, 2): label * classes + guess, count; unless dense."""
    kept: list[Candidates] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    kept_bytes: int = 0


@dataclass(frozen=True, eq=False)
class Joint:
    """What the second pass found."""

    thresholds: ClassThresholds
    confident: _Counts
    """How many rows of each label are confidently of each class, and the candidates."""

    def row(self, label: int) -> npt.NDArray[np.int64]:
        """Return how many rows with a label are confidently of each class.

        Returns:
            Shape (classes,); the label itself counts at least once.
        """
        import numpy as np

        classes = len(self.thresholds.counts)
        result = np.zeros(classes, dtype=np.int64)
        if self.confident.dense is not None:
            result += self.confident.dense[label]
        else:
            pairs = self.confident.pairs
            first, last = np.searchsorted(pairs[:, 0], [label * classes, (label + 1) * classes])
            result[pairs[first:last, 0] - label * classes] = pairs[first:last, 1]
        result[label] = max(result[label], 1)
        return result

    @cached_property
    def scaled_total(self) -> float:
        """The sum of all rows, each scaled to the number of rows with its label.

        The number of rows, but for rounding: which cleanlab divides by, so it matters which
        way it rounds.
        """
        import numpy as np

        if self.confident.dense is None:
            return float(self.thresholds.rows)
        guessed = np.stack([self.row(label) for label in range(len(self.thresholds.counts))])
        scaled = np.ascontiguousarray(guessed.T) / guessed.sum(axis=1) * self.thresholds.counts
        return float(scaled.sum())

    def candidates(self) -> Iterator[Candidates]:
        """Yield all candidates: those in memory at once, those in files mapped."""
        if self.confident.kept:
            yield _joined(self.confident.kept)
        for path in self.confident.files:
            yield _load(path)


@dataclass(frozen=True, slots=True, eq=False)
class ConfidentJoint:
    """Second pass: count confident guesses, and keep the candidates."""

    thresholds: ClassThresholds
    folder: Path | None = None
    """Where candidates go when they are many: a folder that all workers and the caller
    share, emptied by the caller. ``None`` keeps them in memory."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.thresholds.counts)

    def init(self) -> _Counts:
        """Return the state of no rows."""
        import numpy as np

        dense = self.classes**2 <= MAX_DENSE
        matrix = np.zeros((self.classes, self.classes), dtype=np.int64) if dense else None
        return _Counts(matrix, np.empty((0, 2), dtype=np.int64))

    def update(self, state: _Counts, batch: Batch) -> _Counts:
        """Add a batch."""
        import numpy as np

        guess = np.empty(len(batch.y), dtype=np.int32)
        doubt = np.empty(len(batch.y), dtype=np.int8)
        limits = _at_least(self.thresholds.limits, batch.p.dtype)
        dense = np.empty((0, 0), dtype=np.int64) if state.dense is None else state.dense
        kernels().guesses(batch.p, batch.y, limits, dense, guess, doubt)
        if state.dense is None:
            known = guess >= 0
            codes = batch.y[known] * self.classes + guess[known]
            found = np.stack(np.unique(codes, return_counts=True), axis=1)
            state.pairs = _added(state.pairs, found)
        doubted = np.flatnonzero(doubt)
        if len(doubted):
            self._keep(state, batch, doubted, doubt[doubted] > 1)
        return state

    def merge(self, one: _Counts, other: _Counts) -> _Counts:
        """Add two states."""
        if one.dense is not None and other.dense is not None:
            one.dense += other.dense
        else:
            one.pairs = _added(one.pairs, other.pairs)
        one.kept += other.kept
        one.kept_bytes += other.kept_bytes
        one.files += other.files
        return self._spilled(one)

    def finalize(self, state: _Counts) -> Joint:
        """Return counts and candidates."""
        return Joint(self.thresholds, state)

    def _keep(
        self,
        state: _Counts,
        batch: Batch,
        rows: npt.NDArray[np.int64],
        flaggable: npt.NDArray[np.bool_],
    ) -> None:
        import numpy as np

        p = batch.p[rows]
        state.kept.append(
            Candidates(batch.start + rows, batch.y[rows].astype(np.int32), flaggable, p)
        )
        state.kept_bytes += p.nbytes
        self._spilled(state)

    def _spilled(self, state: _Counts) -> _Counts:
        """Write candidates to a file if they are many."""
        if self.folder is None or state.kept_bytes <= SPILL_BYTES:
            return state
        state.files.append(_store(state.kept, self.folder))
        state.kept, state.kept_bytes = [], 0
        return state


def _at_least(limits: npt.NDArray[np.float64], dtype: Any) -> npt.NDArray[np.floating]:
    """Return the smallest values of a type that are not below limits: compares exactly."""
    import numpy as np

    rounded = limits.astype(dtype)
    short = rounded.astype(np.float64) < limits
    rounded[short] = np.nextafter(rounded[short], dtype.type(np.inf))
    return rounded


def _added(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Add counts by key."""
    import numpy as np

    both = np.concatenate([one, other])
    keys, at = np.unique(both[:, 0], return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, at, both[:, 1])
    return np.stack([keys, counts], axis=1)


_PARTS: Final = ("rows", "y", "flaggable", "p")


def _store(kept: Sequence[Candidates], folder: Path) -> Path:
    """Write candidates into a new folder, one array a file."""
    import numpy as np

    place = Path(tempfile.mkdtemp(prefix="candidates-", dir=folder))
    joined = _joined(kept)
    for part in _PARTS:
        np.save(place / f"{part}.npy", getattr(joined, part))
    return place


def _joined(kept: Sequence[Candidates]) -> Candidates:
    import numpy as np

    return Candidates(*(np.concatenate([getattr(some, part) for some in kept]) for part in _PARTS))


def _load(place: Path) -> Candidates:
    import numpy as np

    parts = {
        part: np.load(place / f"{part}.npy", mmap_mode="r", allow_pickle=False) for part in _PARTS
    }
    return Candidates(**parts)
