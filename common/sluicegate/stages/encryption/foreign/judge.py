"""What a report of another tool comes to: up to five checks for each run of a tool.

A finding of theirs becomes a finding of ours, in the check of its severity. A pass of theirs
never becomes more than the absence of a finding; it is counted. What somebody suppressed or
marked as resolved, and what is about other things, is listed as information, so that it is
seen and stops nobody. A report that cannot be read, or that shows nothing that was examined,
answers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.foreign.concern import Concern, Ours
from sluicegate.stages.encryption.foreign.model import Reported, State, ToolReport, UnreadableError
from sluicegate.stages.encryption.foreign.questions import AGE, BY_SEVERITY, COMPLETE, QUESTIONS
from sluicegate.stages.encryption.foreign.read import read_report
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.scope import Scope

__all__ = ["examine"]

MAX_AGE: Final = timedelta(days=7)
"""How old a report may be: tools are usually run every night or every week."""

MAX_AHEAD: Final = timedelta(days=1)
"""How far a report may lie in the future: some tools write local time without its zone."""

MAX_LISTED: Final = 10_000
"""Findings listed in all reports of a run together; the others are counted. A report of this
stage stays below some ten megabytes."""

_MAX_RESOURCES: Final = 5
"""Resources listed for one finding."""

_SET_ASIDE: Final = (State.SUPPRESSED, State.RESOLVED)


def examine(scope: Scope) -> Iterable[Check]:
    """Answer the wanted questions for every configured report."""
    wanted = [question for question in QUESTIONS if scope.wants(question)]
    if not wanted:
        return
    ours = Ours.of(scope.settings, scope.snapshot)
    budget = _Budget(MAX_LISTED)
    for index in range(len(scope.settings.reports)):
        name = f"reports[{index}]"
        try:
            tools = read_report(scope.context.file(name))
        except UnreadableError as error:
            for question in wanted:
                yield question.unknown(f"the report cannot be read: {error}", name)
            continue
        for part, tool in enumerate(tools, start=1):
            suffix = f" part {part}" if len(tools) > 1 else ""
            judged = _Judged(scope, tool, ours, f"{tool.label}: {name}{suffix}")
            yield from judged.checks(wanted, budget)
            judged.record(name)
    scope.metrics["foreign_not_listed"] = budget.refused


@dataclass(slots=True)
class _Budget:
    """How many findings may still be listed."""

    left: int
    refused: int = 0

    def take(self, wanted: int) -> int:
        given = min(wanted, self.left)
        self.left -= given
        self.refused += wanted - given
        return given


@dataclass(frozen=True, slots=True)
class _Item:
    """A result that is listed, and why there."""

    reported: Reported
    concern: Concern
    files: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        aside = self.reported.state in _SET_ASIDE or self.concern is Concern.OTHER
        return Severity.INFO if aside else self.reported.severity

    def order(self) -> tuple[object, ...]:
        said = self.reported
        return (
            list(Concern).index(self.concern),
            list(State).index(said.state),
            said.rule,
            said.resources,
            said.title,
            said.by,
        )


@dataclass(frozen=True, slots=True)
class _Judged:
    scope: Scope
    report: ToolReport
    ours: Ours
    target: str

    def checks(self, wanted: Sequence[Question], budget: _Budget) -> Iterator[Check]:
        """Answer the questions."""
        failed = self._items({State.FAILED, *_SET_ASIDE})
        undecided = self._items({State.UNDECIDED})
        for severity, question in BY_SEVERITY.items():
            if question not in wanted:
                continue
            if listed := [item for item in failed if item.severity is severity]:
                yield question.failed(self._findings(listed, budget), self.target)
            elif reason := self._open([one for one in undecided if one.severity is severity]):
                yield question.unknown(reason, self.target)
            else:
                yield question.passed(self.target)
        if COMPLETE in wanted:
            reason = self._open(undecided)
            yield COMPLETE.unknown(reason, self.target) if reason else COMPLETE.passed(self.target)
        if AGE in wanted:
            reason = self._stale()
            yield AGE.unknown(reason, self.target) if reason else AGE.passed(self.target)

    def _items(self, states: set[State]) -> list[_Item]:
        items = [
            _Item(reported, *self.ours.place(reported))
            for reported in self.report.results
            if reported.state in states
        ]
        return sorted(items, key=_Item.order)

    def _findings(self, items: list[_Item], budget: _Budget) -> list[Finding]:
        given = budget.take(len(items))
        findings = [self._finding(item) for item in items[:given]]
        if given < len(items):
            findings.append(
                Finding(
                    message=f"expected no finding of {self.report.label}, found "
                    f"{len(items) - given} more that are not listed",
                    evidence={"not_listed": len(items) - given},
                )
            )
        return findings

    def _finding(self, item: _Item) -> Finding:
        said = item.reported
        where = f" on {said.resources[0]}" if said.resources else ""
        state = said.state.value if said.state in _SET_ASIDE else "reported"
        title = f": {said.title}" if said.title else ""
        return Finding(
            message=f"expected nothing, found {said.rule} {state}{where}{title}",
            files=item.files,
            evidence={
                "tool": self.report.label,
                "rule": said.rule,
                "resources": list(said.resources[:_MAX_RESOURCES]),
                "concerns": item.concern.value,
                "severity": said.severity.value,
                "state": said.state.value,
                **({"by": said.by} if said.by else {}),
            },
        )

    def _open(self, undecided: list[_Item]) -> str:
        """Return why there is no answer; empty if nothing is open."""
        reasons = list(self.report.gaps)
        if self.report.empty:
            reasons.append("the report shows nothing that the tool examined")
        if undecided:
            first = undecided[0].reported
            why = f": {first.by}" if first.by else ""
            reasons.append(f"{len(undecided)} results are undecided, first {first.rule}{why}")
        return "; ".join(reasons)

    def _stale(self) -> str:
        written, now = self.report.written, self.scope.now
        if written is None:
            return "the report does not say when the tool ran"
        stamp = written.isoformat(timespec="seconds")
        if written > now + MAX_AHEAD:
            return f"the report is dated in the future: {stamp}"
        if written < now - MAX_AGE:
            return f"expected a report of the last {MAX_AGE.days} days, found one of {stamp}"
        return ""

    def record(self, name: str) -> None:
        """Add to the numbers and tables of the run."""
        counts, metrics = self.report.counts, self.scope.metrics
        row: dict[str, str | int | float | bool | None] = {
            "report": name,
            "tool": self.report.label,
        }
        for state, count in counts.items():
            key = f"foreign_{state.value.replace(' ', '_')}"
            metrics[key] = metrics.get(key, 0) + count
            row[state.value] = count
        written = self.report.written
        row["written"] = written.isoformat(timespec="seconds") if written else None
        self.scope.tables.setdefault("foreign_reports", []).append(row)
