"""What is learned about columns with few different values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.learning.entries import Entry, chance, percent
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile, What

__all__ = ["Categories", "categories_of", "category_entries"]

MOST: Final = 200
"""Most categories that a reviewer would read."""

PART: Final = 0.05
"""Most different values, as a share of the rows, of a column that is called categorical."""

ONCE_AT_MOST: Final = 0.015
"""Largest share of rows whose value comes only once: with more, new ones are to be expected,
and a frozen set would alarm about clean data."""

OFTEN: Final = 2
"""A category that comes this often is believed. One that comes once may be planted, or may be
a slip; nothing in the data tells which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """The values of a categorical column."""

    counts: Mapping[Any, int]
    """Those that are believed, in the order of the suite."""
    once: int
    """Values that came only once, and were left out."""
    rows: int
    """Rows with a value."""


def categories_of(column: ColumnProfile, profile: Profile, *, label: bool) -> Categories | None:
    """Return the categories of a column, or None if it is not categorical.

    Args:
        column: the column.
        profile: the reference.
        label: the user says that it is.
    """
    domain, rows = column.domain, column.present(profile.rows)
    if not domain.closed or not rows or not domain.counts:
        return None
    believed = {one: count for one, count in domain.counts.items() if count >= OFTEN}
    once = len(domain.counts) - len(believed) + domain.forgotten
    few = len(believed) <= MOST and (len(believed) <= PART * rows or label)
    if not believed or not few or once > max(ONCE_AT_MOST * rows, 1):
        return None
    ordered = sorted(believed.items(), key=lambda item: (str(type(item[0])), item[0]))
    return Categories(counts=dict(ordered), once=once, rows=rows)


def category_entries(
    column: ColumnProfile, profile: Profile, *, label: bool, plain: bool
) -> list[Entry]:
    """Return the expectation that freezes a categorical column's values."""
    if column.what is What.FLAG:
        return []  # its type allows nothing else
    found = categories_of(column, profile, label=label)
    if found is None:
        return []
    kwargs: dict[str, Json] = {
        "column": column.name,
        "value_set" if plain else "categories": list(found.counts),
    }
    if found.once:
        kwargs["mostly"] = _mostly(chance(found.once, found.rows))
    return [
        Entry(
            type="expect_column_values_to_be_in_set"
            if plain
            else "expect_column_categories_to_be_frozen",
            kwargs=kwargs,
            severity=Severity.WARNING,
            why=_why(found),
        )
    ]


def _mostly(allowed: float) -> float:
    """Return the share that must be as expected, of four digits."""
    return max(int((1 - allowed) * 10_000) / 10_000, 0.0001)


def _why(found: Categories) -> str:
    text = f"{found.rows:,} values were {len(found.counts):,} different ones, each at least twice."
    rare = sum(count * 1000 <= found.rows for count in found.counts.values())
    if rare:
        text += f" {rare:,} of them come in at most one row of a thousand: see whether they belong."
    if found.once:
        text += (
            f" {found.once:,} more came only once ({percent(found.once, found.rows)} of the "
            "rows). Such a value may be planted or a slip, so none of them is in the set; so "
            "many more are allowed for by mostly. Add those that are genuine."
        )
    return text
