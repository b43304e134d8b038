"""What a consumer believes of a ledger, and the entries it may use then.

In this order: the checkpoint is signed by the log's key, cosigned by as many witnesses as the
policy asks for, and continues the one that this consumer saw last. Only then its size and root
count, and every entry is compared with that root. A ledger without a key is as safe as its
folder; it is compared with what is remembered all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger.base import Ledger
from sluicegate.ledger.memory import Memory
from sluicegate.ledger.note import Checkpoint, SignedCheckpoint
from sluicegate.ledger.proofs import verify_inclusion
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.tiles import TILE_WIDTH, TileTree
from sluicegate.merkle import RootBuilder, leaf_hash

__all__ = [
    "authenticate_checkpoint",
    "believe",
    "believed_entries",
    "check_entry",
    "prove_entry",
    "proven_entries",
    "unwitnessed_entries",
]

_CLOCK_SKEW: Final = timedelta(minutes=5)
"""Between the clocks of workers and witnesses; what Kerberos allows (RFC 4120, 3.1.3)."""


@runtime_checkable
class _KeepsWitnessed(Protocol):
    """A ledger that keeps the last checkpoint with cosignatures beside the newest one."""

    def witnessed(self) -> SignedCheckpoint | None:
        """Return it, unverified."""
        ...


def believe(
    ledger: Ledger, settings: LedgerSettings, *, clock: Callable[[], datetime] | None = None
) -> Checkpoint | None:
    """Return the newest checkpoint that satisfies the settings; None for an empty place.

    Where the newest one has too few cosignatures yet, the last one that has enough is taken,
    if the ledger keeps it: what was appended since then does not count so far.

    Args:
        ledger: the ledger that the settings mean.
        settings: its key, witnesses, and where to remember it.
        clock: tells the time, for cosignatures from the future.

    Raises:
        ConfigurationError: the log's key is listed as a witness.
        LedgerRewrittenError: it is not the ledger that was seen before, or not all of it;
            both checkpoints are kept beside the remembered one.
        LedgerError: no checkpoint that the settings accept, or nothing can be read.
    """

    def newest() -> SignedCheckpoint | None:
        return _acceptable(ledger, settings, (clock or _now)())

    if settings.remember is None:
        found = newest()
    else:
        found = Memory(settings.remember).advance(newest, ledger.tiles)
    return found.checkpoint if found else None


def believed_entries(ledger: Ledger, checkpoint: Checkpoint | None) -> Iterator[tuple[int, bytes]]:
    """Yield ``(index, entry)`` for all entries of a checkpoint.

    Until this ends by itself, nothing that it yielded is proven: **exhaust it**, or use
    :func:`check_entry`.

    Raises:
        LedgerError: an entry is missing or damaged, or, after the last one, the root over
            them is not the checkpoint's.
    """
    if checkpoint is None:
        return
    tree = RootBuilder()
    for index, entry in TileTree(ledger.tiles, checkpoint.size).entries():
        tree.add(leaf_hash(entry))
        yield index, entry
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        raise LedgerError(
            f"the entries of the ledger {checkpoint.origin!r} are not those of its checkpoint: "
            f"expected {checkpoint.size} with root {checkpoint.root.hex()[:12]}, found "
            f"{tree.size} with root {tree.root().hex()[:12]}",
            next_step="the ledger was rewritten or damaged: keep its files as evidence and "
            "restore it from a copy",
        )


def unwitnessed_entries(
    ledger: Ledger, settings: LedgerSettings, believed: Checkpoint | None
) -> Iterator[tuple[int, bytes]]:
    """Yield ``(index, entry)`` of what the log signed after the checkpoint that is believed.

    Nothing of it may speak *for* anything: too few witnesses saw it. It may speak against, as
    somebody must not be able to silence a "no" by keeping witnesses away.

    Raises:
        LedgerError: the newest checkpoint is not the log's, or an entry is damaged.
    """
    signed = ledger.checkpoint() if believed is not None else None
    if signed is None or believed is None or signed.checkpoint.size <= believed.size:
        return
    authenticate_checkpoint(signed, settings)
    yield from TileTree(ledger.tiles, signed.checkpoint.size).entries(believed.size)


def proven_entries(
    ledger: Ledger, checkpoint: Checkpoint, start: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Yield ``(index, entry)`` from ``start`` on, each proven before it is yielded.

    One proof for each bundle: its path is computed from all hashes of the entry's own tile, so
    a root that comes out right shows that all of them are, and the entries are compared with
    their hashes anyway.

    Raises:
        LedgerError: an entry is missing, damaged, or not under the checkpoint's root.
    """
    tree, proven = TileTree(ledger.tiles, checkpoint.size), -1
    for index, entry in tree.entries(start):
        if index // TILE_WIDTH != proven:
            _check(tree, checkpoint, index, entry)
            proven = index // TILE_WIDTH
        yield index, entry


