"""How far the shares of a sample may be from those of its source by chance alone.

Each bound holds with a stated confidence for n independent rows from a source that did not
change. A distance beyond threshold and bound together is no accident of few rows.

The baseline counts as exact: what its own sample size leaves open belongs into the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

__all__ = [
    "chi_squared_quantile",
    "kolmogorov_bound",
    "stability_bound",
    "total_variation_bound",
]

_MANY: Final = 1000
"""From here 2**k - 2 is as good as 2**k, and would not fit into a float for much longer."""


def total_variation_bound(shares: Sequence[float], rows: int, confidence: float) -> float:
    """Return how far, in total variation, n rows get from their source by chance.

    The lesser of two bounds that both always hold. The first knows the number of labels
    only: with probability at least 1 - d the L1 distance is at most
    sqrt(2 ln((2**k - 2) / d) / n). The second knows the shares: the expected distance is at
    most 1/2 sum sqrt(p (1 - p) / n), and changing one row changes it by at most 1/n.

    Args:
        shares: of the source, by label; they sum to 1.
        rows: how many, at least 1.
        confidence: above 0 and below 1.

    Source: Weissman, Ordentlich, Seroussi, Verdú, Weinberger, "Inequalities for the L1
    deviation of the empirical distribution", HP Labs 2003, theorem 2.1; McDiarmid, "On the
    method of bounded differences", 1989; Berend, Kontorovich, "On the concentration of the
    missing mass", 2013, lemma on the expected deviation.
    """
    doubt = -math.log1p(-confidence)
    labels = sum(share > 0 for share in shares)
    if labels < 2:
        # One label only: no sample of it holds another.
        return 0.0
    sets = labels * math.log(2) if labels >= _MANY else math.log(2.0**labels - 2)
    by_number = 0.5 * math.sqrt(2 * (sets + doubt) / rows)
    expected = 0.5 * sum(math.sqrt(share * (1 - share) / rows) for share in shares)
    return min(by_number, expected + math.sqrt(doubt / (2 * rows)))


def kolmogorov_bound(rows: int, confidence: float) -> float:
    """Return how far an empirical distribution function of n rows gets by chance.

    sqrt(ln(2 / (1 - confidence)) / (2 n)), for every n and every distribution.

    Args:
        rows: how many, at least 1.
        confidence: above 0 and below 1.

    Source: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", 1990;
    for large n the critical values of Massey, "The Kolmogorov-Smirnov test for goodness of
    fit", 1951.
    """
    return math.sqrt((math.log(2) - math.log1p(-confidence)) / (2 * rows))


def stability_bound(bins: int, rows: int, confidence: float) -> float:
    """Return how large the population stability index of n rows gets by chance.

    Without a change, n times the index is distributed as chi-squared with one degree of
    freedom less than there are bins. That holds in the limit of many rows in each bin.

    Args:
        bins: how many have a share.
        rows: how many, at least 1.
        confidence: above 0 and below 1.

    Source: Yurdakul, Naranjo, "Statistical properties of the population stability index",
    Journal of Risk Model Validation, 2020.
    """
    return chi_squared_quantile(bins - 1, confidence) / rows if bins > 1 else 0.0


def chi_squared_quantile(freedom: int, confidence: float) -> float:
    """Return the quantile of chi-squared, to about 1 % for quantiles above the median.

    Args:
        freedom: degrees of freedom, at least 1.
        confidence: above 0 and below 1.

    Source: Wilson, Hilferty, "The distribution of chi-square", PNAS 1931.
    """
    # The approximation is poor for the first two, which have exact values at hand.
    if freedom == 1:
        return NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    if freedom == 2:
        return -2 * math.log1p(-confidence)
    part = 2 / (9 * freedom)
    root = 1 - part + NormalDist().inv_cdf(confidence) * math.sqrt(part)
    return freedom * max(root, 0.0) ** 3
