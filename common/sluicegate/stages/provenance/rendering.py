"""The report: checks, the numbered steps, the links and the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Outcome, Report
from sluicegate.receipts.lineage import Chain, graph_of
from sluicegate.stages.provenance.publisher import Vouched
from sluicegate.stages.provenance.steps import CHECKS, QUESTIONS, Step, Walked

__all__ = ["MARKS", "render", "render_unread"]

MARKS: Final = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.UNKNOWN: "?"}
_MAX_ROWS: Final = 5000
"""Most links in the table: what remains is counted."""
_ALWAYS: Final = frozenset(CHECKS) - {
    "provenance.subject",
    "provenance.age",
    "provenance.delay",
    "provenance.required",
}
"""What is asked of every chain."""


def render(steps: tuple[Step, ...], walked: Walked) -> Report:
    """Return the report of a walk."""
    chain = walked.chain
    return Report(
        checks=tuple(step.check for step in steps),
        metrics={
            "links": len(chain.links),
            "depth": chain.depth,
            "sources": len(chain.sources),
            "problems": len(walked.problems),
        },
        tables={"steps": _table(steps), "links": _links(chain)},
        figures=(graph_of(chain),) if chain.links or chain.unmade else (),
    )


def render_unread(reason: str, vouched: Vouched | None) -> Report:
    """Return the report of a walk that could not begin: nothing is known of the chain."""
    steps = [Step(Check.unknown(name, reason), reason) for name in QUESTIONS if name in _ALWAYS]
    if vouched:
        steps.append(Step(vouched.check, vouched.detail))
    return Report(checks=tuple(step.check for step in steps), tables={"steps": _table(steps)})


def _table(steps: list[Step] | tuple[Step, ...]) -> tuple[Mapping[str, Json], ...]:
    return tuple(
        {
            "step": QUESTIONS[step.check.id][0],
            "question": QUESTIONS[step.check.id][1],
            "check": step.check.id,
            "answer": f"{MARKS[step.check.outcome]} {step.check.outcome.value}",
            "detail": step.detail,
        }
        for step in steps
    )


def _links(chain: Chain) -> tuple[Mapping[str, Json], ...]:
    rows: list[Mapping[str, Json]] = [
        {
            "links_away": link.level,
            "subject": link.subject.uri or link.subject.name,
            "digest": link.subject.digest.hex,
            "activity": link.activity,
            "ledger_entry": link.record.index,
            "key": link.record.key,
            "issued": f"{link.record.statement.issued:%Y-%m-%d %H:%M:%S}",
            "made_from": ", ".join(item.digest.short for item in link.inputs[:20]),
        }
        for link in list(chain.links.values())[:_MAX_ROWS]
    ]
    return tuple(rows)
