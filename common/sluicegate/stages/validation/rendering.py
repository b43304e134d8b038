"""Answers become checks, metrics and the table of expectations.

The data's own values stay out: counts, shares, row ids and what the suite itself says are
all that a report holds, unless the policy allows samples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Report, Severity
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.figures import validation_figures
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.storage.tables import row_ids

__all__ = ["SAMPLES", "SAMPLE_CHARS", "Examined", "render"]

_VALUELESS: Final = (
    "expect_table_row_count_",
    "expect_table_column_count_",
    "expect_column_unique_value_count_",
    "expect_column_proportion_of_",
    "expect_column_type_to_be",
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_in_type_list",
)
"""Types that observe a count, a share or the name of a type: no value of the data."""

SAMPLES: Final = 5
"""Values that are shown of one expectation, where the policy allows it."""
SAMPLE_CHARS: Final = 100
_FIRST_ROWS: Final = 100
"""Rows that the evidence of a finding names when there are too many to name all."""
_EXPECTED_LENGTH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is known of the data besides the answers."""

    parts: tuple[tuple[str, int], ...]
    """Each file's path and row count, in order; empty if no row had to be read."""
    columns: int
    samples: Mapping[int, tuple[Json, ...]] = field(default_factory=dict)
    """Values that are not as expected, by the expectation's index."""


def render(
    suite: Suite,
    examined: Examined,
    answers: Mapping[int, Answer],
    *,
    repeated: tuple[int, ...],
    samples: bool,
) -> Report:
    """Return the report.

    Args:
        suite: what was asked.
        examined: what it was asked about.
        answers: one for each expectation, by index.
        repeated: positions of columns whose name occurred before them.
        samples: whether the policy allows data values.
    """
    checks = [_unique_names(repeated)]
    rows = []
    for one, target in zip(suite.expectations, suite.targets, strict=True):
        answer = answers[one.index]
        checks.append(_check(one, target, answer, examined, samples=samples))
        rows.append(_row(one, target, answer))
    checks += _unasked(suite)
    outcomes = [answers[one.index].success for one in suite.expectations]
    return Report(
        checks=tuple(checks),
        metrics={
            "rows": sum(rows for _, rows in examined.parts),
            "columns": examined.columns,
            "expectations": len(outcomes),
            "failed": outcomes.count(False),
            "unknown": outcomes.count(None),
        },
        tables={"expectations": tuple(rows), **_not_checked(suite)},
        figures=validation_figures(suite, answers),
    )


def _unasked(suite: Suite) -> list[Check]:
    """Return a check for each rule of a data contract that nobody can ask: unknown.

    What the contract itself calls information is told by :func:`_not_checked`.
    """
    return [
        Check.unknown(
            "validation.contract_rule",
            f"{one.path}: nobody can tell whether {one.what} holds",
            severity=one.severity,
            target=one.path,
        )
        for one in suite.unasked
        if one.severity is not Severity.INFO
    ]


def _not_checked(suite: Suite) -> dict[str, tuple[dict[str, Json], ...]]:
    """Return the table of what a data contract says for people only, if there is any."""
    told: tuple[dict[str, Json], ...] = tuple(
        {"path": one.path, "what": one.what, "severity": one.severity.value}
        for one in suite.unasked
        if one.severity is Severity.INFO
    )
    return {"not_checked": told} if told else {}


def _unique_names(repeated: tuple[int, ...]) -> Check:
    check = "validation.unique_column_names"
    if not repeated:
        return Check.passed(check, target="table")
    finding = Finding(
        message="column names must be unique; the name of a column before it is repeated by "
        f"column {', '.join(str(position) for position in repeated)} (counted from 0)",
        evidence={"positions": list(repeated)},
    )
    return Check.failed(check, [finding], target="table")


def _check(
    one: Expectation, target: str, answer: Answer, examined: Examined, *, samples: bool
) -> Check:
    check = f"validation.{one.type}"
    if answer.success is None:
        return Check.unknown(check, answer.reason, severity=one.severity, target=target)
    if answer.success:
        return Check.passed(check, severity=one.severity, target=target)
    finding = Finding(
        message=_message(one, answer, samples=samples),
        # All of its rows or none: a quarantine must not leave some of them behind.
        rows=() if answer.capped else row_ids(examined.parts, answer.positions),
        evidence=_evidence(one, answer, examined, samples=samples),
    )
    return Check.failed(check, [finding], severity=one.severity, target=target)


def _message(one: Expectation, answer: Answer, *, samples: bool) -> str:
    said = list(answer.problems)
    if one.counts_different_values and answer.unexpected is not None:
        said.insert(0, _outside(answer.unexpected))
    elif answer.unexpected is not None:
        present = (answer.elements or 0) - (answer.missing or 0)
        share = 100 * answer.unexpected / present if present else 0.0
        said.insert(
            0,
            f"{answer.unexpected} of {present} values ({share:.2f} %) are not as expected; "
            f"at least {100 * one.mostly:g} % must be",
        )
        if answer.missing:
            said.append(f"{answer.missing} more values are missing")
        if answer.capped:
            said.append("too many rows to name")
    elif not said:
        said.append("the data is not as expected")
        if answer.observed is not None and _shows(one, samples=samples):
            said.append(f"observed {answer.observed}")
    return "; ".join(said)


def _outside(different: int) -> str:
    if not different:
        return "members of the set do not occur"
    are = "value is" if different == 1 else "values are"
    return f"{different} different {are} outside of the set"


def _evidence(
    one: Expectation, answer: Answer, examined: Examined, *, samples: bool
) -> dict[str, Json]:
    evidence: dict[str, Json] = {"expected": _expected(one), "engine": answer.engine}
    for name in ("elements", "missing", "unexpected"):
        if getattr(answer, name) is not None:
            evidence[name] = getattr(answer, name)
    if answer.observed is not None and _shows(one, samples=samples):
        evidence["observed"] = answer.observed
    if answer.distribution is not None:
        evidence["distribution"] = list(answer.distribution)
    if answer.capped:
        first = row_ids(examined.parts, sorted(answer.positions)[:_FIRST_ROWS])
        evidence["first_rows"] = [[row.file, row.ordinal] for row in first]
    if samples and (shown := examined.samples.get(one.index)):
        evidence["samples"] = list(shown)
    return evidence


def _expected(one: Expectation) -> str:
    """The suite's own words, as text: a bound beyond 2**53 has no canonical JSON form."""
    text = json.dumps(dict(one.kwargs), sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _EXPECTED_LENGTH else f"{text[: _EXPECTED_LENGTH - 1]}…"


def _shows(one: Expectation, *, samples: bool) -> bool:
    return samples or one.type.startswith(_VALUELESS)


def _row(one: Expectation, target: str, answer: Answer) -> dict[str, Json]:
    return {
        "id": one.id,
        "type": one.type,
        "target": target,
        "severity": one.severity.value,
        "success": answer.success,
        "unexpected_count": answer.unexpected,
        "element_count": answer.elements,
        "missing_count": answer.missing,
        "engine": answer.engine,
    }
