"""Characters that a reader does not see, where no script asks for them.

Hidden characters carry triggers, instructions to a language model, and text that is read in
another order than it is shown. Most of them have honest uses, and those are allowed where
they are used so: joiners between letters of scripts that join, and inside emoji; direction
marks next to right-to-left text; variation selectors after a character that has variants;
tags inside the flags of England, Scotland and Wales and their kind; a byte order mark at the
very start; a soft hyphen between two letters.

What remains has no effect on what is shown, or a wrong one. Control characters, private use
and unassigned code points are not allowed, since their meaning is a private agreement; except
where pictures and ideographs are added to Unicode every year.

Not seen: characters that look like others (homoglyphs), white space of unusual width, text
in the colour of the page, and payloads in the choice between allowed forms.

Sources: RFC 5892, appendix A (contextual rules for joiners); Unicode Technical Standard 51
(emoji), Unicode Standard Annex 9 (bidirectional text); Boucher and Anderson 2021, "Trojan
Source", arXiv:2111.00169, CVE-2021-42574; Boucher et al. 2021, "Bad characters",
arXiv:2106.09898.
"""

from __future__ import annotations

import bisect
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final

from sluicegate.text.base import Mark, check_kinds

if TYPE_CHECKING:
    import polars as pl

__all__ = ["KINDS", "MEANING", "Hidden", "HiddenCharacters", "code_name", "inspect"]

ZWNJ: Final = "\u200c"
ZWJ: Final = "\u200d"
CANCEL_TAG: Final = "\U000e007f"
BLACK_FLAG: Final = "\U0001f3f4"
SOFT_HYPHEN: Final = "\u00ad"
ZERO_WIDTH_SPACE: Final = "\u200b"
BYTE_ORDER_MARK: Final = "\ufeff"

KINDS: Final = (
    "bidirectional",
    "tag",
    "zero_width",
    "variation_selector",
    "soft_hyphen",
    "invisible_operator",
    "filler",
    "control",
    "private_use",
    "surrogate",
    "unassigned",
    "format",
)
"""Kinds of hidden characters, in the order in which they are reported."""

MEANING: Final = {
    "bidirectional": "change the order in which text is shown",
    "tag": "are tags outside of a flag",
    "zero_width": "have no width, between characters that nothing joins or parts",
    "variation_selector": "choose a variant of characters that have none",
    "soft_hyphen": "are soft hyphens that are not between two letters",
    "invisible_operator": "are operators that are not shown",
    "filler": "are letters that are shown as nothing",
    "control": "are control characters",
    "private_use": "are for private use",
    "surrogate": "are halves of a character",
    "unassigned": "are assigned to nothing",
    "format": "are format characters that are not shown",
}
"""What characters of each kind do or are, to follow the word "characters"."""

_JOINING: Final = (
    (0x0600, 0x07FF),  # Arabic, Syriac, Thaana, N'Ko
    (0x0840, 0x08FF),  # Mandaic, Syriac and Arabic supplements
    (0x0900, 0x0DFF),  # Indic scripts, Sinhala
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1700, 0x17FF),  # Philippine scripts, Khmer
    (0x1800, 0x18AF),  # Mongolian
    (0x1900, 0x1AAF),  # Limbu, Tai Le, New Tai Lue, Buginese, Tai Tham
    (0x1B00, 0x1C4F),  # Balinese, Sundanese, Batak, Lepcha
    (0x1CD0, 0x1CFF),  # Vedic extensions
    (0xA800, 0xA82F),  # Syloti Nagri
    (0xA840, 0xA8FF),  # Phags-pa, Saurashtra, Devanagari extended
    (0xA900, 0xA9FF),  # Kayah Li, Rejang, Javanese, Myanmar extended
    (0xAA00, 0xAAFF),  # Cham, Myanmar extended, Tai Viet, Meetei Mayek
    (0xABC0, 0xABFF),  # Meetei Mayek
    (0xFB50, 0xFDFF),  # Arabic presentation forms
    (0xFE70, 0xFEFE),
    (0x10AC0, 0x10AFF),  # Manichaean
    (0x10B80, 0x10BAF),  # Psalter Pahlavi
    (0x10D00, 0x10D3F),  # Hanifi Rohingya
    (0x10F30, 0x10FDF),  # Sogdian, Old Uyghur, Chorasmian
    (0x11000, 0x1173F),  # Brahmi and its descendants
    (0x11800, 0x1184F),  # Dogra
    (0x11900, 0x11DAF),  # Dives Akuru to Gunjala Gondi
    (0x1E900, 0x1E95F),  # Adlam
)
"""Blocks of scripts whose letters take other forms next to each other, so that a joiner or
non-joiner has something to say. RFC 5892 asks for a virama or a joining type; writers of
these scripts also put joiners after vowel signs, so the script itself is asked for."""

