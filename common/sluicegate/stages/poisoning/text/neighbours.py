"""One text many times over, hardly changed; and one text with two labels.

A flood of near-copies is how a few thoughts of an attacker outweigh many documents: each
copy vouches for the others, also across folds. Copies are found by MinHash: documents that
agree in one of sixteen bands of four minimal hashes are compared exactly, and linked if they
share seven tenths of their shingles. Shingles are runs of three words, of short texts runs
of five characters.

Every document is compared with two others of its bucket at most, so that nobody can make
this quadratic by filling a bucket; links are transitive, so that a flood still is one group.

Honest data repeats itself, too: greetings, notices, templates. Texts of fewer than
:data:`MIN_WORDS` words are not a flood however frequent. Other honest clusters follow a power
law, few of them large; a flood is larger than any of them would be. Data made from templates
hides floods of a usual size: there only the largest are seen.

Not seen: paraphrases, floods in which every text shares less than seven tenths with all
others, and copies inside of longer documents.

Sources: Broder 1997, "On the resemblance and containment of documents"; Leskovec et al.,
"Mining of massive datasets", chapter 3 (bands); Clauset et al. 2009, "Power-law
distributions in empirical data", arXiv:0706.1062; Lee et al. 2022, "Deduplicating training data
makes language models better", arXiv:2107.06499.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.channel import Channel, Group
from sluicegate.stages.poisoning.text.tokens import (
    TokenHash,
    Words,
    mixed,
    normalised,
    pieces,
    text_key,
    words,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["NEAR_DUPLICATE_TEXT", "near_duplicates"]

NEAR_DUPLICATE_TEXT: Final = "poisoning.near_duplicate_text"

BANDS: Final = 16
BAND_ROWS: Final = 4
"""Of two texts that share seven tenths of their shingles, 99 % agree in one band of sixteen;
of texts that share three tenths, 12 %, and the exact comparison drops these."""

MIN_JACCARD: Final = 0.7
"""Share of common shingles among all of two texts that makes them near-copies: one word in
twenty changed leaves about this much of runs of three words."""

SHORT: Final = 32
"""Texts with fewer words are compared by characters: one changed word would change a large
part of their few runs of words."""

CHARACTERS: Final = 5
"""Characters of a shingle of a short text: about a word."""

MIN_WORDS: Final = 5
"""Shorter texts are often equal by chance: there are few ways to agree in four words."""

MIN_ROWS: Final = 6
"""Fewer copies are no flood: the least that sways five-fold cross-validation, in which five
copies can lie in different folds and one more must join another."""

ALPHA: Final = 0.01
"""Chance that any honest cluster of a data set is as large as a flood must be."""

PRIOR_SHARE: Final = 0.1
PRIOR_CLUSTERS: Final = 20
"""What is believed of a data set with few repeated texts: one in ten repeated texts has four
copies or more, as if 20 had been seen. Documentation texts of 50 packages have 7 to 12 %. A
lone flood then needs 9 rows."""

MAX_GROUPS: Final = 100
"""Floods that are reported one by one, the largest first; the rest are one group."""

EXAMPLES: Final = 5
"""Rows that are given as examples."""

MOST_LABELS: Final = 20
"""Labels that a finding counts, the most frequent first."""

MOST_SHINGLES: Final = 2048
"""Shingles by which two texts are compared; of longer texts the smallest hashes, which err by
about 0.01."""

CHUNK: Final = 4096
"""Pairs that are compared at once: the shingles of their texts take 130 MB at most."""


def near_duplicates(texts: Sequence[str], y: npt.NDArray[np.int64], *, seed: int) -> Channel:
    """Find floods of near-copies, and equal texts with different labels.

    Memory is about 300 bytes for each different text, besides the texts.

    Args:
        texts: the documents.
        y: shape (documents,): class codes.
        seed: key of all hashes.

    Returns:
        Scores are ln of the number of near-copies of a row's text, itself included.
    """
    import numpy as np

    y = np.asarray(y, dtype=np.int64)
    rows = len(texts)
    if not rows:
        return Channel(id=NEAR_DUPLICATE_TEXT, scores=np.zeros(0), p_values=np.zeros(0))
    keys = np.array([text_key(text, seed) for text in texts], dtype=np.uint64)
    _, first, text_of = np.unique(keys, return_index=True, return_inverse=True)
    different = _Different(texts, first, seed)
    cluster, least = different.clusters()
    cluster_of = cluster[text_of]
    sizes = np.bincount(cluster_of)
    long_enough = np.bincount(cluster_of, different.lengths[text_of] >= MIN_WORDS) > 0
    threshold = _threshold(sizes[long_enough])
    floods = np.flatnonzero((sizes >= threshold) & long_enough)
    floods = floods[np.lexsort((floods, -sizes[floods]))]
    members = _Members(cluster_of, len(sizes))
    groups = [
        _flood(members.of(int(at)), y, text_of, float(least[at])) for at in floods[:MAX_GROUPS]
    ]
    if len(floods) > MAX_GROUPS:
        rest = np.sort(np.concatenate([members.of(int(at)) for at in floods[MAX_GROUPS:]]))
        groups.append(_rest(rest, len(floods) - MAX_GROUPS))
    torn = _torn(text_of, y, different.lengths)
    if torn is not None:
        groups.append(torn)
    return Channel(
        id=NEAR_DUPLICATE_TEXT,
        scores=np.log(sizes[cluster_of]),
        p_values=np.full(rows, np.nan),
        groups=tuple(groups),
        metrics={
            "different_texts": len(first),
            "repeated": int((sizes > 1).sum()),
            "floods": len(floods),
            "threshold": threshold,
        },
    )


class _Different:
    """The different texts, in the order of their keys."""

    def __init__(self, texts: Sequence[str], first: npt.NDArray[np.int64], seed: int) -> None:
        self._texts = texts
        self._first = first
        self._seed = seed
        self._hashed = TokenHash(seed)
        self.lengths, self._bands = self._signatures()

    def clusters(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Link near-copies.

        Returns:
            The cluster of each text, numbered in the order of keys; and of each cluster the
            smallest Jaccard similarity that links it, 1 if nothing was linked.
        """
        import numpy as np

        parent = np.arange(len(self._first), dtype=np.int64)
        least = np.ones(len(self._first))
        for band in range(BANDS):
            for pairs in _chunks(self._pairs(band, parent)):
                self._link(pairs, parent, least)
        roots = _roots(parent)
        different, cluster = np.unique(roots, return_inverse=True)
        return cluster, least[different]

    def _pairs(self, band: int, parent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return pairs to compare: each text of a bucket with its first and its last but one."""
        import numpy as np

        value = self._bands[:, band]
        order = np.lexsort((np.arange(len(value)), value))
        new = np.diff(value[order].view(np.int64), prepend=0) != 0
        new[:1] = True
        at = np.flatnonzero(~new)
        start = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
        some = np.stack([order[at], order[start[at]]], axis=1)
        more = np.stack([order[at], order[at - 1]], axis=1)
        pairs = np.unique(np.concatenate([some, more]), axis=0)
        roots = _roots(parent)
        result: npt.NDArray[np.int64] = pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]]
        return result

    def _link(
        self,
        pairs: npt.NDArray[np.int64],
        parent: npt.NDArray[np.int64],
        least: npt.NDArray[np.float64],
    ) -> None:
        import numpy as np

        needed, places = np.unique(pairs, return_inverse=True)
        sets = self._sets(needed)
        for one, other in places.reshape(pairs.shape):
            a, b = _root(parent, int(needed[one])), _root(parent, int(needed[other]))
            if a == b:
                continue
            jaccard = _jaccard(sets[one], sets[other])
            if jaccard >= MIN_JACCARD:
                low, high = min(a, b), max(a, b)
                parent[high] = low
                least[low] = min(least[low], least[high], jaccard)

    def _sets(self, chosen: npt.NDArray[np.int64]) -> list[npt.NDArray[np.uint64]]:
        """Return the different shingles of some texts, or the smallest of very many."""
        import numpy as np

        sets: list[npt.NDArray[np.uint64]] = []
        texts = [self._texts[at] for at in self._first[chosen].tolist()]
        for part in pieces(texts):
            hashes, first = _shingles(*self._cut(texts[part]))
            sets += [np.unique(some)[:MOST_SHINGLES].copy() for some in np.split(hashes, first[1:])]
        return sets

    def _signatures(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return how many words each text has, and the hash of each of its bands."""
        import numpy as np

        count = len(self._first)
        lengths = np.zeros(count, dtype=np.int64)
        bands = np.zeros((count, BANDS), dtype=np.uint64)
        for start in range(0, count, CHUNK):
            texts = [self._texts[at] for at in self._first[start : start + CHUNK].tolist()]
            for piece in pieces(texts):
                part = slice(start + piece.start, start + piece.stop)
                some, document = self._cut(texts[piece])
                lengths[part] = np.bincount(document.document, minlength=document.documents)
                bands[part] = _bands(*_shingles(some, document))
        return lengths, bands

    def _cut(self, texts: Sequence[str]) -> tuple[list[str], Words]:
        some = [normalised(text) for text in texts]
        return some, self._hashed([words(text) for text in some])


def _bands(hashes: npt.NDArray[np.uint64], first: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return one hash for each band of each text, from the smallest of its hashed shingles."""
    import numpy as np

    result = np.zeros((len(first), BANDS), dtype=np.uint64)
    for band in range(BANDS):
        for row in range(BAND_ROWS):
            salt = mixed(np.array([band * BAND_ROWS + row], dtype=np.uint64))
            turned = (hashes ^ salt) * np.uint64(0xD6E8FEB86659FD93)
            turned ^= turned >> np.uint64(32)
            lowest = np.minimum.reduceat(turned * (salt | np.uint64(1)), first)
            result[:, band] = mixed(result[:, band] ^ lowest)
    return result


def _shingles(
    texts: Sequence[str], document: Words
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the shingles of some texts, one after the other, and where each text begins.

    Every text has at least one.
    """
    import numpy as np

    lengths = np.bincount(document.document, minlength=document.documents)
    runs, first = document.ngrams(3)
    owner = document.document[first]
    long = lengths[owner] >= SHORT
    hashes, owners = [runs[long]], [owner[long]]
    for at in np.flatnonzero(lengths < SHORT).tolist():
        letters = _letters(texts[at])
        hashes.append(letters)
        owners.append(np.full(len(letters), at, dtype=np.int64))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(hashes)[order], np.flatnonzero(np.diff(owner[order], prepend=-1))


def _letters(text: str) -> npt.NDArray[np.uint64]:
    """Return hashes of all runs of characters of a text; of a shorter one, of all of it."""
    import numpy as np

    content = text.encode("utf-32-le", "surrogatepass").ljust(4 * CHARACTERS, b"\0")
    codes = np.frombuffer(content, dtype="<u4").astype(np.uint64)
    runs = len(codes) - CHARACTERS + 1
    hashes = np.zeros(runs, dtype=np.uint64)
    for at in range(CHARACTERS):
        hashes = mixed(hashes ^ codes[at : at + runs])
    return hashes


def _jaccard(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> float:
    """Return the share of common shingles; of very many, estimated from the smallest."""
    import numpy as np

    union = np.union1d(one, other)[:MOST_SHINGLES]
    common = np.intersect1d(one, other, assume_unique=True)
    return float(np.searchsorted(common, union[-1], side="right")) / len(union)


def _chunks(pairs: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(pairs), CHUNK):
        yield pairs[start : start + CHUNK]


def _root(parent: npt.NDArray[np.int64], at: int) -> int:
    """Return the representative of a text, and shorten the way to it."""
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = int(parent[at])
    return at


def _roots(parent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the representative of every text."""
    import numpy as np

    while True:
        above = parent[parent]
        if np.array_equal(above, parent):
            return above
        parent = above


def _threshold(sizes: npt.NDArray[np.int64]) -> int:
    """Return how many rows make a flood, given the sizes of all clusters.

    Sizes s of honest clusters follow a power law: P(S >= s) = ((s - 1/2) / (3/2)) ** -a.
    How many of them have at least four rows gives the exponent; that the largest ones are
    very large does not count, since these may be floods.
    """
    import numpy as np

    others = max(int(np.count_nonzero(sizes >= 2)) - 1, 0)  # without the one in question
    larger = max(int(np.count_nonzero(sizes >= 4)) - 1, 0)
    share = (larger + PRIOR_SHARE * PRIOR_CLUSTERS) / (others + PRIOR_CLUSTERS)
    exponent = -math.log(share) / math.log(3.5 / 1.5)
    largest = 0.5 + 1.5 * math.pow((others + 1) / ALPHA, 1 / exponent)
    return max(MIN_ROWS, math.ceil(largest))


class _Members:
    """The rows of each cluster."""

    def __init__(self, cluster_of: npt.NDArray[np.int64], clusters: int) -> None:
        import numpy as np

        self._order = np.argsort(cluster_of, kind="stable")
        self._bounds = np.searchsorted(cluster_of[self._order], np.arange(clusters + 1))

    def of(self, cluster: int) -> npt.NDArray[np.int64]:
        """Return the rows of a cluster, ascending."""
        rows: npt.NDArray[np.int64] = self._order[self._bounds[cluster] : self._bounds[cluster + 1]]
        return rows


def _flood(
    rows: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    text_of: npt.NDArray[np.int64],
    least: float,
) -> Group:
    import numpy as np

    codes, counts = np.unique(y[rows], return_counts=True)
    order = np.lexsort((codes, -counts))
    different = len(np.unique(text_of[rows]))
    return Group(
        message=f"{len(rows)} rows are near-copies of each other, in {different} variants",
        rows=rows,
        evidence={
            "kind": "flood",
            "count": len(rows),
            "variants": different,
            "labels": [
                {"label_code": int(codes[at]), "count": int(counts[at])}
                for at in order[:MOST_LABELS]
            ],
            "least_jaccard": round(least, 6),
            "greatest_jaccard": 1.0 if different < len(rows) else None,
        },
        samples={"rows": rows[:EXAMPLES].tolist()},
    )


def _rest(rows: npt.NDArray[np.int64], floods: int) -> Group:
    return Group(
        message=f"{len(rows)} rows are near-copies in {floods} further groups",
        rows=rows,
        evidence={"kind": "further_floods", "count": len(rows), "floods": floods},
        samples={"rows": rows[:EXAMPLES].tolist()},
    )


def _torn(
    text_of: npt.NDArray[np.int64], y: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> Group | None:
    """Return the rows whose text has another label elsewhere, as often or more often."""
    import numpy as np

    pairs, pair_of, counts = np.unique(
        np.stack([text_of, y]), axis=1, return_inverse=True, return_counts=True
    )
    texts, of_pair, labels = np.unique(pairs[0], return_inverse=True, return_counts=True)
    most = np.zeros(len(texts), dtype=np.int64)
    np.maximum.at(most, of_pair, counts)
    tied = np.bincount(of_pair, counts == most[of_pair]) > 1
    doubtful = (labels[of_pair] > 1) & ((counts < most[of_pair]) | tied[of_pair])
    doubtful &= lengths[pairs[0]] > 0
    rows = np.flatnonzero(doubtful[pair_of.ravel()])
    if not len(rows):
        return None
    several = int(((labels > 1) & (lengths[texts] > 0)).sum())
    codes, frequent = np.unique(y[rows], return_counts=True)
    order = np.lexsort((codes, -frequent))[:MOST_LABELS]
    return Group(
        message=(
            f"{several} texts appear with different labels; {len(rows)} rows have a label that "
            "is not the most frequent one of their text"
        ),
        rows=rows,
        evidence={
            "kind": "different_labels",
            "count": len(rows),
            "texts": several,
            "labels": [{"label_code": int(codes[at]), "count": int(frequent[at])} for at in order],
        },
        samples={"rows": rows[:EXAMPLES].tolist()},
    )
