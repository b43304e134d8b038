"""The one way through: open, examine, decide, sign, log; then clear or raise.

Every gate of every orchestrator, and of the command line, is a call of :func:`run_gate`.
The order matters. Nobody is told of a verdict before its receipt is durable in the ledger,
so a process that dies may leave files that nobody refers to, and never a clearance without
its receipt.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json
from sluicegate.clearance import Clearance, PolicySource, SubjectSource, as_subject
from sluicegate.errors import (
    ClearanceRefused,
    GateBlocked,
    StageError,
)
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.model import Report, RunIdentity, Verdict
from sluicegate.policy.decide import Judgement, decide
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.quarantine import set_aside
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.statement import (
    DERIVATION,
    DerivationStatement,
    Statement,
    Subject,
    VerdictStatement,
    WaiverUse,
)
from sluicegate.reports.html import render_report
from sluicegate.signing import (
    attest,
    check_signer,
    load_signer,
    open_evidence,
    record_policy,
)
from sluicegate.stages.base import (
    Context,
    RowScores,
    Stage,
    configuration,
    configuration_files,
)
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.hash_cache import HashCache
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import LedgerRecords, Testimony, admit

__all__ = ["GateOutcome", "gate", "run_gate"]

_MAX_REPORT_BYTES: Final = 256 << 20
_MAX_ROUNDS: Final = 3
"""How often a remainder may be examined again before it counts as not settling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """Everything that one run of a gate came to."""

    stage: str
    subject: SubjectUri
    judgement: Judgement
    document: Mapping[str, Json]
    """The stored report."""
    statement: VerdictStatement
    """What the receipt says."""
    receipt: ReceiptRef
    receipt_path: Path
    report_path: Path
    """The HTML page; the JSON lies beside it."""
    clearance: Clearance | None
    """For the subject, or for its remainder; None unless something may be used."""
    set_aside: str | None = None
    """URI of what was set aside."""

    @property
    def verdict(self) -> Verdict:
        """What policy made of the report."""
        return self.judgement.verdict

    def clear_or_raise(self) -> Clearance:
        """Return the clearance.

        Raises:
            GateBlocked: the subject must not be used.
            StageError: no verdict could be reached.
        """
        if self.clearance is not None:
            return self.clearance
        what = f"{self.stage}: {self.subject}"
        reasons = "".join(f"\n  - {reason}" for reason in self.judgement.reasons)
        if self.verdict is Verdict.INCONCLUSIVE:
            raise StageError(
                f"{what}: could not conclude{reasons}",
                next_step=f"see {self.report_path}; an unknown is never a pass",
            )
        raise GateBlocked(
            f"{what}: blocked{reasons}",
            stage=self.stage,
            subject=str(self.subject),
            reasons=self.judgement.reasons,
            receipt=str(self.receipt_path),
            report=str(self.report_path),
            next_step=f"see {self.report_path}",
        )

    def to_json(self) -> dict[str, Json]:
        """Return the report with verdict, receipt and clearance, as the CLI prints it."""
        return {
            **self.document,
            "uri": str(self.subject),
            "verdict": self.verdict.value,
            "reasons": list(self.judgement.reasons),
            "receipt": str(self.receipt_path),
            "ledger_index": self.receipt.index,
            "report": str(self.report_path),
            "clearance": self.clearance.to_json() if self.clearance else None,
            "set_aside": self.set_aside,
        }


def gate(
    stage: Stage,
    subject: SubjectSource,
    policy: PolicySource = None,
    *,
    signer: Signer | None = None,
    run: RunIdentity | None = None,
    progress: Progress = no_progress,
) -> Clearance:
    """Pass a subject through a gate.

    Args:
        stage: what to examine.
        subject: a path, a URI, or the clearance that an earlier gate returned.
        policy: the policy or its file; by default the one ``SLUICEGATE_POLICY`` names.
        signer: holds the key for the receipt; by default the one of :func:`load_signer`.
        run: which run this is, for the receipt.
        progress: told about long work.

    Returns:
        A clearance for the subject or, after a quarantine, for what remains of it.

    Raises:
        GateBlocked: policy says no. Do not retry.
        ClearanceRefused: the clearance handed in is not good. Do not retry.
        SluicegateError: could not conclude.
    """
    outcome = run_gate(stage, subject, policy, signer=signer, run=run, progress=progress)
    return outcome.clear_or_raise()


