"""A report as one HTML page that needs nothing else.

The page asks no server for anything and runs no script; a content security policy in it
forbids both. Every value is escaped, and hidden characters are shown as their code: column
names and file names are chosen by whoever wrote the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import RunIdentity, Verdict
from sluicegate.reports.drawing import draw
from sluicegate.reports.stored import ranges
from sluicegate.reports.templating import template

__all__ = ["render_report"]

_MAX_TABLE_ROWS: Final = 500
_MAX_FINDINGS: Final = 100


def render_report(
    document: Mapping[str, Json],
    *,
    uri: str,
    verdict: Verdict,
    reasons: Sequence[str],
    issued: datetime,
    run: RunIdentity,
) -> str:
    """Return the page for one stored report.

    Args:
        document: the report as it is stored.
        uri: where the subject was.
        verdict: what policy made of it.
        reasons: why, worst first.
        issued: when the receipt was issued.
        run: which run it was.
    """
    return template("report.html.j2").render(
        document=document,
        figures=list(draw(document.get("figures", ()))),
        uri=uri,
        verdict=verdict.value,
        reasons=reasons,
        issued=issued.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        run=run.to_json(),
        ranges=ranges,
        max_rows=_MAX_TABLE_ROWS,
        max_findings=_MAX_FINDINGS,
    )
