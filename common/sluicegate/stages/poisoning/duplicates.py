"""Duplicates: floods of copies, and equal rows with unequal labels.

Copies are how a few bad rows get the weight of many, and how they vouch for each other:
a nearest neighbour, a forest and a cross-validation all believe a row that they have seen
elsewhere. Copies are exact, or near: a bit of noise on each.

Honest data repeat, too. A table of a few categories has more rows than combinations; word
counts of short texts are mostly zero. So nothing is called a flood because of its size
alone, only because of its size against what is usual in the same data:

* *Exact copies.* The number of rows that are equal is, over the distinct rows, a
  distribution with a tail. A law is fitted to the smaller numbers, and a number that the law
  would not produce once in a hundred data sets is a flood. A row that is frequent
  because each of its values is frequent is none.
* *Near copies.* Rows closer together than rows usually are, linked to knots. A dense region
  thins out towards its border; a flood stops. In a homogeneous neighbourhood of dimension
  D, the distances to the k-th and to the next neighbour obey P(d_k / d_k+1 <= q) = q^(k D),
  so the jump at the border of a knot has a p-value.

Limits: a flood of fewer than six rows is not looked for, nor one of near copies with more than
a tenth of all rows, which is a mode of the data. Copies among data that repeat as much are
invisible, and so are near copies in two or three dimensions that are no nearer than others.
Beyond 20,000 distinct rows near copies are found through hashed projections, which finds
them with high probability and not with certainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "DUPLICATES",
    "Copies",
    "duplicate_groups",
    "duplicates",
    "find_copies",
    "groups_of",
]

DUPLICATES: Final = "poisoning.duplicates"

NEIGHBOURS: Final = 10
"""Nearest neighbours of each row that are looked at: twice as many as make it dense."""

DENSE: Final = 5
"""A row with this many other rows within the radius is dense: with itself, a knot of six."""

RADIUS: Final = 0.75
"""The radius, in medians of the distance to the nearest other row. Half of all rows have
nobody within 1.0; five within 0.75 is unusual in more than a few dimensions."""

LEAST: Final = DENSE + 1
"""Fewest rows of a flood. Pairs and triples are how honest data repeat."""

MOST: Final = 0.1
"""A knot with a larger share of the rows is a mode of the data, not an addition to it."""

GROUPED: Final = 0.05
"""Largest share of rows that is kept together in a fold without proof of being a flood: a
dense region can be linked from end to end, and must not fill a fold."""

ALPHA: Final = 0.01
"""Share of clean data sets in which chance alone may look like a flood."""

COMMON: Final = 0.02
"""If a larger share of the distinct rows is repeated so often, repeating is usual here: data
that were oversampled on purpose."""

SINGLE: Final = 0.85
"""Share of distinct rows that occur once from which on the lighter law is allowed. Where more
repeat, rows are combinations of a few values, and the frequent ones are far more frequent."""

CLEARLY: Final = 3.0
"""Difference of log likelihoods from which on one law is preferred: odds of 20 to 1."""

EXPLAINED: Final = 1 / 3
"""A number of copies is explained if independent columns, each with its usual values, would
produce this share of it."""

FIXED_POINT_STEPS: Final = 50
"""Steps towards the probability of a row; beyond, it changes in the third digit at most."""

ABRUPT: Final = 1.2
"""Least ratio of the distances outside and inside of a border: real neighbourhoods are not
quite homogeneous, and with many rows the slightest jump is significant."""

MAX_DIMENSION: Final = 12.0
"""Dimensions that the p-value of a jump assumes at most. Estimates from few neighbours are
unreliable when high, and a high one makes small jumps significant."""

EXACT_ROWS: Final = 20_000
"""Most distinct rows whose neighbours are searched exactly; the search costs their square."""

SAMPLE_ROWS: Final = 5_000
"""Of more distinct rows, this many tell the radius and the dimension."""

MAX_TREE_COLUMNS: Final = 5
"""Beyond a few dimensions a search tree visits most rows, and costs more than all distances."""

MAX_KNOTS: Final = 64
"""Most knots whose border is measured, largest first; each costs one pass over all rows."""

MAX_CENTRE_ROWS: Final = 256
"""Most members of a knot among which the densest place is looked for."""

TABLES: Final = 8
"""Hash tables for near copies in many rows; a pair at half the radius shares a cell of one
table with probability 0.4, of any with 0.98."""

PROJECTIONS: Final = 6
"""Random projections that make a cell."""

CELL: Final = 4.0
"""Width of a cell along each projection, in radii."""

CHAIN: Final = 8
"""Followers in a cell, ordered along one more projection, that each row is compared with:
work and memory do not depend on how many rows a cell holds."""

CLEAR: Final = 2
"""A majority is clear if it has at least this many times the rows of all other labels."""

RARE: Final = 0.05
"""If at most this share of the rows has an equal, equal rows are an oddity of this data, and
two labels on them are, too."""

CONTRADICTORY: Final = 0.01
"""Share of repeated rows that may be outvoted by their equals before that counts as usual:
the features then do not determine the label. Also bounds the rows flagged by mistake."""

SEED: Final = b"sluicegate duplicates"
"""Key of the projections: fixed, because groups must not depend on the run."""


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Which rows repeat which. Numbers depend on content alone, not on the order of rows."""

    exact: npt.NDArray[np.int64]
    """Shape (rows,): equal rows have equal numbers, 0 … distinct-1."""
    knot: npt.NDArray[np.int64]
    """Shape (rows,): the number of a row's knot of near copies, or -1."""
    isolated: npt.NDArray[np.bool_]
    """Shape (knots,): whether a knot ends so abruptly that it must be a flood."""
    p_values: npt.NDArray[np.float64]
    """Shape (knots,): how likely an honest knot ends as abruptly; 1 if not measured."""
    radius: float
    """Distance within which rows are near copies, after scaling every column to 0 … 1."""
    dimension: float
    """Dimension of the data as the distances to neighbours tell it."""
    unmeasured: int
    """Knots beyond :data:`MAX_KNOTS`."""


