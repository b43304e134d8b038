"""What is learned about whole distributions: shares of labels, of bins, and quantiles.

The expectations allow for the sampling noise of the batch they judge. What is added here is
what they cannot know: the noise of the reference itself, and how much its parts differ from
each other (seasons, sources, days), with room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.model import Severity
from sluicegate.stages.validation.learning.categories import Categories, categories_of
from sluicegate.stages.validation.learning.entries import Entry, outward
from sluicegate.stages.validation.learning.numbers import bounds_of
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["drift_entries", "label_entries"]

FEWEST: Final = 500
"""Fewest values from which a distribution is learned: ten bins of fifty."""

BINS: Final = 10
"""Bins of the stability index; ten by custom. Source: Siddiqi, "Credit Risk Scorecards", 2006."""

PSI: Final = 0.2
"""Least threshold of the stability index: "a significant shift" by custom, same source."""

KS: Final = 0.1
"""Least threshold of the distance of distribution functions: a tenth of the rows moved."""

DISTANCE: Final = 0.05
"""Least threshold of label shares: one label in twenty changed."""

ROOM: Final = 1.5
"""How much more than parts of the reference differ from the whole may a batch do so."""

UNSTABLE: Final = 1.0
"""Above this stability index between parts of the reference there is no common distribution:
it is sorted by the column, or drifts by itself."""

EMPTY: Final = 0.0001
"""Least share in the stability index, as where it is examined."""

_QUANTILES: Final = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def drift_entries(column: ColumnProfile, profile: Profile) -> list[Entry]:
    """Return what is expected of the distribution of a numeric column; nothing from few values."""
    found = bounds_of(column, profile)
    if found is None:
        return []
    values = profile.values(column.name)
    kept = values[(values >= found.below) & (values <= found.above)]
    if len(kept) < FEWEST or kept.min() == kept.max():
        return []
    blocks = [
        one[(one >= found.below) & (one <= found.above)] for one in profile.blocks(column.name)
    ]
    blocks = [one for one in blocks if len(one) >= FEWEST / 5]
    ends = outward(found.below, up=False), outward(found.above, up=True)
    edges = _edges(kept, *ends, whole=column.whole)
    entries = [] if len(edges) < 3 else _stability(column, kept, blocks, edges)
    if entries and not column.integers:
        entries += _distance(column, kept, blocks)
    return entries


def _edges(kept: Floats, below: float, above: float, *, whole: bool) -> list[float]:
    """Return the borders of bins of about equal shares, none of them empty."""
    import numpy as np

    inner = np.quantile(kept, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
    inner = np.unique(np.floor(inner) + 0.5 if whole else inner)
    edges = [below]
    for edge in (float(f"{one:.6g}") for one in inner):
        share = np.mean((kept >= edges[-1]) & (kept < edge))
        if edge > edges[-1] and share >= 0.2 / BINS and np.mean(kept >= edge) >= 0.2 / BINS:
            edges.append(edge)
    return [*edges, above] if above > edges[-1] else edges


def _stability(
    column: ColumnProfile, kept: Floats, blocks: Sequence[Floats], edges: list[float]
) -> list[Entry]:
    import numpy as np

    shares = np.histogram(kept, bins=edges)[0] / len(kept)
    between = max((_index(shares, one, edges) for one in blocks), default=0.0)
    if between > UNSTABLE:
        return []
    noise = _chi_squared(len(shares) - 1) / len(kept)
    threshold = _up(max(PSI, ROOM * between) + noise)
    return [
        Entry(
            type="expect_column_psi_to_be_less_than",
            kwargs={
                "column": column.name,
                "edges": edges,
                "shares": _rounded(shares.tolist()),
                "threshold": threshold,
            },
            severity=Severity.INFO,
            why=f"Shares of {len(kept):,} values in {len(shares)} bins; values that were left out "
            f"of the range are not in them. Parts of the reference differ from the whole by up to "
            f"{between:.2g}; {PSI} is a significant shift by custom, and {noise:.2g} is the noise "
            "of the reference.",
        )
    ]


def _index(shares: Any, values: Floats, edges: list[float]) -> float:
    import numpy as np

    found = np.maximum(np.histogram(values, bins=edges)[0] / len(values), EMPTY)
    expected = np.maximum(shares, EMPTY)
    noise = _chi_squared(len(shares) - 1) / len(values)
    return max(float(np.sum((found - expected) * np.log(found / expected))) - noise, 0.0)


def _distance(column: ColumnProfile, kept: Floats, blocks: Sequence[Floats]) -> list[Entry]:
    import numpy as np

    ordered = np.sort(kept)
    values = np.quantile(ordered, _QUANTILES, method="inverted_cdf")
    below = np.searchsorted(ordered, values, "left") / len(ordered)
    until = np.searchsorted(ordered, values, "right") / len(ordered)
    noise = _kolmogorov(len(ordered))
    between = 0.0
    for one in blocks:
        part = np.sort(one)
        gap = np.maximum(
            np.searchsorted(part, values, "left") / len(part) - until,
            below - np.searchsorted(part, values, "right") / len(part),
        )
        between = max(between, float(gap.max()) - _kolmogorov(len(part)))
    threshold = _up(max(KS, ROOM * between) + noise)
    if threshold > 0.5:
        return []
    return [
        Entry(
            type="expect_column_ks_statistic_to_be_less_than",
            kwargs={
                "column": column.name,
                "quantiles": [
                    [p, float(value)] for p, value in zip(_QUANTILES, values, strict=True)
                ],
                "threshold": threshold,
            },
            severity=Severity.INFO,
            why=f"Quantiles of {len(kept):,} values. Parts of the reference differ from the whole "
            f"by up to {max(between, 0.0):.2g} beyond chance; {noise:.2g} is the noise of the "
            "reference.",
        )
    ]


def label_entries(column: ColumnProfile, profile: Profile, *, plain: bool) -> list[Entry]:
    """Return what is expected of the shares of the labels."""
    found = categories_of(column, profile, label=True)
    if found is None or len(found.counts) < 2:
        return []
    total = sum(found.counts.values())
    noise = math.sqrt(len(found.counts) / (2 * math.pi * total)) + 3 / math.sqrt(4 * total)
    why = (
        f"Shares of {len(found.counts)} labels in {total:,} rows. One label in twenty may change, "
        f"and {noise:.2g} is the noise of the reference."
    )
    shares = _rounded([count / total for count in found.counts.values()])
    if plain:
        return [_divergence(column, found, shares, total, why)]
    kwargs = {
        "column": column.name,
        "shares": dict(zip(map(_key, found.counts), shares, strict=True)),
        "max_distance": min(_up(DISTANCE + noise), 0.99),
    }
    kind = "expect_column_label_shares_to_match"
    return [Entry(type=kind, kwargs=kwargs, severity=Severity.WARNING, why=why)]


def _divergence(
    column: ColumnProfile, found: Categories, shares: list[float], total: int, why: str
) -> Entry:
    """Return the same in Great Expectations' own words, which allow for no noise of a batch."""
    batch = max(total // 10, 30)
    threshold = _up(2 * DISTANCE**2 + _chi_squared(len(shares) - 1) * (1 / total + 1 / batch))
    return Entry(
        type="expect_column_kl_divergence_to_be_less_than",
        kwargs={
            "column": column.name,
            "partition_object": {"values": list(found.counts), "weights": shares},
            "threshold": threshold,
        },
        severity=Severity.WARNING,
        why=f"{why} The threshold is for batches of {batch:,} rows or more.",
    )


def _key(label: Any) -> str:
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def _rounded(shares: Sequence[float]) -> list[float]:
    """Return shares of six digits that sum to 1: the greatest one takes the difference."""
    rounded = [round(share, 6) for share in shares]
    largest = rounded.index(max(rounded))
    others = math.fsum(share for at, share in enumerate(rounded) if at != largest)
    rounded[largest] = round(1 - others, 6)
    return rounded


def _up(value: float) -> float:
    return math.ceil(value * 1000) / 1000


def _chi_squared(freedom: int) -> float:
    """Return the 99.9 % quantile. Source: Wilson and Hilferty, PNAS 17, 1931."""
    part = 2 / (9 * max(freedom, 1))
    return max(freedom, 1) * (1 - part + 3.09 * math.sqrt(part)) ** 3


def _kolmogorov(rows: int) -> float:
    """Return the 99.9 % bound of the distance. Source: Massart, Annals of Probability 18, 1990."""
    return math.sqrt(math.log(2 / 0.001) / (2 * rows))
