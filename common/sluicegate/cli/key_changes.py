"""What ``sluicegate keys new``, ``trust``, ``rotate`` and ``revoke`` do."""

from __future__ import annotations

import argparse
import os
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import Json
from sluicegate.cli.key_log import change
from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ConfigurationError, LedgerError, PolicyError
from sluicegate.ledger.keys import new_note_key
from sluicegate.ledger.note import COSIGNATURE, ED25519
from sluicegate.ledger.trust import believe, believed_entries
from sluicegate.policy.edit import add_key, find_key, revoke_key, rotate_key
from sluicegate.policy.load import find_policy, load_policy
from sluicegate.policy.model import Policy, TrustedKey
from sluicegate.policy.reader import near_miss
from sluicegate.policy.text import KeyEntry
from sluicegate.receipts.keys import PublicKey, Signer, new_key_pair, write_public_key
from sluicegate.receipts.signers import load as load_signer_from
from sluicegate.receipts.statement import APPROVAL, WORDS
from sluicegate.signing import key_password, open_evidence
from sluicegate.stages.registry import stage_names
from sluicegate.storage.local import write_atomically

__all__ = ["make", "revoke", "rotate", "trust"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names become file names."""


def make(args: argparse.Namespace) -> int:
    """Run ``sluicegate keys new``."""
    _check_name(args.name)
    if args.ledger or args.witness:
        return _make_note_key(args)
    if args.trust and not args.stages:
        raise ConfigurationError("--trust needs --for: say what the key may sign")
    _check_rights(args)
    if args.kms and args.private:
        raise ConfigurationError("--kms uses a key that exists: there is no private file to write")
    policy = _policy_or_none(args)
    base = Path(policy.source).parent if policy else Path.cwd()
    _check_unlisted(policy, args.name)
    entry = _entry(args, file=f"keys/{args.name}.pub.pem", stages=args.stages or ["*"])
    signer, private = _new_signer(args, args.name, base / entry.file, policy)
    said: dict[str, Json] = {
        "name": args.name,
        "id": signer.public_key.id,
        "public_key": str(base / entry.file),
        "private_key": str(private) if private else None,
        "entry": entry.text(),
    }
    lines = [f"public key   {base / entry.file}", f"id           {signer.public_key.id}"]
    if private:
        lines.append(f"private key  {private}{_protection()}")
    if args.trust and policy:
        path = Path(policy.source)
        said |= change(path, "key.trusted", _details(entry, signer), lambda: add_key(path, entry))
        lines.append(f"listed in    {path}")
    else:
        lines.append(f"the policy lists it with, below `keys:`\n{entry.text()}".rstrip())
    return _say(args, said, lines)


def trust(args: argparse.Namespace) -> int:
    """Run ``sluicegate keys trust``."""
    _check_name(args.name)
    _check_rights(args)
    path = find_policy(args.policy).resolve()
    policy, key = load_policy(path), PublicKey.load(args.file)
    _check_unlisted(policy, args.name)
    file = args.file.resolve()
    inside = file.is_relative_to(path.parent)
    entry = _entry(
        args,
        file=str(file.relative_to(path.parent)) if inside else f"keys/{args.name}.pub.pem",
        stages=args.stages,
    )
    if not inside:
        write_public_key(path.parent / entry.file, key)
    details = {"key": args.name, "id": key.id, "stages": " ".join(entry.stages)}
    said: dict[str, Json] = {"name": args.name, "id": key.id, "entry": entry.text()}
    said |= change(path, "key.trusted", details, lambda: add_key(path, entry))
    return _say(args, said, [f"{path} trusts {args.name!r}", f"id           {key.id}"])


def revoke(args: argparse.Namespace) -> int:
    """Run ``sluicegate keys revoke``."""
    path = find_policy(args.policy).resolve()
    policy = load_policy(path)
    key = find_key(policy, args.name)
    index = _next_index(policy) if args.at is None else _named_index(policy, args.at)
    details = {"key": args.name, "id": key.key.id, "revoked_at": str(index)}
    said: dict[str, Json] = {"name": args.name, "id": key.key.id, "revoked_at": index}
    said |= change(path, "key.revoked", details, lambda: revoke_key(path, args.name, index))
    line = f"{path}: nothing that {args.name!r} signs counts from ledger entry {index} on"
    return _say(args, said, [line])


def rotate(args: argparse.Namespace) -> int:
    """Run ``sluicegate keys rotate``."""
    path = find_policy(args.policy).resolve()
    policy = load_policy(path)
    old = find_key(policy, args.name)
    if old.revoked_at is not None:
        raise PolicyError(f"the key {old.name!r} is revoked already", next_step="use `keys new`")
    if args.kms and args.private:
        raise ConfigurationError("--kms uses a key that exists: there is no private file to write")
    name = args.new_name or _next_name(old.name, {key.name for key in policy.keys})
    _check_name(name)
    _check_unlisted(policy, name)
    entry = _successor(old, name, args.not_after)
    index = _next_index(policy)
    signer, private = _new_signer(args, name, path.parent / entry.file, policy)
    details = _details(entry, signer) | {
        "replaces": old.name,
        "replaced_id": old.key.id,
        "revoked_at": str(index),
    }
    said: dict[str, Json] = {
        "name": name,
        "id": signer.public_key.id,
        "replaces": old.name,
        "revoked_at": index,
        "public_key": str(path.parent / entry.file),
        "private_key": str(private) if private else None,
    }
    said |= change(
        path,
        "key.rotated",
        details,
        lambda: rotate_key(path, old.name, index, entry),
        signer=signer,
    )
    place = f"SLUICEGATE_SIGNING_KEY={private or args.kms}"
    lines = [
        f"{path}: {name!r} replaces {old.name!r} from ledger entry {index} on",
        f"id           {signer.public_key.id}",
        f"next: {place} wherever {old.name!r} signed; gates that still use the old key are refused",
    ]
    return _say(args, said, lines)


def _make_note_key(args: argparse.Namespace) -> int:
    if args.trust or args.stages or args.subjects or args.approver or args.not_after:
        raise ConfigurationError(
            "keys of ledgers and witnesses sign checkpoints, not receipts: they have no rights",
            next_step="leave out --trust and the rights; paste what is printed below `ledger:`",
        )
    policy = _policy_or_none(args)
    base = Path(policy.source).parent if policy else Path.cwd()
    public = base / "keys" / f"{args.name}.vkey"
    private = _private_path(args, args.name, policy)
    signer = new_note_key(
        private,
        public,
        name=args.ledger or args.witness,
        kind=ED25519 if args.ledger else COSIGNATURE,
        password=key_password(),
    )
    entry = (
        f"ledger:\n  key: keys/{args.name}.vkey\n"
        if args.ledger
        else f"ledger:\n  witnesses:\n    - keys/{args.name}.vkey\n"
    )
    said: dict[str, Json] = {
        "name": args.name,
        "vkey": str(signer.verifier),
        "public_key": str(public),
        "private_key": str(private),
        "entry": entry,
    }
    lines = [
        f"public key   {public}",
        f"vkey         {signer.verifier}",
        f"private key  {private}{_protection()}",
        f"the policy names it with\n{entry}".rstrip(),
    ]
    return _say(args, said, lines)


def _new_signer(
    args: argparse.Namespace, name: str, public: Path, policy: Policy | None
) -> tuple[Signer, Path | None]:
    """Make a key pair, or take the key that ``--kms`` names; write the public file."""
    if args.kms:
        signer = load_signer_from(args.kms, key_password())
        write_public_key(public, signer.public_key)
        return signer, None
    private = _private_path(args, name, policy)
    return new_key_pair(private, public, password=key_password()), private


def _private_path(args: argparse.Namespace, name: str, policy: Policy | None) -> Path:
    if args.private:
        return Path(os.path.abspath(args.private))
    if policy is None:
        raise ConfigurationError(
            "no policy, and so no evidence folder for the private key", next_step="give --private"
        )
    ignore = policy.evidence / ".gitignore"
    if not ignore.exists():
        write_atomically(ignore, b"*\n")  # private keys do not belong into git
    return policy.evidence / "keys" / f"{name}.key.pem"


def _policy_or_none(args: argparse.Namespace) -> Policy | None:
    """Return the policy; None if there is none and none is needed."""
    try:
        path = find_policy(args.policy)
    except PolicyError:
        if args.trust:
            raise
        return None
    return load_policy(path)


def _entry(args: argparse.Namespace, *, file: str, stages: list[str]) -> KeyEntry:
    return KeyEntry(
        name=args.name,
        file=file,
        stages=tuple(dict.fromkeys(stages)),
        subjects=tuple(args.subjects or ["*"]),
        approvers=tuple(args.approver or []),
        not_before=args.not_before,
        not_after=args.not_after,
    )


def _successor(old: TrustedKey, name: str, not_after: date | None) -> KeyEntry:
    """Return the entry of a key with the rights of another."""
    last = not_after or (old.not_after.date() if old.not_after else None)
    if last and last < datetime.now(UTC).date():
        raise ConfigurationError(
            f"the rights of {old.name!r} ended on {last}", next_step="give --not-after"
        )
    return KeyEntry(
        name=name,
        file=f"keys/{name}.pub.pem",
        stages=old.stages,
        subjects=old.subjects,
        approvers=old.approvers,
        not_before=old.not_before.date() if old.not_before else None,
        not_after=last,
    )


def _next_name(name: str, taken: set[str]) -> str:
    """Return ``gates-2`` after ``gates``, ``gates-3`` after that."""
    match = re.fullmatch(r"(.*)-([0-9]{1,6})", name)
    stem, number = (match.group(1), int(match.group(2))) if match else (name, 1)
    while (following := f"{stem}-{number + 1}") in taken:
        number += 1
    return following


def _named_index(policy: Policy, index: int) -> int:
    """Return the index that a user named, unless the ledger is known to be shorter.

    A digit too many would leave a stolen key in use.
    """
    try:
        size = _next_index(policy)
    except LedgerError:
        return index  # damaged: the user knows better
    if index > size:
        raise ConfigurationError(
            f"the ledger has {size} entries: nothing was signed at entry {index} yet",
            next_step="leave --at out to revoke from the next entry on",
        )
    return index


def _next_index(policy: Policy) -> int:
    """Return the size of the ledger that consumers believe, after all of it was read.

    A size that somebody merely claims would let a thief's entries count.
    """
    ledger = open_evidence(policy).ledger
    try:
        checkpoint = believe(ledger, policy.ledger_settings)
        for _ in believed_entries(ledger, checkpoint):
            continue
        return checkpoint.size if checkpoint else 0
    except LedgerError as error:
        raise LedgerError(
            f"cannot tell how long the ledger is: {error.what}",
            next_step="nothing was changed; to revoke a key all the same, name the entry: "
            "`sluicegate keys revoke NAME --at INDEX`",
        ) from error


def _details(entry: KeyEntry, signer: Signer) -> dict[str, str]:
    return {"key": entry.name, "id": signer.public_key.id, "stages": " ".join(entry.stages)}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "a key's name has letters, digits, '.', '_' and '-', begins with a letter or digit, "
            "and has at most 64 of them"
        )


def _check_rights(args: argparse.Namespace) -> None:
    """Refuse rights that no policy could grant, before a key is made for them."""
    known = {*stage_names(), *WORDS, "*"}
    if unknown := [stage for stage in args.stages or () if stage not in known]:
        raise ConfigurationError(
            f"there is no stage {unknown[0]!r}{near_miss(unknown[0], known)}",
            next_step=f"a key may sign: {', '.join(sorted(known))}",
        )
    if (APPROVAL in (args.stages or ())) != bool(args.approver):
        raise ConfigurationError("--for approval and --approver go together")
    if args.not_before and args.not_after and args.not_after < args.not_before:
        raise ConfigurationError("--not-after lies before --not-before")


def _check_unlisted(policy: Policy | None, name: str) -> None:
    if policy and any(key.name == name for key in policy.keys):
        raise PolicyError(f"{policy.source} lists a key named {name!r} already")


def _protection() -> str:
    return "" if key_password() else "  (no password)"


def _say(args: argparse.Namespace, said: dict[str, Json], lines: list[str]) -> int:
    if args.json:
        emit(said)
        return PASSED
    for line in lines:
        print(line)
    if said.get("logged_at") is not None:
        print(f"logged as entry {said['logged_at']}")
    elif "not_logged" in said:
        print(f"not logged: {said['not_logged']}")
    return PASSED
