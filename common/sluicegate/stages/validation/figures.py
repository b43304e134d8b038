"""Figures of a validation report: distributions beside their baseline, and rows by reason.

All is counted in bins and categories that the suite itself names: a figure says how many, and
never shows a value that its reader does not have before them in the suite.

Distributions come with the answers of expectations that hold a baseline
(:attr:`~sluicegate.stages.validation.answers.Answer.distribution`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from sluicegate.figures import MAX_POINTS, Bar, Bars, Figure, Sparkline, Sparklines
from sluicegate.model import Severity
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.suites.model import Expectation, Suite

__all__ = ["validation_figures"]

_SHARES: Final = "expect_column_label_shares_to_match"
_PSI: Final = "expect_column_psi_to_be_less_than"
_FROZEN: Final = "expect_column_categories_to_be_frozen"
_DETAILS: Final[Mapping[str, str]] = {
    _SHARES: "label shares",
    _PSI: "stability index",
    _FROZEN: "frozen categories",
}


def validation_figures(suite: Suite, answers: Mapping[int, Answer]) -> tuple[Figure, ...]:
    """Return the figures of one run, in the order in which a reader wants them.

    Args:
        suite: what was asked.
        answers: one for each expectation, by index.
    """
    figures: list[Figure] = []
    reasons = tuple(_reasons(suite, answers))
    if reasons:
        figures.append(
            Bars(
                title="Rows that are not as expected, by reason",
                caption="A row can have several reasons. The mark is what the suite allows.",
                axis="expectation",
                bars=reasons,
            )
        )
    lines = tuple(_lines(suite, answers))
    if lines:
        figures.append(
            Sparklines(
                title="Distributions",
                caption="Each column in the bins or categories that the suite names.",
                lines=lines,
            )
        )
    return tuple(figures)


def _reasons(suite: Suite, answers: Mapping[int, Answer]) -> Iterator[Bar]:
    """Yield how many rows each failed expectation counts, and how many it would allow."""
    for one, target in zip(suite.expectations, suite.targets, strict=True):
        answer = answers[one.index]
        if answer.success is not False or not answer.unexpected or one.counts_different_values:
            continue
        present = (answer.elements or 0) - (answer.missing or 0)
        word = "quarantine" if one.severity is Severity.WARNING else one.severity.value
        yield Bar(
            name=f"{target}: {one.type.removeprefix('expect_')} ({word})",
            observed=answer.unexpected,
            expected=round((1 - one.mostly) * max(present, 0)),
        )


def _lines(suite: Suite, answers: Mapping[int, Answer]) -> Iterator[Sparkline]:
    for one in suite.expectations:
        counts = answers[one.index].distribution
        named = _bins(one)
        if counts is None or named is None or len(counts) != len(named[0]) + 1:
            continue
        labels, expected = named
        yield Sparkline(
            name=one.target,
            detail=_DETAILS[one.type],
            observed=tuple(counts[:-1]),
            expected=expected,
            labels=labels,
            outside=counts[-1],
            state=_state(answers[one.index]),
        )


def _state(answer: Answer) -> str:
    if answer.success is None:
        return "unknown"
    return "passed" if answer.success else "failed"


_Bins = tuple[tuple[str, ...], tuple[float, ...]]
"""Labels, and expected shares (none, if nothing is expected)."""


def _bins(one: Expectation) -> _Bins | None:
    """Return the bins that an expectation itself names, or None."""
    found = _named(one.type, one.kwargs)
    return found if found is not None and 1 <= len(found[0]) <= MAX_POINTS else None


def _named(kind: str, kwargs: Mapping[str, Any]) -> _Bins | None:
    if kind == _PSI:
        shares = tuple(map(float, kwargs["shares"]))
        if kwargs.get("edges"):
            return _between(kwargs["edges"]), shares
        return tuple(map(_label, kwargs["categories"])), shares
    if kind == _SHARES:
        return tuple(kwargs["shares"]), tuple(map(float, kwargs["shares"].values()))
    if kind == _FROZEN:
        # The suite says which categories there are, and not how often they come.
        return tuple(map(_label, kwargs["categories"])), ()
    return None


def _between(edges: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{float(low):.6g} to {float(high):.6g}" for low, high in pairwise(edges))


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
