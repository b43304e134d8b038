"""``HEAD`` in the vault: a pointer, and an alarm if it is not what the ledger says.

Nothing is decided by it. But it lies where servers look, and whoever plays an old one back
means to mislead; so a pointer that is older than the ledger, gone, or unknown to the ledger
refuses until somebody has looked at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.errors import ClearanceRefused, SubjectError
from sluicegate.receipts.records import Records
from sluicegate.serving.history import History, read_history
from sluicegate.serving.served import vault_of
from sluicegate.storage.vault import Vault, open_vault

__all__ = ["publish", "settled"]

_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.5
"""Somebody who promotes logs first and points second: so long this may take before it counts
as an attack."""
_MAX_WRITES: Final = 50


def settled(
    read: Callable[[], Records], model: str, vault: Vault | None
) -> tuple[Records, History, Vault | None]:
    """Read the ledger and the pointer until they agree.

    Args:
        read: reads the ledger.
        model: name of the model.
        vault: the vault to look into; by default the one that the newest head names that
            nothing speaks against.

    Raises:
        ClearanceRefused: they do not, or the chain of heads is broken.
        SubjectError: the vault cannot be read.
    """
    for attempt in range(_ATTEMPTS):
        records = read()
        history = read_history(records, model)
        place = vault
        if place is None and history.counting is not None:
            place = open_vault(vault_of(history.counting))
        fault = _fault(history, place) if place else ""
        if not fault:
            return records, history, place
        if attempt < _ATTEMPTS - 1:
            time.sleep(_PAUSE_SECONDS)
    raise ClearanceRefused(
        fault,
        next_step="find out who wrote to the vault. If a promotion was interrupted: "
        f"`sluicegate heads {model} --mend` points to the newest head again",
    )


def _fault(history: History, vault: Vault) -> str:
    """Return how the pointer differs from the ledger, or nothing.

    Heads with an objection at the end of the chain serve nothing, and anybody with an expired
    key can log them: the pointer may be at any of them, or at the last one that counts.
    """
    stored = vault.head(history.model)
    newest = history.counting
    where = f"HEAD of {history.model} in {vault.uri}"
    if stored is None:
        return f"{where} is missing; the ledger's newest head is {newest}" if newest else ""
    digest = Digest.of(stored[0])
    end = history.heads[newest.says.epoch - 1 :] if newest else history.heads
    if any(head.digest == digest for head in end):
        return ""
    for head in (*history.heads, *history.superseded):
        if head.digest == digest:
            return f"{where} is an old one: expected {newest}, found {head}"
    expected = f"expected {newest}, found" if newest else "the ledger has no head, and there is"
    return f"{where} is forged, or the ledger was cut: {expected} {digest.short}"


def publish(
    records: Records,
    read: Callable[[], Records],
    model: str,
    vault: Vault,
    *,
    own: Digest | None = None,
) -> None:
    """Point to the ledger's newest head, whoever else writes at the same time.

    Heads with an objection are passed over: the pointer never leads to what does not serve.

    Args:
        records: the ledger as it was just read.
        read: reads it again, to see whether it grew meanwhile.
        model: name of the model.
        vault: where the pointer lies.
        own: the head that the caller has just signed and logged, which may still have to wait
            for a witness.

    Raises:
        ClearanceRefused: the chain of heads is broken, or there is none that counts.
        SubjectError: the vault cannot be written.
    """
    for _ in range(_MAX_WRITES):
        stored = vault.head(model)
        heads = read_history(records, model).heads
        good = [head for head in heads if not head.record.objection or head.digest == own]
        if not good:
            raise ClearanceRefused(f"the ledger has no head of {model} to point to that counts")
        newest = good[-1]
        if stored and Digest.of(stored[0]) == newest.digest:
            return
        bundle = records.bundle(newest.record.index)
        vault.replace_head(model, bundle, stored[1] if stored else None)
        records = read()
    raise SubjectError(
        f"HEAD of {model} in {vault.uri} does not settle: others keep writing it",
        next_step=f"the head is logged and counts; run `sluicegate heads {model} --mend` later",
    )
