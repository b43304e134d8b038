"""Reports of Prowler: OCSF findings (Prowler 4 and 5), and the JSON of Prowler 3.

OCSF is a common format, so any product's Compliance Findings (2003) and Detection Findings
(2004) are read. Two habits of Prowler matter: its ``time`` is in seconds although OCSF asks
for milliseconds, and a muted finding keeps ``status_code`` FAIL and gets the status
Suppressed. Prowler 3 wrote WARNING, later MUTED, for what its allow-list names.

Source: OCSF schema 1.5, classes 2003 and 2004; output formats of Prowler 3.16 and 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
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

__all__ = ["read_native", "read_ocsf"]

COMPLIANCE_FINDING: Final = 2003
DETECTION_FINDING: Final = 2004

_SECONDS_END: Final = 10**11
"""A larger ``time`` is in milliseconds: as seconds it would lie beyond the year 5100."""

_CODES: Final = {
    "PASS": State.PASSED,
    "PASSED": State.PASSED,
    "FAIL": State.FAILED,
    "FAILED": State.FAILED,
    "MANUAL": State.UNDECIDED,
    "WARNING": State.UNDECIDED,
    "NOT_AVAILABLE": State.UNDECIDED,
}
"""``status_code``: OCSF leaves it to the product. Others count as failed."""

_COMPLIANCE: Final = {1: State.PASSED, 2: State.UNDECIDED, 3: State.FAILED, 0: State.UNDECIDED}
"""``compliance.status_id``: pass, warning (no result for want of information), fail."""

_LEVELS: Final = {
    0: Severity.WARNING,
    1: Severity.INFO,
    2: Severity.INFO,
    3: Severity.WARNING,
    4: Severity.CRITICAL,
    5: Severity.CRITICAL,
    6: Severity.CRITICAL,
}
"""``severity_id``: unknown, informational, low, medium, high, critical, fatal."""

_NATIVE: Final = {
    "PASS": State.PASSED,
    "FAIL": State.FAILED,
    "MUTED": State.SUPPRESSED,
    "WARNING": State.SUPPRESSED,
    "MANUAL": State.UNDECIDED,
    "INFO": State.UNDECIDED,
}
"""``Status`` of Prowler 3; INFO was its word for MANUAL."""


def read_ocsf(events: list[Mapping[str, Json]]) -> tuple[ToolReport, ...]:
    """Read OCSF events: one report for each product and version among them.

    Raises:
        UnreadableError: an event is of another class or lacks what makes it a finding.
    """
    tools: dict[tuple[str, str], list[tuple[Reported, datetime | None]]] = {}
    for index, event in enumerate(events):
        path = f"[{index}]"
        product = members(members(event, "metadata", path), "product", f"{path}.metadata")
        name = plain(text(product, "name", path)) or "unnamed"
        version = plain(text(product, "version", path), 50)
        tools.setdefault((name, version), []).append((_event(event, path), _time(event, path)))
    return tuple(
        ToolReport(
            tool=name,
            version=version,
            results=tuple(result for result, _ in found),
            written=newest([time for _, time in found]),
        )
        for (name, version), found in sorted(tools.items())
    )


def _event(event: Mapping[str, Json], path: str) -> Reported:
    if value_of(event, "class_uid", int, path) not in (COMPLIANCE_FINDING, DETECTION_FINDING):
        raise UnreadableError(f"{path}.class_uid: expected a finding of class 2003 or 2004")
    about = members(event, "finding_info", path)
    compliance = members(event, "compliance", path)
    rule = (
        text(members(event, "metadata", path), "event_code", path)
        or text(compliance, "control", path)
        or text(about, "uid", path)
    )
    if not rule:
        raise UnreadableError(f"{path}: a finding without event_code, control or uid")
    state, by = _state(event, compliance, path)
    return Reported(
        rule=plain(rule, NAME_LENGTH),
        title=plain(text(about, "title", path)),
        severity=_severity(event, path),
        state=state,
        resources=_resources(event, path),
        by=by,
    )


def _state(
    event: Mapping[str, Json], compliance: Mapping[str, Json], path: str
) -> tuple[State, str]:
    """Return what the event says; where code and compliance differ, the worse of them."""
    said = set[State]()
    if code := text(event, "status_code", path):
        said.add(_CODES.get(code.upper(), State.FAILED))
    number = value_of(compliance, "status_id", int, f"{path}.compliance")
    if number is not None:
        said.add(_COMPLIANCE.get(number, State.FAILED))
    for state in (State.FAILED, State.UNDECIDED, State.PASSED):
        if state in said:
            break
    else:
        state = State.FAILED  # a detection is a finding
    if state is State.PASSED:
        return state, ""
    status = value_of(event, "status_id", int, path)
    if status == 3:
        return State.SUPPRESSED, "suppressed in the tool"
    if status in (4, 5) or value_of(event, "activity_id", int, path) == 3:
        return State.RESOLVED, "closed in the tool"
    return state, "left to a person by the tool" if state is State.UNDECIDED else ""


def _severity(event: Mapping[str, Json], path: str) -> Severity:
    number = value_of(event, "severity_id", int, path)
    if number in _LEVELS:
        return _LEVELS[number]
    return severity_of(text(event, "severity", path))


def _resources(event: Mapping[str, Json], path: str) -> tuple[str, ...]:
    names = [
        text(resource, "uid", where) or text(resource, "name", where)
        for where, resource in entries(event, "resources", path)
    ]
    return tuple(resource_name(name) for name in names if name)


def _time(event: Mapping[str, Json], path: str) -> datetime | None:
    if said := moment(text(event, "time_dt", path), f"{path}.time_dt"):
        return said
    number = value_of(event, "time", int, path)
    if number is None:
        return None
    try:
        return datetime.fromtimestamp(number if number < _SECONDS_END else number / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UnreadableError(f"{path}.time: expected a time") from error


def read_native(findings: Iterable[Mapping[str, Json]]) -> tuple[ToolReport, ...]:
    """Read the JSON of Prowler 3.

    Raises:
        UnreadableError: a finding lacks what makes it one.
    """
    results, times = [], []
    for index, finding in enumerate(findings):
        path = f"[{index}]"
        rule = text(finding, "CheckID", path)
        status = text(finding, "Status", path)
        if not rule or not status:
            raise UnreadableError(f"{path}: a finding without CheckID or Status")
        resource = text(finding, "ResourceArn", path) or text(finding, "ResourceId", path)
        state = _NATIVE.get(status.upper(), State.FAILED)
        results.append(
            Reported(
                rule=plain(rule, NAME_LENGTH),
                title=plain(text(finding, "CheckTitle", path)),
                severity=severity_of(text(finding, "Severity", path)),
                state=state,
                resources=(resource_name(resource),) if resource else (),
                by=_NATIVE_BY.get(state, ""),
            )
        )
        when = text(finding, "AssessmentStartTime", path)
        times.append(moment(when, f"{path}.AssessmentStartTime"))
    return (ToolReport(tool="Prowler", version="3", results=tuple(results), written=newest(times)),)


_NATIVE_BY: Final = {
    State.SUPPRESSED: "named by the tool's allow-list",
    State.UNDECIDED: "left to a person by the tool",
}
