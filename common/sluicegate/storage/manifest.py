"""The manifest of a subject: every file's path, size and SHA-256, under one Merkle root.

The root binds names, sizes and bytes together: renaming, moving or truncating a file gives
another root. On disk a manifest is NDJSON, one canonical JSON record a line, sorted by the
UTF-8 bytes of the path, so that two people who list the same files write the same bytes.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from sluicegate.canonical import Digest, canonical_json
from sluicegate.errors import SubjectError
from sluicegate.merkle import leaf_hash, merkle_root

__all__ = ["FileRecord", "Manifest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of a subject, as its bytes were when the snapshot was taken."""

    path: str
    """Path inside the subject, with ``/``."""
    size: int
    """Length in bytes."""
    sha256: Digest
    """Digest of the content."""

    def line(self) -> bytes:
        """Return the record's canonical JSON, without a line end: the leaf of the tree."""
        return canonical_json({"path": self.path, "sha256": self.sha256.hex, "size": self.size})


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a subject, sorted by path.

    Raises:
        SubjectError: there are no files, or two have the same path.
    """

    files: tuple[FileRecord, ...]
    """Records sorted by the UTF-8 bytes of their paths."""
    digest: Digest = field(init=False)
    """The Merkle root: what sluicegate means by "the digest of a subject"."""

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.files, key=lambda file: file.path.encode()))
        if not ordered:
            raise SubjectError(
                "the subject holds no files", next_step="an empty folder cannot be examined"
            )
        for before, after in pairwise(ordered):
            if before.path == after.path:
                raise SubjectError(f"the subject lists {before.path!r} twice")
        object.__setattr__(self, "files", ordered)
        root = merkle_root(leaf_hash(file.line()) for file in ordered)
        object.__setattr__(self, "digest", Digest(root.hex()))

    @classmethod
    def of(cls, records: Iterable[FileRecord]) -> Manifest:
        """Build a manifest from records in any order."""
        return cls(tuple(records))

    @property
    def size(self) -> int:
        """Total length in bytes."""
        return sum(file.size for file in self.files)

    def find(self, path: str) -> FileRecord:
        """Return the record of one file.

        Raises:
            SubjectError: the manifest does not list it.
        """
        at = bisect_left(self.files, path.encode(), key=lambda file: file.path.encode())
        if at < len(self.files) and self.files[at].path == path:
            return self.files[at]
        raise SubjectError(f"{path!r} is not in the manifest of the subject")

    def ndjson(self) -> bytes:
        """Return the manifest as it is stored: one record a line, sorted by path."""
        return b"".join(file.line() + b"\n" for file in self.files)

    def dir_hash(self) -> str:
        """Return the ``dirHash1`` of the in-toto digest set (Go's h1 dirhash, hexadecimal).

        Other tools can recompute it with ``sha256sum``.
        """
        lines = (f"{file.sha256.hex}  {file.path}\n".encode() for file in self.files)
        return hashlib.sha256(b"".join(lines)).hexdigest()
