"""Sources: contributors, uploads and times whose labels are wrong more often than elsewhere.

A model that never saw a row contradicts its label, or does not; and it says how likely that
was. Somebody who poisons data does so in what is theirs to write. So contradictions are
counted by source, and a source is named if it has more of them than

* the other sources have, class by class (its mix of classes may be its own), and
* the model itself expected of these rows (they may be hard ones),

significantly over all sources and classes together (Holm), and several times as many. Two
counts are compared by the binomial distribution of one given their sum, which needs no true
rate. A named source is then left out of what others are compared with, and the search goes on.

Where rows have times, windows of time are searched likewise, by a scan statistic whose null
distribution is simulated.

Limits: where most of the data is poisoned, the rest stands out. A source of fewer than ten
rows cannot be named, and somebody with many accounts has many sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "SOURCES",
    "SourceBatch",
    "SourceShift",
    "SourceTally",
    "source_shift",
]

SOURCES: Final = "poisoning.source_shift"

ALPHA: Final = 0.01
"""Share of clean data sets in which chance alone may name a source, or a window."""

MIN_RATIO: Final = 3.0
"""Observed over expected contradictions: models err unevenly, by less than that."""

MIXED_RATIO: Final = 2.0
"""The same, for a source whose labels are also distributed unlike all others'."""

MIXED: Final = 0.5
"""Total variation distance between two distributions of labels from which on they differ
wildly: half of the rows would need another label."""

MIN_ROWS: Final = 10
"""Fewest rows of a source, or of one class in it, to be tested."""

MIN_ERRORS: Final = 5
"""Fewest contradicted labels: fewer are no campaign, whatever their significance."""

HALF: Final = 0.5
"""Contradictions added to a count in a rate, so that a count of zero is no rate of zero."""

LEAST_EXPECTED: Final = 1e-4
"""A model's probability of a contradiction counts as at least this: no model is so sure."""

FEW: Final = 1e-9
"""Share below which a difference of two sums is a rounding error."""

FIXED_POINT: Final = 2**40
"""Probabilities are summed as integer multiples of 1/this: sums do not depend on their order,
and 2^22 rows of a batch fit 63 bits."""

MAX_ROUNDS: Final = 64
"""Most sources or classes in sources that are named."""

BINS: Final = 4_096
"""Most points in time that are told apart; beyond, neighbouring ones are taken together."""

DRAWS: Final = 999
"""Simulated histories: the least p-value is 0.001, a tenth of what is asked for."""

MAX_WINDOWS: Final = 16
"""Most windows of time that are named."""

LONGEST_WINDOW: Final = 0.5
"""Share of the rows from which on a window is the rule, and the rest the exception."""

_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class SourceBatch:
    """Some rows, their sources, and what a model says of their labels."""

    source: npt.NDArray[np.int64]
    """Shape (rows,): codes, indices into :attr:`names`."""
    names: Sequence[str]
    """Names of the sources; batches may number them differently."""
    y: npt.NDArray[np.int64]
    """Shape (rows,): class codes, the same in all batches."""
    errors: npt.NDArray[np.float64]
    """Shape (rows,): 1 where a model that never saw the row contradicts its label, else 0."""
    expected: npt.NDArray[np.float64]
    """Shape (rows,): how likely the model held that to be, 0 … 1."""


@dataclass(frozen=True, slots=True)
class SourceShift:
    """A source, or one class in it, with more contradicted labels than it should have."""

    source: str
    label: int | None
    """The class, or None for all of them together."""
    rows: int
    observed: int
    expected: float
    """The larger one of what other sources and what the model let expect."""
    ratio: float
    p_value: float
    """Corrected for the number of sources and classes tested."""
    label_distance: float
    """Total variation distance of the source's labels to those of all others beyond what chance
    produces, 0 … 1."""


TallyState = dict[str, dict[int, list[int]]]
"""By source and class: rows, contradicted ones, and expected ones in fixed point."""


