"""``sluicegate gate`` and ``sluicegate secure``: examine a subject and leave a receipt."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

from sluicegate.canonical import parse_json
from sluicegate.clearance import Clearance, SubjectSource
from sluicegate.cli.init import make_key
from sluicegate.cli.options import add_endpoint, add_stage_options, stage_from, use_endpoint
from sluicegate.cli.row_scores import row_score_file
from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, NOT_CLEARED, PASSED, Progress, emit
from sluicegate.errors import ConfigurationError, PolicyError
from sluicegate.gate import GateOutcome, run_gate
from sluicegate.model import Verdict
from sluicegate.policy.load import default_policy, find_policy, load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import FileSigner, Signer
from sluicegate.signing import default_key_path, key_password, load_signer
from sluicegate.stages.registry import stage_names, stage_type
from sluicegate.storage.local import write_atomically

__all__ = ["add_gate", "add_secure", "policy_or_default", "read_clearance"]

_EPILOG = """\
exit codes:
  0  passed; after a quarantine: what remains is cleared, the subject itself is not
  1  blocked
  2  could not conclude (never a pass)
"""


def add_gate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, with one sub-command for each stage."""
    parser = commands.add_parser(
        "gate",
        help="run one stage on a subject and leave a signed receipt",
        description="Run one stage on a subject: examine it, judge the report by policy, sign "
        "the verdict and log it.",
    )
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for name in stage_names():
        try:
            kind = stage_type(name)
        except ConfigurationError as error:  # of another distribution: must not stop the rest
            print(f"sluicegate: {error.what}", file=sys.stderr)
            continue
        summary = (kind.__doc__ or "").strip().partition("\n")[0]
        stage = stages.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_common(stage)
        add_stage_options(stage, kind)
        if getattr(kind, "scores_rows", False):
            _add_row_scores(stage)
        stage.set_defaults(run=_run_gate)


