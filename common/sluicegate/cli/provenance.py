"""``sluicegate provenance``: say where data came from, and check what was said."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from sluicegate.canonical import Json
from sluicegate.cli.options import add_endpoint, add_stage_options
from sluicegate.cli.provenance_capture import MARKINGS, capture, mark, summarise
from sluicegate.cli.provenance_export import FORMATS, export, told
from sluicegate.cli.provenance_walk import (
    Walk,
    open_policy,
    read_records,
    snapshot_of,
    stage_of,
    walk,
)
from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, NOT_CLEARED, PASSED, emit
from sluicegate.errors import ConfigurationError
from sluicegate.model import Outcome, Report
from sluicegate.receipts.lineage import graph_of
from sluicegate.reports.drawing import visible
from sluicegate.reports.lineage_graph import to_dot, to_html, to_json, to_mermaid, to_text
from sluicegate.stages.base import Context, configuration_files
from sluicegate.stages.provenance import VerifyProvenance
from sluicegate.storage.local import write_atomically

if TYPE_CHECKING:
    _Actions: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

__all__ = ["add_provenance"]

_EPILOG: Final = """\
exit codes:
  0  every step passed      1  a step failed      2  could not conclude (never a pass)
"""


def add_provenance(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "provenance",
        help="where data and models come from: capture, verify, graph, export",
        description="Say in a signed statement what something was made from, and walk the "
        "chain of such statements from a model back to its sources.",
    )
    actions: _Actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_capture(actions)
    _add_verify(actions)
    _add_graph(actions)
    _add_export(actions)
    _add_summary(actions)
    _add_mark(actions)


def _add(
    actions: _Actions, name: str, run: Callable[[argparse.Namespace], int], text: str, subject: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", metavar="SUBJECT", help=subject)
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    add_endpoint(parser)
    parser.set_defaults(run=run)
    return parser


def _add_signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", help="private key (default: $SLUICEGATE_SIGNING_KEY)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_capture(actions: _Actions) -> None:
    parser = _add(actions, "capture", capture, "sign what a subject was made from", "path or URI")
    parser.add_argument(
        "--from",
        dest="made_from",
        metavar="SOURCE",
        action="extend",
        nargs="+",
        default=[],
        help="path, URI or sha256:DIGEST of what went in; nothing for data from outside",
    )
    parser.add_argument(
        "--activity", help="what was done (default: import, or transform if anything went in)"
    )
    parser.add_argument(
        "--published",
        metavar="FILE",
        help="what the publisher vouches for; refuse to sign unless it covers every file",
    )
    parser.add_argument("--published-signature", metavar="FILE", help="signature over that file")
    parser.add_argument("--published-key", metavar="PEM", help="public key of the publisher")
    _add_signing(parser)


def _add_verify(actions: _Actions) -> None:
    text = "walk from a subject back to its sources, and answer step by step"
    parser = _add(actions, "verify", _verify, text, "path or URI")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_stage_options(parser, VerifyProvenance)


def _add_graph(actions: _Actions) -> None:
    text = "show what a subject was made from"
    parser = _add(actions, "graph", _graph, text, "path, URI or sha256:DIGEST")
    parser.add_argument("--format", choices=tuple(_DRAWINGS), default="text")
    parser.add_argument("--out", metavar="FILE", help="write it there (default: standard output)")
    parser.add_argument("--purpose", help="walk as this purpose of the policy asks")


def _add_export(actions: _Actions) -> None:
    text = "write the chain for other tools"
    parser = _add(actions, "export", export, text, "path, URI or sha256:DIGEST")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument(
        "--out", metavar="PATH", help="file, or for in-toto an empty folder (default: output)"
    )
    parser.add_argument("--purpose", help="walk as this purpose of the policy asks")
    parser.add_argument("--key", help="private key that signs layout and links (in-toto)")
    parser.add_argument("--namespace", default="sluicegate", help="of the jobs (openlineage)")
    parser.add_argument("--license", default="", help="URL or SPDX identifier (croissant)")
    parser.add_argument("--description", default="", help="a sentence (croissant)")


def _add_summary(actions: _Actions) -> None:
    text = "verify a subject for a purpose and sign a summary of that (SLSA VSA)"
    parser = _add(actions, "summary", summarise, text, "path or URI")
    parser.add_argument("--purpose", required=True, help="what it is to be used for")
    _add_signing(parser)


def _add_mark(actions: _Actions) -> None:
    text = "sign that data was seen, is on hold, or is released again"
    parser = _add(actions, "mark", mark, text, "path, URI or sha256:DIGEST")
    parser.add_argument("marking", choices=tuple(MARKINGS))
    parser.add_argument("--reason", default="", help="a sentence; no secret and no data")
    _add_signing(parser)


def _verify(args: argparse.Namespace) -> int:
    policy = open_policy(args)
    stage = stage_of(args, policy)
    snapshot = snapshot_of(args.subject)
    context = Context(files=configuration_files(stage), records=lambda: read_records(policy))
    report = stage.run(snapshot, context)
    code = _exit_code(report)
    if args.json:
        outcome = {PASSED: "passed", NOT_CLEARED: "refused"}.get(code, "could not conclude")
        emit({"outcome": outcome, "uri": str(snapshot.uri), **report.to_json()})
        return code
    for row in report.tables["steps"]:
        mark_and_word = str(row["answer"]).partition(" ")[0]
        detail = f"  {row['detail']}" if row["detail"] else ""
        print(visible(f"{mark_and_word} {row['step']}. {row['question']}{detail}", strict=True))
    for check in report.checks:
        for finding in check.findings[1:]:
            print(visible(f"    {check.id}: {finding.message}", strict=True))
    return code


def _exit_code(report: Report) -> int:
    outcomes = {check.outcome for check in report.checks}
    if Outcome.FAILED in outcomes:
        return NOT_CLEARED
    return COULD_NOT_CONCLUDE if Outcome.UNKNOWN in outcomes else PASSED


def _graph(args: argparse.Namespace) -> int:
    walked = walk(args)
    text = _DRAWINGS[args.format](walked)
    if args.out is None:
        sys.stdout.write(text)
        return told(walked.chain)
    try:
        write_atomically(Path(args.out), text.encode())
    except OSError as error:
        raise ConfigurationError(f"cannot write {args.out}: {error.strerror}") from error
    return told(walked.chain)


def _html(walked: Walk) -> str:
    return to_html(graph_of(walked.chain), problems=[one.message for one in walked.chain.problems])


def _json(walked: Walk) -> str:
    value: dict[str, Json] = {
        **to_json(graph_of(walked.chain)),
        "problems": [one.to_json() | {"message": one.message} for one in walked.chain.problems],
        "cut": walked.chain.cut,
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


_DRAWINGS: Final[Mapping[str, Callable[[Walk], str]]] = {
    "text": lambda walked: to_text(graph_of(walked.chain)),
    "dot": lambda walked: to_dot(graph_of(walked.chain)),
    "mermaid": lambda walked: to_mermaid(graph_of(walked.chain)),
    "html": _html,
    "json": _json,
}
