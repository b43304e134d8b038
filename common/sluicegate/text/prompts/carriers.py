r"""Ways in which an instruction is written so that a person does not see it and a model does.

A text is looked at as it stands, and once more for each disguise that it wears: letters that
look like others, invisible characters between letters, letters with spaces between them,
digits for letters, tag characters, bytes in variation selectors, Base64, hexadecimal, HTML
entities, percent signs and backslash escapes. Each view is linear in the length of the text
and no longer than it; a disguise is taken off once, or twice where one holds another.

Sources: Unicode Standard Annex 15 (NFKC) and Technical Standard 39 (confusables); RFC 4648
(Base64); Goodside 2024 and Unicode block "Tags" (hidden ASCII); Butler 2025 (bytes in
variation selectors).
"""

# ruff: noqa: RUF001  look-alikes are what this module is about
from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["View", "plain", "views"]

MOST_CHARACTERS: Final = 1 << 20
"""Longest part of a text that is looked at as one; longer texts are cut into such parts."""

_MOST_RUNS: Final = 200
"""Encoded runs that are decoded in one text; text with more of them is data, and each costs."""

_ROUNDS: Final = 2
"""How many disguises one upon the other are taken off."""

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]+"
)
_COMBINING: Final = re.compile("(?<=[A-Za-z])[\u0300-\u036f]+")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{8,}")
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{8,}")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{24,}={0,2}")
_WRAPPED: Final = re.compile(r"[A-Za-z0-9+/]{60,76}(?:\r?\n[A-Za-z0-9+/]{1,76}){1,400}={0,2}")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?:[0-9A-Fa-f]{2}[ :]?){20,})(?![0-9A-Za-z])")
_ESCAPED: Final = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,31});")
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}[^%\s]{0,20}){4,}")
_SPACED: Final = re.compile(
    r"(?<!\w)(?:\w[ .·_*-]){4,}\w(?!\w)(?:[ ]{1,4}(?:\w[ .·_*-]){1,40}\w(?!\w))*"
)
_LEET_WORD: Final = re.compile(
    r"(?<!\w)(?=[\w@$]*[A-Za-z][0134579@$]{1,2}[A-Za-z])[\w@$]{4,20}(?!\w)"
)
_LEET: Final = str.maketrans("0134579@$", "oieastgas")
_LOOKALIKES: Final = str.maketrans(
    # Cyrillic, Greek and Armenian letters that are drawn as Latin ones (UTS 39, by hand).
    "аеорсухіѕјһԁԛԝᴠАВЕЅМНОРСТХІЈΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανιρυѵցոսօ",
    "aeopcyxisjhdqwvABESMHOPCTXIJABEZHIKMNOPTYXoavipuvgnuo",
)
_LETTERS: Final = re.compile(r"[^\W\d_]")
_LATIN: Final = re.compile(r"[A-Za-z]")


@dataclass(frozen=True, slots=True)
class View:
    """A text without one of its disguises."""

    text: str
    carrier: str
    """``plain`` for the text as people read it; else the disguise, snake_case."""
    start: int
    """Where in the original the disguised part begins, in code points."""
    length: int
    """How long that part is."""

    @property
    def is_hidden(self) -> bool:
        """Whether a person who reads the original does not read this."""
        return self.carrier != "plain"


def plain(text: str) -> str:
    """Return the text as it reads: compatibility forms, marks and look-alikes undone.

    Line breaks stay; runs of other white space become one space. Positions change.
    """
    shown = _INVISIBLE.sub("", text)
    if not shown.isascii():
        shown = _COMBINING.sub("", unicodedata.normalize("NFKD", shown))
        shown = unicodedata.normalize("NFKC", shown)
        shown = _unmask(shown)
    return re.sub(r"[^\S\n]+", " ", shown.replace("\r\n", "\n").replace("\r", "\n"))


def _unmask(text: str) -> str:
    """Turn look-alikes into Latin letters, in words that hold Latin letters too."""

    def fold(match: re.Match[str]) -> str:
        word = match[0]
        return word.translate(_LOOKALIKES) if not word.isascii() and _LATIN.search(word) else word

    return re.sub(r"\w+", fold, text)


