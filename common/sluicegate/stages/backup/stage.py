"""The stage that stores a version of a model where nobody can change it.

Other stages only look. This one **writes**: it stores what the vault does not hold yet, and
then examines what is there, as a stage does: every byte is read back from the vault. So a
verdict of this stage says that a whole backup existed when it was given, and nothing about
later. Running it again stores nothing twice, and picks up where a killed run stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final

from sluicegate.errors import ConfigurationError
from sluicegate.model import Check, Report
from sluicegate.receipts.records import Record, Records
from sluicegate.receipts.statement import HeadStatement
from sluicegate.stages.backup import checks
from sluicegate.stages.backup.storing import Backup, overlap, store
from sluicegate.stages.base import Context, Option
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import Vault, check_name, open_vault, version_name
from sluicegate.storage.vault_base import COMPLIANCE, GOVERNANCE, NO_LOCK, Lock

__all__ = ["BackUpModel"]

_MODES: Final = (COMPLIANCE, GOVERNANCE, NO_LOCK)
_MAX_DAYS: Final = 36_500
"""A hundred years, as S3 itself allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackUpModel:
    """Store a model with its receipts under Object Lock, and read every byte back.

    Unlike other stages it writes: to the vault, never to the subject.
    """

    name: ClassVar[str] = "back-up-model"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False
    check_ids: ClassVar[tuple[str, ...]] = checks.ALL

    vault: Annotated[str, Option("folder (absolute) or s3://bucket/prefix to store into")]
    model: Annotated[str, Option("name of the model")]
    model_version: Annotated[
        str, Option("name of this version; by default one made from its digest")
    ] = ""
    retain_days: Annotated[int, Option("how many days nobody may remove it")] = 365
    lock: Annotated[str, Option("COMPLIANCE, GOVERNANCE (can be bypassed) or none")] = COMPLIANCE

    def __post_init__(self) -> None:
        check_name("model", self.model)
        if self.model_version:
            check_name("version", self.model_version)
        if self.lock not in _MODES:
            raise ConfigurationError(
                f"back-up-model: lock is one of {', '.join(_MODES)}, not {self.lock!r}"
            )
        if not 1 <= self.retain_days <= _MAX_DAYS:
            raise ConfigurationError(
                f"back-up-model: retain_days is from 1 to {_MAX_DAYS}, not {self.retain_days}"
            )
        if "://" not in self.vault and not self.vault.startswith("/"):
            raise ConfigurationError(
                "back-up-model: the vault is a relative path, which is another place for "
                "everybody who runs this",
                next_step="name an absolute path or s3://bucket/prefix",
            )

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Store the subject, then examine what the vault holds.

        Raises:
            SubjectError: the vault or the subject cannot be read or written.
            SubjectChangedError: the subject is not what its snapshot says any more.
        """
        uri = SubjectUri.parse(self.vault)
        if finding := overlap(snapshot.uri, uri):
            return checks.not_isolated(finding, severity=checks.lock_severity(self.lock))
        records = context.records() if context.records else None
        vault = open_vault(uri)
        backup = self._plan(vault, snapshot, records)
        taken = _taken(backup, snapshot, records)
        if taken:
            return checks.name_taken(backup, taken, severity=checks.lock_severity(self.lock))
        store(backup, snapshot, context.progress)
        found = checks.examine(backup, snapshot, context.progress)
        return Report(
            checks=(
                Check.passed(checks.ISOLATED),
                Check.passed(checks.VERSION),
                checks.stored(found),
                checks.undisturbed(found),
                checks.locked(found, backup, wanted=self.lock, days=self.retain_days),
                checks.receipts(found, backup, asked=records is not None),
            ),
            metrics={
                "files": len(snapshot.manifest.files),
                "bytes": snapshot.manifest.size,
                "blobs": found.blobs,
                "receipts": found.receipts,
            },
            tables={"version": (backup.row(snapshot.digest),)},
        )

    def _plan(self, vault: Vault, snapshot: Snapshot, records: Records | None) -> Backup:
        lock = None
        if self.lock != NO_LOCK and vault.shelf.can_lock():
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=self.retain_days)
            lock = Lock(mode=self.lock, until=until)
        return Backup(
            vault=vault,
            model=self.model,
            version=self.model_version or version_name(snapshot.digest),
            lock=lock,
            receipts=tuple(
                records.bundle(record.index)
                for record in _speaking(snapshot, records)
                if records is not None
            ),
        )


def _speaking(snapshot: Snapshot, records: Records | None) -> Sequence[Record]:
    """Return what trusted keys signed about exactly this subject."""
    return [
        record for record in records or () if record.statement.subject.digest == snapshot.digest
    ]


def _taken(backup: Backup, snapshot: Snapshot, records: Records | None) -> list[str]:
    """Return what else the name of this version stands for already."""
    served = [
        f"{record.statement.subject.digest.short} (ledger entry {record.index})"
        for record in records or ()
        if isinstance(record.statement, HeadStatement)
        and not record.objection
        and (record.statement.model, record.statement.version) == (backup.model, backup.version)
        and record.statement.subject.digest != snapshot.digest
    ]
    return served + backup.vault.other_models(backup.model, backup.version, snapshot.digest)
