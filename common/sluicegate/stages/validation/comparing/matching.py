"""Which expectation of a new suite stands where one of the old suite stood."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from sluicegate.stages.validation.comparing.arguments import same
from sluicegate.stages.validation.suites.model import Expectation, Suite

__all__ = ["Pairs", "match"]

Pairs = tuple[list[tuple[Expectation, Expectation]], list[Expectation], list[Expectation]]
"""Pairs of old and new, then the old ones that are gone, then the new ones that came."""

_MOST_ALIKE: Final = 40
"""Most expectations of one type about one target that are compared each with each."""


def match(old: Suite, new: Suite) -> Pairs:
    """Pair the expectations of two suites: by id where the type is the same, else by likeness.

    Likeness needs the same type and target; of several, those with the most arguments in
    common are a pair, and of equals, those that stand nearest to each other.
    """
    pairs = _by_id(old, new)
    taken_old = {one.index for one, _ in pairs}
    taken_new = {other.index for _, other in pairs}
    groups: dict[tuple[str, str], tuple[list[Expectation], list[Expectation]]] = defaultdict(
        lambda: ([], [])
    )
    for side, suite, taken in ((0, old, taken_old), (1, new, taken_new)):
        for one in suite.expectations:
            if one.index not in taken:
                groups[one.type, one.target][side].append(one)
    gone, came = [], []
    for olds, news in groups.values():
        alike = _by_likeness(olds[:_MOST_ALIKE], news[:_MOST_ALIKE])
        pairs += alike
        paired = ({one.index for one, _ in alike}, {other.index for _, other in alike})
        gone += [one for one in olds if one.index not in paired[0]]
        came += [one for one in news if one.index not in paired[1]]
    pairs.sort(key=lambda pair: pair[0].index)
    return pairs, sorted(gone, key=_index), sorted(came, key=_index)


def _index(one: Expectation) -> int:
    return one.index


def _by_id(old: Suite, new: Suite) -> list[tuple[Expectation, Expectation]]:
    known = {one.id: one for one in new.expectations if one.id}
    return [
        (one, known[one.id])
        for one in old.expectations
        if one.id in known and known[one.id].type == one.type
    ]


def _by_likeness(
    olds: list[Expectation], news: list[Expectation]
) -> list[tuple[Expectation, Expectation]]:
    ranked = sorted(
        ((one, other) for one in olds for other in news),
        key=lambda pair: (
            -_common(*pair),
            abs(pair[0].index - pair[1].index),
            pair[0].index + pair[1].index,
        ),
    )
    pairs, left, right = [], set(), set()
    for one, other in ranked:
        if one.index not in left and other.index not in right:
            pairs.append((one, other))
            left.add(one.index)
            right.add(other.index)
    return pairs


def _common(one: Expectation, other: Expectation) -> int:
    equal = sum(same(one.kwargs.get(key), value) for key, value in other.kwargs.items())
    return equal + (one.severity == other.severity)
