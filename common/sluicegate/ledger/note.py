"""Signed notes, and the checkpoints of a log that are written as such.

A note is text under signatures, each by a named key. A checkpoint is a note that says how
many entries a log has and what the root of its tree is. Whoever signs two checkpoints that
no consistency proof joins has shown everybody that it lies.

A witness signs the same text with the time at which it saw it (a *cosignature*), after it
made sure that the log only grew since the last time. So a log that shows different people
different histories needs the help of its witnesses.

Sources: C2SP signed-note, tlog-checkpoint and tlog-cosignature (Ed25519 only).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sluicegate.errors import KeyFileError, LedgerError
from sluicegate.merkle import EMPTY_ROOT

__all__ = [
    "Checkpoint",
    "Cosignature",
    "NoteSigner",
    "NoteVerifier",
    "SignedCheckpoint",
    "cosign",
    "sign_checkpoint",
]

ED25519: Final = 1
"""Signature type of a log's own signature."""
COSIGNATURE: Final = 4
"""Signature type of a witness's timestamped cosignature."""
MAX_NOTE_BYTES: Final = 64 << 10
"""Largest note that is read: far beyond a checkpoint with a hundred cosignatures."""
MAX_SIGNATURES: Final = 100
"""The format asks verifiers to accept at least 16."""
_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s+]+")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A named Ed25519 public key, written as a *vkey*: ``name+hex(id)+base64(type || key)``.

    Raises:
        KeyFileError: the name holds white space or ``+``, or the key has not 32 bytes.
    """

    name: str
    """A log's key carries the log's origin; a witness's key its own name."""
    public: bytes
    """Ed25519 public key, 32 bytes."""
    kind: int = ED25519
    """:data:`ED25519` for a log, :data:`COSIGNATURE` for a witness."""
    id: bytes = field(init=False)
    """Four bytes that find the key among others; no proof of anything."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public) != 32:
            raise KeyFileError(
                "a note key has a name without white space or '+', and an Ed25519 key of 32 bytes"
            )
        if self.kind not in (ED25519, COSIGNATURE):
            raise KeyFileError(f"note keys of type {self.kind} are not supported, only Ed25519")
        material = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        object.__setattr__(self, "id", hashlib.sha256(material).digest()[:_KEY_ID_BYTES])

    @classmethod
    def parse(cls, vkey: str) -> NoteVerifier:
        """Read a vkey.

        Raises:
            KeyFileError: malformed, of another type, or its id does not belong to it.
        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            material = base64.b64decode(encoded.encode("ascii"), validate=True)
            verifier = cls(name, material[1:], material[0])
            fits = bytes.fromhex(key_id) == verifier.id and key_id == key_id.lower()
        except (ValueError, IndexError, UnicodeEncodeError) as error:
            raise _no_vkey() from error
        if not fits:
            raise _no_vkey()
        return verifier

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if ``signature`` (64 bytes) is this key's over ``message``.

        Raises:
            LedgerError: it is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise LedgerError(f"a signature is not by the key {self.name}") from error


