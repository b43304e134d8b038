"""What every part of a suite file must be: known keys, and values that mean what they say."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.suites.model import Link, closest, refusal, shown, spell
from sluicegate.stages.validation.suites.problems import Problems

__all__ = ["known_keys", "plain_values"]

_OLD_KEYS: Final = MappingProxyType(
    {
        "expectation_type": "type",
        "expectation_suite_name": "name",
        "ge_cloud_id": "id",
        "evaluation_parameters": "suite_parameters",
    }
)
"""Names before GX 1.0, which GX 1 refuses too."""

_MIGRATE: Final = (
    "GX before 1.0 wrote such files, and GX 1 does not read them: save the suite again with GX 1"
)
_MAX_DEPTH: Final = 100
"""Deepest nesting of kwargs: far more than any expectation uses, far less than would
overflow the stack of a library that walks them."""
_MAX_INTEGER: Final = 1 << 128
"""Integers of no data type reach it, and Python refuses to write far larger ones."""


def plain_values(value: Json, where: str, path: str) -> None:
    """Refuse values that mean more than they say, wherever they are.

    Raises:
        SuiteError: a suite parameter, an infinity, an integer beyond any type of data, or
            nesting that a library which walks the value would not survive.
    """
    pending: list[tuple[Json, Link, int]] = [(value, (None, path), 0)]
    while pending:
        item, at, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise refusal(where, path, f"nested at most {_MAX_DEPTH} deep", "deeper nesting")
        if isinstance(item, int | float) and not _plain_number(item):
            raise refusal(where, spell(at), "a finite number of at most 128 bits", "another")
        if isinstance(item, dict):
            if "$PARAMETER" in item:
                raise refusal(
                    where,
                    spell(at),
                    "a value",
                    "a suite parameter",
                    next_step="write the value into the suite: parameters would let a run, or "
                    "the clock, change the questions that a receipt vouches for",
                )
            pending += [(one, (at, f".{key}"), depth + 1) for key, one in item.items()]
        elif isinstance(item, list):
            pending += [(one, (at, f"[{i}]"), depth + 1) for i, one in enumerate(item)]


def _plain_number(value: int | float) -> bool:
    return math.isfinite(value) if isinstance(value, float) else abs(value) <= _MAX_INTEGER


def known_keys(
    value: Mapping[str, Json], known: Collection[str], where: str, path: str, problems: Problems
) -> None:
    """Note every key that nobody reads."""
    for key in value:
        if key in known:
            continue
        hint = closest(key, known)
        if _OLD_KEYS.get(key) in known:
            hint = f"the key is now {_OLD_KEYS[key]!r}. {_MIGRATE}"
        problems.add(
            refusal(
                where,
                path,
                "an object with known keys only",
                f"the key {shown(key)}",
                next_step=hint or f"known keys are {', '.join(known)}",
            )
        )
