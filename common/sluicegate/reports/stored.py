"""The stored report, read for views that leave this program: what to show, and how much.

Exports must stay small whatever was found: a scan may name 10**5 rows. The first finding of
each failed check always comes before further ones, unknown checks before passed ones, so
that a cut never turns a "no" into silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import SluicegateError
from sluicegate.model import Outcome, Severity
from sluicegate.reports.drawing import visible

__all__ = ["Entry", "StoredCheck", "StoredFinding", "StoredReport", "line", "ranges"]

SCHEMA: Final = "sluicegate-report/v1"
_CHECK_ID: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
"""As :class:`sluicegate.model.Check` demands: ids become names of rules as they are."""

MAX_ENTRIES: Final = 5_000
"""Results of an export: as many as code hosts show of one analysis."""
MAX_FILES: Final = 20
"""Files listed for one result."""
MAX_PLACES: Final = 25_000
"""Files listed in an export; then it stays below some fifteen megabytes in practice."""
MAX_RANGES: Final = 40
"""Row ranges listed for one file."""
MAX_TEXT: Final = 1_000
"""Characters of one message."""


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding as it is stored, without its evidence: that may hold data values."""

    message: str
    rows: Mapping[str, Sequence[int]]
    files: tuple[str, ...]

    @property
    def places(self) -> list[str]:
        """Files that it names, or in which it names rows; sorted."""
        return sorted({*self.files, *self.rows})


@dataclass(frozen=True, slots=True)
class StoredCheck:
    """A check as it is stored."""

    id: str
    outcome: Outcome
    severity: Severity
    target: str
    reason: str
    findings: tuple[StoredFinding, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One result of an export: a finding, or a check that has none."""

    check: StoredCheck
    finding: StoredFinding | None
    places: tuple[str, ...]
    """Files to list, sorted; not more than an export may hold."""
    omitted: int
    """Files that are not listed."""

    @property
    def message(self) -> str:
        """What to say, as one shown text."""
        if self.finding is not None:
            return line(self.finding.message)
        return line(self.check.reason or "nothing was found")

    def fingerprint(self, stage: str, *, with_message: bool) -> str:
        """Return what tells this result from others in every run.

        Args:
            stage: name of the stage.
            with_message: tell findings of one check and place apart, too; messages that hold
                counts change when these do.
        """
        words = self.finding.message if self.finding is not None and with_message else ""
        places = self.finding.places if self.finding is not None else []
        return Digest.of_json([stage, self.check.id, self.check.target, places, words]).hex


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report as a gate stores it."""

    stage: str
    version: str
    subject: str
    """Digest of the subject."""
    digest: Digest
    """Of the report itself: the name of its file in the evidence."""
    checks: tuple[StoredCheck, ...]

    @classmethod
    def of(cls, document: Json) -> StoredReport:
        """Read a stored report.

        Raises:
            SluicegateError: it is not one, or of a version that is not known.
        """
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            raise SluicegateError(
                f"expected a report with the schema {SCHEMA}, found another document",
                next_step="name a file of the evidence folder: reports/<sha256>.json",
            )
        try:
            checks = tuple(_check(check) for check in document["checks"])
            stage, version = str(document["stage"]), str(document["version"])
            subject = str(document["subject"]["digest"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SluicegateError(
                f"the report is damaged: {type(error).__name__} while its checks were read",
                next_step="compare the file's SHA-256 with its name",
            ) from error
        if not checks:
            raise SluicegateError("the report holds no checks: nothing examined is no result")
        return cls(stage, version, subject, Digest.of_json(document), checks)

    def entries(self) -> tuple[list[Entry], int]:
        """Return the results to export, in the order of the report, and how many were left out."""
        ranked = [
            (_rank(check, index), number, check, finding)
            for number, (check, index, finding) in enumerate(_pairs(self.checks))
        ]
        kept = sorted(sorted(ranked, key=lambda item: item[:2])[:MAX_ENTRIES], key=_number)
        left = MAX_PLACES
        entries = []
        for _, _, check, finding in kept:
            places = finding.places if finding is not None else []
            shown = places[: min(MAX_FILES, left)]
            left -= len(shown)
            entries.append(Entry(check, finding, tuple(shown), len(places) - len(shown)))
        return entries, len(ranked) - len(kept)


def _number(item: tuple[int, int, StoredCheck, StoredFinding | None]) -> int:
    return item[1]


def _pairs(
    checks: Iterable[StoredCheck],
) -> Iterable[tuple[StoredCheck, int, StoredFinding | None]]:
    for check in checks:
        if not check.findings:
            yield check, 0, None
        for index, finding in enumerate(check.findings):
            yield check, index, finding


def _rank(check: StoredCheck, index: int) -> int:
    """Return what goes first if not all fits."""
    if check.outcome is Outcome.FAILED:
        return 0 if index == 0 else 2
    return 1 if check.outcome is Outcome.UNKNOWN else 3


def _check(value: Mapping[str, Json]) -> StoredCheck:
    outcome, name = Outcome(value["outcome"]), str(value["id"])
    if not _CHECK_ID.fullmatch(name):
        raise ValueError("a check id reads area.thing in lower case")
    findings = tuple(_finding(finding) for finding in value["findings"])
    if (outcome is Outcome.FAILED) != bool(findings):
        raise ValueError("a check has findings exactly when it failed")
    return StoredCheck(
        id=name,
        outcome=outcome,
        severity=Severity(value["severity"]),
        target=str(value.get("target", "")),
        reason=str(value.get("reason", "")),
        findings=findings,
    )


def _finding(value: Mapping[str, Json]) -> StoredFinding:
    rows = {str(file): [int(row) for row in found] for file, found in value["rows"].items()}
    return StoredFinding(str(value["message"]), rows, tuple(str(file) for file in value["files"]))


def line(text: str) -> str:
    """Return text with hidden characters shown as their code, cut to a bounded length."""
    shown = visible(text[:MAX_TEXT])
    return shown if len(text) <= MAX_TEXT else f"{shown}…"


def ranges(ordinals: Sequence[int]) -> str:
    """Return ``3, 7-12, 40`` for sorted ordinals, cut after a number of ranges."""
    runs: list[list[int]] = []
    for ordinal in ordinals:
        if runs and ordinal == runs[-1][1] + 1:
            runs[-1][1] = ordinal
        elif len(runs) == MAX_RANGES:
            return f"{_words(runs)} …"
        else:
            runs.append([ordinal, ordinal])
    return _words(runs)


def _words(runs: list[list[int]]) -> str:
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
