"""Adding witnesses' signature lines to a checkpoint that is published already."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final

from sluicegate.ledger.note import MAX_SIGNATURES, SignedCheckpoint

__all__ = ["CHECKPOINT", "WITNESSED", "merge_signatures", "write_note"]

CHECKPOINT: Final = "checkpoint"
"""Name of the newest checkpoint, as in C2SP tlog-tiles."""
WITNESSED: Final = "witnessed"
"""Name of the newest checkpoint that cosignatures were attached to. It may be older than
``checkpoint``: who needs cosignatures can go on with it while new ones are collected."""


def merge_signatures(current: SignedCheckpoint, other: SignedCheckpoint) -> bytes | None:
    """Return the note with the signature lines of both; None if they sign different texts.

    No line of ``current`` is lost. A key that signed there already is not added again, and
    there are never more than 100 lines.
    """
    text = current.checkpoint.text()
    if other.checkpoint.text() != text:
        return None
    lines = list(current.signatures)
    there = {(name, key_id) for name, key_id, _ in lines}
    lines += [line for line in other.signatures if line[:2] not in there]
    return write_note(text, lines[:MAX_SIGNATURES])


def write_note(text: str, signatures: Iterable[tuple[str, bytes, bytes]]) -> bytes:
    """Return a note of a text and signature lines that were read from other notes."""
    lines = [
        f"\u2014 {name} {base64.b64encode(key_id + signature).decode()}\n"
        for name, key_id, signature in signatures
    ]
    return f"{text}\n{''.join(lines)}".encode()
