"""Addresses and numbers of people.

A number counts as somebody's if it says so itself: by a checksum and the structure that its
issuer gives it (IBAN, payment cards, national numbers), by a country code, or by a word
before it. Ten in a hundred random numbers satisfy one check digit, so numbers of digits only
that carry no date must also be written as their country writes them, or be named. Order
numbers, UUIDs, hashes, timestamps, versions and ISBNs are none of these.

Checksums are those of python-stdnum: it covers more than 200 formats, is maintained with
their changes, and needs nothing else. Detectors of names and places need a language model;
they are not part of this.

Not seen: names, postal addresses, dates of birth; numbers whose issuer gave them no
structure, where no word names them.

Sources: ITU-T E.164; ISO 13616 (IBAN); ISO/IEC 7812 (payment cards); RFC 5322, RFC 6531
(e-mail, of which only the everyday form is looked for).
"""

# ruff: noqa: RUF001  # words of many languages

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sluicegate.errors import MissingExtraError
from sluicegate.text.base import Mark, check_kinds, merged, wanted

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PersonalData"]

KINDS: Final = ("email", "iban", "payment_card", "national_id", "phone", "ip_address")
"""In the order of certainty: a place is reported once. ``ip_address`` only on request."""

DEFAULT_KINDS: Final = KINDS[:5]
"""An address of a machine is personal data to a lawyer, and in most texts is not."""

_CONTEXT: Final = 32
"""Characters before a number in which the word that names it must stand."""

_EMAIL: Final = re.compile(
    r"(?<![\w.+@/-])(?P<key>[\w][\w.+'%-]{0,63}@(?:[\w](?:[\w-]{0,61}[\w])?\.){1,8}"
    r"(?P<end>[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59}))(?![\w@-]|\.\w)"
)
_FILE_ENDINGS: Final = frozenset(
    [
        *("png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "mjs", "ts"),
        *("tsx", "jsx", "json", "map", "html", "py", "txt", "md", "pdf"),
    ]
)
"""``icon@2x.png`` is a file."""
_IBAN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?P<key>[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,4})?)"
    r"(?![A-Za-z0-9])"
)
_CARD: Final = re.compile(
    r"(?<![\w.,/+-])(?P<key>[2-6][0-9]{3}(?:(?P<gap>[ -])[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}"
    r"|[0-9]{12})|3[47][0-9]{2}(?:(?P<space>[ -])[0-9]{6}(?P=space)[0-9]{5}|[0-9]{11})"
    r"|3(?:0[0-5]|[68][0-9])[0-9](?:(?P<blank>[ -])[0-9]{6}(?P=blank)[0-9]{4}|[0-9]{10}))"
    r"(?![\w/-]|[.,][0-9])"
)
_ISSUERS: Final = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|6(?:011|4[4-9]|5|2)|35(?:2[89]|[3-8])"
    r"|3[47]|3(?:0[0-5]|[68])"
)
"""First digits that are given out: Visa, Mastercard, Discover, UnionPay, JCB, American
Express, Diners Club."""

_CODES: Final = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 "
    "63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 211 212 213 216 218 2[2-6][0-9] 290 291 297 298 "
    "299 35[0-9] 37[0-9] 38[0-35-79] 42[013] 50[0-9] 59[0-9] 67[02-9] 68[0-9] 69[0-2] 85[02356] "
    "880 886 96[0-9] 97[0-7] 99[2-68]"
)
"""Country codes that are in use (ITU-T E.164, list of assigned codes)."""
_E164: Final = re.compile(
    rf"(?<![\w+./=*(-])(?<![0-9] )(?P<key>(?:\+|00[ ]?)\(?(?:{'|'.join(_CODES.split())})\)?"
    r"(?:[ ./()-]{0,3}[0-9]){6,13})(?![\w]|[.,:][0-9]|[-+*/=])"
)
_DECIMAL: Final = re.compile(r"\+[0-9]+\.[0-9]+")
_NORTH_AMERICAN: Final = re.compile(
    r"(?<![\w+./=-])(?P<key>(?:\([2-9][0-8][0-9]\) ?|[2-9][0-8][0-9](?P<gap>[-.]))[2-9][0-9]{2}"
    r"[-.][0-9]{4})(?![\w/-]|\.[0-9])"
)
_NATIONAL: Final = re.compile(
    r"(?i)(?:\b(?:tel|phone|telephone|mobile|cell|fax|whatsapp|handy|telefon|téléphone|teléfono"
    r"|telefono|cellulare|movil|móvil|portable|тел|телефон)\b|☎|☏|📞|电话|手机|電話|携帯|전화|هاتف|फ़ोन)"
    r"[.:\s#]{0,4}(?:(?:number|no|nr|num|is|номер)\b[.:\s]{0,3})?"
    r"(?P<key>\(?0?[0-9](?:[ ./()-]{0,2}[0-9]){6,13})(?![\w]|[.,][0-9])"
)
_IP: Final = re.compile(
    r"(?<![\w.:-])(?P<key>(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?:[0-9A-Fa-f]{1,4}:){2,7}[0-9A-Fa-f:.]{0,32}"
    r"[0-9A-Fa-f])(?![\w:.-]?\w)"
)


