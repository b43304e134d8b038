"""``sluicegate ledger`` and ``sluicegate report``: look at the evidence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.cli.ledger_prove import add_prove_options, export_ledger, number_of, run_prove
from sluicegate.cli.ledger_watch import add_cosign, add_watch
from sluicegate.cli.terminal import PASSED, emit, visible
from sluicegate.errors import ClearanceRefused, LedgerError, ReceiptError, SluicegateError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.ledger.base import LedgerState
from sluicegate.ledger.note import Checkpoint
from sluicegate.ledger.tiles import TileTree
from sluicegate.ledger.trust import believe
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.statement import (
    DerivationStatement,
    EventStatement,
    Statement,
    VerdictStatement,
)
from sluicegate.signing import open_evidence
from sluicegate.testimony import admit, authenticate, recall

__all__ = ["add_ledger", "add_report"]


def add_ledger(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ledger",
        help="list, verify, prove, watch, cosign or export the receipts",
        description="Look at the ledger.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", _list, "one line for each receipt, with what this policy makes of it")
    _add(actions, "verify", _verify, "read every entry and check every hash and signature")
    prove = _add(actions, "prove", run_prove, "prove that an entry is in the ledger, for others")
    add_prove_options(prove)
    export = _add(actions, "export", _export, "write each missing receipt file, or a whole copy")
    export.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="copy checkpoint, tiles and entries into a new folder, checked meanwhile, for any "
        "web server and tlog-tiles client (default: only write missing receipt files)",
    )
    add_watch(actions)
    add_cosign(actions)


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    action.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY)")
    action.add_argument("--json", action="store_true", help="print JSON")
    action.set_defaults(run=run)
    return action


def add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="find the report behind a receipt",
        description="Say where the report behind a receipt lies, after checking that it is the "
        "one the receipt names.",
    )
    parser.add_argument(
        "entry", metavar="ENTRY", nargs="?", help="ledger entry (default: the newest verdict)"
    )
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    parser.add_argument("--json", action="store_true", help="print the whole report")
    parser.set_defaults(run=_report)


def _open(args: argparse.Namespace) -> tuple[Policy, Evidence]:
    policy = load_policy(args.policy)
    return policy, open_evidence(policy)


def _describe(ref: ReceiptRef, bundle: bytes, policy: Policy, now: datetime) -> dict[str, Json]:
    value: dict[str, Json] = {"index": ref.index, "digest": str(ref.digest)}
    try:
        statement = admit(ref, bundle, policy, now=now).statement
    except (ReceiptError, ClearanceRefused) as error:
        return value | {"trusted": False, "why": error.what}
    value |= {
        "trusted": True,
        "stage": statement.stage,
        "subject": str(statement.subject.digest),
        "uri": statement.subject.uri,
        "issued": statement.issued.isoformat(),
    }
    if isinstance(statement, VerdictStatement):
        value |= {"verdict": statement.verdict.value, "report": str(statement.report)}
    elif isinstance(statement, DerivationStatement):
        value |= {"parent": str(statement.parent.digest), "rows_set_aside": statement.rows}
    elif isinstance(statement, EventStatement):
        value |= {"event": statement.kind}
    return value | {"kind": _kind(statement)}


def _kind(statement: Statement) -> str:
    return type(statement).__name__.removesuffix("Statement").lower()


def _list(args: argparse.Namespace) -> int:
    policy, evidence = _open(args)
    now = datetime.now(UTC)
    rows = [_describe(ref, bundle, policy, now) for ref, bundle in evidence.receipts()]
    if args.json:
        emit(rows)
        return PASSED
    for row in rows:
        if row["trusted"]:
            what = row.get("verdict") or row.get("event") or row["kind"]
            line = f"{row['issued']}  {row['stage']:<20} {what:<12} {row['uri']}"
        else:
            line = f"not trusted: {row['why']}"
        print(visible(f"{row['index']:>5}  {line}"))
    return PASSED


def _verify(args: argparse.Namespace) -> int:
    policy, evidence = _open(args)
    state = evidence.ledger.verify()
    believed = believe(evidence.ledger, policy.ledger_settings)
    _compare(evidence, state, believed)
    now, trusted, heard = datetime.now(UTC), 0, set[Digest]()
    for ref, bundle in evidence.receipts():
        trusted += bool(_describe(ref, bundle, policy, now)["trusted"])
        try:
            payload = authenticate(ref, bundle, policy).payload
        except ClearanceRefused:
            continue  # a sound receipt that this policy does not listen to
        except ReceiptError as error:
            raise LedgerError(
                f"entry {ref.index} of the ledger is no sound receipt: {error.what}",
                next_step="somebody other than a gate wrote to the ledger",
            ) from error
        if payload in heard:
            raise LedgerError(
                f"entry {ref.index} of the ledger repeats an earlier receipt",
                next_step="somebody other than a gate wrote to the ledger; a repeated receipt "
                "counts from its first entry",
            )
        heard.add(payload)
    key = policy.ledger_settings.key
    if args.json:
        emit(
            {
                "entries": state.size,
                "trusted": trusted,
                "root": state.root.hex(),
                "torn_bytes": state.torn_bytes,
                "signed_by": str(key) if key else None,
            }
        )
    else:
        print(f"{state.size} entries, all sound; {trusted} trusted by {policy.source}")
        print(f"  root {state.root.hex()}")
        print(f"  checkpoint signed by {key}" if key else "  no policy key: not signed")
        if state.torn_bytes:
            print(f"  {state.torn_bytes} bytes of an unfinished append, never acknowledged")
    return PASSED


def _compare(evidence: Evidence, state: LedgerState, believed: Checkpoint | None) -> None:
    """Return if the checkpoint that is believed is of the tree that was checked."""
    if believed is None:
        return
    size = min(believed.size, state.size)
    tree = TileTree(evidence.ledger.tiles, max(believed.size, state.size))
    pair = ((believed.size, believed.root), (state.size, state.root))
    if any(tree.root(at) != root for at, root in pair):
        raise LedgerError(
            f"the checkpoint of {believed.size} entries and the {state.size} that were checked "
            f"differ within the first {size}",
            next_step="the ledger was changed while it was read; verify again",
        )


def _export(args: argparse.Namespace) -> int:
    return _export_receipts(args) if args.to is None else export_ledger(args)


def _export_receipts(args: argparse.Namespace) -> int:
    _, evidence = _open(args)
    written = []
    for ref, bundle in evidence.receipts():
        path = evidence.receipt_path(ref.digest)
        if not path.exists():
            evidence.write(path, bundle)
            written.append(str(path))
    if args.json:
        emit(written)
    else:
        print(f"wrote {len(written)} missing receipts to {evidence.folder / 'receipts'}")
    return PASSED


def _report(args: argparse.Namespace) -> int:
    policy, evidence = _open(args)
    statement = _statement(args.entry, policy, evidence)
    path = evidence.report_path(statement.report)
    document = _read_report(path, statement.report)
    if args.json:
        emit(document)
    else:
        print(f"{statement.stage}: {statement.verdict.value}  {statement.subject.uri}")
        print(f"  json  {path}")
        print(f"  html  {evidence.report_path(statement.report, suffix='.html')}")
    return PASSED


def _statement(entry: str | None, policy: Policy, evidence: Evidence) -> VerdictStatement:
    now = datetime.now(UTC)
    if entry is not None:
        index = number_of(entry, "a ledger entry")
        bundle = evidence.ledger.get(index)
        found, objection = recall(ReceiptRef(index, Digest.of(bundle)), bundle, policy, now=now)
        if objection:
            print(f"sluicegate: it counts no more: {objection}", file=sys.stderr)
        if not isinstance(found, VerdictStatement):
            raise SluicegateError(f"entry {entry} is a {_kind(found)}, which has no report")
        return found
    newest = None
    for ref, bundle in evidence.receipts():
        try:
            statement = admit(ref, bundle, policy, now=now).statement
        except (ReceiptError, ClearanceRefused):
            continue
        newest = statement if isinstance(statement, VerdictStatement) else newest
    if newest is None:
        raise SluicegateError("the ledger holds no verdict that this policy trusts")
    return newest


def _read_report(path: Path, digest: Digest) -> Json:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SluicegateError(f"cannot read the report {path}: {error.strerror}") from error
    if Digest.of(content) != digest:
        raise SluicegateError(f"the report {path} is not the one that the receipt names")
    return parse_json(content)