def add_secure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that runs every stage a purpose needs."""
    parser = commands.add_parser(
        "secure",
        help="run every stage that a purpose needs",
        description="Run every stage that the policy asks for before a subject may be used for "
        "a purpose, in the policy's order.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_common(parser)
    parser.add_argument("--purpose", required=True, help="what the subject is for, e.g. train")
    parser.set_defaults(run=_run_secure)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "subject", metavar="SUBJECT", help="path or URI; @FILE for a clearance in a file"
    )
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    parser.add_argument("--key", help="private key file (default: $SLUICEGATE_SIGNING_KEY)")
    parser.add_argument("--clearance-out", metavar="FILE", help="write the clearance as JSON")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_endpoint(parser)


def _add_row_scores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--findings-out",
        type=Path,
        metavar="FILE",
        help="write flagged rows as Parquet: row, file, ordinal, channel, score, p_value, "
        "flagged, evidence",
    )
    parser.add_argument(
        "--all-scores", action="store_true", help="write all rows to it, and not only flagged ones"
    )


def _run_gate(args: argparse.Namespace) -> int:
    use_endpoint(args)
    _forget_clearance(args.clearance_out)
    policy = policy_or_default(args.policy)
    stage = stage_from(args, args.stage, policy)
    progress = Progress()
    out = getattr(args, "findings_out", None)
    if out is None and getattr(args, "all_scores", False):
        raise ConfigurationError("--all-scores says what to write, and --findings-out where")
    # Libraries that print (an orchestrator's log) must not get between the JSON.
    with (
        row_score_file(out, every=getattr(args, "all_scores", False)) as row_scores,
        redirect_stdout(sys.stderr),
    ):
        outcome = run_gate(
            stage,
            _subject(args.subject),
            policy,
            signer=_signer(args.key, policy),
            progress=progress,
            row_scores=row_scores,
        )
    progress.clear()
    _write_clearance(args.clearance_out, outcome.clearance)
    if args.json:
        value = outcome.to_json()
        # Tables by their names too, for `jq .expectations`; nothing else is hidden by them.
        emit({**value["tables"], **value})
    else:
        _describe(outcome)
    return _exit_code(outcome)


def _run_secure(args: argparse.Namespace) -> int:
    use_endpoint(args)
    _forget_clearance(args.clearance_out)
    policy = policy_or_default(args.policy)
    signer, progress = _signer(args.key, policy), Progress()
    subject: SubjectSource = _subject(args.subject)
    outcomes: list[GateOutcome] = []
    for need in policy.purpose(args.purpose).requirements:
        with redirect_stdout(sys.stderr):
            outcome = run_gate(need.stage, subject, policy, signer=signer, progress=progress)
        progress.clear()
        outcomes.append(outcome)
        if not args.json:
            _describe(outcome)
        if outcome.clearance is None:
            break
        subject = outcome.clearance
    _write_clearance(args.clearance_out, outcomes[-1].clearance)
    if args.json:
        emit(
            {
                "purpose": args.purpose,
                "gates": [outcome.to_json() for outcome in outcomes],
                "clearance": outcomes[-1].to_json()["clearance"],
            }
        )
    return _exit_code(outcomes[-1])


def policy_or_default(named: str | None) -> Policy:
    """Load the policy that is named or configured, else the built-in rules, and say so.

    Raises:
        PolicyError: the policy that is named or configured is unusable.
    """
    try:
        return load_policy(find_policy(named))
    except PolicyError:
        if named or _configured():
            raise
        print(
            "sluicegate: no policy: using the built-in rules; nothing is cleared for a purpose "
            "(see `sluicegate init`)",
            file=sys.stderr,
        )
        return default_policy(Path.cwd())


def _configured() -> bool:
    """Return whether a policy is there, so that an error in it must not be passed over."""
    try:
        find_policy(None)
    except PolicyError:
        return False
    return True


def _signer(named: str | None, policy: Policy) -> Signer:
    """Return the signer; without any policy, one with a key of its own that nobody trusts."""
    if named:
        return FileSigner.load(Path(named), key_password())
    private = default_key_path(policy.evidence)
    if policy.source == default_policy(Path()).source and not private.exists():
        make_key(policy.evidence, private.with_name("signing.pub.pem"))
        print(f"sluicegate: made a key that no policy trusts yet: {private}", file=sys.stderr)
    return load_signer(policy)


def _subject(text: str) -> SubjectSource:
    if not text.startswith("@"):
        return text
    return read_clearance(Path(text[1:]))


def read_clearance(path: Path) -> Clearance:
    """Read a clearance from a file.

    Raises:
        ConfigurationError: unreadable or not JSON.
        ClearanceRefused: JSON, but no clearance.
    """
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read a clearance from {path}: {error}") from error
    return Clearance.from_json(value if isinstance(value, Mapping) else {})


def _forget_clearance(path: str | None) -> None:
    """Remove what an earlier run left: after a block, nothing may look like a clearance."""
    if path:
        try:
            Path(path).unlink(missing_ok=True)
            write_atomically(Path(path), b"")
            Path(path).unlink()
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def _write_clearance(path: str | None, clearance: Clearance | None) -> None:
    if path and clearance:
        write_atomically(Path(path), json.dumps(clearance.to_json()).encode() + b"\n")


def _exit_code(outcome: GateOutcome) -> int:
    if outcome.clearance is not None:
        return PASSED
    return COULD_NOT_CONCLUDE if outcome.verdict is Verdict.INCONCLUSIVE else NOT_CLEARED


def _describe(outcome: GateOutcome) -> None:
    print(f"{outcome.stage}: {outcome.verdict.value}  {outcome.subject}")
    for reason in outcome.judgement.reasons:
        print(f"  - {reason}")
    if outcome.set_aside:
        print(f"  set aside  {outcome.set_aside}")
    if outcome.clearance and outcome.clearance.uri != str(outcome.subject):
        print(f"  remainder  {outcome.clearance.uri}")
    print(f"  receipt    {outcome.receipt_path} (ledger entry {outcome.receipt.index})")
    print(f"  report     {outcome.report_path}")
