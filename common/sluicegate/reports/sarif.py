"""A stored report in SARIF 2.1.0, for code hosts and viewers.

Each finding is a result of kind ``fail``, each unknown check one of kind ``open``, each
passed check one of kind ``pass``: a viewer that only counts failures still sees that nothing
was cleared. Files are given relative to the subject, percent-encoded; rows are no lines of a
text and so are properties, not regions. What was asked about is a logical location.

All text is plain: no ``markdown`` members, braces and would-be links escaped as the standard
asks, hidden characters shown as their code. Evidence stays in the stored report, whose
digest is in the run's properties: exports travel further than evidence folders.

The report holds no time and no host, so neither does the export, and the same report gives
the same bytes.

Source: SARIF 2.1.0 (OASIS Standard), sections 3.11, 3.14, 3.27, 3.28, 3.49.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from sluicegate.canonical import Json
from sluicegate.model import Outcome, Severity
from sluicegate.reports.stored import Entry, StoredCheck, StoredReport, line, ranges

__all__ = ["sarif_log"]

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
BASE: Final = "SUBJECT"
"""Name of the base that file URIs are relative to."""

_KINDS: Final = {Outcome.FAILED: "fail", Outcome.UNKNOWN: "open", Outcome.PASSED: "pass"}
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "note",
}


def sarif_log(document: Json) -> dict[str, Json]:
    """Return a SARIF log with one run.

    Args:
        document: the report as it is stored.

    Raises:
        SluicegateError: it is no stored report.
    """
    report = StoredReport.of(document)
    entries, omitted = report.entries()
    worst = _worst(report.checks)
    index = {check: number for number, check in enumerate(worst)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": line(f"sluicegate {report.stage}"),
                        "version": line(report.version),
                        "rules": [_rule(check, worst[check]) for check in worst],
                    }
                },
                "automationDetails": {"id": line(f"sluicegate/{report.stage}/")},
                "invocations": [_invocation(omitted)],
                "originalUriBaseIds": {
                    BASE: {"description": {"text": "the files of the examined subject"}}
                },
                "results": [_result(entry, report.stage, index) for entry in entries],
                "properties": {
                    "reportSha256": report.digest.hex,
                    "stage": line(report.stage),
                    "subject": line(report.subject),
                },
            }
        ],
    }


def _worst(checks: Iterable[StoredCheck]) -> dict[str, Severity]:
    """Return the ids of the checks, sorted, each with the worst severity that it has."""
    worst: dict[str, Severity] = {}
    order = list(Severity)
    for check in checks:
        known = worst.get(check.id, check.severity)
        worst[check.id] = min(known, check.severity, key=order.index)
    return dict(sorted(worst.items()))


def _rule(check: str, severity: Severity) -> dict[str, Json]:
    return {
        "id": check,
        "shortDescription": _message(check),
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"tags": ["security"]},
    }


def _invocation(omitted: int) -> dict[str, Json]:
    if not omitted:
        return {"executionSuccessful": True}
    note = f"{omitted} more results are in the stored report and not in this export"
    return {
        "executionSuccessful": True,
        "toolExecutionNotifications": [{"level": "error", "message": _message(note)}],
    }


def _result(entry: Entry, stage: str, index: dict[str, int]) -> dict[str, Json]:
    check = entry.check
    failed = check.outcome is Outcome.FAILED
    properties: dict[str, Json] = {
        "outcome": check.outcome.value,
        "severity": check.severity.value,
    }
    if check.target:
        properties["target"] = line(check.target)
    if entry.omitted:
        properties["filesNotListed"] = entry.omitted
    return {
        "ruleId": check.id,
        "ruleIndex": index[check.id],
        "kind": _KINDS[check.outcome],
        "level": _LEVELS[check.severity] if failed else "none",
        "message": _message(entry.message),
        "locations": _locations(entry),
        "partialFingerprints": {
            "place/v1": entry.fingerprint(stage, with_message=False),
            "finding/v1": entry.fingerprint(stage, with_message=True),
        },
        "properties": properties,
    }


def _locations(entry: Entry) -> list[Json]:
    locations: list[Json] = [_file(entry, path) for path in entry.places]
    if entry.check.target:
        named = {"fullyQualifiedName": line(entry.check.target), "kind": "resource"}
        locations.append({"logicalLocations": [named]})
    return locations


def _file(entry: Entry, path: str) -> dict[str, Json]:
    artifact = {"uri": _uri(path), "uriBaseId": BASE}
    location: dict[str, Json] = {"physicalLocation": {"artifactLocation": artifact}}
    rows = entry.finding.rows.get(path) if entry.finding is not None else None
    if rows:
        location["properties"] = {"rowCount": len(rows), "rows": ranges(rows)}
    return location


def _uri(path: str) -> str:
    """Return a relative reference: nothing in a name can become a scheme, host or query."""
    encoded = quote(path, safe="/", errors="replace")
    return f"%2F{encoded[1:]}" if encoded.startswith("/") else encoded


def _message(text: str) -> dict[str, Json]:
    """Return a plain text message in which nothing is a placeholder or a link."""
    escaped = text.replace("{", "{{").replace("}", "}}")
    if "](" in escaped:
        escaped = escaped.replace("[", "\\[").replace("]", "\\]")
    return {"text": escaped}