@dataclass(frozen=True, slots=True)
class SourceTally:
    """Counts contradictions by source and class; a detector, see ``detector.py``.

    Memory grows with the number of sources times classes, and not with rows.
    """

    classes: int
    """Number of classes."""

    def init(self) -> TallyState:
        """Return the state of no rows."""
        return {}

    def update(self, state: TallyState, batch: SourceBatch, /) -> TallyState:
        """Add a batch's rows."""
        import numpy as np

        if not len(batch.y):
            return state
        pairs, where = np.unique(batch.source * self.classes + batch.y, return_inverse=True)
        fixed = _fixed(batch.expected)
        sums = np.zeros((len(pairs), 3), dtype=np.int64)
        np.add.at(sums, where, np.stack([np.ones_like(fixed), batch.errors > HALF, fixed], axis=1))
        for pair, counts in zip(pairs.tolist(), sums.tolist(), strict=True):
            source, label = divmod(pair, self.classes)
            _add(state, batch.names[source], label, counts)
        return state

    def merge(self, one: TallyState, other: TallyState, /) -> TallyState:
        """Add all counts."""
        for source, classes in other.items():
            for label, counts in classes.items():
                _add(one, source, label, counts)
        return one

    def finalize(self, state: TallyState, /) -> tuple[SourceShift, ...]:
        """Return the sources that stand out, the most significant first."""
        import numpy as np

        names = sorted(state)
        cells = [
            (at, label, *counts)
            for at, name in enumerate(names)
            for label, counts in sorted(state[name].items())
        ]
        source, label, rows, errors, fixed = zip(*cells, strict=True) if cells else ((),) * 5
        return _search(
            names,
            _Cells(
                source=np.array(source, dtype=np.int64),
                label=np.array(label, dtype=np.int64),
                rows=np.array(rows, dtype=np.float64),
                errors=np.array(errors, dtype=np.float64),
                expected=np.array([each / FIXED_POINT for each in fixed], dtype=np.float64),
            ),
            self.classes,
        )


