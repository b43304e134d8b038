r"""Addresses outside of an allow-list, and addresses that pretend to be inside of it.

An address is judged as what a browser would open and as what a simple parser would read; where
the two could part, that is a finding of its own. What a reader takes for the host need not be
it: ``https://good.example@evil.example``, ``https://good.example\@evil.example``,
``https://gооd.example`` with Cyrillic letters.

A domain in the allow-list stands for itself and all that lies below it. ``*`` allows every
domain, and leaves the tricks.

Not seen: bare host names without scheme (``evil.example/x``), which nothing opens; what an
allowed host redirects to.

Sources: WHATWG URL, RFC 3986 (section 7.6, semantic attacks), RFC 5891 (IDNA), UTS 39.
"""

# ruff: noqa: RUF002  # letters that look like others are what this is about

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote

from sluicegate.errors import ConfigurationError
from sluicegate.text.base import Mark, check_kinds, wanted
from sluicegate.text.scripts import MixedScripts, looks_latin

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Urls"]

KINDS: Final = (
    "domain",
    "scheme",
    "ip_address",
    "user_information",
    "lookalike",
    "ambiguous",
)
"""Not in the allow-list; a scheme that is not; a number for a host; a name or password before
the host; letters that pass for others; read differently by different programs."""

_LONGEST: Final = 4096
"""Characters of an address that are judged."""

_STARTS: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])(?:"
    r"(?P<scheme>[a-z][a-z0-9+.-]{1,31}):(?P<slashes>[/\\]{2,})"
    r"|(?P<loose>https?|ftps?|wss?):(?P<few>[/\\]?)(?=[^\s/\\\"'<>)\]}.,;]{1,253}\.[^\s.])"
    r"|(?P<bare>javascript|vbscript|data|file|mailto|blob|about):(?=[^\s])"
    r"|(?P<www>www\d?\.)(?=[^\s.]+\.[^\s.])"
    r"|(?:(?<=[\"'(=])|^)(?P<relative>[/\\]{2})(?=[\w-]+(?:\.[\w-]+)*\.[a-z]{2,24}(?:[/?#:\s\"')]|$))"
    r")",
    re.ASCII | re.IGNORECASE,
)
_ENDS: Final = re.compile(
    r"[\s<>\"'`{}|^\x00-\x1f\u3001\uff0c\uff01\uff1f\uff1b\uff1a\uff08\uff09\u300d\u300f\u300b\u3011]"
    r"|[\u3002\uff0e\uff61](?![A-Za-z0-9])|$"
)
_CLOSERS: Final = ".,;:!?)]}'\"*_~\u2026\u3002\uff0c\uff09\u300d"
"""Punctuation that follows an address in a sentence and is none of it."""
_NUMERIC: Final = re.compile(
    r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}", re.ASCII | re.IGNORECASE
)
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

