"""Histories to walk along: a ledger in memory that tests can damage, statement by statement."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sluicegate.canonical import Digest
from sluicegate.errors import LedgerError
from sluicegate.model import Outcome, RunIdentity, Verdict
from sluicegate.receipts.records import Record, Rejected
from sluicegate.receipts.statement import (
    DerivationStatement,
    EventStatement,
    HeadStatement,
    ProductionStatement,
    Statement,
    Subject,
    VerdictStatement,
    write_statement,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = RunIdentity(orchestrator="cli")
POLICY = Digest.of(b"policy")


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


def subject(name: str, version: str = "", *, uri: str | None = None) -> Subject:
    """Return a subject whose digests follow from its name and version."""
    key = f"{name}/{version}"
    return Subject(
        name=name,
        uri=f"s3://lake/{name}" if uri is None else uri,
        digest=digest(f"root {key}"),
        sha256=digest(f"sha {key}"),
        dir_hash=digest(f"dir {key}").hex,
    )


def as_record(index: int, statement: Statement, *, key: str = "gates") -> Record:
    payload = write_statement(statement)
    return Record(
        index=index,
        digest=Digest(hashlib.sha256(b"bundle" + payload).hexdigest()),
        payload=Digest.of(payload),
        statement=statement,
        key=key,
        key_id=digest(key).hex,
        required=True,
    )


@dataclass
class Ledger:
    """Records in memory: implements ``Records``, and can be corrupted at will."""

    entries: list[Record] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    bundles: dict[int, bytes] = field(default_factory=dict)
    clock: datetime = START

    def __iter__(self) -> Iterator[Record]:
        return iter(sorted(self.entries, key=lambda record: record.index))

    @property
    def size(self) -> int:
        return len(self.entries) + len(self.rejected)

    def bundle(self, index: int) -> bytes:
        if index not in self.bundles:
            raise LedgerError(f"there is no entry {index}")
        return self.bundles[index]

    # What gates and sessions would log

    def log(self, statement: Statement, *, key: str = "gates") -> Record:
        record = as_record(self.size, statement, key=key)
        self.entries.append(record)
        self.clock += timedelta(minutes=1)
        return record

    def make(
        self,
        made: Subject,
        *sources: Subject,
        activity: str | None = None,
        cleared_by: tuple[Digest, ...] = (),
        key: str = "gates",
        issued: datetime | None = None,
    ) -> Record:
        return self.log(
            ProductionStatement(
                subject=made,
                activity=activity or ("transform" if sources else "import"),
                made_from=sources,
                cleared_by=cleared_by,
                record=digest("record"),
                started=issued or self.clock,
                issued=issued or self.clock,
                run=RUN,
                invocation=f"i{self.size}",
            ),
            key=key,
        )

    def judge(
        self,
        about: Subject,
        verdict: Verdict = Verdict.ALLOW,
        *,
        stage: str = "verify-provenance",
        configured: str = "as usual",
        published: bool = True,
        key: str = "gates",
    ) -> Record:
        outcome = Outcome.PASSED if verdict is Verdict.ALLOW else Outcome.FAILED
        return self.log(
            VerdictStatement(
                subject=about,
                stage=stage,
                configuration=digest(configured),
                policy=POLICY,
                report=digest("report"),
                verdict=verdict,
                checks={"provenance.published" if published else "toy.check": outcome},
                waivers=(),
                issued=self.clock,
                run=RUN,
                invocation=f"i{self.size}",
            ),
            key=key,
        )

    def set_aside(self, parent: Subject, remainder: Subject, *, verdict: Digest) -> Record:
        return self.log(
            DerivationStatement(
                subject=remainder,
                parent=parent,
                verdict_receipt=verdict,
                set_aside=subject("aside"),
                rows=1,
                files=0,
                issued=self.clock,
                run=RUN,
                invocation=f"i{self.size}",
            )
        )

    def tell(self, about: Subject, kind: str) -> Record:
        return self.log(
            EventStatement(
                subject=about,
                kind=kind,
                details={},
                issued=self.clock,
                run=RUN,
                invocation=f"i{self.size}",
            )
        )

    def serve(self, version: Subject, *, epoch: int, model: str = "m") -> Record:
        return self.log(
            HeadStatement(
                subject=version,
                model=model,
                version=version.name,
                action="promote",
                epoch=epoch,
                previous=None if epoch == 1 else digest("previous"),
                issued=self.clock,
                run=RUN,
                invocation=f"i{self.size}",
            )
        )

    # What an attacker, or time, would do to it

    def edit(self, index: int, /, **changes: object) -> None:
        """Change fields of a statement, and nothing else."""
        at = next(i for i, record in enumerate(self.entries) if record.index == index)
        statement = replace(self.entries[at].statement, **changes)
        self.entries[at] = replace(self.entries[at], statement=statement)

    def change(self, index: int, /, **changes: object) -> None:
        """Change fields of a record: its place, its objection."""
        at = next(i for i, record in enumerate(self.entries) if record.index == index)
        self.entries[at] = replace(self.entries[at], **changes)

    def drop(self, index: int) -> None:
        self.entries = [record for record in self.entries if record.index != index]


def chain_of(length: int) -> tuple[Ledger, list[Subject]]:
    """Return a ledger in which each of ``length`` subjects was made from the one before."""
    ledger, subjects = Ledger(), [subject(f"s{number}") for number in range(length)]
    for before, made in zip([None, *subjects], subjects, strict=False):
        ledger.make(made, *([before] if before else []))
    return ledger, subjects


def diamond() -> tuple[Ledger, Subject]:
    """Return a model made from two parts of one data set, which was quarantined before."""
    ledger = Ledger()
    raw, clean, left, right, model = (subject(n) for n in ("raw", "clean", "l", "r", "model"))
    ledger.make(raw)
    verdict = ledger.judge(raw, Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(raw, clean, verdict=verdict.digest)
    cleared = ledger.judge(clean, stage="scan")
    ledger.make(left, clean, cleared_by=(cleared.digest,))
    ledger.make(right, clean)
    ledger.make(model, left, right, activity="train")
    return ledger, model
