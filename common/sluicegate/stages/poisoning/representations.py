"""Representations: a backdoor leaves a second cluster in its class, and a model sees it.

Whoever has embeddings of the rows (a hidden layer of the model, or of a larger one) can look
where the trigger has already been turned into a feature. Two ways to find the cluster:

* *spectral signatures*: within each class, the direction of the largest variance; poisoned
  rows have the largest squared projections on it (Tran et al. 2018, arXiv:1811.00636);
* *activation clustering*: each class in ten principal components, split in two; the smaller
  part is poisoned (Chen et al. 2018, arXiv:1811.03728).

Both always find something: every class has a first direction, and two halves. The papers
remove a given share of it, or ask whether a silhouette is large. But honest classes have
sub-clusters as clear as that, such as two ways to write a digit; and a model that never saw
a sub-cluster puts it into other classes, be it honest or not. What tells them apart is that
a trigger is used for nothing else: along the direction that separates a poisoned cluster from
its class there is also nobody from any *other* class, while honest classes share their
features. So a cluster is flagged if it is a minority, if it is separated from its class far
better than two halves of a normal distribution are, and if along that direction it also lies
beyond all other classes.

Limits: an embedding in which the trigger is no feature shows nothing, nor does a trigger that
honest rows of other classes carry. One class alone cannot be examined. The p-value is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["CLUSTERING", "SPECTRAL", "activation_clustering", "spectral_signatures"]

SPECTRAL: Final = "poisoning.spectral_signatures"
CLUSTERING: Final = "poisoning.activation_clustering"

MAX_DIMENSIONS: Final = 64
"""Embeddings with more dimensions are projected to this many principal components within
classes: cost grows with their square."""

COMPONENTS: Final = 10
"""Principal components of each class that are clustered: the paper's number."""

LEAST_CLASS: Final = 40
"""Fewest rows of a class to be examined: a cluster of a quarter would be ten."""

LEAST_CLUSTER: Final = 8
"""Fewest rows of a cluster: fewer are single outliers."""

LEAST_SHARE: Final = 0.02
"""Least share of its class: the tail of a heavy-tailed class is smaller."""

MINORITY: Final = 0.35
"""Largest share of a class that counts as the smaller part of it: the paper's experiments
poison up to a third."""

SEPARATION: Final = 4.0
"""Least separation of a cluster from its class, as Ashman's D (distance of the means in
quadratic means of the deviations). Two halves of a normal distribution have 2.65, two equal
halves of a flat one 3.46; above 2, two distributions have two peaks.
Source: Ashman et al. 1994, "Detecting bimodality in astronomical datasets"."""

EXCLUSIVE: Final = 3.5
"""Least distance between the middle of a cluster and the highest percent of the other classes,
in deviations: the usual bound for an outlier. It is the most extreme of up to 14 parts of each
class; those of honest networks reach 3.0.
Source: Iglewicz & Hoaglin 1993, "How to detect and handle outliers"."""

BETWEEN: Final = 0.3
"""Weight of the differences between other classes against those within classes: the direction
that separates a cluster from its class should not be one in which other classes differ, and
should not be chosen for them alone."""

OTHERS: Final = 0.99
"""Share of the other classes' rows that a cluster must lie beyond: some are outliers."""

SHRINKAGE: Final = 0.1
"""Share of the identity in the covariance within classes. Source: Friedman 1989, "Regularized
Discriminant Analysis"."""

HALVINGS: Final = 3
"""Times that a class is halved: eight parts, so that two honest ways to look, halved, leave
the poisoned rows a part of their own."""

REFINEMENTS: Final = 3
"""Times that a candidate is cut anew; most change no more after two."""

TINY: Final = 1e-300
"""Divisor in place of a distance of 0."""

MAX_STEPS: Final = 30
"""Most steps of 2-means; it ends when no row changes sides, usually after about ten."""

POWER_STEPS: Final = 7
"""Power iterations of the randomised decomposition of wide embeddings. Source: Halko et al.
2011, "Finding structure with randomness"."""

DECIMALS: Final = 6
"""Decimals of a score."""


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Embeddings in few dimensions, in an order that depends on their content."""

    h: npt.NDArray[np.float64]
    """Shape (rows, dimensions)."""
    y: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    """Shape (rows,): where each row was."""
    scatter: npt.NDArray[np.float64]
    """Shape (dimensions, dimensions): sum of squares within classes."""
    means: npt.NDArray[np.float64]
    """Shape (classes, dimensions): means of the classes that have rows."""
    present: npt.NDArray[np.int64]
    """Shape (classes,): their codes, ascending."""
    products: npt.NDArray[np.float64]
    """Shape (dimensions, dimensions): sum of the squares of the means."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cluster:
    """A part of a class that may be poisoned."""

    label: int
    rows: npt.NDArray[np.int64]
    """Indices into the space's rows."""
    share: float
    separation: float
    exclusive: float
    silhouette: float

    @property
    def flagged(self) -> bool:
        """Whether it is separated from its class, and from everything else."""
        return self.separation >= SEPARATION and self.exclusive >= EXCLUSIVE


