"""``sluicegate session run``: any command as a training session."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from sluicegate.clearance import SubjectSource
from sluicegate.cli.gate import read_clearance
from sluicegate.cli.options import add_endpoint, use_endpoint
from sluicegate.cli.terminal import PASSED, Progress, emit
from sluicegate.errors import ConfigurationError, StageError
from sluicegate.session import TrainingSession, training_session
from sluicegate.session.command import must_be_new, read_metrics, run_command
from sluicegate.storage.uri import SubjectUri

__all__ = ["add_session"]

_DESCRIPTION = """\
Verify a data set as a consumer does, give a command a private copy of it, and sign what it
made: from which data, by which code, with which parameters and metrics.

The command finds the data at $SLUICEGATE_DATA, writes what it makes to $SLUICEGATE_OUTPUT
and may append metrics to $SLUICEGATE_METRICS, one a line:
{"name": "loss", "value": 0.1, "step": 3}
It gets none of sluicegate's keys.
"""
_EPILOG = """\
exit codes:
  0  the command ended well and its output is recorded
  1  the data may not be used; the command did not run
  2  could not conclude: the command failed, or its output cannot be recorded
"""


def add_session(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "session",
        help="run a training on cleared data and sign what comes out",
        description="Record what was made from which cleared data.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run = actions.add_parser(
        "run",
        help="run a command as a session",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--purpose", required=True, help="what the data must be cleared for")
    run.add_argument("--subject", required=True, help="path or URI; @FILE for a clearance")
    run.add_argument("--output", required=True, help="where the command writes; must be new")
    run.add_argument("--activity", help="what is done, for the receipt (default: the purpose)")
    run.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter to record; may be repeated",
    )
    run.add_argument("--run", dest="for_run", help="the run that approvals are bound to")
    run.add_argument("--scratch", type=Path, help="folder for the private copy (default: $TMPDIR)")
    run.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    add_endpoint(run)
    run.add_argument("program", metavar="COMMAND", nargs="+", help="after `--`")
    run.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    use_endpoint(args)
    output = SubjectUri.parse(args.output)
    must_be_new(output)
    progress = Progress()
    session = training_session(
        args.policy,
        inputs=[_subject(args.subject)],
        activity=args.activity or args.purpose,
        purpose=args.purpose,
        parameters={"command": list(args.program), **dict(map(_parameter, args.param))},
        for_run=args.for_run,
        progress=progress,
    )
    signal.signal(signal.SIGTERM, _stop)
    with session:
        progress.clear()
        ignored = _work(session, args, output)
    progress.clear()
    _report(session, args, ignored)
    return PASSED


def _work(session: TrainingSession, args: argparse.Namespace, output: SubjectUri) -> int:
    """Run the command on a private copy; return how many lines of metrics were not usable."""
    with tempfile.TemporaryDirectory(prefix="sluicegate-", dir=args.scratch) as folder:
        metrics = Path(folder) / "metrics.ndjson"
        code = run_command(
            args.program,
            data=session.data.copy_to(Path(folder) / "data"),
            output=output,
            metrics=metrics,
            stdout=sys.stderr if args.json else None,  # our standard output is for the JSON
        )
        ignored = read_metrics(session, metrics)
    if code != 0:
        what = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise StageError(f"{args.program[0]} {what}", next_step="nothing was signed")
    session.output(output)
    return ignored


def _report(session: TrainingSession, args: argparse.Namespace, ignored: int) -> None:
    if args.json:
        emit(
            {
                "outcome": "recorded",
                "session": session.invocation,
                "activity": session.activity,
                "inputs": [{"uri": one.uri, "digest": str(one.digest)} for one in session.inputs],
                "outputs": list(session.outputs),
                "record": str(session.record),
                "receipts": [
                    {"index": ref.index, "digest": str(ref.digest)} for ref in session.receipts
                ],
                "metrics_ignored": ignored,
            }
        )
        return
    entries = ", ".join(str(ref.index) for ref in session.receipts)
    print(f"recorded: {', '.join(session.outputs)}")
    print(f"  from     {session.data.uri}")
    print(f"  receipt  ledger entry {entries}")
    print(f"  record   {session.record}")
    if ignored:
        print(f"  {ignored} lines of metrics could not be read")


def _subject(text: str) -> SubjectSource:
    return read_clearance(Path(text[1:])) if text.startswith("@") else text


def _parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or name == "command":
        raise ConfigurationError("--param is written NAME=VALUE; `command` is taken")
    return name, value


def _stop(number: int, _frame: object) -> NoReturn:
    """End as after an error, so that the command is ended and the session logged as failed."""
    raise SystemExit(128 + number)
