"""Show one file or row of a data set, and that it belongs to it, and nothing else.

Whoever holds the data *commits* to it once: a Merkle tree over salted leaves, whose root is
signed and logged. The salts come from a secret that stays with the data. Later they *disclose*
a leaf: its data, its salt and the path to the root. Who checks it learns what was shown and
the number of leaves. They cannot test guesses about the others: each of those is hidden behind
a salt of 256 bits.

The subject's own digest is shown as well. It is a root over unsalted records, so somebody who
can guess a *whole* data set can check the guess.

The data of a leaf is a record of the manifest (files) or what
:mod:`sluicegate.storage.rows` says (rows); the leaf is ``sha256(00 || salt || data)``, and the
salt ``HMAC-SHA256(secret, "sluicegate salt v1" 00 of 00 || subject digest || index)`` with the
index as eight bytes, big-endian.

Source: salted hashes as in selective disclosure for JSON Web Tokens (SD-JWT), under a tree in
place of a list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.clearance import PolicySource, SubjectSource, as_subject, open_cleared
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    KeyFileError,
    ReceiptError,
    SubjectError,
)
from sluicegate.evidence import ReceiptRef
from sluicegate.merkle import inclusion_proof, leaf_hash, merkle_root, root_from_inclusion
from sluicegate.model import RowId, RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.statement import (
    COMMITMENT,
    CommitmentStatement,
    Subject,
    VerdictStatement,
)
from sluicegate.signing import attest, check_signer, load_signer, open_evidence
from sluicegate.storage.keyfiles import read_private_file
from sluicegate.storage.rows import row_leaves
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import LedgerRecords, admit

__all__ = ["Disclosed", "commit", "disclose", "load_secret", "summary", "verify_disclosure"]

_KIND: Final = "sluicegate-disclosure/v1"
_SECRET_BYTES: Final = 32
_SALT_BYTES: Final = 32
_MAX_NODES: Final = 64
"""A path in a tree of 2**64 leaves."""
_MEMBERS: Final = frozenset(
    {"kind", "of", "subject", "index", "size", "salt", "data", "proof", "receipt", "verdicts"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """What a disclosure shows, once it was verified."""

    subject: Subject
    """What the leaf belongs to."""
    of: str
    """``files`` or ``rows``."""
    index: int
    """Place of the leaf, from 0."""
    size: int
    """Number of leaves."""
    data: bytes
    """The record of the file, or the row without the digest of its columns."""
    columns: Digest | None
    """For a row: digest of its columns."""
    verdicts: tuple[VerdictStatement, ...]
    """Verdicts about the subject that came with it, each signed by a key that the policy
    trusts for the stage, under the policy's rules, and resting on no waiver that ran out."""


