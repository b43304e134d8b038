"""What the report tells of single objects: evidence of how they were stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sluicegate.model import Check
from sluicegate.stages.encryption.s3.head import Head, Miss
from sluicegate.stages.encryption.s3.judge import Seen
from sluicegate.stages.encryption.scope import Scope

__all__ = ["named_files", "tell"]

_ROWS: Final = 1_000
"""Rows of the table: enough to look at, little beside a receipt's other files."""


def tell(scope: Scope, seen: list[Seen], checks: list[Check]) -> None:
    """Add the table ``objects``, failing ones first, and how many it leaves out."""
    bad = named_files(checks)

    def rank(one: Seen) -> tuple[int, str]:
        if one.path in bad:
            return 0, one.path
        return (1 if isinstance(one.answer, Miss) else 2), one.path

    rows = scope.tables.setdefault("objects", [])
    for one in sorted(seen, key=rank)[:_ROWS]:
        head = one.answer if isinstance(one.answer, Head) else None
        rows.append(
            {
                "path": one.path,
                "answer": ("failed", "unknown", "no fault")[rank(one)[0]],
                "mode": head.mode if head else None,
                "kms_key": head.key if head else None,
                "version": head.version if head else None,
                "etag": head.etag if head else None,
            }
        )
    scope.metrics["objects"] = len(scope.snapshot.manifest.files)
    scope.metrics["objects_asked"] = len(seen)
    scope.metrics["objects_unknown"] = sum(isinstance(one.answer, Miss) for one in seen)
    scope.metrics["objects_failed"] = len(bad)
    scope.metrics["objects_not_in_table"] = max(len(seen) - _ROWS, 0)


def named_files(checks: Iterable[Check]) -> set[str]:
    """Return the files that findings name."""
    return {path for check in checks for one in check.findings for path in one.files}
