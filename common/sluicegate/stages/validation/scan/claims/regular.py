r"""Regular expressions of Python, written for the linear-time engine of the scan.

A pattern is parsed by Python's own parser, and its tree written out again in the notation of
the Rust ``regex`` crate: every literal as a code point, every class as ranges. What the two do
not share, or what Great Expectations would give to still another engine with another meaning,
is refused: look-around, back-references, flags, possessive and conditional groups, POSIX
classes, repeats that engines limit.

``$`` is "the end, or before a final line feed" for Python and exists in no other engine: it is
translated where nothing can follow it. ``\w \d \b`` mean ASCII here: for texts beyond ASCII the
claim is not made.

Source: Python ``re``; ``regex`` crate, section "Syntax".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from sluicegate.stages.validation.scan.base import Unclaimed

__all__ = ["Translated", "translate"]

_LONGEST: Final = 2_000
"""Characters of a pattern."""

_MOST_REPEATS: Final = 1_000
"""RE2, which GX uses through pandas, takes no more, nested ones multiplied."""

_DEEPEST: Final = 50
_FOREIGN: Final = ("[[", "[:", "{,", "(?", "\\N", "\\a", "&&", "--", "~~", "||")
"""What another engine may read otherwise, or Python warns about."""

_ALLOWED_GROUPS: Final = re.compile(r"\(\?:|\(\?P<[A-Za-z_][A-Za-z0-9_]*>")
_DOLLAR: Final = r"\n?\z"
_STRICT_DOLLAR: Final = r"\z"

_SPACE: Final = (
    r"\x{9}-\x{d}\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}"
    r"\x{202f}\x{205f}\x{3000}"
)
"""``str.isspace``. Source: Unicode White_Space, and bidirectional types B, S, WS."""

_CLASSES: Final = {
    "CATEGORY_DIGIT": ("0-9", False, True),
    "CATEGORY_NOT_DIGIT": ("0-9", True, True),
    "CATEGORY_WORD": ("0-9A-Z_a-z", False, True),
    "CATEGORY_NOT_WORD": ("0-9A-Z_a-z", True, True),
    "CATEGORY_SPACE": (_SPACE, False, False),
    "CATEGORY_NOT_SPACE": (_SPACE, True, False),
}
"""Ranges, whether they are negated, whether they hold for ASCII alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A pattern for the scan."""

    strict: str
    """With ``$`` as the end alone."""
    loose: str
    """With ``$`` as Python has it; equal to :attr:`strict` without one."""
    ascii_only: bool
    """Means the same as in Python only for texts of ASCII."""


def translate(pattern: str) -> Translated:
    """Translate a pattern of Python's ``re`` for a search.

    Raises:
        Unclaimed: it holds what has no certain translation; the message says what.
    """
    if len(pattern) > _LONGEST:
        raise Unclaimed("a long regular expression")
    plain = _ALLOWED_GROUPS.sub("(", pattern)
    for foreign in _FOREIGN:
        if foreign in plain:
            raise Unclaimed(f"{foreign!r} in a regular expression")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree: Any = import_module("re._parser").parse(pattern)
    except (re.error, RecursionError, OverflowError, Warning):
        raise Unclaimed("a regular expression that Python does not take as it is") from None
    if tree.state.flags & ~re.UNICODE:
        raise Unclaimed("flags in a regular expression")
    loose, strict = _Writer(_DOLLAR), _Writer(_STRICT_DOLLAR)
    return Translated(
        loose=loose.sequence(tree, 0, last=True, repeats=1),
        strict=strict.sequence(tree, 0, last=True, repeats=1),
        ascii_only=loose.ascii_only,
    )


@dataclass(slots=True)
class _Writer:
    dollar: str
    ascii_only: bool = False
    handlers: dict[str, Any] = field(default_factory=dict)

    def sequence(self, nodes: Any, depth: int, *, last: bool, repeats: int) -> str:
        """Write nodes one after the other; ``last``: nothing of the pattern follows them."""
        if depth > _DEEPEST:
            raise Unclaimed("a deeply nested regular expression")
        parts = list(nodes)
        return "".join(
            self._node(str(op), value, depth, last and at == len(parts) - 1, repeats)
            for at, (op, value) in enumerate(parts)
        )

    def _node(self, op: str, value: Any, depth: int, last: bool, repeats: int) -> str:  # noqa: FBT001
        if op == "LITERAL":
            return _code(value)
        if op == "NOT_LITERAL":
            return f"[^{_code(value)}]"
        if op == "ANY":
            return r"[^\n]"
        if op == "IN":
            return self._class(value)
        if op == "AT":
            return self._position(str(value), last)
        if op == "BRANCH":
            branches = [
                self.sequence(one, depth + 1, last=last, repeats=repeats) for one in value[1]
            ]
            return f"(?:{'|'.join(branches)})"
        if op == "SUBPATTERN" and not value[1] and not value[2]:
            return f"(?:{self.sequence(value[3], depth + 1, last=last, repeats=repeats)})"
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(value, depth, repeats)
        raise Unclaimed(f"{op.lower()} in a regular expression")

    def _repeat(self, value: Any, depth: int, repeats: int) -> str:
        least, most, body = int(value[0]), value[1], value[2]
        endless = str(most) == "MAXREPEAT"
        times = repeats * max(1, least, 0 if endless else int(most))
        if times > _MOST_REPEATS:
            raise Unclaimed("many repeats in a regular expression")
        inner = self.sequence(body, depth + 1, last=False, repeats=times)
        return f"(?:{inner}){{{least},{'' if endless else int(most)}}}"

    def _position(self, where: str, last: bool) -> str:  # noqa: FBT001
        if where in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return r"\A"
        if where == "AT_END_STRING":
            return r"\z"
        if where == "AT_END" and last:
            return self.dollar
        if where == "AT_BOUNDARY":
            self.ascii_only = True
            return r"(?-u:\b)"
        raise Unclaimed(f"{where.lower()} in a regular expression")

    def _class(self, items: Iterable[tuple[Any, Any]]) -> str:
        negated, parts = "", []
        for op, value in items:
            if str(op) == "NEGATE":
                negated = "^"
            elif str(op) == "LITERAL":
                parts.append(_code(value))
            elif str(op) == "RANGE":
                parts.append(f"{_code(value[0])}-{_code(value[1])}")
            else:
                ranges, inverse, ascii_only = _CLASSES[str(value)]
                self.ascii_only |= ascii_only
                parts.append(f"[^{ranges}]" if inverse else ranges)
        return f"[{negated}{''.join(parts)}]"


def _code(point: int) -> str:
    if 0xD800 <= point <= 0xDFFF:
        raise Unclaimed("a surrogate in a regular expression")
    return f"\\x{{{point:x}}}"
