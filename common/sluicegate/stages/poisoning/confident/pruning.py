"""Third pass of confident learning: which rows the joint says to prune.

From the joint of given and guessed labels follows how many rows of each label belong to
each other class. So many are taken, by the margin between that class and the label; rows
whose label is after all likeliest are never flagged, yet they take a place in the count.

Nearly always the candidates suffice, since they hold every row with a positive margin.
Where more rows are to be pruned than have one, one more sweep ranks the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.confident.arithmetic import EPSILON
from sluicegate.stages.poisoning.confident.learning import Candidates, Joint
from sluicegate.stages.poisoning.confident.probabilities import Batch
from sluicegate.stages.poisoning.detector import Shard, examine
from sluicegate.storage.base import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["calibrated", "prune", "prune_counts"]

MIN_EXAMPLES: Final = 1
"""Rows that every class keeps; a class with no more is not pruned. cleanlab's default."""


SORTED: Final = 1024
"""Up to this many rows of a label all rivals' margins are sorted at once: calls cost more."""


def calibrated(joint: Joint, label: int) -> npt.NDArray[np.int64]:
    """Scale the confident guesses about one label's rows to all of its rows, and round.

    Rounding keeps the sum: where whole numbers fall short, the largest remainders are raised,
    and the reverse. Remainders of classes that were guessed equally often tie, and then
    cleanlab's choice hangs on the last bit of its floats: so the same operations are done
    here in the same order, and bits that tie too are decided by the class, as a stable sort
    would.

    Returns:
        Shape (classes,): whole numbers whose sum is the number of rows with the label.
    """
    import numpy as np

    exact = _scaled(joint, label) / joint.scaled_total * joint.thresholds.rows
    whole = np.round(exact)
    missing = int(np.round(exact.sum()) - whole.sum())
    order = np.argsort(exact - whole, kind="stable")
    while missing:  # more than one round only if there are fewer classes than are missing
        step = 1 if missing > 0 else -1
        whole[order[::-step][: abs(missing)]] += step
        missing -= step * min(abs(missing), len(whole))
        order = np.argsort(exact - whole, kind="stable")
    return whole.astype(np.int64)


def prune_counts(joint: Joint, label: int) -> npt.NDArray[np.int64]:
    """Return how many rows of a label to prune in favour of each class; shape (classes,)."""
    import numpy as np

    count = int(joint.thresholds.counts[label])
    if count <= MIN_EXAMPLES:
        return np.zeros(len(joint.thresholds.counts), dtype=np.int64)
    counts = calibrated(joint, label)
    lacking = max(MIN_EXAMPLES - int(counts[label]), 0)
    if lacking:
        others = max(int(np.count_nonzero(counts)) - 1, 1)
        counts = np.floor(np.maximum(counts - lacking / others, 0)).astype(np.int64)
    counts[label] = 0
    return counts


def prune(
    joint: Joint,
    shards: Sequence[Shard[Batch]],
    *,
    executor: Executor | None = None,
    progress: Progress = no_progress,
) -> npt.NDArray[np.int64]:
    """Return the ids of the rows to prune, ascending: cleanlab's ``prune_by_noise_rate``.

    Args:
        joint: counts and candidates of all rows.
        shards: the same rows again, should a sweep be needed.
        executor: where to sweep.
        progress: told about the sweep.
    """
    import numpy as np

    flagged: list[npt.NDArray[np.int64]] = []
    short: dict[tuple[int, int], int] = {}
    for label, some in _by_label(joint):
        counts = prune_counts(joint, label)
        taken, lacking = _take(some, label, counts)
        flagged.append(some.rows[taken & some.flaggable])
        short |= {(label, rival): need for rival, need in lacking.items()}
    if short:
        runners = examine(
            _RunnersUp(short), shards, executor=executor, progress=progress, what="ranking rows"
        )
        flagged += runners.values()
    rows = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *flagged]))
    return rows[np.flatnonzero(np.diff(rows, prepend=-1))]


def _scaled(joint: Joint, label: int) -> npt.NDArray[np.float64]:
    guessed = joint.row(label)
    scaled: npt.NDArray[np.float64] = guessed / guessed.sum() * joint.thresholds.counts[label]
    return scaled


def _by_label(joint: Joint) -> Iterator[tuple[int, Candidates]]:
    """Yield the candidates of each label that has some, in order of row id."""
    import numpy as np

    classes = len(joint.thresholds.counts)
    chunks = list(joint.candidates())  # those in memory are one
    if not chunks:
        return
    y = np.concatenate([chunk.y for chunk in chunks])
    rows = np.concatenate([chunk.rows for chunk in chunks])
    chunk_starts = np.cumsum([0, *(len(chunk.y) for chunk in chunks)])
    order = np.argsort(rows, kind="stable")
    order = order[_by_code(y[order], classes)]
    borders = np.searchsorted(y[order], np.arange(classes + 1))
    for label in range(classes):
        at = order[borders[label] : borders[label + 1]]
        if len(at):
            yield label, _gathered(chunks, chunk_starts, at)


