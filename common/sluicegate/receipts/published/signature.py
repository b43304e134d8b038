"""A signature beside a list: who vouches for these very bytes?

Three forms are read, told apart by their content:

* base64 of a DER ECDSA signature over the bytes, as ``cosign sign-blob`` writes it;
* a Sigstore bundle v0.3 with such a signature and the digest of the bytes;
* a bundle of OpenSSF Model Signing in whose list the file stands.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from sluicegate.canonical import sha256_hex
from sluicegate.errors import ReceiptError
from sluicegate.receipts.oms import Envelope, OmsStatement, Signatory, Trust
from sluicegate.receipts.oms.envelope import decode, member, read_bundle, read_material
from sluicegate.receipts.oms.statement import WHOLE
from sluicegate.receipts.oms.trust import Material

__all__ = ["verify_detached"]

_MAX_SIGNATURE: Final = 1024
"""Longest bare signature in bytes of base64; one on P-521 has 188."""


def verify_detached(data: bytes, signature: bytes, trust: Trust, *, name: str) -> Signatory:
    """Return who signed ``data``.

    Args:
        data: the bytes that were signed, for example of a checksum file.
        signature: the content of the signature file.
        trust: whose signatures count.
        name: what the file is called, for signatures that bind a name as well.

    Raises:
        ReceiptError: malformed, about other bytes, or by nobody that is trusted.
    """
    if not signature.lstrip().startswith(b"{"):
        return trust.verify(Material(), _bare(signature), data)
    bundle = read_bundle(signature)
    if "messageSignature" in bundle:
        if "dsseEnvelope" in bundle:
            raise ReceiptError("the bundle holds two kinds of signature")
        return _message(bundle, data, trust)
    payload, signatory = Envelope.parse(signature).verify(trust)
    statement = OmsStatement.parse(payload)
    label = name if name in statement.files else WHOLE
    if label == WHOLE and statement.name != name:
        raise ReceiptError(f"the signature is not about {name!a}")
    if statement.algorithm != "sha256" or statement.files.get(label) != sha256_hex(data):
        raise ReceiptError(f"the signature is about other bytes of {name!a}")
    return signatory


def _bare(signature: bytes) -> bytes:
    if len(signature) > _MAX_SIGNATURE:
        raise ReceiptError(f"a signature in base64 has at most {_MAX_SIGNATURE} bytes")
    try:
        return base64.b64decode(b"".join(signature.split()), validate=True)
    except binascii.Error as error:
        raise ReceiptError(
            "the signature is neither base64 nor a bundle",
            next_step="OpenPGP and minisign signatures are not read; verify those with their tools",
        ) from error


def _message(bundle: dict[str, object], data: bytes, trust: Trust) -> Signatory:
    message = member(bundle, "messageSignature", dict)
    stated = member(message, "messageDigest", dict)
    if stated.get("algorithm") != "SHA2_256":
        raise ReceiptError("the bundle's digest is not SHA2_256")
    actual = bytes.fromhex(sha256_hex(data))
    if not hmac.compare_digest(decode(stated, "digest"), actual):
        raise ReceiptError("the signature is about other bytes")
    return trust.verify(read_material(bundle), decode(message, "signature"), data)
