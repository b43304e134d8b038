"""Watching a ledger: that it only grows, and what is added to it.

A monitor is a consumer that looks again and again, from elsewhere, and reads everything. It
remembers the last checkpoint; a ledger that does not continue it was rewritten, and both
checkpoints are kept. New entries are proven to be in the ledger before they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sluicegate.ledger.base import Ledger
from sluicegate.ledger.memory import LedgerRewrittenError, Memory
from sluicegate.ledger.note import Checkpoint, SignedCheckpoint
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.trust import authenticate_checkpoint, proven_entries

__all__ = ["Watch"]


@dataclass(slots=True, kw_only=True)
class Watch:
    """One monitor of one ledger."""

    ledger: Ledger
    settings: LedgerSettings
    """Its key and witnesses; the number of cosignatures and ``remember`` do not matter here."""
    memory: Memory
    """What this monitor saw last."""
    checkpoint: Checkpoint | None = field(default=None, init=False)
    """The newest checkpoint after a round."""

    def look(self, tell: Callable[[int, bytes], None]) -> int:
        """Compare the ledger with what was seen last; return how many entries are new.

        Args:
            tell: called with index and bytes of each new entry, in order. Only when all were
                told the checkpoint is remembered, so after a failure they are told again.

        Raises:
            LedgerRewrittenError: the ledger was truncated, rolled back, forked or replaced, or
                a witness's clock went back; both checkpoints were kept.
            LedgerError: it, or what was seen last, cannot be read.
        """
        with self.memory.locked():
            old = self.memory.read()
            found = self.memory.next(old, self._newest, self.ledger.tiles)
            if found is None:
                return 0
            if old is not None:
                self._times_must_go_on(old, found)
            start = old.checkpoint.size if old else 0
            for index, entry in self._new(found.checkpoint, start):
                tell(index, entry)
            if old is None or old.note != found.note:
                self.memory.write(found.note)
            self.checkpoint = found.checkpoint
            return found.checkpoint.size - start

    def _newest(self) -> SignedCheckpoint | None:
        signed = self.ledger.checkpoint()
        if signed is not None:
            authenticate_checkpoint(signed, self.settings)
        return signed

    def _new(self, checkpoint: Checkpoint, start: int) -> Iterator[tuple[int, bytes]]:
        if start < checkpoint.size:
            yield from proven_entries(self.ledger, checkpoint, start)

    def _times_must_go_on(self, old: SignedCheckpoint, found: SignedCheckpoint) -> None:
        """Compare when each witness saw the two checkpoints."""
        before = self._times(old)
        for name, time in self._times(found).items():
            if time < before.get(name, time):
                error = LedgerRewrittenError(
                    f"the witness {name} cosigned {found.checkpoint.size} entries at "
                    f"{time:%FT%TZ}, and before that {old.checkpoint.size} at "
                    f"{before[name]:%FT%TZ}",
                    next_step="a clock was set back, or an old cosignature was replayed",
                )
                error.evidence = self.memory.keep(old, found)
                raise error

    def _times(self, signed: SignedCheckpoint) -> dict[str, datetime]:
        found = signed.cosignatures(self.settings.witnesses)
        return {cosignature.witness.name: cosignature.time for cosignature in found}
