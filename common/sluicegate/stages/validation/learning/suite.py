"""A profile to a suite, and a suite to the bytes of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from sluicegate.canonical import Json
from sluicegate.errors import SubjectError
from sluicegate.stages.validation.learning.categories import categories_of, category_entries
from sluicegate.stages.validation.learning.drift import drift_entries, label_entries
from sluicegate.stages.validation.learning.entries import Entry
from sluicegate.stages.validation.learning.numbers import number_entries
from sluicegate.stages.validation.learning.options import Wishes
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile, What
from sluicegate.stages.validation.learning.reading import read_profile
from sluicegate.stages.validation.learning.table import (
    is_key,
    null_entries,
    repeat_entries,
    table_entries,
)
from sluicegate.stages.validation.learning.texts import shape_of, text_entries
from sluicegate.stages.validation.learning.times import time_entries
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import Snapshot

__all__ = ["learn_suite", "suite_json", "suite_yaml"]

GX_VERSION: Final = "1.24.1"
"""The version of Great Expectations whose format this is."""


def learn_suite(
    snapshots: Sequence[Snapshot], wishes: Wishes, *, progress: Progress = no_progress
) -> dict[str, Json]:
    """Return a suite that the references, and clean data of the same source, pass.

    The same bytes and wishes give the same suite.

    Args:
        snapshots: one or several references.
        wishes: what the user says about them.
        progress: told how many references are read.

    Raises:
        SubjectError: as :func:`~sluicegate.stages.validation.learning.reading.read_profile`.
        ConfigurationError: a wish names a column that is not there.
        MissingExtraError: a library is missing.
    """
    if not snapshots:
        raise SubjectError("there is no reference", next_step="name at least one file")
    profile = read_profile(snapshots, wishes, progress=progress)
    entries = [*table_entries(profile, wishes), *repeat_entries(profile, wishes)]
    for column in profile.columns.values():
        entries += _about(column, profile, wishes)
    return {
        "name": wishes.name,
        "expectations": [one.to_json(wishes.severity) for one in entries],
        "meta": {
            "great_expectations_version": GX_VERSION,
            "sluicegate": {
                "learned_from": [str(one.digest) for one in snapshots],
                "rows": profile.rows,
                "why": "Learned from data that somebody trusts. Read every reason before you "
                "approve this file: what was planted in that data may be in here.",
            },
        },
    }


def _about(column: ColumnProfile, profile: Profile, wishes: Wishes) -> list[Entry]:
    label, key = column.name == wishes.label, is_key(column, profile, wishes)
    entries = null_entries(column, profile, key=key or label)
    if label and column.what is not What.OTHER:
        entries += category_entries(column, profile, label=True, plain=wishes.plain)
        shares = label_entries(column, profile, plain=wishes.plain)
        if shares:
            return entries + shares
    categorical = not key and _is_categorical(column, profile)
    if column.what is What.NUMBER and not key:
        entries += number_entries(column, profile, plain=wishes.plain)
        entries += [] if wishes.plain else drift_entries(column, profile)
    elif column.what is What.TEXT:
        if categorical and not label:
            entries += category_entries(column, profile, label=False, plain=wishes.plain)
        entries += text_entries(column, profile, categorical=categorical, plain=wishes.plain)
    elif column.what is What.TIME and not key:
        entries += time_entries(column, profile, wishes)
    return entries


def _is_categorical(column: ColumnProfile, profile: Profile) -> bool:
    """Whether a column's values are listed; few days or addresses are still no categories."""
    shape = shape_of(column, profile) if column.what is What.TEXT else None
    if shape is not None and shape.telling:
        return False
    return categories_of(column, profile, label=False) is not None


def suite_json(suite: Mapping[str, Json]) -> bytes:
    """Return the suite as JSON for people: indented, ASCII, so that nothing in it is hidden."""
    return (json.dumps(suite, indent=2, ensure_ascii=True) + "\n").encode()


def suite_yaml(suite: Mapping[str, Json]) -> bytes:
    """Return the suite as YAML, each reason as a comment above its expectation."""
    import yaml

    top = {key: value for key, value in suite.items() if key != "expectations"}
    lines = [_dump(yaml, top), "expectations:\n"]
    for entry in suite["expectations"]:
        why = entry["meta"]["sluicegate"]["why"]
        lines.append("\n" + "".join(f"  # {line}\n" for line in _wrapped(why)))
        body = _dump(yaml, [entry])
        lines.append("".join(f"  {line}\n" for line in body.splitlines()))
    return "".join(lines).encode()


def _dump(yaml: object, value: Json) -> str:
    text: str = yaml.safe_dump(  # type: ignore[attr-defined]
        value, sort_keys=False, allow_unicode=False, width=10_000
    )
    return text


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width=92)
