"""``sluicegate keys``: make keys, and say in the policy what they may sign."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

from sluicegate.canonical import Json
from sluicegate.cli.key_changes import make, revoke, rotate, trust
from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ReceiptError
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy, TrustedKey
from sluicegate.receipts.bundle import Bundle
from sluicegate.signing import open_evidence

__all__ = ["add_keys"]


def add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "keys",
        help="make, list, trust, rotate or revoke keys",
        description="Make keys, and say in the policy what they may sign. The policy is changed "
        "line by line: comments and formatting stay.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_new(actions)
    _add_list(actions)
    _add_trust(actions)
    _add_rotate(actions)
    _add_revoke(actions)


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, more: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=more)
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_new(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions,
        "new",
        "make a key",
        "Make a key for receipts (ECDSA P-256), for a ledger or for a witness (Ed25519), and "
        "print what the policy must say. A password is read from the file that "
        "SLUICEGATE_KEY_PASSWORD_FILE names.",
    )
    parser.add_argument("name", metavar="NAME", help="what the key is called in the policy")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--ledger", metavar="ORIGIN", help="a key for the ledger of this origin")
    kind.add_argument("--witness", metavar="NAME", help="a key for the witness of this name")
    kind.add_argument(
        "--kms", metavar="URI", help="use the key that lies there (awskms:///..., pkcs11:...)"
    )
    parser.add_argument("--trust", action="store_true", help="add the entry to the policy")
    _add_private(parser)
    _add_rights(parser, required=False)
    parser.set_defaults(run=make)


def _add_list(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions,
        "list",
        "show the policy's keys and what they signed",
        "Show every key of the policy with its rights, and how many receipts of the ledger it "
        "signed; then the keys that signed without being trusted.",
    )
    parser.set_defaults(run=_list)


def _add_trust(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions,
        "trust",
        "add a public key to the policy",
        "Add a public key to the policy. Compare its id with the one that its owner reads out.",
    )
    parser.add_argument("name", metavar="NAME", help="what the key is called in the policy")
    parser.add_argument("--file", metavar="PUB", type=Path, required=True, help="public key, PEM")
    _add_rights(parser, required=True)
    parser.set_defaults(run=trust)


def _add_rotate(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions,
        "rotate",
        "replace a key by a new one with the same rights",
        "Make a new key, give it the rights of an old one, and revoke the old one from the next "
        "ledger entry on. What the old one signed before stays valid.",
    )
    parser.add_argument("name", metavar="NAME", help="the key to replace")
    parser.add_argument("--as", dest="new_name", metavar="NAME", help="name of the new key")
    parser.add_argument("--kms", metavar="URI", help="use the key that lies there, make no file")
    parser.add_argument(
        "--not-after", metavar="DATE", type=date.fromisoformat, help="last day of the new key"
    )
    _add_private(parser)
    parser.set_defaults(run=rotate)


def _add_revoke(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions,
        "revoke",
        "stop trusting a key from a ledger entry on",
        "Revoke a key: from a ledger entry on, nothing that it signed counts. What was logged "
        "before still does, unless --at names an earlier entry.",
    )
    parser.add_argument("name", metavar="NAME", help="the key to revoke")
    parser.add_argument(
        "--at",
        metavar="INDEX",
        type=_index,
        help="first ledger entry that does not count any more (default: the next one)",
    )
    parser.set_defaults(run=revoke)


def _index(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"a ledger entry is a number from 0, not {text!r}")
    return int(text)


def _add_private(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--private",
        metavar="PATH",
        type=Path,
        help="where the private key goes (default: keys/NAME.key.pem in the evidence folder)",
    )


def _add_rights(parser: argparse.ArgumentParser, *, required: bool) -> None:
    group = parser.add_argument_group("rights")
    group.add_argument(
        "--for",
        dest="stages",
        metavar="STAGE",
        nargs="+",
        action="extend",
        required=required,
        help="stages or words that it may sign; '*' for all but approval and head",
    )
    group.add_argument(
        "--subjects",
        metavar="URI",
        nargs="+",
        action="extend",
        help="subjects that it may speak about, '*' for any text (default: all)",
    )
    group.add_argument(
        "--approver",
        metavar="WHO",
        nargs="+",
        action="extend",
        help="whose approvals it may sign; goes with --for approval",
    )
    for flag, text in (("--not-before", "first day"), ("--not-after", "last day")):
        group.add_argument(
            flag, metavar="DATE", type=date.fromisoformat, help=f"{text} of its validity (UTC)"
        )


def _list(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    signed, late, forged, unknown, unreadable = _count(policy)
    now = datetime.now(UTC)
    rows: list[Json] = [
        _describe(key, now)
        | {
            "signed": signed[key.key.id],
            "after_revocation": late[key.key.id],
            "does_not_verify": forged[key.key.id],
        }
        for key in policy.keys
    ]
    others: list[Json] = [
        {"id": key_id, "claims": count} for key_id, count in unknown.most_common()
    ]
    if args.json:
        emit({"keys": rows, "untrusted": others, "unreadable_entries": unreadable})
        return PASSED
    for key, row in zip(policy.keys, rows, strict=True):
        _print(key, row)
    for key_id, count in unknown.most_common():
        print(f"not trusted: key {key_id[:12]} is named by {count} ledger entries")
    if unreadable:
        print(f"{unreadable} ledger entries are no receipts")
    if not policy.keys:
        print(f"{policy.source} trusts no key")
    return PASSED


def _count(
    policy: Policy,
) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str], int]:
    """Count the ledger's receipts by key id.

    Returns:
        What each trusted key signed; what of it stands behind its revocation; what only
        claims to be signed by it; what names keys that are not trusted; what is no receipt.
    """
    keys = {key.key.id: key for key in policy.keys}
    signed, late = Counter[str](), Counter[str]()
    forged, unknown = Counter[str](), Counter[str]()
    unreadable = 0
    for ref, data in open_evidence(policy).receipts():
        try:
            bundle = Bundle.parse(data)
        except ReceiptError:
            unreadable += 1
            continue
        trusted = keys.get(bundle.hint)
        if trusted is None:
            unknown[bundle.hint] += 1
        elif _verifies(bundle, trusted):
            signed[bundle.hint] += 1
            late[bundle.hint] += trusted.revoked_at is not None and ref.index >= trusted.revoked_at
        else:
            forged[bundle.hint] += 1
    return signed, late, forged, unknown, unreadable


def _verifies(bundle: Bundle, key: TrustedKey) -> bool:
    try:
        bundle.verify(lambda _: key.key)
    except ReceiptError:
        return False
    return True


def _describe(key: TrustedKey, now: datetime) -> dict[str, Json]:
    return {
        "name": key.name,
        "id": key.key.id,
        "state": _state(key, now),
        "stages": list(key.stages),
        "subjects": list(key.subjects),
        "approvers": list(key.approvers),
        "not_before": key.not_before.date().isoformat() if key.not_before else None,
        "not_after": key.not_after.date().isoformat() if key.not_after else None,
        "revoked_at": key.revoked_at,
    }


def _state(key: TrustedKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.not_after and now > key.not_after:
        return "expired"
    return "not valid yet" if key.not_before and now < key.not_before else "valid"


def _print(key: TrustedKey, row: Json) -> None:
    print(f"{key.name:<16} {key.key.id[:12]}  {row['state']:<8} {row['signed']} receipts")
    print(f"  signs {', '.join(key.stages)} for {', '.join(key.subjects)}")
    if key.approvers:
        print(f"  approvals of {', '.join(key.approvers)}")
    if key.not_before or key.not_after:
        print(f"  valid {row['not_before'] or 'always'} to {row['not_after'] or 'without end'}")
    if key.revoked_at is not None:
        after = row["after_revocation"]
        print(f"  revoked from ledger entry {key.revoked_at} on; {after} receipts after it")
    if row["does_not_verify"]:
        print(f"  {row['does_not_verify']} ledger entries name it, and it did not sign them")
