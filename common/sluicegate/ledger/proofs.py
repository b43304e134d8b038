"""Checking proofs about a ledger's Merkle tree: bytes in, nothing out, or an error.

The two functions know nothing of files, keys or checkpoints. Who calls them still owes:
that the roots come from checkpoints whose signatures were verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.merkle import root_from_inclusion, roots_from_consistency

__all__ = ["verify_consistency", "verify_inclusion"]

_HASH_BYTES: Final = 32


def verify_inclusion(
    *,
    leaf_index: int,
    tree_size: int,
    leaf_hash: bytes,
    proof: Sequence[bytes] | None,
    root: bytes,
) -> None:
    """Return if a leaf is at a place in a tree.

    Args:
        leaf_index: position of the leaf, from 0.
        tree_size: number of leaves in the tree.
        leaf_hash: ``sha256(0x00 || entry)``, 32 bytes.
        proof: audit path, nearest sibling first, 32 bytes each; ``None`` is an empty one.
        root: root of the tree, 32 bytes.

    Raises:
        LedgerError: it is not, or not shown by this proof.

    Source: RFC 9162, section 2.1.3.2 (the trees of RFC 6962).
    """
    path = _hashes(proof)
    if len(leaf_hash) != _HASH_BYTES:
        raise LedgerError(f"a leaf hash has {_HASH_BYTES} bytes, not {len(leaf_hash)}")
    try:
        found = root_from_inclusion(leaf_hash, leaf_index, tree_size, path)
    except ValueError as error:
        raise LedgerError(f"the inclusion proof does not fit: {error}") from error
    if not compare_digest(found, root):
        raise LedgerError(
            f"the inclusion proof of leaf {leaf_index} in a tree of {tree_size} leads to another "
            f"root: expected {root.hex()[:12]}, found {found.hex()[:12]}",
            next_step="the entry is not in this ledger, or the proof was altered",
        )


def verify_consistency(
    *, size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes] | None
) -> None:
    """Return if the older of two trees is a prefix of the newer one: nothing was rewritten.

    An empty older tree is a prefix of every tree, so no proof can say anything about it: it
    is refused unless both trees are empty.

    Args:
        size1: number of leaves of the older tree.
        size2: number of leaves of the newer tree.
        root1: root of the older tree.
        root2: root of the newer tree.
        proof: nodes as in RFC 6962, section 2.1.2; empty (or ``None``) for equal sizes.

    Raises:
        LedgerError: it is not, or not shown by this proof.

    Source: RFC 9162, section 2.1.4.2.
    """
    path = _hashes(proof)
    if size1 < 0 or size2 < size1:
        raise LedgerError(f"a tree of {size2} leaves cannot extend one of {size1}")
    if size1 == size2:
        if path:
            raise LedgerError("trees of equal size need no proof, and one was given")
        if not compare_digest(root1, root2):
            raise LedgerError(
                f"two trees of {size1} leaves have different roots: {root1.hex()[:12]} and "
                f"{root2.hex()[:12]}",
                next_step="the ledger was forked: keep both checkpoints, they prove it",
            )
        return
    if size1 == 0:
        raise LedgerError("nothing can be proven about an empty tree")
    try:
        found1, found2 = roots_from_consistency(size1, size2, root1, path)
    except ValueError as error:
        raise LedgerError(f"the consistency proof does not fit: {error}") from error
    for size, found, root in ((size1, found1, root1), (size2, found2, root2)):
        if not compare_digest(found, root):
            raise LedgerError(
                f"the consistency proof from {size1} to {size2} leaves leads to another root of "
                f"the tree of {size}: expected {root.hex()[:12]}, found {found.hex()[:12]}",
                next_step="the ledger was rewritten, or the proof was altered",
            )


def _hashes(proof: Sequence[bytes] | None) -> tuple[bytes, ...]:
    path = tuple(proof or ())
    if any(len(node) != _HASH_BYTES for node in path):
        raise LedgerError(f"every node of a proof has {_HASH_BYTES} bytes")
    return path
