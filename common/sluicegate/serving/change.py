"""One attempt to let another version serve: everything verified, then one head signed."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json
from sluicegate.clearance import PolicySource
from sluicegate.errors import ClearanceRefused, ConfigurationError, SubjectChangedError
from sluicegate.evidence import Evidence
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.records import Records
from sluicegate.receipts.statement import EVENT, HEAD, EventStatement, HeadStatement, Subject
from sluicegate.serving.current import recall
from sluicegate.serving.history import Head, History, read_history
from sluicegate.serving.pointer import publish, settled
from sluicegate.serving.served import Served
from sluicegate.signing import attest, check_signer, load_signer, open_evidence
from sluicegate.storage.base import Progress
from sluicegate.storage.vault import Vault, check_name
from sluicegate.storage.vault_base import Lock
from sluicegate.testimony import LedgerRecords, Testimony

__all__ = ["Change"]

_MAX_REASON: Final = 500
"""Characters; a receipt has at most 65,535 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What stays the same from reading the ledger to the new head."""

    model: str
    policy: Policy
    evidence: Evidence
    signer: Signer
    run: RunIdentity
    reason: str
    records: Records
    history: History
    progress: Progress

    @classmethod
    def begin(
        cls,
        model: str,
        policy: PolicySource,
        signer: Signer | None,
        run: RunIdentity | None,
        reason: str,
        seen: str | os.PathLike[str] | None,
        progress: Progress,
    ) -> Change:
        """Read the ledger, and wait until the pointer of a served model agrees with it."""
        check_name("model", model)
        if len(reason) > _MAX_REASON:
            raise ConfigurationError(f"the reason has more than {_MAX_REASON} characters")
        rules = load_policy(policy)
        evidence = open_evidence(rules, write=True)
        records, history, _ = settled(
            lambda: LedgerRecords(evidence, rules, datetime.now(UTC)), model, None
        )
        recall(rules, history, seen)
        return cls(
            model=model,
            policy=rules,
            evidence=evidence,
            signer=signer or load_signer(rules),
            run=run or RunIdentity(orchestrator="cli"),
            reason=reason,
            records=records,
            history=history,
            progress=progress,
        )

    def read(self) -> Records:
        """Read the ledger again."""
        return LedgerRecords(self.evidence, self.policy, datetime.now(UTC))

    def check_pointer(self, vault: Vault) -> None:
        """Look at the pointer where no head says that counts in which vault it lies."""
        if self.history.counting is None:
            settled(self.read, self.model, vault)

    def carry_out(
        self,
        action: str,
        version: str,
        subject: Subject,
        vault: Vault,
        *,
        purpose: str,
        without_clearance: bool,
    ) -> Served:
        """Verify the version, sign the head, log it, and see whether it counts."""
        override = self._needs_override(purpose, without_clearance=without_clearance)
        self._check_signer(subject, override=override)
        lock = self._verify_bytes(version, subject, vault)
        if not override:
            self._verify_clearance(purpose, subject)
        self._must_be_unchanged()
        if override:
            self._log_override(version, subject, purpose)
        ref = attest(self._statement(action, version, subject), self.evidence, self.signer)
        records = self.read()
        head = self._must_count(records, ref.digest)
        self._keep_receipts(records, version, subject, vault, lock)
        publish(records, self.read, self.model, vault, own=head.digest)
        return Served.of(head)

    def _needs_override(self, purpose: str, *, without_clearance: bool) -> bool:
        if purpose in self.policy.purposes:
            if without_clearance:
                raise ConfigurationError(
                    f"{self.policy.source} says what {purpose!r} takes: that cannot be left out",
                    next_step="run the gates on the version, or change the policy",
                )
            return False
        if not without_clearance:
            raise ClearanceRefused(
                f"{self.policy.source} has no purpose {purpose!r}: nothing says what a version "
                "must have passed before it serves",
                next_step=f"write the purpose {purpose!r}, or go on without a clearance "
                "(--without-clearance), which is logged",
            )
        return True

    def _check_signer(self, subject: Subject, *, override: bool) -> None:
        """Fail before the work if nobody would believe the head."""
        try:
            self.policy.key(self.signer.public_key.id)
        except ClearanceRefused as error:
            raise ConfigurationError(
                f"the signing key cannot be used: {error.what}", next_step=error.next_step
            ) from error
        for word in (HEAD, EVENT) if override else (HEAD,):
            check_signer(self.policy, self.signer, word, uri=subject.uri, now=datetime.now(UTC))

    def _verify_bytes(self, version: str, subject: Subject, vault: Vault) -> Lock | None:
        """Read every byte of the version in the vault; return how its manifest is locked."""
        try:
            manifest = vault.manifest(self.model, version, subject.digest)
            vault.verify(manifest, self.progress)
            return vault.keep_manifest(self.model, version, manifest).lock
        except SubjectChangedError as error:
            raise ClearanceRefused(error.what, next_step=error.next_step) from error

    def _verify_clearance(self, purpose: str, subject: Subject) -> None:
        testimony = Testimony(self.evidence, self.policy, datetime.now(UTC))
        testimony.require(self.policy.purpose(purpose), subject.digest, uri=subject.uri)

    def _must_be_unchanged(self) -> None:
        """Refuse if another head was logged while the bytes were verified."""
        newest = read_history(self.read(), self.model).newest
        before = self.history.newest
        if (newest.digest if newest else None) != (before.digest if before else None):
            raise self._too_late(newest)

    def _too_late(self, newest: Head | None) -> ClearanceRefused:
        return ClearanceRefused(
            f"somebody else changed which version of {self.model} serves meanwhile: it is "
            f"{newest} now",
            next_step="look at it, and decide again",
        )

    def _log_override(self, version: str, subject: Subject, purpose: str) -> None:
        details: dict[str, Json] = {
            "model": self.model,
            "version": version,
            "digest": str(subject.digest),
            "missing": f"the policy has no purpose {purpose}",
            "reason": self.reason,
        }
        document = Subject.of_document("override.json", canonical_json(details), uri=subject.uri)
        event = EventStatement(
            subject=document,
            kind="override.clearance",
            details={key: str(value) for key, value in details.items()},
            issued=datetime.now(UTC),
            run=self.run,
            invocation=secrets.token_hex(8),
        )
        attest(event, self.evidence, self.signer)

    def _statement(self, action: str, version: str, subject: Subject) -> HeadStatement:
        newest = self.history.newest
        return HeadStatement(
            subject=subject,
            model=self.model,
            version=version,
            action=action,
            epoch=self.history.epoch + 1,
            previous=newest.digest if newest else None,
            issued=datetime.now(UTC),
            run=self.run,
            reason=self.reason,
            invocation=secrets.token_hex(8),
        )

    def _must_count(self, records: Records, digest: Digest) -> Head:
        """Return the head that was logged, if it was the first of its epoch."""
        history = read_history(records, self.model)
        head = history.epoch_at(self.history.epoch + 1)
        if head is None or head.digest != digest:
            raise self._too_late(history.newest)
        return head

    def _keep_receipts(
        self,
        records: Records,
        version: str,
        subject: Subject,
        vault: Vault,
        lock: Lock | None,
    ) -> None:
        """Lay what was logged about the version since its backup beside it, the head included.

        They are locked as its manifest is.
        """
        held = lock if lock and lock.until > datetime.now(UTC) else None
        for record in records:
            if record.statement.subject.digest == subject.digest:
                vault.put_receipt(self.model, version, records.bundle(record.index), held)
