"""``sluicegate oms``: sign a folder for other tools of OpenSSF Model Signing, and verify one."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from sluicegate.canonical import Json
from sluicegate.cli.terminal import PASSED, Progress, emit
from sluicegate.errors import ClearanceRefused, ConfigurationError, ReceiptError, SubjectError
from sluicegate.receipts.oms import CertificateTrust, Envelope, KeyTrust, Trust, sign, verify
from sluicegate.receipts.oms.envelope import MAX_BUNDLE_BYTES
from sluicegate.receipts.signers import load
from sluicegate.signing import key_password
from sluicegate.storage.local import write_atomically

__all__ = ["add_oms"]


def add_oms(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its two actions."""
    parser = commands.add_parser(
        "oms",
        help="sign or verify a folder as OpenSSF Model Signing",
        description="Sign all files of a model or dataset folder into one bundle that other "
        "tools of OpenSSF Model Signing verify, or verify such a bundle. Nothing is ignored.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_sign(actions)
    _add_verify(actions)


def _add_sign(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "sign",
        help="sign all files of a folder",
        description="Sign all files of a folder, hidden and empty ones too; links are refused. "
        "The model_signing tool verifies a folder that holds .git, .github, .gitattributes or "
        ".gitignore with --no-ignore-git-paths.",
    )
    parser.add_argument("folder", metavar="DIR", help="path or URI of the model or dataset")
    parser.add_argument(
        "--key",
        required=True,
        help="private key, ECDSA P-256: a file, or the URI of a key that lies elsewhere; its "
        "password is read from the file that "
        "SLUICEGATE_KEY_PASSWORD_FILE names",
    )
    parser.add_argument(
        "--certificate-chain",
        type=Path,
        metavar="FILE",
        help="certificates in PEM, that of the key first: name the signer by them",
    )
    _add_bundle(parser, "where to write the signature")
    parser.set_defaults(run=_sign)


def _add_verify(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "verify",
        help="verify that a folder is what was signed",
        description="Verify the signature, then compare every file of the folder with it.",
        epilog="exit codes:\n  0  exactly what was signed\n  1  refused\n  2  could not tell",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help="path or URI of the model or dataset")
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument(
        "--public-key", type=Path, action="append", help="key whose signature counts; repeatable"
    )
    trust.add_argument(
        "--trust-anchor",
        type=Path,
        action="append",
        metavar="CA.PEM",
        help="certificate whose holder, or the signers it names, count; repeatable",
    )
    parser.add_argument(
        "--certificate-identity",
        metavar="NAME",
        help="whom the signing certificate must be issued to: mail address, URI, DNS name or "
        "whole subject (default: whomever the trust anchor admits)",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="time at which the certificates must be valid, e.g. 2026-01-31T12:00:00Z "
        "(default: now)",
    )
    _add_bundle(parser, "the signature")
    parser.set_defaults(run=_verify)


def _add_bundle(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _sign(args: argparse.Namespace) -> int:
    _refuse_other_file(args.bundle)
    chain = _read(args.certificate_chain) if args.certificate_chain else b""
    signer = load(args.key, key_password())
    progress = Progress()
    bundle = sign(
        args.folder, signer, certificates=chain, bundle_path=args.bundle, progress=progress
    )
    progress.clear()
    try:
        write_atomically(args.bundle, bundle)
    except OSError as error:
        raise SubjectError(f"cannot write {args.bundle}: {error.strerror}") from error
    value: dict[str, Json] = {
        "outcome": "signed",
        "bundle": str(args.bundle),
        "sha256": str(Envelope.parse(bundle).digest),
        "key": signer.public_key.id,
    }
    if args.json:
        emit(value)
    else:
        print(f"signed: {args.folder}\n  by key {signer.public_key.id}\n  into {args.bundle}")
    return PASSED


def _refuse_other_file(path: Path) -> None:
    """Stop before a signature would replace something that is none, such as the weights."""
    if not path.exists():
        return
    try:
        Envelope.parse(_read(path))
    except ReceiptError as error:
        raise ConfigurationError(
            f"{path} exists and is no signature of this format",
            next_step="name another file with --bundle",
        ) from error


def _verify(args: argparse.Namespace) -> int:
    trust = _trust(args)
    bundle = _read(args.bundle)
    progress = Progress()
    try:
        verified = verify(args.folder, bundle, trust, bundle_path=args.bundle, progress=progress)
    except ReceiptError as error:
        raise ClearanceRefused(f"{args.bundle}: {error.what}", next_step=error.next_step) from error
    finally:
        progress.clear()
    files = verified.snapshot.manifest
    if args.json:
        emit(
            {
                "outcome": "verified",
                "name": verified.name,
                "signer": {"id": verified.signatory.id, "name": verified.signatory.name},
                "bundle": str(verified.bundle),
                "subject": str(verified.digest),
                "digest": str(files.digest),
                "dirHash1": files.dir_hash(),
                "algorithm": verified.algorithm,
                "files": len(files.files),
            }
        )
    else:
        print(f"verified: {args.folder} is {verified.name!a}, all {len(files.files)} files")
        print(f"  signed by {verified.signatory}")
        print(f"  {files.digest}")
    return PASSED


def _trust(args: argparse.Namespace) -> Trust:
    if args.public_key:
        if args.at or args.certificate_identity:
            raise ConfigurationError("--at and --certificate-identity go with --trust-anchor")
        return KeyTrust.load(*args.public_key)
    return CertificateTrust.load(
        *args.trust_anchor, at=_time(args.at), identity=args.certificate_identity
    )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError("--at is a time with its zone, such as 2026-01-31T12:00:00Z")
    return moment


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as source:
            return source.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise SubjectError(f"cannot read {path}: {error.strerror}") from error