def views(text: str) -> Iterator[View]:
    """Yield the text as it reads, then what its disguises hide, each as it reads."""
    for start in range(0, len(text), MOST_CHARACTERS):
        part = text[start : start + MOST_CHARACTERS]
        yield View(plain(part), "plain", start, len(part))
        yield from _hidden(part, start, _ROUNDS)


def _hidden(part: str, offset: int, rounds: int) -> Iterator[View]:
    for carrier, start, length, decoded in _decoded(part):
        text = decoded[:MOST_CHARACTERS]
        yield View(plain(text), carrier, offset + start, length)
        if rounds > 1:
            for inner in _hidden(text, 0, rounds - 1):
                yield View(inner.text, f"{carrier}_{inner.carrier}", offset + start, length)


def _decoded(part: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield carrier, place, length, and what is hidden there."""
    if not part.isascii():
        for match in _TAGS.finditer(part):
            text = "".join(chr(ord(one) - 0xE0000) for one in match[0])
            yield "tag_characters", match.start(), len(match[0]), text
        for match in _SELECTORS.finditer(part):
            if (found := _text(bytes(map(_selected, match[0])))) is not None:
                yield "variation_selectors", match.start(), len(match[0]), found
    yield from _runs(part)
    for carrier, pattern, undo in (
        ("html_entities", _ENTITY, html.unescape),
        ("percent_encoding", _PERCENT, urllib.parse.unquote),
        ("escapes", _ESCAPED, _unescape),
        ("digits_for_letters", _LEET_WORD, _unleet),
        ("spaced_letters", _SPACED, _unspace),
    ):
        places = [
            match.span()
            for _, match in zip(range(_MOST_RUNS), pattern.finditer(part), strict=False)
        ]
        if places:
            shown = undo(part)
            if shown != part:
                start, end = places[0][0], places[-1][1]
                yield carrier, start, end - start, shown


def _runs(part: str) -> Iterator[tuple[str, int, int, str]]:
    count = 0
    for match in _WRAPPED.finditer(part):
        if (count := count + 1) > _MOST_RUNS:
            return
        if (found := _from_base64("".join(match[0].split()))) is not None:
            yield "base64", match.start(), len(match[0]), found
    for match in _BASE64.finditer(part):
        if (count := count + 1) > _MOST_RUNS:
            return
        if (found := _from_base64(match[0])) is not None:
            yield "base64", match.start(), len(match[0]), found
    for match in _HEX.finditer(part):
        if (count := count + 1) > _MOST_RUNS:
            return
        digits = re.sub(r"[ :]", "", match[1])
        if (found := _text(bytes.fromhex(digits))) is not None:
            yield "hexadecimal", match.start(), len(match[0]), found


def _from_base64(run: str) -> str | None:
    if run.islower() or run.isupper():
        return None  # a path or a name; text encoded so has letters of both cases
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        return _text(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))
    except binascii.Error:
        return None


def _text(data: bytes) -> str | None:
    """Return bytes as text, if they are text that people write."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    readable = sum(one.isalnum() or one in " \n\t.,:;!?'\"-()" for one in text)
    words = " " in text or _BASE64.fullmatch(text)
    return text if len(text) >= 12 and readable >= 0.9 * len(text) and words else None


def _selected(one: str) -> int:
    code = ord(one)
    return code - 0xFE00 if code <= 0xFE0F else code - 0xE0100 + 16


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1] or match[2], 16)), text)


def _unleet(text: str) -> str:
    return _LEET_WORD.sub(lambda match: match[0].translate(_LEET), text)


def _unspace(text: str) -> str:
    """Join letters that stand apart; two spaces or more part words."""

    def join(match: re.Match[str]) -> str:
        words = re.split(r" {2,}", match[0])
        return " ".join(re.sub(r"[ .·_*-]", "", word) for word in words)

    return _SPACED.sub(join, text)
