"""Words that mix alphabets whose letters look alike.

``pаypal`` with a Cyrillic ``а`` is shown like ``paypal``, and is another word: to a filter, to
a tokenizer, to whoever searches for it. Unicode Technical Standard 39 (Unicode Security
Mechanisms, section 5) resolves each text to the scripts that could have written it. Whole
texts mix scripts honestly all the time, so it is single words that are asked about here, and
only alphabets with letters that can stand in for each other: Latin, Greek, Cyrillic, and those
that look like them. Scripts that are written without spaces, and scripts that look like no
other, end a word.

A word with two of these alphabets is reported if they alternate (``hеllо``), or if all letters
of one of them could pass for letters of the other (``Аpple``). A foreign ending
(``PDFка``) is neither. Science is let alone: one or two Greek letters at an edge of a Latin
word, and inside of a short one (``μm``, ``kΩ``, ``IFNγ``, ``NFκB``, ``ΔG``), unless a letter
is one that science does not take from Greek since it looks as in Latin (``ο``, ``Α``, ``Ρ``).

Not seen: words of one alphabet only that look like words of another (``сахар`` is Russian for
sugar and only of letters that look Latin: without a list of names to protect there is no
telling; :mod:`~sluicegate.text.urls` asks it of host names); a soft lookalike at the edge of
a word (``αmazon``); digits for letters; mathematical and full-width letters, which are
letters of the same alphabet in another shape.
"""

# ruff: noqa: RUF001, RUF002  # letters that look like others are what this is about

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Final

from sluicegate.text.base import Mark, check_kinds

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MixedScripts", "alphabet_of", "looks_latin"]

KINDS: Final = ("latin_cyrillic", "latin_greek", "greek_cyrillic", "other_alphabets")
"""Pairs of alphabets, and any with one of the rest."""

_ALPHABETS: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "latin": (
        (0x41, 0x5A),
        (0x61, 0x7A),
        (0xC0, 0xD6),
        (0xD8, 0xF6),
        (0xF8, 0x2AF),
        (0x1D00, 0x1D25),
        (0x1D6B, 0x1D77),
        (0x1D79, 0x1D9A),
        (0x1E00, 0x1EFF),
        (0x2C60, 0x2C7B),
        (0xA722, 0xA76F),
        (0xA771, 0xA787),
        (0xA78B, 0xA7CA),
        (0xAB30, 0xAB5A),
        (0xFB00, 0xFB06),
        (0xFF21, 0xFF3A),
        (0xFF41, 0xFF5A),
    ),
    "greek": (
        (0x370, 0x373),
        (0x376, 0x377),
        (0x37B, 0x37D),
        (0x37F, 0x37F),
        (0x386, 0x386),
        (0x388, 0x3E1),
        (0x3F0, 0x3F5),
        (0x3F7, 0x3FF),
        (0x1F00, 0x1FBC),
        (0x1FC2, 0x1FCC),
        (0x1FD0, 0x1FDB),
        (0x1FE0, 0x1FEC),
        (0x1FF2, 0x1FFC),
    ),
    "cyrillic": (
        (0x400, 0x481),
        (0x48A, 0x52F),
        (0x1C80, 0x1C88),
        (0xA640, 0xA66D),
        (0xA680, 0xA69B),
    ),
    "armenian": ((0x531, 0x556), (0x561, 0x587)),
    "cherokee": ((0x13A0, 0x13FD), (0xAB70, 0xABBF)),
    "coptic": ((0x3E2, 0x3EF), (0x2C80, 0x2CE4)),
    "lisu": ((0xA4D0, 0xA4F7),),
    "tifinagh": ((0x2D30, 0x2D67),),
    "canadian": ((0x1400, 0x167F),),
    "historic": ((0x10300, 0x1034F), (0x10400, 0x1044F), (0x104B0, 0x104FF)),
}
"""Letters of each alphabet, after Unicode's Scripts.txt; without modifier letters, which are
written beside any alphabet. Historic: Old Italic, Gothic, Deseret, Osage."""