def _no_vkey() -> KeyFileError:
    return KeyFileError(
        "this is no note key: expected name+id+base64, one line",
        next_step="use the .vkey file that `sluicegate init` or `sluicegate keys new` wrote",
    )


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """An Ed25519 private key with the name under which it signs notes."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)
    kind: int = ED25519

    @property
    def verifier(self) -> NoteVerifier:
        """The public half."""
        return NoteVerifier(self.name, self.key.public_key().public_bytes_raw(), self.kind)

    def line(self, signature: bytes) -> str:
        """Return the signature line of a note, with its line end."""
        return f"{_DASH}{self.name} {base64.b64encode(self.verifier.id + signature).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How long a log was and what it held: the text that is signed.

    Raises:
        LedgerError: an empty origin, a root of the wrong length, or an empty log with a root
            that is not the empty tree's.
    """

    origin: str
    """Which log; one line."""
    size: int
    """Number of entries."""
    root: bytes
    """RFC 6962 root over them, 32 bytes."""
    extensions: tuple[str, ...] = ()
    """Further lines, signed and without meaning to us; sluicegate writes none."""

    def __post_init__(self) -> None:
        plain = self.origin.isprintable() and self.origin.strip()
        if not plain or self.size < 0 or len(self.root) != 32:
            raise LedgerError("a checkpoint has an origin, a size from 0 and a root of 32 bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise LedgerError("a checkpoint of an empty log has a root that is not the empty one")

    def text(self) -> str:
        """Return the text, which ends with a line end."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode())
        return "".join(f"{line}\n" for line in (*lines, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note.

        Raises:
            LedgerError: not a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or "" in lines or not _NUMBER.fullmatch(lines[1]):
            raise LedgerError("a checkpoint is three lines or more: origin, size, root")
        try:
            root = base64.b64decode(lines[2].encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise LedgerError("the root of a checkpoint is not base64") from error
        checkpoint = cls(
            origin=lines[0], size=int(lines[1]), root=root, extensions=tuple(lines[3:])
        )
        if checkpoint.text() != text:
            raise LedgerError("the checkpoint is not written in its one canonical form")
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """That a witness saw a checkpoint, and when it says it did."""

    witness: NoteVerifier
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint with its signature lines, **not yet verified**."""

    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """``(key name, key id, signature)`` of each line."""
    note: bytes
    """The bytes it was read from."""

    @classmethod
    def parse(cls, note: bytes) -> SignedCheckpoint:
        """Read a signed note that holds a checkpoint; without signatures it is read as well.

        Raises:
            LedgerError: not one.
        """
        if len(note) > MAX_NOTE_BYTES:
            raise LedgerError(f"a checkpoint has at most {MAX_NOTE_BYTES:,} bytes")
        try:
            text = note.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LedgerError("the checkpoint is not UTF-8") from error
        body, gap, tail = text.rpartition("\n\n")
        if not gap or any(ord(char) < 32 and char != "\n" for char in text):
            raise LedgerError("the checkpoint is no signed note: text, an empty line, signatures")
        if tail and not tail.endswith("\n"):
            raise LedgerError("the last signature line of the checkpoint is cut off")
        lines = tail.split("\n")[:-1]
        if len(lines) > MAX_SIGNATURES:
            raise LedgerError(f"a checkpoint has at most {MAX_SIGNATURES} signatures")
        return cls(
            checkpoint=Checkpoint.parse(body + "\n"),
            signatures=tuple(map(_signature, lines)),
            note=note,
        )

    def verify(self, log: NoteVerifier) -> Checkpoint:
        """Return the checkpoint if the log's key signed it.

        Raises:
            LedgerError: another origin than the key's name, no signature by this key, or one
                that does not verify.
        """
        if self.checkpoint.origin != log.name:
            raise LedgerError(
                f"the checkpoint is of the log {self.checkpoint.origin!r}, expected {log.name!r}"
            )
        found = self._by(log)
        if not found:
            raise LedgerError(
                f"the checkpoint is not signed by the log's key {log.name}+{log.id.hex()}",
                next_step="list the key that signs it under `ledger` in the policy, or restore "
                "the ledger",
            )
        for signature in found:
            log.verify(signature, self.checkpoint.text().encode())
        return self.checkpoint

    def cosignatures(self, witnesses: Iterable[NoteVerifier]) -> tuple[Cosignature, ...]:
        """Return which of these witnesses cosigned it; each once, with its newest time.

        Raises:
            LedgerError: a line that names one of them does not verify.
        """
        found: dict[NoteVerifier, datetime] = {}
        for witness in witnesses:
            for line in self._by(witness):
                seconds = int.from_bytes(line[:_TIME_BYTES], "big")
                message = _cosigned(self.checkpoint.text(), seconds)
                witness.verify(line[_TIME_BYTES:], message)
                moment = _moment(seconds)
                found[witness] = max(moment, found.get(witness, moment))
        return tuple(Cosignature(witness=key, time=time) for key, time in found.items())

    def _by(self, key: NoteVerifier) -> list[bytes]:
        return [
            signature
            for name, key_id, signature in self.signatures
            if (name, key_id) == (key.name, key.id)
        ]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        blob = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise LedgerError("a signature line of the checkpoint is not base64") from error
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(blob) <= _KEY_ID_BYTES:
        raise LedgerError("a signature line of the checkpoint is malformed")
    return name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:]


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise LedgerError("a cosignature has a time that does not exist") from error


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner | None) -> bytes:
    """Return a checkpoint as a signed note; without a signer, as text without signatures.

    The caller owes: that the checkpoint extends every one that was signed before.

    Raises:
        LedgerError: the signer's name is not the origin.
    """
    text = checkpoint.text()
    if signer is None:
        return f"{text}\n".encode()
    if signer.name != checkpoint.origin:
        raise LedgerError(f"the key {signer.name!r} cannot sign for the log {checkpoint.origin!r}")
    return f"{text}\n{signer.line(signer.key.sign(text.encode()))}".encode()


def cosign(
    signed: SignedCheckpoint, signer: NoteSigner, *, clock: Callable[[], datetime] | None = None
) -> str:
    """Return a witness's signature line for a checkpoint.

    The caller owes: that the log's own signature verifies, and that the checkpoint extends
    the last one that this witness cosigned for the log.

    Raises:
        LedgerError: the signer is no witness's.
    """
    if signer.kind != COSIGNATURE:
        raise LedgerError(f"the key {signer.name!r} is a log's, not a witness's")
    seconds = int((clock or _now)().timestamp())
    signature = signer.key.sign(_cosigned(signed.checkpoint.text(), seconds))
    return signer.line(seconds.to_bytes(_TIME_BYTES, "big") + signature)


def _now() -> datetime:
    return datetime.now(UTC)
