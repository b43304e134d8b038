"""Cells that a spreadsheet would calculate instead of show.

A cell that begins with ``=``, ``+``, ``-`` or ``@`` is a formula to Excel, LibreOffice and
Google Sheets when a CSV file is opened, also after white space; one can send the sheet to a
server (``HYPERLINK``, ``WEBSERVICE``, ``IMPORTXML``) or start a program (dynamic data
exchange, ``cmd|'/C …'!A0``).

Most cells that begin so are honest: ``-5``, ``+49 30 901820``, ``@name``, ``- item``, ``=)``.
After ``=`` a cell is reported if what follows has the shape of an expression. The other signs
are reported before a call that reaches outside, a call on cells, or an expression of cells.
Sums of plain numbers after ``+`` and ``-`` are left alone: phone numbers and dates look so,
and nothing comes of calculating them. Constants (``=5``, ``="007"``) are let alone too: the
second is how exports keep leading zeros.

Not seen: formulas that only arise when a writer does not quote line breaks and separators
inside of a cell. A leading apostrophe or quotation mark is how formulas are disarmed, and is
no finding.

Source: OWASP, CSV injection; CWE-1236, improper neutralization of formula elements.
"""

# ruff: noqa: RUF001  # full-width signs are formulas too

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from sluicegate.text.base import Mark, check_kinds

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SpreadsheetFormulas"]

KINDS: Final = ("program_call", "external_call", "formula")
"""Starts a program, reaches outside of the sheet, calculates."""

_BLANK: Final = r"[\s\x00\u00a0\u200b\u2060\ufeff]*"
"""What importers drop before they look at the first character."""

_WINDOW: Final = 4096
"""Characters that are judged. Excel takes formulas of up to 8,192; what makes one a formula
stands at its beginning."""

_OUTSIDE: Final = (
    r"(?:(?i:HYPERLINK|WEBSERVICE|IMPORT(?:XML|DATA|HTML|RANGE|FEED)|FILTERXML|CUBEVALUE"
    r"|STOCKHISTORY|SQL\.REQUEST|REGISTER\.ID)|CALL|DDE|EXEC|IMAGE|PY|REGISTER|RTD)"
)
"""Functions of Excel, LibreOffice and Google Sheets that load, open or run something. Those whose
names are words of other languages in capitals only, as all of them are stored."""

_LOTUS: Final = (
    r"(?:SUM|IF|AVG|AVERAGE|COUNT|COUNTA|MAX|MIN|ABS|ROUND|NOW|TODAY|RAND|PI|CHAR|CELL|INDEX"
    r"|INDIRECT|VLOOKUP|HLOOKUP|LOOKUP|CONCATENATE|CONCAT|TEXT|VALUE|LEFT|RIGHT|MID|REPT|LEN)"
)
"""Functions that ``@`` may call, as in Lotus 1-2-3; other names after it are decorators and
handles."""

_CELL: Final = r"\$?[A-Za-z]{1,3}\$?[0-9]{1,7}"
_STARTS: Final = re.compile(
    _BLANK + r"(?P<sign>[=+\-@＝＋－＠﹦﹢﹣﹫])\s*(?P<rest>[^\s].*)", re.DOTALL
)
_PROGRAM: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9_.\\: -]{0,64}\|\s*['\"\u2018\u2019][^|]{0,2000}?['\"\u2018\u2019]?\s*!"
    rf"|^[+\-@(]*[A-Za-z][A-Za-z0-9_.]{{0,64}}\|[A-Za-z0-9_.\\:/-]{{1,200}}!{_CELL}",
)
"""``program|'topic'!item``; without quotes only at the beginning, and with a cell for its item."""
_CALL_OUTSIDE: Final = re.compile(rf"(?<![\w.]){_OUTSIDE}\(", re.ASCII)
_EXPRESSION: Final = re.compile(
    r"[+\-@(\s]*(?:"
    r"[A-Za-z_][A-Za-z0-9_.]{0,63}\("  # a call
    rf"|{_CELL}(?=$|\s*[-+*/^&=<>,;:!)])"  # a cell
    r"|[0-9][0-9.,]*%?(?=\s*[-+*/^&=<>])"  # numbers
    r"|\"[^\"]*\"(?=\s*[-+*/^&=<>])"  # a text
    r"|'[^']+'(?:!|#\$)|[A-Za-z0-9_]+!\$?[A-Za-z]|\[[^\]]+\]|\{[0-9\"]"  # another sheet, an array
    r")"
)
_ON_CELLS: Final = re.compile(
    rf"[+\-@(]*(?:[A-Z][A-Z0-9.]{{1,31}}\(\s*{_CELL}\s*[-+*/:,;)]|{_CELL}\s*[-+*/:]\s*(?:{_CELL}\b|[0-9]))",
    re.ASCII | re.IGNORECASE,
)
_PROSE: Final = re.compile(r"[A-Za-z]\s+[A-Za-z]")
_LOTUS_CALL: Final = re.compile(rf"[+\-@(]*{_LOTUS}\(", re.ASCII | re.IGNORECASE)

_PREFILTER: Final = (
    r"^[\s\x00\x{a0}\x{200b}\x{2060}\x{feff}]*"
    r"(?:[=＝﹦]|[+\-@＋－＠﹢﹣﹫](?s:.*?)(?:\(|\||[A-Za-z]\$?[0-9]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadsheetFormulas:
    """Cells that a spreadsheet would calculate.

    Raises:
        ConfigurationError: an unknown kind.
    """

    name: ClassVar[str] = "spreadsheet_formulas"
    about: ClassVar[str] = "cells that a spreadsheet would calculate"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    kinds: tuple[str, ...] = ()
    """Kinds to look for; all if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts begin like a formula."""
        return text.str.contains(_PREFILTER)

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return the formula that a text is, or nothing."""
        blank = len(value) - len(value.lstrip("\0\u200b\u2060\ufeff \t\r\n\v\f\u00a0"))
        start = _STARTS.match(value[blank : blank + _WINDOW])
        if start is None:
            return ()
        kind = _kind(start["sign"], start["rest"])
        if not kind or (self.kinds and kind not in self.kinds):
            return ()
        return (Mark(kind, blank + start.start("sign"), len(start["rest"]) + 1),)


def _kind(sign: str, rest: str) -> str:
    if _PROGRAM.search(rest):
        return "program_call"
    shaped = bool(_EXPRESSION.match(rest))
    call = _CALL_OUTSIDE.search(rest)
    if call and (shaped or (sign not in "=＝﹦" and not _PROSE.search(rest, 0, call.start() + 1))):
        return "external_call"
    if sign in "=＝﹦":
        return "formula" if shaped else ""
    if sign in "@＠﹫" and _LOTUS_CALL.match(rest):
        return "formula"
    return "formula" if _ON_CELLS.match(rest) else ""
