"""A small file that holds secrets: encrypted, authenticated, replaced whole.

AES-256-GCM. The key comes from a password (scrypt) where one is set, else from a random key
file beside it. Then whoever reads both files reads the secrets, as with a signing key without
password; but a copy of the one file, in a backup or a ticket, tells nothing, and an edit of it
is noticed. What no such file can notice is that an older copy of itself was put back.

On disk, canonical JSON::

    {"header": {"kind": "sluicegate-approvers/v1",
                "key": {"from": "password", "kdf": "scrypt", "n": …, "r": …, "p": …,
                        "salt": "<base64>"}        or  {"from": "file"}},
     "nonce": "<base64, 12 bytes>", "ciphertext": "<base64, tag included>"}

The canonical JSON of ``header`` is the additional authenticated data.

Source: NIST SP 800-38D (GCM), RFC 7914 (scrypt).
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sluicegate.canonical import Json, canonical_json, parse_json
from sluicegate.errors import KeyFileError
from sluicegate.storage.local import write_atomically

__all__ = ["SealedFile"]

_KIND: Final = "sluicegate-approvers/v1"
_SCRYPT: Final = {"n": 1 << 15, "r": 8, "p": 3}
"""Cost of a guess: 32 MiB, three times. One of the settings that the OWASP Password Storage
Cheat Sheet lists as equal. Fixed: a file cannot ask for less, nor for all the memory."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MOST_BYTES: Final = 4 << 20
"""Size of the file; a thousand approvers need a tenth of it."""
_PATIENCE: Final = 30.0
"""Seconds to wait for another process; each holds the file for less than one."""


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file of secrets and what opens it."""

    path: Path
    password: bytes | None = field(default=None, repr=False)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file: nobody else reads or replaces it meanwhile, in any process.

        Raises:
            KeyFileError: the folder cannot be written, or somebody holds the file for long.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        except OSError as error:
            raise KeyFileError(f"cannot lock {self.path}: {error.strerror}") from error
        try:
            self._wait(descriptor)
            yield
        finally:
            os.close(descriptor)  # which gives up the lock

    def _wait(self, descriptor: int) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise KeyFileError(
                        f"another process has held {self.path} for {_PATIENCE:.0f} seconds",
                        next_step="find out which one; nothing was decided",
                    ) from error
                time.sleep(0.01)

    def exists(self) -> bool:
        """Return whether the file is there."""
        return os.path.lexists(self.path)

    def read(self) -> Json:
        """Return what the file holds.

        Raises:
            KeyFileError: missing, readable by others, changed, or under another password.
        """
        try:
            document = parse_json(_read_private(self.path))
            header = document["header"]
            box = base64.b64decode(document["ciphertext"], validate=True)
            nonce = base64.b64decode(document["nonce"], validate=True)
            if set(document) != {"header", "nonce", "ciphertext"} or header["kind"] != _KIND:
                raise ValueError("another kind of file")
            key = self._key(header["key"])
            return parse_json(AESGCM(key).decrypt(nonce, box, canonical_json(header)))
        except InvalidTag as error:
            raise KeyFileError(
                f"cannot open {self.path}: it was changed, or the password is wrong",
                next_step="set SLUICEGATE_KEY_PASSWORD_FILE; if the password is right, find out "
                "who changed the file",
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise KeyFileError(f"{self.path} is not a file of approvers, or is damaged") from error

    def write(self, value: Json) -> None:
        """Replace the file, durably; only its owner may read it.

        Raises:
            KeyFileError: it cannot be written.
        """
        try:
            source = self._new_source() if not self.exists() else self._source()
            header = {"kind": _KIND, "key": source}
            nonce = secrets.token_bytes(_NONCE_BYTES)
            box = AESGCM(self._key(source)).encrypt(
                nonce, canonical_json(value), canonical_json(header)
            )
            document = {
                "header": header,
                "nonce": base64.b64encode(nonce).decode(),
                "ciphertext": base64.b64encode(box).decode(),
            }
            write_atomically(self.path, canonical_json(document), mode=0o600)
        except OSError as error:
            raise KeyFileError(f"cannot write {self.path}: {error.strerror}") from error

    @property
    def _key_path(self) -> Path:
        return self.path.with_suffix(".key")

    def _source(self) -> Json:
        """Return where the key of the file that is there comes from."""
        return parse_json(_read_private(self.path))["header"]["key"]

    def _new_source(self) -> Json:
        """Decide where the key of a new file comes from; make the key if it is a file."""
        if self.password is not None:
            salt = base64.b64encode(secrets.token_bytes(16)).decode()
            return {"from": "password", "kdf": "scrypt", **_SCRYPT, "salt": salt}
        if not os.path.lexists(self._key_path):
            write_atomically(self._key_path, secrets.token_bytes(_KEY_BYTES), mode=0o600)
        return {"from": "file"}

    def _key(self, source: Json) -> bytes:
        if source == {"from": "file"}:
            if self.password is not None:
                # Else whoever can write here could put a file of their own in its place.
                raise KeyFileError(
                    f"{self.path} is not under the password that is set",
                    next_step="if it was made without one: move it away and enrol the approvers "
                    "again",
                )
            key = _read_private(self._key_path)
            if len(key) != _KEY_BYTES:
                raise ValueError("not a key")
            return key
        salt = base64.b64decode(source["salt"], validate=True)
        if source != {"from": "password", "kdf": "scrypt", **_SCRYPT, "salt": source["salt"]}:
            raise ValueError("another derivation")
        if self.password is None:
            raise KeyFileError(
                f"{self.path} is under a password",
                next_step="set SLUICEGATE_KEY_PASSWORD_FILE to a file that holds it",
            )
        return Scrypt(salt=salt, length=_KEY_BYTES, **_SCRYPT).derive(self.password)


def _read_private(path: Path) -> bytes:
    """Return the content of a file that only its owner may read.

    Raises:
        KeyFileError: missing, a link, too large, or readable by others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as source:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise KeyFileError(
                    f"{path} is no plain file, or can be read by others",
                    next_step=f"chmod 600 {path}; if others may have copied it, enrol again",
                )
            content = source.read(_MOST_BYTES + 1)
    except OSError as error:
        raise KeyFileError(
            f"cannot read {path}: {error.strerror}",
            next_step="`sluicegate approvers enrol NAME` makes it",
        ) from error
    if len(content) > _MOST_BYTES:
        raise KeyFileError(f"{path} is larger than {_MOST_BYTES} bytes")
    return content
