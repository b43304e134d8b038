"""Two suites: what got weaker, what got stronger, and what nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sluicegate.model import Severity
from sluicegate.stages.validation.comparing.arguments import differences, same, shown
from sluicegate.stages.validation.comparing.changes import Change, Effect
from sluicegate.stages.validation.comparing.matching import match
from sluicegate.stages.validation.suites.model import Expectation, Suite

__all__ = ["compare_suites", "weakenings"]

_RANK: Final = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


def compare_suites(old: Suite, new: Suite) -> tuple[Change, ...]:
    """Return every difference in what two suites demand, the weakening ones first.

    Names, notes, ids and the order of expectations demand nothing and are no difference.

    Args:
        old: the suite that was agreed on.
        new: the one that is proposed.
    """
    pairs, gone, came = match(old, new)
    found = [change for one, other in pairs for change in _changes(one, other)]
    found += [_whole(Effect.WEAKER, one, "removed", old=one.index) for one in gone]
    found += [_whole(Effect.STRONGER, one, "added", new=one.index) for one in came]
    found += _unasked(old, new)
    order = list(Effect)
    return tuple(sorted(found, key=lambda change: order.index(change.effect)))


def weakenings(old: Suite, new: Suite) -> list[str]:
    """Return a sentence for each change by which the new suite demands less, or may do so."""
    return [
        change.sentence
        for change in compare_suites(old, new)
        if change.effect is not Effect.STRONGER
    ]


def _whole(
    effect: Effect, one: Expectation, what: str, *, old: int | None = None, new: int | None = None
) -> Change:
    said = f"{what} ({one.severity.value}): {shown(dict(one.kwargs))}"
    return Change(effect=effect, type=one.type, target=one.target, what=said, old=old, new=new)


def _changes(one: Expectation, other: Expectation) -> Iterator[Change]:
    for effect, what in (
        *_severity(one, other),
        *_condition(one, other),
        *differences(one.type, one.own_kwargs, other.own_kwargs),
    ):
        yield Change(
            effect=effect,
            type=one.type,
            target=one.target,
            what=what,
            old=one.index,
            new=other.index,
        )


def _severity(one: Expectation, other: Expectation) -> Iterator[tuple[Effect, str]]:
    before, after = _RANK.index(one.severity), _RANK.index(other.severity)
    if before != after:
        effect = Effect.WEAKER if after < before else Effect.STRONGER
        yield effect, f"severity changed from {one.severity.value} to {other.severity.value}"


def _condition(one: Expectation, other: Expectation) -> Iterator[tuple[Effect, str]]:
    """Compare which rows are meant, in what was read rather than in how it was written."""
    if one.condition == other.condition:
        return
    was, now = one.kwargs.get("row_condition"), other.kwargs.get("row_condition")
    if one.condition is None:
        yield Effect.WEAKER, f"row_condition added, so that fewer rows are examined: {shown(now)}"
    elif other.condition is None:
        yield Effect.STRONGER, f"row_condition removed, so that all rows are examined: {shown(was)}"
    elif not same(was, now) or repr(one.condition) != repr(other.condition):
        yield Effect.UNCLEAR, f"row_condition changed from {shown(was)} to {shown(now)}"


def _unasked(old: Suite, new: Suite) -> Iterator[Change]:
    """Compare demands that nobody checks: their outcome is unknown, which stops a gate."""
    before = {(one.path, one.what) for one in old.unasked}
    after = {(one.path, one.what) for one in new.unasked}
    for effect, lost, word in (
        (Effect.WEAKER, before - after, "no longer demanded"),
        (Effect.STRONGER, after - before, "demanded now"),
    ):
        for path, what in sorted(lost):
            yield Change(effect=effect, type="suite", target=path, what=f"{word}: {what}")