@dataclass(frozen=True, slots=True)
class _Number:
    """A national number: who issues it, how it is written, what must hold."""

    module: str
    """Of stdnum."""
    shape: str
    words: str = ""
    """Words, one of which must stand before it; not needed if empty."""


_NUMBERS: Final = (
    # Digits and letters, or a date and check digits: chance does not meet them.
    _Number(
        "it.codicefiscale",
        r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
    ),
    _Number("mx.curp", r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[A-Z0-9][0-9]"),
    _Number("cn.ric", r"[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]"),
    _Number("es.dni", r"[0-9]{8}-?[A-HJ-NP-TV-Z]"),
    _Number("es.nie", r"[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]"),
    _Number("fi.hetu", r"[0-3][0-9][01][0-9]{3}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]"),
    _Number(
        "fr.nir",
        r"[12][ ]?[0-9]{2}[ ]?[01][0-9][ ]?[0-9][0-9AB][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{2}",
    ),
    _Number("ro.cnp", r"[1-8][0-9]{2}[01][0-9][0-3][0-9]{7}"),
    _Number("ch.ssn", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}"),
    _Number("br.cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"),
    _Number("cl.rut", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]"),
    _Number("kr.rrn", r"[0-9]{2}[01][0-9][0-3][0-9]-[1-8][0-9]{6}"),
    _Number("se.personnummer", r"(?:19|20)?[0-9]{2}[01][0-9][0-3][0-9][-+][0-9]{4}"),
    _Number("be.nn", r"[0-9]{2}\.[01][0-9]\.[0-3][0-9]-[0-9]{3}\.[0-9]{2}"),
    _Number("cz.rc", r"[0-9]{2}[0-8][0-9][0-3][0-9]/[0-9]{4}"),
    # One check digit or none: a word must name them.
    _Number("us.ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}"),
    _Number("us.ssn", r"[0-9]{9}", r"\bssn\b|social security"),
    _Number("gb.nhs", r"[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{4}", r"\bnhs\b"),
    _Number(
        "gb.nino",
        r"[A-CEGHJ-PR-TW-Z]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[A-D]",
        r"\bnino?\b|national insurance",
    ),
    _Number(
        "de.idnr",
        r"[1-9][0-9][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{3}",
        r"steuer|\bidnr\b|\btin\b|tax id",
    ),
    _Number("nl.bsn", r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}|[0-9]{9}", r"\bbsn\b|burgerservice"),
    _Number("pl.pesel", r"[0-9]{11}", r"\bpesel\b"),
    _Number("br.cpf", r"[0-9]{11}", r"\bcpf\b"),
    _Number("in_.aadhaar", r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}", r"aadhaa?r|\buidai\b|आधार"),
    _Number("in_.pan", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", r"\bpan\b"),
    _Number("tr.tckimlik", r"[1-9][0-9]{10}", r"kimlik|\btckn?\b"),
    _Number("za.idnr", r"[0-9]{2}[01][0-9][0-3][0-9]{8}", r"\bid\b|identity"),
    _Number("ca.sin", r"[0-9]{3}[ -][0-9]{3}[ -][0-9]{3}|[0-9]{9}", r"\bsin\b|social insurance"),
    _Number("au.tfn", r"[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{2,3}", r"\btfn\b|tax file"),
    _Number("il.idnr", r"[0-9]{9}", r"teudat|תעודת|ת\.ז"),
    _Number("dk.cpr", r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}", r"\bcpr\b"),
    _Number("no.fodselsnummer", r"[0-7][0-9][0-9]{4}[ ]?[0-9]{5}", r"fødsels|personnummer"),
    _Number("bg.egn", r"[0-9]{10}", r"\bегн\b|\begn\b"),
    _Number("pt.nif", r"[0-9]{9}", r"\bnif\b|contribuinte"),
    _Number("hr.oib", r"[0-9]{11}", r"\boib\b"),
)

_PREFILTER: Final = (
    r"[^\s@]@[^\s@]+\.|[0-9](?:[ .\-/()+A-FU-Y]{0,3}[0-9]){6}"
    r"|[A-Z]{2} ?[0-9]{2} ?[A-Z0-9]{2}|[A-Z]{6}[0-9LMNP-V]{2}[A-Z]|[A-Z]{5}[0-9]{4}"
)
_PREFILTER_IP: Final = r"|[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """Addresses and numbers of people.

    Raises:
        ConfigurationError: an unknown kind.
        MissingExtraError: python-stdnum is not installed; when it is used first.
    """

    name: ClassVar[str] = "personal_data"
    about: ClassVar[str] = "addresses and numbers of people"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    kinds: tuple[str, ...] = ()
    """Kinds to look for; all but ``ip_address`` if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts hold seven digits together, or what looks like an address."""
        return text.str.contains(_PREFILTER + _PREFILTER_IP * ("ip_address" in self.kinds))

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return everything that belongs to a person."""
        kinds = self.kinds or DEFAULT_KINDS
        found = [
            Mark(kind, start, end - start, detail)
            for kind in KINDS
            if kind in kinds
            for start, end, detail in _FINDERS[kind](value)
        ]
        return wanted(merged(found), kinds)


def _emails(text: str) -> Iterator[tuple[int, int, str]]:
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        ending = match["end"].lower()
        remote = match["key"].startswith("git@") and text[match.end() : match.end() + 1] == ":"
        if ending not in _FILE_ENDINGS and not remote and ".." not in match["key"]:
            yield *match.span("key"), ""


def _ibans(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _IBAN.finditer(text):
        # What follows in capitals may have been taken along: the country says how long it is.
        for end in range(match.end(), match.start() + 14, -1):
            if text[end - 1] != " " and _valid("iban", text[match.start() : end]):
                if end == match.end() or not text[end].isalnum():
                    yield match.start(), end, text[match.start() : match.start() + 2]
                break


def _cards(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _CARD.finditer(text):
        digits = re.sub("[ -]", "", match["key"])
        if _ISSUERS.match(digits) and len(set(digits)) > 1 and _valid("luhn", digits):
            yield *match.span("key"), ""


def _national_ids(text: str) -> Iterator[tuple[int, int, str]]:
    if _ANY_NUMBER.search(text) is None:
        return
    for number, pattern, words in _compiled():
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - _CONTEXT) : match.start()]
            if (words is None or words.search(before)) and _valid(number.module, match["key"]):
                yield *match.span("key"), number.module.replace("in_", "in")


def _phones(text: str) -> Iterator[tuple[int, int, str]]:
    for pattern, detail in (
        (_E164, "international"),
        (_NORTH_AMERICAN, "North America"),
        (_NATIONAL, "named"),
    ):
        for match in pattern.finditer(text):
            if _DECIMAL.fullmatch(match["key"]):
                continue
            digits = re.sub(r"\D", "", match["key"])
            if len(digits.removeprefix("00")) >= 7 and len(set(digits)) > 2:
                yield *match.span("key"), detail


def _ip_addresses(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match["key"])
        except ValueError:
            continue
        if address.is_global:
            yield *match.span("key"), f"IPv{address.version}"


_FINDERS: Final[dict[str, Callable[[str], Iterator[tuple[int, int, str]]]]] = {
    "email": _emails,
    "iban": _ibans,
    "payment_card": _cards,
    "national_id": _national_ids,
    "phone": _phones,
    "ip_address": _ip_addresses,
}

_EDGES: Final = (r"(?<![\w./+-])", r"(?![\w/-]|\.\w)")
_ANY_NUMBER: Final = re.compile(
    f"{_EDGES[0]}(?:{'|'.join(number.shape for number in _NUMBERS)}){_EDGES[1]}"
)
"""Whether there is any of them, before each is looked for."""

_Compiled = tuple[_Number, re.Pattern[str], re.Pattern[str] | None]
_COMPILED: Final[list[_Compiled]] = []


def _compiled() -> list[_Compiled]:
    if not _COMPILED:
        _COMPILED.extend(
            (
                number,
                re.compile(f"{_EDGES[0]}(?P<key>{number.shape}){_EDGES[1]}"),
                re.compile(number.words, re.IGNORECASE) if number.words else None,
            )
            for number in _NUMBERS
        )
    return _COMPILED


def _valid(module: str, number: str) -> bool:
    """Return whether a number satisfies what its issuer says of it.

    Raises:
        MissingExtraError: python-stdnum is not installed.
    """
    try:
        known: Any = importlib.import_module(f"stdnum.{module}")
    except ImportError as error:
        raise MissingExtraError("python-stdnum", "text", "the rule personal_data") from error
    return bool(known.is_valid(number))
