"""A copy of a ledger that any web server can hand out and any tlog-tiles client can read."""

from __future__ import annotations

from pathlib import Path

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import TileSource
from sluicegate.ledger.note import SignedCheckpoint
from sluicegate.ledger.tiles import TileTree
from sluicegate.storage.local import write_atomically

__all__ = ["copy_ledger"]


class _Copying:
    """Files of a ledger that are written to a folder while they are read."""

    def __init__(self, source: TileSource, target: Path) -> None:
        self._source = source
        self._target = target
        self.count = 0

    def read(self, name: str) -> bytes | None:
        content = self._source.read(name)
        if content is not None:
            path = self._target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            self.count += 1
        return content


def copy_ledger(source: TileSource, signed: SignedCheckpoint, target: Path) -> int:
    """Copy the checkpoint and all tiles and entries under it, and check them meanwhile.

    The checkpoint is written last: a copy without one is not finished, or did not hold.

    Args:
        source: the files of a ledger.
        signed: its checkpoint; the caller verified the signatures.
        target: a folder that is empty, or not there.

    Returns:
        how many files were written.

    Raises:
        LedgerError: the ledger is damaged, the folder is not empty, or cannot be written.
    """
    try:
        if target.exists() and any(target.iterdir()):
            raise LedgerError(
                f"{target} is not empty",
                next_step="export to a new folder, so that nothing of another ledger stays in it",
            )
        copying = _Copying(source, target)
        root = TileTree(copying, signed.checkpoint.size).check()
        if root != signed.checkpoint.root:
            raise LedgerError(
                f"the {signed.checkpoint.size} entries do not have the root of the checkpoint: "
                f"expected {signed.checkpoint.root.hex()[:12]}, found {root.hex()[:12]}",
                next_step="the ledger is damaged; `sluicegate ledger verify` says where",
            )
        write_atomically(target / "checkpoint", signed.note)
    except OSError as error:
        raise LedgerError(
            f"cannot export the ledger to {target}: {error.strerror}",
            next_step="check permissions and free space",
        ) from error
    return copying.count + 1
