"""The complete check of a ledger in a folder: every file of it, not only those of the tree."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import LedgerState
from sluicegate.ledger.folder_files import FolderFiles, parse_name
from sluicegate.ledger.journal import Journal, open_journal
from sluicegate.ledger.note import Checkpoint
from sluicegate.ledger.tiles import TILE_WIDTH, TileTree, entries_path, tile_path
from sluicegate.merkle import leaf_hash

__all__ = ["check_folder"]

_TORN: Final = re.compile(r"torn-.+-([0-9a-f]{16})")
_EVIDENCE: Final = "keep the files as evidence and restore the ledger from a copy"


def check_folder(folder: Path, files: FolderFiles, checkpoint: Checkpoint) -> LedgerState:
    """Compare every file of a ledger with the newest checkpoint.

    Needs no lock, except that writers wait while the journal is read.

    Args:
        folder: of the ledger.
        files: of the same ledger.
        checkpoint: the newest one; the caller checked its signature, if there is to be one.

    Raises:
        LedgerError: something is damaged; says which entry or file.
        OSError: a file cannot be read.
    """
    tree = TileTree(files, checkpoint.size)
    root = tree.check()
    if root != checkpoint.root:
        raise LedgerError(
            f"the {checkpoint.size} entries of the ledger {folder} do not have the root of its "
            f"checkpoint: expected {checkpoint.root.hex()[:12]}, found {root.hex()[:12]}",
            next_step="checkpoint, or entries with all their tiles, were changed: " + _EVIDENCE,
        )
    _check_partials(folder, files, checkpoint.size)
    _check_evidence(folder)
    return LedgerState(size=checkpoint.size, root=root, torn_bytes=_torn_bytes(folder, tree))


def _torn_bytes(folder: Path, tree: TileTree) -> int:
    journal = folder / "journal"
    if journal.exists():
        with open_journal(journal, shared=True) as opened:
            return _check_journal(opened, tree)
    if tree.size:  # its first writer makes the checkpoint of nothing before the journal
        raise LedgerError(
            f"the ledger {folder} is damaged: its journal is missing", next_step=_EVIDENCE
        )
    return 0


def _check_partials(folder: Path, files: FolderFiles, size: int) -> None:
    """Compare older partial tiles with the ones that outgrew them."""
    for name in files.names():
        parsed = parse_name(name)
        if parsed is None:
            raise LedgerError(
                f"{name} does not belong into the ledger {folder}",
                next_step="find out who put it there, and move it away",
            )
        level, index, width = parsed
        now = (size >> 8 * (level or 0)) - index * TILE_WIDTH
        if width >= min(now, TILE_WIDTH):
            continue  # read with the tree, or not published yet
        newer = (
            entries_path if level is None else lambda at, wide, of=level: tile_path(of, at, wide)
        )
        whole = files.read(newer(index, min(now, TILE_WIDTH)))
        found = files.read(name)
        if found is not None and whole is not None and not whole.startswith(found):
            raise LedgerError(
                f"the ledger is damaged: {name} is not the beginning of the tile that outgrew it",
                next_step=_EVIDENCE,
            )


def _check_evidence(folder: Path) -> None:
    for path in folder.glob("torn-*"):
        match = _TORN.fullmatch(path.name)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if match is None or match[1] != digest[:16]:
            raise LedgerError(
                f"{path} is not what was moved aside there: its name holds another digest",
                next_step="somebody changed the evidence of an earlier repair",
            )


def _check_journal(journal: Journal, tree: TileTree) -> int:
    """Compare the journal with the tree; return how many bytes behind it are no entries."""
    if journal.base > tree.size:
        return 0  # rotated since the checkpoint was read: all it had is in the tiles
    place = journal.start
    for leaf in tree.leaf_hashes(journal.base):
        ((entry, place),) = journal.frames(place, place.number + 1)
        if leaf_hash(entry) != leaf:
            raise LedgerError(
                f"entry {place.number - 1} in {journal.path} is another one than in the tiles",
                next_step=_EVIDENCE,
            )
    return journal.length - journal.tail(place).offset
