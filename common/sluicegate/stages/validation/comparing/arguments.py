"""Two values of one argument: does the second ask less, more, or something else?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.comparing.changes import Effect
from sluicegate.stages.validation.comparing.directions import Direction, direction_of

__all__ = ["Difference", "complete", "differences", "same", "shown"]

Difference = tuple[Effect, str]
"""What it does, and what it is."""

_SHOWN: Final = 60
_ROBUST: Final = ("low", "high", "margin")


def same(old: Json, new: Json) -> bool:
    """Whether two values are the same JSON: 1 is 1.0, and neither is true."""
    return _key(old) == _key(new)


def _key(value: Json) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value


def shown(value: Json) -> str:
    """Return a value for people, cut if it is long."""
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def complete(kind: str, kwargs: Mapping[str, Json]) -> dict[str, Json]:
    """Return arguments with the defaults of what is left out, and without nulls."""
    return {key: one for key, one in {**_defaults(kind), **kwargs}.items() if one is not None}


def _defaults(kind: str) -> Mapping[str, Json]:
    from sluicegate.stages.validation.expectations import SPECS
    from sluicegate.stages.validation.suites.catalogue import CATALOGUE, arguments_of

    if kind in SPECS:
        return {one.name: one.default for one in SPECS[kind].arguments}
    if kind in CATALOGUE:
        return {name: one.default for name, one in arguments_of(kind).items()}
    return {}


def differences(kind: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> list[Difference]:
    """Return how the arguments of one expectation changed.

    Args:
        kind: its type.
        old: arguments before, without the row condition.
        new: arguments after.
    """
    before, after = complete(kind, old), complete(kind, new)
    found: list[Difference] = []
    names = [name for name in sorted({*before, *after}) if not _equal(name, before, after)]
    if any(direction_of(kind, name) is Direction.ROBUST for name in names):
        found += _robust(before, after)
        names = [name for name in names if name not in _ROBUST]
    for name in names:
        direction = _settled(kind, name, before, after)
        for effect, what in _COMPARE[direction](before.get(name), after.get(name)):
            found.append((effect, f"{name} {what}"))
    return found


def _equal(name: str, before: Mapping[str, Json], after: Mapping[str, Json]) -> bool:
    return same(before.get(name), after.get(name))


def _settled(
    kind: str, name: str, before: Mapping[str, Json], after: Mapping[str, Json]
) -> Direction:
    """Return the direction of an argument whose meaning may depend on another one."""
    direction = direction_of(kind, name)
    if direction is Direction.PATTERNS:
        if not _equal("match_on", before, after):
            return Direction.NONE
        return Direction.MORE if before.get("match_on") == "all" else Direction.FEWER
    both = before.get("all_present") or after.get("all_present")
    if name == "categories" and direction is Direction.FEWER and both:
        return Direction.NONE  # each category is allowed, and demanded
    return direction


def _none(old: Json, new: Json) -> Iterator[Difference]:
    yield Effect.UNCLEAR, f"changed from {shown(old)} to {shown(new)}; that cannot be compared"


def _given(old: Json, new: Json) -> Iterator[Difference]:
    if old is None:
        yield Effect.STRONGER, f"added: {shown(new)}"
    elif new is None:
        yield Effect.WEAKER, f"removed; it was {shown(old)}"
    else:
        yield from _none(old, new)


def _higher(old: Json, new: Json) -> Iterator[Difference]:
    yield from _bound(old, new, higher=True)


def _lower(old: Json, new: Json) -> Iterator[Difference]:
    yield from _bound(old, new, higher=False)


def _bound(old: Json, new: Json, *, higher: bool) -> Iterator[Difference]:
    if old is None or new is None:
        yield from _given(old, new)
        return
    before, after = _ordinal(old), _ordinal(new)
    if before is None or after is None or type(before) is not type(after):
        yield from _none(old, new)
        return
    if before == after:
        return
    grew = bool(after > before)
    effect = Effect.STRONGER if grew is higher else Effect.WEAKER
    yield effect, f"{'raised' if grew else 'lowered'} from {shown(old)} to {shown(new)}"


def _ordinal(value: Json) -> Any:
    """Return what a bound compares as: a number exactly, a moment, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        from fractions import Fraction

        return Fraction(value)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _fewer(old: Json, new: Json) -> Iterator[Difference]:
    yield from _set(old, new, grown=Effect.WEAKER, shrunk=Effect.STRONGER)


def _more(old: Json, new: Json) -> Iterator[Difference]:
    yield from _set(old, new, grown=Effect.STRONGER, shrunk=Effect.WEAKER)


