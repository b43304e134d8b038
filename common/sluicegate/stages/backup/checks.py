"""What is asked of a backup, once it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sluicegate.errors import SubjectChangedError
from sluicegate.model import Check, Finding, Report, Severity
from sluicegate.stages.backup.storing import Backup
from sluicegate.storage.base import Progress
from sluicegate.storage.manifest import FileRecord
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.vault import Kept, distinct
from sluicegate.storage.vault_base import NO_LOCK, in_order

__all__ = [
    "ALL",
    "ISOLATED",
    "VERSION",
    "Found",
    "examine",
    "lock_severity",
    "locked",
    "name_taken",
    "not_isolated",
    "receipts",
    "stored",
    "undisturbed",
]

ISOLATED: Final = "backup.isolated"
LOCKED: Final = "backup.locked"
RECEIPTS: Final = "backup.receipts"
STORED: Final = "backup.stored"
UNDISTURBED: Final = "backup.undisturbed"
VERSION: Final = "backup.version"
ALL: Final = (ISOLATED, LOCKED, RECEIPTS, STORED, UNDISTURBED, VERSION)
_NAMED: Final = 10
"""How many objects a finding names; the rest are counted."""
_NOTHING_STORED: Final = "nothing was stored"


@dataclass(slots=True)
class Found:
    """What was read back."""

    blobs: int = 0
    receipts: int = 0
    damaged: list[str] = field(default_factory=list)
    """Why a file or the manifest is not in the vault as it should be."""
    lost_receipts: list[str] = field(default_factory=list)
    disturbed: list[str] = field(default_factory=list)
    """Names of objects that something else lies over."""
    unlocked: list[str] = field(default_factory=list)
    """Names of objects whose retention is not what was asked for."""

    def note(self, kept: Kept, backup: Backup) -> None:
        """Take in one object that has the right bytes."""
        if kept.disturbed:
            self.disturbed.append(kept.name)
        if backup.lock and not (kept.lock and kept.lock.covers(backup.lock)):
            self.unlocked.append(kept.name)


def examine(backup: Backup, snapshot: Snapshot, progress: Progress) -> Found:
    """Read everything back from the vault, and every lock.

    Raises:
        SubjectError: the vault cannot be read.
    """
    found, done = Found(), 0
    for record, kept in _read_back(backup, distinct(snapshot.manifest)):
        found.blobs += 1
        done += record.size
        progress("reading back", done, snapshot.manifest.size)
        if isinstance(kept, Kept):
            found.note(kept, backup)
        else:
            found.damaged.append(kept)
    vault, model, version, lock = backup.vault, backup.model, backup.version, backup.lock
    try:
        found.note(vault.keep_manifest(model, version, snapshot.manifest, lock), backup)
    except SubjectChangedError as error:
        found.damaged.append(error.what)
    for bundle in backup.receipts:
        try:
            found.note(vault.keep_receipt(model, version, bundle, lock), backup)
            found.receipts += 1
        except SubjectChangedError as error:
            found.lost_receipts.append(error.what)
    return found


def _read_back(
    backup: Backup, records: Iterable[FileRecord]
) -> Iterator[tuple[FileRecord, Kept | str]]:
    def read(record: FileRecord) -> tuple[FileRecord, Kept | str]:
        try:
            return record, backup.vault.keep_blob(record, backup.lock)
        except SubjectChangedError as error:
            return record, f"{record.path}: {error.what}"

    return in_order(read, records, threads=backup.vault.shelf.threads)


def stored(found: Found) -> Check:
    """Ask whether every file is in the vault, byte for byte."""
    if found.damaged:
        return Check.failed(STORED, _findings(found.damaged))
    return Check.passed(STORED)


def undisturbed(found: Found) -> Check:
    """Ask whether somebody wrote over objects that are there to stay, or hid them."""
    if not found.disturbed:
        return Check.passed(UNDISTURBED, severity=Severity.INFO)
    messages = [
        f"something lies over {name}: a newer version or a delete marker; the right bytes are "
        "among its earlier versions"
        for name in found.disturbed
    ]
    return Check.failed(UNDISTURBED, _findings(messages), severity=Severity.INFO)


def lock_severity(wanted: str) -> Severity:
    """Return how bad a missing lock is: less for somebody who asked for none."""
    return Severity.INFO if wanted == NO_LOCK else Severity.CRITICAL


def locked(found: Found, backup: Backup, *, wanted: str, days: int) -> Check:
    """Ask whether everything is locked as strongly and as long as it should be."""
    severity = lock_severity(wanted)
    if wanted == NO_LOCK:
        messages = ["no lock was asked for: whoever may write to the vault can remove the backup"]
    elif backup.lock is None:
        place = backup.vault.uri
        messages = [f"{place} has no Object Lock: expected {wanted} for {days} days, found none"]
    else:
        messages = [
            f"{name} is not locked as it should be: expected {wanted} for {days} days"
            for name in found.unlocked
        ]
    if messages:
        return Check.failed(LOCKED, _findings(messages), severity=severity)
    return Check.passed(LOCKED, severity=severity)


def receipts(found: Found, backup: Backup, *, asked: bool) -> Check:
    """Ask whether the receipts that speak for the model are with it."""
    if not asked:
        return Check.unknown(RECEIPTS, "there is no ledger to ask for receipts")
    if found.lost_receipts:
        return Check.failed(RECEIPTS, _findings(found.lost_receipts))
    if not backup.receipts:
        finding = Finding(message="no receipt in the ledger speaks for this model yet")
        return Check.failed(RECEIPTS, [finding], severity=Severity.INFO)
    return Check.passed(RECEIPTS)


def not_isolated(message: str, *, severity: Severity) -> Report:
    """Report that nothing was stored because vault and subject are not apart."""
    failed = Check.failed(ISOLATED, [Finding(message=message)])
    return Report(checks=(failed, Check.unknown(VERSION, _NOTHING_STORED), *_unanswered(severity)))


def name_taken(backup: Backup, others: list[str], *, severity: Severity) -> Report:
    """Report that nothing was stored because the version's name means another model."""
    finding = Finding(
        message=f"{backup.model} {backup.version} is another model already: "
        f"{', '.join(others[:_NAMED])}; the name of a version never changes its meaning"
    )
    failed = Check.failed(VERSION, [finding])
    return Report(checks=(Check.passed(ISOLATED), failed, *_unanswered(severity)))


def _unanswered(severity: Severity) -> tuple[Check, ...]:
    return (
        Check.unknown(STORED, _NOTHING_STORED),
        Check.unknown(UNDISTURBED, _NOTHING_STORED, severity=Severity.INFO),
        Check.unknown(LOCKED, _NOTHING_STORED, severity=severity),
        Check.unknown(RECEIPTS, _NOTHING_STORED),
    )


def _findings(messages: list[str]) -> list[Finding]:
    findings = [Finding(message=message) for message in messages[:_NAMED]]
    if len(messages) > _NAMED:
        findings.append(Finding(message=f"and {len(messages) - _NAMED} more"))
    return findings
