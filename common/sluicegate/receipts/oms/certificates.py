"""Certificates that sign: is this leaf issued by somebody we trust, for signing, and valid?

Paths are built and checked by the ``cryptography`` library (RFC 5280: signatures, validity,
basic constraints, path lengths, name constraints, unknown critical extensions). Added here: what
the leaf may be used for, and what an issuer may issue: an issuer whose certificate says for what
it issues (extended key usage) must say that it is for signing code. A leaf that is itself among
the trust anchors is trusted by identity, which is how a self-signed certificate works.

Limits: revocation lists and OCSP are not asked. A signature carries no trusted time, so the
certificate must be valid at the moment the caller names, by default now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    ClientVerifier,
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from sluicegate.errors import KeyFileError, ReceiptError

__all__ = ["MAX_CHAIN", "load_certificates", "read_chain", "to_der", "verify_chain"]

MAX_CHAIN: Final = 8
"""Most certificates in a bundle: the depth at which the path builder stops as well."""

_SIGNING: Final = frozenset(
    {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)
"""Extended key usages with which an issuer may issue certificates that sign."""


def load_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file, in its order.

    Raises:
        KeyFileError: there is none, or one is malformed.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            "this file holds no certificates in PEM form",
            next_step="give a file with '-----BEGIN CERTIFICATE-----' blocks",
        ) from error


def to_der(certificate: x509.Certificate) -> bytes:
    """Return the DER bytes of a certificate."""
    return certificate.public_bytes(Encoding.DER)


def read_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Parse the DER certificates of a bundle, leaf first.

    Raises:
        ReceiptError: none, too many, or one is malformed.
    """
    if not 0 < len(chain) <= MAX_CHAIN:
        raise ReceiptError(f"a signature carries 1 to {MAX_CHAIN} certificates, not {len(chain)}")
    try:
        return tuple(x509.load_der_x509_certificate(item) for item in chain)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ReceiptError("a certificate in the signature is malformed") from error


def verify_chain(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], *, at: datetime
) -> x509.Certificate:
    """Return the leaf after checking that an anchor vouches for it.

    Args:
        chain: the leaf, then certificates that may help to build the path; none is trusted.
        anchors: the certificates that are trusted.
        at: aware time at which every certificate of the path must be valid.

    Raises:
        ReceiptError: no path leads to an anchor, or the leaf may not sign.

    Source: RFC 5280, sections 4.2.1.3 (key usage), 4.2.1.12 (extended key usage) and 6.
    """
    leaf = chain[0]
    pinned = leaf in anchors
    if pinned and not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
        raise ReceiptError(
            f"the signing certificate is not valid at {at:%Y-%m-%dT%H:%M:%SZ}: it is valid from "
            f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        )
    try:
        if not pinned:
            _verifier(anchors, at).verify(leaf, list(chain[1:]))
        _check_leaf(leaf, pinned=pinned)
    except (VerificationError, ValueError, x509.ExtensionNotFound, UnsupportedAlgorithm) as error:
        raise ReceiptError(
            f"the signing certificate is not trusted at {at:%Y-%m-%dT%H:%M:%SZ}: {error}",
            next_step="check that the trust anchor issued it, that it was valid at that time, and "
            "that its key usage allows digital signatures",
        ) from error
    return leaf


def _verifier(anchors: Sequence[x509.Certificate], at: datetime) -> ClientVerifier:
    """Return a path builder that asks of CAs what RFC 5280 asks, and not what browsers ask.

    It refuses basic constraints without ``cA`` by itself, once they must be present. That the
    extended key usage of an issuer binds what it issues is no rule of RFC 5280; every code
    signing ecosystem holds to it (CA/Browser Forum, Code Signing Baseline Requirements, 7.1.2.2).
    """
    issuing = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _issues_certificates)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _issues_for_signing)
    )
    return (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(at.astimezone(UTC))
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(ca_policy=issuing, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )


def _issues_certificates(_: Policy, __: x509.Certificate, value: x509.KeyUsage | None) -> None:
    if value is not None and not value.key_cert_sign:
        raise ValueError("an issuer of the chain may not sign certificates")


def _issues_for_signing(
    _: Policy, __: x509.Certificate, value: x509.ExtendedKeyUsage | None
) -> None:
    if value is not None and not _SIGNING.intersection(value):
        raise ValueError("an issuer of the chain may not issue for code signing")


def _check_leaf(leaf: x509.Certificate, *, pinned: bool) -> None:
    extensions = leaf.extensions
    if not extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
        raise ValueError("its key usage does not allow digital signatures")
    for usage in extensions:
        if isinstance(usage.value, x509.ExtendedKeyUsage):
            if ExtendedKeyUsageOID.CODE_SIGNING not in usage.value:
                raise ValueError("its extended key usage does not allow code signing")
        elif isinstance(usage.value, x509.BasicConstraints) and usage.value.ca and not pinned:
            raise ValueError("it belongs to a certificate authority, not to a signer")