def run_gate(
    stage: Stage,
    subject: SubjectSource,
    policy: PolicySource = None,
    *,
    signer: Signer | None = None,
    run: RunIdentity | None = None,
    progress: Progress = no_progress,
    row_scores: RowScores | None = None,
) -> GateOutcome:
    """Do what :func:`gate` does and return the whole outcome, whatever the verdict.

    ``row_scores`` is told what the stage thinks of single rows of the subject.

    Raises:
        ClearanceRefused: the clearance handed in is not good.
        SluicegateError: nothing could be examined, decided, signed or logged.
    """
    rules = load_policy(policy)
    engine = _Engine(
        policy=rules,
        evidence=open_evidence(rules, write=True),
        signer=signer or load_signer(rules),
        run=run or RunIdentity(orchestrator="cli"),
        progress=progress,
        now=datetime.now(UTC),
        row_scores=row_scores,
    )
    record_policy(rules, signer=engine.signer, run=engine.run)
    source = as_subject(subject)
    if isinstance(source, Clearance):
        uri, before = SubjectUri.parse(source.uri), source.receipts
    else:
        uri, before = source, ()
    earlier = [(ref, engine.admit(ref)) for ref in before]
    cache = HashCache(rules.hash_cache, rehash=rules.rehash) if rules.hash_cache else None
    snapshot = take_snapshot(uri, progress=progress, cache=cache)
    if isinstance(source, Clearance) and snapshot.digest != source.digest:
        raise ClearanceRefused(
            f"{uri} is not what was cleared before: expected {source.digest}, "
            f"found {snapshot.digest}",
            next_step="find out who changed it, then start again from the first gate",
        )
    return engine.pass_through(stage, snapshot, earlier, round_number=1)