_BETWEEN: Final = (
    (0xAD, 0xAD),
    (0x300, 0x36F),
    (0x483, 0x489),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x200B, 0x200D),
    (0x2060, 0x2060),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
    (0xFEFF, 0xFEFF),
)
"""Combining marks of these alphabets, and what is not shown: inside of a word."""

_CYRILLIC_AS_LATIN: Final = frozenset("аеорсухѕіјһԛԝӏԁкгьёїѵүАВЕКМНОРСТУХЅІЈԚԜӀЬЁЇҮ")
_LATIN_AS_CYRILLIC: Final = frozenset("acdeopxysijhqwkrblABCEHKMOPTXYSIJQWlëïËÏ")
_GREEK_AS_LATIN: Final = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϹϲϳͿ")
"""Letters that are drawn alike, so that nobody writes them for what they are."""
_GREEK_SOFT: Final = frozenset("αγικνρτυχηωεσ")
"""Letters that resemble Latin ones enough to be read as such inside of a word."""
_LATIN_AS_GREEK: Final = frozenset("ABEZHIKMNOPTYXCJovuikpxanwty")
_ARMENIAN_AS_LATIN: Final = frozenset("օոսհցզյլաքՕՍՏԼԶ")
_LATIN_AS_ARMENIAN: Final = frozenset("onuhgqjlwpOUSLQ")

_LOOKALIKES: Final = {
    ("latin", "cyrillic"): (_LATIN_AS_CYRILLIC, _CYRILLIC_AS_LATIN),
    ("latin", "armenian"): (_LATIN_AS_ARMENIAN, _ARMENIAN_AS_LATIN),
    ("greek", "cyrillic"): (
        frozenset("ΑΒΕΗΙΚΜΟΡΤΥΧΓΛΠΦοαρυχκεγπφ"),
        frozenset("АВЕНІКМОРТУХГЛПФоаруxкегпф"),
    ),
}
"""For two alphabets: letters of the first that pass for the second, and the reverse."""

_SCIENCE_REACH: Final = 3
"""Latin letters that a word may have around Greek ones: ``NFκB``, ``kΩm``."""
_SCIENCE_RUN: Final = 2
"""Greek letters next to each other in names of science: ``γδT``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedScripts:
    """Words that mix alphabets whose letters look alike.

    Raises:
        ConfigurationError: an unknown kind.
    """

    name: ClassVar[str] = "mixed_scripts"
    about: ClassVar[str] = "words that mix alphabets whose letters look alike"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    kinds: tuple[str, ...] = ()
    """Kinds to look for; all if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts have letters of two alphabets next to each other."""
        import polars as pl

        beyond_ascii = pl.when(text.str.len_bytes() != text.str.len_chars()).then(text)
        found = beyond_ascii.str.contains(_border())
        return pl.when(text.is_not_null()).then(found.fill_null(value=False))

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return every word that mixes alphabets."""
        if value.isascii():
            return ()
        marks = []
        for match in _words().finditer(value):
            kind, detail = _judge(match[0])
            if kind and (not self.kinds or kind in self.kinds):
                marks.append(Mark(kind, match.start(), len(match[0]), detail))
        return tuple(marks)


def alphabet_of(letter: str) -> str:
    """Return which of the alphabets a letter is of; empty if none."""
    starts, table = _table()
    place = bisect_right(starts, ord(letter)) - 1
    if place < 0 or ord(letter) > table[place][0]:
        return ""
    return table[place][1]


def looks_latin(word: str) -> bool:
    """Return whether a word has no Latin letter and looks as if it had no other."""
    letters = [letter for letter in word if letter.isalpha()]
    return bool(letters) and all(
        letter in _CYRILLIC_AS_LATIN
        or letter in _GREEK_AS_LATIN
        or letter in _ARMENIAN_AS_LATIN
        or alphabet_of(letter) in ("cherokee", "coptic", "lisu")
        for letter in letters
    )