def source_shift(
    errors: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    source: npt.NDArray[np.int64],
    names: Sequence[str],
    *,
    classes: Sequence[str],
    times: npt.NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Channel:
    """Flag contradicted rows of sources, and of windows of time, that have too many of them.

    A row's score is its own excess, 1 or 0 minus what was expected; its p-value that of its
    source or window, NaN where none is named.

    Args:
        errors: shape (rows,): 1 where a model that never saw the row contradicts its label.
        expected: shape (rows,): how likely the model held that to be: one minus its
            probability for its own favourite class is a good measure.
        y: shape (rows,): class codes.
        source: shape (rows,): indices into ``names``; negative where the source is not known.
        names: names of the sources.
        classes: names of the classes, by code.
        times: shape (rows,): when rows came, in any unit; NaN where that is not known.
        seed: seed of the simulation.
    """
    import numpy as np

    known = (source >= 0) & np.isfinite(errors) & np.isfinite(expected)
    scores = np.round(errors - expected, 6)
    p_values = np.full(len(y), np.nan)
    groups: list[Group] = []
    reasons = []
    if len(np.unique(source[known])) > 1:
        tally = SourceTally(max(len(classes), 1))
        batch = SourceBatch(source[known], names, y[known], errors[known], expected[known])
        for shift in tally.finalize(tally.update(tally.init(), batch)):
            of_source = np.isin(
                source, [at for at, name in enumerate(names) if name == shift.source]
            )
            of_class = True if shift.label is None else y == shift.label
            rows = np.flatnonzero(known & of_source & of_class & (errors > HALF))
            groups.append(_source_group(shift, rows, classes))
            p_values[rows] = np.fmin(p_values[rows], shift.p_value)
    elif times is None:
        reasons.append("all rows are of one source: there is nothing to compare it with")
    if times is not None:
        dated = np.isfinite(times) & np.isfinite(errors) & np.isfinite(expected)
        for window in _windows(times, errors, expected, y, dated, max(len(classes), 1), seed):
            groups.append(_window_group(window))
            rows = window.members
            p_values[rows] = np.fmin(p_values[rows], window.p_value)
    return Channel(
        id=SOURCES,
        scores=scores,
        p_values=p_values,
        groups=tuple(groups),
        unknown="; ".join(reasons),
        metrics={
            "sources": len(np.unique(source[known])),
            "contradicted_rows": int((errors[np.isfinite(errors)] > HALF).sum()),
            "named": len(groups),
        },
    )


def _fixed(expected: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    import numpy as np

    kept = np.clip(expected, LEAST_EXPECTED, 1.0)
    return np.rint(kept * FIXED_POINT).astype(np.int64)


def _add(state: TallyState, source: str, label: int, counts: Sequence[int]) -> None:
    held = state.setdefault(source, {}).setdefault(label, [0, 0, 0])
    for at, count in enumerate(counts):
        held[at] += count


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Counts of each source and class that occur together; all of shape (cells,)."""

    source: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]


def _search(names: list[str], cells: _Cells, classes: int) -> tuple[SourceShift, ...]:
    """Name sources one after the other, each time leaving named ones out of the others."""
    import numpy as np

    tested = int((cells.rows >= MIN_ROWS).sum())
    tested += int((np.bincount(cells.source, cells.rows, len(names)) >= MIN_ROWS).sum())
    clean = np.ones(len(cells.rows), dtype=bool)
    found: list[SourceShift] = []
    while tested and clean.any() and len(found) < MAX_ROUNDS:
        left = _Cells(
            source=cells.source[clean],
            label=cells.label[clean],
            rows=cells.rows[clean],
            errors=cells.errors[clean],
            expected=cells.expected[clean],
        )
        shift = _worst(names, left, classes, tested)
        if shift is None:
            break
        found.append(shift)
        of_class = shift.label is None or cells.label == shift.label
        clean &= ~((cells.source == names.index(shift.source)) & of_class)
    return tuple(sorted(found, key=lambda shift: (shift.p_value, -shift.ratio, shift.source)))


def _worst(names: list[str], cells: _Cells, classes: int, tested: int) -> SourceShift | None:
    """Return the most significant shift, or None. Cells come first, then whole sources."""
    import numpy as np

    by_rows = _compared(cells, cells.rows, len(names), classes)
    by_model = _compared(cells, cells.expected, len(names), classes)
    p = np.minimum(np.maximum(by_rows[0], by_model[0]) * tested, 1.0)
    usual = np.maximum(by_rows[1], by_model[1])
    seen = np.append(cells.errors, np.bincount(cells.source, cells.errors, len(names)))
    size = np.append(cells.rows, np.bincount(cells.source, cells.rows, len(names)))
    source = np.append(cells.source, np.arange(len(names)))
    distance = _label_distances(cells, len(names), classes)[source]
    ratio = seen / np.maximum(usual, HALF)
    fits = (size >= MIN_ROWS) & (seen >= MIN_ERRORS) & (p <= ALPHA)
    fits &= ratio >= np.where(distance >= MIXED, MIXED_RATIO, MIN_RATIO)
    if not fits.any():
        return None
    order = np.lexsort((source, -ratio, p))
    at = int(order[fits[order]][0])
    return SourceShift(
        source=names[int(source[at])],
        label=int(cells.label[at]) if at < len(cells.label) else None,
        rows=int(size[at]),
        observed=int(seen[at]),
        expected=round(float(usual[at]), 3),
        ratio=round(float(ratio[at]), 3),
        p_value=float(f"{p[at]:.3g}"),
        label_distance=round(float(distance[at]), 3),
    )


def _compared(
    cells: _Cells, exposure: npt.NDArray[np.float64], sources: int, classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compare each source with all others, class by class and then over all classes.

    Source: Przyborowski & Wilenski 1940, "Homogeneity of results in testing samples from
    Poisson series": one count given the sum of two is binomial. A sum of rare events of
    unequal probabilities has a lighter tail than the Poisson distribution.

    Returns:
        p-values and expected counts; shapes (cells + sources,).
    """
    import numpy as np
    from scipy.stats import binom

    class_errors = np.bincount(cells.label, cells.errors, classes)
    class_exposure = np.bincount(cells.label, exposure, classes)
    other_errors = class_errors[cells.label] - cells.errors
    other_exposure = class_exposure[cells.label] - exposure
    alone = other_exposure <= FEW * class_exposure[cells.label]  # rounding: nobody else has it
    by_source = np.bincount(cells.source, cells.errors, sources)
    elsewhere = class_errors.sum() - by_source
    outer = exposure.sum() - np.bincount(cells.source, exposure, sources)
    overall = (elsewhere + HALF) / np.maximum(outer, HALF)
    # Of a class with few rows elsewhere, the rate of all classes together.
    rate = (other_errors + HALF) / (np.maximum(other_exposure, 0.0) + HALF / overall[cells.source])
    usual = np.where(alone, 0.0, exposure * rate)
    # All classes together: what a source is exposed to at the others' rates, class by class,
    # against what the others are exposed to at their own rates, which is what they have.
    own = np.bincount(cells.source, usual, sources)
    compared = np.bincount(cells.source, np.where(alone, 0.0, cells.errors), sources)
    inside = np.append(np.where(alone, 0.0, exposure), own)
    outside = np.append(np.where(alone, 0.0, other_exposure), np.maximum(elsewhere, HALF))
    comparable = (inside > 0) & (outside > FEW * inside)
    share = np.where(comparable, inside / np.where(comparable, inside + outside, 1.0), 1.0)
    seen = np.append(cells.errors, compared)
    total = seen + np.append(other_errors, elsewhere)
    p = np.where(comparable, binom.sf(seen - 1, total, share), 1.0)
    return p, np.where(comparable, np.append(usual, own), np.inf)


def _label_distances(cells: _Cells, sources: int, classes: int) -> npt.NDArray[np.float64]:
    """Return how unlike all others' each source's labels are; shape (sources,)."""
    import numpy as np

    by_source = np.bincount(cells.source, cells.rows, sources)
    by_class = np.bincount(cells.label, cells.rows, classes)
    others = by_class.sum() - by_source
    own = cells.rows / by_source[cells.source]
    rest = (by_class[cells.label] - cells.rows) / np.maximum(others, 1.0)[cells.source]
    gaps = np.bincount(cells.source, np.abs(own - rest), sources)
    absent = 1.0 - np.bincount(cells.source, rest, sources)  # classes that it does not have
    both = (by_source > 0) & (others > 0)
    # What sampling so many rows differs by on average, if the labels are those of everybody:
    # mean absolute deviations of normal distributions. With many classes that is a lot.
    shares = by_class / max(float(by_class.sum()), 1.0)
    chance = np.sqrt(2 / np.pi) * np.sqrt(shares).sum() / np.sqrt(np.maximum(by_source, 1.0))
    distance = np.maximum(gaps + absent - chance, 0.0) / 2
    result: npt.NDArray[np.float64] = np.where(both, distance, 0.0)
    return result


def _source_group(shift: SourceShift, rows: npt.NDArray[np.int64], classes: Sequence[str]) -> Group:
    label = "" if shift.label is None else f" of class {classes[shift.label][:_LONGEST_NAME]!r}"
    evidence: dict[str, Json] = {
        "kind": "source",
        "source": shift.source[:_LONGEST_NAME],
        "label": None if shift.label is None else classes[shift.label][:_LONGEST_NAME],
        "rows": shift.rows,
        "observed": shift.observed,
        "expected": shift.expected,
        "ratio": shift.ratio,
        "p_value": shift.p_value,
        "label_distance": shift.label_distance,
    }
    return Group(
        message=f"the labels of {shift.observed} rows{label} from one source are contradicted, "
        f"and {shift.expected:g} were expected",
        rows=rows,
        evidence=evidence,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """A stretch of time with too many contradicted labels."""

    members: npt.NDArray[np.int64]
    """Indices of the contradicted rows in it."""
    begins: float
    ends: float
    rows: int
    observed: int
    expected: float
    ratio: float
    p_value: float


def _window_group(window: _Window) -> Group:
    return Group(
        message=f"the labels of {window.observed} rows within a stretch of time are "
        f"contradicted, and {window.expected:g} were expected",
        rows=window.members,
        evidence={
            "kind": "window",
            "begins": window.begins,
            "ends": window.ends,
            "rows": window.rows,
            "observed": window.observed,
            "expected": window.expected,
            "ratio": window.ratio,
            "p_value": window.p_value,
        },
    )


def _windows(
    times: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    dated: npt.NDArray[np.bool_],
    classes: int,
    seed: int,
) -> list[_Window]:
    """Return stretches of time with too many contradictions, none overlapping another.

    Source: Kulldorff 1997, "A spatial scan statistic".
    """
    import numpy as np

    rows = np.flatnonzero(dated)
    wrong = errors[rows] > HALF
    if int(wrong.sum()) < MIN_ERRORS or len(rows) < 2 * MIN_ROWS:
        return []
    bins, count = _binned(times[rows])
    by_class = np.bincount(y[rows], wrong, classes) / np.maximum(
        np.bincount(y[rows], minlength=classes), 1
    )
    held = np.bincount(bins, minlength=count).astype(np.float64)
    seen = np.bincount(bins, wrong, count).astype(np.float64)
    fixed = np.zeros(count, dtype=np.int64)
    np.add.at(fixed, bins, _fixed(expected[rows]))
    mixed = np.zeros(count, dtype=np.int64)
    np.add.at(mixed, bins, _fixed(by_class)[y[rows]])
    exposures = [fixed / FIXED_POINT, mixed / FIXED_POINT]
    edges = _dyadic(held)
    found = _significant(edges, seen, exposures, seed)
    windows = []
    for first, last, usual, p in found:
        inside = (bins >= first) & (bins < last)
        observed = int(seen[first:last].sum())
        windows.append(
            _Window(
                members=rows[inside & wrong],
                begins=float(times[rows[inside]].min()),
                ends=float(times[rows[inside]].max()),
                rows=int(inside.sum()),
                observed=observed,
                expected=round(usual, 3),
                ratio=round(observed / max(usual, HALF), 3),
                p_value=p,
            )
        )
    return windows


def _binned(times: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], int]:
    """Number the points in time, in order; many are taken together, equal ones always."""
    import numpy as np

    distinct, number, held = np.unique(times, return_inverse=True, return_counts=True)
    if len(distinct) > BINS:
        before = np.cumsum(held) - held
        number = (before * BINS // len(times))[number]
        number = np.unique(number, return_inverse=True)[1]
    return number.astype(np.int64), int(number.max()) + 1


def _dyadic(held: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return windows of 1, 2, 4, … bins, half overlapping; shape (windows, 2): first, last+1."""
    import numpy as np

    before = np.concatenate([[0.0], np.cumsum(held)])
    windows = []
    length = 1
    while length <= len(held):
        first = np.arange(0, len(held) - length + 1, max(length // 2, 1))
        windows.append(np.stack([first, first + length], axis=1))
        length *= 2
    edges = np.concatenate(windows)
    rows = before[edges[:, 1]] - before[edges[:, 0]]
    fits = (rows >= MIN_ROWS) & (rows <= LONGEST_WINDOW * before[-1])
    return np.asarray(edges[fits], dtype=np.int64)


def _significant(
    edges: npt.NDArray[np.int64],
    seen: npt.NDArray[np.float64],
    exposures: list[npt.NDArray[np.float64]],
    seed: int,
) -> list[tuple[int, int, float, float]]:
    """Return windows that stand out against each exposure: first, last, expected, p-value."""
    import numpy as np

    total = int(seen.sum())
    if not len(edges):
        return []
    p = np.zeros(len(edges))
    usual = np.zeros(len(edges))
    strength = np.full(len(edges), np.inf)
    for at, exposure in enumerate(exposures):
        share = exposure / exposure.sum()
        expected = _inside(share * total, edges)
        observed = _inside(seen, edges)
        statistic = _likelihood(observed, expected, total)
        generator = np.random.default_rng([seed, 5, at])
        highest = np.array(
            [
                _likelihood(_inside(drawn, edges), expected, total).max()
                for drawn in generator.multinomial(total, share, size=DRAWS)
            ]
        )
        above = DRAWS - np.searchsorted(np.sort(highest), statistic - 1e-9)
        p = np.maximum(p, (1 + above) / (DRAWS + 1))
        # Expected at the rate outside: the window itself raises the overall one.
        rate = (total - observed + HALF) / np.maximum(total - expected, HALF)
        usual = np.maximum(usual, expected * rate)
        strength = np.minimum(strength, statistic)
    observed = _inside(seen, edges)
    fits = (p <= ALPHA) & (observed >= MIN_ERRORS)
    fits &= observed >= MIN_RATIO * np.maximum(usual, HALF)
    chosen: list[tuple[int, int, float, float]] = []
    order = np.lexsort((edges[:, 0], edges[:, 1] - edges[:, 0], -np.round(strength, 9)))
    for at in order[fits[order]]:
        first, last = int(edges[at, 0]), int(edges[at, 1])
        apart = all(last <= begin or first >= end for begin, end, _, _ in chosen)
        if apart and len(chosen) < MAX_WINDOWS:
            chosen.append((first, last, float(usual[at]), float(p[at])))
    return chosen


def _inside(
    values: npt.NDArray[np.float64], edges: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    import numpy as np

    before = np.concatenate([[0.0], np.cumsum(values)])
    inside: npt.NDArray[np.float64] = before[edges[:, 1]] - before[edges[:, 0]]
    return inside


def _likelihood(
    observed: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], total: int
) -> npt.NDArray[np.float64]:
    """Return the log likelihood ratio of a higher rate inside of each window, or 0."""
    import numpy as np

    expected = np.clip(expected, 1e-9, max(total - 1e-9, 1e-9))
    inside = observed * np.log(np.maximum(observed, 1e-9) / expected)
    rest = total - observed
    outside = rest * np.log(np.maximum(rest, 1e-9) / (total - expected))
    result: npt.NDArray[np.float64] = np.where(observed > expected, inside + outside, 0.0)
    return result
