"""``sluicegate verify``: may this subject be used for that purpose?"""

from __future__ import annotations

import argparse
from pathlib import Path

from sluicegate.clearance import open_cleared
from sluicegate.cli.gate import read_clearance
from sluicegate.cli.options import add_endpoint, use_endpoint
from sluicegate.cli.terminal import PASSED, Progress, emit

__all__ = ["add_verify"]


def add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="check that a subject may be used for a purpose",
        description="Do what a consumer does before it opens a subject: find the receipts about "
        "exactly the bytes that lie there now, and check signatures, ledger, policy and age.",
        epilog="exit codes:\n  0  may be used\n  1  refused\n  2  could not tell",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", metavar="SUBJECT", help="path or URI; @FILE for a clearance")
    parser.add_argument("--purpose", required=True, help="what it is to be used for, e.g. train")
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    add_endpoint(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    use_endpoint(args)
    subject = args.subject
    source = read_clearance(Path(subject[1:])) if subject.startswith("@") else subject
    progress = Progress()
    cleared = open_cleared(source, purpose=args.purpose, policy=args.policy, progress=progress)
    progress.clear()
    if args.json:
        emit(
            {
                "outcome": "cleared",
                "purpose": cleared.purpose,
                "uri": cleared.uri,
                "digest": str(cleared.digest),
                "files": len(cleared.files),
                "receipts": [
                    {"index": ref.index, "digest": str(ref.digest)} for ref in cleared.receipts
                ],
            }
        )
    else:
        entries = ", ".join(str(ref.index) for ref in cleared.receipts)
        print(f"cleared for {cleared.purpose}: {cleared.uri}")
        print(f"  {cleared.digest}, by ledger entries {entries}")
    return PASSED
