"""What was found so far, in memory that does not grow with the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sluicegate.model import RowId
from sluicegate.text import Mark, TextRule

__all__ = ["MOST_ROWS", "Judge", "Tally"]

MOST_ROWS: Final = 100_000
"""Rows that the findings of a check name. If there are more, none is named: so much is no
matter of setting some rows aside, and the policy's quarantine becomes a block."""

_MOST_DETAILS: Final = 50
"""Different details of a kind that are counted one by one."""
_MOST_SAMPLES: Final = 5
_SAMPLE_LENGTH: Final = 80
_REMEMBERED: Final = 1 << 14
"""Texts whose marks are kept, so that repeated ones are judged once."""
_REMEMBERED_LENGTH: Final = 256
"""Characters of the longest text that is kept: 16 MB for all at most."""


@dataclass(slots=True, eq=False)
class Judge:
    """A rule that remembers what it said about texts that come again."""

    rule: TextRule
    _known: dict[str, tuple[Mark, ...]] = field(default_factory=dict)

    def marks(self, text: str) -> tuple[Mark, ...]:
        """Return what is wrong with a text."""
        if len(text) > _REMEMBERED_LENGTH:
            return self.rule.marks(text)
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[text] = self.rule.marks(text)
        return known


@dataclass(slots=True, eq=False, kw_only=True)
class _Kind:
    rows: list[RowId] = field(default_factory=list)
    row_count: int = 0
    marks: int = 0
    details: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)

    def note(self, mark: Mark, text: str, *, sample: bool) -> None:
        self.marks += 1
        if mark.detail in self.details or len(self.details) < _MOST_DETAILS:
            self.details[mark.detail] += 1
        if sample and len(self.samples) < _MOST_SAMPLES:
            end = mark.start + min(mark.length, _SAMPLE_LENGTH)
            self.samples.append(ascii(text[mark.start : end]))


@dataclass(slots=True, eq=False, kw_only=True)
class Tally:
    """What one rule found in one column."""

    rule: TextRule
    column: str
    samples: bool = False
    """Whether pieces of the data may be quoted."""
    examined: int = 0
    """Texts that were there to look at: neither missing nor empty."""
    row_count: int = 0
    """Rows in which something was found."""
    kinds: dict[str, _Kind] = field(default_factory=dict)

    def add(
        self, path: str, ordinal: int, found: Iterable[tuple[int, str, tuple[Mark, ...]]]
    ) -> None:
        """Take in what was found in one batch.

        Args:
            path: the batch's file.
            ordinal: of the batch's first row.
            found: row in the batch, text, its marks.
        """
        rows: dict[str, set[int]] = {}
        for row, text, marks in found:
            for mark in marks:
                rows.setdefault(mark.kind, set()).add(row)
                kind = self.kinds.setdefault(mark.kind, _Kind())
                kind.note(mark, text, sample=self.samples)
        self.row_count += len(set().union(*rows.values()))
        self._name_rows(path, ordinal, rows)

    def _name_rows(self, path: str, ordinal: int, rows: Mapping[str, set[int]]) -> None:
        for name, members in rows.items():
            kind = self.kinds[name]
            kind.row_count += len(members)
            if self.row_count <= MOST_ROWS:
                kind.rows.extend(RowId(path, ordinal + row) for row in sorted(members))
        if self.row_count > MOST_ROWS:
            for kind in self.kinds.values():
                kind.rows.clear()
