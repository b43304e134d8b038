"""Files that hold the keys of logs and witnesses: a private PEM, and a public *vkey* line."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.errors import KeyFileError
from sluicegate.ledger.note import ED25519, NoteSigner
from sluicegate.storage.keyfiles import (
    load_private_pem,
    private_pem,
    read_private_file,
    write_key_pair,
)

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
    write_key_pair(private, private_pem(signer.key, password), public, vkey)
    return signer


def load_note_signer(
    path: Path, *, name: str, kind: int = ED25519, password: bytes | None = None
) -> NoteSigner:
    """Read a private key file of a log or a witness.

    Raises:
        KeyFileError: missing, readable by others, of another kind, or under another password.
    """
    data = read_private_file(path, what="key")
    try:
        key = load_private_pem(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"cannot open the key {path}: not a private key, or the password is wrong"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key; checkpoints are signed with one")
    return NoteSigner(name, key, kind)
