"""What is learned about the table: columns, rows, keys, missing and repeated values."""

from __future__ import annotations

import re
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.learning.entries import Entry, chance, percent
from sluicegate.stages.validation.learning.options import Wishes
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile, What
from sluicegate.stages.validation.learning.texts import shape_of

__all__ = ["is_key", "null_entries", "repeat_entries", "table_entries"]

FEWEST_ROWS: Final = 100
"""A batch may have this many times fewer rows than the smallest reference: less is a file that
was cut off, or the wrong one."""

FEWEST_KEYS: Final = 100
"""Fewest different values that make a column look like a key: few can differ by chance."""

MOSTLY_NULL: Final = 0.9
"""A column with more missing values than this asks for none."""

MOSTLY_EQUAL: Final = 0.5
"""A table more of whose rows are equal to another has too few columns to tell copies."""

MOST_COLUMNS: Final = 200
"""Most columns over which repeated rows are counted: with more, no two rows are equal unless
one was copied, and comparing them costs more than it tells."""

_KEY_WORDS: Final = frozenset({"id", "key", "uuid", "guid", "index", "idx", "pk"})
"""Last word of the name of a column that tells rows apart."""
_WORDS: Final = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def table_entries(profile: Profile, wishes: Wishes) -> list[Entry]:
    """Return what is expected of columns, and of the number of rows."""
    fewest = max(min(profile.parts) // FEWEST_ROWS, 1)
    rows = Entry(
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": fewest},
        severity=Severity.CRITICAL,
        why=f"The smallest reference has {min(profile.parts):,} rows; a batch with less than a "
        "hundredth of that was cut off. There is no upper bound: data grows.",
    )
    return [_schema(profile, plain=wishes.plain), rows]


def _schema(profile: Profile, *, plain: bool) -> Entry:
    count = len(profile.columns)
    if plain:
        return Entry(
            type="expect_table_columns_to_match_ordered_list",
            kwargs={"column_list": list(profile.columns)},
            severity=Severity.CRITICAL,
            why=f"The reference has these {count} columns in this order.",
        )
    columns: list[Json] = [
        {"name": one.name, "type": one.arrow, "nullable": one.nullable}
        for one in profile.columns.values()
    ]
    return Entry(
        type="expect_table_schema_to_equal",
        kwargs={"columns": columns, "ordered": True},
        severity=Severity.CRITICAL,
        why=f"The reference has these {count} columns in this order, with these types.",
    )


def is_key(column: ColumnProfile, profile: Profile, wishes: Wishes) -> bool:
    """Whether the values of a column tell rows apart, by the user's word or by their looks.

    That no value repeats is not enough: amounts do that, too, until they do not. A key is
    also called like one, or looks like a UUID.
    """
    if wishes.keys:
        return column.name in wishes.keys
    if column.what not in (What.NUMBER, What.TEXT) or column.nulls or column.repeats.extra:
        return False
    if column.repeats.rows < FEWEST_KEYS:
        return False
    shape = shape_of(column, profile) if column.what is What.TEXT else None
    words = _WORDS.findall(column.name)
    called = bool(words) and words[-1].lower() in _KEY_WORDS
    return called or (shape is not None and "UUID" in shape.name)


def null_entries(column: ColumnProfile, profile: Profile, *, key: bool) -> list[Entry]:
    """Return what is expected of missing values, and of keys that they be unique."""
    rows = profile.rows
    allowed = chance(column.nulls, rows) if column.nulls else 0.0
    if column.nulls:
        allowed = max(allowed, _worst_part(column, rows))
    if allowed > MOSTLY_NULL:
        return []
    kwargs: dict[str, Json] = {"column": column.name}
    why = f"None of {rows:,} values is missing."
    if column.nulls:
        kwargs["mostly"] = int((1 - allowed) * 10_000) / 10_000
        why = (
            f"{column.nulls:,} of {rows:,} values are missing ({percent(column.nulls, rows)}). "
            "With chance, and as much as parts of the reference differ, a clean batch has up to "
            f"{percent(allowed, 1)}."
        )
    severity = Severity.CRITICAL if key else Severity.WARNING
    kind = "expect_column_values_to_not_be_null"
    return [Entry(type=kind, kwargs=kwargs, severity=severity, why=why)]


def _worst_part(column: ColumnProfile, rows: int) -> float:
    """Return the greatest share of missing values that a tenth of the reference comes to."""
    worst, size, nulls = 0.0, 0, 0
    for count, missing in column.stretches:
        size, nulls = size + count, nulls + missing
        if size >= rows / 10:
            worst = max(worst, chance(nulls, size))
            size = nulls = 0
    return worst


def repeat_entries(profile: Profile, wishes: Wishes) -> list[Entry]:
    """Return that keys are unique, and how many rows may be copies of another."""
    entries = [
        _unique(column, profile, wishes)
        for column in profile.columns.values()
        if is_key(column, profile, wishes) and len(wishes.keys) < 2
    ]
    if len(wishes.keys) > 1:
        entries.append(_compound(profile, wishes))
    if not wishes.plain and not entries and 1 < len(profile.columns) <= MOST_COLUMNS:
        entries += _copies(profile)
    return entries


def _unique(column: ColumnProfile, profile: Profile, wishes: Wishes) -> Entry:
    rows = column.repeats.rows or profile.rows
    repeated = column.repeats.repeated
    why = "You say that it is a key." if wishes.keys else "It is called, or looks, like a key."
    why += f" No value came twice among {rows:,} that were counted."
    if repeated:
        why = (
            f"You say that it is a key, but {repeated:,} of {rows:,} rows that were counted share "
            "their value with another: look at them."
        )
    return Entry(
        type="expect_column_values_to_be_unique",
        kwargs={"column": column.name},
        severity=Severity.CRITICAL,
        why=why,
    )


def _compound(profile: Profile, wishes: Wishes) -> Entry:
    repeated = profile.key.repeated
    why = f"You say that they are a key. {profile.key.rows:,} rows were counted"
    why += f": {repeated:,} are not told apart, look at them." if repeated else ", all different."
    return Entry(
        type="expect_compound_columns_to_be_unique",
        kwargs={"column_list": list(wishes.keys)},
        severity=Severity.CRITICAL,
        why=why,
    )


def _copies(profile: Profile) -> list[Entry]:
    rows, equal = profile.whole_rows.rows, profile.whole_rows.repeated
    most = round(chance(equal, rows) + 0.01, 4)
    if most >= MOSTLY_EQUAL:
        return []
    return [
        Entry(
            type="expect_column_duplicate_share_to_be_less_than",
            kwargs={"column_list": list(profile.columns), "max_share": most},
            severity=Severity.WARNING,
            why=f"{equal:,} of {rows:,} rows ({percent(equal, rows)}) are equal to another in all "
            "columns; one in a hundred more, and chance, is allowed. Copies weigh more in "
            "training, and leak between training and test.",
        )
    ]
