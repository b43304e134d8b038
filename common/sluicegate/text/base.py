"""What a rule about text is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from sluicegate.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Mark", "TextRule", "check_kinds", "merged", "wanted"]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that a rule found in a text."""

    kind: str
    """What it is, snake_case, from a closed list of the rule's own."""
    start: int
    """Where it begins, in code points."""
    length: int
    """How long it is, in code points."""
    detail: str = ""
    """More about it, for people: code points by name, the kind of key. Never a data value."""


class TextRule(Protocol):
    """One question about a text. A frozen dataclass: its fields are its configuration."""

    name: ClassVar[str]
    """snake_case, stable: check ids, expectation types and configuration use it."""
    about: ClassVar[str]
    """What it finds, as a phrase: "characters that are not shown"."""
    known_kinds: ClassVar[tuple[str, ...]]
    """Every kind that a mark of this rule can have, in the order of reports."""

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return, as a boolean expression, every text that :meth:`marks` could find fault with.

        May let through too much, never too little; linear in the length of the text, so that
        ten million short rows take seconds. Null stays null.
        """
        ...

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return what is wrong with one text, in order; nothing for a clean one."""
        ...


def check_kinds(rule: str, kinds: Collection[str], known: Collection[str]) -> None:
    """Refuse kinds that a rule does not know: a misspelt one would never find anything.

    Raises:
        ConfigurationError: there is one.
    """
    for kind in kinds:
        if kind not in known:
            raise ConfigurationError(
                f"{rule} knows no kind {kind!r}", next_step=f"kinds: {', '.join(known)}"
            )


def wanted(marks: list[Mark], kinds: Collection[str]) -> tuple[Mark, ...]:
    """Return the marks of some kinds, in the order of the text; all of them if none is named."""
    chosen = [mark for mark in marks if not kinds or mark.kind in kinds]
    return tuple(sorted(chosen, key=lambda mark: (mark.start, mark.length, mark.kind)))


def merged(marks: list[Mark]) -> list[Mark]:
    """Return the marks without those that overlap an earlier one of the list."""
    kept: list[Mark] = []
    spans: list[tuple[int, int]] = []
    """Where the marks that are kept lie, in order: none overlaps another."""
    for mark in marks:
        end = mark.start + mark.length
        place = bisect_left(spans, (end, 0))
        if place and spans[place - 1][1] > mark.start:
            continue
        spans.insert(place, (mark.start, end))
        kept.append(mark)
    return kept