def _gathered(
    chunks: list[Candidates], starts: npt.NDArray[np.int64], at: npt.NDArray[np.int64]
) -> Candidates:
    """Return some candidates by their position among all of them."""
    import numpy as np

    if len(chunks) == 1:
        return chunks[0].at(at)
    chunk = np.searchsorted(starts, at, side="right") - 1
    first = chunks[0]
    rows = np.empty(len(at), dtype=np.int64)
    flaggable = np.empty(len(at), dtype=bool)
    p = np.empty((len(at), first.p.shape[1]), dtype=first.p.dtype)
    for number in np.unique(chunk):
        here = chunk == number
        inside = at[here] - starts[number]
        rows[here] = chunks[number].rows[inside]
        flaggable[here] = chunks[number].flaggable[inside]
        p[here] = chunks[number].p[inside]
    return Candidates(rows, np.empty(0, dtype=np.int32), flaggable, p)


def _by_code(codes: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.int64]:
    """Return the order that sorts by code: 16 bits are sorted by radix."""
    import numpy as np

    return np.argsort(codes.astype(np.uint16) if classes <= 1 << 16 else codes, kind="stable")


def _take(
    some: Candidates, label: int, counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], dict[int, int]]:
    """Take the clearest rows of one label for each rival class.

    Returns:
        Shape (candidates,): which are taken for any rival, of those where it is likelier
        than the label: the largest margins, the first of equal ones. And for each rival
        with more rows to prune than that, how many come next, where it can matter.
    """
    import numpy as np

    wanted = np.flatnonzero(counts)
    need = counts[wanted]
    margins = np.ascontiguousarray((some.p[:, wanted] - some.p[:, [label]]).T)
    positive = margins > 0
    available = positive.sum(axis=1)
    taken = positive[available <= need].any(axis=0)
    many = np.flatnonzero(available > need)
    if len(many):
        lines, wish = margins[many], need[many]
        borders = _borders(lines, wish)[:, None]
        above, equal = lines > borders, lines == borders
        left = (wish - above.sum(axis=1))[:, None]
        taken |= (above | (equal & (np.cumsum(equal, axis=1) <= left))).any(axis=0)
    open_ = some.flaggable & ~taken
    lacking = {
        int(wanted[at]): int(need[at] - available[at])
        for at in np.flatnonzero(available < need)
        if (open_ & ~positive[at]).any()
    }
    return taken, lacking


def _borders(
    margins: npt.NDArray[np.floating], need: npt.NDArray[np.int64]
) -> npt.NDArray[np.floating]:
    """Return the ``need``-th largest value of each line; shape (lines,)."""
    import numpy as np

    if margins.shape[1] <= SORTED:
        found = np.sort(margins, axis=1)[np.arange(len(need)), margins.shape[1] - need]
        return np.asarray(found, dtype=margins.dtype)
    borders = [
        np.partition(line, len(line) - count)[len(line) - count]
        for line, count in zip(margins, need.tolist(), strict=True)
    ]
    return np.array(borders, dtype=margins.dtype)


@dataclass(frozen=True, slots=True)
class _RunnersUp:
    """The best rows without a positive margin, for some pairs of label and rival."""

    short: dict[tuple[int, int], int]
    """How many rows to take for each (label, rival)."""

    def init(self) -> dict[tuple[int, int], _Ranked]:
        """Return the state of no rows."""
        return {}

    def update(
        self, state: dict[tuple[int, int], _Ranked], batch: Batch
    ) -> dict[tuple[int, int], _Ranked]:
        """Add a batch."""
        import numpy as np

        order = _by_code(batch.y, batch.p.shape[1])
        labels = batch.y[order]
        for (label, rival), need in self.short.items():
            first, last = np.searchsorted(labels, [label, label + 1])
            at = order[first:last]
            p = batch.p[at]
            margins = p[:, rival] - p[:, label]
            raised = p[:, label] + p.dtype.type(EPSILON)
            others = p.copy()
            others[:, label] = raised
            behind = margins <= 0
            ranked = _Ranked(
                margins[behind].astype(np.float64),
                batch.start + at[behind],
                (others.argmax(axis=1) != label)[behind],
            )
            _add(state, (label, rival), ranked, need)
        return state

    def merge(
        self, one: dict[tuple[int, int], _Ranked], other: dict[tuple[int, int], _Ranked]
    ) -> dict[tuple[int, int], _Ranked]:
        """Keep the best of both."""
        for pair, ranked in other.items():
            _add(one, pair, ranked, self.short[pair])
        return one

    def finalize(
        self, state: dict[tuple[int, int], _Ranked]
    ) -> dict[tuple[int, int], npt.NDArray[np.int64]]:
        """Return the row ids to flag for each pair."""
        return {pair: ranked.rows[ranked.flaggable] for pair, ranked in state.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    margins: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    flaggable: npt.NDArray[np.bool_]


def _add(
    state: dict[tuple[int, int], _Ranked], pair: tuple[int, int], ranked: _Ranked, need: int
) -> None:
    """Merge into a state and keep the best: by margin, then by row id."""
    import numpy as np

    if pair in state:
        before = state[pair]
        ranked = _Ranked(
            np.concatenate([before.margins, ranked.margins]),
            np.concatenate([before.rows, ranked.rows]),
            np.concatenate([before.flaggable, ranked.flaggable]),
        )
    best = np.lexsort((ranked.rows, -ranked.margins))[:need]
    state[pair] = _Ranked(ranked.margins[best], ranked.rows[best], ranked.flaggable[best])
