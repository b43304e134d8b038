"""``sluicegate ledger prove`` and ``export --to``: the ledger for people who do not have it."""

from __future__ import annotations

import argparse
from pathlib import Path

from sluicegate.canonical import Digest, Json
from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ClearanceRefused, LedgerError, SluicegateError
from sluicegate.ledger.base import MAX_ENTRY_BYTES, Ledger
from sluicegate.ledger.note import SignedCheckpoint
from sluicegate.ledger.static_copy import copy_ledger
from sluicegate.ledger.tlog_proof import (
    MAX_PROOF_BYTES,
    TlogProof,
    check_signatures,
    encode_consistency,
)
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.signing import open_evidence
from sluicegate.storage.local import write_atomically

__all__ = ["add_prove_options", "export_ledger", "number_of", "run_prove"]

_MOST_DIGITS = 19
"""Digits of the largest size that a checkpoint can have."""


def add_prove_options(prove: argparse.ArgumentParser) -> None:
    """Add the options of ``prove``."""
    what = prove.add_mutually_exclusive_group(required=True)
    what.add_argument("entry", metavar="ENTRY", nargs="?", help="number of a ledger entry")
    what.add_argument(
        "--from",
        dest="old",
        metavar="SIZE",
        help="prove instead that the ledger of so many entries grew into today's",
    )
    what.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="check a proof by the policy's ledger key, without the ledger",
    )
    prove.add_argument("--receipt", type=Path, metavar="BUNDLE", help="with --check: the receipt")
    prove.add_argument("--out", type=Path, metavar="FILE", help="write here, not to stdout")
    prove.epilog = (
        "proofs of entries are C2SP tlog-proof@v1; exit codes: 0 proven, 1 refused, "
        "2 could not tell"
    )


def run_prove(args: argparse.Namespace) -> int:
    """Prove an entry, or that the ledger only grew; or check such a proof."""
    if (args.check is None) != (args.receipt is None):
        raise SluicegateError("--check FILE and --receipt BUNDLE belong together")
    if args.check is not None:
        return _check_proof(args)
    policy = load_policy(args.policy)
    ledger = open_evidence(policy).ledger
    signed = _signed(policy, ledger)
    if args.old is not None:
        proof = encode_consistency(ledger, signed, number_of(args.old, "a size"))
        about: dict[str, Json] = {"from": int(args.old)}
    else:
        found = TlogProof.of(ledger, signed, number_of(args.entry, "a ledger entry"))
        proof, about = found.encode(), {"index": found.index}
    if args.out is not None:
        _write_proof(args.out, proof)
    if args.json:
        emit(about | {"size": signed.checkpoint.size, "proof": proof.decode()})
    elif args.out is not None:
        print(f"wrote {args.out}: against the checkpoint of {signed.checkpoint.size} entries")
    else:
        print(proof.decode(), end="")
    return PASSED


def _check_proof(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    if policy.ledger_settings.key is None:
        raise LedgerError(
            "the policy names no key of the ledger, so no proof can be checked",
            next_step="sign the ledger, and list its vkey under `ledger` in the policy",
        )
    proof = TlogProof.parse(_read(args.check, MAX_PROOF_BYTES))
    receipt = _read(args.receipt, MAX_ENTRY_BYTES)
    try:
        checkpoint = proof.verify(receipt, policy.ledger_settings)
    except LedgerError as error:
        raise ClearanceRefused(
            f"{args.check} does not prove that {args.receipt} is in the ledger: {error.what}",
            next_step=error.next_step,
        ) from error
    if args.json:
        emit(
            {
                "index": proof.index,
                "size": checkpoint.size,
                "origin": checkpoint.origin,
                "root": checkpoint.root.hex(),
                "digest": str(Digest.of(receipt)),
            }
        )
    else:
        print(f"{args.receipt} is entry {proof.index} of {checkpoint.origin}")
        print(f"  of {checkpoint.size} entries, signed by {policy.ledger_settings.key}")
    return PASSED


def number_of(text: str, what: str) -> int:
    """Return a size or a place that somebody typed.

    Raises:
        SluicegateError: not a number.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > _MOST_DIGITS:
        raise SluicegateError(f"{what} is a number, not {text[:40]!r}")
    return int(text)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise SluicegateError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most:
        raise SluicegateError(f"{path} has more than {most:,} bytes")
    return content


def _write_proof(path: Path, proof: bytes) -> None:
    try:
        write_atomically(path, proof)
    except OSError as error:
        raise SluicegateError(f"cannot write {path}: {error.strerror}") from error


def _signed(policy: Policy, ledger: Ledger) -> SignedCheckpoint:
    """Return the newest checkpoint with the signatures that the policy asks for."""
    signed = ledger.checkpoint()
    if signed is None:
        raise LedgerError("the ledger is empty, so there is nothing to prove or export")
    if policy.ledger_settings.key is not None:
        check_signatures(signed, policy.ledger_settings)
    return signed


def export_ledger(args: argparse.Namespace) -> int:
    """Copy the ledger into a new folder."""
    policy = load_policy(args.policy)
    ledger = open_evidence(policy).ledger
    signed = _signed(policy, ledger)
    files = copy_ledger(ledger.tiles, signed, args.to)
    if args.json:
        emit({"folder": str(args.to), "files": files, "entries": signed.checkpoint.size})
    else:
        print(f"wrote {signed.checkpoint.size} entries in {files} files to {args.to}")
    return PASSED
