"""What a session leaves: its record among the reports, and signed statements.

The record is canonical JSON, named by its SHA-256, which every statement of the session
holds. It is written before anything is signed, so a receipt never refers to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json
from sluicegate.clearance import Cleared
from sluicegate.errors import ClearanceRefused, ConfigurationError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.model import RunIdentity
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.statement import (
    EVENT,
    PRODUCTION,
    EventStatement,
    ProductionStatement,
    Subject,
)
from sluicegate.receipts.statements.frame import write_time
from sluicegate.signing import attest, check_signer, open_evidence
from sluicegate.storage.snapshot import Snapshot

__all__ = ["FAILED", "Recorder"]

_KIND: Final = "sluicegate-session/v1"
FAILED: Final = "session.failed"
"""Kind of the event that a failed session leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Everything that stays the same from the start of a session to its end."""

    policy: Policy
    signer: Signer
    evidence: Evidence
    activity: str
    purpose: str
    run: RunIdentity
    invocation: str
    started: datetime

    @classmethod
    def open(
        cls,
        policy: Policy,
        signer: Signer,
        *,
        activity: str,
        purpose: str,
        run: RunIdentity,
        invocation: str,
    ) -> Recorder:
        """Fail before the work if what comes out could not be signed or logged.

        Raises:
            ConfigurationError: the key is not trusted for production.
            KeyFileError: the ledger's key is needed and missing.
        """
        now = datetime.now(UTC)
        _check_key(policy, signer, now)
        return cls(
            policy=policy,
            signer=signer,
            evidence=open_evidence(policy, write=True),
            activity=activity,
            purpose=purpose,
            run=run,
            invocation=invocation,
            started=now,
        )

    def finish(
        self, contents: Mapping[str, Json], inputs: Sequence[Cleared], made: Sequence[Snapshot]
    ) -> tuple[Digest, tuple[ReceiptRef, ...]]:
        """Store the record and sign one production statement for each output.

        Raises:
            ConfigurationError: the key may not speak about an output.
            SluicegateError: something cannot be written.
        """
        now = datetime.now(UTC)
        for snapshot in made:
            check_signer(self.policy, self.signer, PRODUCTION, uri=str(snapshot.uri), now=now)
        outputs = [Subject.of(snapshot) for snapshot in made]
        content = self._document(contents, inputs, now, outcome="finished", outputs=outputs)
        record = self._store(content)
        sources = tuple(Subject.of(item.snapshot) for item in inputs)
        receipts = {ref.digest for item in inputs for ref in item.receipts}
        refs = []
        for number, (snapshot, subject) in enumerate(zip(made, outputs, strict=True)):
            self._keep_manifest(snapshot, subject)
            statement = ProductionStatement(
                subject=subject,
                activity=self.activity,
                made_from=sources,
                cleared_by=tuple(sorted(receipts)),
                record=record,
                started=self.started,
                issued=now,
                run=self.run,
                invocation=f"{self.invocation}-{number}",
            )
            refs.append(attest(statement, self.evidence, self.signer))
        return record, tuple(refs)

    def fail(self, contents: Mapping[str, Json], inputs: Sequence[Cleared], error: str) -> Digest:
        """Store the record of a session that failed and log the event; return its digest.

        Args:
            contents: what was recorded so far.
            inputs: what was opened.
            error: name of the exception's class; its text may hold data.

        Raises:
            ConfigurationError: the key may not record events.
            SluicegateError: something cannot be written.
        """
        now = datetime.now(UTC)
        where = inputs[0].uri if inputs else ""
        check_signer(self.policy, self.signer, EVENT, uri=None, now=now)
        content = self._document(contents, inputs, now, outcome="failed", error=error[:200])
        record = self._store(content)
        statement = EventStatement(
            subject=Subject.of_document("session.json", content, uri=where),
            kind=FAILED,
            details={
                "activity": self.activity,
                "error": error[:200],
                "record": record.hex,
                "session": self.invocation,
            },
            issued=now,
            run=self.run,
            invocation=self.invocation,
        )
        attest(statement, self.evidence, self.signer)
        return record

    def _document(
        self,
        contents: Mapping[str, Json],
        inputs: Sequence[Cleared],
        now: datetime,
        *,
        outcome: str,
        outputs: Sequence[Subject] = (),
        error: str | None = None,
    ) -> bytes:
        return canonical_json(
            {
                **contents,
                "kind": _KIND,
                "session": self.invocation,
                "activity": self.activity,
                "purpose": self.purpose,
                "outcome": outcome,
                "error": error,
                "started": write_time(self.started),
                "finished": write_time(now),
                "policy": self.policy.digest.hex,
                "run": self.run.to_json(),
                "inputs": [_describe_input(item) for item in inputs],
                "outputs": [subject.to_json() for subject in outputs],
            }
        )

    def _store(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        self.evidence.write(self.evidence.report_path(digest), content)
        return digest

    def _keep_manifest(self, snapshot: Snapshot, subject: Subject) -> None:
        if not snapshot.is_single_file:
            path = self.evidence.manifest_path(subject.sha256)
            self.evidence.write(path, snapshot.manifest.ndjson())


def _check_key(policy: Policy, signer: Signer, now: datetime) -> None:
    """Return if consumers would believe this key; what it may speak about is not known yet."""
    if not policy.keys:
        return
    try:
        policy.key(signer.public_key.id).check(PRODUCTION, issued=now, now=now)
    except ClearanceRefused as error:
        raise ConfigurationError(
            f"the signing key cannot be used: {error.what}", next_step=error.next_step
        ) from error


def _describe_input(item: Cleared) -> dict[str, Json]:
    return {
        "subject": Subject.of(item.snapshot).to_json(),
        "purpose": item.purpose,
        "receipts": [{"index": ref.index, "sha256": ref.digest.hex} for ref in item.receipts],
    }