_Earlier = list[tuple[ReceiptRef, Statement]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """One run: everything that stays the same from the snapshot to the clearance."""

    policy: Policy
    evidence: Evidence
    signer: Signer
    run: RunIdentity
    progress: Progress
    now: datetime
    row_scores: RowScores | None

    def admit(self, ref: ReceiptRef) -> Statement:
        """Return what an earlier receipt says; see :func:`sluicegate.testimony.admit`."""
        return admit(ref, self.evidence.receipt(ref), self.policy, now=self.now).statement

    def pass_through(
        self, stage: Stage, snapshot: Snapshot, earlier: _Earlier, *, round_number: int
    ) -> GateOutcome:
        """Examine, decide, sign, log; then clear, set aside, or neither."""
        self._check_signer(stage.name, snapshot)
        files = configuration_files(stage)
        values = configuration(stage, files)
        self._check_configuration(stage.name, Digest.of_json(values))
        report = self._examine(
            stage, snapshot, files, self.row_scores if round_number == 1 else None
        )
        judgement = decide(
            report,
            self.policy,
            stage=stage.name,
            subject=str(snapshot.uri.resolved()),
            files=len(snapshot.manifest.files),
            now=self.now,
        )
        document = _document(values, snapshot, report)
        content = canonical_json(document)
        if len(content) > _MAX_REPORT_BYTES:
            raise StageError(f"the report of {stage.name} has {len(content):,} bytes: too large")
        statement = VerdictStatement(
            subject=Subject.of(snapshot),
            stage=stage.name,
            configuration=Digest.of_json(values),
            policy=self.policy.digest,
            report=Digest.of(content),
            verdict=judgement.verdict,
            checks=VerdictStatement.worst_outcomes(report),
            warned=judgement.warned,
            waivers=tuple(
                WaiverUse(check=item.check, owner=item.owner, expires=item.expires)
                for item in judgement.waivers
            ),
            issued=self.now,
            run=self.run,
            invocation=secrets.token_hex(8),
        )
        page = self._store_report(content, document, judgement, statement, snapshot)
        ref = self._log(statement)
        outcome = GateOutcome(
            stage=stage.name,
            subject=snapshot.uri,
            judgement=judgement,
            document=document,
            statement=statement,
            receipt=ref,
            receipt_path=self.evidence.receipt_path(ref.digest),
            report_path=page,
            clearance=None,
        )
        logged = [*earlier, (ref, statement)]
        if judgement.verdict.clears:
            return _with_clearance(outcome, snapshot, logged)
        if judgement.verdict is Verdict.QUARANTINE:
            return self._quarantine(outcome, stage, snapshot, logged, round_number)
        return outcome

    def _examine(
        self,
        stage: Stage,
        snapshot: Snapshot,
        files: Mapping[str, bytes],
        row_scores: RowScores | None,
    ) -> Report:
        context = Context(
            files=files,
            samples=self.policy.samples,
            progress=self.progress,
            row_scores=row_scores,
            records=lambda: LedgerRecords(self.evidence, self.policy, self.now),
        )
        try:
            report = stage.run(snapshot, context)
        except SystemExit as error:
            raise StageError(f"{stage.name} tried to end the process") from error
        if not isinstance(report, Report):
            raise StageError(f"{stage.name} returned {type(report).__name__} instead of a report")
        return report

    def _check_signer(self, stage: str, snapshot: Snapshot) -> None:
        """Fail before the work if no consumer would believe the receipt."""
        uri = str(snapshot.uri.resolved())
        check_signer(self.policy, self.signer, stage, uri=uri, now=self.now)

    def _check_configuration(self, stage: str, configured: Digest) -> None:
        """Fail before the work if every consumer would refuse for the files it is led by."""
        needs = [
            (purpose, need)
            for purpose in self.policy.purposes.values()
            for need in purpose.requirements
            if need.stage.name == stage and need.configuration == configured and need.files
        ]
        if not needs or not all(purpose.configuration for purpose, _ in needs):
            return
        testimony = Testimony(self.evidence, self.policy, self.now)
        refused: ClearanceRefused | None = None
        for purpose, need in needs:
            try:
                testimony.require_configuration(purpose, [need])
                return
            except ClearanceRefused as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def _store_report(
        self,
        content: bytes,
        document: Mapping[str, Json],
        judgement: Judgement,
        statement: VerdictStatement,
        snapshot: Snapshot,
    ) -> Path:
        self.evidence.write(self.evidence.report_path(statement.report), content)
        page = self.evidence.report_path(statement.report, suffix=".html")
        html = render_report(
            document,
            uri=str(snapshot.uri),
            verdict=judgement.verdict,
            reasons=judgement.reasons,
            issued=self.now,
            run=self.run,
        )
        self.evidence.write(page, html.encode())
        if not snapshot.is_single_file:
            manifest = self.evidence.manifest_path(statement.subject.sha256)
            self.evidence.write(manifest, snapshot.manifest.ndjson())
        return page

    def _log(self, statement: Statement) -> ReceiptRef:
        return attest(statement, self.evidence, self.signer)

    def _quarantine(
        self,
        outcome: GateOutcome,
        stage: Stage,
        snapshot: Snapshot,
        logged: _Earlier,
        round_number: int,
    ) -> GateOutcome:
        """Set aside what was flagged; clear the remainder once it has been examined."""
        self._check_signer(DERIVATION, snapshot)
        judgement = outcome.judgement
        split = set_aside(
            snapshot, rows=judgement.rows, files=judgement.files, area=self.policy.quarantine
        )
        derivation = DerivationStatement(
            subject=Subject.of(split.remainder),
            parent=Subject.of(snapshot),
            verdict_receipt=outcome.receipt.digest,
            set_aside=Subject.of(split.set_aside),
            rows=split.rows,
            files=split.files,
            issued=self.now,
            run=self.run,
            invocation=secrets.token_hex(8),
        )
        logged = [*logged, (self._log(derivation), derivation)]
        cleared = _with_clearance(outcome, split.remainder, logged, split.set_aside)
        again = self._to_examine_again(stage, outcome.statement, logged)
        if again and round_number >= _MAX_ROUNDS:
            raise StageError(
                f"{snapshot.uri} does not settle: its remainder was quarantined "
                f"{round_number} times",
                next_step="look at the reports; the data needs repair, not another round",
            )
        return self._examine_again(cleared, again, split.remainder, logged, round_number)

    def _to_examine_again(
        self, stage: Stage, verdict: VerdictStatement, logged: _Earlier
    ) -> list[Stage]:
        """Return the stages whose verdict on the whole does not speak for the remainder.

        Those of the policy that were asked before, and the one that set something aside.
        """
        stages: dict[tuple[str, Digest], Stage] = {}
        for _, statement in logged:
            if not isinstance(statement, VerdictStatement):
                continue
            name, configured = statement.stage, statement.configuration
            found = self.policy.find_stage(name, configured)
            if found is not None and not (found.hereditary and statement.unreserved):
                stages[name, configured] = found
        if not (stage.hereditary and verdict.unreserved):
            stages[stage.name, verdict.configuration] = stage
        return list(stages.values())

    def _examine_again(
        self,
        cleared: GateOutcome,
        stages: list[Stage],
        remainder: Snapshot,
        logged: _Earlier,
        round_number: int,
    ) -> GateOutcome:
        for stage in stages:
            after = self.pass_through(stage, remainder, logged, round_number=round_number + 1)
            if after.clearance is None:
                return after
            if after.verdict is Verdict.QUARANTINE:
                return after  # its own remainder was examined again, all stages included
            logged = [*logged, (after.receipt, after.statement)]
            cleared = _with_clearance(cleared, remainder, logged, cleared.set_aside)
        return cleared


def _with_clearance(
    outcome: GateOutcome,
    snapshot: Snapshot,
    logged: _Earlier,
    aside: Snapshot | str | None = None,
) -> GateOutcome:
    return replace(
        outcome,
        clearance=Clearance(
            uri=str(snapshot.uri),
            digest=snapshot.digest,
            receipts=tuple(ref for ref, _ in logged),
        ),
        set_aside=str(aside.uri) if isinstance(aside, Snapshot) else aside,
    )


def _document(values: Mapping[str, Json], snapshot: Snapshot, report: Report) -> dict[str, Json]:
    """Return the report as it is stored: no time, no run, no place."""
    return {
        "schema": "sluicegate-report/v1",
        "stage": values["stage"],
        "version": values["version"],
        "configuration": values["fields"],
        "subject": {
            "digest": str(snapshot.digest),
            "files": len(snapshot.manifest.files),
            "bytes": snapshot.manifest.size,
        },
        **report.to_json(),
    }
