"""Reports of Trivy: vulnerabilities, misconfigurations, secrets and licences.

Passed checks are only counted in the report unless it was asked to list them; a target
without any finding was examined and is counted as a pass. What ``.trivyignore`` or a VEX
document set aside is listed only if Trivy ran with ``--show-suppressed``: without it nobody
can tell that something was. What a secret looks like is never read.

Source: JSON report of Trivy, schema version 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sluicegate.canonical import Json
from sluicegate.stages.encryption.foreign.model import (
    NAME_LENGTH,
    Reported,
    State,
    ToolReport,
    UnreadableError,
    entries,
    members,
    moment,
    plain,
    resource_name,
    severity_of,
    text,
    value_of,
)

__all__ = ["SCHEMA", "read_trivy"]

SCHEMA: Final = 2
"""The version of the report that is read; 1 was a bare list."""

_STATUSES: Final = {
    "PASS": State.PASSED,
    "FAIL": State.FAILED,
    "EXCEPTION": State.SUPPRESSED,
}
"""``Status`` of a misconfiguration; others count as failed."""

_SET_ASIDE: Final = {
    "ignored": State.SUPPRESSED,
    "not_affected": State.SUPPRESSED,
    "fixed": State.RESOLVED,
}
"""``Status`` of a modified finding; others, such as under_investigation, still count."""


def read_trivy(document: Mapping[str, Json]) -> tuple[ToolReport, ...]:
    """Read a report.

    Raises:
        UnreadableError: it is of another version, or a finding lacks what makes it one.
    """
    if value_of(document, "SchemaVersion", int, "$") != SCHEMA:
        raise UnreadableError(f"$.SchemaVersion: expected {SCHEMA}, found another or none")
    results: list[Reported] = []
    passed = 0
    gaps: list[str] = []
    for path, result in entries(document, "Results", "$"):
        found = _result(path, result)
        summary = members(result, "MisconfSummary", path)
        successes = value_of(summary, "Successes", int, path) or 0
        listed = sum(one.state is State.PASSED for one in found)
        failures = value_of(summary, "Failures", int, path) or 0
        shown = len(entries(result, "Misconfigurations", path)) - listed
        if failures > shown:
            gaps.append(f"{path} counts {failures} misconfigurations and lists {shown}")
        passed += max(successes - listed, 0) or not found
        results.extend(found)
    return (
        ToolReport(
            tool="Trivy",
            version=plain(text(members(document, "Trivy", "$"), "Version", "$"), 50),
            results=tuple(results),
            passed=passed,
            gaps=tuple(gaps),
            written=moment(text(document, "CreatedAt", "$"), "$.CreatedAt"),
        ),
    )


def _result(path: str, result: Mapping[str, Json]) -> list[Reported]:
    target = text(result, "Target", path)
    found = [
        make(where, item, target)
        for key, make in _KINDS.values()
        for where, item in entries(result, key, path)
    ]
    found += [
        _modified(where, item, target)
        for where, item in entries(result, "ExperimentalModifiedFindings", path)
    ]
    return found


def _modified(path: str, item: Mapping[str, Json], target: str) -> Reported:
    kind = text(item, "Type", path)
    if kind not in _KINDS:
        raise UnreadableError(f"{path}.Type: expected one of {', '.join(_KINDS)}, found another")
    finding = _KINDS[kind][1](path, members(item, "Finding", path), target)
    source = plain(text(item, "Source", path), 100) or "a rule of the tool"
    return Reported(
        rule=finding.rule,
        title=finding.title,
        severity=finding.severity,
        state=_SET_ASIDE.get(text(item, "Status", path), State.FAILED),
        resources=finding.resources,
        files=finding.files,
        by=f"set aside by {source}",
    )


def _vulnerability(path: str, item: Mapping[str, Json], target: str) -> Reported:
    package = f"{text(item, 'PkgName', path)}@{text(item, 'InstalledVersion', path)}"
    return _reported(
        path,
        item,
        rule="VulnerabilityID",
        resource=f"{package} in {target}",
        files=(target, text(item, "PkgPath", path)),
    )


def _misconfiguration(path: str, item: Mapping[str, Json], target: str) -> Reported:
    resource = text(members(item, "CauseMetadata", path), "Resource", path)
    return _reported(
        path,
        item,
        rule="ID",
        resource=resource or target,
        files=(target,),
        state=_STATUSES.get(text(item, "Status", path), State.FAILED),
    )


def _secret(path: str, item: Mapping[str, Json], target: str) -> Reported:
    line = value_of(item, "StartLine", int, path)
    place = f"{target}:{line}" if line else target
    return _reported(path, item, rule="RuleID", resource=place, files=(target,))


def _license(path: str, item: Mapping[str, Json], target: str) -> Reported:
    file = text(item, "FilePath", path)
    resource = text(item, "PkgName", path) or file or target
    return _reported(path, item, rule="Name", resource=resource, files=(file or target,))


def _reported(
    path: str,
    item: Mapping[str, Json],
    *,
    rule: str,
    resource: str,
    files: tuple[str, ...],
    state: State = State.FAILED,
) -> Reported:
    name = text(item, rule, path)
    if not name:
        raise UnreadableError(f"{path}: a finding without {rule}")
    return Reported(
        rule=plain(name, NAME_LENGTH),
        title=plain(text(item, "Title", path)),
        severity=severity_of(text(item, "Severity", path)),
        state=state,
        resources=(resource_name(resource),) if resource else (),
        files=tuple(file for file in files if file),
        by="an exception of the tool" if state is State.SUPPRESSED else "",
    )


_KINDS: Final[Mapping[str, tuple[str, Callable[[str, Mapping[str, Json], str], Reported]]]] = {
    "vulnerability": ("Vulnerabilities", _vulnerability),
    "misconfiguration": ("Misconfigurations", _misconfiguration),
    "secret": ("Secrets", _secret),
    "license": ("Licenses", _license),
}
"""Kinds of findings: the name of their list, and who reads one."""