def load_secret(path: Path, *, create: bool = False) -> bytes:
    """Read the secret behind the salts, 32 bytes.

    Args:
        path: the file; only its owner may read it.
        create: make it if there is none.

    Raises:
        KeyFileError: missing, no plain file, readable by others, or of another length.
    """
    try:
        if create and not os.path.lexists(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(secrets.token_bytes(_SECRET_BYTES))
    except OSError as error:
        raise KeyFileError(f"cannot write the secret {path}: {error.strerror}") from error
    secret = read_private_file(path, what="secret")
    if len(secret) != _SECRET_BYTES:
        raise KeyFileError(f"the secret {path} has not {_SECRET_BYTES} bytes")
    return secret


def commit(
    subject: SubjectSource,
    *,
    of: str,
    secret: bytes,
    policy: PolicySource = None,
    signer: Signer | None = None,
    run: RunIdentity | None = None,
) -> ReceiptRef:
    """Sign and log a salted tree over a subject's files or rows.

    Doing it again with the same secret gives the same tree.

    Raises:
        ConfigurationError: not ``files`` or ``rows``, or no key that may sign this.
        SubjectError: the subject cannot be read, or has no rows.
        LedgerError: it cannot be logged.
    """
    rules = load_policy(policy)
    snapshot = _snapshot(subject)
    holder, now = signer or load_signer(rules), datetime.now(UTC)
    check_signer(rules, holder, COMMITMENT, uri=str(snapshot.uri), now=now)
    leaves = _salted(snapshot, of, secret)
    statement = CommitmentStatement(
        subject=Subject.of(snapshot),
        of=of,
        root=Digest(merkle_root(leaves).hex()),
        size=len(leaves),
        issued=now,
        run=run or RunIdentity(orchestrator="cli"),
        invocation=secrets.token_hex(8),
    )
    return attest(statement, open_evidence(rules, write=True), holder)


def disclose(
    subject: SubjectSource,
    *,
    leaf: str | RowId,
    secret: bytes,
    policy: PolicySource = None,
    purpose: str | None = None,
) -> dict[str, Json]:
    """Return a document that shows one leaf of a subject that was committed to.

    Args:
        subject: the subject.
        leaf: path of a file, or id of a row.
        secret: the secret of the commitment.
        policy: the policy.
        purpose: also show, by their receipts, that the whole subject may be used for this.

    Raises:
        ClearanceRefused: there is no commitment of this secret to these bytes, or the subject
            may not be used for the purpose.
        SubjectError: there is no such file or row.
    """
    rules = load_policy(policy)
    snapshot = _snapshot(subject)
    of = "rows" if isinstance(leaf, RowId) else "files"
    index, data = _find(snapshot, leaf)
    leaves = _salted(snapshot, of, secret)
    root = Digest(merkle_root(leaves).hex())
    receipt = _commitment(rules, snapshot.digest, of, root)
    return {
        "kind": _KIND,
        "of": of,
        "subject": str(snapshot.digest),
        "index": index,
        "size": len(leaves),
        "salt": _salt(secret, of, snapshot.digest, index).hex(),
        "data": base64.b64encode(data).decode(),
        "proof": [node.hex() for node in inclusion_proof(leaves, index)],
        "receipt": base64.b64encode(receipt).decode(),
        "verdicts": _verdicts(rules, subject, purpose) if purpose else [],
    }


def verify_disclosure(document: Json, *, policy: PolicySource = None) -> Disclosed:
    """Check what :func:`disclose` wrote; needs neither the data nor the ledger.

    Raises:
        ClearanceRefused: the leaf does not lead to a root that a trusted key committed to, or
            a verdict that came with it does not count.
    """
    rules = load_policy(policy)
    try:
        if set(document) != _MEMBERS or document["kind"] != _KIND:
            raise ValueError("other members")
        salt, data = bytes.fromhex(document["salt"]), _decoded(document["data"])
        proof = [bytes.fromhex(node) for node in document["proof"]]
        index, size = document["index"], document["size"]
        if len(salt) != _SALT_BYTES or len(proof) > _MAX_NODES or any(len(n) != 32 for n in proof):
            raise ValueError("salt or path of another length")
        if type(index) is not int or type(size) is not int:
            raise ValueError("no numbers")
        root = root_from_inclusion(leaf_hash(salt + data), index, size, proof)
        statement = _statement(_decoded(document["receipt"]), rules)
        verdicts = [_statement(_decoded(item), rules) for item in document["verdicts"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClearanceRefused("this is no disclosure: it does not have the form of one") from error
    if not isinstance(statement, CommitmentStatement):
        raise ClearanceRefused("the receipt in the disclosure is no commitment")
    digest = str(statement.subject.digest)
    claimed = (statement.of, statement.size, statement.root.hex, digest)
    if claimed != (document["of"], size, root.hex(), document["subject"]):
        raise ClearanceRefused(
            "the disclosure does not lead to the root that was committed to",
            next_step="the data, its place or the path was altered, or the receipt is for another "
            "subject",
        )
    return Disclosed(
        subject=statement.subject,
        of=statement.of,
        index=index,
        size=size,
        data=data[32:] if statement.of == "rows" else data,
        columns=Digest(data[:32].hex()) if statement.of == "rows" else None,
        verdicts=tuple(_about(item, statement.subject) for item in verdicts),
    )


def _snapshot(subject: SubjectSource) -> Snapshot:
    source = as_subject(subject)
    return take_snapshot(source if isinstance(source, SubjectUri) else SubjectUri.parse(source.uri))


def _leaf_data(snapshot: Snapshot, of: str) -> Iterator[bytes]:
    if of == "files":
        return (record.line() for record in snapshot.manifest.files)
    if of == "rows":
        return (data for _, data in row_leaves(snapshot))
    raise ConfigurationError(f"a commitment is of files or of rows, not of {of!r}")


def _salted(snapshot: Snapshot, of: str, secret: bytes) -> list[bytes]:
    """Return the leaf hashes of the salted tree."""
    salt = _salts(secret, of, snapshot.digest)
    leaves = [leaf_hash(salt(index) + data) for index, data in enumerate(_leaf_data(snapshot, of))]
    if not leaves:
        raise SubjectError(f"{snapshot.uri} has no {of}")
    return leaves


def _salt(secret: bytes, of: str, subject: Digest, index: int) -> bytes:
    return _salts(secret, of, subject)(index)


def _salts(secret: bytes, of: str, subject: Digest) -> Callable[[int], bytes]:
    context = b"sluicegate salt v1\x00" + of.encode() + b"\x00" + bytes.fromhex(subject.hex)
    keyed = hmac.new(secret, context, hashlib.sha256)

    def salt(index: int) -> bytes:
        one = keyed.copy()
        one.update(index.to_bytes(8, "big"))
        return one.digest()

    return salt


def _find(snapshot: Snapshot, leaf: str | RowId) -> tuple[int, bytes]:
    """Return place and data of a leaf."""
    if isinstance(leaf, RowId):
        for index, (row, data) in enumerate(row_leaves(snapshot)):
            if row == leaf:
                return index, data
        raise SubjectError(f"{snapshot.uri} has no row {leaf.ordinal} in {leaf.file!r}")
    return snapshot.manifest.index(leaf), snapshot.manifest.find(leaf).line()


def _commitment(policy: Policy, subject: Digest, of: str, root: Digest) -> bytes:
    """Return the receipt of the commitment to this tree."""
    records = LedgerRecords(open_evidence(policy), policy, datetime.now(UTC))
    for record in records:
        said = record.statement
        if (
            isinstance(said, CommitmentStatement)
            and not record.objection
            and (said.subject.digest, said.of, said.root) == (subject, of, root)
        ):
            return records.bundle(record.index)
    raise ClearanceRefused(
        f"nobody committed to the {of} of {subject.short} with this secret",
        next_step="run `sluicegate disclose commit` first, or use the secret that it used",
    )


def _verdicts(policy: Policy, subject: SubjectSource, purpose: str) -> list[str]:
    """Return the receipts of the verdicts by which a subject meets a purpose."""
    cleared = open_cleared(subject, purpose=purpose, policy=policy)
    evidence = open_evidence(policy)
    bundles = [evidence.receipt(ref) for ref in cleared.receipts]
    spoken = [(bundle, _statement(bundle, policy)) for bundle in bundles]
    return [
        base64.b64encode(bundle).decode()
        for bundle, said in spoken
        if isinstance(said, VerdictStatement) and said.subject.digest == cleared.digest
    ]


def _statement(bundle: bytes, policy: Policy) -> object:
    """Return what a receipt says, if it can speak for a subject now."""
    try:
        ref = ReceiptRef(-1, Digest.of(bundle))  # without the ledger it has no place
        witnessed = admit(ref, bundle, policy, now=datetime.now(UTC))
    except ReceiptError as error:
        raise ClearanceRefused(f"a receipt in the disclosure is not good: {error.what}") from error
    if witnessed.key.revoked_at is not None:  # nobody can tell whether it signed before that
        raise ClearanceRefused(
            f"key {witnessed.key.name!r} was revoked, and a disclosure does not show when it "
            "signed",
            next_step="ask for a disclosure under a current key",
        )
    return witnessed.statement


def _about(statement: object, subject: Subject) -> VerdictStatement:
    if not isinstance(statement, VerdictStatement) or not statement.verdict.clears:
        raise ClearanceRefused("a receipt in the disclosure is no verdict that clears")
    if statement.subject.digest != subject.digest:
        raise ClearanceRefused("a verdict in the disclosure is about another subject")
    return statement


def _decoded(text: Json) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def summary(disclosed: Disclosed) -> Mapping[str, Json]:
    """Return what a disclosure showed, as JSON."""
    shown: dict[str, Json] = {
        "subject": str(disclosed.subject.digest),
        "of": disclosed.of,
        "index": disclosed.index,
        "size": disclosed.size,
        "data": disclosed.data.decode("utf-8", errors="backslashreplace"),
        "verdicts": [[item.stage, item.verdict.value] for item in disclosed.verdicts],
    }
    return shown | ({"columns": str(disclosed.columns)} if disclosed.columns else {})
