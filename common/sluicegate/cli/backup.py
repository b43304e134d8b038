"""``sluicegate backup``: store a model where nobody can change it, and examine the backup."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stdout

from sluicegate.canonical import Json
from sluicegate.cli.options import add_endpoint, use_endpoint
from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, NOT_CLEARED, PASSED, Progress, emit
from sluicegate.errors import ConfigurationError
from sluicegate.gate import GateOutcome, run_gate
from sluicegate.model import Verdict
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.signers import load
from sluicegate.serving import Served, promote
from sluicegate.signing import key_password, load_signer
from sluicegate.stages.backup import BackUpModel
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import version_name
from sluicegate.storage.vault_base import COMPLIANCE, GOVERNANCE, NO_LOCK

__all__ = ["add_backup", "add_head_options", "describe", "head_signer"]

VAULT_VARIABLE = "SLUICEGATE_VAULT"
_EPILOG = """\
exit codes:
  0  backed up, every byte read back (and promoted, if asked)
  1  blocked or refused
  2  could not conclude (never a pass)
"""


def add_backup(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "backup",
        help="store a model with its receipts under Object Lock, and read it back",
        description="Run the gate back-up-model: store a model content-addressed in a vault, "
        "with the receipts that speak for it, and read every byte back. Unlike other gates it "
        "writes; doing it again stores nothing twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", metavar="SUBJECT", help="path or URI of the model")
    parser.add_argument(
        "--vault",
        default=os.environ.get(VAULT_VARIABLE),
        help=f"folder or s3://bucket/prefix to store into (default: ${VAULT_VARIABLE})",
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    parser.add_argument(
        "--version", metavar="V", help="name of this version (default: from its digest)"
    )
    parser.add_argument(
        "--retain-days", type=int, default=365, metavar="N", help="lock it this long (default 365)"
    )
    parser.add_argument(
        "--lock",
        choices=(COMPLIANCE, GOVERNANCE, NO_LOCK),
        default=COMPLIANCE,
        help="Object Lock mode; none for a folder, which cannot lock (default COMPLIANCE)",
    )
    parser.add_argument(
        "--promote", action="store_true", help="let it serve afterwards, if it is cleared"
    )
    parser.add_argument("--key", metavar="KEY", help="private key for the receipt of the backup")
    add_head_options(parser, reason_needed=False)
    parser.set_defaults(run=_run)


def add_head_options(parser: argparse.ArgumentParser, *, reason_needed: bool) -> None:
    """Add what commands have in common that sign a head."""
    parser.add_argument(
        "--signing-key",
        metavar="KEY",
        help="private key for the head: a file or a URI (default: $SLUICEGATE_SIGNING_KEY)",
    )
    parser.add_argument(
        "--reason", default="", required=reason_needed, help="why, for whoever asks later"
    )
    parser.add_argument(
        "--without-clearance",
        action="store_true",
        help="go on although the policy has no purpose `deploy`; logs an override",
    )
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_endpoint(parser)


def head_signer(named: str | None, policy: Policy) -> Signer:
    """Return the signer that an option or the environment names.

    Raises:
        KeyFileError: no key, or it cannot be opened.
        ConfigurationError: a kind of key that does not exist.
    """
    return load(named, key_password()) if named else load_signer(policy)


def describe(served: Served) -> None:
    """Print which version serves."""
    print(f"{served.model}: {served.version} serves (epoch {served.epoch}, {served.action})")
    print(f"  {served.subject.digest}")
    print(f"  {served.subject.uri}")
    print(f"  head       ledger entry {served.receipt.index}, key {served.key}")


def _run(args: argparse.Namespace) -> int:
    use_endpoint(args)
    if not args.vault:
        raise ConfigurationError("no vault was named", next_step=f"--vault, or ${VAULT_VARIABLE}")
    policy = load_policy(args.policy)
    stage = BackUpModel(
        vault=str(SubjectUri.parse(args.vault)),
        model=args.model,
        model_version=args.version or "",
        retain_days=args.retain_days,
        lock=args.lock,
    )
    progress = Progress()
    with redirect_stdout(sys.stderr):
        outcome = run_gate(
            stage,
            args.subject,
            policy,
            signer=head_signer(args.key, policy),
            progress=progress,
        )
    progress.clear()
    version = args.version or version_name(outcome.statement.subject.digest)
    if not args.json:
        _describe_backup(outcome, args.model, version)
    served = None
    if args.promote and outcome.clearance is not None:
        served = promote(
            args.model,
            version,
            policy,
            reason=args.reason,
            without_clearance=args.without_clearance,
            signer=head_signer(args.signing_key, policy),
            progress=progress,
        )
        progress.clear()
    if args.json:
        head: Json = served.to_json() if served else None
        emit({**outcome.to_json(), "model": args.model, "version": version, "head": head})
    elif served:
        describe(served)
    if outcome.clearance is not None:
        return PASSED
    return COULD_NOT_CONCLUDE if outcome.verdict is Verdict.INCONCLUSIVE else NOT_CLEARED


def _describe_backup(outcome: GateOutcome, model: str, version: str) -> None:
    print(f"{outcome.stage}: {outcome.verdict.value}  {model} {version}")
    for reason in outcome.judgement.reasons:
        print(f"  - {reason}")
    print(f"  receipt    {outcome.receipt_path} (ledger entry {outcome.receipt.index})")
    print(f"  report     {outcome.report_path}")
