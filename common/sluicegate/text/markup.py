"""Markup that a browser, or another program that shows text, would execute.

Text from a data set ends up in web pages: in labelling tools, dashboards, chats with a model
that was trained on it. Markup that only formats (``<b>``, ``<br>``) is let alone; what runs
code, loads a page or sends the reader elsewhere is reported. Text is looked at as it is, and
once more after character references, percent encoding and script escapes are undone, since
what shows it may do so too; twice encoded text is not seen.

Code is text as well: ``List<String>``, ``a < b``, ``vec<object>``, ``<button onClick={send}>``
(whose braces only name a function) run nothing in a browser and are no findings, nor is
"JavaScript: the good parts".

This is not a sanitizer: whoever shows text in a page escapes it there, whatever was found
here.

Sources: WHATWG HTML, tokenization and event handler attributes; OWASP, cross-site scripting
filter evasion; CWE-79; CVE-2021-44228 for lookups.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote

from sluicegate.text.base import Mark, check_kinds, wanted

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ActiveMarkup"]

KINDS: Final = (
    "script_element",
    "event_handler",
    "script_url",
    "data_url",
    "embedded_page",
    "redirect",
    "server_directive",
)
"""``<script>``; ``onload=`` and its kind; ``javascript:``; ``data:text/html``; ``<iframe>``,
``<object>`` and their kind; ``<meta refresh>``, ``<base>``, forms that send elsewhere; server
side includes and ``${jndi:…}`` lookups."""

_REACH: Final = 2000
"""Characters of a tag that are looked back at from an event handler for its beginning."""

_EVENTS: Final = (
    "abort|activate|after|animation|auxclick|before|begin|blur|cancel|canplay|change|click|close"
    "|contextmenu|copy|cuechange|cut|dblclick|drag|drop|duration|emptied|end|error|focus"
    "|formdata|fullscreen|gotpointer|hashchange|input|invalid|key|load|lostpointer|message"
    "|mouse|offline|online|pagehide|pagereveal|pageshow|paste|pause|play|pointer|popstate"
    "|progress|ratechange|readystate|repeat|reset|resize|scroll|search|securitypolicy|seek"
    "|select|show|slotchange|stalled|start|storage|submit|suspend|timeupdate|toggle|touch"
    "|transition|unhandled|unload|volume|waiting|webkit|wheel"
)
"""How the names of event handlers go on after ``on`` (WHATWG HTML, SVG 2, SMIL)."""

_HANDLER: Final = re.compile(
    rf"(?<![A-Za-z0-9_.$-])on(?:{_EVENTS})[a-z]{{0,24}}[\s\x00]{{0,16}}=(?!=)",
    re.ASCII | re.IGNORECASE,
)
_INERT_VALUE: Final = re.compile(
    r"\s?\{\s{0,8}(?:[\w.$]{1,80}\s{0,8}\}|(?:async\s)?\s?(?:\([\w\s,{}.:=]{0,80}\)|\w{1,40})\s{0,4}=>)"
)
"""``={send}``, ``={() => …}``: what components are given; read as HTML it calls nothing."""
_TAG: Final = re.compile(r"<[\x00]*[a-z!?/]", re.ASCII | re.IGNORECASE)
_BREAKOUT: Final = re.compile(r"[\"'`]\s{0,16}$")
_CALLS: Final = re.compile(r"\s{0,8}[\"'`]?[^\"'`>]{0,80}?[(`=]")

_SCRIPT: Final = re.compile(r"<\x00*/?\x00*script(?=[\s/>\x00]|$)", re.ASCII | re.IGNORECASE)
_GENERIC: Final = re.compile(r"\w<Script>")
_GAP: Final = r"[\t\r\n\x00]{0,3}"
"""What browsers drop from the middle of an address."""

_SCHEME: Final = re.compile(
    r"(?<![a-z0-9])(?:"
    + _GAP.join("javascript")
    + "|"
    + _GAP.join("vbscript")
    + r"|livescript)[\t\r\n\x00]{0,3}:(?P<code>[^\s].{0,200}|[\t\r\n]\S.{0,200})",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_IN_ATTRIBUTE: Final = re.compile(
    r"(?:(?:href|src|action|data|formaction|to|from|values|background|code)\s{0,8}=\s{0,8}[\"'`]?"
    r"|\]\(\s{0,4}<?|url\(\s{0,4}[\"']?|[\"'=])[\s\x00-\x20]{0,16}$",
    re.ASCII | re.IGNORECASE,
)
_CODE: Final = re.compile(r"[\w.$\[\]'\"]{1,80}\s{0,4}[(=`\[;]|//|/\*|%|void\b|\\|\(|\+|'|\"|`")
_DATA: Final = re.compile(
    r"(?<![\w-])data:(?:text/(?:html|javascript|ecmascript|x?xml|vbscript)"
    r"|application/(?:xhtml\+xml|javascript|x-javascript|xml))\b[^\s]{0,80}?,",
    re.ASCII | re.IGNORECASE,
)
_DATA_SVG: Final = re.compile(
    r"(?:href|data|src)\s{0,8}=\s{0,8}[\"']?\s{0,8}data:image/svg\+xml[^\s]{0,80}?,",
    re.ASCII | re.IGNORECASE,
)
_EMBED: Final = re.compile(
    r"<\x00*(?:iframe(?=[\s/>\x00]|$)|frameset\s|portal\s[^<>]{0,500}?src\s{0,8}="
    r"|fencedframe(?=[\s/>])"
    r"|(?:object|embed|applet|frame)[\s/][^<>]{0,1000}?"
    r"(?:data|src|code|codebase|classid|type)\s{0,8}=)",
    re.ASCII | re.IGNORECASE,
)
_REDIRECT: Final = re.compile(
    r"<\x00*(?:meta[\s/][^<>]{0,500}?http-equiv\s{0,8}=\s{0,8}[\"']?\s{0,8}(?:refresh|set-cookie)"
    r"|base[\s/][^<>]{0,500}?href\s{0,8}="
    r"|form[\s/][^<>]{0,500}?action\s{0,8}=\s{0,8}[\"']?\s{0,8}(?:[a-z]+:|//)"
    r"|link[\s/][^<>]{0,500}?rel\s{0,8}=\s{0,8}[\"']?\s{0,8}import\b)",
    re.ASCII | re.IGNORECASE,
)
_SERVER: Final = re.compile(
    r"<!--\s{0,8}#\s{0,8}(?:exec|include)\s|\$\{(?:jndi|\$\{[^{}]{0,40}\}?[^{}]{0,40}\}?ndi)\s{0,4}:"
    r"|\$\{(?:\$\{[^{}]{0,40}\}|[jndi]){2,12}:",
    re.ASCII | re.IGNORECASE,
)
_ESCAPE: Final = re.compile(
    r"\\(?:u00|x)([2-7][0-9a-f])|\\u\{0{0,4}([2-7][0-9a-f])\}", re.ASCII | re.IGNORECASE
)
_ENCODED: Final = re.compile(r"&(?:#|[A-Za-z])|%[0-9A-Fa-f]{2}|\\[uUxX]")

_PREFILTER: Final = (
    r"(?i)<\x00*/?\x00*(?:script|iframe|frame|object|embed|applet|portal|fencedframe|meta|base"
    r"|form|link)|<!--\s*#|(?:^|[^A-Za-z0-9_.$\-])on[a-z]{3,}[\s\x00]{0,16}=|"
    + _GAP.join("javascript:")
    + "|"
    + _GAP.join("vbscript:")
    + r"|livescript|data:|\$\{|&#|&[a-z]{2}|%[0-9a-f]{2}|\\[ux]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveMarkup:
    """Markup that a browser would execute.

    Raises:
        ConfigurationError: an unknown kind.
    """

    name: ClassVar[str] = "active_markup"
    about: ClassVar[str] = "markup that a browser would execute"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    kinds: tuple[str, ...] = ()
    """Kinds to look for; all if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts hold a tag, a scheme, a lookup, or an encoded one."""
        return text.str.contains(_PREFILTER)

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return what would be executed.

        What only shows after decoding is marked as the whole text: it has no place of its own.
        """
        found = [Mark(kind, start, end - start) for kind, start, end in _active(value)]
        if _ENCODED.search(value):
            known = {mark.kind for mark in found}
            for decoded in dict.fromkeys(_decoded(value)):
                for kind, _, _ in _active(decoded):
                    if kind not in known:
                        known.add(kind)
                        found.append(Mark(kind, 0, len(value), "after decoding"))
        return wanted(found, self.kinds)