_UNSPACED: Final = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x1AAF),  # Tai scripts, Buginese
    (0x3000, 0x30FF),  # Japanese
    (0x3400, 0x9FFF),  # Han
    (0xA900, 0xAAFF),  # Javanese, Cham, Tai Viet
)
"""Scripts without spaces, in which a zero-width space says where a line may break."""

_EMPTY: Final = (0x40000, 0xE0000)
"""Planes without any character: all code points are suspect."""
_PRIVATE: Final = 0xF0000
"""From here on all code points are for private use."""

_PICTURES: Final = (0x1F000, 0x1FAFF)
"""Blocks of pictures."""

_MARKS: Final = frozenset("\u200e\u200f\u061c")
"""Direction marks: left-to-right, right-to-left, Arabic letter."""

_ZERO_WIDTH: Final = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_OPERATORS: Final = frozenset("\u2061\u2062\u2063\u2064")
_BIDIRECTIONAL: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") | _MARKS
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180e")
"""Shown as nothing, though not of a format category: combining grapheme joiner, Hangul and
Khmer fillers, Mongolian vowel separator."""

_PLAIN: Final = re.compile(r"[\t\n\r\x20-\x7e\xa0-\xac\xae-\u034e]*")
"""Latin, with accents, has nothing to hide."""

_NOT_PLAIN_ASCII: Final = r"[^\t\n\r\x20-\x7e]"
"""For polars: anything that could have to be explained."""

_FLAG: Final = re.compile(
    "[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,3}\U000e007f"
)
"""Tags of a flag: two letters for the country, its part, and the end."""

_REACH: Final = 48
"""Characters around a direction mark in which there must be right-to-left text: a number with
its unit, or a product name in brackets, may stand between."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """One hidden character that nothing explains."""

    at: int
    """Index into the text."""
    code: int
    """Code point."""
    kind: str
    """One of :data:`KINDS`."""


def inspect(text: str) -> tuple[Hidden, ...]:
    """Return the hidden characters of a text that nothing explains, in order.

    Time grows with the length of the text.
    """
    return tuple(_scan(text))


def code_name(code: int) -> str:
    """Return the name that Unicode gives to a code point; empty if it has none."""
    return unicodedata.name(chr(code), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenCharacters:
    """Characters that are not shown, where no script asks for them.

    Raises:
        ConfigurationError: an unknown kind.
    """

    name: ClassVar[str] = "hidden_characters"
    about: ClassVar[str] = "characters that are not shown, or that turn the order of what is"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    kinds: tuple[str, ...] = ()
    """Kinds to look for; all if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts hold a character that has to be explained."""
        import polars as pl

        # ASCII without control characters is most of most data, and quickly told.
        odd = pl.when(text.str.contains(_NOT_PLAIN_ASCII)).then(text)
        found = odd.str.contains(_class_for_rust())
        return pl.when(text.is_not_null()).then(found.fill_null(value=False))

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return every hidden character that nothing explains."""
        return tuple(
            Mark(one.kind, one.at, 1, f"U+{one.code:04X} {code_name(one.code)}".rstrip())
            for one in _scan(value)
            if not self.kinds or one.kind in self.kinds
        )


def _scan(text: str) -> Iterator[Hidden]:
    start = _PLAIN.match(text)
    if start is not None and start.end() == len(text):
        return
    suspects = _suspects()
    state = _Text(text)
    for match in suspects.finditer(text):
        at = match.start()
        kind = _kind(text[at])
        if not state.allowed(at, kind):
            yield Hidden(at, ord(text[at]), kind)


@cache
def _spans() -> tuple[tuple[int, int], ...]:
    """Return all code points that have to be explained, as first and last of each run."""
    spans: list[list[int]] = []
    for code in (*range(_EMPTY[0]), *range(_EMPTY[1], _PRIVATE)):
        if _suspect(chr(code)):
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    spans += [[_EMPTY[0], _EMPTY[1] - 1], [_PRIVATE, sys.maxunicode]]
    return tuple((low, high) for low, high in spans)


