"""From a report to a verdict.

The only place where verdicts are made::

    each failed check   -> the policy's rule for it: warn, quarantine or block
                           (few enough rows: warn; quarantine without rows or files: block)
    each unknown check  -> inconclusive
    a waiver in force   -> warn instead, on the record
    the worst of all    -> the verdict; too much to set aside: block
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sluicegate.model import Check, Outcome, Report, RowId, Verdict
from sluicegate.policy.model import Policy, StageRules, Waiver

__all__ = ["Judgement", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with everything it rests on."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """One sentence for each check that did not pass, worst first."""
    waivers: tuple[Waiver, ...] = ()
    """Waivers that changed the verdict."""
    warned: tuple[str, ...] = ()
    """Ids of checks that are let pass with a warning, sorted."""
    rows: tuple[RowId, ...] = ()
    """Rows to set aside, sorted; only with a quarantine verdict."""
    files: tuple[str, ...] = ()
    """Files to set aside, sorted; only with a quarantine verdict."""


def decide(
    report: Report, policy: Policy, *, stage: str, subject: str, files: int, now: datetime
) -> Judgement:
    """Judge a report.

    Args:
        report: what the stage found.
        policy: the rules.
        stage: name of the stage.
        subject: URI of the subject, which waivers match.
        files: how many files the subject has.
        now: the instant at which waivers must be in force.
    """
    rules = policy.rules_for(stage)
    total = int(report.metrics.get("rows", 0))
    judged: list[tuple[Verdict, str]] = []
    used: dict[Waiver, None] = {}
    warned: set[str] = set()
    rows: set[RowId] = set()
    paths: set[str] = set()
    pooled = _pool_rows(report)
    for check in report.checks:
        if check.outcome is Outcome.PASSED:
            continue
        verdict, reason = _judge(check, rules, pooled[check.id], total)
        waiver = _waiver(check, policy, subject)
        if waiver is not None and verdict is not Verdict.WARN:
            if now.date() > waiver.expires:
                reason += f" (the waiver of {waiver.owner} expired on {waiver.expires})"
            else:
                verdict = Verdict.WARN
                reason += f" (waived by {waiver.owner} until {waiver.expires})"
                used[waiver] = None
        if verdict is Verdict.QUARANTINE:
            for finding in check.findings:
                rows.update(finding.rows)
                paths.update(finding.files)
        if verdict is Verdict.WARN:
            warned.add(check.id)
        judged.append((verdict, reason))
    rows = {row for row in rows if row.file not in paths}
    limit = rules.quarantine_at_most
    for what, count, whole in (("rows", len(rows), total), ("files", len(paths), files)):
        if count and not limit.holds(count, whole):
            reason = (
                f"{count} of {whole} {what} would have to be set aside, more than {limit}: "
                "too much is wrong to trust the remainder"
            )
            judged.append((Verdict.BLOCK, reason))
    judged.sort(key=lambda item: -item[0].rank)
    worst = judged[0][0] if judged else Verdict.ALLOW
    aside = worst is Verdict.QUARANTINE
    return Judgement(
        verdict=worst,
        reasons=tuple(reason for _, reason in judged),
        waivers=tuple(used),
        warned=tuple(sorted(warned)),
        rows=tuple(sorted(rows)) if aside else (),
        files=tuple(sorted(paths)) if aside else (),
    )


def _pool_rows(report: Report) -> dict[str, int]:
    """Count the rows of each check id: one question asked of many columns is one question."""
    rows: dict[str, set[RowId]] = {}
    for check in report.checks:
        known = rows.setdefault(check.id, set())
        known.update(row for finding in check.findings for row in finding.rows)
    return {name: len(found) for name, found in rows.items()}


def _judge(check: Check, rules: StageRules, pooled: int, total: int) -> tuple[Verdict, str]:
    name = f"{check.id} of {check.target}" if check.target else check.id
    if check.outcome is Outcome.UNKNOWN:
        return Verdict.INCONCLUSIVE, f"{name}: could not tell: {check.reason}"
    rule = rules.rule(check.id, check.severity)
    rows = {row for finding in check.findings for row in finding.rows}
    first = check.findings[0]
    reason = f"{name}: {first.message}"
    if first.files and first.files[0] not in first.message:
        reason += f" ({first.files[0]})"
    if (others := len(check.findings) - 1) > 0:
        more = f"{others} more finding{'s' if others > 1 else ''}"
        reason += f" (and {more}{f'; {len(rows)} rows in all' if rows else ''})"
    only_rows = all(finding.rows and not finding.files for finding in check.findings)
    if rule.tolerate and only_rows and rule.tolerate.holds(pooled, total):
        return Verdict.WARN, f"{reason} (tolerated: at most {rule.tolerate})"
    nameless = any(not finding.rows and not finding.files for finding in check.findings)
    if rule.action is Verdict.QUARANTINE and nameless:
        return Verdict.BLOCK, f"{reason} (names no rows or files that could be set aside)"
    return rule.action, reason


def _waiver(check: Check, policy: Policy, subject: str) -> Waiver | None:
    """Return the waiver for a check, the one that holds longest if there are several."""
    matching = [waiver for waiver in policy.waivers if waiver.covers(check.id, subject)]
    return max(matching, key=lambda waiver: waiver.expires, default=None)
