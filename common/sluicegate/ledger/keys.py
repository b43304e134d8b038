"""Files that hold the keys of logs and witnesses: a private PEM, and a public *vkey* line."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.errors import KeyFileError
from sluicegate.ledger.note import ED25519, NoteSigner
from sluicegate.storage.local import write_atomically

__all__ = ["load_note_signer", "new_note_key"]


def new_note_key(
    private: Path, public: Path, *, name: str, kind: int = ED25519, password: bytes | None = None
) -> NoteSigner:
    """Generate an Ed25519 key, write both files; the private one only its owner may read.

    Args:
        private: where the PEM file goes.
        public: where the vkey goes.
        name: the origin of the log, or the name of the witness.
        kind: :data:`~sluicegate.ledger.note.ED25519` or ``COSIGNATURE``.
        password: encrypts the private file.

    Raises:
        KeyFileError: a file exists already (keys are never overwritten), or cannot be written.
    """
    signer = NoteSigner(name, Ed25519PrivateKey.generate(), kind)
    vkey = f"{signer.verifier}\n".encode()
    if os.path.lexists(public):
        raise _exists(public)
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pem = signer.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )
    try:
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        write_atomically(public, vkey)
    except FileExistsError as error:
        raise _exists(private) from error
    except OSError as error:
        raise KeyFileError(f"cannot write the key {private}: {error.strerror}") from error
    return signer


def load_note_signer(
    path: Path, *, name: str, kind: int = ED25519, password: bytes | None = None
) -> NoteSigner:
    """Read a private key file of a log or a witness.

    Raises:
        KeyFileError: missing, readable by others, of another kind, or under another password.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(
                f"the key {path} can be read by others",
                next_step=f"chmod 600 {path}; if others may have copied it, make a new key",
            )
        key = serialization.load_pem_private_key(path.read_bytes(), password)
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"cannot open the key {path}: not a private key, or the password is wrong"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key; checkpoints are signed with one")
    return NoteSigner(name, key, kind)


def _exists(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} exists", next_step="keys are never overwritten; choose another name"
    )
