"""The wording of what the scan found: checks, findings and tables.

Column names and class names may be told. Values of features are data: they appear only
where the policy allows samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Severity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset
    from sluicegate.stages.poisoning.issues import LabelIssues, ProbabilityFault
    from sluicegate.stages.poisoning.labels import LabelProblems
    from sluicegate.stages.poisoning.triggers import Item, Mining, Trigger
    from sluicegate.storage.tables import Table

__all__ = [
    "LABELS_EXPECTED",
    "LABEL_ISSUES",
    "TRIGGER_ITEMS",
    "fault_reason",
    "issue_check",
    "issue_table",
    "label_check",
    "small_check",
    "trigger_checks",
    "trigger_table",
]

LABELS_EXPECTED: Final = "poisoning.labels_expected"
LABEL_ISSUES: Final = "poisoning.label_issues"
TRIGGER_ITEMS: Final = "poisoning.trigger_items"

_WORST: Final = 5
"""How many of the worst margins a finding quotes."""

_LONGEST: Final = 100
"""Longest class name or value that is quoted, in characters."""

_REDACTED: Final = "redacted"


def label_check(table: Table, problems: LabelProblems) -> Check:
    """Answer whether every row has a label, and whether the classes are the expected ones."""
    findings = []
    if len(problems.missing):
        findings.append(
            Finding(
                message=f"{len(problems.missing)} rows have no label",
                rows=table.row_ids(problems.missing),
                evidence={"count": len(problems.missing)},
            )
        )
    if len(problems.unexpected):
        findings.append(
            Finding(
                message=f"{len(problems.unexpected)} rows have a label that is not expected",
                rows=table.row_ids(problems.unexpected),
                evidence={
                    "count": len(problems.unexpected),
                    "labels": [name[:_LONGEST] for name in problems.unexpected_names],
                },
            )
        )
    if problems.absent:
        findings.append(
            Finding(
                message=f"{len(problems.absent)} expected classes have no rows: "
                "they are missing, or were relabelled completely",
                evidence={"labels": list(problems.absent)},
            )
        )
    return Check.failed(LABELS_EXPECTED, findings) if findings else Check.passed(LABELS_EXPECTED)


def small_check(small: tuple[str, ...], folds: int) -> Check:
    """Say that some classes are too small to be examined."""
    return Check.unknown(
        LABEL_ISSUES,
        f"{len(small)} classes have fewer than {folds} different rows, too few to learn them "
        "from some and judge the others: add rows, merge these classes, or lower `folds`",
        severity=Severity.WARNING,
        target="small classes",
    )


def fault_reason(fault: ProbabilityFault, rows: int) -> str:
    """Say why ready-made probabilities cannot be used."""
    parts = {
        "are missing or infinite": fault.not_finite,
        "are outside of 0 to 1": fault.outside,
        "do not sum to 1": fault.wrong_sum,
    }
    told = "; in ".join(
        f"{count} of {rows} rows they {what}" for what, count in parts.items() if count
    )
    return f"the ready-made probabilities are unusable: in {told}"


def issue_check(table: Table, data: Dataset, issues: LabelIssues) -> Check:
    """Answer whether labels agree with out-of-sample predictions."""
    findings = [
        Finding(
            message=f"{len(members)} rows carry one label and look like another class",
            rows=table.row_ids(data.positions[issues.rows[members]]),
            evidence={
                "given": data.classes[given][:_LONGEST],
                "suggested": data.classes[suggested][:_LONGEST],
                "count": len(members),
                "worst_margins": _worst(issues.margins[members]),
            },
        )
        for given, suggested, members in _pairs(data, issues)
    ]
    if not findings:
        return Check.passed(LABEL_ISSUES, severity=Severity.WARNING)
    return Check.failed(LABEL_ISSUES, findings, severity=Severity.WARNING)


def issue_table(data: Dataset, issues: LabelIssues) -> tuple[Mapping[str, Json], ...]:
    """Return one row for each pair of given and suggested label, most frequent first."""
    return tuple(
        {
            "given": data.classes[given][:_LONGEST],
            "suggested": data.classes[suggested][:_LONGEST],
            "rows": len(members),
            "worst_margin": _worst(issues.margins[members])[0],
        }
        for given, suggested, members in _pairs(data, issues)
    )


def _pairs(data: Dataset, issues: LabelIssues) -> Iterator[tuple[int, int, npt.NDArray[np.int64]]]:
    """Yield given class, suggested class and indices into the issues, most frequent first."""
    import numpy as np

    pair = data.y[issues.rows] * len(data.classes) + issues.suggested
    codes, counts = np.unique(pair, return_counts=True)
    for code in codes[np.argsort(-counts, kind="stable")]:
        given, suggested = divmod(int(code), len(data.classes))
        yield given, suggested, np.flatnonzero(pair == code)


def _worst(margins: npt.NDArray[np.float64]) -> list[float]:
    return [_rounded(margin) for margin in sorted(margins.tolist(), reverse=True)[:_WORST]]


def trigger_checks(
    table: Table, data: Dataset, mining: Mining, *, samples: bool
) -> tuple[Check, ...]:
    """Answer whether some item decides the label against everything else in the row.

    Candidates that could not be confirmed get an answer of their own, also beside triggers:
    what remains when these are set aside would otherwise count as examined.
    """
    findings = [
        Finding(
            message=_describe(trigger, data),
            rows=table.row_ids(data.positions[trigger.rows]),
            evidence=_evidence(trigger, table, data, samples=samples),
        )
        for trigger in mining.triggers
    ]
    checks = []
    if findings:
        checks.append(Check.failed(TRIGGER_ITEMS, findings, severity=Severity.WARNING))
    if mining.unconfirmed:
        reason = (
            f"{mining.unconfirmed} candidates are more than can be confirmed: list the columns "
            "to examine in `features`"
        )
        checks.append(
            Check.unknown(
                TRIGGER_ITEMS, reason, severity=Severity.WARNING, target="unconfirmed candidates"
            )
        )
    return tuple(checks) or (Check.passed(TRIGGER_ITEMS, severity=Severity.WARNING),)


def _describe(trigger: Trigger, data: Dataset) -> str:
    names = list(dict.fromkeys(data.features[item.feature] for item in trigger.items))
    listed = ", ".join(map(repr, names[:8])) + (", …" if len(names) > 8 else "")
    return (
        f"a trigger in {listed}: {len(trigger.rows)} of the {trigger.holders} rows that hold "
        f"it have the same label; of {trigger.contradicted} whose other columns contradict "
        f"that label {trigger.observed} have it, where {trigger.expected:.1f} are expected "
        f"(z {trigger.z:.1f}, ratio {trigger.ratio:.1f})"
    )


def _evidence(trigger: Trigger, table: Table, data: Dataset, *, samples: bool) -> dict[str, Json]:
    names = list(dict.fromkeys(data.features[item.feature] for item in trigger.items))
    told: dict[str, Json] = {
        "features": names,
        "label": data.classes[trigger.label][:_LONGEST],
        "count": len(trigger.rows),
        "holders": trigger.holders,
        "expected": _rounded(trigger.expected),
        "z": _rounded(trigger.z),
        "ratio": _rounded(trigger.ratio),
        "contradicted": trigger.contradicted,
        "observed": trigger.observed,
    }
    if samples:
        told["values"] = {
            data.features[item.feature]: _value(item, table, data) for item in trigger.items
        }
    return told


def trigger_table(
    table: Table, data: Dataset, mining: Mining, *, samples: bool
) -> tuple[Mapping[str, Json], ...]:
    """Return one row for each item of each trigger."""
    return tuple(
        {
            "trigger": number,
            "feature": data.features[item.feature],
            "kind": item.kind,
            "value": _value(item, table, data) if samples else _REDACTED,
            "label": data.classes[trigger.label][:_LONGEST],
            "rows": len(trigger.rows),
            "observed": trigger.observed,
            "expected": _rounded(trigger.expected),
            "z": _rounded(trigger.z),
            "ratio": _rounded(trigger.ratio),
        }
        for number, trigger in enumerate(mining.triggers, start=1)
        for item in trigger.items
    )


def _value(item: Item, table: Table, data: Dataset) -> str | float | int | bool | None:
    """Return an item's value as it stands in the table; a range as its least and greatest."""
    if item.kind == "missing":
        return None
    values = table.frame[data.features[item.feature]].iloc[data.positions[item.rows]]
    if item.kind == "range":
        return f"{_scalar(values.min())} to {_scalar(values.max())}"
    return _scalar(values.iloc[0])


def _scalar(value: Any) -> str | float | int | bool:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)[:_LONGEST]


def _rounded(value: float) -> float:
    """Return a score with six decimals: more would be rounding noise."""
    return round(float(value), 6)
