"""Outliers: rows that are like no class, alone or in a small crowd.

Rows from elsewhere (another sensor, noise, a picture of something else) teach a model what
it should never have seen, whatever their label. Six detectors look, because each is blind
to something:

* *distance*: ln of the squared Mahalanobis distance to the nearest class, in the principal
  components that carry 90 % of the variance;
* *residual*: ln of the squared length of what the principal components leave of a row;
* *relations*: the same, each direction in units of its usual deviation: sees broken relations
  between columns;
* *neighbours*: ln of the distance to the fifth nearest row: sees holes between classes;
* *crowd*: ln of the distance to the nearest 5 % of the rows: a crowd of similar outliers are
  each other's nearest rows, but not that many;
* *isolation*: how few random cuts isolate a row: sees extremes of single columns.

Columns are centred, scaled robustly and compressed (asinh), so that a heavy-tailed column is
no source of outliers. Means and covariances come from the central 70 % of each class: else a
crowd would stretch the covariance towards itself. A row is scored by models of folds that it
is not in, and copies count as one neighbour.

Each detector's scores become robust z (median and median absolute deviation). The tail of
its z is extrapolated from the upper quarter without the top fifth, so that up to 5 % of
outliers do not widen it, and the detectors' p-values are combined to a nominal one. With a
trusted reference the p-value is conformal: the rank among reference rows.

Limits: outliers beyond 5 % of the rows, or of a class 30 %, count as data. Rows that lie
among honest ones are no outliers: a trigger of few pixels is not seen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.poisoning.channel import Channel, Group
from sluicegate.stages.poisoning.crossfit import MAX_TRAINING_ROWS, training_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset

__all__ = ["BUDGET", "DETECTORS", "OUTLIERS", "OutlierModel", "fit_outliers", "outliers"]

OUTLIERS: Final = "poisoning.outliers"

BUDGET: Final = 0.003
"""Share of honest rows that may be flagged: three in a thousand, the share of a normal
distribution beyond three standard deviations."""

DETECTORS: Final = ("distance", "residual", "relations", "neighbours", "crowd", "isolation")
"""Names of the detectors, in the order of their columns."""

VARIANCE: Final = 0.9
"""Share of the variance that the principal components carry."""

CENTRAL: Final = 0.7
"""Share of each class that means and covariances are computed from: breakdown at 30 %."""

CONCENTRATIONS: Final = 2
"""Times that the central rows are chosen again. Source: Rousseeuw & Van Driessen 1999, "A fast
algorithm for the minimum covariance determinant estimator": each choice lowers it."""

SHRINKAGE: Final = 0.1
"""Share of the identity in the covariance: invertible with few rows. Source: Friedman 1989,
"Regularized Discriminant Analysis"."""

SCALE_FLOOR: Final = 0.1
"""Least scale of a column, as a share of its range: a column that is nearly always 0 must not
make an outlier of everyone who has a 1."""

FLOOR: Final = 0.01
"""Squared residual or distance, as a share of the mean squared length of a row, below which
ln does not tell rows apart: it is about rows that are far, and not about how near others are."""

MAX_COMPONENTS: Final = 64
"""Most principal components. More are noise; cost grows with their square."""

MAX_COLUMNS: Final = 256
"""Wider rows are projected to this many random combinations of their columns: decompositions
cost the cube of the width. Source: Johnson & Lindenstrauss 1984."""

MAX_CENTRES: Final = 256
"""Up to this many classes a row is compared with all of them, beyond with its own only."""

NEIGHBOUR: Final = 5
"""Which neighbour tells how empty a place is."""

CROWD: Final = 0.05
"""Share of the rows that a crowd of outliers must not reach."""

MAX_REFERENCE: Final = 2_500
"""Most rows among which neighbours are sought, a random sample: cost is this times rows."""

TREES: Final = 50
"""Isolation trees. Source: Liu et al. 2008, "Isolation Forest": depth converges before 100."""

TREE_ROWS: Final = 256
"""Rows of each tree, as the source has it."""

LEAST_ROWS: Final = 50
"""With fewer rows, the tail would be fitted to fewer than ten."""

TAIL_FROM: Final = 0.75
"""The tail begins at this quantile of the scores."""

TAIL_TO: Final = 0.95
"""Beyond this quantile only the number of scores is used: outliers may be among them."""

FAMILY: Final = 0.05
"""Share of clean data sets in which a single row may be flagged for its own sake."""

EXCESS: Final = 0.01
"""How unlikely the number of rows within the budget must be before they are flagged."""

