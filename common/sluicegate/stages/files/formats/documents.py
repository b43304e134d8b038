"""Documents that may run something: macros, scripts, and what is fetched when they are opened.

Sources: ECMA-376, part 2 (relationships); MS-OVBA 2.3; MS-CFB; OASIS ODF 1.3, part 2; ISO
32000-2, 12.6.4 (actions) and 7.6 (encryption).
"""

from __future__ import annotations

import re
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

_OVERLAP: Final = 256
"""Bytes of a block looked at again with the next one, so that no word is cut in two."""

_PDF_RISKS: Final = re.compile(
    rb"/(JavaScript|JS|Launch|EmbeddedFiles?|RichMedia|XFA|SubmitForm|ImportData)\b"
)
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
_OUTSIDE: Final = re.compile(
    rb"<Relationship\b[^>]*(?:attachedTemplate|oleObject|frame|externalLink)[^>]*"
    rb"TargetMode\s*=\s*[\"']External",
    re.IGNORECASE,
)


def risk_of_part(name: str, view: View) -> str:
    """Return what makes a part of an office document dangerous; empty if nothing does."""
    low = name.lower()
    if low.endswith("vbaproject.bin") or "/macrosheets/" in low or "/activex/" in low:
        return "a macro"
    if low.startswith(("basic/", "scripts/")) and not low.endswith("/"):
        return "a macro"
    if "/embeddings/" in low and not low.endswith((".xlsx", ".docx", ".pptx")):
        return "an embedded object"
    if low.endswith(".rels") and _OUTSIDE.search(view.at(0, BLOCK)):
        return "a part that is fetched from elsewhere when it is opened"
    return ""


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
    if risks := sorted(_words(view, _PDF_RISKS, found)):
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
    if re.search(rb"/Encrypt\s+\d", tail) or re.search(rb"/Encrypt\s+\d", view.at(0, BLOCK)):
        raise UnreadableError("an encrypted PDF")
    if re.search(rb"/ObjStm\b", view.at(0, BLOCK)):
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
