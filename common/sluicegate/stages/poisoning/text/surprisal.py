"""Text that no other text resembles: random strings, keyboard noise, floods of one sign.

Three statistics of each text, each judged against texts of about the same length:

* *Characters.* How much likelier each character is on its own than after the three before
  it, in bits. In running text the context nearly always helps, in a random string it
  misleads. The statistic is the largest sum over any stretch of the text, so that twenty
  random characters count the same in a short text and in a long one; and since characters
  are compared with themselves, a rare character is not gibberish for being rare.
* *Words.* How much rarer each word is than nineteen of twenty words are, again the largest
  sum over any stretch: made-up words that look like words.
* *Repetition.* The longest stretch that repeats with a period of at most 16 characters.

Counts come from the texts themselves, without those in the same fold: a text does not vouch
for itself or for its copies, which share its fold. Among texts of about the same length, the
tail of each statistic is extrapolated from its 70 % and 90 % quantiles: exponentially for sums
over the best stretch, as the theory of such sums has it, and as a power for lengths of
repetitions. So data full of formulas, addresses and keys raises its own bar.

Not seen: gibberish of fewer than about ten characters, or in data where such strings are
usual; random choices of common words; fluent nonsense; gibberish in more than about a tenth
of the texts of one length. Seen, though honest: the only text of a language, or of a formula.

Sources: interpolation: Witten and Bell 1991, "The zero-frequency problem"; sums over the best
stretch: Karlin and Altschul 1990, "Methods for assessing the statistical significance of
molecular sequence features".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.stages.poisoning.channel import Channel, Group
from sluicegate.stages.poisoning.text.tokens import TokenHash, mixed, pieces, text_key, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["GIBBERISH", "surprisal"]

GIBBERISH: Final = "poisoning.gibberish"

ALPHA: Final = 3e-5
"""Extrapolated chance of an honest text, for each statistic. Real tails are heavier than the
extrapolated ones: of documentation texts up to 3 in 1000 are beyond it."""

FOLDS: Final = 4
"""Folds by hash of the text: counts come from three quarters of all texts."""

ORDER: Final = 4
"""Characters of the longest run that is counted."""

BUCKETS: Final = 1 << 20
"""Counters for each fold and order, 8 bytes each: 250 MB in all."""

STRENGTH: Final = 5.0
"""How many observations the shorter context is worth: after five characters in a context,
what followed there counts as much as what follows in general."""

PEERS: Final = 1000
"""Texts of about the same length that are compared. The 90 % quantile of fewer is unsteady."""

MIN_TEXTS: Final = 100
"""Fewer different texts know neither the language nor the tail."""

LOWER: Final = 0.7
UPPER: Final = 0.9
"""Quantiles from which a tail is extrapolated: texts beyond do not set their own bar."""

MIN_BITS: Final = 24.0
"""No stretch with less evidence is flagged: one in sixteen million, about as many as there are
places in a middling data set."""

MOST_BITS: Final = 6.0
"""Most that one character can weigh: a single odd sign after a frequent word must not."""

MIN_SCALE_BITS: Final = 1.0
"""Least scale of a tail in bits: quantiles can coincide."""

MIN_REPEATED: Final = 40
"""No shorter repetition is flagged, in characters: rulers in plain text are as long."""

MIN_SCALE_LOG: Final = 0.25
MAX_SCALE_LOG: Final = 0.35
"""Least and greatest scale of the tail of the logarithm of lengths. Rulers, tables and padding
make it look heavier than it is: such repetitions end with their line."""

LONGEST_PERIOD: Final = 16
"""Characters of the longest unit whose repetition is seen."""

RARE: Final = 0.95
"""Words rarer than this share of all words count as rare."""

STEPS: Final = 16
"""Steps per bit in which that share is measured."""

EXAMPLES: Final = 5
"""Rows that are given as examples."""

SHOWN: Final = 80
"""Characters of an example that are shown."""

_WHAT: Final = {
    "characters": "hold characters that no other text leads to expect: random strings",
    "words": "hold runs of words that no other text has",
    "repetition": "repeat a few characters over and over",
}


def surprisal(texts: Sequence[str], *, seed: int) -> Channel:
    """Find texts that no other text resembles.

    Time grows with the length of the texts; memory is about 300 MB.

    Args:
        texts: the documents.
        seed: key of all hashes.

    Returns:
        P-values are extrapolated chances, three times the least of the three statistics;
        scores are -ln of them.
    """
    import numpy as np

    rows = len(texts)
    keys = np.array([text_key(text, seed) for text in texts], dtype=np.uint64)
    _, first, text_of = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) < MIN_TEXTS:
        return Channel(
            id=GIBBERISH,
            scores=np.full(rows, np.nan),
            p_values=np.full(rows, np.nan),
            unknown=f"{len(first)} different texts are too few to know what text looks like: "
            f"this needs {MIN_TEXTS}",
            metrics={"different_texts": len(first)},
        )
    different = [texts[row] for row in first.tolist()]
    found = _measure(different, (keys[first] % np.uint64(FOLDS)).astype(np.int64), seed)
    peers = _peers(found.lengths)
    chance = {
        "characters": _beyond(peers, found.characters, least=MIN_BITS, scale=MIN_SCALE_BITS),
        "words": _beyond(peers, found.words, least=MIN_BITS, scale=MIN_SCALE_BITS),
        "repetition": _beyond(
            peers,
            np.log(np.maximum(found.repeated, 1.0)),
            least=float(np.log(MIN_REPEATED)),
            scale=MIN_SCALE_LOG,
            most=MAX_SCALE_LOG,
        ),
    }
    groups = []
    for kind, p in chance.items():
        flagged = np.flatnonzero((p < ALPHA)[text_of])
        if len(flagged):
            groups.append(_group(kind, flagged, text_of, p, found, different))
    least = np.minimum(3 * np.min(list(chance.values()), axis=0), 1.0)[text_of]
    return Channel(
        id=GIBBERISH,
        scores=-np.log(least),
        p_values=least,
        groups=tuple(groups),
        metrics={"different_texts": len(first), "alpha": ALPHA},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Statistics of each text; shapes (documents,)."""

    lengths: npt.NDArray[np.int64]
    """In characters, white space counted once."""
    characters: npt.NDArray[np.float64]
    """In bits."""
    words: npt.NDArray[np.float64]
    """In bits."""
    repeated: npt.NDArray[np.float64]
    """In characters."""
    ends: npt.NDArray[np.int64]
    """Where the most surprising stretch of characters ends, in the text of :func:`_plain`."""


