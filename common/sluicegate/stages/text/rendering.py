"""Tallies become checks, metrics and a table. Values of the data stay out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Report, Severity
from sluicegate.stages.text.tally import MOST_ROWS, Tally

__all__ = ["SEVERITIES", "render"]

SEVERITIES: Final = {
    "hidden_characters": Severity.CRITICAL,
    "active_markup": Severity.CRITICAL,
    "secrets": Severity.CRITICAL,
    "mixed_scripts": Severity.WARNING,
    "spreadsheet_formulas": Severity.WARNING,
    "personal_data": Severity.WARNING,
    "urls": Severity.WARNING,
    "prompt_injection": Severity.WARNING,
    "prompt_classifier": Severity.WARNING,
}
"""What a finding of each rule means. Critical is what nobody writes by accident or what must be
acted on at its source: somebody hid text, somebody planted a script, a secret must be revoked;
without the rows the cause would still be there. The others have honest causes as well (a typist's
two keyboards, a formula in an export, a customer's address, an article that shows an attack): the
rows are set aside, and the rest can be used. A rule that is not listed counts as critical."""


def render(tallies: Sequence[Tally], rows: int, columns: Sequence[str]) -> Report:
    """Return the report.

    Args:
        tallies: one for each column and rule, in order.
        rows: how many the data set has.
        columns: those that were scanned.
    """
    checks = tuple(_check(tally) for tally in tallies)
    return Report(
        checks=checks,
        metrics={
            "rows": rows,
            "columns": len(columns),
            "texts": sum({tally.column: tally.examined for tally in tallies}.values()),
            "marks": sum(kind.marks for tally in tallies for kind in tally.kinds.values()),
            "failed": sum(bool(tally.kinds) for tally in tallies),
        },
        tables={"text": tuple(_row(tally) for tally in tallies)},
    )


def _check(tally: Tally) -> Check:
    name = f"text.{tally.rule.name}"
    severity = SEVERITIES.get(tally.rule.name, Severity.CRITICAL)
    if tally.kinds:
        findings = [_finding(tally, kind) for kind in tally.rule.known_kinds if kind in tally.kinds]
        return Check.failed(name, findings, severity=severity, target=tally.column)
    if not tally.examined:
        why = "the column holds no text: nothing was examined"
        return Check.unknown(name, why, severity=severity, target=tally.column)
    return Check.passed(name, severity=severity, target=tally.column)


def _finding(tally: Tally, name: str) -> Finding:
    kind = tally.kinds[name]
    message = (
        f"{tally.rule.about}: {kind.marks} of kind {name.replace('_', ' ')} in "
        f"{kind.row_count} rows"
    )
    if not kind.rows:
        message += f"; no row is named, as more than {MOST_ROWS:,} rows have findings"
    details = {text: count for text, count in kind.details.most_common() if text}
    evidence: dict[str, Json] = {
        "kind": name,
        "count": kind.marks,
        "rows": kind.row_count,
        "examined": tally.examined,
    }
    if details:
        evidence["details"] = [
            {"detail": text, "count": count}
            for text, count in sorted(details.items(), key=lambda item: (-item[1], item[0]))
        ]
    if kind.samples:
        evidence["samples"] = list(kind.samples)
    return Finding(message=message, rows=tuple(kind.rows), evidence=evidence)


def _row(tally: Tally) -> dict[str, Json]:
    passed = None if not tally.examined and not tally.kinds else not tally.kinds
    return {
        "column": tally.column,
        "rule": tally.rule.name,
        "severity": SEVERITIES.get(tally.rule.name, Severity.CRITICAL).value,
        "success": passed,
        "examined": tally.examined,
        "rows": tally.row_count,
        "kinds": ", ".join(
            f"{kind} {tally.kinds[kind].marks}"
            for kind in tally.rule.known_kinds
            if kind in tally.kinds
        ),
    }