def _judge(word: str) -> tuple[str, str]:
    """Return kind and detail of a word that mixes; twice nothing for one that does not."""
    if word.isascii():
        return "", ""
    known = [(letter, alphabet_of(letter)) for letter in word]
    runs = [
        (name, [letter for letter, _ in run])
        for name, run in groupby((pair for pair in known if pair[1]), key=lambda pair: pair[1])
    ]
    names = list(dict.fromkeys(name for name, _ in runs))
    if len(names) < 2 or not _is_mixture(runs, names):
        return "", ""
    ordered = [name for name in _ALPHABETS if name in names]
    pair = "_".join(ordered)
    return pair if pair in KINDS else "other_alphabets", " and ".join(ordered)


def _is_mixture(runs: list[tuple[str, list[str]]], names: list[str]) -> bool:
    if len(names) > 2 or not set(names) <= {"latin", "greek", "cyrillic", "armenian"}:
        return True
    first, second = [name for name in _ALPHABETS if name in names]
    one = [letter for name, letters in runs if name == first for letter in letters]
    other = [letter for name, letters in runs if name == second for letter in letters]
    if (first, second) == ("latin", "greek"):
        return _is_greek_mixture(runs, one, other)
    if len(runs) > 2:
        return True
    if _is_abbreviation(runs):
        return False
    if (first, second) not in _LOOKALIKES:
        return True
    of_first, of_second = _LOOKALIKES[first, second]
    return set(one) <= of_first or set(other) <= of_second


def _is_abbreviation(runs: list[tuple[str, list[str]]]) -> bool:
    """Return whether a word is capitals with an ending in the other alphabet: ``CDшка``."""
    start, ending = runs[0][1], runs[1][1]
    capitals = len(start) > 1 and all(letter.isupper() for letter in start)
    plain = all(letter.islower() for letter in ending)
    return capitals and plain and not set(ending) <= set("аеорсухі")


def _is_greek_mixture(
    runs: list[tuple[str, list[str]]], latin: list[str], greek: list[str]
) -> bool:
    if len(greek) > len(latin) and len(greek) > _SCIENCE_RUN:  # a Greek word
        return set(latin) <= _LATIN_AS_GREEK or len(runs) > 2
    if set(greek) & _GREEK_AS_LATIN:
        return True
    longest = max(len(letters) for name, letters in runs if name == "greek")
    if longest > _SCIENCE_RUN and set(greek) <= _GREEK_SOFT:
        return True
    inside = any(name == "greek" for name, _ in runs[1:-1])
    phonetic = any("\u0250" <= letter <= "\u02af" for letter in latin)
    return (
        inside and not phonetic and len(latin) > _SCIENCE_REACH and bool(set(greek) & _GREEK_SOFT)
    )


@cache
def _table() -> tuple[list[int], list[tuple[int, str]]]:
    """Return where each run of letters begins, and for each its end and alphabet."""
    spans = sorted((low, high, name) for name, ranges in _ALPHABETS.items() for low, high in ranges)
    return [low for low, _, _ in spans], [(high, name) for _, high, name in spans]


@cache
def _words() -> re.Pattern[str]:
    spans = [span for ranges in _ALPHABETS.values() for span in ranges]
    letters = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)
    between = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in _BETWEEN)
    return re.compile(f"[{letters}][{letters}{between}]+")


@cache
def _border() -> str:
    """Return a pattern for polars: a letter, then one of another alphabet."""
    between = f"[{_rust(_BETWEEN)}]*"
    ways = []
    for name, ranges in _ALPHABETS.items():
        others = tuple(
            span for other, spans in _ALPHABETS.items() if other != name for span in spans
        )
        ways.append(f"[{_rust(ranges)}]{between}[{_rust(others)}]")
    return "|".join(ways)


def _rust(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges)
