"""Merkle tree hashing as in Certificate Transparency: roots and inclusion proofs.

Used for two things that must not drift apart: the manifest of a subject and the ledger of
receipts. Leaves and inner nodes are hashed under different prefixes, so no leaf can pose
as a node.

Source: RFC 6962, section 2.1 (the same construction as RFC 9162, section 2.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

__all__ = ["RootBuilder", "inclusion_proof", "leaf_hash", "merkle_root", "root_from_inclusion"]


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of one leaf: ``sha256(0x00 || data)``."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class RootBuilder:
    """Compute a root leaf by leaf, keeping only O(log n) hashes."""

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append one leaf hash (32 bytes, from :func:`leaf_hash`)."""
        node, size = leaf, self._size
        while size & 1:
            node = _node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self._size += 1

    @property
    def size(self) -> int:
        """How many leaves were added."""
        return self._size

    def root(self) -> bytes:
        """Return the root of what was added so far; ``sha256("")`` for nothing."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = _node_hash(peak, node)
        return node


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the 32-byte root of a sequence of leaf hashes."""
    builder = RootBuilder()
    for leaf in leaves:
        builder.add(leaf)
    return builder.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the audit path of ``leaves[index]``, nearest sibling first.

    Raises:
        IndexError: ``index`` is not a position in ``leaves``.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of a tree of {len(leaves)}")
    path: list[bytes] = []
    level, at = list(leaves), index
    while len(level) > 1:
        sibling = at ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        pairs = range(0, len(level) - 1, 2)
        above = [_node_hash(level[left], level[left + 1]) for left in pairs]
        if len(level) % 2:
            above.append(level[-1])
        level, at = above, at // 2
    return tuple(path)


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that an audit path leads to; the caller compares it.

    Args:
        leaf: 32-byte leaf hash.
        index: position of the leaf, 0 <= index < size.
        size: number of leaves in the tree.
        proof: audit path, nearest sibling first.

    Raises:
        ValueError: the index is out of range, or the path has the wrong length.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} of a tree of {size}")
    at, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ValueError("the audit path is too long")
        if at % 2 or at == last:
            node = _node_hash(sibling, node)
            while at % 2 == 0 and at:
                at //= 2
                last //= 2
        else:
            node = _node_hash(node, sibling)
        at //= 2
        last //= 2
    if last:
        raise ValueError("the audit path is too short")
    return node