def spectral_signatures(
    embeddings: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
    seed: int = 0,
) -> Channel:
    """Flag clusters at the end of a class's direction of largest variance.

    A row's score is its squared projection on that direction, in units of the class's median
    one: the paper's outlier score, made comparable between classes.

    Args:
        embeddings: shape (rows, dimensions), finite.
        y: shape (rows,): class codes.
        classes: names of the classes, by code.
        seed: seed of the decomposition of wide embeddings.
    """
    return _examined(SPECTRAL, embeddings, y, classes, seed, _first_direction, _squares)


def activation_clustering(
    embeddings: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
    seed: int = 0,
) -> Channel:
    """Flag clusters that a class falls into.

    A row's score is how much nearer it is to the middle of its class's smaller part than to
    that of the larger part: -1 … 1.

    Args:
        embeddings: shape (rows, dimensions), finite.
        y: shape (rows,): class codes.
        classes: names of the classes, by code.
        seed: seed of the decomposition of wide embeddings.
    """
    return _examined(CLUSTERING, embeddings, y, classes, seed, _parts, _nearness)


def _examined(
    check: str,
    embeddings: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    classes: Sequence[str],
    seed: int,
    candidates: Callable[[npt.NDArray[np.float64]], Iterator[npt.NDArray[np.bool_]]],
    score: Callable[
        [npt.NDArray[np.float64], _Cluster | None, npt.NDArray[np.int64]],
        npt.NDArray[np.float64],
    ],
) -> Channel:
    """Judge the candidates of every class."""
    import numpy as np

    nothing = np.full(len(y), np.nan)
    sizes = np.bincount(y, minlength=1)
    reason = _obstacle(embeddings, sizes)
    if reason:
        return Channel(id=check, scores=nothing, p_values=nothing, unknown=reason)
    space = _space(embeddings, y, seed)
    scores = nothing.copy()
    found: list[_Cluster] = []
    for label in np.flatnonzero(sizes >= LEAST_CLASS):
        members = np.flatnonzero(space.y == label)
        projected = _principal(space.h[members])
        best: _Cluster | None = None
        for inside in candidates(projected):
            cluster = _judged(space, int(label), members, inside)
            best = cluster if best is None or _rank(cluster) > _rank(best) else best
        scores[space.order[members]] = score(projected, best, members)
        found += [best] if best is not None and best.flagged else []
    small = int(((sizes > 0) & (sizes < LEAST_CLASS)).sum())
    return Channel(
        id=check,
        scores=np.round(scores, DECIMALS) + 0.0,
        p_values=nothing,
        groups=tuple(
            _group(cluster, space, classes) for cluster in sorted(found, key=lambda c: -len(c.rows))
        ),
        unknown=f"{small} classes have fewer than {LEAST_CLASS} rows" if small else "",
        metrics={"classes_examined": int((sizes >= LEAST_CLASS).sum()), "flagged": len(found)},
    )


