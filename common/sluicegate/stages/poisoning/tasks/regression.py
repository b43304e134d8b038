"""Rows whose target is far from what models that never saw the row predict.

How far is too far depends on the errors that honest targets have, and these are rarely
normal: some tails are heavy, one tail is heavier than the other, errors grow with the
prediction. So each residual is measured in the usual residual of rows with similar
predictions, and the tails are learnt from the residuals themselves, above and below apart.

Wrong targets are among these residuals and would pass for a heavy tail. Hence the residuals
of each side are fitted as a mixture: a bell (Student's t with any degrees of freedom, Laplace,
or between Laplace and normal) plus a share of rows that may be anywhere. Of all such mixtures
that the data do not speak against (a likelihood interval), the one under which a residual is
least surprising gives its p-value. Few rows leave many mixtures, and little is flagged.

cleanlab's score of a standardised residual must be low as well. Its default score, ``outre``,
is not used: it takes half of all rows as neighbours of each row, which is quadratic, and says
nothing on how many honest rows score as low.

Limits: where most honest residuals are tiny and few are large, wrong targets among them hide.
If more than about a quarter of the targets on one side are wrong, they are what is usual.

Sources: the mixture: Banfield & Raftery 1993, "Model-Based Gaussian and Non-Gaussian
Clustering"; the score: Zhou et al. 2023, "Detecting Errors in Numerical Data via any
Regression Model", arXiv:2305.16583; weights of models: Bates & Granger 1969, "The Combination
of Forecasts", with a robust error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TARGET_ISSUES", "fit_predictions", "regression_issues"]

TARGET_ISSUES: Final = "poisoning.target_issues"

MIN_ROWS: Final = 50
"""Fewer residuals than this say too little about their tails."""

MIN_SIDE: Final = 20
"""Fewer residuals above or below the median: that side is not judged."""

FALSE_SHARE: Final = 0.1
"""Largest share of honest rows among the flagged ones, and chance of any flag where all are
honest. Source: Benjamini & Hochberg 1995, "Controlling the False Discovery Rate"."""

MIN_DEVIATIONS: Final = 3.5
"""Robust standard deviations that a residual must have at least, whatever the tails say.
Source: Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers."""

NORMAL_MAD: Final = 0.6745
"""Median absolute deviation of a standard normal variable."""

BIN_ROWS: Final = 100
"""Rows with similar predictions that give the usual residual there: its error is a tenth."""

MAX_BINS: Final = 20
"""Most groups of rows with similar predictions."""

PRIOR_ROWS: Final = 20
"""How many rows' weight the usual residual of all rows has among those of a group: else a
group whose predictions happen to be exact would make every other row of it stand out."""

LIKELIHOOD: Final = 1.35
"""How much less log-likelihood than the best a mixture may have and still count: half of the
90 % quantile of a chi-squared variable with one degree of freedom (Wilks' theorem)."""

FARTHEST: Final = 30.0
"""Residuals beyond this many usual ones count as this far when tails are fitted."""

SURPRISES: Final = 1e6
"""Residuals are told up to this many usual ones."""

DEGREES: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 100.0)
"""Degrees of freedom of Student's t: from Cauchy to normal."""

POWERS: Final = (1.0, 1.4)
"""Exponents of the generalised normal law: Laplace, and between Laplace and normal."""

SCALES: Final = tuple(0.65 * (1.2 / 0.65) ** (step / 11) for step in range(12))
"""Median of the honest residuals over that of all: wrong targets make the latter larger."""

SHARES: Final = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
"""Shares of rows that may be anywhere."""

RANGES: Final = (8.0, 12.0, 18.0, 30.0)
"""How far "anywhere" reaches, in usual residuals."""

KEPT: Final = 3.5
"""Robust standard deviations within which a row is kept for the second round."""

SPREAD_LIMIT: Final = 20.0
"""How many usual deviations from the median a target may be when models learn it, as for
feature columns: one wild target must not bend all predictions."""

SHARPEST: Final = 1e-6
"""Least usual residual of a family, in usual deviations of targets: bounds its weight."""

