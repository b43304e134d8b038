"""What a backup consists of, and storing it: files, then receipts, then the manifest."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.canonical import Digest, Json
from sluicegate.storage.base import Progress
from sluicegate.storage.manifest import FileRecord
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import Vault, distinct
from sluicegate.storage.vault_base import Lock, in_order

__all__ = ["Backup", "overlap", "store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One version of a model, and where it goes."""

    vault: Vault
    model: str
    version: str
    lock: Lock | None
    """What everything of it is locked with; None where it is not or cannot be."""
    receipts: tuple[bytes, ...]
    """Bundles that speak for it."""

    def row(self, digest: Digest) -> dict[str, Json]:
        """Return what the report says of it."""
        return {
            "vault": str(self.vault.uri),
            "model": self.model,
            "version": self.version,
            "digest": str(digest),
        }


def overlap(subject: SubjectUri, vault: SubjectUri) -> str:
    """Return how a subject and a vault lie within each other, or nothing.

    A vault inside the subject would change it by being written to; and whoever may write to
    one of them could write to both.
    """
    inner, outer = subject.resolved(), vault.resolved()
    if inner.scheme != outer.scheme:
        return ""
    first, second = (f"{uri.path.rstrip('/')}/" for uri in (inner, outer))
    if first == second:
        return f"the vault is the subject itself: {vault}"
    if second.startswith(first):
        return f"the vault {vault} lies inside the subject {subject}"
    if first.startswith(second):
        return f"the subject {subject} lies inside the vault {vault}"
    return ""


def store(backup: Backup, snapshot: Snapshot, progress: Progress) -> None:
    """Store whatever is not there yet. The manifest comes last: it makes a version whole.

    Raises:
        SubjectChangedError: the subject is not what its snapshot says any more.
        SubjectError: the vault or the subject cannot be read or written.
    """
    backup.vault.shelf.sweep()
    done = 0
    for record in in_order(
        lambda record: _store_file(backup, snapshot, record),
        distinct(snapshot.manifest),
        threads=backup.vault.shelf.threads,
    ):
        done += record.size
        progress("storing", done, snapshot.manifest.size)
    for bundle in backup.receipts:
        backup.vault.put_receipt(backup.model, backup.version, bundle, backup.lock)
    backup.vault.put_manifest(backup.model, backup.version, snapshot.manifest, backup.lock)


def _store_file(backup: Backup, snapshot: Snapshot, record: FileRecord) -> FileRecord:
    if not backup.vault.has_blob(record):
        with snapshot.open(record.path) as source:
            backup.vault.put_blob(record, source, backup.lock)
    return record
