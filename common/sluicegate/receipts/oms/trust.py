"""Who may sign: keys that are known, or certificates that a known authority issued.

ECDSA on the three NIST curves, each with the hash of its size, as the format prescribes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluicegate.canonical import sha256_hex
from sluicegate.errors import KeyFileError, ReceiptError
from sluicegate.receipts.oms.certificates import (
    load_certificates,
    read_chain,
    to_der,
    verify_chain,
)

__all__ = ["CertificateTrust", "KeyTrust", "Material", "Signatory", "Trust"]

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""The hash that goes with each curve: the pairs of Sigstore's ``PublicKeyDetails``."""

_SUBJECT: Final = re.compile(r"[A-Za-z0-9.-]+=")
"""How a subject begins: with the type of an attribute (RFC 4514, section 3). No URI does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a bundle says about its signer: **unsigned**, so only a hint where to look."""

    hint: str | None = None
    """Id of a key, as the tool that signed writes it."""
    certificates: tuple[bytes, ...] = ()
    """DER certificates, leaf first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatory:
    """Who signed, once that is verified."""

    id: str
    """SHA-256 of the key's public PEM, or of the certificate's DER: 64 hexadecimal digits."""
    name: str = ""
    """The certificate's subject (RFC 4514); empty for a bare key."""

    def __str__(self) -> str:
        return f"{self.name} (certificate {self.id})" if self.name else f"key {self.id}"


class Trust(Protocol):
    """A rule that says whose signature counts."""

    def verify(self, material: Material, signature: bytes, message: bytes) -> Signatory:
        """Return who signed ``message``.

        Raises:
            ReceiptError: nobody this rule trusts.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyTrust:
    """Trust in public keys.

    Raises:
        KeyFileError: there is none, or one is not an ECDSA key on a NIST curve, in PEM form.
    """

    pems: tuple[bytes, ...] = field(repr=False)
    """SubjectPublicKeyInfo in PEM, one key each."""
    _keys: dict[str, ec.EllipticCurvePublicKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        keys = dict(_load_key(pem) for pem in self.pems)
        if not keys:
            raise KeyFileError("no key is trusted", next_step="name at least one public key")
        object.__setattr__(self, "_keys", keys)

    @classmethod
    def load(cls, *paths: Path) -> KeyTrust:
        """Read public key files.

        Raises:
            KeyFileError: one is missing, unreadable, or of another kind.
        """
        return cls(tuple(_read(path, "public key") for path in paths))

    def verify(self, material: Material, signature: bytes, message: bytes) -> Signatory:
        """Check a signature with the key that the material names; see :class:`Trust`.

        Without a hint of the usual form every trusted key is tried: a hint is not signed, so
        it can only spare work.
        """
        if material.certificates:
            raise ReceiptError(
                "the signature was made with a certificate, and only keys are trusted here",
                next_step="give the certificate of the authority that issued it as trust anchor",
            )
        named = self._keys.get(material.hint or "")
        if material.hint is not None and named is None and _is_key_id(material.hint):
            raise ReceiptError(f"the signature names key {material.hint[:12]}, not a trusted one")
        candidates = self._keys if named is None else {material.hint or "": named}
        for key_id, key in candidates.items():
            if _signed(key, signature, message):
                return Signatory(id=key_id)
        raise ReceiptError(
            f"the signature does not verify with key {', '.join(name[:12] for name in candidates)}",
            next_step="the content was changed after it was signed, or another key signed it",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTrust:
    """Trust in certificates that an authority issued for signing.

    Raises:
        KeyFileError: ``anchors`` holds no certificate.
    """

    anchors: bytes = field(repr=False)
    """Trusted certificates in PEM: authorities, or a signer's own certificate."""
    at: datetime | None = None
    """Aware time at which the certificates must be valid; ``None`` for now."""
    identity: str | None = None
    """What the leaf must be issued to. The form says which kind of name is meant: ``CN=...``
    the whole subject (RFC 4514); among alternative names, with ``://`` a URI, else with ``@`` a
    mail address, else a DNS name. ``None`` admits whomever the authority admits."""
    _anchors: tuple[x509.Certificate, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_anchors", load_certificates(self.anchors))

    @classmethod
    def load(
        cls, *paths: Path, at: datetime | None = None, identity: str | None = None
    ) -> CertificateTrust:
        """Read certificate files.

        Raises:
            KeyFileError: one is missing or unreadable, or they hold no certificate.
        """
        pem = b"\n".join(_read(path, "trust anchor") for path in paths)
        return cls(anchors=pem, at=at, identity=identity)

    def verify(self, material: Material, signature: bytes, message: bytes) -> Signatory:
        """Check the chain, then the signature with the leaf's key; see :class:`Trust`."""
        if not material.certificates:
            raise ReceiptError(
                "the signature was made with a bare key, and only certificates are trusted here",
                next_step="give the public key of the signer",
            )
        chain = read_chain(material.certificates)
        leaf = verify_chain(chain, self._anchors, at=self.at or datetime.now(UTC))
        self._check_identity(leaf)
        key = leaf.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise ReceiptError("the signing certificate's key is not ECDSA on a NIST curve")
        if not _signed(key, signature, message):
            raise ReceiptError(
                "the signature does not verify with its certificate",
                next_step="the content was changed after it was signed",
            )
        return Signatory(id=sha256_hex(to_der(leaf)), name=leaf.subject.rfc4514_string())

    def _check_identity(self, leaf: x509.Certificate) -> None:
        if self.identity is None:
            return
        what, names = _names_like(self.identity, leaf)
        if self.identity not in names:
            told = f"{what} {', '.join(map(ascii, sorted(names)))}" if names else f"no {what}"
            raise ReceiptError(f"the certificate is issued to {told}, expected {self.identity!a}")


def _names_like(identity: str, leaf: x509.Certificate) -> tuple[str, list[str]]:
    """Return the names of a leaf that are of the kind that an identity is, and that kind.

    An authority that checks one kind of name may not look at another: a DNS name can be
    spelled like somebody's mail address.
    """
    if _SUBJECT.match(identity):
        return "subject", [leaf.subject.rfc4514_string()]
    if "://" in identity:
        return "URI", _alternative_names(leaf, x509.UniformResourceIdentifier)
    if "@" in identity:
        return "mail address", _alternative_names(leaf, x509.RFC822Name)
    return "DNS name", _alternative_names(leaf, x509.DNSName)


def _alternative_names(
    leaf: x509.Certificate,
    kind: type[x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier],
) -> list[str]:
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return [name.value for name in extension.value if isinstance(name, kind)]
    return []


def _load_key(pem: bytes) -> tuple[str, ec.EllipticCurvePublicKey]:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            "this is not a public key in PEM form",
            next_step="give a file that starts with '-----BEGIN PUBLIC KEY-----'",
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise KeyFileError("model signatures are ECDSA on P-256, P-384 or P-521; not this key")
    canonical = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256_hex(canonical), key


def _signed(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def _is_key_id(hint: str) -> bool:
    return len(hint) == 64 and all(char in "0123456789abcdef" for char in hint)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"cannot read the {what} {path}: {error.strerror}") from error