TREES: Final = 80
"""Trees of a forest, as for classes."""

WORST: Final = 5
"""How many of the worst residuals a group quotes."""


def regression_issues(y: npt.NDArray[np.float64], predictions: npt.NDArray[np.float64]) -> Channel:
    """Compare targets with out-of-fold predictions.

    Args:
        y: shape (rows,): given targets.
        predictions: shape (rows,): predictions by models that did not see the row.

    Returns:
        A channel with at most two groups: targets above, and below what was predicted. A
        row's score is the size of its residual in robust standard deviations of residuals of
        its sign among rows with similar predictions. Unknown if a value is missing or
        infinite, if there are fewer than :data:`MIN_ROWS` rows, or if most rows are predicted
        exactly and others are not.
    """
    import numpy as np

    residuals, fault = _residuals(y, predictions)
    if fault:
        nothing = np.full(len(y), np.nan)
        return Channel(id=TARGET_ISSUES, scores=nothing, p_values=nothing, unknown=fault)
    scores, p_values = np.zeros(len(y)), np.ones(len(y))
    skipped = 0
    for side in (residuals > 0, residuals < 0):
        if side.sum() >= MIN_SIDE:
            scores[side], p_values[side] = _surprise(np.abs(residuals[side]))
        else:
            skipped += int(side.sum())
            scores[side] = p_values[side] = np.nan
    flagged = _significant(p_values) & _cleanlab_agrees(np.nan_to_num(scores))
    reason = f"{skipped} rows deviate to a side with fewer than {MIN_SIDE} rows" if skipped else ""
    return Channel(
        id=TARGET_ISSUES,
        scores=scores,
        p_values=p_values,
        groups=tuple(_groups(flagged, residuals, scores)),
        unknown=reason,
        metrics={"targets_flagged": int(flagged.sum()), "targets_not_judged": skipped},
    )


