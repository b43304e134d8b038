"""Keys: what signs receipts, and the public half that verifies them.

ECDSA on P-256 with SHA-256, because every verifier that users have takes it. A key's id is
the SHA-256 of the text of its public PEM, which is what Sigstore bundles call the hint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluicegate.canonical import sha256_hex
from sluicegate.errors import KeyFileError, ReceiptError
from sluicegate.storage.keyfiles import (
    load_private_pem,
    private_pem,
    read_key_file,
    read_private_file,
    write_key_file,
    write_key_pair,
)

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
            data, _ = read_key_file(path)
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
        data = read_private_file(
            path,
            what="signing key",
            next_step="set SLUICEGATE_SIGNING_KEY to the private key file, or run "
            "`sluicegate init`",
        )
        try:
            key = load_private_pem(data, password)
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
    key = ec.generate_private_key(ec.SECP256R1())
    signer = FileSigner(key)
    write_key_pair(private, private_pem(key, password), public, signer.public_key.pem)
    return signer


def write_public_key(path: Path, key: PublicKey) -> None:
    """Write the public half of a key that lies elsewhere.

    Raises:
        KeyFileError: the file exists already (keys are never overwritten), or cannot be written.
    """
    write_key_file(path, key.pem)
