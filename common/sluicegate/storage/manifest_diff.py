"""What changed between two manifests: added, removed, changed and renamed files.

Both are sorted, so they are gone through once, side by side, in memory that depends on what
changed and not on what they hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sluicegate.canonical import Digest, Json
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.records import FileRecord, RecordRow

__all__ = ["Change", "ManifestDiff", "Renaming", "diff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file whose bytes are others than before."""

    path: str
    before: FileRecord
    after: FileRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """The same bytes under another name."""

    before: str
    after: str
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDiff:
    """All differences, each sorted by path; a renamed file is neither added nor removed."""

    added: tuple[FileRecord, ...]
    removed: tuple[FileRecord, ...]
    changed: tuple[Change, ...]
    renamed: tuple[Renaming, ...]
    unchanged: int
    """How many files are as they were."""

    def __bool__(self) -> bool:
        """Say whether anything differs."""
        return bool(self.added or self.removed or self.changed or self.renamed)

    def to_json(self) -> dict[str, Json]:
        """Return the differences as JSON."""
        return {
            "added": [_document(record) for record in self.added],
            "removed": [_document(record) for record in self.removed],
            "changed": [
                {
                    "path": one.path,
                    "before": {"sha256": one.before.sha256.hex, "size": one.before.size},
                    "after": {"sha256": one.after.sha256.hex, "size": one.after.size},
                }
                for one in self.changed
            ],
            "renamed": [
                {"before": one.before, "after": one.after, "sha256": one.sha256.hex}
                for one in self.renamed
            ],
            "unchanged": self.unchanged,
        }


def diff(old: Manifest, new: Manifest) -> ManifestDiff:
    """Compare two manifests.

    Where several removed and added files hold the same bytes, they are paired in the order of
    their paths. Empty files say nothing about where they came from and are never paired.
    """
    added: list[RecordRow] = []
    removed: list[RecordRow] = []
    changed: list[Change] = []
    unchanged = 0
    for before, after in _side_by_side(old.files.rows(), new.files.rows()):
        if before is None and after is not None:
            added.append(after)
        elif after is None and before is not None:
            removed.append(before)
        elif before is not None and after is not None and before != after:
            changed.append(Change(path=after[0], before=_record(before), after=_record(after)))
        else:
            unchanged += 1
    renamed = _pair(removed, added)
    gone, come = {one.before for one in renamed}, {one.after for one in renamed}
    return ManifestDiff(
        added=tuple(_record(row) for row in added if row[0] not in come),
        removed=tuple(_record(row) for row in removed if row[0] not in gone),
        changed=tuple(changed),
        renamed=renamed,
        unchanged=unchanged,
    )


def _side_by_side(
    old: Iterator[RecordRow], new: Iterator[RecordRow]
) -> Iterator[tuple[RecordRow | None, RecordRow | None]]:
    """Merge two sorted streams; equal paths come together."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before[0] < after[0]):
            yield before, None
            before = next(old, None)
        elif before is None or after[0] < before[0]:
            yield None, after
            after = next(new, None)
        else:
            yield before, after
            before, after = next(old, None), next(new, None)


def _pair(removed: list[RecordRow], added: list[RecordRow]) -> tuple[Renaming, ...]:
    waiting: dict[tuple[int, str], list[str]] = {}
    for path, size, sha256 in reversed(removed):
        if size:
            waiting.setdefault((size, sha256), []).append(path)
    found = [
        Renaming(before=waiting[size, sha256].pop(), after=path, sha256=Digest(sha256))
        for path, size, sha256 in added
        if waiting.get((size, sha256))
    ]
    return tuple(sorted(found, key=lambda one: one.before))


def _record(row: RecordRow) -> FileRecord:
    return FileRecord(path=row[0], size=row[1], sha256=Digest(row[2]))


def _document(record: FileRecord) -> dict[str, Json]:
    return {"path": record.path, "sha256": record.sha256.hex, "size": record.size}
