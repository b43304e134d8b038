"""What is learned about numbers: the range that a few planted values cannot widen."""

from __future__ import annotations

import math
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.learning.borders import PILE
from sluicegate.stages.validation.learning.entries import Entry, outward, percent
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile
from sluicegate.stages.validation.learning.tails import Bounds, robust_bounds

__all__ = ["bounds_of", "number_entries"]

ROBUST_RANGE: Final = "expect_column_values_to_be_in_robust_range"
BETWEEN: Final = "expect_column_values_to_be_between"

LOPSIDED: Final = 1.25
"""A side whose own bound is this many times nearer than the common margin gets it in words of
its own: one margin serves both sides of a robust range."""

FEWEST: Final = 20
"""Fewest values from which a range is learned."""


def bounds_of(column: ColumnProfile, profile: Profile, *, pile: float = PILE) -> Bounds | None:
    """Return the robust bounds of a sampled column; None for one with too few values.

    Args:
        column: the column.
        profile: the reference.
        pile: as for :func:`~sluicegate.stages.validation.learning.tails.robust_bounds`.
    """
    values = profile.values(column.name)
    if len(values) < FEWEST:
        return None
    return robust_bounds(values, integers=column.whole, pile=pile)


def number_entries(column: ColumnProfile, profile: Profile, *, plain: bool) -> list[Entry]:
    """Return the expectations about the values of a numeric column.

    Args:
        column: the column.
        profile: the reference.
        plain: only types of Great Expectations itself.
    """
    found = bounds_of(column, profile)
    if found is None:
        return []
    below, above = _written(found.below, column, up=False), _written(found.above, column, up=True)
    why = _why(found, column, profile, below, above)
    if plain:
        return [_between(column, below, above, why)]
    low, high = outward(found.low, up=False), outward(found.high, up=True)
    if not high > low:
        low, high = float(below), float(above)
    span = high - low
    rooms = (max(low - below, 0.0), max(above - high, 0.0))
    margin = math.ceil(100 * max(rooms) / span) / 100 if span else 0.0
    entry = Entry(
        type=ROBUST_RANGE,
        kwargs={"column": column.name, "low": low, "high": high, "margin": margin},
        severity=Severity.WARNING,
        why=why,
    )
    return [entry, *_lopsided(column, found, (below, above), margin * span, (low, high))]


def _lopsided(
    column: ColumnProfile,
    found: Bounds,
    bounds: tuple[float, float],
    room: float,
    quantiles: tuple[float, float],
) -> list[Entry]:
    """Return the nearer bound of a column whose sides reach differently far."""
    below, above = bounds
    low_room, high_room = quantiles[0] - below, above - quantiles[1]
    low = below if room > LOPSIDED * max(low_room, 0.0) else None
    high = above if room > LOPSIDED * max(high_room, 0.0) else None
    if low is None and high is None:
        return []
    sides = [
        f"{name} is {bound:.6g}" + (", where the column stops" if border else "")
        for name, bound, border in (
            ("the least", low, found.border_low),
            ("the greatest", high, found.border_high),
        )
        if bound is not None
    ]
    why = f"The margin of the robust range serves its farther side; on the other, {sides[0]}."
    if len(sides) > 1:
        why = f"Nothing lies beyond: {' and '.join(sides)}."
    return [_between(column, low, high, why)]


def _between(column: ColumnProfile, low: float | None, high: float | None, why: str) -> Entry:
    kwargs: dict[str, Json] = {"column": column.name}
    if low is not None:
        kwargs["min_value"] = low
    if high is not None:
        kwargs["max_value"] = high
    return Entry(type=BETWEEN, kwargs=kwargs, severity=Severity.WARNING, why=why)


def _written(value: float, column: ColumnProfile, *, up: bool) -> float:
    """Return a bound with six digits; whole where the column's type is."""
    rounded = outward(value, up=up)
    if not column.integers:
        return rounded
    return math.floor(rounded) if up else math.ceil(rounded)


def _why(found: Bounds, column: ColumnProfile, profile: Profile, below: float, above: float) -> str:
    values = len(profile.values(column.name))
    seen = "" if profile.complete else " drawn by hash"
    text = (
        f"Of {values:,} values{seen}, 99.8 % lie between {found.low:.6g} and {found.high:.6g}. "
        f"By the shape of each side, a clean batch has none below {below:.6g} or above "
        f"{above:.6g}."
    )
    for count, side in ((found.trimmed_low, "below"), (found.trimmed_high, "above")):
        if count:
            text += (
                f" {count:,} ({percent(count, values)}) lay {side} and were left out, since so "
                "few and so far away may be planted: look at them, and widen the bound if they "
                "are genuine."
            )
    if found.border_low:
        text += f" The column stops at {below:.6g} by its nature."
    if found.border_high:
        text += f" The column stops at {above:.6g} by its nature."
    if column.infinite:
        text += f" {column.infinite:,} infinite values were left out."
    return text
