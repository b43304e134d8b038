"""Where a store keeps the files of a subject: the sidecar of a manifest.

A hint for whoever reads: which version to ask for, and what the store itself says of the
bytes. Nothing is decided by it, and the digest of the subject does not bind it.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import cast

from sluicegate.canonical import parse_json
from sluicegate.storage.lines import Lines
from sluicegate.storage.records import Place

__all__ = ["Places"]


class Places:
    """What is known of where files lie: few or many, by path."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __bool__(self) -> bool:
        return bool(len(self._lines))

    def find(self, path: str) -> Place | None:
        """Return the place of one file, None when none is known."""
        at = bisect_left(range(len(self._lines)), path, key=self._path)
        if at == len(self._lines) or self._path(at) != path:
            return None
        document = parse_json(self._lines[at])
        return Place.from_json({key: one for key, one in document.items() if key != "path"})

    def ndjson(self) -> bytes:
        """Return one line for each file whose place is known, sorted by path."""
        return self._lines.tobytes()

    def _path(self, at: int) -> str:
        return cast("str", parse_json(self._lines[at])["path"])
