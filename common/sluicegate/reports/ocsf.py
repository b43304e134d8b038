"""A stored report as events of the Open Cybersecurity Schema Framework (OCSF) 1.5.

A check that failed because of files or rows of the subject is a Detection Finding (2004);
every other result, passed and unknown ones among them, is a Compliance Finding (2003): an
unknown one has the status Warning, which OCSF reserves for checks without a result. As in
the SARIF export, each finding is an event, and evidence stays in the stored report.

Written as plain data: a library of models would bring validation that knows fewer rules than
the schema itself, which the tests use.

Source: OCSF schema 1.5.0, classes Compliance Finding and Detection Finding.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Outcome, Severity
from sluicegate.reports.stored import Entry, StoredCheck, StoredReport, line, ranges

__all__ = ["ocsf_events"]

VERSION: Final = "1.5.0"
COMPLIANCE: Final = (2003, "Compliance Finding")
DETECTION: Final = (2004, "Detection Finding")

_SEVERITIES: Final = {
    Severity.CRITICAL: (5, "Critical"),
    Severity.WARNING: (3, "Medium"),
    Severity.INFO: (1, "Informational"),
}
_STATUSES: Final = {
    Outcome.PASSED: (1, "Pass"),
    Outcome.UNKNOWN: (2, "Warning"),
    Outcome.FAILED: (3, "Fail"),
}


def ocsf_events(document: Json, *, time: datetime) -> list[dict[str, Json]]:
    """Return a list of OCSF events.

    Args:
        document: the report as it is stored.
        time: when the gate ran, aware; the report holds no time, and each event needs one.

    Raises:
        SluicegateError: it is no stored report.
    """
    report = StoredReport.of(document)
    entries, omitted = report.entries()
    milliseconds = int(time.timestamp() * 1000)
    events = [_event(entry, report, milliseconds) for entry in entries]
    if omitted:
        reason = f"{omitted} more results are in the stored report and not in this export"
        check = StoredCheck("export.cut", Outcome.UNKNOWN, Severity.WARNING, "", reason, ())
        events.append(_event(Entry(check, None, (), 0), report, milliseconds))
    return events


def _event(entry: Entry, report: StoredReport, milliseconds: int) -> dict[str, Json]:
    check = entry.check
    uid, name = DETECTION if entry.places else COMPLIANCE
    severity = Severity.INFO if check.outcome is Outcome.PASSED else check.severity
    severity_id, severity_name = _SEVERITIES[severity]
    event: dict[str, Json] = {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": uid,
        "class_name": name,
        "type_uid": uid * 100 + 1,
        "type_name": f"{name}: Create",
        "time": milliseconds,
        "severity_id": severity_id,
        "severity": severity_name,
        "status_code": _STATUSES[check.outcome][1].upper(),
        "message": entry.message,
        "metadata": {
            "version": VERSION,
            "event_code": check.id,
            "product": {
                "name": line(f"sluicegate {report.stage}"),
                "vendor_name": "sluicegate",
                "version": line(report.version),
            },
        },
        "finding_info": {
            "uid": entry.fingerprint(report.stage, with_message=True),
            "title": check.id,
            "analytic": {"type_id": 1, "type": "Rule", "uid": check.id, "name": check.id},
        },
        "resources": [_resource(entry, report)],
        "unmapped": _unmapped(entry, report),
    }
    if check.outcome is not Outcome.PASSED:
        event |= {"status_id": 1, "status": "New"}
    if entry.places:
        event["evidences"] = [_file(entry, path) for path in entry.places]
    else:
        status_id, status = _STATUSES[check.outcome]
        event["compliance"] = {
            "control": check.id,
            "standards": [line(f"sluicegate {report.stage}")],
            "status_id": status_id,
            "status": status,
        }
    return event


def _resource(entry: Entry, report: StoredReport) -> dict[str, Json]:
    """Return what was asked about; the subject as a whole if the check names nothing."""
    if entry.check.target:
        return {"uid": line(entry.check.target)}
    return {"uid": line(report.subject), "type": "sluicegate subject"}


def _file(entry: Entry, path: str) -> dict[str, Json]:
    shown = line(path)
    evidence: dict[str, Json] = {
        "file": {"name": shown.rpartition("/")[2] or shown, "path": shown, "type_id": 1}
    }
    rows = entry.finding.rows.get(path) if entry.finding is not None else None
    if rows:
        evidence["data"] = {"row_count": len(rows), "rows": ranges(rows)}
    return evidence


def _unmapped(entry: Entry, report: StoredReport) -> dict[str, Json]:
    values: dict[str, Json] = {
        "outcome": entry.check.outcome.value,
        "severity": entry.check.severity.value,
        "subject": line(report.subject),
        "report_sha256": report.digest.hex,
    }
    return values | ({"files_not_listed": entry.omitted} if entry.omitted else {})