def _decoded(value: str) -> Iterator[str]:
    """Yield a text with its escapes undone, one way at a time, then all of them."""
    references = html.unescape(value)
    percents = unquote(value, errors="replace")
    escapes = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), value)
    for one in (references, percents, escapes, html.unescape(unquote(escapes, errors="replace"))):
        if one != value:
            yield one


def _active(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, start and end of everything that is active in a text as it is."""
    if "<" in text:
        yield from _elements(text)
    yield from _handlers(text)
    for match in _SCHEME.finditer(text):
        if _runs(text, match):
            yield "script_url", match.start(), match.start("code")
    for pattern in (_DATA, _DATA_SVG):
        for match in pattern.finditer(text):
            yield "data_url", match.start(), match.end()
    for match in _SERVER.finditer(text):
        yield "server_directive", match.start(), match.end()


def _elements(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _SCRIPT.finditer(text):
        generic = match.start() and _GENERIC.match(text, match.start() - 1)
        if not (generic and "</script" not in text.lower()):
            yield "script_element", match.start(), match.end()
    for match in _EMBED.finditer(text):
        yield "embedded_page", match.start(), match.end()
    for match in _REDIRECT.finditer(text):
        yield "redirect", match.start(), match.end()


def _handlers(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _HANDLER.finditer(text):
        before = text[max(0, match.start() - _REACH) : match.start()]
        if _INERT_VALUE.match(text, match.end()):
            continue
        if _in_tag(before) or (_BREAKOUT.search(before) and _CALLS.match(text, match.end())):
            yield "event_handler", match.start(), match.end()


def _in_tag(before: str) -> bool:
    """Return whether a tag is open at the end of a text, in the eyes of some browser."""
    if not before or before[-1] not in "\"'`/ \t\r\n\f\v\0":
        return False
    tag = None
    for tag in _TAG.finditer(before):  # noqa: B007  the last one
        pass
    if tag is None:
        return False
    rest = before[tag.start() :]
    return rest.count('"') % 2 == 1 or rest.count("'") % 2 == 1 or _quoted(rest)


def _quoted(rest: str) -> bool:
    """Return whether every closing bracket of a tag stands in the value of an attribute."""
    return ">" not in re.sub(r"=\s{0,8}(?:\"[^\"]*\"|'[^']*')", "=", rest)


def _runs(text: str, match: re.Match[str]) -> bool:
    """Return whether a script's scheme is used as one, and not only spoken of."""
    if match["code"].lstrip()[:1] in ("'", '"', "`", ")"):  # nothing follows the scheme
        return False
    before = text[max(0, match.start() - 64) : match.start()]
    if _IN_ATTRIBUTE.search(before):
        return True
    return not before.strip("\0 \t\r\n\"'<(") and bool(_CODE.match(match["code"].lstrip()))
