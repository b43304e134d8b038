"""What is asked of each report of another tool."""

from __future__ import annotations

from typing import Final

from sluicegate.model import Severity
from sluicegate.stages.encryption.question import Controls, Kind, Question

__all__ = ["AGE", "BY_SEVERITY", "COMPLETE", "QUESTIONS"]

_AGAIN: Final = (
    "mend what the finding names, then run the tool again and hand over its new report: "
    "prowler aws -M json-ocsf, aws securityhub get-findings, trivy image -f json, grype -o json"
)
_CONTROLS: Final = Controls(nist=("RA-5",), csf=("ID.RA-01",))
"""Vulnerability monitoring and scanning; vulnerabilities are identified and recorded."""

CRITICAL: Final = Question(
    id="encryption.foreign_critical",
    asks="Did another tool report nothing of high or critical severity?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    remedy=_AGAIN,
    controls=_CONTROLS,
)
WARNING: Final = Question(
    id="encryption.foreign_warning",
    asks="Did another tool report nothing of medium or unrated severity?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    remedy=_AGAIN,
    controls=_CONTROLS,
)
INFO: Final = Question(
    id="encryption.foreign_info",
    asks="Did another tool report nothing minor, suppressed, resolved or about other things?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    remedy=f"{_AGAIN}; see who suppressed what is listed as suppressed, and whether it still holds",
    controls=_CONTROLS,
)
COMPLETE: Final = Question(
    id="encryption.foreign_complete",
    asks="Is the report of another tool whole, and did the tool reach an answer to all it asked?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    remedy="give the tool the permissions that it lacked, answer or mute what it leaves to "
    "people, and save all pages: aws securityhub get-findings without --max-items",
    controls=_CONTROLS,
)
AGE: Final = Question(
    id="encryption.foreign_age",
    asks="Is the report of another tool at most seven days old?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    remedy="run the tool again before the gate, in the same pipeline; leave Grype's timestamp "
    "switched on",
    controls=_CONTROLS,
)

BY_SEVERITY: Final = {
    Severity.CRITICAL: CRITICAL,
    Severity.WARNING: WARNING,
    Severity.INFO: INFO,
}
QUESTIONS: Final = (*BY_SEVERITY.values(), COMPLETE, AGE)