def prove_entry(ledger: Ledger, checkpoint: Checkpoint, index: int) -> tuple[bytes, ...]:
    """Return the inclusion proof of an entry: hashes of 32 bytes, nearest sibling first.

    Raises:
        LedgerError: there is no such entry, or a tile is missing or damaged.
    """
    return TileTree(ledger.tiles, checkpoint.size).inclusion_proof(index)


def check_entry(ledger: Ledger, checkpoint: Checkpoint, index: int, entry: bytes) -> None:
    """Return if the entry at ``index`` is ``entry``, by a proof from the ledger's tiles.

    Raises:
        LedgerError: it is not, or cannot be proven.
    """
    _check(TileTree(ledger.tiles, checkpoint.size), checkpoint, index, entry)


def _check(tree: TileTree, checkpoint: Checkpoint, index: int, entry: bytes) -> None:
    verify_inclusion(
        leaf_index=index,
        tree_size=checkpoint.size,
        leaf_hash=leaf_hash(entry),
        proof=tree.inclusion_proof(index),
        root=checkpoint.root,
    )


def authenticate_checkpoint(signed: SignedCheckpoint, settings: LedgerSettings) -> None:
    """Return if a checkpoint is of the settings' log and signed by its key, if it has one.

    Raises:
        LedgerError: it is not.
    """
    if settings.key is not None:
        signed.verify(settings.key)
    elif signed.checkpoint.origin != settings.origin:
        raise LedgerError(
            f"the ledger is {signed.checkpoint.origin!r}, and the policy names no key for it",
            next_step="name its vkey under `ledger: key` in the policy",
        )


def _acceptable(ledger: Ledger, settings: LedgerSettings, now: datetime) -> SignedCheckpoint | None:
    if settings.key is not None and settings.key.public in {w.public for w in settings.witnesses}:
        raise ConfigurationError(
            f"the log {settings.origin!r} is listed as its own witness",
            next_step="a witness is somebody else, with a key of its own",
        )
    signed = ledger.checkpoint()
    if signed is None:
        return None
    authenticate_checkpoint(signed, settings)
    seen = _witnesses(signed, settings, now)
    if seen >= settings.witnessed_by:
        return signed
    kept = ledger.witnessed() if isinstance(ledger, _KeepsWitnessed) else None
    if kept is not None:
        authenticate_checkpoint(kept, settings)
        if _witnesses(kept, settings, now) >= settings.witnessed_by:
            return kept
    raise LedgerError(
        f"the checkpoint of {signed.checkpoint.origin!r} over {signed.checkpoint.size} entries "
        f"has {seen} of {settings.witnessed_by} cosignatures by the policy's witnesses"
        + (f" from the last {settings.witnessed_within}" if settings.witnessed_within else ""),
        next_step="collect them: sluicegate ledger cosign",
    )


def _witnesses(signed: SignedCheckpoint, settings: LedgerSettings, now: datetime) -> int:
    """Count witnesses who saw it, not in the future, and lately enough if that is asked."""
    since = now - settings.witnessed_within if settings.witnessed_within else None
    return sum(
        cosignature.time <= now + _CLOCK_SKEW and (since is None or cosignature.time >= since)
        for cosignature in signed.cosignatures(settings.witnesses)
    )


def _now() -> datetime:
    return datetime.now(UTC)
