"""Documents that may run something: macros, scripts, and what is fetched when they are opened.

Sources: ECMA-376, part 2 (relationships); MS-OVBA 2.3; MS-CFB; OASIS ODF 1.3, part 2; ISO
32000-2, 12.6.4 (actions) and 7.6 (encryption).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

from sluicegate.stages.files.examination import (
    Examination,
    MalformedError,
    Place,
    UnreadableError,
)
from sluicegate.stages.files.formats.pictures import see_end
from sluicegate.stages.files.limits import BLOCK
from sluicegate.stages.files.views import View

__all__ = ["risk_of_part", "walk_ole2", "walk_pdf", "walk_rtf"]

_TAG: Final = 4096
"""Bytes of a block of XML looked at again with the next one."""

_OVERLAP: Final = 256
"""Bytes of a block looked at again with the next one, so that no word is cut in two."""

_PDF_WORDS: Final = re.compile(
    rb"/(JavaScript|Launch|EmbeddedFiles?|RichMedia|XFA|SubmitForm|ImportData|ObjStm)\b"
    rb"|/(JS)(?:\s|%[^\r\n]{0,80}[\r\n]){0,8}(?:[(<]|\d+\s+\d+\s+R\b)"
    rb"|/(Encrypt)\s+\d"
)
"""What may run, compressed objects, and encryption. ``/JS`` alone is met by chance in the
pictures of one PDF of ten megabytes in three, so what it is the key of has to follow."""
_PDF_ESCAPE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_OLE2_RISKS: Final = re.compile(
    b"|".join(
        name.encode("utf-16-le")
        for name in ("_VBA_PROJECT", "VBA", "Macros", "_xmlsignatures_vba", "\x01Ole10Native")
    )
)
_OLE2_LOCKED: Final = re.compile(
    b"|".join(name.encode("utf-16-le") for name in ("EncryptedPackage", "EncryptionInfo"))
)
_RTF_RISKS: Final = re.compile(rb"\\(objdata|objupdate|objocx|ddeauto|template)\b", re.IGNORECASE)
_RELATIONSHIP: Final = re.compile(rb"<(?:\w{1,30}:)?Relationship\b[^>]{0,3000}>")
_FETCHED: Final = re.compile(
    r"attachedTemplate|oleObject|frame|externalLink|subDocument", re.IGNORECASE
)
_EXTERNAL: Final = re.compile(r"TargetMode\s*=\s*[\"']\s*External", re.IGNORECASE)
_DDE: Final = re.compile(
    rb"<ddeLink\b|<w:instrText\b[^>]{0,400}>\s*DDE(?:AUTO)?\b|w:instr\s*=\s*[\"']\s*DDE(?:AUTO)?\b",
    re.IGNORECASE,
)
"""Data exchange: the field or link names a program that is started."""


def risk_of_part(name: str, view: View) -> str:
    """Return what makes a part of an office document dangerous; empty if nothing does."""
    low = name.lower()
    if low.endswith("vbaproject.bin") or "/macrosheets/" in low or "/activex/" in low:
        return "a macro"
    if low.startswith(("basic/", "scripts/")) and not low.endswith("/"):
        return "a macro"
    if "/embeddings/" in low and not low.endswith((".xlsx", ".docx", ".pptx")):
        return "an embedded object"
    if low.endswith(".rels") and any(map(_fetches, _blocks(view))):
        return "a part that is fetched from elsewhere when it is opened"
    if low.endswith(".xml") and any(map(_DDE.search, _blocks(view))):
        return "a link that starts a program"
    return ""


def _fetches(data: bytes) -> bool:
    tags = (html.unescape(tag.decode("utf-8", "replace")) for tag in _RELATIONSHIP.findall(data))
    return any(_EXTERNAL.search(tag) and _FETCHED.search(tag) for tag in tags)


def _blocks(view: View) -> Iterator[bytes]:
    """Yield XML in pieces that overlap; without NULs, as it may be UTF-16."""
    last = b""
    for block in view.blocks():
        data = last + block.replace(b"\0", b"")
        yield data
        last = data[-_TAG:]


def _pdf_words(view: View, found: Examination) -> set[str]:
    """Return the words of a PDF that matter, letters written as ``#4A`` or not."""
    seen: set[str] = set()
    last = b""
    for block in view.blocks():
        found.tick()
        data = last + block
        names = _PDF_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), data)
        seen |= {
            (match[1] or match[2] or match[3]).decode("latin-1")
            for match in _PDF_WORDS.finditer(names)
        }
        last = data[-_OVERLAP:]
    return seen


def _words(view: View, pattern: re.Pattern[bytes], found: Examination) -> set[str]:
    """Return the words of a pattern that occur anywhere, cut over blocks or not."""
    seen: set[str] = set()
    last = b""
    for block in view.blocks():
        found.tick()
        data = last + block
        seen |= {
            (match[1] if match.re.groups else match[0]).replace(b"\0", b"").decode("latin-1")
            for match in pattern.finditer(data)
        }
        last = data[-_OVERLAP:]
    return seen


def walk_pdf(view: View, place: Place, found: Examination) -> None:
    """Look for actions in clear; what compressed objects hold is not looked at.

    Raises:
        MalformedError: it has no end.
        UnreadableError: it is encrypted.
    """
    words = _pdf_words(view, found)
    if risks := sorted(words - {"ObjStm", "Encrypt"}):
        found.fail(
            "files.executable_content",
            place.says(f"a PDF with {', '.join(risks)}"),
            words=list(risks),
        )
    start = max(0, view.size - BLOCK)
    tail = view.tail(BLOCK)
    end = tail.rfind(b"%%EOF")
    if end < 0:
        raise MalformedError("a PDF without an end")
    see_end(view, start + end + 5, place, found)
    if "Encrypt" in words:
        raise UnreadableError("an encrypted PDF")
    if "ObjStm" in words:
        found.unknown(
            "files.executable_content",
            place.says("a PDF with compressed objects, which are not looked into here"),
        )


def walk_ole2(view: View, place: Place, found: Examination) -> None:
    """Look for macros and embedded programs by the names of streams.

    Raises:
        UnreadableError: it is encrypted.
    """
    if _words(view, _OLE2_RISKS, found):
        found.fail("files.executable_content", place.says("an old office document with macros"))
    if _words(view, _OLE2_LOCKED, found):
        raise UnreadableError("an encrypted office document")


def walk_rtf(view: View, place: Place, found: Examination) -> None:
    """Look for embedded objects."""
    if risks := sorted(_words(view, _RTF_RISKS, found)):
        found.fail(
            "files.executable_content", place.says(f"an RTF document with {', '.join(risks)}")
        )
