"""Shapes of texts: what identifiers, dates and addresses look like.

A shape is learned only if practically every text has it. All are linear-time patterns that
Python and polars read alike, anchored at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SHAPES", "Shape", "matches"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape."""

    name: str
    """In words, after "looks like"."""
    regex: str
    telling: bool
    """No column has it by chance: texts without it are faults, even if they are a few."""


SHAPES: Final = (
    Shape(
        "a UUID",
        "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
        telling=True,
    ),
    Shape(
        "a moment (ISO 8601)",
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
        "(Z|[+-][0-9]{2}:?[0-9]{2})?$",
        telling=True,
    ),
    Shape("a date (ISO 8601)", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", telling=True),
    Shape(
        "an e-mail address",
        "^[A-Za-z0-9._%+'-]{1,64}@([A-Za-z0-9-]{1,63}[.]){1,8}[A-Za-z]{2,63}$",
        telling=True,
    ),
    Shape("an IPv4 address", "^([0-9]{1,3}[.]){3}[0-9]{1,3}$", telling=True),
    Shape("an https address", "^https://[^\\t-\\r\\x1c-\\x20]{1,2000}$", telling=True),
    Shape("a SHA-256 digest", "^[0-9a-fA-F]{64}$", telling=True),
    Shape("an MD5 digest", "^[0-9a-fA-F]{32}$", telling=True),
    Shape("digits", "^[0-9]+$", telling=False),
    Shape("a decimal number", "^-?[0-9]+[.][0-9]+$", telling=False),
    Shape("capital letters, digits, - and _", "^[A-Z0-9_-]+$", telling=False),
    Shape("small letters, digits, - and _", "^[a-z0-9_-]+$", telling=False),
    Shape("letters, digits, - and _", "^[A-Za-z0-9_-]+$", telling=False),
)
"""From the most to the least telling: a column has the first that fits."""


def matches(text: pl.Expr) -> list[pl.Expr]:
    """Return for each shape how many texts of a batch have it."""
    return [
        text.str.contains(shape.regex).sum().alias(f"shape {at}") for at, shape in enumerate(SHAPES)
    ]
