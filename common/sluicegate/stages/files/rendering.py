"""The report: each question with the files that failed it, and a table of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Report
from sluicegate.stages.files.checks import CHECKS
from sluicegate.stages.files.examination import Examination, Remark
from sluicegate.stages.files.kinds import claimed_kind

__all__ = ["Examined", "render"]

MOST_FINDINGS: Final = 1000
"""Findings of one check that are told one by one; the last one names the files of the rest."""

MOST_UNKNOWN: Final = 100
"""Files of one check that are told one by one where nothing could be told about them."""

MOST_ROWS: Final = 10_000
"""Rows of the table; files with remarks come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is known of one file after it was examined."""

    path: str
    size: int
    kind: str
    expanded: int
    depth: int
    entries: int
    complete: bool
    remarks: tuple[Remark, ...]
    dropped: int = 0

    @classmethod
    def of(cls, path: str, found: Examination) -> Examined:
        """Keep what was found of a file."""
        return cls(
            path=path,
            size=found.size,
            kind=found.kind,
            expanded=found.expanded + found.decoded,
            depth=found.depth,
            entries=found.entries,
            complete=found.complete,
            remarks=tuple(found.remarks),
            dropped=found.dropped,
        )


def render(files: Sequence[Examined], general: Mapping[str, str], *, unasked: str = "") -> Report:
    """Make the report.

    Args:
        files: every file, in order of paths.
        general: what failed of the subject as a whole, by check.
        unasked: why no file was opened, if so: what did not fail is then unknown.
    """
    checks = [
        check for name in CHECKS for check in _checks(name, files, general.get(name, ""), unasked)
    ]
    return Report(checks=tuple(checks), metrics=_metrics(files), tables={"files": _table(files)})


def _checks(id: str, files: Sequence[Examined], general: str, unasked: str) -> list[Check]:
    """Answer one question: failed once with all findings, and unknown for each such file."""
    severity = CHECKS[id]
    told = [(one, remark) for one in files for remark in one.remarks if remark.check == id]
    findings = [_finding(one, remark) for one, remark in told if not remark.unknown]
    if general:
        findings.insert(0, Finding(message=general))
    checks = []
    if findings:
        checks.append(Check.failed(id, _capped(findings), severity=severity))
    open_ = [(one.path, remark.message) for one, remark in told if remark.unknown]
    checks += [
        Check.unknown(id, message, severity=severity, target=path)
        for path, message in open_[:MOST_UNKNOWN]
    ]
    if len(open_) > MOST_UNKNOWN:
        rest = len(open_) - MOST_UNKNOWN
        checks.append(Check.unknown(id, f"and {rest} more like these", severity=severity))
    if unasked and not checks:
        checks.append(Check.unknown(id, unasked, severity=severity))
    return checks or [Check.passed(id, severity=severity)]


def _finding(one: Examined, remark: Remark) -> Finding:
    return Finding(message=remark.message, files=(one.path,), evidence=remark.evidence)


def _capped(findings: list[Finding]) -> list[Finding]:
    if len(findings) <= MOST_FINDINGS:
        return findings
    rest = findings[MOST_FINDINGS - 1 :]
    files = tuple(sorted({path for finding in rest for path in finding.files}))
    return [
        *findings[: MOST_FINDINGS - 1],
        Finding(message=f"{len(rest)} more findings in {len(files)} files", files=files),
    ]


def _metrics(files: Sequence[Examined]) -> dict[str, float | int]:
    return {
        "files": len(files),
        "bytes": sum(one.size for one in files),
        "expanded_bytes": sum(one.expanded for one in files),
        "entries": sum(one.entries for one in files),
        "files_with_remarks": sum(bool(one.remarks) for one in files),
        "remarks_left_out": sum(one.dropped for one in files),
        "files_not_examined_to_the_end": sum(not one.complete for one in files),
    }


def _table(files: Sequence[Examined]) -> tuple[Mapping[str, Json], ...]:
    chosen = sorted(files, key=lambda one: not one.remarks)[:MOST_ROWS]
    return tuple(
        {
            "path": one.path,
            "claimed": claimed_kind(one.path) or "nothing",
            "real": one.kind,
            "size": one.size,
            "expanded": one.expanded,
            "depth": one.depth,
            "entries": one.entries,
            "complete": one.complete,
            "remarks": ", ".join(sorted({remark.check for remark in one.remarks})),
        }
        for one in sorted(chosen, key=lambda one: one.path)
    )
