"""What is learned about texts: length, shape, and that they hold nothing they should not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.learning.entries import Entry, percent
from sluicegate.stages.validation.learning.numbers import bounds_of
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile
from sluicegate.stages.validation.learning.shapes import SHAPES, Shape

__all__ = ["shape_of", "text_entries"]

STRAY: Final = 0.01
"""Largest share of texts that may lack a shape which no column has by chance."""

FIXED: Final = 0.9
"""Share of texts of one length that makes it a fixed length; fewer may just be the longest yet,
such as numbers that count up."""

FEWEST: Final = 100
"""Fewest texts from which a shape is learned."""

PLANTED: Final = 0.015
"""Largest share of texts with a fault that is taken for planted: a rule that more of the
trusted texts break is no rule for this column."""

_RULES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "hidden_characters": (
            "expect_column_values_to_have_no_hidden_characters",
            "characters that are not shown",
        ),
        "mixed_scripts": (
            "expect_column_values_to_have_no_mixed_scripts",
            "words that mix scripts which look alike",
        ),
        "spreadsheet_formulas": (
            "expect_column_values_to_have_no_spreadsheet_formulas",
            "cells that a spreadsheet would calculate",
        ),
        "active_markup": (
            "expect_column_values_to_have_no_active_markup",
            "markup that a browser would execute",
        ),
        "secrets": ("expect_column_values_to_have_no_secrets", "keys, tokens or passwords"),
        "personal_data": (
            "expect_column_values_to_have_no_personal_data",
            "addresses and numbers of people",
        ),
    }
)

_PLAIN: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "hidden_characters": (
            "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u200b\\u202a-\\u202e\\u2060-\\u2069]",
            "control characters, zero-width space, changes of direction",
        ),
        "spreadsheet_formulas": (
            "^[=@\\t\\r]",
            "first characters that make a spreadsheet calculate",
        ),
        "active_markup": ("<[sS][cC][rR][iI][pP][tT]", "script elements"),
    }
)
"""What a pattern can say of the rules: much less."""


def text_entries(
    column: ColumnProfile, profile: Profile, *, categorical: bool, plain: bool
) -> list[Entry]:
    """Return the expectations about the texts of a column.

    Args:
        column: the column.
        profile: the reference.
        categorical: its values are listed already, so that length and shape say nothing new.
        plain: only types of Great Expectations itself.
    """
    if categorical:
        return []
    shape = shape_of(column, profile)
    entries = [] if shape is None else [_shape(column, profile, shape)]
    if shape is None or not shape.telling:
        entries += _length(column, profile)
        entries += _hygiene(column, profile, plain=plain)
    return entries


def shape_of(column: ColumnProfile, profile: Profile) -> Shape | None:
    """Return the first shape that the texts of a column have, or None."""
    present = column.present(profile.rows)
    if present < FEWEST:
        return None
    for shape, count in zip(SHAPES, column.shapes, strict=False):
        if count == present or (shape.telling and count >= (1 - STRAY) * present):
            return shape
    return None


def _shape(column: ColumnProfile, profile: Profile, shape: Shape) -> Entry:
    present = column.present(profile.rows)
    stray = present - column.shapes[SHAPES.index(shape)]
    why = f"Each of {present:,} texts looks like {shape.name}."
    if stray:
        why = (
            f"{present - stray:,} of {present:,} texts look like {shape.name}. No column does by "
            f"chance, so the other {stray:,} ({percent(stray, present)}) are faults, or planted: "
            "look at them."
        )
    return Entry(
        type="expect_column_values_to_match_regex",
        kwargs={"column": column.name, "regex": shape.regex},
        severity=Severity.WARNING,
        why=why,
    )


def _length(column: ColumnProfile, profile: Profile) -> list[Entry]:
    found = bounds_of(column, profile, pile=FIXED)
    if found is None:
        return []
    least = max(math.ceil(found.below), 0)
    most = math.floor(found.above)
    why = (
        f"99.8 % of the texts have {found.low:.6g} to {found.high:.6g} characters; by the shape of "
        f"each side, a clean batch has none with fewer than {least:,} or more than {most:,}."
    )
    if found.trimmed:
        why += f" {found.trimmed:,} texts were left out as too far away: look at them."
    kwargs: dict[str, Json] = {"column": column.name, "max_value": most}
    if least:
        kwargs["min_value"] = least
    return [
        Entry(
            type="expect_column_value_lengths_to_be_between",
            kwargs=kwargs,
            severity=Severity.WARNING,
            why=why,
        )
    ]


def _hygiene(column: ColumnProfile, profile: Profile, *, plain: bool) -> list[Entry]:
    present = column.present(profile.rows)
    entries = []
    for name, (kind, words) in _RULES.items():
        marked = column.marked.get(name, 0)
        # Personal data is what many a data set is about: even a few say that it belongs.
        most = 0.0 if name == "personal_data" else PLANTED * present
        if not present or marked > most or (plain and name not in _PLAIN):
            continue
        kwargs: dict[str, Json] = {"column": column.name}
        if plain:
            kind, words = "expect_column_values_to_not_match_regex", _PLAIN[name][1]
            kwargs["regex"] = _PLAIN[name][0]
        why = f"None of {present:,} texts has {words}."
        if marked:
            why = (
                f"{marked:,} of {present:,} texts ({percent(marked, present)}) have {words}. So "
                "few may be planted: look at them, and remove this if they belong."
            )
        entries.append(
            Entry(type=kind, kwargs=kwargs, severity=Severity.WARNING, why=why, note=name)
        )
    return entries
