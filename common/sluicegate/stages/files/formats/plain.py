"""Text: decoded to its end, and told apart by what it begins with and what holds throughout.

All text is UTF-8. Other encodings are not guessed: two readers would guess differently.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

from sluicegate.stages.files.examination import (
    Examination,
    ExceededError,
    MalformedError,
    Place,
)
from sluicegate.stages.files.formats.brackets import Brackets
from sluicegate.stages.files.formats.delimited import Delimited
from sluicegate.stages.files.limits import BLOCK, Limits
from sluicegate.stages.files.views import View

__all__ = ["Lines", "glance", "text_kind", "walk_text"]

CONTROLS: Final = 0.001
"""Share of control characters that text may hold: a stray escape sequence, no binary data."""

_CONTROL: Final = bytes(set(range(32)) - {9, 10, 12, 13, 27}) + b"\x7f"
_HTML: Final = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|script|iframe|style|meta)(?=[\s>/])", re.IGNORECASE
)
_LOOSE_HTML: Final = re.compile(rb"<(?:title|table|div|br|p|a|b|h1)(?=[\s>/])|<!--", re.IGNORECASE)
"""What a browser that guesses types takes for a page, and what may also begin a text or XML."""
_XML: Final = re.compile(rb"<(?:\?xml\s|!DOCTYPE\s|svg[\s>])")
_LOOSE_XML: Final = re.compile(rb"<(?:!\[|!--|[A-Za-z_])")
_JSON: Final = re.compile(rb"[\[{]\s*(?:[\"\[\]{}0-9tfnNI-]|\Z)")
"""How JSON begins. A text without an ending may begin with a bracket: ``[![a badge]``."""
_RISKY_HTML: Final = re.compile(
    rb"<\s*(?:script|iframe|object|embed|base|form)\b|\son\w{3,20}\s*=|javascript:", re.IGNORECASE
)


def text_kind(view: View, claimed: str) -> str:
    """Return the type of text that it is; empty if it is none.

    A table of text is any text; it is one if its name says so, and :func:`walk_text` then
    holds it to that.
    """
    head = view.at(0, BLOCK).removeprefix(codecs.BOM_UTF8)
    if not _decodes(head, whole=view.size <= BLOCK) or b"\0" in head:
        return ""
    begin = head.lstrip()[:1024]
    if _HTML.match(begin) or (not claimed and _LOOSE_HTML.match(begin)):
        return "html"
    if _XML.match(begin) or (claimed in ("", "xml", "svg") and _LOOSE_XML.match(begin)):
        return "xml"
    if claimed in ("csv", "tsv", "text"):
        return claimed
    if claimed == "jsonl":
        return claimed
    return "json" if claimed == "json" or _JSON.match(begin) else "text"


def _decodes(data: bytes, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, whole)
    except UnicodeDecodeError:
        return False
    return True


@dataclass(slots=True)
class Lines:
    """Measures the length of lines block by block, without holding them."""

    allowed: int
    carried: int = 0

    def feed(self, block: bytes) -> None:
        """Look at the next block.

        Raises:
            ExceededError: a line is too long.
        """
        first = block.find(b"\n")
        if first < 0:
            self._see(self.carried + len(block))
            self.carried += len(block)
            return
        self._see(self.carried + first)
        if self.allowed < len(block):
            self._see(max(map(len, block.split(b"\n"))))
        self.carried = len(block) - block.rfind(b"\n") - 1
        self._see(self.carried)

    def _see(self, length: int) -> None:
        if length > self.allowed:
            raise ExceededError(
                "files.lines",
                f"a line longer than {self.allowed} bytes: stopped there",
                allowed=self.allowed,
            )


def walk_text(view: View, kind: str, place: Place, found: Examination) -> str:
    """Decode all of it, and hold it to its type; return that, ``jsonl`` told from ``json``.

    Raises:
        MalformedError: it is no UTF-8, or breaks the rules of its type.
        ExceededError: a line or a record is too long, or JSON is nested too deep.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    walkers = _walkers(kind, found.limits)
    controls, risky = 0, False
    for at, block in enumerate(view.blocks()):
        found.tick()
        data = block.removeprefix(codecs.BOM_UTF8) if at == 0 else block
        try:
            decoder.decode(block, at * BLOCK + len(block) >= view.size)
        except UnicodeDecodeError as error:
            byte = at * BLOCK + error.start
            raise MalformedError(f"text that is no UTF-8 near byte {byte}") from None
        if b"\0" in block:
            raise MalformedError(f"text with a NUL at byte {at * BLOCK + block.index(0)}")
        controls += len(block) - len(block.translate(None, _CONTROL))
        for walker in walkers:
            walker.feed(data)
        risky = risky or (kind == "html" and _RISKY_HTML.search(block) is not None)
    if controls > CONTROLS * view.size:
        raise MalformedError(f"text with {controls} control characters in {view.size} bytes")
    if risky:
        found.fail("files.executable_content", place.says("HTML with scripts or active parts"))
    return _closed(kind, walkers)


def _walkers(kind: str, limits: Limits) -> list[Lines | Delimited | Brackets]:
    if kind in ("json", "jsonl"):
        brackets = Brackets(deepest=limits.json_depth)
        return [brackets, *([Lines(limits.line_bytes)] if kind == "jsonl" else [])]
    if kind in ("csv", "tsv"):
        table = Delimited(limits, delimiter=b"\t" if kind == "tsv" else b"")
        return [Lines(limits.line_bytes), table]
    return [Lines(limits.line_bytes)] if kind == "text" else []


def _closed(kind: str, walkers: list[Lines | Delimited | Brackets]) -> str:
    for walker in walkers:
        if not isinstance(walker, Lines):
            walker.close()
        if isinstance(walker, Brackets):
            if walker.values > 1 and not walker.lines:
                raise MalformedError("several JSON values that are not on lines of their own")
            if not walker.lines and kind == "jsonl":
                raise MalformedError("JSON lines with a value that goes over several lines")
            return "jsonl" if walker.values > 1 else kind
    return kind


def glance(view: View, kind: str, found: Examination) -> None:
    """Look at the beginning of a text for what is reason enough to refuse all of it.

    Raises:
        ExceededError: a line or a record is too long, or JSON is nested too deep.
        MalformedError: it breaks the rules of its type, which a closer look may tell better.
    """
    walkers = _walkers(kind, found.limits)
    for block in view.blocks():
        for walker in walkers:
            walker.feed(block)
