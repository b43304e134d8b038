"""The signed wrapping: a Sigstore bundle v0.3 around a DSSE envelope or a bare signature.

Bytes in, verified bytes out: the payload is not looked into before its signature verified,
and what verified is what is parsed. One signature only, because verifiers differ in which
of several they look at; the DSSE v1 encoding only, because an earlier one is ambiguous.
Transparency log entries and timestamps in a bundle are not looked at and count for nothing.

Sources: DSSE 1.0.2; Sigstore bundle format 0.3; OpenSSF Model Signing v1.0, which keeps the
certificate chain (``x509CertificateChain``) that later Sigstore bundles reduce to one leaf.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.errors import ReceiptError
from sluicegate.receipts.bundle import MEDIA_TYPE, PAYLOAD_TYPE, pre_authentication_encoding
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.oms.trust import Material, Signatory, Trust

__all__ = [
    "MAX_BUNDLE_BYTES",
    "Envelope",
    "decode",
    "member",
    "read_bundle",
    "read_material",
    "seal",
]

MAX_BUNDLE_BYTES: Final = 128 << 20
"""Largest bundle: some 600,000 files, and half a gigabyte of memory while it is read."""


def seal(payload: bytes, signer: Signer, *, chain: Sequence[bytes] = ()) -> bytes:
    """Sign an in-toto statement and return the bundle's bytes.

    Args:
        payload: the statement.
        signer: who signs.
        chain: DER certificates, leaf first, to name the signer by instead of its key's id.

    Raises:
        ReceiptError: the bundle would be larger than verifiers read.
    """
    material: dict[str, Json] = {"publicKey": {"hint": signer.public_key.id}}
    if chain:
        certificates = [{"rawBytes": base64.b64encode(item).decode()} for item in chain]
        material = {"x509CertificateChain": {"certificates": certificates}}
    signature = signer.sign(pre_authentication_encoding(payload))
    value: Json = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {**material, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    bundle = json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise ReceiptError(
            f"the signature would have {len(bundle)} bytes, more than {MAX_BUNDLE_BYTES}",
            next_step="a flat list does not suit so many files; use receipts over a Merkle root",
        )
    return bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A parsed bundle, **not yet verified**: only :meth:`verify` gives out the payload."""

    digest: Digest
    """SHA-256 of the bundle's bytes."""
    material: Material
    """Who claims to have signed."""
    _payload: bytes
    _signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read a bundle strictly.

        Raises:
            ReceiptError: not a bundle of exactly this shape.
        """
        value = read_bundle(data)
        if "messageSignature" in value:
            raise ReceiptError("the bundle signs a file as such, not a list of files")
        envelope = member(value, "dsseEnvelope", dict)
        if envelope.get("payloadType") != PAYLOAD_TYPE:
            raise ReceiptError(f"the bundle's payload is not {PAYLOAD_TYPE}")
        signatures = member(envelope, "signatures", list)
        if len(signatures) != 1 or not isinstance(signatures[0], dict):
            raise ReceiptError(
                f"a bundle carries exactly one signature, not {len(signatures)}",
                next_step="verifiers differ in which of several they check; sign with one key",
            )
        return cls(
            digest=Digest.of(data),
            material=read_material(value),
            _payload=decode(envelope, "payload"),
            _signature=decode(signatures[0], "sig"),
        )

    def verify(self, trust: Trust) -> tuple[bytes, Signatory]:
        """Return the payload and who signed it.

        Raises:
            ReceiptError: nobody that is trusted signed it.
        """
        message = pre_authentication_encoding(self._payload)
        return self._payload, trust.verify(self.material, self._signature, message)


def read_bundle(data: bytes) -> dict[str, Json]:
    """Parse a Sigstore bundle v0.3 of any content.

    Raises:
        ReceiptError: too large, not JSON, or of another media type.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise ReceiptError(f"a bundle has at most {MAX_BUNDLE_BYTES} bytes, not {len(data)}")
    try:
        value = parse_json(data)
    except ValueError as error:
        raise ReceiptError(f"the bundle is {error}") from error
    media_type = value.get("mediaType") if isinstance(value, dict) else None
    if media_type != MEDIA_TYPE:
        raise ReceiptError(
            f"the bundle is of type {str(media_type)[:80]!a}, expected {MEDIA_TYPE!r}",
            next_step="sign again with a current tool",
        )
    return dict(value)


def read_material(bundle: dict[str, Json]) -> Material:
    """Read what a bundle says about its signer: a key's hint or a chain, never both.

    Raises:
        ReceiptError: neither, both, or a keyless certificate.
    """
    material = member(bundle, "verificationMaterial", dict)
    kinds = [
        kind
        for kind in ("publicKey", "x509CertificateChain", "certificate")
        if material.get(kind) is not None
    ]
    if kinds == ["publicKey"]:
        hint = member(material, "publicKey", dict).get("hint")
        if hint is not None and not isinstance(hint, str):
            raise ReceiptError("the bundle's key hint is not text")
        return Material(hint=hint)
    if kinds == ["x509CertificateChain"]:
        chain = member(member(material, "x509CertificateChain", dict), "certificates", list)
        if not all(isinstance(item, dict) for item in chain):
            raise ReceiptError("the bundle's certificate chain is malformed")
        return Material(certificates=tuple(decode(item, "rawBytes") for item in chain))
    if kinds == ["certificate"]:
        raise ReceiptError(
            "the bundle was signed keyless: its short-lived certificate needs a log to verify",
            next_step="verify it with a Sigstore client and its identity",
        )
    raise ReceiptError("the bundle names no key and no certificate, or more than one of them")


def member(value: dict[str, Json], key: str, kind: type) -> Json:
    """Return a member of an object after checking its type.

    Raises:
        ReceiptError: it is missing or of another type.
    """
    inner = value.get(key)
    if not isinstance(inner, kind):
        raise ReceiptError(f"the bundle has no {key}")
    return inner


def decode(value: dict[str, Json], key: str) -> bytes:
    """Return the bytes of a base64 member.

    Raises:
        ReceiptError: it is missing or not base64.
    """
    text: str = member(value, key, str)
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ReceiptError(f"the bundle's {key} is not base64") from error
