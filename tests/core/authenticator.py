"""A security key in software: real CBOR, COSE and signatures, written apart from ``fido2``."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from types import SimpleNamespace

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from sluicegate.approving.security_key import DEFAULT_PARTY

__all__ = ["SoftClient", "SoftKey"]

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    if number < 1 << 8:
        return bytes([major << 5 | 24, number])
    return bytes([major << 5 | 25]) + struct.pack(">H", number)


def cbor(value) -> bytes:
    """Encode as CTAP2 canonical CBOR, for what a key says."""
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    pairs = sorted((cbor(key), cbor(item)) for key, item in value.items())
    pairs.sort(key=lambda pair: (len(pair[0]), pair[0]))
    return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


class SoftKey:
    """One credential."""

    def __init__(self, *, algorithm: int = -7, counts: bool = True, verifies: bool = True) -> None:
        self.algorithm = algorithm
        self.key = (
            ed25519.Ed25519PrivateKey.generate()
            if algorithm == -8
            else ec.generate_private_key(ec.SECP256R1())
        )
        self.id = secrets.token_bytes(32)
        self.counts = counts
        self.count = 0
        self.flags = PRESENT | (VERIFIED if verifies else 0)

    def cose(self) -> bytes:
        public = self.key.public_key()
        if self.algorithm == -8:
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return cbor({1: 1, 3: -8, -1: 6, -2: raw})
        numbers = public.public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return cbor({1: 2, 3: self.algorithm, -1: 1, -2: x, -3: y})

    def sign(self, message: bytes) -> bytes:
        if self.algorithm == -8:
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def _data(self, rp_id: str, flags: int, more: bytes = b"") -> bytes:
        self.count += self.counts
        head = hashlib.sha256(rp_id.encode()).digest()
        return head + bytes([flags]) + struct.pack(">I", self.count) + more

    def _client(self, kind: str, challenge: str, origin: str, **more) -> bytes:
        value = {"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}
        return json.dumps(value | more).encode()

    def create(self, options: dict, origin: str, *, kind: str = "webauthn.create") -> dict:
        """Answer ``navigator.credentials.create``."""
        client = self._client(kind, options["challenge"], origin)
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + self.cose()
        data = self._data(options["rp"]["id"], self.flags | ATTESTED, attested)
        attestation = cbor({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(
            {"clientDataJSON": b64url(client), "attestationObject": b64url(attestation)}
        )

    def get(
        self,
        options: dict,
        origin: str,
        *,
        kind: str = "webauthn.get",
        rp_id: str | None = None,
        flags: int | None = None,
        **client,
    ) -> dict:
        """Answer ``navigator.credentials.get``."""
        text = self._client(kind, options["challenge"], origin, **client)
        data = self._data(rp_id or options["rpId"], self.flags if flags is None else flags)
        signature = self.sign(data + hashlib.sha256(text).digest())
        return self._answer(
            {
                "clientDataJSON": b64url(text),
                "authenticatorData": b64url(data),
                "signature": b64url(signature),
            }
        )

    def _answer(self, response: dict) -> dict:
        return {
            "id": b64url(self.id),
            "rawId": b64url(self.id),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": response,
        }


class SoftClient:
    """Answers as the library's client of a plugged-in key does."""

    def __init__(self) -> None:
        self.key = SoftKey()
        self.origin = f"https://{DEFAULT_PARTY}"

    def make_credential(self, options):
        return self.key.create(options, self.origin)

    def get_assertion(self, options):
        return SimpleNamespace(get_response=lambda _: self.key.get(options, self.origin))
