"""What every match of a pattern contains: a cheap test before an expensive one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any, Final

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from re import _constants as constants  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]

__all__ = ["most_telling", "required_texts"]

_MOST: Final = 64
"""More alternatives than this cost as much to look for as the pattern itself."""
_SHORTEST: Final = 2
"""A single letter is in every text."""


def required_texts(pattern: re.Pattern[str]) -> tuple[tuple[str, ...], ...]:
    """Return what every match contains, in lower case, one after the other.

    Returns:
        Groups of texts: every match holds one text of each group, in the order of the groups
        and without overlap. Texts that are written without regard to case stand in lower case.
    """
    groups = _required(parser.parse(pattern.pattern, pattern.flags))
    return tuple(tuple(sorted(group)) for group in groups)


def most_telling(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the group whose presence says most: the one whose shortest text is longest."""
    return max(groups, key=lambda group: (min(map(len, group)), -len(group)), default=())


def _required(items: Iterable[Any]) -> list[frozenset[str]]:
    groups: list[frozenset[str]] = []
    run = ""
    for kind, value in items:
        if kind is constants.LITERAL:
            run += chr(value).lower()
            continue
        groups, run = groups + _of_run(run), ""
        groups += _of_part(kind, value)
    return groups + _of_run(run)


def _of_run(run: str) -> list[frozenset[str]]:
    return [frozenset({run})] if len(run) >= _SHORTEST or (run and not run.isalnum()) else []


def _of_part(kind: Any, value: Any) -> list[frozenset[str]]:
    if kind is constants.SUBPATTERN:
        return _required(value[3])
    if kind is constants.BRANCH:
        # Of a choice only one group can be kept: one text of each alternative.
        best = [_best(_required(branch)) for branch in value[1]]
        if any(one is None for one in best):
            return []
        together = frozenset[str]().union(*(one for one in best if one is not None))
        return [together] if len(together) <= _MOST else []
    if kind in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT):
        return _required(value[2]) if value[0] > 0 else []
    return []


def _best(groups: list[frozenset[str]]) -> frozenset[str] | None:
    chosen = most_telling([tuple(group) for group in groups])
    return frozenset(chosen) if chosen else None
