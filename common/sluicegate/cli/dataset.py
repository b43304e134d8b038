"""``sluicegate dataset``: data sets that only grow, version by version."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from sluicegate.canonical import Json
from sluicegate.cli.terminal import PASSED, emit
from sluicegate.growth import Version, append_version, history, verify_growth
from sluicegate.policy.load import load_policy
from sluicegate.signing import open_evidence
from sluicegate.testimony import LedgerRecords

__all__ = ["add_dataset"]


def add_dataset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dataset",
        help="record and prove that a data set only grows",
        description="Each version of a data set is the one before and more files. Consistency "
        "proofs of RFC 6962 say so, without the data.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        ("append", _append, "record what lies there now as the next version"),
        ("verify", _verify, "check all versions, and that the newest one lies there"),
        ("history", _history, "list the versions that the ledger has"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text.capitalize()}.")
        if run is not _history:
            action.add_argument("subject", metavar="SUBJECT", help="path or URI of the data set")
        action.add_argument("--dataset", required=True, metavar="NAME", help="name of the data set")
        action.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY)")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)


def _append(args: argparse.Namespace) -> int:
    version = append_version(args.subject, dataset=args.dataset, policy=args.policy)
    _show([version], as_json=args.json)
    return PASSED


def _verify(args: argparse.Namespace) -> int:
    _show(verify_growth(args.subject, dataset=args.dataset, policy=args.policy), as_json=args.json)
    return PASSED


def _history(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    records = LedgerRecords(open_evidence(policy), policy, datetime.now(UTC))
    _show(history(records, args.dataset), as_json=args.json)
    return PASSED


def _show(versions: list[Version], *, as_json: bool) -> None:
    if as_json:
        emit([_describe(version) for version in versions])
        return
    for version in versions:
        says = version.says
        added = says.tree.size - (says.before.size if says.before else 0)
        print(
            f"{says.version:>5}  {says.issued:%Y-%m-%d %H:%M:%S}  {says.tree.size} files "
            f"({added} new)  {says.subject.digest.short}  entry {version.ref.index}"
        )


def _describe(version: Version) -> dict[str, Json]:
    says = version.says
    return {
        "version": says.version,
        "files": says.tree.size,
        "tree": says.tree.to_json(),
        "before": says.before.to_json() if says.before else None,
        "proof": [node.hex() for node in says.proof],
        "subject": str(says.subject.digest),
        "issued": says.issued.isoformat(),
        "ledger_index": version.ref.index,
    }
