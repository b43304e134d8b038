"""Receipts as others read them: a DSSE envelope in a Sigstore bundle.

Trust logic without input or output: bytes in, verified bytes out. The payload that was
signed is the payload that is parsed; nothing is serialised a second time on the way.

Sources: DSSE 1.0.2 (protocol and envelope), Sigstore bundle format 0.3.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json, parse_json
from sluicegate.errors import ReceiptError
from sluicegate.receipts.keys import PublicKey, Signer

__all__ = ["Bundle", "pre_authentication_encoding", "seal"]

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_BUNDLE_BYTES: Final = 65_535
"""Largest entry of a C2SP tlog-tiles log, whose length is a 16-bit number."""
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return what is signed: the payload with its type, both with their lengths.

    Source: DSSE 1.0.2, "Signature definition".
    """
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, signer: Signer) -> bytes:
    """Sign an in-toto statement and return the bundle's bytes.

    Raises:
        ReceiptError: the bundle would be too large for a ledger entry.
    """
    signature = signer.sign(pre_authentication_encoding(payload))
    bundle = canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": signer.public_key.id},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise ReceiptError(f"a receipt of {len(bundle)} bytes does not fit into a ledger entry")
    return bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A parsed bundle, **not yet verified**: only :meth:`verify` gives out the payload."""

    digest: Digest
    """SHA-256 of the bundle's bytes: how clearances refer to a receipt."""
    hint: str
    """Id of the key that claims to have signed: 64 lower-case hexadecimal digits."""
    _payload: bytes
    _signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Read a bundle strictly.

        Raises:
            ReceiptError: not a bundle of exactly this shape.
        """
        if len(data) > MAX_BUNDLE_BYTES:
            raise ReceiptError(f"a receipt has at most {MAX_BUNDLE_BYTES} bytes, not {len(data)}")
        try:
            value = parse_json(data)
        except ValueError as error:
            raise ReceiptError(f"the receipt is {error}") from error
        media_type = _text(value, "mediaType")
        if media_type != MEDIA_TYPE:
            raise ReceiptError(
                f"the receipt is of type {media_type[:80]!a}, expected {MEDIA_TYPE!r}"
            )
        envelope = _object(value, "dsseEnvelope")
        if _text(envelope, "payloadType") != PAYLOAD_TYPE:
            raise ReceiptError(f"the receipt's payload is not {PAYLOAD_TYPE}")
        signatures = envelope.get("signatures")
        # Verifiers differ in which of several signatures they look at: allow one.
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise ReceiptError("a receipt carries exactly one signature")
        material = _object(_object(value, "verificationMaterial"), "publicKey")
        return cls(
            digest=Digest.of(data),
            hint=_key_id(material),
            _payload=_base64(envelope, "payload"),
            _signature=_base64(signatures[0], "sig"),
        )

    def verify(self, find_key: Callable[[str], PublicKey]) -> bytes:
        """Return the payload after checking its signature.

        Args:
            find_key: maps a key id to a trusted key; raises if there is none.

        The caller still owes: whether this key may sign this statement, and whether the
        statement is about the right subject.

        Raises:
            ReceiptError: the signature does not verify.
        """
        key = find_key(self.hint)
        key.verify(self._signature, pre_authentication_encoding(self._payload))
        return self._payload


def _object(value: Json, key: str) -> dict[str, Json]:
    inner = value.get(key) if isinstance(value, dict) else None
    if not isinstance(inner, dict):
        raise ReceiptError(f"the receipt has no {key}")
    return inner


def _text(value: Json, key: str) -> str:
    inner = value.get(key) if isinstance(value, dict) else None
    if not isinstance(inner, str):
        raise ReceiptError(f"the receipt has no {key}")
    return inner


def _key_id(material: Json) -> str:
    hint = _text(material, "hint")
    if not _KEY_ID.fullmatch(hint):  # it is told to people: no text of a stranger's choice
        raise ReceiptError("the receipt's hint is no id of a key")
    return hint


def _base64(value: Json, key: str) -> bytes:
    try:
        return base64.b64decode(_text(value, key).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ReceiptError(f"the receipt's {key} is not base64") from error