@cache
def _suspects() -> re.Pattern[str]:
    """Return a pattern of all characters that have to be explained."""
    inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in _spans())
    return re.compile(f"[{inside}]")


@cache
def _class_for_rust() -> str:
    """Return the same for polars: built from this Python's Unicode, so that both agree.

    Without surrogates, which valid UTF-8 does not hold.
    """
    pieces = []
    for low, high in _spans():
        for first, last in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)):
            if first <= last:
                pieces.append(f"\\x{{{first:x}}}-\\x{{{last:x}}}")
    return f"[{''.join(pieces)}]"


def _suspect(character: str) -> bool:
    if character in "\t\n\r":
        return False
    if _is_selector(character) or character in _FILLERS:
        return True
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Co", "Cn", "Cs") and not _is_visible_format(character)


def _is_visible_format(character: str) -> bool:
    """Return whether a format character is shown: signs around numbers, hieroglyph layout."""
    code = ord(character)
    return (
        0x0600 <= code <= 0x0605
        or code in (0x06DD, 0x070F, 0x08E2, 0x110BD, 0x110CD)
        or 0x0890 <= code <= 0x0891
        or 0x13430 <= code <= 0x1343F
        or 0x1BCA0 <= code <= 0x1BCA3
    )


def _is_selector(character: str) -> bool:
    return (
        "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
        or character in "\u180b\u180c\u180d\u180f"
    )


def _kind(character: str) -> str:
    if _is_selector(character):
        return "variation_selector"
    if "\U000e0000" <= character <= CANCEL_TAG:
        return "tag"
    for kind, members in (
        ("bidirectional", _BIDIRECTIONAL),
        ("zero_width", _ZERO_WIDTH),
        ("invisible_operator", _OPERATORS),
        ("filler", _FILLERS),
        ("soft_hyphen", SOFT_HYPHEN),
    ):
        if character in members:
            return kind
    return {
        "Cc": "control",
        "Co": "private_use",
        "Cs": "surrogate",
        "Cn": "unassigned",
    }.get(unicodedata.category(character), "format")