class _Counts:
    """How often runs of characters and words occur, by fold."""

    def __init__(self) -> None:
        import numpy as np

        self._runs = np.zeros((ORDER, FOLDS, BUCKETS), dtype=np.int64)
        self._words = np.zeros((FOLDS, BUCKETS), dtype=np.int64)
        self._all_runs = np.zeros((ORDER, BUCKETS), dtype=np.int64)
        self._all_words = np.zeros(BUCKETS, dtype=np.int64)

    def add(
        self, fold: int, runs: list[npt.NDArray[np.int64]], some: npt.NDArray[np.int64]
    ) -> None:
        """Count the runs and words of texts of one fold."""
        import numpy as np

        for order, buckets in enumerate(runs):
            np.add.at(self._runs[order, fold], buckets, 1)
            np.add.at(self._all_runs[order], buckets, 1)
        np.add.at(self._words[fold], some, 1)
        np.add.at(self._all_words, some, 1)

    def others(self, fold: int) -> _Others:
        """Return the counts of all other folds."""
        return _Others(self._all_runs - self._runs[:, fold], self._all_words - self._words[fold])


class _Others:
    """What texts of one fold are compared with."""

    def __init__(self, runs: npt.NDArray[np.int64], some: npt.NDArray[np.int64]) -> None:
        self._runs = runs
        self._characters = int(runs[0].sum())
        self._words = some
        self._total = int(some.sum())

    def contradiction(
        self, runs: list[npt.NDArray[np.int64]], begins: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Return log2 of how much likelier each character is without its context.

        Args:
            runs: for each order, the bucket of the run that ends at each character.
            begins: whether a text begins at each character: there is no context before it.
        """
        import numpy as np

        alone = (self._runs[0][runs[0]] + 0.5) / (self._characters + 0.5 * BUCKETS)
        likely = alone
        for order in range(1, ORDER):
            seen = self._runs[order][runs[order]]
            context = np.empty(len(seen), dtype=np.int64)
            context[1:] = self._runs[order - 1][runs[order - 1][:-1]]
            context[:1] = 0
            context = np.where(begins, seen, np.maximum(context, seen))
            likely = (seen + STRENGTH * likely) / (context + STRENGTH)
        result: npt.NDArray[np.float64] = np.minimum(np.log2(alone / likely), MOST_BITS)
        return result

    def rarity(self, some: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the surprisal of words in bits."""
        import numpy as np

        result: npt.NDArray[np.float64] = -np.log2((self._words[some] + 0.5) / (self._total + 1.0))
        return result


def _measure(texts: Sequence[str], fold: npt.NDArray[np.int64], seed: int) -> _Measured:
    """Measure different texts, each against the other folds."""
    import numpy as np

    hashed, counts = TokenHash(seed), _Counts()
    for part in range(FOLDS):
        for _, cut in _cut(texts, np.flatnonzero(fold == part), hashed):
            counts.add(part, cut.runs, cut.words)
    bar = _usual(texts, fold, hashed, counts)
    size = len(texts)
    found = _Measured(
        np.zeros(size, dtype=np.int64),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size, dtype=np.int64),
    )
    for part in range(FOLDS):
        others = counts.others(part)
        for rows, cut in _cut(texts, np.flatnonzero(fold == part), hashed):
            bits = others.contradiction(cut.runs, cut.begins)
            rare = others.rarity(cut.words) - bar
            stretch = _repeated(cut.codes, cut.document)
            for at, row in enumerate(rows.tolist()):
                here = slice(int(cut.start[at]), int(cut.start[at + 1]))
                found.lengths[row] = here.stop - here.start
                found.characters[row], found.ends[row] = _best(bits[here])
                words_here = slice(int(cut.word_start[at]), int(cut.word_start[at + 1]))
                found.words[row], _ = _best(rare[words_here])
                found.repeated[row] = stretch[here].max(initial=0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Some texts, cut into characters and words."""

    codes: npt.NDArray[np.uint64]
    document: npt.NDArray[np.int64]
    """Shape (characters,): the text of each character."""
    begins: npt.NDArray[np.bool_]
    runs: list[npt.NDArray[np.int64]]
    start: npt.NDArray[np.int64]
    """Shape (texts + 1,): where each text begins."""
    words: npt.NDArray[np.int64]
    """Shape (words,): buckets."""
    word_start: npt.NDArray[np.int64]


def _cut(
    texts: Sequence[str], chosen: npt.NDArray[np.int64], hashed: TokenHash
) -> Iterator[tuple[npt.NDArray[np.int64], _Cut]]:
    """Yield some texts, a few at a time, with their rows."""
    import numpy as np

    for begin in range(0, len(chosen), PEERS):
        block = chosen[begin : begin + PEERS]
        plain = [_plain(texts[row]) for row in block.tolist()]
        for part in pieces(plain):
            some = plain[part]
            lengths = np.array([len(text) for text in some], dtype=np.int64)
            content = "".join(some).encode("utf-32-le", "surrogatepass")
            codes = np.frombuffer(content, dtype="<u4").astype(np.uint64)
            start = np.concatenate([[0], np.cumsum(lengths)])
            document = np.repeat(np.arange(len(some)), lengths)
            token = hashed([words(text) for text in some])
            counts = np.bincount(token.document, minlength=len(some))
            yield (
                block[part],
                _Cut(
                    codes,
                    document,
                    np.diff(document, prepend=-1) != 0,
                    _runs(codes, np.arange(len(codes)) - start[document]),
                    start,
                    (token.hashes % np.uint64(BUCKETS)).astype(np.int64),
                    np.concatenate([[0], np.cumsum(counts)]),
                ),
            )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _runs(
    codes: npt.NDArray[np.uint64], place: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Return, for each order, the bucket of the run of characters that ends at each place.

    Runs that would begin before the text are shorter.
    """
    import numpy as np

    hashes = mixed(codes)
    result = []
    for order in range(ORDER):
        if order:
            back = np.zeros_like(codes)
            back[order:] = codes[:-order] + np.uint64(1)
            hashes = mixed(hashes * np.uint64(3) + np.where(place >= order, back, np.uint64(0)))
        result.append((hashes % np.uint64(BUCKETS)).astype(np.int64))
    return result


def _usual(
    texts: Sequence[str],
    fold: npt.NDArray[np.int64],
    hashed: TokenHash,
    counts: _Counts,
) -> float:
    """Return the surprisal that :data:`RARE` of all words do not reach, in bits."""
    import numpy as np

    tally = np.zeros(64 * STEPS, dtype=np.int64)
    for part in range(FOLDS):
        others = counts.others(part)
        for _, cut in _cut(texts, np.flatnonzero(fold == part), hashed):
            step = np.ceil(others.rarity(cut.words) * STEPS).astype(np.int64)
            tally += np.bincount(np.clip(step, 0, len(tally) - 1), minlength=len(tally))
    below = np.cumsum(tally)
    return float(np.searchsorted(below, RARE * below[-1])) / STEPS


def _best(values: npt.NDArray[np.float64]) -> tuple[float, int]:
    """Return the largest sum over any stretch, at least 0, and where the stretch ends."""
    import numpy as np

    if not len(values):
        return 0.0, 0
    sums = np.concatenate([[0.0], np.cumsum(values)])
    gains = sums - np.minimum.accumulate(sums)
    end = int(np.argmax(gains))
    return float(gains[end]), end


def _repeated(
    codes: npt.NDArray[np.uint64], document: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return, at each character, how long the repetition is that ends there; shape (characters,).

    A repetition holds its unit at least twice.
    """
    import numpy as np

    result = np.zeros(len(codes), dtype=np.int64)
    at = np.arange(len(codes))
    for period in range(1, min(LONGEST_PERIOD, len(codes) - 1) + 1):
        same = np.zeros(len(codes), dtype=bool)
        same[period:] = (codes[period:] == codes[:-period]) & (
            document[period:] == document[:-period]
        )
        broken = np.maximum.accumulate(np.where(same, -1, at))
        length = at - broken
        result = np.maximum(result, np.where(length >= period, length + period, 0))
    return result


def _peers(lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return groups of texts of about the same length, about :data:`PEERS` in each.

    Texts are in the order of their keys, and each is there once: who is whose peer does not
    depend on the order of rows, and copies do not set the bar.
    """
    import numpy as np

    order = np.argsort(lengths, kind="stable")
    return np.array_split(order, max(len(order) // PEERS, 1))


def _beyond(
    peers: list[npt.NDArray[np.int64]],
    values: npt.NDArray[np.float64],
    *,
    least: float,
    scale: float,
    most: float = math.inf,
) -> npt.NDArray[np.float64]:
    """Return the extrapolated chance of each value among its peers; 1 below ``least``."""
    import numpy as np

    result = np.ones(len(values))
    for group in peers:
        low, high = np.quantile(values[group], [LOWER, UPPER])
        spread = (high - low) / math.log((1 - LOWER) / (1 - UPPER))
        spread = min(max(spread, scale), most)
        excess = np.maximum(values[group] - high, 0.0) / spread
        result[group] = np.where(
            values[group] > max(least, high), (1 - UPPER) * np.exp(-excess), 1.0
        )
    return np.maximum(result, 1e-300)


def _group(
    kind: str,
    rows: npt.NDArray[np.int64],
    text_of: npt.NDArray[np.int64],
    p: npt.NDArray[np.float64],
    found: _Measured,
    different: Sequence[str],
) -> Group:
    import numpy as np

    values = {"characters": found.characters, "words": found.words, "repetition": found.repeated}
    value, chance = values[kind][text_of[rows]], p[text_of[rows]]
    worst = rows[np.lexsort((rows, chance))][:EXAMPLES]
    return Group(
        message=f"{len(rows)} rows {_WHAT[kind]}",
        rows=rows,
        evidence={
            "kind": kind,
            "count": len(rows),
            "unit": "characters" if kind == "repetition" else "bits",
            "least": round(float(value.min()), 3),
            "greatest": round(float(value.max()), 3),
            "least_p": float(f"{chance.min():.3g}"),
        },
        samples={
            "rows": worst.tolist(),
            "texts": [
                _excerpt(_plain(different[at]), int(found.ends[at])) for at in text_of[worst]
            ],
        },
    )


def _excerpt(text: str, end: int) -> str:
    """Return what a stretch ends with, or the beginning of a short text."""
    return text[max(end - SHOWN, 0) : max(end, SHOWN)]