def _residuals(
    y: npt.NDArray[np.float64], predictions: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], str]:
    """Return residuals in usual residuals of rows with similar predictions, or what is wrong.

    Values are quartered first, so that no difference overflows.
    """
    import numpy as np

    nothing = np.zeros(len(y))
    if y.shape != predictions.shape or y.ndim != 1:
        return nothing, "there is not one prediction for each target"
    bad = int((~np.isfinite(y)).sum()), int((~np.isfinite(predictions)).sum())
    if any(bad):
        return nothing, f"{bad[0]} targets and {bad[1]} predictions are missing or infinite"
    if len(y) < MIN_ROWS:
        return nothing, f"{len(y)} rows are fewer than {MIN_ROWS}: too few to know usual residuals"
    raw, places = y / 4 - predictions / 4, predictions / 4
    middle = float(np.median(raw))
    usual = float(np.median(np.abs(raw - middle)))
    if not usual:
        if (raw == middle).all():
            return nothing, ""
        return nothing, (
            "most targets are predicted exactly: there is no usual residual to compare with"
        )
    bins = int(np.clip(len(y) // BIN_ROWS, 1, MAX_BINS))
    borders = np.quantile(places, np.arange(1, bins) / bins, method="lower")
    found = np.searchsorted(np.unique(borders), places, side="right")
    return _standardised(raw, found, usual), ""


def _standardised(
    raw: npt.NDArray[np.float64], bins: npt.NDArray[np.int64], usual: float
) -> npt.NDArray[np.float64]:
    """Return residuals in the usual ones of their bin, which leans towards that of all."""
    import numpy as np

    result = np.empty(len(raw))
    for at in np.unique(bins):
        inside = bins == at
        centred = raw[inside] - np.median(raw[inside])
        weight = len(centred) / (len(centred) + PRIOR_ROWS)
        local = float(np.median(np.abs(centred)))
        scale = math.hypot(math.sqrt(weight) * local, math.sqrt(1.0 - weight) * usual)
        with np.errstate(over="ignore"):
            result[inside] = np.clip(centred / scale, -SURPRISES, SURPRISES)
    return result


def _surprise(
    sizes: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return robust standard deviations and p-values of the residuals of one side.

    Args:
        sizes: shape (rows,): positive.
    """
    import numpy as np

    usual = np.median(sizes)
    scaled = np.minimum(sizes / usual, SURPRISES)
    table = _mixtures()
    counts, _ = np.histogram(np.minimum(scaled, FARTHEST), table.edges)
    fits = np.round((table.logs * counts).sum(axis=1), 6)
    bells = np.unique(table.bell[fits >= fits.max() - LIKELIHOOD])
    tail = table.tails[bells].max(axis=0)
    return scaled * NORMAL_MAD, np.exp(np.interp(scaled, table.points, tail))


class _Mixtures:
    """Mixtures of a bell and a share of rows anywhere, in medians of absolute residuals."""

    def __init__(self) -> None:
        import numpy as np

        self.edges = np.concatenate([[0.0], np.geomspace(0.25, FARTHEST, 60)])
        """Borders of the bins in which residuals are counted."""
        self.points = np.concatenate(
            [np.linspace(0.0, FARTHEST, 301), np.geomspace(FARTHEST * 1.02, SURPRISES, 150)]
        )
        """Residuals for which :attr:`tails` are known."""
        anywhere = [np.diff(np.minimum(self.edges, reach)) / reach for reach in RANGES]
        logs: list[npt.NDArray[np.float64]] = []
        tails: list[npt.NDArray[np.float64]] = []
        bell: list[int] = []
        for law, scale in self._bells():
            beyond = 2 * law.sf(self.edges[:-1] / scale)
            inside = np.maximum(-np.diff(np.append(beyond, 0.0)), 0.0)
            logs.append(inside)
            bell.append(len(tails))
            for spread in anywhere:
                for share in SHARES:
                    logs.append((1.0 - share) * inside + share * spread)
                    bell.append(len(tails))
            tails.append(np.log(np.maximum(2 * law.sf(self.points / scale), 1e-300)))
        self.logs = np.log(np.array(logs) + 1e-12)
        """Shape (mixtures, bins): ln of the chance of each bin."""
        self.tails = np.array(tails)
        """Shape (bells, points): ln of the chance of a larger residual, if honest."""
        self.bell = np.array(bell)
        """Shape (mixtures,): which bell each mixture has."""

    @staticmethod
    def _bells() -> Iterator[tuple[Any, float]]:
        from scipy import stats

        laws = [stats.t(degrees) for degrees in DEGREES]
        laws += [stats.gennorm(power) for power in POWERS]
        for law in laws:
            for scale in SCALES:
                yield law, scale / law.ppf(0.75)


@cache
def _mixtures() -> _Mixtures:
    return _Mixtures()


def _significant(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which rows Benjamini and Hochberg's procedure rejects; NaN never."""
    import numpy as np

    ordered = np.sort(np.nan_to_num(p_values, nan=1.0))
    allowed = FALSE_SHARE * np.arange(1, len(ordered) + 1) / len(ordered)
    below = np.flatnonzero(ordered <= allowed)
    if not len(below):
        return np.zeros(len(p_values), dtype=bool)
    return np.asarray(p_values <= ordered[below[-1]])


def _cleanlab_agrees(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which residuals cleanlab scores low enough."""
    import numpy as np
    from cleanlab.regression.rank import get_label_quality_scores

    quality = get_label_quality_scores(scores, np.zeros(len(scores)), method="residual")
    return np.asarray(quality <= math.exp(-MIN_DEVIATIONS), dtype=bool)


def _groups(
    flagged: npt.NDArray[np.bool_],
    residuals: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
) -> Iterator[Group]:
    """Yield the flagged rows above and below their prediction, more rows first."""
    import numpy as np

    sides = {"above": residuals > 0, "below": residuals < 0}
    for direction, side in sorted(sides.items(), key=lambda one: -int((flagged & one[1]).sum())):
        rows = np.flatnonzero(flagged & side)
        if not len(rows):
            continue
        worst = np.sort(scores[rows])[::-1][:WORST]
        yield Group(
            message=f"{len(rows)} rows have a target far {direction} what their features suggest",
            rows=rows.astype(np.int64),
            evidence={
                "direction": direction,
                "count": len(rows),
                "worst_deviations": [round(float(score), 6) for score in worst],
            },
        )


def fit_predictions(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    fold: npt.NDArray[np.int64],
    seed: int,
) -> npt.NDArray[np.float64]:
    """Return out-of-fold predictions: a mean of three families of models, in two rounds.

    A family weighs as much as its usual residual is small: where one family fits, the others
    would only blur it. The second round learns only from rows that the first one agreed with.

    Args:
        x: shape (rows, features): finite numbers.
        y: shape (rows,): finite targets.
        fold: shape (rows,): the fold in which a row is predicted; equal rows share one.
        seed: seed of the trees, and key of the hash by which rows are ordered and chosen.

    Returns:
        Shape (rows,); NaN where all other folds are empty. Targets are learnt as if no
        farther than :data:`SPREAD_LIMIT` usual deviations from their median.
    """
    import numpy as np

    from sluicegate.stages.poisoning.crossfit import reproducible
    from sluicegate.stages.poisoning.tasks.training import canonical_order

    if not len(y):
        return np.empty(0)
    order = canonical_order(np.column_stack([x, y, fold]), seed)
    middle, scale = _centre(y)
    if not scale:
        return np.full(len(y), middle)
    tame = np.clip((y[order] / 4 - middle / 4) / scale, -SPREAD_LIMIT, SPREAD_LIMIT)
    with reproducible():
        everything = np.ones(len(y), dtype=bool)
        first = _round(x[order], tame, fold[order], everything, seed)
        off = np.abs(tame - first)
        usual = float(np.nanmedian(off)) if np.isfinite(off).any() else 0.0
        kept = ~(off > KEPT / NORMAL_MAD * usual)
        second = _round(x[order], tame, fold[order], kept, seed)
    result = np.empty(len(y))
    result[order] = 4 * (second * scale + middle / 4)
    return result


def _centre(y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the median, and a quarter of the usual distance of values that differ from it."""
    import numpy as np

    middle = float(4 * np.median(y / 4))
    distances = np.abs(y / 4 - middle / 4)
    return middle, float(np.median(distances[distances > 0])) if distances.any() else 0.0


def _round(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    fold: npt.NDArray[np.int64],
    allowed: npt.NDArray[np.bool_],
    seed: int,
) -> npt.NDArray[np.float64]:
    """Fit all families on the allowed rows and return the weighted mean of their predictions."""
    import numpy as np

    from sluicegate.stages.poisoning.tasks.training import training_rows

    guesses = np.full((3, len(y)), np.nan)
    for part in np.unique(fold):
        train = training_rows((fold != part) & allowed)
        test = np.flatnonzero(fold == part)
        if not len(train):
            continue
        if not x.shape[1]:
            guesses[:, test] = np.median(y[train])
            continue
        for at, (model, fit_on, predict_on) in enumerate(_families(x[train], x[test], seed)):
            guesses[at, test] = model.fit(fit_on, y[train]).predict(predict_on)
    known = ~np.isnan(guesses[0])
    if not known.any():
        return np.full(len(y), np.nan)
    usual = np.median(np.abs(guesses - y)[:, known], axis=1)
    weights = np.maximum(usual, SHARPEST)[:, None] ** -2.0
    return np.asarray((weights * guesses).sum(axis=0) / weights.sum(), dtype=np.float64)


def _families(
    train: npt.NDArray[np.float64], test: npt.NDArray[np.float64], seed: int
) -> Iterator[tuple[Any, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yield each family's model with the features it wants: linear, local, trees."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    scaled, tested = scaler.transform(train), scaler.transform(test)
    yield Ridge(), scaled, tested
    yield KNeighborsRegressor(min(10, len(train)), weights="distance", n_jobs=1), scaled, tested
    yield ExtraTreesRegressor(TREES, random_state=seed, n_jobs=1), train, test
