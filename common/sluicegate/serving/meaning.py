"""Which bytes the name of a version means, and in which vault they lie.

A head says so if nothing speaks against it; else the trusted receipt of the backup does. A
head whose key has expired, or that no witness has seen, stays a link of the chain and says
nothing here: otherwise an old key could give a name to other bytes, in a vault of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sluicegate.errors import ClearanceRefused
from sluicegate.evidence import Evidence
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import Subject
from sluicegate.serving.backups import find_backup, good_backups
from sluicegate.serving.history import Head, History
from sluicegate.serving.served import vault_of
from sluicegate.storage.uri import SubjectUri

__all__ = ["Meaning", "find_version", "meaning_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a version is."""

    subject: Subject
    """Its digests, and its place in the vault."""
    vault: SubjectUri


def find_version(
    records: Iterable[Record], evidence: Evidence, history: History, version: str
) -> Meaning:
    """Return what a version means, by its head or its back-up receipt.

    Args:
        records: what the policy's keys signed.
        evidence: where the reports of backups lie.
        history: the heads of the model.
        version: name of the version.

    Raises:
        ClearanceRefused: nobody says so who may, or two say different things.
    """
    if head := history.version(version):
        return meaning_of(head, records, evidence, history)
    backup = find_backup(records, evidence, history.model, version)
    uri = backup.vault.join("models", history.model, version)
    return Meaning(subject=replace(backup.subject, name=version, uri=str(uri)), vault=backup.vault)


def meaning_of(
    head: Head, records: Iterable[Record], evidence: Evidence, history: History
) -> Meaning:
    """Return what the version of a head means, which must be what the head says.

    Raises:
        ClearanceRefused: it is not, or nothing confirms a head that does not count any more.
    """
    says = head.says
    if head.record.objection:
        found = find_version(records, evidence, history, says.version)
        if found.subject.digest != says.subject.digest:
            raise _differ(head, f"{found.subject.digest.short} is what counts")
        return found
    for index, backup in good_backups(records, evidence, says.model, says.version):
        if backup.digest != says.subject.digest:
            raise _differ(head, f"{backup.digest.short} was backed up (ledger entry {index})")
    return Meaning(subject=says.subject, vault=vault_of(head))


def _differ(head: Head, other: str) -> ClearanceRefused:
    says = head.says
    return ClearanceRefused(
        f"{says.model} {says.version} means two models: {says.subject.digest.short} in {head}, "
        f"but {other}",
        next_step="find out who signed which; revoke that key at its entry of the ledger "
        "(`revoked_at`)",
    )
