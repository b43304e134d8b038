"""``sluicegate approvers``: who may confirm approvals, and with what."""

from __future__ import annotations

import argparse
import getpass
import sys
from datetime import UTC, datetime

from sluicegate.approving import ApproverBook
from sluicegate.approving.security_key import DEFAULT_PARTY, enrol, open_key
from sluicegate.approving.totp import ALGORITHMS
from sluicegate.canonical import Json, canonical_json
from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ConfigurationError, SluicegateError
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.statement import Subject
from sluicegate.signing import load_signer, record_event

__all__ = ["add_approvers"]


def add_approvers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "approvers",
        help="enrol the people who may approve",
        description="Keep the second factors of approvers, in a sealed file that only its owner "
        "can read. Who may approve what is said by the policy.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    enrolling = actions.add_parser(
        "enrol",
        help="give an approver a second factor",
        description="Make a secret for an authenticator app and show it once, or register the "
        "security key that is plugged in.",
    )
    enrolling.add_argument("name", metavar="NAME", help="as the policy names them")
    kind = enrolling.add_mutually_exclusive_group()
    kind.add_argument("--totp", action="store_true", help="authenticator app (default)")
    kind.add_argument("--webauthn", action="store_true", help="security key")
    enrolling.add_argument(
        "--algorithm", choices=sorted(ALGORITHMS), default="SHA1", help="of TOTP (default SHA1)"
    )
    removing = actions.add_parser("remove", help="forget an approver and all their factors")
    removing.add_argument("name", metavar="NAME")
    listing = actions.add_parser("list", help="who is enrolled, with what")
    for action, run in ((enrolling, _enrol), (removing, _remove), (listing, _list)):
        action.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY)")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)


def _enrol(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    book = ApproverBook.of(policy)
    shown: dict[str, Json] = {"name": args.name, "file": str(book.file.path)}
    if args.webauthn:
        client = open_key(
            f"https://{DEFAULT_PARTY}",
            say=lambda text: print(text, file=sys.stderr),
            ask_pin=lambda: getpass.getpass("PIN of the security key: "),
        )
        credential = enrol(args.name, client)
        book.enrol_webauthn(args.name, credential)
        shown |= {"factor": "webauthn", "credential": credential.id}
    else:
        secret = book.enrol_totp(args.name, algorithm=args.algorithm)
        shown |= {"factor": "totp", "uri": secret.uri(args.name)}
    _log(policy, "approver.enrolled", args.name, str(shown["factor"]))
    if args.json:
        emit(shown)
        return PASSED
    print(f"enrolled {args.name} in {book.file.path}")
    if "uri" in shown:
        print("  give this to the authenticator app; it is secret, and not shown again:")
        print(f"  {shown['uri']}")
    if not any(
        args.name in (purpose.approvals.by if purpose.approvals else ())
        for purpose in policy.purposes.values()
    ):
        print(f"  no purpose of {policy.source} names {args.name} under `approvals.by` yet")
    return PASSED


def _remove(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    book = ApproverBook.of(policy)
    book.remove(args.name)
    _log(policy, "approver.removed", args.name, "all")
    if args.json:
        emit({"removed": args.name})
    else:
        print(f"removed {args.name}; approvals they gave stand until they expire")
    return PASSED


def _list(args: argparse.Namespace) -> int:
    people = ApproverBook.of(load_policy(args.policy)).approvers()
    rows: list[Json] = [
        {
            "name": one.name,
            "totp": one.totp is not None,
            "security_keys": [key.id for key in one.keys],
            "wrong_in_a_row": one.in_a_row,
            "last_attempt": _moment(one.seen),
        }
        for one in people
    ]
    if args.json:
        emit(rows)
        return PASSED
    for row in rows:
        factors = ["totp"] * row["totp"] + [f"key {name}" for name in row["security_keys"]]
        print(f"{row['name']:<30} {', '.join(factors)}")
    return PASSED


def _moment(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None


def _log(policy: Policy, kind: str, name: str, factor: str) -> None:
    """Log that the approvers changed, where the key at hand may record events.

    Where approvals are signed there is often only a key for approvals; then a note is all.
    """
    details = {"approver": name, "factor": factor}
    subject = Subject.of_document("approver.json", canonical_json(details))
    run = RunIdentity(orchestrator="cli")
    try:
        signer = load_signer(policy)
        record_event(kind, subject, details, policy=policy, signer=signer, run=run)
    except ConfigurationError as error:
        print(f"sluicegate: not in the ledger: {error.what}", file=sys.stderr)
    except SluicegateError as error:
        print(f"sluicegate: could not be logged: {error.what}", file=sys.stderr)
