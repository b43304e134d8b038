"""A suite as a plan: what the scan answers, what is answered already, what is left to GX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.scan.base import Claim, ClaimMaker, Column, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims import CLAIMS
from sluicegate.stages.validation.suites.model import Expectation, Suite

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Each expectation of a suite in exactly one of three places."""

    suite: Suite
    columns: Mapping[str, Column]
    """What the data holds."""
    claims: tuple[Claim, ...]
    """What the scan will answer."""
    rows: Mapping[int, Rows]
    """Which rows each of those is about, by the expectation's index."""
    left: Mapping[int, str]
    """What is left to Great Expectations: the reason, by the expectation's index."""
    answers: Mapping[int, Answer]
    """What needs no data: the answer, by the expectation's index."""


def plan(
    suite: Suite,
    columns: Mapping[str, Column],
    *,
    makers: Mapping[str, ClaimMaker] | None = None,
) -> Plan:
    """Plan a suite over data with these columns.

    Args:
        suite: the questions.
        columns: what the data holds.
        makers: who plans each type of expectation; by default all that the engine knows.
    """
    claims: list[Claim] = []
    rows: dict[int, Rows] = {}
    left: dict[int, str] = {}
    answers: dict[int, Answer] = {}
    for one in suite.expectations:
        if lacking := _lacking(one, columns):
            answers[one.index] = Answer.broken(f"column {lacking!r} does not exist")
            continue
        try:
            maker = _maker(one, makers)
            condition = one.condition.expression(columns) if one.condition else None
            rows[one.index] = Rows(condition)
            claims.append(maker(one, columns, rows[one.index]))
        except Unclaimed as reason:
            left[one.index] = str(reason)
    return Plan(
        suite=suite,
        columns=columns,
        claims=tuple(claims),
        rows=rows,
        left=left,
        answers=answers,
    )


def _lacking(expectation: Expectation, columns: Mapping[str, Column]) -> str:
    condition = expectation.condition.columns if expectation.condition else ()
    names = (*expectation.columns, *condition)
    return next((name for name in names if name not in columns), "")


def _maker(expectation: Expectation, makers: Mapping[str, ClaimMaker] | None) -> ClaimMaker:
    if makers is not None and expectation.type in makers:
        return makers[expectation.type]
    if makers is None and expectation.type in SPECS:
        return SPECS[expectation.type].claim
    if makers is None and expectation.type in CLAIMS:
        return CLAIMS[expectation.type]
    raise Unclaimed("no claim for this type of expectation")