def _obstacle(embeddings: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> str:
    import numpy as np

    if np.count_nonzero(sizes) < 2 or (sizes >= LEAST_CLASS).sum() < 1:
        return (
            "a cluster is compared with its class and with the others: this needs two classes, "
            f"and one of at least {LEAST_CLASS} rows"
        )
    if not np.isfinite(embeddings).all():
        return "some embeddings are missing or infinite"
    if not embeddings.shape[1] or not np.ptp(embeddings, axis=0).any():
        return "all embeddings are equal"
    return ""


def _rank(cluster: _Cluster | None) -> tuple[float, float]:
    """Order candidates: flagged ones first, then the more exclusive ones."""
    if cluster is None:
        return -1.0, 0.0
    return float(cluster.flagged), cluster.exclusive


def _space(embeddings: npt.NDArray[np.float64], y: npt.NDArray[np.int64], seed: int) -> _Space:
    """Sort rows by content, scale them as a whole, and reduce wide ones."""
    import numpy as np

    largest = float(np.abs(embeddings).max())
    h = np.ascontiguousarray(embeddings / largest + 0.0, dtype=np.float64)
    content = h.view(np.dtype((np.void, h.itemsize * h.shape[1])))[:, 0]
    order = np.lexsort((np.unique(content, return_inverse=True)[1], y))
    h, labels = h[order], y[order]
    h = h - h.mean(axis=0)
    within = h - _class_means(h, labels)[labels]
    if h.shape[1] > MAX_DIMENSIONS:
        from sklearn.utils.extmath import randomized_svd

        _, _, directions = randomized_svd(
            within, MAX_DIMENSIONS, n_iter=POWER_STEPS, random_state=seed
        )
        h, within = h @ directions.T, within @ directions.T
    present = np.unique(labels)
    means = _class_means(h, labels)[present]
    return _Space(h, labels, order, within.T @ within, means, present, means.T @ means)


def _class_means(h: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean of each class; rows are sorted by class."""
    import numpy as np

    counts = np.bincount(y)
    starts = np.searchsorted(y, np.flatnonzero(counts))
    means = np.zeros((len(counts), h.shape[1]))
    means[counts > 0] = np.add.reduceat(h, starts, axis=0) / counts[counts > 0, None]
    return means


def _principal(h: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return centred rows in their principal components, the largest first.

    The sign of a component is such that its largest coefficient is positive.
    """
    import numpy as np

    centred = h - h.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, ::-1][:, :COMPONENTS]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    used = values[::-1][:COMPONENTS] > max(float(values[-1]), 0.0) * 1e-9
    projected: npt.NDArray[np.float64] = centred @ vectors[:, used]
    return projected


def _first_direction(
    projected: npt.NDArray[np.float64],
) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the smaller side of the best cut along the direction of largest variance."""
    if projected.shape[1]:
        yield _smaller(_cut(projected[:, 0]))


def _squares(
    projected: npt.NDArray[np.float64], _: _Cluster | None, __: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return squared projections on the first direction, in units of their median."""
    import numpy as np

    if not projected.shape[1]:
        return np.zeros(len(projected))
    squares = projected[:, 0] ** 2
    middle = float(np.median(squares))
    scores: npt.NDArray[np.float64] = squares / (middle if middle > 0 else 1.0)
    return scores


def _parts(projected: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the parts of a class when it is halved, and its halves are halved, by 2-means."""
    import numpy as np

    parts = [np.ones(len(projected), dtype=bool)]
    for _ in range(HALVINGS):
        parts = [half for part in parts for half in _halves(projected, part)]
        yield from parts


def _halves(
    projected: npt.NDArray[np.float64], part: npt.NDArray[np.bool_]
) -> list[npt.NDArray[np.bool_]]:
    """Return the halves of the best 2-means, begun with a cut along each component."""
    import numpy as np

    members = np.flatnonzero(part)
    if len(members) < 2 * LEAST_CLUSTER:
        return []
    points = _principal(projected[members])
    best: tuple[float, npt.NDArray[np.bool_]] | None = None
    for component in range(points.shape[1]):
        inside = _two_means(points, _cut(points[:, component]))
        if not inside.any() or inside.all():
            continue
        gap = points[inside].mean(axis=0) - points[~inside].mean(axis=0)
        between = float(gap @ gap) * int(inside.sum()) * int((~inside).sum())
        if best is None or between > best[0] * (1 + 1e-9):
            best = between, inside
    if best is None:
        return []
    halves = []
    for inside in (best[1], ~best[1]):
        half = np.zeros(len(part), dtype=bool)
        half[members[inside]] = True
        halves.append(half)
    return halves


def _nearness(
    projected: npt.NDArray[np.float64],
    cluster: _Cluster | None,
    members: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return how much nearer rows are to the middle of a cluster than of the rest, -1 … 1."""
    import numpy as np

    if cluster is None:
        return np.full(len(members), -1.0)
    own, other = _gaps(projected, np.isin(members, cluster.rows))
    nearness: npt.NDArray[np.float64] = (other - own) / np.maximum(np.maximum(own, other), TINY)
    return nearness


def _gaps(
    points: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the distances to the middle of a part and to the middle of the rest."""
    import numpy as np

    own = points - points[inside].mean(axis=0)
    other = points - points[~inside].mean(axis=0)
    return np.sqrt(np.einsum("ij,ij->i", own, own)), np.sqrt(np.einsum("ij,ij->i", other, other))


def _cut(along: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return the upper of two parts with the least variance within: 1-dimensional 2-means."""
    import numpy as np

    ordered = np.sort(along)
    count = len(ordered)
    lower = np.arange(1, count)
    sums = np.cumsum(ordered)
    between = (
        lower
        * (count - lower)
        * (sums[:-1] / lower - (sums[-1] - sums[:-1]) / (count - lower)) ** 2
    )
    between[np.diff(ordered) <= 0] = -1.0  # equal values stay together
    at = int(between.argmax())
    return np.asarray(along > (ordered[at] + ordered[at + 1]) / 2, dtype=np.bool_)


def _smaller(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return ~inside if inside.sum() * 2 > len(inside) else inside


def _two_means(
    points: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return one of the two parts of 2-means, begun with a part."""
    for _ in range(MAX_STEPS):
        if not inside.any() or inside.all():
            break
        own, other = _gaps(points, inside)
        if (inside == (own < other)).all():
            break
        inside = own < other
    return inside


def _judged(
    space: _Space,
    label: int,
    members: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_],
) -> _Cluster | None:
    """Measure a candidate along the direction that separates it from its class best.

    The class is cut anew along that direction, a few times: a candidate that holds some of a
    cluster finds the rest. Source: Ding & Li 2007, "Adaptive dimension reduction using
    discriminant analysis and K-means clustering".
    """
    along = None
    for step in range(REFINEMENTS + 1):
        if inside.sum() < LEAST_CLUSTER or (~inside).sum() < LEAST_CLUSTER:
            return None
        along = _direction(space, members, inside)
        if along is None:
            return None
        again = _smaller(_cut(along[members]))
        if step == REFINEMENTS or (again == inside).all():
            break
        inside = again
    return None if along is None else _measured(space, label, members, inside, along)


def _direction(
    space: _Space, members: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64] | None:
    """Return all rows along the linear discriminant of a part and the rest of its class."""
    import numpy as np

    part, rest = space.h[members[inside]], space.h[members[~inside]]
    gap = part.mean(axis=0) - rest.mean(axis=0)
    # The scatter within classes, with the part as a class of its own.
    scatter = space.scatter - np.outer(gap, gap) * (len(part) * len(rest) / len(members))
    covariance = scatter / len(space.h)
    average = float(np.trace(covariance)) / len(covariance)
    if average <= 0:
        return None
    covariance += BETWEEN * _between(space, rest.mean(axis=0), int(space.y[members[0]]))
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * average * np.eye(len(covariance))
    along: npt.NDArray[np.float64] = space.h @ np.linalg.solve(covariance, gap)
    return along


def _between(space: _Space, middle: npt.NDArray[np.float64], label: int) -> npt.NDArray[np.float64]:
    """Return the mean square of the other classes' means around the middle of a class."""
    import numpy as np

    own = space.means[int(np.searchsorted(space.present, label))]
    others = len(space.present) - 1
    total = space.means.sum(axis=0) - own
    products = space.products - np.outer(own, own)
    cross = np.outer(total, middle)
    mean: npt.NDArray[np.float64] = (products - cross - cross.T) / others + np.outer(middle, middle)
    return mean


def _measured(
    space: _Space,
    label: int,
    members: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_],
    along: npt.NDArray[np.float64],
) -> _Cluster | None:
    import numpy as np

    count = int(inside.sum())
    if count < max(LEAST_CLUSTER, LEAST_SHARE * len(members)) or count > MINORITY * len(members):
        return None
    own, same = along[members[inside]], along[members[~inside]]
    squares = float(own.var() + same.var())
    if squares <= 0:
        return None
    beyond = float(np.median(own) - np.quantile(along[space.y != label], OTHERS))
    return _Cluster(
        label=label,
        rows=members[inside],
        share=count / len(members),
        separation=math.sqrt(2 / squares) * float(own.mean() - same.mean()),
        exclusive=beyond / float(own.std() + same.std()),
        silhouette=_silhouette(space.h[members], inside),
    )


def _silhouette(h: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]) -> float:
    """Return the mean silhouette with respect to the middles of both parts: linear in rows."""
    import numpy as np

    part, rest = _gaps(h, inside)
    own, other = np.where(inside, part, rest), np.where(inside, rest, part)
    return float(((other - own) / np.maximum(np.maximum(own, other), TINY)).mean())


def _group(cluster: _Cluster, space: _Space, classes: Sequence[str]) -> Group:
    import numpy as np

    name = classes[cluster.label] if cluster.label < len(classes) else str(cluster.label)
    return Group(
        message=f"{len(cluster.rows)} rows of class {name[:100]!r} are a cluster that is unlike "
        "their class and all others in the same direction",
        rows=np.sort(space.order[cluster.rows]),
        evidence={
            "label": name[:100],
            "count": len(cluster.rows),
            "share": round(cluster.share, 4),
            "separation": round(cluster.separation, 3),
            "exclusive": round(cluster.exclusive, 3),
            "silhouette": round(cluster.silhouette, 3),
        },
    )
