"""Files that hold keys: private ones that only their owner may read, made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from sluicegate.errors import KeyFileError
from sluicegate.storage.local import write_atomically

__all__ = [
    "load_private_pem",
    "private_pem",
    "read_key_file",
    "read_private_file",
    "write_key_file",
    "write_key_pair",
]

_MAX_FILE_BYTES: Final = 64 << 10
"""Far more than any key in PEM takes."""


def read_key_file(path: Path) -> tuple[bytes, int]:
    """Return a file's content and mode, both of one open file.

    Raises:
        KeyFileError: not a file, or too large for a key.
        OSError: it cannot be opened.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyFileError(f"{path} is not a file")
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise KeyFileError(f"{path} is larger than any key: {_MAX_FILE_BYTES:,} bytes are read")
    return data, mode


def read_private_file(path: Path, *, what: str, next_step: str = "") -> bytes:
    """Return the content of a file that only its owner may read.

    Args:
        path: the file.
        what: what it is, for messages.
        next_step: what to do if it is missing.

    Raises:
        KeyFileError: missing, no file, too large, or readable by others.
    """
    try:
        data, mode = read_key_file(path)
    except OSError as error:
        raise KeyFileError(
            f"cannot read the {what} {path}: {error.strerror}", next_step=next_step
        ) from error
    if mode & 0o077:
        raise KeyFileError(
            f"the {what} {path} can be read by others",
            next_step=f"chmod 600 {path}; if others may have copied it, make a new key",
        )
    return data


def load_private_pem(data: bytes, password: bytes | None) -> PrivateKeyTypes:
    """Read a private key; a password is for the keys that are under one.

    Raises:
        ValueError: not a private key, or under another password.
        TypeError: under a password, and none was given.
        UnsupportedAlgorithm: of a kind that the library does not know.
    """
    encrypted = b"ENCRYPTED" in data
    return serialization.load_pem_private_key(data, password if encrypted else None)


def private_pem(key: PrivateKeyTypes, password: bytes | None) -> bytes:
    """Return a private key of the ``cryptography`` library as PKCS #8 in PEM."""
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )


def write_key_file(path: Path, content: bytes) -> None:
    """Write a public key file that is not there yet.

    Raises:
        KeyFileError: it exists (keys are never overwritten), or cannot be written.
    """
    if os.path.lexists(path):
        raise _exists(path)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error


def write_key_pair(private: Path, pem: bytes, public: Path, text: bytes) -> None:
    """Write both halves of a new key; the private one only its owner may read.

    Raises:
        KeyFileError: one of them exists (keys are never overwritten), or cannot be written.
    """
    if os.path.lexists(public):
        raise _exists(public)
    try:
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Exclusive creation: of two processes that make a key here, one fails.
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        write_atomically(public, text)
    except FileExistsError as error:
        raise _exists(private) from error
    except OSError as error:
        raise KeyFileError(f"cannot write the key {private}: {error.strerror}") from error


def _exists(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} exists", next_step="keys are never overwritten; choose another name"
    )
