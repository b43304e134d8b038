"""What is wrong with a server's certificates: trust, dates, keys and signatures.

OpenSSL decides about trust, since it does so in the pipeline's clients too; its codes are
put into words here. Dates are compared with the moment of the run as well. Keys and
signatures are read from the certificates that the server presents.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from sluicegate.model import Finding

__all__ = ["HOST_CODES", "dates", "expiry", "keys", "not_after", "trust"]

RSA_BITS: Final = 2048
"""Smallest RSA key with 112 bits of security (NIST SP 800-131A Rev. 2)."""

EC_BITS: Final = 224
"""Smallest elliptic curve with 112 bits of security (NIST SP 800-131A Rev. 2)."""

_BROKEN_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})
"""Hashes by which signatures have been forged (RFC 6151; SHA-1: 2017, 2020)."""

HOST_CODES: Final = frozenset({62, 64})
"""OpenSSL's codes for another host name and another address."""

_TRUST: Final = {
    7: "a signature in the chain is wrong",
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed, and not among the trusted ones",
    19: "the chain ends in an authority that is not trusted",
    20: "the issuer is neither sent by the server nor trusted: an intermediate certificate is "
    "missing, or the authority is not trusted",
    21: "the issuer is neither sent by the server nor trusted: an intermediate certificate is "
    "missing, or the authority is not trusted",
    22: "the chain is too long",
    23: "the certificate is revoked",
    24: "a certificate in the chain may not issue others",
    25: "the chain is longer than an authority allows",
    26: "the certificate is not made for servers",
    27: "the authority is not trusted for this purpose",
    28: "the authority is rejected for this purpose",
    47: "a name is outside of what an authority may vouch for",
    66: "the key of the certificate is too weak",
    67: "the key of an authority is too weak",
    68: "a signature in the chain uses a broken hash",
    79: "a certificate in the chain may not issue others",
}
"""OpenSSL's codes of verification (``x509_vfy.h``) in words."""


def trust(code: int, presented: Sequence[bytes]) -> Finding:
    """Return a finding for a chain that OpenSSL does not trust.

    Args:
        code: OpenSSL's code of verification.
        presented: the server's certificates, DER; empty if they could not be seen.
    """
    words = _TRUST.get(code, "the certificate cannot be verified")
    return Finding(
        message=f"expected a chain of certificates that is trusted, found: {words}",
        evidence={"verify_code": code, "certificates_sent": len(presented), **_who(presented)},
    )


def dates(chain: Sequence[bytes], now: datetime) -> list[Finding]:
    """Return a finding for each certificate of a chain that is not valid at a moment.

    Raises:
        ValueError: a certificate cannot be read.
    """
    findings = []
    for one in _read(chain):
        if now > one.not_valid_after_utc:
            words = f"it expired on {one.not_valid_after_utc:%Y-%m-%d}"
        elif now < one.not_valid_before_utc:
            words = f"it is valid only from {one.not_valid_before_utc:%Y-%m-%d}"
        else:
            continue
        findings.append(
            Finding(
                message=f"expected a certificate that is valid now, found: {words}",
                evidence={"subject": _name(one.subject), **_span(one)},
            )
        )
    return findings


def expiry(chain: Sequence[bytes], now: datetime, days: int) -> list[Finding]:
    """Return a finding for each certificate of a chain that ends within some days.

    Raises:
        ValueError: a certificate cannot be read.
    """
    return [
        Finding(
            message=f"expected a certificate that is valid for {days} more days, found: it ends on "
            f"{one.not_valid_after_utc:%Y-%m-%d}",
            evidence={"subject": _name(one.subject), **_span(one), "certificate_days": days},
        )
        for one in _read(chain)
        if one.not_valid_after_utc < now + timedelta(days=days)
    ]


def keys(presented: Sequence[bytes]) -> list[Finding]:
    """Return findings for weak keys and broken signatures in what a server presents.

    The signature of an authority on itself is not judged: nobody relies on it.

    Raises:
        ValueError: a certificate cannot be read.
    """
    findings = []
    for place, one in enumerate(_read(presented)):
        evidence = {"subject": _name(one.subject), "place": place}
        weak = _weak_key(one)
        if weak:
            findings.append(Finding(message=weak, evidence=evidence))
        own = place > 0 and one.subject == one.issuer
        name = _hash_name(one)
        if name in _BROKEN_HASHES and not own:
            findings.append(
                Finding(
                    message=f"expected signatures with SHA-256 or better, found {name.upper()}",
                    evidence=evidence,
                )
            )
    return findings


def not_after(chain: Sequence[bytes]) -> str:
    """Return the day on which the first certificate of a chain to end does so; ISO 8601.

    Raises:
        ValueError: a certificate cannot be read, or there is none.
    """
    return f"{min(one.not_valid_after_utc for one in _read(chain)):%Y-%m-%d}"


def _read(chain: Sequence[bytes]) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(one) for one in chain]


def _weak_key(one: x509.Certificate) -> str:
    try:
        key = one.public_key()
    except UnsupportedAlgorithm:
        return "expected an RSA, elliptic-curve or Edwards key, found another kind"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        return f"expected an RSA key of at least {RSA_BITS} bits, found {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < EC_BITS:
        return f"expected a curve of at least {EC_BITS} bits, found {key.curve.key_size}"
    if isinstance(key, dsa.DSAPublicKey):
        return "expected an RSA, elliptic-curve or Edwards key, found DSA"
    return ""


def _hash_name(one: x509.Certificate) -> str:
    """Return the hash of a signature; empty for those that bring their own (Ed25519)."""
    try:
        algorithm = one.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return _OLD_SIGNATURES.get(one.signature_algorithm_oid.dotted_string, "")
    return algorithm.name if algorithm else ""


_OLD_SIGNATURES: Final = {
    "1.2.840.113549.1.1.2": "md2",
    "1.2.840.113549.1.1.3": "md4",
    "1.2.840.113549.1.1.4": "md5",
}
"""Signatures that cryptography may not know any more (RFC 8017, appendix C)."""


def _who(presented: Sequence[bytes]) -> dict[str, str]:
    """Return whose certificate it is, if it can be read."""
    try:
        leaf = x509.load_der_x509_certificate(presented[0])
    except (IndexError, ValueError):
        return {}
    return {"subject": _name(leaf.subject), "issuer": _name(leaf.issuer), **_span(leaf)}


def _span(one: x509.Certificate) -> dict[str, str]:
    return {
        "not_before": f"{one.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{one.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


def _name(name: x509.Name) -> str:
    """Return a name from outside, short and printable."""
    text = name.rfc4514_string()
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
