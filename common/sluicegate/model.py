"""The values that everything else speaks in: checks, findings, reports, verdicts.

Nothing here reads a file or knows an orchestrator. States that make no sense cannot be
built: a report without checks, a failed check that found nothing, an unknown without a
reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Final

from sluicegate.canonical import Json
from sluicegate.figures import Figure

__all__ = [
    "Check",
    "Finding",
    "Outcome",
    "Report",
    "RowId",
    "RunIdentity",
    "Severity",
    "Verdict",
    "rows_by_file",
]

_CHECK_ID: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")


class Outcome(StrEnum):
    """What a check answered."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Could not tell. Never counts as passed."""


class Severity(StrEnum):
    """How bad it is when a check fails. Policy turns it into an action."""

    CRITICAL = "critical"
    """The subject must not be used."""
    WARNING = "warning"
    """The rows or files it names must not be used."""
    INFO = "info"
    """Worth knowing."""


class Verdict(StrEnum):
    """What policy made of a report. Computed by :mod:`sluicegate.policy`, never set."""

    ALLOW = "allow"
    WARN = "warn"
    """Use is allowed; somebody should look."""
    QUARANTINE = "quarantine"
    """Flagged rows or files are set aside; the remainder may be used."""
    INCONCLUSIVE = "inconclusive"
    """A check could not tell: no verdict on the subject, and no clearance."""
    BLOCK = "block"

    @property
    def rank(self) -> int:
        """Position from best (0, allow) to worst (4, block)."""
        return list(Verdict).index(self)

    @property
    def clears(self) -> bool:
        """Whether the subject as it stands may be used."""
        return self in (Verdict.ALLOW, Verdict.WARN)

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Return the worst of several verdicts.

        Raises:
            ValueError: there are none: nothing examined is not "allow".
        """
        return max(verdicts, key=lambda verdict: verdict.rank)


@dataclass(frozen=True, slots=True, order=True)
class RowId:
    """A row of a snapshot: stable for the same bytes, and needs no key column."""

    file: str
    """Path of the file inside the subject, with ``/``."""
    ordinal: int
    """Position of the row in that file, from 0, header lines not counted."""


def rows_by_file(rows: Iterable[RowId]) -> dict[str, list[int]]:
    """Group rows by file: sorted file names, each with its sorted ordinals, no repeats."""
    ordered = sorted(set(rows))
    return {
        file: [row.ordinal for row in group]
        for file, group in groupby(ordered, key=lambda row: row.file)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a failed check saw."""

    message: str
    """What was found, where expected and found differ. Holds no data value."""
    rows: tuple[RowId, ...] = ()
    """The rows it concerns: what a quarantine sets aside."""
    files: tuple[str, ...] = ()
    """Whole files it concerns, as paths inside the subject."""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """Machine-readable details (JSON). Data values only if the policy allows samples."""

    def __post_init__(self) -> None:
        if not self.message:
            raise ValueError("a finding says what it found")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: rows grouped by file, so that 10**5 rows stay readable."""
        return {
            "message": self.message,
            "rows": rows_by_file(self.rows),
            "files": sorted(self.files),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named question that a stage asked, and its answer.

    Use :meth:`passed`, :meth:`failed` and :meth:`unknown`: they cannot build a
    contradiction.
    """

    id: str
    """Stable identifier, ``area.thing``; never reused for another question."""
    outcome: Outcome
    severity: Severity = Severity.CRITICAL
    """What a failure would mean."""
    target: str = ""
    """What was asked about, when one question is asked of several things (a column)."""
    findings: tuple[Finding, ...] = ()
    """What was seen; present exactly when the check failed."""
    reason: str = ""
    """Why the answer is unknown; present exactly then."""

    def __post_init__(self) -> None:
        if not _CHECK_ID.fullmatch(self.id):
            raise ValueError(f"a check id reads area.thing in lower case, not {self.id!r}")
        if (self.outcome is Outcome.FAILED) != bool(self.findings):
            raise ValueError(f"check {self.id}: a check has findings exactly when it failed")
        if (self.outcome is Outcome.UNKNOWN) != bool(self.reason):
            raise ValueError(f"check {self.id}: an unknown outcome, and only that, has a reason")

    @classmethod
    def passed(cls, id: str, *, severity: Severity = Severity.CRITICAL, target: str = "") -> Check:
        """The question was answered, and nothing is wrong."""
        return cls(id=id, outcome=Outcome.PASSED, severity=severity, target=target)

    @classmethod
    def failed(
        cls,
        id: str,
        findings: Sequence[Finding],
        *,
        severity: Severity = Severity.CRITICAL,
        target: str = "",
    ) -> Check:
        """The question was answered, and the findings say what is wrong."""
        return cls(
            id=id,
            outcome=Outcome.FAILED,
            severity=severity,
            target=target,
            findings=tuple(findings),
        )

    @classmethod
    def unknown(
        cls, id: str, reason: str, *, severity: Severity = Severity.CRITICAL, target: str = ""
    ) -> Check:
        """The question could not be answered; the reason says why."""
        return cls(id=id, outcome=Outcome.UNKNOWN, severity=severity, target=target, reason=reason)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        value: dict[str, Json] = {
            "id": self.id,
            "outcome": self.outcome.value,
            "severity": self.severity.value,
            "findings": [finding.to_json() for finding in self.findings],
        }
        if self.target:
            value["target"] = self.target
        if self.reason:
            value["reason"] = self.reason
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of one run of a stage, with their findings.

    The same bytes under the same configuration give the same report: it holds no time, no
    host and no run.

    Raises:
        ValueError: there are no checks. Nothing asked is not a pass.
    """

    checks: tuple[Check, ...]
    metrics: Mapping[str, float | int] = field(default_factory=dict)
    """Numbers worth keeping: counts, scores, rates."""
    tables: Mapping[str, tuple[Mapping[str, Json], ...]] = field(default_factory=dict)
    """Named tables for people and for tools: each row maps column names to scalars."""
    figures: tuple[Figure, ...] = ()
    """Figures for people, in order. Those that quote data only if the policy allows samples."""

    def __post_init__(self) -> None:
        if not self.checks:
            raise ValueError("a report without checks would say that nothing is a pass")

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; ``figures`` only where there are any."""
        value: dict[str, Json] = {
            "checks": [check.to_json() for check in self.checks],
            "metrics": dict(self.metrics),
            "tables": {name: [dict(row) for row in rows] for name, rows in self.tables.items()},
        }
        if self.figures:
            value["figures"] = [figure.to_json() for figure in self.figures]
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """Which run of which orchestrator did this, for the receipt.

    Free text from the orchestrator: evidence for an auditor, never an input to a decision.
    """

    orchestrator: str
    """``airflow``, ``prefect`` or ``cli``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For example ``dag_id``, ``task_id`` and ``run_id``."""

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; over-long labels are cut, so that receipts stay small."""
        labels = {str(key)[:50]: str(value)[:200] for key, value in self.labels.items()}
        return {"orchestrator": self.orchestrator, **dict(sorted(labels.items())[:12])}
