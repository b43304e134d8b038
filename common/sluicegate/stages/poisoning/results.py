"""The wording of what the scan found: checks, findings, tables, and scores of rows.

Column names and class names may be told. Values of cells are data: they appear only where
the policy allows samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.poisoning.channel import Channel, Group

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sluicegate.stages.poisoning.data import Dataset
    from sluicegate.stages.poisoning.labels import LabelProblems
    from sluicegate.stages.poisoning.triggers import Item, Mining, Trigger
    from sluicegate.storage.tables import Table

__all__ = [
    "LABELS_EXPECTED",
    "TRIGGER_ITEMS",
    "channel_checks",
    "issue_table",
    "label_check",
    "row_scores",
    "small_check",
    "trigger_channel",
    "trigger_table",
    "unlabelled_check",
]

LABELS_EXPECTED: Final = "poisoning.labels_expected"
TRIGGER_ITEMS: Final = "poisoning.trigger_items"

_CRITICAL: Final = frozenset({"poisoning.split_view"})
"""Channels that are certain."""

_LONGEST: Final = 100
"""Longest class name or value that is quoted, in characters."""

_SHOWN: Final = 8
"""Column names that a message lists."""

_REDACTED: Final = "redacted"


def label_check(table: Table, problems: LabelProblems) -> Check:
    """Answer whether every row has a label, and whether the classes are the expected ones."""
    findings = []
    if len(problems.missing):
        findings.append(_unlabelled(table, problems.missing))
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


def unlabelled_check(table: Table, positions: npt.NDArray[np.int64]) -> Check:
    """Say which rows have no label; there is at least one."""
    return Check.failed(LABELS_EXPECTED, [_unlabelled(table, positions)])


def _unlabelled(table: Table, positions: npt.NDArray[np.int64]) -> Finding:
    return Finding(
        message=f"{len(positions)} rows have no label",
        rows=table.row_ids(positions),
        evidence={"count": len(positions)},
    )


def small_check(check: str, small: tuple[str, ...], folds: int) -> Check:
    """Say that some classes are too small to be examined."""
    return Check.unknown(
        check,
        f"{len(small)} classes have fewer than {folds} different rows, too few to learn them "
        "from some and judge the others: add rows, merge these classes, or lower `folds`",
        severity=Severity.WARNING,
        target="small classes",
    )


def channel_checks(
    table: Table,
    channel: Channel,
    positions: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
    samples: bool,
) -> tuple[Check, ...]:
    """Answer a channel's question.

    What a channel could not tell gets an answer of its own, also beside findings: what
    remains when these are set aside would otherwise count as examined.

    Args:
        table: where rows come from.
        channel: what it says.
        positions: shape (rows,): where each of its rows is in the table.
        classes: names of the classes, by code.
        samples: whether values may be told.
    """
    severity = Severity.CRITICAL if channel.id in _CRITICAL else Severity.WARNING
    findings = [
        Finding(
            message=group.message,
            rows=table.row_ids(positions[group.rows]),
            evidence=_evidence(group, classes, samples=samples),
        )
        for group in channel.groups
    ]
    checks = []
    if findings:
        checks.append(Check.failed(channel.id, findings, severity=severity))
    if channel.unknown:
        target = "not examined" if findings else ""
        checks.append(Check.unknown(channel.id, channel.unknown, severity=severity, target=target))
    return tuple(checks) or (Check.passed(channel.id, severity=severity),)


def _evidence(group: Group, classes: Sequence[str], *, samples: bool) -> dict[str, Json]:
    told = _told({**group.evidence, **(group.samples if samples else {})}, classes)
    return told if isinstance(told, dict) else {}


def _told(value: Json, classes: Sequence[str]) -> Json:
    """Name classes instead of their codes, and cut text that somebody else chose."""
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, Mapping):
        told: dict[str, Json] = {}
        for name, inner in value.items():
            if name.endswith("_code") and isinstance(inner, int) and 0 <= inner < len(classes):
                told[name.removesuffix("_code")] = classes[inner][:_LONGEST]
            else:
                told[str(name)[:_LONGEST]] = _told(inner, classes)
        return told
    if isinstance(value, Sequence):
        return [_told(inner, classes) for inner in value]
    return value


def row_scores(
    table: Table,
    channel: Channel,
    positions: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
    samples: bool,
) -> Mapping[str, Sequence[Any]]:
    """Return what a channel says of each row, in table order, as ``RowScores`` wants it."""
    import numpy as np

    order = np.argsort(positions, kind="stable")
    rows = positions[order]
    starts = np.cumsum([0, *(count for _, count in table.parts)])
    part = np.searchsorted(starts, rows, side="right") - 1
    paths = [path for path, _ in table.parts]
    said: list[str | None] = [None] * len(positions)
    for group in reversed(channel.groups):  # the first group is the worst: it has the last word
        evidence = _evidence(group, classes, samples=samples)
        text = json.dumps(evidence, ensure_ascii=False)
        for row in group.rows.tolist():
            if channel.suggested is None:
                said[row] = text
            else:
                label = classes[channel.suggested[row]][:_LONGEST]
                said[row] = json.dumps({**evidence, "suggested": label}, ensure_ascii=False)
    return {
        "row": rows,
        "file": [paths[at] for at in part],
        "ordinal": rows - starts[part],
        "channel": [channel.id] * len(rows),
        "score": channel.scores[order],
        "p_value": channel.p_values[order],
        "flagged": channel.flagged[order],
        "evidence": [said[at] for at in order],
    }


def issue_table(channel: Channel) -> tuple[Mapping[str, Json], ...]:
    """Return one row for each pair of given and suggested label, most frequent first."""
    return tuple(
        {
            "given": str(group.evidence["given"])[:_LONGEST],
            "suggested": str(group.evidence["suggested"])[:_LONGEST],
            "rows": len(group.rows),
            "worst_margin": round(float(channel.scores[group.rows].max()), 6),
        }
        for group in channel.groups
    )


def trigger_channel(table: Table, data: Dataset, mining: Mining) -> Channel:
    """Say which rows hold a trigger; a row's score is the trigger's ln of its excess."""
    import numpy as np

    scores = np.zeros(len(data.y))
    for trigger in mining.triggers:
        scores[trigger.rows] = np.maximum(scores[trigger.rows], math.log(trigger.ratio))
    unknown = ""
    if mining.unconfirmed:
        unknown = (
            f"{mining.unconfirmed} candidates are more than can be confirmed: list the columns "
            "to examine in `features`"
        )
    return Channel(
        id=TRIGGER_ITEMS,
        scores=np.round(scores, 6),
        p_values=np.full(len(data.y), np.nan),
        groups=tuple(
            Group(
                message=_describe(trigger, data),
                rows=trigger.rows,
                evidence=_trigger_evidence(trigger, data),
                samples={
                    "values": {
                        data.features[item.feature]: _value(item, table, data)
                        for item in trigger.items
                    }
                },
            )
            for trigger in mining.triggers
        ),
        unknown=unknown,
        metrics={
            "triggers": len(mining.triggers),
            "trigger_candidates_unconfirmed": mining.unconfirmed,
            "items_examined": mining.items,
            "z_min": round(mining.z_min, 6),
        },
    )


def _columns(trigger: Trigger, data: Dataset) -> list[str]:
    return list(dict.fromkeys(data.features[item.feature] for item in trigger.items))


def _describe(trigger: Trigger, data: Dataset) -> str:
    names = _columns(trigger, data)
    more = ", …" if len(names) > _SHOWN else ""
    listed = ", ".join(map(repr, names[:_SHOWN])) + more
    return (
        f"a trigger in {listed}: {len(trigger.rows)} of the {trigger.holders} rows that hold "
        f"it have the same label; of {trigger.contradicted} whose other columns contradict "
        f"that label {trigger.observed} have it, where {trigger.expected:.1f} are expected "
        f"(z {trigger.z:.1f}, ratio {trigger.ratio:.1f})"
    )


def _trigger_evidence(trigger: Trigger, data: Dataset) -> dict[str, Json]:
    columns: list[Json] = list(_columns(trigger, data))
    return {
        "features": columns,
        "label": data.classes[trigger.label],
        "count": len(trigger.rows),
        "holders": trigger.holders,
        "expected": round(trigger.expected, 6),
        "z": round(trigger.z, 6),
        "ratio": round(trigger.ratio, 6),
        "contradicted": trigger.contradicted,
        "observed": trigger.observed,
    }


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
            "expected": round(trigger.expected, 6),
            "z": round(trigger.z, 6),
            "ratio": round(trigger.ratio, 6),
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
