"""Keys: what signs receipts, and the public half that verifies them.

ECDSA on P-256 with SHA-256, because every verifier that users have takes it. A key's id is
the SHA-256 of the text of its public PEM, which is what Sigstore bundles call the hint.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluicegate.canonical import sha256_hex
from sluicegate.errors import KeyFileError, ReceiptError
from sluicegate.storage.local import write_atomically

__all__ = ["FileSigner", "PublicKey", "Signer", "new_key_pair", "write_public_key"]

_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_MAX_FILE_BYTES: Final = 64 << 10
"""A key file has some hundred bytes; comments before the PEM text are allowed."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A P-256 public key.

    Raises:
        KeyFileError: ``pem`` is not the PEM text of one.
    """

    pem: bytes
    """SubjectPublicKeyInfo in PEM, as ``openssl`` writes it."""
    id: str = field(init=False)
    """SHA-256 of :attr:`pem`, 64 hexadecimal digits: the hint in a bundle."""
    _key: ec.EllipticCurvePublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            key = serialization.load_pem_public_key(self.pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(
                "this is not a public key in PEM form",
                next_step="use the .pub.pem file that `sluicegate init` wrote",
            ) from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise KeyFileError("receipts are signed with ECDSA P-256; this key is of another kind")
        canonical = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        object.__setattr__(self, "pem", canonical)
        object.__setattr__(self, "id", sha256_hex(canonical))
        object.__setattr__(self, "_key", key)

    @classmethod
    def load(cls, path: Path) -> PublicKey:
        """Read a public key file.

        Raises:
            KeyFileError: missing, unreadable, or of another kind.
        """
        try:
            data, _ = _read(path)
        except OSError as error:
            raise KeyFileError(f"cannot read the public key {path}: {error.strerror}") from error
        try:
            return cls(data)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error.what}", next_step=error.next_step) from error

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if ``signature`` (DER) is this key's over ``message``.

        Raises:
            ReceiptError: it is not.
        """
        try:
            self._key.verify(signature, message, _ALGORITHM)
        except InvalidSignature as error:
            raise ReceiptError(f"the signature is not by key {self.id[:12]}") from error


class Signer(Protocol):
    """Something that holds a private key."""

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the DER-encoded ECDSA P-256 SHA-256 signature of ``message``."""
        ...


class FileSigner:
    """A private key in a PEM file, optionally under a password."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Sign with a key that is already in memory; see :meth:`load`."""
        self._key = key
        self._public = PublicKey(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @classmethod
    def load(cls, path: Path, password: bytes | None = None) -> FileSigner:
        """Read a private key file.

        Raises:
            KeyFileError: missing, readable by others, of another kind, or under another
                password.
        """
        try:
            data, mode = _read(path)
        except OSError as error:
            raise KeyFileError(
                f"cannot read the signing key {path}: {error.strerror}",
                next_step="set SLUICEGATE_SIGNING_KEY to the private key file, or run "
                "`sluicegate init`",
            ) from error
        if mode & 0o077:
            raise KeyFileError(
                f"the signing key {path} can be read by others",
                next_step=f"chmod 600 {path}; if others may have copied it, make a new key",
            )
        try:
            key = serialization.load_pem_private_key(data, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(
                f"cannot open the signing key {path}: not a private key, or the password is wrong",
                next_step="set SLUICEGATE_KEY_PASSWORD_FILE to a file that holds the password",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise KeyFileError(f"{path} is not an ECDSA P-256 key")
        return cls(key)

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return the DER-encoded signature of ``message``."""
        return self._key.sign(message, _ALGORITHM)

    def __repr__(self) -> str:
        return f"FileSigner(key={self._public.id[:12]})"


def new_key_pair(private: Path, public: Path, *, password: bytes | None = None) -> FileSigner:
    """Generate a key pair and write both files; the private one only its owner may read.

    Raises:
        KeyFileError: a file exists already. Keys are never overwritten.
    """
    if os.path.lexists(public):
        raise _exists(public)
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    signer = FileSigner(key)
    try:
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Exclusive creation: of two processes that make a key here, one fails.
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        write_atomically(public, signer.public_key.pem)
    except FileExistsError as error:
        raise _exists(private) from error
    except OSError as error:
        raise KeyFileError(f"cannot write the key {private}: {error.strerror}") from error
    return signer


def write_public_key(path: Path, key: PublicKey) -> None:
    """Write the public half of a key that lies elsewhere.

    Raises:
        KeyFileError: the file exists already (keys are never overwritten), or cannot be written.
    """
    if os.path.lexists(path):
        raise _exists(path)
    try:
        write_atomically(path, key.pem)
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error


def _read(path: Path) -> tuple[bytes, int]:
    """Return a file's content and mode, both of one open file; raises OSError as well."""
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


def _exists(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} exists", next_step="keys are never overwritten; choose another name"
    )