class _Text:
    """One text, and what around a place explains a hidden character there."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._flag_end = 0
        """End of the last flag of tags."""

    def allowed(self, at: int, kind: str) -> bool:
        """Return whether the surroundings explain the character at a place."""
        text = self._text
        character = text[at]
        before = text[at - 1] if at else ""
        after = text[at + 1] if at + 1 < len(text) else ""
        if kind == "tag":
            return self._in_flag(at)
        if kind == "variation_selector":
            return _has_variant(before, character)
        if kind == "soft_hyphen":
            return _is_letter(before) and (_is_letter(after) or after in ("\n", "\r"))
        if character in _MARKS:
            return self._near_right_to_left(at)
        if character == BYTE_ORDER_MARK:
            return at == 0
        if character in (ZWJ, ZWNJ):
            return self._joins(at, before, after)
        if character == ZERO_WIDTH_SPACE:
            return _is_unspaced(before) and _is_unspaced(after)
        if kind == "unassigned":
            return _may_be_new(character)
        return kind == "filler" and _fills(before, character, after)

    def _in_flag(self, at: int) -> bool:
        """Return whether a tag is part of a flag: black flag, 3 to 6 tags, cancel tag."""
        if at < self._flag_end:
            return True
        if not at or self._text[at - 1] != BLACK_FLAG:
            return False
        match = _FLAG.match(self._text, at)
        if match is None:
            return False
        self._flag_end = match.end()
        return True

    def _joins(self, at: int, before: str, after: str) -> bool:
        character = self._text[at]
        if character == ZWJ and _is_pictorial(before) and _is_emoji(after):
            base = self._base(at)
            return base != "" and _is_emoji(base)
        if before == ZWNJ == character and at > 1:  # typed twice, as often in Persian
            return _is_joining(self._text[at - 2]) and _is_joining(after)
        if _is_joining(before):
            return not after or after == ZWNJ or not _is_hidden(after)
        return character == ZWJ and _is_joining(after) and not (before and _is_hidden(before))

    def _base(self, at: int) -> str:
        """Return the emoji before a place, without selector and skin tone."""
        text, place = self._text, at - 1
        while place >= 0 and at - place <= 3 and _is_modifier(text[place]):
            place -= 1
        return text[place] if place >= 0 else ""

    def _near_right_to_left(self, at: int) -> bool:
        """Return whether right-to-left text is on the same line, near a place.

        Marks part words of both directions, with white space, digits and signs between.
        Two of a kind next to each other say the same twice: that is not explained.
        """
        text = self._text
        if at and text[at - 1] == text[at]:
            return False
        return any(
            unicodedata.bidirectional(letter) in ("R", "AL", "AN")
            for letter in self._neighbours(at)
        )

    def _neighbours(self, at: int) -> Iterator[str]:
        text = self._text
        for step in (-1, 1):
            place = at + step
            while 0 <= place < len(text) and abs(place - at) <= _REACH and text[place] != "\n":
                if text[place] not in _MARKS:
                    yield text[place]
                place += step


def _within(character: str, low: int, high: int) -> bool:
    return character != "" and low <= ord(character) <= high


def _is_joining(character: str) -> bool:
    if not character:
        return False
    code = ord(character)
    place = bisect.bisect_right(_JOINING, (code, sys.maxunicode)) - 1
    inside = place >= 0 and _JOINING[place][0] <= code <= _JOINING[place][1]
    return inside and unicodedata.category(character)[0] in "LM"


def _is_hidden(character: str) -> bool:
    return _suspects().match(character) is not None


def _is_emoji(character: str) -> bool:
    """Return whether a character can be part of a joined emoji: a picture, two arrows."""
    if not character:
        return False
    symbol = unicodedata.category(character) == "So" or character in "\u2194\u2195"
    return symbol or _within(character, *_PICTURES)


def _is_letter(character: str) -> bool:
    return character != "" and unicodedata.category(character)[0] in "LM"


def _is_unspaced(character: str) -> bool:
    """Return whether a character is of a script that marks ends of words by zero-width space."""
    return any(_within(character, low, high) for low, high in _UNSPACED)


def _may_be_new(character: str) -> bool:
    """Return whether a code point may be a picture or ideograph that Python does not know yet.

    These blocks are reserved for them, and grow every year.
    """
    return _within(character, *_PICTURES) or _within(character, 0x20000, 0x3FFFD)


def _fills(before: str, filler: str, after: str) -> bool:
    """Return whether a filler stands where its script asks for one."""
    if filler == "\u180e":  # Mongolian: before the last vowel
        return _within(before, 0x1820, 0x1878) and _within(after, 0x1820, 0x1878)
    if filler == "\u034f":  # keeps combining marks in their order
        return after != "" and unicodedata.combining(after) > 0 and _is_letter(before)
    if filler == "\u115f":  # old Hangul: no initial
        return _within(after, 0x1161, 0x11A7) or _within(after, 0xD7B0, 0xD7C6)
    if filler == "\u1160":  # old Hangul: no vowel
        return _within(before, 0x1100, 0x115E) or _within(before, 0xA960, 0xA97C)
    return False


def _is_modifier(character: str) -> bool:
    return character == "\ufe0f" or "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_pictorial(character: str) -> bool:
    return _is_emoji(character) or (character != "" and _is_modifier(character))


def _has_variant(base: str, selector: str) -> bool:
    """Return whether a character has variants that a selector can choose."""
    if not base:
        return False
    code = ord(base)
    if selector in "\u180b\u180c\u180d\u180f":
        return 0x1820 <= code <= 0x18AA
    if selector >= "\U000e0100":
        return _is_ideograph(code)
    if selector in "\ufe0e\ufe0f":
        return base in "#*0123456789" or _may_be_picture(base) or _is_ideograph(code)
    return (
        _is_ideograph(code)
        or unicodedata.category(base) in ("Sm", "So", "Nd")
        or 0x1000 <= code <= 0x10FF  # Myanmar: dotted forms
        or 0x3000 <= code <= 0x303F
        or 0xFF00 <= code <= 0xFF1F  # punctuation of East Asia: position
        or 0xA840 <= code <= 0xA87F  # Phags-pa
        or 0x10AC0 <= code <= 0x10AFF  # Manichaean
        or 0x13000 <= code <= 0x1345F  # hieroglyphs: rotation
        or 0x11000 <= code <= 0x1107F
    )


def _may_be_picture(base: str) -> bool:
    """Return whether a character has a text and an emoji form: symbols, a few marks."""
    symbol = unicodedata.category(base) in ("So", "Sm", "Sk") or _within(base, *_PICTURES)
    return symbol or base in "\u203c\u2049\u2139\u3030\u303d"


def _is_ideograph(code: int) -> bool:
    return 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x323AF
