"""Merkle tree hashing as in Certificate Transparency: roots, inclusion and consistency proofs.

Used for two things that must not drift apart: the manifest of a subject and the ledger of
receipts. Leaves and inner nodes are hashed under different prefixes, so no leaf can pose
as a node.

Source: RFC 6962, section 2.1 (the same construction as RFC 9162, section 2.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "RootBuilder",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "merkle_root",
    "node_hash",
    "root_from_inclusion",
    "roots_from_consistency",
]

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""

_BATCH: Final = 1 << 15
"""Leaves that are paired level by level at once: 1 MiB of hashes, beyond which nothing is won."""

_new_node: Final = hashlib.sha256(b"\x01").copy
"""Start the hash of a node: copying a started one costs half of starting one."""


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of one leaf: ``sha256(0x00 || data)``."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node: ``sha256(0x01 || left || right)``."""
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
            node = node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append many leaf hashes, level by level: about half the time of adding each."""
        leaves = iter(leaves)
        while level := list(islice(leaves, _BATCH)):
            self._extend(level)

    def _extend(self, level: list[bytes]) -> None:
        left, self._size = self._size, self._size + len(level)
        tops: list[bytes] = []
        while level:
            if left & 1:
                level.insert(0, self._peaks.pop())
            if len(level) & 1:
                tops.append(level.pop())
            level, left = _paired(level), left >> 1
        self._peaks.extend(reversed(tops))

    @property
    def size(self) -> int:
        """How many leaves were added."""
        return self._size

    def root(self) -> bytes:
        """Return the root of what was added so far; ``sha256("")`` for nothing."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the 32-byte root of a sequence of leaf hashes."""
    builder = RootBuilder()
    builder.extend(leaves)
    return builder.root()


def _paired(level: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above a level of the tree; an odd last one has no node above it."""
    above: list[bytes] = []
    nodes = iter(level)
    for left, right in zip(nodes, nodes, strict=False):
        hasher = _new_node()
        hasher.update(left)
        hasher.update(right)
        above.append(hasher.digest())
    return above


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
        above = _paired(level)
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
            node = node_hash(sibling, node)
            while at % 2 == 0 and at:
                at //= 2
                last //= 2
        else:
            node = node_hash(node, sibling)
        at //= 2
        last //= 2
    if last:
        raise ValueError("the audit path is too short")
    return node


def consistency_proof(leaves: Sequence[bytes], size: int) -> tuple[bytes, ...]:
    """Return the proof that the first ``size`` leaves are a prefix of all ``leaves``.

    Empty for ``size == len(leaves)``.

    Raises:
        IndexError: ``size`` is not 1 to ``len(leaves)``: nothing can be proven about an empty
            tree.

    Source: RFC 6962, section 2.1.2.
    """
    if not 0 < size <= len(leaves):
        raise IndexError(f"a prefix of {size} of a tree of {len(leaves)}")
    return tuple(_subproof(leaves, size, whole=True))


def _subproof(leaves: Sequence[bytes], size: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962: ``whole`` says that the verifier knows this subtree's root."""
    if size == len(leaves):
        return [] if whole else [merkle_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if size <= split:
        return [*_subproof(leaves[:split], size, whole=whole), merkle_root(leaves[split:])]
    return [*_subproof(leaves[split:], size - split, whole=False), merkle_root(leaves[:split])]


def roots_from_consistency(
    size1: int, size2: int, root1: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the roots of both trees that a consistency proof leads to; the caller compares.

    Args:
        size1: number of leaves of the older tree, at least 1 and less than ``size2``.
        size2: number of leaves of the newer tree.
        root1: 32-byte root of the older tree; part of the computation only where the older
            tree is a whole subtree of the newer one.
        proof: the proof, as :func:`consistency_proof` writes it.

    Raises:
        ValueError: the sizes are out of range, or the proof has the wrong length.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 < size1 < size2:
        raise ValueError(f"a proof between trees of {size1} and {size2} leaves")
    path = list(proof)
    if size1 & (size1 - 1) == 0:  # a power of two: the older root is a node of the newer tree
        path.insert(0, root1)
    if not path:
        raise ValueError("the proof is too short")
    at, last = size1 - 1, size2 - 1
    while at % 2:
        at //= 2
        last //= 2
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            raise ValueError("the proof is too long")
        if at % 2 or at == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while at % 2 == 0 and at:
                at //= 2
                last //= 2
        else:
            new = node_hash(new, node)
        at //= 2
        last //= 2
    if last:
        raise ValueError("the proof is too short")
    return old, new
