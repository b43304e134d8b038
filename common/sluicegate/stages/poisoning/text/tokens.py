"""Words of any script, and hashes of them that are the same in every process.

A word is a run of letters, digits and marks; any other visible character is a word of its
own, so that a trigger of symbols or of invisible characters is one as well. Scripts that
write no spaces have no such runs: there every letter is a word with the marks that follow
it, and phrases are short runs of letters.

Case and the amount of white space do not matter. Hashes are keyed BLAKE2b: Python's own
``hash`` is salted in every process, and without a key anyone could choose words that
collide.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TokenHash", "Words", "mixed", "normalised", "pieces", "text_key", "words"]

LONGEST_CACHED: Final = 64
"""Characters of the longest word whose hash is remembered: words of natural text are shorter,
and a cache of longer ones could grow without bound."""

MOST_CACHED: Final = 1 << 18
"""Words whose hashes are remembered, about 40 MB: several times the vocabulary of a language.
When full it starts anew; nothing but speed depends on it."""

PIECE_DOCUMENTS: Final = 4096
"""Most documents that are cut into words at once."""

PIECE_CHARACTERS: Final = 1 << 21
"""Most characters that are cut into words at once, unless a single document has more: about
100 MB of words."""

_UNSPACED: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003ffff"  # Han, supplementary planes
)
"""Ranges of scripts that write no spaces between words."""

_ASCII: Final = re.compile(r"\w+|[^\w\s]", re.ASCII)


def normalised(text: str) -> str:
    """Return a text without differences of case and of white space."""
    return " ".join(text.casefold().split())


def text_key(text: str, seed: int) -> int:
    """Return 64 bits of a keyed hash of a text, without case and amount of white space."""
    return _digest(normalised(text), b"sluicegate text %d" % seed)


def words(text: str) -> list[str]:
    """Cut a text into case-folded words, in order.

    Words of an empty text are an empty list. Time grows with the length of the text.
    """
    folded = text.casefold()
    pattern = _ASCII if folded.isascii() else _any_script()
    return pattern.findall(folded)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The hashed words of several documents, one after the other."""

    hashes: npt.NDArray[np.uint64]
    """Shape (words,)."""
    document: npt.NDArray[np.int64]
    """Shape (words,): the document of each word, ascending from 0."""
    documents: int

    def ngrams(self, n: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return hashes of runs of ``n`` words, and the index of each run's first word.

        Both have shape (runs,). Runs do not cross documents. Hashes of different ``n``
        are unrelated.
        """
        import numpy as np

        first = np.arange(max(len(self.hashes) - n + 1, 0), dtype=np.int64)
        if n > 1:
            first = first[self.document[first] == self.document[first + n - 1]]
        hashes = mixed(self.hashes[first] + np.uint64(n))
        for at in range(1, n):
            hashes = mixed(hashes * np.uint64(0x9E3779B97F4A7C15) + self.hashes[first + at])
        return hashes, first


class TokenHash:
    """Hashes words with a key, and remembers some of them. Pickles without its memory."""

    def __init__(self, seed: int) -> None:
        """Make ``seed`` the key."""
        self._seed = seed
        self._known = _Known(b"sluicegate word %d" % seed)

    def __reduce__(self) -> tuple[type[TokenHash], tuple[int]]:
        return TokenHash, (self._seed,)

    def __call__(self, documents: Sequence[Sequence[str]]) -> Words:
        """Hash the words of documents."""
        import numpy as np

        lengths = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents))
        hashes = np.fromiter(
            (self._known[word] for document in documents for word in document),
            dtype=np.uint64,
            count=int(lengths.sum()),
        )
        return Words(hashes, np.repeat(np.arange(len(documents)), lengths), len(documents))


class _Known(dict[str, int]):
    """Words and their hashes."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, word: str) -> int:
        value = _digest(word, self._key)
        if len(word) <= LONGEST_CACHED:
            if len(self) >= MOST_CACHED:
                self.clear()
            self[word] = value
        return value


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a bijective scrambling of 64-bit integers, in which every bit depends on all.

    Source: the finaliser of SplitMix64, Steele et al. 2014, "Fast splittable pseudorandom
    number generators".
    """
    import numpy as np

    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return result


def pieces(texts: Sequence[str]) -> Iterator[slice]:
    """Yield consecutive slices of documents that are small enough to work on at once."""
    start, held = 0, 0
    for at, text in enumerate(texts):
        if at > start and (at - start == PIECE_DOCUMENTS or held + len(text) > PIECE_CHARACTERS):
            yield slice(start, at)
            start, held = at, 0
        held += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


def _digest(text: str, key: bytes) -> int:
    content = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest(), "little")


@cache
def _any_script() -> re.Pattern[str]:
    marks = _ranges(
        code
        for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))  # planes with marks
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me")
    )
    letter = rf"[^\W{_UNSPACED}]"
    return re.compile(
        rf"{letter}+(?:[{marks}]+{letter}*)*"  # a word of a script with spaces
        rf"|[{_UNSPACED}][{marks}]*"
        r"|\S"
    )


def _ranges(codes: Iterable[int]) -> str:
    """Return ascending code points as the inside of a character class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)
