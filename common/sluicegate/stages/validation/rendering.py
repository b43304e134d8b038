"""Answers become checks, metrics and the table of expectations.

The data's own values stay out: counts, shares, row ids and what the suite itself says are
all that a report holds, unless the policy allows samples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Report
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.suite import Expectation, Suite
from sluicegate.storage.tables import Table

__all__ = ["render"]

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

_SAMPLES: Final = 5
_SAMPLE_LENGTH: Final = 100
_EXPECTED_LENGTH: Final = 200


def render(
    suite: Suite,
    table: Table,
    answers: Mapping[int, Answer],
    *,
    repeated: tuple[int, ...],
    samples: bool,
) -> Report:
    """Return the report.

    Args:
        suite: what was asked.
        table: what it was asked about.
        answers: one for each expectation, by index.
        repeated: positions of columns whose name occurred before them.
        samples: whether the policy allows data values.
    """
    checks = [_unique_names(repeated)]
    rows = []
    for one, target in zip(suite.expectations, suite.targets, strict=True):
        answer = answers[one.index]
        checks.append(_check(one, target, answer, table, samples=samples))
        rows.append(_row(one, target, answer))
    outcomes = [answers[one.index].success for one in suite.expectations]
    return Report(
        checks=tuple(checks),
        metrics={
            "rows": len(table.frame),
            "columns": len(table.frame.columns),
            "expectations": len(outcomes),
            "failed": outcomes.count(False),
            "unknown": outcomes.count(None),
        },
        tables={"expectations": tuple(rows)},
    )


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


def _check(one: Expectation, target: str, answer: Answer, table: Table, *, samples: bool) -> Check:
    check = f"validation.{one.type}"
    if answer.success is None:
        return Check.unknown(check, answer.reason, severity=one.severity, target=target)
    if answer.success:
        return Check.passed(check, severity=one.severity, target=target)
    finding = Finding(
        message=_message(one, answer, samples=samples),
        rows=table.row_ids(answer.positions),
        evidence=_evidence(one, answer, table, samples=samples),
    )
    return Check.failed(check, [finding], severity=one.severity, target=target)


def _message(one: Expectation, answer: Answer, *, samples: bool) -> str:
    said = list(answer.problems)
    if answer.unexpected is not None:
        present = (answer.elements or 0) - (answer.missing or 0)
        share = 100 * answer.unexpected / present if present else 0.0
        said.insert(
            0,
            f"{answer.unexpected} of {present} values ({share:.2f} %) are not as expected; "
            f"at least {100 * one.mostly:g} % must be",
        )
        if answer.missing:
            said.append(f"{answer.missing} more values are missing")
    elif not said:
        said.append("the data is not as expected")
        if answer.observed is not None and _shows(one, samples=samples):
            said.append(f"observed {answer.observed}")
    return "; ".join(said)


def _evidence(one: Expectation, answer: Answer, table: Table, *, samples: bool) -> dict[str, Json]:
    evidence: dict[str, Json] = {"expected": _expected(one), "engine": answer.engine}
    for name in ("elements", "missing", "unexpected"):
        if getattr(answer, name) is not None:
            evidence[name] = getattr(answer, name)
    if answer.observed is not None and _shows(one, samples=samples):
        evidence["observed"] = answer.observed
    if samples and answer.positions and one.columns:
        shown = table.frame.iloc[sorted(answer.positions)[:_SAMPLES]]
        evidence["samples"] = [
            [str(value)[:_SAMPLE_LENGTH] for value in row]
            for row in shown[list(one.columns)].itertuples(index=False, name=None)
        ]
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