_PREFILTER: Final = (
    r"(?i)[a-z][a-z0-9+.\-]*:[/\\]|(?:https?|ftps?|wss?):\S|www\d?\.\S"
    r"|(?:javascript|vbscript|data|file|mailto|blob|about):\S|[/\\]{2}[\w\-]+\."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Addresses outside of an allow-list, and disguised ones.

    Raises:
        ConfigurationError: an unknown kind, no domain, no scheme, or one that is none.
    """

    name: ClassVar[str] = "urls"
    about: ClassVar[str] = "addresses outside of an allow-list, and disguised ones"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    domains: tuple[str, ...]
    """Allowed domains, each with all that lies below it; ``*`` for every one."""
    schemes: tuple[str, ...] = ("https",)
    """Allowed schemes, without colon."""
    kinds: tuple[str, ...] = ()
    """Kinds to look for; all if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)
        if not self.domains or not self.schemes:
            raise ConfigurationError(
                "the rule urls needs domains and schemes that are allowed",
                next_step="name them, or allow every domain with '*'",
            )
        for scheme in self.schemes:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
                raise ConfigurationError(f"{scheme!r} is no scheme; say https, not https://")
        for domain in self.domains:
            if domain != "*" and not _ascii_host(domain):
                raise ConfigurationError(
                    f"{domain!r} is no domain",
                    next_step="say example.org, not https://example.org/",
                )

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts hold something like an address."""
        return text.str.contains(_PREFILTER)

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return every address that is not allowed, with each reason."""
        allowed = frozenset(_ascii_host(domain) or domain for domain in self.domains)
        found = []
        for start, scheme, address, offset in _addresses(value):
            for kind, detail in self._faults(scheme, address, offset, allowed):
                found.append(Mark(kind, start, len(address), detail))
        return wanted(found, self.kinds)

    def _faults(
        self, scheme: str, address: str, offset: int | None, allowed: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        if scheme and scheme not in self.schemes:
            yield "scheme", scheme
        if offset is None or scheme == "file":  # no host: mailto, data
            return
        if scheme and address[len(scheme) : offset] != "://":
            yield "ambiguous", "slashes"
        authority = re.split(r"[/\\?#]", address[offset:], maxsplit=1)[0]
        rest = address[offset + len(authority) :]
        if "\\" in address[offset:] and rest.startswith("\\"):
            yield "ambiguous", "backslash"
        yield from _authority_faults(authority, allowed)


def _addresses(value: str) -> Iterator[tuple[int, str, str, int | None]]:
    """Yield start, scheme and text of each address, and where in it the host part begins."""
    at = 0
    while (match := _STARTS.search(value, at)) is not None:
        end = _ENDS.search(value, match.end(), match.start() + _LONGEST)
        stop = end.start() if end else min(len(value), match.start() + _LONGEST)
        address = value[match.start() : stop].rstrip(_CLOSERS)
        at = max(match.end(), match.start() + len(address))
        scheme = (match["scheme"] or match["loose"] or match["bare"] or "").lower()
        offset = match.end() - match.start()
        if match["bare"]:
            yield match.start(), scheme, address, None
        elif match["www"]:
            yield match.start(), "", address, 0
        elif not match["scheme"] or len(address) > offset or scheme == "file":
            yield match.start(), scheme, address, offset


def _authority_faults(authority: str, allowed: frozenset[str]) -> Iterator[tuple[str, str]]:
    user, at, host = authority.rpartition("@")
    if at:
        yield "user_information", "password" if ":" in user else "name"
    if "%" in host:
        yield "ambiguous", "percent encoding in the host"
        host = unquote(host)
    host = re.sub(r":[0-9]*$", "", host)
    if host.endswith((".", "\u3002", "\uff0e", "\uff61")):
        yield "ambiguous", "dot after the host"
        host = host[:-1]
    if re.search("[\u3002\uff0e\uff61]", host):
        yield "ambiguous", "dots of another shape"
    if _is_number(host):
        if host.lower().strip("[]") not in allowed:
            yield "ip_address", "a number for a host"
        return
    if _shape_changes(host):
        yield "ambiguous", "letters of another shape"
    if _is_lookalike(host):
        yield "lookalike", "letters that pass for others"
    name = _ascii_host(host)
    if not name:
        yield "ambiguous", "not a host name"
    elif not _is_allowed(name, allowed):
        yield "domain", ""


def _is_number(host: str) -> bool:
    if host.startswith("["):
        return True
    if _NUMERIC.fullmatch(host):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shape_changes(host: str) -> bool:
    """Return whether the host is written in full-width letters and the like."""
    folded = host.casefold()
    return unicodedata.normalize("NFKC", folded) != unicodedata.normalize("NFC", folded)


def _is_lookalike(host: str) -> bool:
    shown = _shown(host)
    if shown.isascii():
        return False
    labels = _DOTS.split(shown)
    return bool(MixedScripts().marks(shown)) or any(looks_latin(label) for label in labels)


def _shown(host: str) -> str:
    """Return the host with its ``xn--`` labels decoded."""
    labels = []
    for label in _DOTS.split(host):
        if label.lower().startswith("xn--"):
            try:
                labels.append(label[4:].encode("ascii").decode("punycode"))
                continue
            except (UnicodeError, ValueError, OverflowError):
                pass
        labels.append(label)
    return ".".join(labels)


def _ascii_host(host: str) -> str:
    """Return the host as it is looked up: lower case, ``xn--`` labels; empty if it is none."""
    host = unicodedata.normalize("NFKC", host).strip().lower().rstrip(".")
    try:
        ipaddress.ip_address(host)
        return host
    except ValueError:
        pass
    if len(host) > 253:
        return ""
    labels = []
    for label in _DOTS.split(host):
        try:
            known = label if label.isascii() else label.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
        if not _LABEL.fullmatch(known):
            return ""
        labels.append(known)
    return ".".join(labels)


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    if "*" in allowed:
        return True
    labels = host.split(".")
    return any(".".join(labels[at:]) in allowed for at in range(len(labels)))