def _more_or_all(old: Json, new: Json) -> Iterator[Difference]:
    if old is None:
        yield Effect.WEAKER, f"was everything, and is {shown(new)}"
    elif new is None:
        yield Effect.STRONGER, f"was {shown(old)}, and is everything"
    else:
        yield from _more(old, new)


def _set(old: Json, new: Json, *, grown: Effect, shrunk: Effect) -> Iterator[Difference]:
    if not isinstance(old, list) or not isinstance(new, list):
        yield from _given(old, new)
        return
    before = {_key(one): one for one in old}
    after = {_key(one): one for one in new}
    added = [after[key] for key in sorted(after.keys() - before.keys())]
    gone = [before[key] for key in sorted(before.keys() - after.keys())]
    if added:
        yield grown, f"has {len(added)} more: {shown(added)}"
    if gone:
        yield shrunk, f"has {len(gone)} fewer: {shown(gone)}"


def _yes(old: Json, new: Json) -> Iterator[Difference]:
    yield from _flag(old, new, strict=True)


def _no(old: Json, new: Json) -> Iterator[Difference]:
    yield from _flag(old, new, strict=False)


def _flag(old: Json, new: Json, *, strict: bool) -> Iterator[Difference]:
    before, after = bool(old) is strict, bool(new) is strict
    if before != after:
        effect = Effect.STRONGER if after else Effect.WEAKER
        yield effect, f"changed from {shown(old)} to {shown(new)}"


def _all(old: Json, new: Json) -> Iterator[Difference]:
    if {old, new} != {"any", "all"}:
        yield from _none(old, new)
        return
    effect = Effect.STRONGER if new == "all" else Effect.WEAKER
    yield effect, f"changed from {shown(old)} to {shown(new)}"


def _ranges(old: Json, new: Json) -> Iterator[Difference]:
    """Compare ranges of the same quantiles; other quantiles are another question."""
    try:
        quantiles = same(old["quantiles"], new["quantiles"])
        pairs = list(zip(old["value_ranges"], new["value_ranges"], strict=True))
        sides = [(pair[0][side], pair[1][side]) for side in (0, 1) for pair in pairs]
    except (TypeError, KeyError, IndexError, ValueError):
        yield from _none(old, new)
        return
    if not quantiles:
        yield from _none(old, new)
        return
    for at, (before, after) in enumerate(sides):
        if not same(before, after):
            side = "low" if at < len(pairs) else "high"
            for effect, what in _bound(before, after, higher=side == "low"):
                yield effect, f"[{at % len(pairs)}] {side} {what}"


def _schema(old: Json, new: Json) -> Iterator[Difference]:
    """Compare nullability where names, order and types stay; all else is another table."""
    try:
        before = [(one["name"], one["type"]) for one in old]
        after = [(one["name"], one["type"]) for one in new]
        nullable = [
            (a["name"], a.get("nullable", True), b.get("nullable", True))
            for a, b in zip(old, new, strict=False)
        ]
    except (TypeError, KeyError, AttributeError):
        yield from _none(old, new)
        return
    if before != after:
        yield from _none(old, new)
        return
    for name, was, now in nullable:
        if bool(was) != bool(now):
            effect = Effect.WEAKER if now else Effect.STRONGER
            yield effect, f"{shown(name)}: nullable changed from {shown(was)} to {shown(now)}"


def _robust(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[Difference]:
    """Compare the bounds that quantiles and margin make together."""
    try:
        old, new = _bounds(before), _bounds(after)
    except (KeyError, TypeError, ValueError, OverflowError):
        return [(Effect.UNCLEAR, "low, high and margin changed in a way that cannot be compared")]
    found = []
    for side, was, now in (("lower", old[0], new[0]), ("upper", old[1], new[1])):
        for effect, what in _bound(was, now, higher=side == "lower"):
            found.append((effect, f"{side} bound (of low, high and margin) {what}"))
    return found


def _bounds(kwargs: Mapping[str, Json]) -> tuple[float, float]:
    from sluicegate.stages.validation.expectations.numbers import bounds

    return bounds(kwargs)


_COMPARE: Final[Mapping[Direction, Callable[[Json, Json], Iterator[Difference]]]] = (
    MappingProxyType(
        {
            Direction.HIGHER: _higher,
            Direction.LOWER: _lower,
            Direction.FEWER: _fewer,
            Direction.MORE: _more,
            Direction.MORE_OR_ALL: _more_or_all,
            Direction.YES: _yes,
            Direction.NO: _no,
            Direction.GIVEN: _given,
            Direction.RANGES: _ranges,
            Direction.ALL: _all,
            Direction.SCHEMA: _schema,
            Direction.NONE: _none,
        }
    )
)