def duplicate_groups(x: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the group of copies that each row is in; a row without a copy is a group.

    Folds that keep groups together keep copies from vouching for each other.

    Args:
        x: shape (rows, features), finite.

    Returns:
        Shape (rows,): group numbers, 0 … groups-1, which depend on content alone.
    """
    return groups_of(find_copies(x))


def find_copies(x: npt.NDArray[np.float64]) -> Copies:
    """Find equal rows and knots of near copies.

    Time: rows · log rows for equal rows, the square of at most 20,000 distinct rows, or a
    constant number of comparisons per row beyond. Memory: a few arrays of the size of ``x``.

    Args:
        x: shape (rows, features), finite.
    """
    import numpy as np

    exact, distinct = _equal_rows(x)
    scaled = _range_scaled(x[distinct]) if len(x) else x
    if len(scaled) <= LEAST or not scaled.shape[1]:
        return Copies(exact, np.full(len(x), -1), np.zeros(0, dtype=bool), np.zeros(0), 0.0, 1.0, 0)
    few = len(scaled) <= EXACT_ROWS
    sample = scaled if few else scaled[_sample(scaled, SAMPLE_ROWS)]
    distances, nearest = _neighbours(sample)
    radius = RADIUS * float(np.median(distances[:, 0]))
    dimension = _dimension(distances, radius)
    radius *= float((len(sample) / len(scaled)) ** (1.0 / dimension))  # all lie closer
    pairs = _close(distances, nearest, radius) if few else _hashed(scaled, radius)
    knot = _linked(pairs, len(scaled))
    knot, p_values, unmeasured = _borders(scaled, knot, radius, dimension)
    isolated = p_values * len(scaled) <= ALPHA
    return Copies(exact, knot[exact], isolated, p_values, radius, dimension, unmeasured)


def duplicates(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.int64],
    *,
    classes: Sequence[str] = (),
    copies: Copies | None = None,
) -> Channel:
    """Flag floods of copies, and rows outvoted by their equals.

    A row's score is ln of the number of rows in its flood or, for others, of its equals. Its
    p-value is the flood's, over the whole data set; NaN for others.

    Args:
        x: shape (rows, features), finite.
        y: shape (rows,): class codes.
        classes: names of the classes, by code; empty to tell codes.
        copies: what :func:`find_copies` returned for ``x``, if that is known.
    """
    import numpy as np

    if not len(x) or not x.shape[1]:
        nothing = np.full(len(x), np.nan)
        return Channel(
            id=DUPLICATES, scores=nothing, p_values=nothing, unknown="there is nothing to compare"
        )
    copies = find_copies(x) if copies is None else copies
    sizes = np.bincount(copies.exact)
    scores: npt.NDArray[np.float64] = np.log(sizes[copies.exact].astype(np.float64))
    p_values = np.full(len(x), np.nan)
    found = [*_exact_floods(x, copies, sizes), *_near_floods(copies, sizes)]
    groups = []
    for kind, rows, p in sorted(found, key=lambda flood: (-len(flood[1]), flood[0], flood[2])):
        scores[rows] = np.maximum(scores[rows], math.log(len(rows)))
        p_values[rows] = np.fmin(p_values[rows], p)
        groups.append(_flood_group(kind, rows, p, y, classes))
    outvoted, ambiguous = _outvoted(copies.exact, y)
    groups += _conflict_groups(outvoted, copies.exact, y, classes)
    return Channel(
        id=DUPLICATES,
        scores=np.round(scores, 6),
        p_values=p_values,
        groups=tuple(groups),
        unknown=_unmeasured(copies),
        metrics={
            "distinct_rows": len(sizes),
            "repeated_rows": int(sizes[sizes > 1].sum()),
            "largest_repetition": int(sizes.max()),
            "near_radius": round(copies.radius, 6),
            "dimension": round(copies.dimension, 3),
            "knots": len(copies.isolated),
            "floods": len(found),
            "outvoted_rows": len(outvoted),
            "undecided_rows": ambiguous,
        },
    )


def _unmeasured(copies: Copies) -> str:
    if not copies.unmeasured:
        return ""
    return f"{copies.unmeasured} knots of near copies were not examined: there are too many"


def _equal_rows(
    x: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number distinct rows by their bytes; return numbers, and one row of each."""
    import numpy as np

    if not x.shape[1]:
        return np.zeros(len(x), dtype=np.int64), np.zeros(min(len(x), 1), dtype=np.int64)
    content = np.ascontiguousarray(x + 0.0)  # -0.0 becomes 0.0
    rows = content.view(np.dtype((np.void, content.itemsize * content.shape[1])))[:, 0]
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    return number.astype(np.int64), first.astype(np.int64)


def _range_scaled(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scale every column to 0 … 1; leave constant ones out."""
    import numpy as np

    low, high = x.min(axis=0), x.max(axis=0)
    width = high / 2 - low / 2  # halves: the range of finite numbers may be infinite
    varies = width > 0
    scaled = (x[:, varies] / 2 - low[varies] / 2) / width[varies]
    return np.ascontiguousarray(scaled)


def _keys(x: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each row: a content-dependent, but otherwise random order."""
    import numpy as np

    keys = np.zeros(len(x), dtype=np.uint64)
    for column in np.ascontiguousarray(x.T).view(np.uint64):
        keys = _mixed(keys * np.uint64(0x9E3779B97F4A7C15) + column)
    return keys


def _mixed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the finaliser of SplitMix64 (Steele et al. 2014): every bit moves every bit."""
    import numpy as np

    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _sample(x: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.int64]:
    """Return the indices of some rows, chosen by content, ascending."""
    import numpy as np

    return np.sort(np.argsort(_keys(x), kind="stable")[:rows])


def _neighbours(
    x: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return distances to and indices of the nearest other rows; rows are distinct."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(x) - 1)
    tree = x.shape[1] <= MAX_TREE_COLUMNS
    search = NearestNeighbors(
        n_neighbors=count, algorithm="kd_tree" if tree else "brute", n_jobs=1
    ).fit(x)
    distances, nearest = search.kneighbors()
    # Fast distances cancel where rows are close: these are the ones that matter here.
    for start in range(0, len(x), 4096):
        part = slice(start, start + 4096)
        for at in range(count):
            gaps = x[part] - x[nearest[part, at]]
            distances[part, at] = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(nearest, order, 1)


def _dimension(distances: npt.NDArray[np.float64], radius: float) -> float:
    """Estimate the dimension of the data from the growth of neighbour distances.

    Source: Levina & Bickel 2004, "Maximum likelihood estimation of intrinsic dimension";
    averaged over rows by its inverse (MacKay & Ghahramani 2005).
    """
    import numpy as np

    usual = distances[:, min(DENSE, distances.shape[1]) - 1] > radius
    kept = distances[usual & (distances[:, 0] > 0)]
    if not len(kept) or kept.shape[1] < 3:
        return 1.0
    growth = np.log(kept[:, -1:] / kept[:, :-1]).sum(axis=1) / (kept.shape[1] - 2)
    inverse = float(growth.mean())
    return min(max(1.0 / inverse, 1.0), MAX_DIMENSION) if inverse > 0 else 1.0


def _close(
    distances: npt.NDArray[np.float64], nearest: npt.NDArray[np.int64], radius: float
) -> npt.NDArray[np.int64]:
    """Return pairs of dense rows within the radius; shape (pairs, 2)."""
    import numpy as np

    if distances.shape[1] < DENSE:
        return np.zeros((0, 2), dtype=np.int64)
    dense = distances[:, DENSE - 1] <= radius
    one = np.repeat(np.arange(len(distances)), distances.shape[1])
    other = nearest.ravel()
    near = (distances <= radius).ravel() & dense[one] & dense[other]
    return np.stack([one[near], other[near]], axis=1)


def _hashed(x: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.int64]:
    """Return pairs of dense rows within the radius that share a cell of some hash table."""
    import hashlib

    import numpy as np

    if radius <= 0:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = []
    for table in range(TABLES):
        digest = hashlib.blake2b(b"%d" % table, key=SEED, digest_size=8).digest()
        generator = np.random.default_rng(int.from_bytes(digest, "big"))
        directions = generator.standard_normal((x.shape[1], PROJECTIONS + 1))
        projected = x @ directions  # a gap of d becomes one of about d
        cells = np.floor(projected[:, :-1] / (CELL * radius) + generator.random(PROJECTIONS))
        order = np.lexsort((projected[:, -1], _keys(cells)))
        keys = _keys(cells)[order]
        for step in range(1, CHAIN + 1):
            same = np.flatnonzero(keys[:-step] == keys[step:])
            one, other = order[same], order[same + step]
            pairs.append(_within(x, one, other, radius))
    found = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    dense = np.bincount(found.ravel(), minlength=len(x)) >= DENSE
    return np.asarray(found[dense[found].all(axis=1)], dtype=np.int64)


def _within(
    x: npt.NDArray[np.float64],
    one: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
    radius: float,
) -> npt.NDArray[np.int64]:
    import numpy as np

    near = np.zeros(len(one), dtype=bool)
    for start in range(0, len(one), 65_536):
        part = slice(start, start + 65_536)
        gaps = x[one[part]] - x[other[part]]
        near[part] = np.einsum("ij,ij->i", gaps, gaps) <= radius * radius
    return np.stack([one[near], other[near]], axis=1)


def _linked(pairs: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """Return the knot of each row, or -1; knots are numbered by their first row."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    knot = np.full(rows, -1, dtype=np.int64)
    if not len(pairs):
        return knot
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    _, component = connected_components(links, directed=False)
    sizes = np.bincount(component)
    members = np.flatnonzero(sizes[component] >= LEAST)
    _, first, number = np.unique(component[members], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    knot[members] = rank[number]
    return knot


def _borders(
    x: npt.NDArray[np.float64], knot: npt.NDArray[np.int64], radius: float, dimension: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], int]:
    """Measure how abruptly knots end, and cut those that end too abruptly at their border.

    Returns:
        Knots of the rows; p-values of the knots; how many knots were not measured.
    """
    import numpy as np

    count = int(knot.max()) + 1
    p_values = np.ones(count)
    if not count:
        return knot, p_values, 0
    knot = knot.copy()
    sizes = np.bincount(knot[knot >= 0], minlength=count)
    candidates = np.flatnonzero(sizes <= max(MOST * len(x), LEAST))
    candidates = candidates[np.argsort(-sizes[candidates], kind="stable")]
    for number in candidates[:MAX_KNOTS]:
        members = np.flatnonzero(knot == number)
        distances = _distances(x, x[_densest(x, members)])
        p, border = _jump(np.sort(distances), len(members), radius, dimension)
        p_values[number] = p
        if p * len(x) <= ALPHA:
            knot[members] = -1  # some are neighbours of the flood, and no part of it
            knot[(distances <= border) & (knot < 0)] = number
    return knot, p_values, max(len(candidates) - MAX_KNOTS, 0)


def _densest(x: npt.NDArray[np.float64], members: npt.NDArray[np.int64]) -> int:
    """Return the member with the nearest neighbours, among some of them if there are many."""
    import numpy as np

    few = members[_sample(x[members], MAX_CENTRE_ROWS)]
    reach = [np.partition(_distances(x[few], x[row]), DENSE)[DENSE] for row in few]
    return int(few[int(np.argmin(np.round(reach, 12)))])


def _distances(
    x: npt.NDArray[np.float64], point: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the distance of every row to a point, without cancellation."""
    import numpy as np

    result = np.empty(len(x))
    for start in range(0, len(x), 65_536):
        gaps = x[start : start + 65_536] - point
        result[start : start + 65_536] = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
    return result


def _jump(
    distances: npt.NDArray[np.float64], members: int, radius: float, dimension: float
) -> tuple[float, float]:
    """Return the p-value and the place of the most abrupt border within or near a knot.

    Args:
        distances: shape (rows,): ascending, from the centre, beginning with its own 0.
        members: how many rows the knot has.
        radius: distance within which rows are near copies.
        dimension: dimension of the data.
    """
    import numpy as np

    last = min(members + members // 4 + 1, len(distances) - 2)
    k = np.arange(DENSE, last + 1)  # a few rows may not be linked, or lie there by chance
    inside, outside = distances[k], distances[k + 1]
    fits = (inside <= 2 * radius) & (outside >= ABRUPT * inside) & (outside > 0)
    if not fits.any():
        return 1.0, 0.0
    logs = k * dimension * np.log(np.maximum(inside, 1e-12) / np.maximum(outside, 1e-12))
    logs[~fits] = 0.0
    at = int(logs.argmin())
    return min(1.0, len(k) * math.exp(max(float(logs[at]), -700.0))), float(inside[at])


def groups_of(copies: Copies) -> npt.NDArray[np.int64]:
    """Number groups of equal rows, floods of near copies, and small knots."""
    import numpy as np

    rows = len(copies.exact)
    sizes = np.bincount(copies.knot[copies.knot >= 0], minlength=len(copies.isolated))
    together = copies.isolated | (sizes <= GROUPED * rows)
    kept = (copies.knot >= 0) & np.append(together, False)[copies.knot]
    group = np.where(kept, rows + copies.knot, copies.exact)
    smallest = np.full(2 * rows + 1, rows, dtype=np.int64)
    np.minimum.at(smallest, group, copies.exact)  # of all members: content, not position
    _, number = np.unique(smallest[group], return_inverse=True)
    return number.astype(np.int64)


def _exact_floods(
    x: npt.NDArray[np.float64], copies: Copies, sizes: npt.NDArray[np.int64]
) -> list[tuple[str, npt.NDArray[np.int64], float]]:
    """Return the rows that repeat more often than rows of this data do."""
    import numpy as np

    least, p = _unusual_size(sizes)
    found = []
    for number in np.flatnonzero(sizes >= least) if least else ():
        rows = np.flatnonzero(copies.exact == number)
        if not _explained(x, rows):
            found.append(("exact", rows, p))
    return found


def _unusual_size(sizes: npt.NDArray[np.int64]) -> tuple[int, float]:
    """Return the least number of copies that is unusual, and its p-value; 0 if none is.

    Sizes below a candidate are fitted by a law, cut off at the candidate; beyond it, the law
    says how many distinct rows should repeat so often.

    Source: Clauset et al. 2009, "Power-law distributions in empirical data", arXiv:0706.1062.
    """
    import numpy as np

    candidates = np.unique(sizes[sizes >= LEAST])
    for size in candidates:
        beyond = sizes >= size
        if beyond.sum() > max(COMMON * len(sizes), 1):
            continue
        expected = len(sizes) * _tail(sizes[~beyond], int(size))
        if expected <= ALPHA:
            return int(size), expected
    return 0, 1.0


def _tail(smaller: npt.NDArray[np.int64], size: int) -> float:
    """Return the probability of ``size`` or more, judged by smaller sizes.

    By a power law, or by a logarithmic series if the sizes clearly speak for one: it falls off
    faster, as where some rows were entered twice, and few of these three times.
    """
    import numpy as np
    from scipy.special import zeta

    known = np.arange(1.0, size)
    # One more pair than was seen: the exponent stays finite, and errs to the heavy side.
    counts = np.bincount(smaller, minlength=size)[1:size].astype(np.float64)
    counts[min(1, size - 2)] += 1
    exponents = np.arange(1.05, 20.0, 0.05)
    power, at = _likeliest(-exponents[:, None] * np.log(known)[None, :], counts)
    heavy = float(zeta(exponents[at], size) / zeta(exponents[at], 1))
    ratios = np.append(np.arange(0.001, 0.99, 0.001), 1 - np.logspace(-2, -6, 200))
    series, at = _likeliest(np.log(ratios)[:, None] * known[None, :] - np.log(known), counts)
    if series <= power + CLEARLY or counts[0] < SINGLE * counts.sum():
        return heavy
    ratio = float(ratios[at])
    beyond = ratio**size / (size * (1 - ratio))  # no term is larger than the first one's series
    return min(heavy, beyond / -math.log1p(-ratio))


def _likeliest(logs: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> tuple[float, int]:
    """Return the largest log likelihood of cut-off laws, and which law has it.

    Args:
        logs: shape (laws, sizes): logarithms of weights, not normalised.
        counts: shape (sizes,): how many distinct rows have each size.
    """
    import numpy as np

    logs = logs - np.log(np.exp(logs).sum(axis=1))[:, None]
    likelihood = logs @ counts
    at = int(likelihood.argmax())
    return float(likelihood[at]), at


def _explained(x: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> bool:
    """Return whether equal rows are frequent because each of their values is."""
    import numpy as np

    rest = len(x) - len(rows)
    if not rest:
        return True
    others = ((x == x[rows[0]]).sum(axis=0) - len(rows)) / rest
    # The other rows are those that do not have all of these values: what they share is lower
    # than the columns' true shares, by the probability that is sought.
    share = 0.0
    for _ in range(FIXED_POINT_STEPS):
        share = float(np.prod(others * (1.0 - share) + share))
    return rest * share >= EXPLAINED * len(rows) * (1.0 - share)


def _near_floods(
    copies: Copies, sizes: npt.NDArray[np.int64]
) -> list[tuple[str, npt.NDArray[np.int64], float]]:
    """Return floods of near copies, without rows that are often repeated exactly.

    Those are judged by how often: somebody may flood around a row that is honestly frequent.
    """
    import numpy as np

    knot = np.where(sizes[copies.exact] < LEAST, copies.knot, -1)
    found = []
    for number in np.flatnonzero(copies.isolated):
        rows = np.flatnonzero(knot == number)
        if len(rows):
            found.append(("near", rows, float(copies.p_values[number])))
    return found


def _flood_group(
    kind: str,
    rows: npt.NDArray[np.int64],
    p: float,
    y: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> Group:
    import numpy as np

    codes, counts = np.unique(y[rows], return_counts=True)
    what = "equal in all features" if kind == "exact" else "nearly equal in all features"
    return Group(
        message=f"{len(rows)} rows are {what}: more than rows of this data usually are",
        rows=rows,
        evidence={
            "kind": kind,
            "count": len(rows),
            "p_value": float(f"{p:.3g}"),
            "labels": {
                _class_name(int(code), classes): int(count)
                for code, count in zip(codes[:16], counts[:16], strict=True)
            },
        },
    )


def _outvoted(
    exact: npt.NDArray[np.int64], y: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the rows whose equals clearly have another label, and how many are undecided."""
    import numpy as np

    classes = int(y.max()) + 1
    pairs, pair, counts = np.unique(exact * classes + y, return_inverse=True, return_counts=True)
    sizes = np.bincount(exact)
    most = np.zeros(len(sizes), dtype=np.int64)
    np.maximum.at(most, pairs // classes, counts)
    minority = counts[pair] < most[exact]
    clear = most >= CLEAR * (sizes - most)
    repeated = int(sizes[sizes > 1].sum())
    against = int((sizes - most).sum())
    if repeated > RARE * len(y) and against > CONTRADICTORY * repeated:
        return np.zeros(0, dtype=np.int64), 0
    undecided = int(sizes[(most < sizes) & ~clear].sum())
    return np.flatnonzero(minority & clear[exact]), undecided


def _conflict_groups(
    rows: npt.NDArray[np.int64],
    exact: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> list[Group]:
    import numpy as np

    if not len(rows):
        return []
    copies = int(np.isin(exact, exact[rows]).sum())
    codes, counts = np.unique(y[rows], return_counts=True)
    return [
        Group(
            message=f"{len(rows)} rows with conflicting labels: most rows that are equal to "
            "them in all features have another label",
            rows=rows,
            evidence={
                "kind": "conflicting labels",
                "count": len(rows),
                "rows_with_their_equals": copies,
                "labels": {
                    _class_name(int(code), classes): int(count)
                    for code, count in zip(codes[:16], counts[:16], strict=True)
                },
            },
        )
    ]


def _class_name(code: int, classes: Sequence[str]) -> str:
    """Return a class's name, cut to what a report quotes, or its code."""
    return classes[code][:100] if code < len(classes) else str(code)
