"""``sluicegate approve`` and ``sluicegate approvals``: people agree, and who did."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sluicegate.approving import (
    ApprovalRequest,
    ApproverBook,
    approve,
    refuse,
    request_approval,
)
from sluicegate.approving.security_key import answer, open_key
from sluicegate.approving.webauthn import assertion_options
from sluicegate.canonical import Json
from sluicegate.clearance import SubjectSource
from sluicegate.cli.gate import read_clearance
from sluicegate.cli.options import add_endpoint, use_endpoint
from sluicegate.cli.terminal import PASSED, Progress, emit
from sluicegate.errors import ConfigurationError
from sluicegate.evidence import ReceiptRef
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.records import Record
from sluicegate.receipts.signers import load as load_signer_from
from sluicegate.receipts.statement import ApprovalStatement
from sluicegate.signing import key_password, load_signer, open_evidence
from sluicegate.testimony import LedgerRecords

__all__ = ["add_approvals", "add_approve"]

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_EPILOG: Final = """\
exit codes:
  0  the decision is signed and logged
  1  refused: not a named approver, a wrong or used code, other bytes
  2  could not conclude
"""


def add_approve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "approve",
        help="approve or refuse a use of a subject, with a second factor",
        description="Show what would be approved, ask for the second factor, and sign the "
        "decision. It is for exactly the bytes that lie there now.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subject", metavar="SUBJECT", help="path or URI; @FILE for a clearance")
    parser.add_argument("--purpose", required=True, help="what it is to be used for")
    parser.add_argument("--as", dest="approver", required=True, metavar="NAME", help="who decides")
    factor = parser.add_mutually_exclusive_group()
    factor.add_argument(
        "--code",
        help="of the authenticator app (default: ask; other users of "
        "this machine can read arguments)",
    )
    factor.add_argument("--security-key", action="store_true", help="use the one plugged in")
    parser.add_argument(
        "--run", dest="for_run", default="", help="the run that asks (default: any may use it)"
    )
    parser.add_argument("--expires", default="24h", help="how long it is good for, e.g. 30m, 7d")
    parser.add_argument("--refuse", action="store_true", help="refuse, or take an approval back")
    parser.add_argument("--reason", default="", help="a sentence, for the receipt")
    parser.add_argument("--key", help="key for approvals (default: $SLUICEGATE_SIGNING_KEY)")
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_endpoint(parser)
    parser.set_defaults(run=_run)


def add_approvals(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "approvals", help="list who approved what", description="Look at approvals."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="one line for each decision",
        description="One line for each decision that a key of the policy signed, oldest first. "
        "Whether they are enough for a purpose says `sluicegate verify`.",
    )
    listing.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)


def _run(args: argparse.Namespace) -> int:
    use_endpoint(args)
    expires_in = _duration(args.expires)
    policy = load_policy(args.policy)
    progress = Progress()
    request = request_approval(
        _subject(args.subject),
        action=args.purpose,
        policy=policy,
        run=args.for_run,
        progress=progress,
    )
    progress.clear()
    _show(request, args)
    factor = _second_factor(args, policy, request)
    signer = load_signer_from(args.key, key_password()) if args.key else load_signer(policy)
    if args.refuse:
        ref = refuse(
            request,
            approver=args.approver,
            policy=policy,
            reason=args.reason,
            signer=signer,
            **factor,
        )
    else:
        ref = approve(
            request,
            approver=args.approver,
            policy=policy,
            reason=args.reason,
            expires_in=expires_in,
            signer=signer,
            progress=progress,
            **factor,
        )
        progress.clear()
    _report(args, policy, request, ref)
    return PASSED


def _show(request: ApprovalRequest, args: argparse.Namespace) -> None:
    """Say what would be approved; on standard error, which a person watches."""
    word = "refuse" if args.refuse else "approve"
    lines = [
        f"{word}: {request.action}  {request.uri}",
        f"  digest  {request.subject.digest}",
        f"  run     {request.run or '(any)'}",
        f"  code    {request.short_code}   compare it with what you were asked",
    ]
    print("\n".join(lines), file=sys.stderr)


def _second_factor(
    args: argparse.Namespace, policy: Policy, request: ApprovalRequest
) -> dict[str, Any]:
    """Return the second factor that was given, or is asked for now."""
    if args.code is not None:
        return {"code": args.code}
    if args.security_key:
        return {"assertion": _touch(args.approver, policy, request)}
    need = policy.purpose(request.action).approvals
    if args.refuse or need is None or not need.second_factor:
        return {}
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "no second factor was given, and there is no terminal to ask on",
            next_step="give --code or --security-key",
        )
    return {"code": getpass.getpass(f"code of {args.approver}: ")}


def _touch(name: str, policy: Policy, request: ApprovalRequest) -> Mapping[str, Any]:
    credentials = ApproverBook.of(policy).find(name).keys
    if not credentials:
        raise ConfigurationError(
            f"{name} has no security key enrolled",
            next_step=f"`sluicegate approvers enrol {name} --webauthn`",
        )
    options = assertion_options(credentials, question=request.question)
    client = open_key(
        credentials[0].origin,
        say=lambda text: print(text, file=sys.stderr),
        ask_pin=lambda: getpass.getpass("PIN of the security key: "),
    )
    return answer(client, options)


def _report(
    args: argparse.Namespace, policy: Policy, request: ApprovalRequest, ref: ReceiptRef
) -> None:
    decision = "refused" if args.refuse else "approved"
    if args.json:
        path = open_evidence(policy).receipt_path(ref.digest)
        emit(
            {
                "outcome": decision,
                "approver": args.approver,
                "request": request.to_json(),
                "receipt": str(path),
                "ledger_index": ref.index,
            }
        )
    else:
        print(f"{decision} by {args.approver}: {request.action}  {request.uri}")
        print(f"  ledger entry {ref.index}")


def _list(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    now = datetime.now(UTC)
    records = LedgerRecords(open_evidence(policy), policy, now)
    rows = [
        _row(record, record.statement, policy, now)
        for record in records
        if isinstance(record.statement, ApprovalStatement)
    ]
    if args.json:
        emit(rows)
        return PASSED
    for row in rows:
        print(
            f"{row['index']:>5}  {row['issued']}  {row['decision']:<9} {row['approver']:<20} "
            f"{row['action']:<10} {row['uri']}" + (f"  ({row['why']})" if row["why"] else "")
        )
    return PASSED


def _row(record: Record, says: ApprovalStatement, policy: Policy, now: datetime) -> dict[str, Json]:
    return {
        "index": record.index,
        "decision": "approved" if says.approved else "refused",
        "approver": says.approver,
        "action": says.action,
        "uri": says.subject.uri,
        "digest": str(says.subject.digest),
        "run": says.for_run,
        "binding": says.binding.hex,
        "factor": says.factor,
        "key": record.key,
        "issued": says.issued.isoformat(),
        "expires": says.expires.isoformat(),
        "reason": says.reason,
        "why": _objection(record, says, policy, now),
    }


def _objection(record: Record, says: ApprovalStatement, policy: Policy, now: datetime) -> str:
    """Return why a decision plainly does not count any more, or nothing."""
    if says.approver not in policy.key(record.key_id).approvers:
        return f"key {record.key} may not sign approvals of {says.approver}"
    if says.approved and now >= says.expires:
        return "expired"
    return record.objection


def _subject(text: str) -> SubjectSource:
    return read_clearance(Path(text[1:])) if text.startswith("@") else text


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if found is None:
        raise ConfigurationError("--expires is a number and m, h or d, e.g. 30m, 24h, 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