TOP_FEATURES: Final = 5
"""Columns that the evidence names."""

CHUNK: Final = 2_048
"""Rows whose distances to all reference rows are held at once: 41 MB."""

MAX_LOG: Final = 650.0
"""Least ln of a p-value, negated: its inverse, summed, fits a float64."""

LEAST_SPREAD: Final = (0.08, 0.08, 0.08, 0.08, 0.08, 0.005)
"""Least usual deviation of each detector to be used. The logarithm of a squared distance in 256
dimensions, the most there are, deviates by 0.088 (chi-squared); data that deviate less have
nearly all rows at the same distance, and what is far in such units is merely different. The
isolation score is no logarithm: 0.014 to 0.058 on 29 data sets."""

DECIMALS: Final = 6
"""Decimals of a score. Sums of floats depend on how a batch was cut, in the twelfth."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What is known from the rows outside of one fold."""

    centre: npt.NDArray[np.float64]
    """Shape (features,): medians."""
    scale: npt.NDArray[np.float64]
    """Shape (features,)."""
    components: npt.NDArray[np.float64]
    """Shape (components, features): orthonormal."""
    origin: npt.NDArray[np.float64]
    """Shape (features,): where the components begin, in scaled columns."""
    means: npt.NDArray[np.float64]
    """Shape (classes, components), whitened; NaN for a class without rows."""
    whitener: npt.NDArray[np.float64]
    """Shape (components, components)."""
    minor: npt.NDArray[np.float64]
    """Shape (minor components, features): orthogonal to the components and to each other, each
    as long as the inverse of its usual deviation."""
    floor: float
    """Least squared residual and distance that is told apart."""
    reference: npt.NDArray[np.float64]
    """Shape (reference rows, features), scaled."""
    crowd: npt.NDArray[np.int64]
    """Shape (classes,): which neighbour is beyond a crowd."""

    def scaled(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return columns scaled and compressed; of wide rows, random combinations of them."""
        import numpy as np

        return _narrowed(np.arcsinh((x - self.centre) / self.scale))

    def whitened(self, z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        white: npt.NDArray[np.float64] = (z - self.origin) @ self.components.T @ self.whitener
        return white


@dataclass(frozen=True, slots=True, eq=False)
class OutlierModel:
    """Scores rows, in batches of any size. Pickles; holds up to 2,500 rows of each fold."""

    parts: tuple[_Part, ...]
    """One for each fold: fitted on the other folds."""
    forest: Any
    """An isolation forest on scaled columns of the first part."""
    middle: npt.NDArray[np.float64]
    """Shape (detectors,): medians of the detectors' scores."""
    spread: npt.NDArray[np.float64]
    """Shape (detectors,): their usual deviations; infinite for a detector that is not used."""
    start: npt.NDArray[np.float64]
    """Shape (detectors,): robust z at which the tail begins."""
    scale: npt.NDArray[np.float64]
    """Shape (detectors,): mean excess over it."""
    counts: npt.NDArray[np.float64]
    """Shape (detectors,): how many rows that mean is from."""

    def detectors(
        self,
        x: npt.NDArray[np.float64],
        y: npt.NDArray[np.int64],
        fold: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        """Return the robust z of every detector; shape (rows, detectors)."""
        import numpy as np

        raw = _raw(self.parts, self.forest, x, y, fold)
        return np.round((raw - self.middle) / self.spread, DECIMALS)

    def p_values(self, z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the nominal p-value of each row; shape (rows,).

        The harmonic mean of the detectors' p-values, which may depend on each other in any
        way. Source: Wilson 2019, "The harmonic mean p-value for combining dependent tests".

        Args:
            z: what :meth:`detectors` returned.
        """
        import numpy as np

        used = np.isfinite(self.spread)
        if not used.any():
            return np.ones(len(z))
        counts = self.counts[used]
        excess = np.maximum((z - self.start)[:, used] / self.scale[used], -counts / 2)
        # The mean of exponential tails over all scales that so many rows leave possible.
        logs = np.log(1 - TAIL_FROM) - counts * np.log1p(excess / counts)
        inverse = np.exp(np.minimum(-np.minimum(logs, 0.0), MAX_LOG)).mean(axis=1)
        p: npt.NDArray[np.float64] = 1.0 / inverse
        return p

    def score(
        self,
        x: npt.NDArray[np.float64],
        y: npt.NDArray[np.int64],
        fold: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        """Return -log10 of the nominal p-value of each row; shape (rows,).

        Args:
            x: shape (rows, features), finite.
            y: shape (rows,): class codes.
            fold: shape (rows,): the fold of each row; any other number for rows that the model
                was not fitted on.
        """
        return _as_score(self.p_values(self.detectors(x, y, fold)))

    def nearest(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return the class whose mean is nearest to each row; shape (rows,)."""
        return _to_classes(self.parts[0], self.parts[0].scaled(x), y)[1]

    def deviations(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return how far each column is from its median, in its usual deviations, compressed."""
        import numpy as np

        part = self.parts[0]
        deviations: npt.NDArray[np.float64] = np.abs(np.arcsinh((x - part.centre) / part.scale))
        return deviations


def fit_outliers(
    data: Dataset, *, groups: npt.NDArray[np.int64] | None = None, seed: int = 0
) -> OutlierModel:
    """Learn what rows of each class look like, once for each fold, without that fold.

    Args:
        data: the rows, at least one.
        groups: shape (rows,): groups of copies, of which one counts as a neighbour; ``None``
            if there are none.
        seed: seed of the isolation trees.
    """
    import numpy as np

    groups = np.arange(len(data.y)) if groups is None else groups
    parts: list[_Part] = []
    for fold in range(data.folds):
        rows = training_rows(data, fold)
        rows = rows if len(rows) else np.arange(min(len(data.y), MAX_TRAINING_ROWS))
        count = len(parts[0].components) if parts else 0
        parts.append(_fit(data.x[rows], data.y[rows], groups[rows], len(data.classes), count))
    sample = _first_of_groups(groups)[:MAX_TRAINING_ROWS]  # rows are in hash order: random
    forest = _fit_forest(parts[0].scaled(data.x[sample]), seed)
    return _model(tuple(parts), forest, _raw(parts, forest, data.x, data.y, data.fold))


def _model(parts: tuple[_Part, ...], forest: Any, raw: npt.NDArray[np.float64]) -> OutlierModel:
    """Return a model whose z and tails are those of some scores."""
    import numpy as np

    middle = np.median(raw, axis=0)
    usual = 1.4826 * np.median(np.abs(raw - middle), axis=0)  # a standard deviation, if normal
    spread = np.where(usual >= np.array(LEAST_SPREAD), usual, np.inf)
    z = np.round((raw - middle) / spread, DECIMALS)
    tails = [_tail(column) for column in z.T.astype(np.float64)]
    start, scale, counts = np.array(tails, dtype=np.float64).T
    return OutlierModel(parts, forest, middle, spread, start, scale, counts)


def _as_score(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.round(-np.log10(p_values), DECIMALS) + 0.0, dtype=np.float64)


def outliers(
    data: Dataset,
    *,
    groups: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
    budget: float = BUDGET,
    reference: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None = None,
) -> Channel:
    """Flag rows that are like no class.

    Args:
        data: the rows.
        groups: shape (rows,): groups of copies, as ``duplicates.duplicate_groups`` has them.
        seed: seed of the isolation trees.
        budget: share of honest rows that may be flagged, between 0 and 1.
        reference: trusted rows and their class codes, of the same columns; half of them fit
            the model, half calibrate it, so it needs 2 / ``budget`` rows.
    """
    import numpy as np

    if len(data.y) < LEAST_ROWS or not data.x.shape[1]:
        nothing = np.full(len(data.y), np.nan)
        reason = f"outliers need at least {LEAST_ROWS} rows and one column that varies"
        return Channel(id=OUTLIERS, scores=nothing, p_values=nothing, unknown=reason)
    if reference is None:
        model = fit_outliers(data, groups=groups, seed=seed)
        z = model.detectors(data.x, data.y, data.fold)
        p_values = model.p_values(z)
    else:
        needed = max(math.ceil(2 / budget), LEAST_ROWS)
        if len(reference[1]) < needed:
            nothing = np.full(len(data.y), np.nan)
            reason = (
                f"the reference has {len(reference[1])} rows: to tell a share of {budget:g}, it "
                f"needs {needed}"
            )
            return Channel(id=OUTLIERS, scores=nothing, p_values=nothing, unknown=reason)
        model, calibration = _calibrated(data, reference, seed)
        z = model.detectors(data.x, data.y, np.full(len(data.y), -1))
        scores = _as_score(model.p_values(z))
        above = len(calibration) - np.searchsorted(calibration, scores, side="left")
        p_values = np.asarray((1.0 + above) / (len(calibration) + 1.0), dtype=np.float64)
    unknown = ""
    if not np.isfinite(model.spread).any():
        unknown = "more than half of all rows look the same to every detector"
    flagged = _exceeding(p_values, budget)
    return Channel(
        id=OUTLIERS,
        scores=_as_score(model.p_values(z)),
        p_values=p_values,
        groups=_groups(data, model, flagged, z),
        unknown=unknown,
        metrics={
            "flagged": len(flagged),
            "within_budget": int((p_values <= budget).sum()),
            "expected_within_budget": round(budget * len(p_values), 3),
            "calibrated": int(reference is not None),
        },
    )


def _fit(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    classes: int,
    count: int = 0,
) -> _Part:
    """Fit one part on some rows, with a number of components, or with as many as it takes."""
    import numpy as np

    once = _first_of_groups(groups)  # a flood must not become the centre
    x, y = x[once], y[once]
    centre = np.median(x, axis=0)
    deviation = 1.4826 * np.median(np.abs(x - centre), axis=0)
    scale = np.maximum(deviation, SCALE_FLOOR * np.ptp(x, axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    z = _narrowed(np.arcsinh((x - centre) / scale))
    central = _central(z, y, _medians(z, y, classes))
    for _ in range(CONCENTRATIONS):
        fit = _gaussian(z, y, central, classes, count)
        white = (z - fit.origin) @ fit.components.T @ fit.whitener
        central = _central(white, y, fit.means)
    fit = _gaussian(z, y, central, classes, count)
    kept = min(len(z), MAX_REFERENCE)
    counts = np.bincount(y[:kept], minlength=classes)
    crowd = np.minimum(np.round(CROWD * kept), counts // 2)
    return _Part(
        centre=centre,
        scale=scale,
        components=fit.components,
        minor=fit.minor,
        origin=fit.origin,
        means=fit.means,
        whitener=fit.whitener,
        floor=FLOOR * float(np.einsum("ij,ij->", z, z) / max(len(z), 1)) + 1e-12,
        reference=z[:kept],
        crowd=np.clip(crowd, min(NEIGHBOUR, kept), kept).astype(np.int64),
    )


def _narrowed(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return wide rows as random combinations of their columns: distances hardly change."""
    import numpy as np

    if z.shape[1] <= MAX_COLUMNS:
        return z
    generator = np.random.default_rng([z.shape[1], MAX_COLUMNS])
    combinations = generator.standard_normal((z.shape[1], MAX_COLUMNS)) / math.sqrt(MAX_COLUMNS)
    narrow: npt.NDArray[np.float64] = z @ combinations
    return narrow


def _first_of_groups(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the first row of every group, ascending."""
    import numpy as np

    return np.sort(np.unique(groups, return_index=True)[1])


def _medians(
    z: npt.NDArray[np.float64], y: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.float64]:
    """Return the median of each class; shape (classes, columns)."""
    import numpy as np

    medians = np.full((classes, z.shape[1]), np.nan)
    order = np.argsort(y, kind="stable")
    borders = np.searchsorted(y[order], np.arange(classes + 1))
    for label in range(classes):
        members = order[borders[label] : borders[label + 1]]
        if len(members):
            medians[label] = np.median(z[members], axis=0)
    return medians


def _central(
    z: npt.NDArray[np.float64], y: npt.NDArray[np.int64], means: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return the rows of each class that are nearest to its mean."""
    import numpy as np

    gaps = z - means[y]
    distances = np.round(np.einsum("ij,ij->i", gaps, gaps), 9)
    order = np.lexsort((distances, y))
    counts = np.bincount(y, minlength=len(means))
    rank = np.arange(len(y)) - (np.cumsum(counts) - counts)[y[order]]
    quota = np.ceil(CENTRAL * counts)
    return np.sort(order[rank < quota[y[order]]])


@dataclass(frozen=True, slots=True, eq=False)
class _Gaussian:
    """Central rows as a mixture of normal distributions of one covariance, one for each class."""

    origin: npt.NDArray[np.float64]
    components: npt.NDArray[np.float64]
    minor: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    whitener: npt.NDArray[np.float64]


def _gaussian(
    z: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    central: npt.NDArray[np.int64],
    classes: int,
    count: int,
) -> _Gaussian:
    """Fit central rows; with ``count`` components, or with as many as the variance takes."""
    import numpy as np

    kept, labels = z[central], y[central]
    origin = kept.mean(axis=0)
    centred = kept - origin
    total = float(np.einsum("ij,ij->", centred, centred) / len(kept))
    values, vectors = _principal(centred)
    if not count:
        count = int(np.searchsorted(np.cumsum(values), VARIANCE * total)) + 1
    components, minor = vectors[:count], vectors[count:]
    least = FLOOR * total / z.shape[1] + 1e-12
    minor = minor / np.sqrt(values[count:] + least)[:, None]
    projected = centred @ components.T
    counts = np.bincount(labels, minlength=classes)
    sums = np.zeros((classes, len(components)))
    np.add.at(sums, labels, projected)
    with np.errstate(invalid="ignore"):
        means = sums / counts[:, None]
    within = projected - means[labels]
    covariance = within.T @ within / len(kept)
    average = float(np.trace(covariance)) / len(components)
    covariance = (1 - SHRINKAGE) * covariance
    covariance += np.eye(len(components)) * (SHRINKAGE * average + 1e-9 * total + 1e-12)
    spread, axes = np.linalg.eigh(covariance)
    whitener = axes / np.sqrt(spread)
    return _Gaussian(origin, components, minor, means @ whitener, whitener)


def _principal(
    centred: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return variances and directions of the largest principal components, descending."""
    import numpy as np
    from scipy.linalg import eigh

    width = centred.shape[1]
    most = min(MAX_COMPONENTS, width)
    values, vectors = eigh(
        centred.T @ centred / len(centred), subset_by_index=[width - most, width - 1]
    )
    return np.maximum(values[::-1], 0.0), np.ascontiguousarray(vectors[:, ::-1].T)


def _fit_forest(z: npt.NDArray[np.float64], seed: int) -> Any:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(
        n_estimators=TREES, max_samples=min(TREE_ROWS, len(z)), random_state=seed, n_jobs=1
    )
    return forest.fit(z)


def _raw(
    parts: Sequence[_Part],
    forest: Any,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the detectors' own scores; shape (rows, detectors)."""
    import numpy as np

    raw = np.empty((len(x), len(DETECTORS)))
    own = np.where((fold >= 0) & (fold < len(parts)), fold, 0)
    for number, part in enumerate(parts):
        rows = np.flatnonzero(own == number)
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            z = part.scaled(x[some])
            raw[some, 0] = np.log(_to_classes(part, z, y[some])[0] + FLOOR)
            raw[some, 1] = np.log(_residual(part, z) + part.floor)
            raw[some, 2] = np.log(_relations(part, z) + FLOOR)
            raw[some, 3:5] = _emptiness(part, z, y[some])
    for start in range(0, len(x), CHUNK):
        z = parts[0].scaled(x[start : start + CHUNK])
        raw[start : start + CHUNK, 5] = -forest.score_samples(z)
    return raw


def _to_classes(
    part: _Part, z: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the squared distance to the nearest class mean, and which class that is."""
    import numpy as np

    white = part.whitened(z)
    known = np.flatnonzero(np.isfinite(part.means).all(axis=1))
    least, nearest = np.full(len(z), np.inf), y.copy()
    if len(known) > MAX_CENTRES:
        fallback = np.nanmean(part.means, axis=0)
        means = part.means[np.minimum(y, len(part.means) - 1)]
        own = np.where(np.isfinite(means), means, fallback)
        return np.einsum("ij,ij->i", white - own, white - own), nearest
    for label in known:
        gaps = white - part.means[label]
        squared = np.einsum("ij,ij->i", gaps, gaps)
        closer = squared < least
        least[closer], nearest[closer] = squared[closer], label
    return least, nearest


def _residual(part: _Part, z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the squared length of what the principal components leave; shape (rows,)."""
    import numpy as np

    if len(part.components) == z.shape[1]:
        return np.zeros(len(z))
    centred = z - part.origin
    rest = centred - centred @ part.components.T @ part.components
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", rest, rest)
    return squares


def _relations(part: _Part, z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean square along the minor components; shape (rows,)."""
    import numpy as np

    if not len(part.minor):
        return np.zeros(len(z))
    along = (z - part.origin) @ part.minor.T
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", along, along) / len(part.minor)
    return squares


def _emptiness(
    part: _Part, z: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return ln squared distances to a near and to a farther neighbour; shape (rows, 2)."""
    import numpy as np

    lengths = np.einsum("ij,ij->i", part.reference, part.reference)
    squared = z @ part.reference.T
    squared *= -2.0
    squared += lengths
    squared += np.einsum("ij,ij->i", z, z)[:, None]
    near = min(NEIGHBOUR, len(part.reference)) - 1
    far = part.crowd[np.minimum(y, len(part.crowd) - 1)] - 1
    wanted = np.unique([near, *far.tolist()])
    ordered = np.partition(squared, wanted, axis=1)
    both = np.stack([ordered[:, near], ordered[np.arange(len(z)), far]], axis=1)
    result: npt.NDArray[np.float64] = np.log(np.maximum(both, 0.0) + part.floor)
    return result


def _tail(scores: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return where the tail of scores begins, its mean excess, and from how many rows that is.

    The maximum likelihood estimate of an exponential tail, censored at :data:`TAIL_TO`. On
    logarithmic scores that is a power law in distances; a normal tail is lighter, so its
    p-values come out too large.
    """
    import numpy as np

    start, end = np.quantile(scores, [TAIL_FROM, TAIL_TO])
    beyond = scores[scores > start]
    inside = int((beyond <= end).sum())
    total = float((np.minimum(beyond, end) - start).sum())
    if not inside or total <= 0:
        return float(start), max(float(np.ptp(scores)), 1.0), 1.0
    return float(start), total / inside, float(inside)


def _calibrated(
    data: Dataset, reference: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]], seed: int
) -> tuple[OutlierModel, npt.NDArray[np.float64]]:
    """Fit a model on half of a reference; return it with the ascending scores of the other."""
    import numpy as np

    x, y = reference
    content = np.ascontiguousarray(x + 0.0)
    rows = content.view(np.dtype((np.void, content.itemsize * content.shape[1])))[:, 0]
    order = np.lexsort((y, np.unique(rows, return_inverse=True)[1]))
    x, y = x[order], y[order]
    mixed = np.random.default_rng([seed, 4]).permutation(len(y))
    fit_on, rest = np.sort(mixed[: len(y) // 2]), np.sort(mixed[len(y) // 2 :])
    part = _fit(x[fit_on], y[fit_on], np.arange(len(fit_on)), len(data.classes))
    forest = _fit_forest(part.scaled(x[fit_on]), seed)
    raw = _raw((part,), forest, x[fit_on], y[fit_on], np.zeros(len(fit_on), dtype=np.int64))
    model = _model((part,), forest, raw)
    return model, np.sort(model.score(x[rest], y[rest], np.zeros(len(rest), dtype=np.int64)))


def _exceeding(p_values: npt.NDArray[np.float64], budget: float) -> npt.NDArray[np.int64]:
    """Return rows that are too unlikely for one, or too many for their number."""
    import numpy as np
    from scipy.stats import binom

    within = p_values <= budget
    many = binom.sf(int(within.sum()) - 1, len(p_values), budget) <= EXCESS
    return np.flatnonzero(within & (many | (p_values <= FAMILY / len(p_values))))


def _groups(
    data: Dataset,
    model: OutlierModel,
    flagged: npt.NDArray[np.int64],
    z: npt.NDArray[np.float64],
) -> tuple[Group, ...]:
    """Return the flagged rows by the detector that is surest of them, largest group first."""
    import numpy as np

    surest = z[flagged].argmax(axis=1)
    groups = []
    for detector in np.unique(surest):
        rows = flagged[surest == detector]
        nearest = np.bincount(model.nearest(data.x[rows], data.y[rows]))
        deviations = np.round(np.median(model.deviations(data.x[rows]), axis=0), DECIMALS)
        top = np.argsort(-deviations, kind="stable")[:TOP_FEATURES]
        groups.append(
            Group(
                message=f"{len(rows)} rows are like no class: {_WHY[DETECTORS[int(detector)]]}",
                rows=rows,
                evidence={
                    "count": len(rows),
                    "detector": DETECTORS[int(detector)],
                    "z_largest": round(float(z[rows, detector].max()), 3),
                    "z_median": round(float(np.median(z[rows, detector])), 3),
                    "nearest_class": data.classes[int(nearest.argmax())][:100],
                    "nearest_class_code": int(nearest.argmax()),
                    "features": [data.features[int(at)][:100] for at in top],
                },
            )
        )
    return tuple(sorted(groups, key=lambda group: -len(group.rows)))


_WHY: Final = {
    "distance": "far from all of them along the directions in which rows differ",
    "residual": "they differ in directions in which other rows do not",
    "relations": "their columns do not relate to each other as in other rows",
    "neighbours": "there are hardly any rows near them",
    "crowd": "a small crowd far from all other rows",
    "isolation": "they have extreme values in some columns",
}
