"""What a writer puts down to claim the next places in a ledger of objects.

Numbers big-endian::

    magic "slb1" | signed, 1 byte | nonce, 16 bytes | count, uint32 | SHA-256 of the entries
    signature, 64 bytes (if signed is 1) | entries, each behind its uint16 length

The name says where its first entry stands: ``batch/<index, 20 digits>``. The nonce tells a
writer that did not hear the answer whether the batch that lies there is its own. The
signature is by the ledger's key over the origin, the place, the nonce and the digest, so
whoever may only write objects cannot put entries into a signed ledger.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.note import NoteSigner, NoteVerifier
from sluicegate.ledger.tiles import decode_entries, encode_entries

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_ENTRIES",
    "NONCE_BYTES",
    "Batch",
    "batch_name",
    "open_batch",
    "seal_batch",
]

MAX_BATCH_BYTES: Final = 64 << 20
"""A batch is held in memory by whoever completes it: room for 1,024 of the largest entries."""
MAX_BATCH_ENTRIES: Final = 1 << 17
"""So that one append makes at most about 1,000 files."""
NONCE_BYTES: Final = 16
"""Random: two writers draw the same with probability 2 ** -64 after 2 ** 32 batches."""
_HEADER: Final = struct.Struct(f">4sB{NONCE_BYTES}sI32s")
_MAGIC: Final = b"slb1"
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Entries at their places."""

    first: int
    """Index of the first one."""
    nonce: bytes
    entries: tuple[bytes, ...]

    @property
    def end(self) -> int:
        """Size of the ledger with them."""
        return self.first + len(self.entries)


def batch_name(first: int) -> str:
    """Return the name of the batch whose first entry has this index."""
    return f"batch/{first:020d}"


def seal_batch(batch: Batch, *, origin: str, signer: NoteSigner | None) -> bytes:
    """Return a batch as bytes, signed if there is a signer."""
    content = encode_entries(batch.entries)
    digest = hashlib.sha256(content).digest()
    header = _HEADER.pack(_MAGIC, signer is not None, batch.nonce, len(batch.entries), digest)
    signature = signer.key.sign(_signed(header, batch.first, origin)) if signer else b""
    return header + signature + content


def open_batch(data: bytes, first: int, *, origin: str, verifier: NoteVerifier | None) -> Batch:
    """Read a batch.

    Args:
        data: what :func:`seal_batch` wrote.
        first: the index that its name says.
        origin: of the ledger.
        verifier: the ledger's key; with it, a batch must be signed by it.

    Raises:
        LedgerError: damaged, of another place, or not signed by the ledger's key.
    """
    name = batch_name(first)
    if len(data) < _HEADER.size:
        raise _damaged(name, "it is cut short")
    magic, signed, nonce, count, digest = _HEADER.unpack_from(data)
    if magic != _MAGIC or signed > 1 or not 0 < count <= MAX_BATCH_ENTRIES:
        raise _damaged(name, "its first bytes are not those of a batch")
    start = _HEADER.size + _SIGNATURE_BYTES * signed
    content = data[start:]
    if hashlib.sha256(content).digest() != digest:
        raise _damaged(name, "its entries do not have the digest that it says")
    if verifier is not None:  # without a signature the empty one does not verify
        message = _signed(data[: _HEADER.size], first, origin)
        try:
            verifier.verify(data[_HEADER.size : start], message)
        except LedgerError as error:
            raise _damaged(name, "the ledger's key did not sign it for this place") from error
    entries = decode_entries(content, count, name=name)
    return Batch(first=first, nonce=nonce, entries=tuple(entries))


def _signed(header: bytes, first: int, origin: str) -> bytes:
    """Return what is signed: no note begins like this, because notes hold no NUL."""
    return b"\0sluicegate batch v1\0%s\0%d\0%s" % (origin.encode(), first, header)


def _damaged(name: str, why: str) -> LedgerError:
    return LedgerError(
        f"{name} of the ledger cannot be used: {why}",
        next_step="somebody other than a gate wrote it, or storage damaged it; keep it as "
        "evidence and find out who may write there",
    )
