"""Adding witnesses' signature lines to a checkpoint that is published already."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final

from sluicegate.ledger.note import MAX_SIGNATURES, SignedCheckpoint

__all__ = ["CHECKPOINT", "WITNESSED", "merge_signatures", "write_note"]

CHECKPOINT: Final = "checkpoint"
"""Name of the newest checkpoint, as in C2SP tlog-tiles."""
_COSIGNATURE_BYTES: Final = 8 + 64
"""A time, big-endian, and an Ed25519 signature."""
WITNESSED: Final = "witnessed"
"""Name of the newest checkpoint that cosignatures were attached to. It may be older than
``checkpoint``: who needs cosignatures can go on with it while new ones are collected."""


def merge_signatures(current: SignedCheckpoint, other: SignedCheckpoint) -> bytes | None:
    """Return the note with the signature lines of both; None if they sign different texts.

    No key's line is lost. Of two by one witness the newer one stays, and there are never more
    than 100 lines.
    """
    text = current.checkpoint.text()
    if other.checkpoint.text() != text:
        return None
    lines = {line[:2]: line for line in current.signatures}
    for line in other.signatures:
        known = lines.setdefault(line[:2], line)
        # A cosignature begins with its time; a log's own signature is shorter.
        if len(line[2]) == len(known[2]) == _COSIGNATURE_BYTES and line[2] > known[2]:
            lines[line[:2]] = line
    return write_note(text, list(lines.values())[:MAX_SIGNATURES])


def write_note(text: str, signatures: Iterable[tuple[str, bytes, bytes]]) -> bytes:
    """Return a note of a text and signature lines that were read from other notes."""
    lines = [
        f"\u2014 {name} {base64.b64encode(key_id + signature).decode()}\n"
        for name, key_id, signature in signatures
    ]
    return f"{text}\n{''.join(lines)}".encode()
