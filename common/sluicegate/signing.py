"""Which key signs, and the one way a statement gets into the ledger.

The environment names keys, so that no policy and no pipeline holds one:

* ``SLUICEGATE_SIGNING_KEY``: the private key for receipts; a file, or a URI of a key that
  lies elsewhere (:func:`sluicegate.receipts.signers.load` says which);
* ``SLUICEGATE_LEDGER_KEY``: the file of the key that signs the ledger's checkpoints;
* ``SLUICEGATE_KEY_PASSWORD_FILE`` or ``SLUICEGATE_KEY_PASSWORD``: what opens key files.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import canonical_json
from sluicegate.errors import ClearanceRefused, ConfigurationError, KeyFileError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.ledger.keys import load_note_signer
from sluicegate.ledger.note import NoteSigner
from sluicegate.model import RunIdentity
from sluicegate.policy.model import Policy
from sluicegate.receipts.bundle import seal
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.signers import load as load_signer_from
from sluicegate.receipts.statement import (
    EVENT,
    EventStatement,
    Statement,
    Subject,
    write_statement,
)

__all__ = [
    "attest",
    "check_signer",
    "default_key_path",
    "key_password",
    "ledger_signer",
    "load_signer",
    "open_evidence",
    "record_event",
    "record_policy",
]

KEY_VARIABLE: Final = "SLUICEGATE_SIGNING_KEY"
LEDGER_KEY_VARIABLE: Final = "SLUICEGATE_LEDGER_KEY"
PASSWORD_VARIABLE: Final = "SLUICEGATE_KEY_PASSWORD"  # noqa: S105  a name, no password
PASSWORD_FILE_VARIABLE: Final = "SLUICEGATE_KEY_PASSWORD_FILE"  # noqa: S105


def default_key_path(evidence: Path) -> Path:
    """Return where ``sluicegate init`` puts the signing key."""
    return evidence / "keys" / "signing.key.pem"


def default_ledger_key_path(evidence: Path) -> Path:
    """Return where ``sluicegate init`` puts the key of the ledger."""
    return evidence / "keys" / "ledger.key.pem"


def load_signer(policy: Policy) -> Signer:
    """Return the signer that the environment names, else the key of the evidence folder.

    Raises:
        KeyFileError: no key, or it cannot be opened.
        ConfigurationError: the environment names a kind of key that does not exist.
    """
    named = os.environ.get(KEY_VARIABLE)
    return load_signer_from(named or str(default_key_path(policy.evidence)), key_password())


def key_password() -> bytes | None:
    """Return the key password that the environment gives, if any.

    Raises:
        KeyFileError: the password file cannot be read.
    """
    if file := os.environ.get(PASSWORD_FILE_VARIABLE):
        try:
            return Path(file).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise KeyFileError(f"cannot read the password file {file}: {error.strerror}") from error
    password = os.environ.get(PASSWORD_VARIABLE)
    return password.encode() if password else None


def ledger_signer(policy: Policy) -> NoteSigner | None:
    """Return what signs checkpoints; None if the policy names no key for its ledger.

    Raises:
        KeyFileError: the key is missing, or cannot be opened.
        ConfigurationError: it is not the key that the policy names.
    """
    settings = policy.ledger_settings
    if settings.key is None:
        return None
    named = os.environ.get(LEDGER_KEY_VARIABLE)
    path = Path(named) if named else default_ledger_key_path(policy.evidence)
    signer = load_note_signer(path, name=settings.origin, password=key_password())
    if signer.verifier != settings.key:
        raise ConfigurationError(
            f"{path} is not the key of the ledger {settings.origin}",
            next_step=f"set {LEDGER_KEY_VARIABLE} to the private key that belongs to "
            "`ledger.key` of the policy",
        )
    return signer


def open_evidence(policy: Policy, *, write: bool = False) -> Evidence:
    """Return the evidence of a policy, to read or to write.

    Args:
        policy: says where it lies and what its ledger must be.
        write: whether something will be logged; that takes the ledger's key, if it has one.

    Raises:
        KeyFileError: the ledger's key is needed and missing.
    """
    signer = ledger_signer(policy) if write else None
    return Evidence(policy.evidence, policy.ledger_settings, signer)


def check_signer(
    policy: Policy,
    signer: Signer,
    stage: str,
    *,
    uri: str | None,
    now: datetime,
    approver: str = "",
) -> None:
    """Return if consumers under this policy would believe what this key signs.

    Args:
        policy: the policy.
        signer: who would sign.
        stage: name of a stage, or a word such as ``production``.
        uri: URI of the subject; None for an event.
        now: the instant of signing.
        approver: whose approval it would be.

    Raises:
        ConfigurationError: they would not. A policy without keys makes no such promise.
    """
    if not policy.keys:
        return
    try:
        trusted = policy.key(signer.public_key.id)
        trusted.check(stage, issued=now, now=now)
        trusted.check_place(uri=uri, index=-1)
        if trusted.revoked_at is not None:
            raise ClearanceRefused(f"key {trusted.name!r} was revoked")
        if approver and approver not in trusted.approvers:
            raise ClearanceRefused(f"key {trusted.name!r} may not sign approvals of {approver}")
    except ClearanceRefused as error:
        raise ConfigurationError(
            f"the signing key cannot be used: {error.what}", next_step=error.next_step
        ) from error


def attest(statement: Statement, evidence: Evidence, signer: Signer) -> ReceiptRef:
    """Sign a statement and log it; when this returns, it is durable.

    Raises:
        LedgerError: the ledger is damaged or cannot be written.
        ReceiptError: the statement is too large for a receipt.
    """
    return evidence.log(seal(write_statement(statement), signer))


def record_event(
    kind: str,
    subject: Subject,
    details: Mapping[str, str],
    *,
    policy: Policy,
    signer: Signer,
    run: RunIdentity,
) -> ReceiptRef:
    """Log that something happened.

    Args:
        kind: dotted words, such as ``policy.changed``.
        subject: the document that it is about.
        details: short texts; never a secret, never a data value.
        policy: the policy.
        signer: who says it.
        run: where it happened.

    Raises:
        ConfigurationError: this signer may not say so, or the ledger's key is missing.
        LedgerError: the ledger is damaged or cannot be written.
    """
    now = datetime.now(UTC)
    check_signer(policy, signer, EVENT, uri=None, now=now)
    statement = EventStatement(
        subject=subject,
        kind=kind,
        details=dict(details),
        issued=now,
        run=run,
        invocation=secrets.token_hex(8),
    )
    return attest(statement, open_evidence(policy, write=True), signer)


def record_policy(policy: Policy, *, signer: Signer, run: RunIdentity) -> None:
    """Keep the rules of a policy among the evidence, and log them when they are new there.

    Receipts name the rules by digest only; here an auditor finds what they were. Nothing is
    logged by a key that is trusted for stages only.

    Raises:
        ConfigurationError: the ledger's key is missing.
        LedgerError: the evidence cannot be written.
    """
    evidence = open_evidence(policy)
    path = evidence.rules_path(policy.digest)
    if path.exists():
        return
    content = canonical_json(policy.deciding())
    if _may_record(policy, signer):
        subject = Subject.of_document("policy.json", content)
        details = {"rules": str(policy.digest)}
        record_event("policy.changed", subject, details, policy=policy, signer=signer, run=run)
    evidence.write(path, content)


def _may_record(policy: Policy, signer: Signer) -> bool:
    try:
        check_signer(policy, signer, EVENT, uri=None, now=datetime.now(UTC))
    except ConfigurationError:
        return False
    return True
