"""Reports of Grype: vulnerabilities of the packages in an image or folder.

The report lists matches only, not the packages that were examined. One without any match,
ignored ones included, cannot be told from a scan that found no package, and counts as empty.

Source: JSON document of Grype 0.7x and later.
"""

from __future__ import annotations

from collections.abc import Mapping

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
)

__all__ = ["read_grype"]


def read_grype(document: Mapping[str, Json]) -> tuple[ToolReport, ...]:
    """Read a report.

    Raises:
        UnreadableError: it is another tool's, or a match lacks what makes it one.
    """
    descriptor = members(document, "descriptor", "$")
    if text(descriptor, "name", "$.descriptor") != "grype":
        raise UnreadableError("$.descriptor.name: expected grype, found another tool")
    results = [
        *(_match(*item, State.FAILED) for item in entries(document, "matches", "$")),
        *(_match(*item, State.SUPPRESSED) for item in entries(document, "ignoredMatches", "$")),
    ]
    return (
        ToolReport(
            tool="grype",
            version=plain(text(descriptor, "version", "$.descriptor"), 50),
            results=tuple(results),
            written=moment(text(descriptor, "timestamp", "$"), "$.descriptor.timestamp"),
        ),
    )


def _match(path: str, match: Mapping[str, Json], state: State) -> Reported:
    vulnerability = members(match, "vulnerability", path)
    artifact = members(match, "artifact", path)
    rule, name = text(vulnerability, "id", path), text(artifact, "name", path)
    if not rule or not name:
        raise UnreadableError(f"{path}: a match without vulnerability or artifact")
    places = [text(place, "path", where) for where, place in entries(artifact, "locations", path)]
    return Reported(
        rule=plain(rule, NAME_LENGTH),
        title=plain(text(vulnerability, "description", path)),
        severity=severity_of(text(vulnerability, "severity", path)),
        state=state,
        resources=(resource_name(f"{name}@{text(artifact, 'version', path)}"),),
        files=tuple(place for place in places if place),
        by=_rules(path, match) if state is State.SUPPRESSED else "",
    )


def _rules(path: str, match: Mapping[str, Json]) -> str:
    """Return why a match was ignored: the reason of the first rule that gives one."""
    rules = entries(match, "appliedIgnoreRules", path)
    reasons = [text(rule, "reason", where) for where, rule in rules]
    reason = next((plain(one, 100) for one in reasons if one), "")
    return f"ignored by a rule of the tool: {reason}" if reason else "ignored by a rule of the tool"
