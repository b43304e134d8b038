"""Proof that one file belongs to a subject, for somebody who has only the subject's digest.

The proof of one file among a million is 20 hashes. It holds no other file's name. Whoever
checks it needs the digest from a place that is trusted (a receipt), the record or the file
itself, and this document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import SubjectError
from sluicegate.merkle import leaf_hash, merkle_root, root_from_inclusion
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.records import MAX_SIZE, FileRecord

__all__ = ["FileProof", "prove_file", "verify_file_proof"]

_MOST: Final = 53
"""Longest audit path: a tree of 2**53 leaves, beyond which JSON numbers are not exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProof:
    """Inclusion proof (RFC 6962) of one record in the tree of a manifest."""

    leaf_index: int
    """Number of the record in the manifest, from 0."""
    tree_size: int
    """Number of records in the manifest."""
    hashes: tuple[bytes, ...]
    """Audit path, nearest sibling first, each of 32 bytes."""

    def to_json(self) -> dict[str, Json]:
        """Return the document that is given away."""
        return {
            "leafIndex": self.leaf_index,
            "treeSize": self.tree_size,
            "hashes": [one.hex() for one in self.hashes],
        }

    @classmethod
    def from_json(cls, document: Json) -> FileProof:
        """Read a document, trusting nothing.

        Raises:
            SubjectError: another shape.
        """
        if not isinstance(document, Mapping) or set(document) != {
            "leafIndex",
            "treeSize",
            "hashes",
        }:
            raise SubjectError("the proof of a file holds leafIndex, treeSize and hashes")
        index, size, hashes = document["leafIndex"], document["treeSize"], document["hashes"]
        if type(index) is not int or type(size) is not int or not 0 <= index < size <= MAX_SIZE:
            raise SubjectError("the proof of a file names a leaf outside of its tree")
        if not isinstance(hashes, list) or len(hashes) > _MOST:
            raise SubjectError(f"the proof of a file is no list of at most {_MOST} hashes")
        try:
            path = tuple(bytes.fromhex(Digest(one).hex) for one in hashes)
        except ValueError as error:
            raise SubjectError("the proof of a file holds something that is no hash") from error
        return cls(leaf_index=index, tree_size=size, hashes=path)


def prove_file(manifest: Manifest, path: str) -> FileProof:
    """Return the proof of one file; goes through the whole manifest once.

    Raises:
        SubjectError: the manifest does not list it.

    Source: RFC 6962, section 2.1.1.
    """
    index, start, stop = manifest.index(path), 0, len(manifest)
    hashes: list[bytes] = []
    while stop - start > 1:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < split:
            hashes.append(merkle_root(manifest.leaves(split, stop)))
            stop = split
        else:
            hashes.append(merkle_root(manifest.leaves(start, split)))
            start = split
    return FileProof(leaf_index=index, tree_size=len(manifest), hashes=tuple(reversed(hashes)))


def verify_file_proof(record: FileRecord, proof: FileProof, *, root: Digest) -> None:
    """Check that a subject holds a file, with nothing but the subject's digest.

    That a record is part of the subject says nothing of bytes: compare the file's own size
    and SHA-256 with the record.

    Args:
        record: path, size and SHA-256 of the file.
        proof: what :func:`prove_file` returned.
        root: the digest of the subject, from a receipt that was verified.

    Raises:
        SubjectError: the record is not part of that subject, or the proof is not one.
    """
    try:
        found = root_from_inclusion(
            leaf_hash(record.line()), proof.leaf_index, proof.tree_size, proof.hashes
        )
    except ValueError as error:
        raise SubjectError(f"the proof of {record.path!a} is not one: {error}") from error
    if found != bytes.fromhex(root.hex):
        raise SubjectError(
            f"{record.path!a} is not proven to be part of the subject: expected {root}, "
            f"found sha256:{found.hex()}",
            next_step="compare size and SHA-256 with the record, and the digest with the receipt",
        )
