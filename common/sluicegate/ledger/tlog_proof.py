"""A proof that an entry is in a ledger, as one text file that is checked offline.

It holds the place of the entry, the audit path, and the signed checkpoint that the path leads
to. Who checks it needs the entry, the ledger's public key, and nothing else.

Source: C2SP tlog-proof, version 1.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import Ledger
from sluicegate.ledger.note import MAX_NOTE_BYTES, Checkpoint, SignedCheckpoint
from sluicegate.ledger.proofs import verify_inclusion
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.tiles import HASH_BYTES, TileTree
from sluicegate.merkle import leaf_hash

__all__ = ["MAX_PROOF_BYTES", "TlogProof", "check_signatures", "encode_consistency"]

_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")
_MAX_PATH: Final = 63
"""Nodes of an audit path: as many levels as a tree of 2**63 entries has."""
_MAX_EXTRA_BYTES: Final = 64 << 10
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 2 * _MAX_EXTRA_BYTES
"""Longest proof that is read: a checkpoint, extra data in base64, and a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """An inclusion proof with its checkpoint, **not yet verified**."""

    index: int
    """Place of the entry, from 0."""
    path: tuple[bytes, ...]
    """Audit path, nearest sibling first."""
    signed: SignedCheckpoint
    """The checkpoint that it leads to."""
    extra: bytes | None = None
    """Further data that nothing authenticates; sluicegate writes none."""

    @classmethod
    def of(cls, ledger: Ledger, signed: SignedCheckpoint, index: int) -> TlogProof:
        """Prove that an entry is in a ledger, and check the proof.

        Args:
            ledger: it holds the entry.
            signed: a checkpoint of it.
            index: place of the entry.

        Raises:
            LedgerError: there is no such entry, or the ledger is damaged.
        """
        tree = TileTree(ledger.tiles, signed.checkpoint.size)
        entry = tree.entry(index)
        proof = cls(index=index, path=tree.inclusion_proof(index), signed=signed)
        proof.verify_path(entry)
        return proof

    @classmethod
    def parse(cls, content: bytes) -> TlogProof:
        """Read a proof.

        Raises:
            LedgerError: it is none, or not in the one form that the format allows.
        """
        if len(content) > MAX_PROOF_BYTES:
            raise _no_proof(f"it has more than {MAX_PROOF_BYTES:,} bytes")
        head, gap, note = content.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise _no_proof("it is not ASCII before the checkpoint") from error
        if not gap or lines[0] != _FIRST_LINE:
            raise _no_proof(f"expected {_FIRST_LINE!r}, and an empty line before the checkpoint")
        del lines[0]
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _base64(lines.pop(0).removeprefix("extra "))
        found = _INDEX.fullmatch(lines[0]) if lines else None
        if found is None or len(lines) > 1 + _MAX_PATH:
            raise _no_proof("expected the index of the entry, then at most 63 hashes")
        path = tuple(map(_base64, lines[1:]))
        if any(len(node) != HASH_BYTES for node in path):
            raise _no_proof(f"every hash has {HASH_BYTES} bytes")
        signed = SignedCheckpoint.parse(note)
        return cls(index=int(found[1]), path=path, signed=signed, extra=extra)

    def encode(self) -> bytes:
        """Return the file; it is called ``….tlog-proof``."""
        lines = [_FIRST_LINE]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        return _with_checkpoint(lines, self.path, self.signed)

    def verify_path(self, entry: bytes) -> None:
        """Return if the path leads from ``entry`` to the checkpoint, which is not verified.

        Raises:
            LedgerError: it does not.
        """
        verify_inclusion(
            leaf_index=self.index,
            tree_size=self.signed.checkpoint.size,
            leaf_hash=leaf_hash(entry),
            proof=self.path,
            root=self.signed.checkpoint.root,
        )

    def verify(self, entry: bytes, settings: LedgerSettings) -> Checkpoint:
        """Return the checkpoint if the entry is in the ledger that a policy means.

        Needs no access to the ledger.

        Raises:
            LedgerError: no key of the ledger is known, the checkpoint is not signed by it, too
                few witnesses cosigned it, or the entry is not under its root.
        """
        checkpoint = check_signatures(self.signed, settings)
        self.verify_path(entry)
        return checkpoint


def check_signatures(signed: SignedCheckpoint, settings: LedgerSettings) -> Checkpoint:
    """Return a checkpoint if it is signed and cosigned as a policy asks.

    Raises:
        LedgerError: the policy names no key, or a signature is missing or does not verify.
    """
    if settings.key is None:
        raise LedgerError(
            "the policy names no key of the ledger, so a proof away from it shows nothing",
            next_step="sign the ledger, and list its vkey under `ledger` in the policy",
        )
    checkpoint = signed.verify(settings.key)
    found = signed.cosignatures(settings.witnesses)
    if len(found) < settings.witnessed_by:
        raise LedgerError(
            f"{len(found)} trusted witnesses cosigned the checkpoint, and the policy asks for "
            f"{settings.witnessed_by}",
            next_step="`sluicegate ledger cosign`, then prove again",
        )
    return checkpoint


def encode_consistency(ledger: Ledger, signed: SignedCheckpoint, old: int) -> bytes:
    """Return the proof that a ledger of ``old`` entries grew into that of a checkpoint.

    It is the text that a witness is sent: ``old <size>``, the nodes of the proof, an empty
    line, and the newer checkpoint.

    Raises:
        LedgerError: the sizes prove nothing, or the ledger is damaged.

    Source: C2SP tlog-witness, add-checkpoint.
    """
    tree = TileTree(ledger.tiles, signed.checkpoint.size)
    return _with_checkpoint([f"old {old}"], tree.consistency_proof(old), signed)


def _with_checkpoint(lines: list[str], nodes: tuple[bytes, ...], signed: SignedCheckpoint) -> bytes:
    lines += (base64.b64encode(node).decode() for node in nodes)
    return "\n".join(lines).encode() + b"\n\n" + signed.note


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _no_proof("a line is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise _no_proof("a line is not in the one form that base64 has")
    return data


def _no_proof(why: str) -> LedgerError:
    return LedgerError(
        f"this is no proof that an entry is in a ledger: {why}",
        next_step="`sluicegate ledger prove ENTRY --out FILE` writes one",
    )
