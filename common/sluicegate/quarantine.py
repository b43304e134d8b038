"""Set rows or files of a snapshot aside as a subject of their own.

Both halves are written below one folder whose name follows from what was taken out of
what, so doing it again writes the same bytes to the same place. The parent stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import IO

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectError
from sluicegate.model import RowId, rows_by_file
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import Snapshot, store_for
from sluicegate.storage.tables import split_file
from sluicegate.storage.uri import SubjectUri

__all__ = ["Split", "set_aside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A snapshot in two halves."""

    remainder: Snapshot
    set_aside: Snapshot
    rows: int
    """How many rows were set aside, besides those of whole files."""
    files: int
    """How many whole files were set aside."""


def set_aside(
    snapshot: Snapshot, *, rows: Collection[RowId], files: Collection[str], area: SubjectUri
) -> Split:
    """Write the remainder and what is set aside.

    Args:
        snapshot: the whole.
        rows: rows to set aside, in files that stay otherwise.
        files: whole files to set aside.
        area: where to write; a new folder is made below it.

    Raises:
        SubjectError: a file or row does not exist, rows of a file that is not tabular, or
            nothing would remain.
    """
    by_file = rows_by_file(rows)
    for path in (*files, *by_file):
        snapshot.manifest.find(path)
    name = Digest.of_json(
        {"parent": snapshot.digest.hex, "rows": by_file, "files": sorted(files)}
    ).hex[:16]
    kept, aside = _Half(area.join(name, "remainder")), _Half(area.join(name, "set-aside"))
    for record in snapshot.manifest.files:
        if record.path not in by_file or record.path in files:
            with snapshot.open(record.path) as source:
                (aside if record.path in files else kept).add(record.path, source)
            continue
        drop = by_file[record.path]
        with split_file(snapshot, record.path, drop) as (keep, removed, total):
            aside.add(record.path, removed)
            if len(drop) < total:
                kept.add(record.path, keep)
    if not kept.records:
        raise SubjectError(
            f"nothing of {snapshot.uri} would remain after setting aside what was flagged"
        )
    return Split(
        remainder=kept.snapshot(snapshot),
        set_aside=aside.snapshot(snapshot),
        rows=sum(len(ordinals) for ordinals in by_file.values()),
        files=len(set(files)),
    )


class _Half:
    """Files that are being written, each known by the bytes that were sent.

    Listing the folder afterwards would take in whatever somebody else put there.
    """

    def __init__(self, folder: SubjectUri) -> None:
        self._folder = folder
        self.records: list[FileRecord] = []

    def add(self, path: str, source: IO[bytes]) -> None:
        """Write one file below the folder; ``source`` is seekable and at its start."""
        digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
        size = source.tell()
        source.seek(0)
        target = self._folder.join(*path.split("/"))
        store_for(target).write(target, source)
        self.records.append(FileRecord(path=path, size=size, sha256=Digest(digest)))

    def snapshot(self, parent: Snapshot) -> Snapshot:
        """Return the half as a subject; what was one file stays a subject of one file."""
        folder = self._folder
        if parent.is_single_file:
            folder = folder.join(parent.manifest.files[0].path)
        return Snapshot(folder, Manifest.of(self.records), store_for(folder))
