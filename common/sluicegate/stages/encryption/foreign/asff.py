"""Findings of AWS Security Hub, in the AWS Security Finding Format (ASFF).

``Compliance.Status`` says what a control found; findings without it (of GuardDuty, Inspector
and others) are findings as such. ``Workflow.Status`` says what people made of it, and
``RecordState`` whether the service still stands by it. NOT_AVAILABLE and WARNING mean that
the control could not tell; only Prowler writes WARNING for what is muted.

An answer of ``get-findings`` with a ``NextToken`` is one page of several.

Source: AWS Security Finding Format syntax, schema version 2018-10-08.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.encryption.foreign.model import (
    NAME_LENGTH,
    Reported,
    State,
    ToolReport,
    UnreadableError,
    entries,
    members,
    moment,
    newest,
    plain,
    resource_name,
    severity_of,
    text,
    value_of,
)

__all__ = ["SCHEMA", "read_asff"]

SCHEMA: Final = "2018-10-08"
"""The only version of the format."""

_STATUSES: Final = {
    "PASSED": State.PASSED,
    "FAILED": State.FAILED,
    "WARNING": State.UNDECIDED,
    "NOT_AVAILABLE": State.UNDECIDED,
    "": State.FAILED,
}
"""``Compliance.Status``; without one the finding is a finding as such."""


def read_asff(
    findings: Sequence[Mapping[str, Json]], *, more: bool = False
) -> tuple[ToolReport, ...]:
    """Read findings: one report for each product and version among them.

    Args:
        findings: in the AWS Security Finding Format.
        more: whether further pages were not saved.

    Raises:
        UnreadableError: a finding lacks what makes it one, or is of another version.
    """
    gaps = ("the answer was saved without its further pages (NextToken)",) if more else ()
    tools: dict[tuple[str, str], list[tuple[Reported, datetime | None]]] = {}
    for index, finding in enumerate(findings):
        path = f"Findings[{index}]"
        tools.setdefault(_product(finding, path), []).append(_finding(finding, path))
    if not tools:
        return (ToolReport(tool="AWS Security Hub", gaps=gaps),)
    return tuple(
        ToolReport(
            tool=name,
            version=version,
            results=tuple(result for result, _ in found),
            written=newest([time for _, time in found]),
            gaps=gaps,
        )
        for (name, version), found in sorted(tools.items())
    )


def _product(finding: Mapping[str, Json], path: str) -> tuple[str, str]:
    fields = members(finding, "ProductFields", path)
    name = (
        text(fields, "ProviderName", path)
        or text(finding, "ProductName", path)
        or text(finding, "ProductArn", path).rpartition("/")[2]
    )
    return plain(name) or "unnamed", plain(text(fields, "ProviderVersion", path), 50)


def _finding(finding: Mapping[str, Json], path: str) -> tuple[Reported, datetime | None]:
    if text(finding, "SchemaVersion", path) != SCHEMA:
        raise UnreadableError(f"{path}.SchemaVersion: expected {SCHEMA}, found another or none")
    rule = (
        text(members(finding, "Compliance", path), "SecurityControlId", path)
        or text(finding, "GeneratorId", path)
        or text(finding, "Id", path)
    )
    resources = [
        text(resource, "Id", where) for where, resource in entries(finding, "Resources", path)
    ]
    if not rule or not resources:
        raise UnreadableError(f"{path}: a finding without GeneratorId, Id or Resources")
    state, by = _state(finding, path)
    result = Reported(
        rule=plain(rule, NAME_LENGTH),
        title=plain(text(finding, "Title", path)),
        severity=_severity(finding, path),
        state=state,
        resources=tuple(resource_name(name) for name in resources if name),
        by=by,
    )
    when = text(finding, "UpdatedAt", path) or text(finding, "CreatedAt", path)
    return result, moment(when, f"{path}.UpdatedAt")


def _state(finding: Mapping[str, Json], path: str) -> tuple[State, str]:
    said = text(members(finding, "Compliance", path), "Status", path).upper()
    state = _STATUSES.get(said, State.FAILED)
    if state is State.PASSED:
        return state, ""
    if said == "WARNING" and _product(finding, path)[0] == "Prowler":
        return State.SUPPRESSED, "muted in the tool"
    who = plain(text(members(finding, "Note", path), "UpdatedBy", path), 100)
    by = f"by {who}" if who else "by nobody named in the report"
    workflow = text(members(finding, "Workflow", path), "Status", path).upper()
    if workflow == "SUPPRESSED":
        return State.SUPPRESSED, f"suppressed in Security Hub {by}"
    if workflow == "RESOLVED":
        return State.RESOLVED, f"marked as resolved in Security Hub {by}"
    if text(finding, "RecordState", path).upper() == "ARCHIVED":
        return State.RESOLVED, "archived by the product"
    return state, "the control could not be evaluated" if state is State.UNDECIDED else ""


def _severity(finding: Mapping[str, Json], path: str) -> Severity:
    severity = members(finding, "Severity", path)
    if label := text(severity, "Label", path):
        return severity_of(label)
    number = value_of(severity, "Normalized", int, f"{path}.Severity")
    if number is None or number >= 70:
        return Severity.CRITICAL
    return Severity.WARNING if number >= 40 else Severity.INFO
