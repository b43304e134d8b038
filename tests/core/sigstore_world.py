"""A Sigstore of our own: authority, certificate log, signature log, and its trust root.

Everything that a verifier checks is really there and really signed; only the network is not.
The authority certifies whatever identity a token claims, as nobody checks tokens here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sigstore._internal.rekor.client import RekorClient
from sigstore.models import Bundle, TransparencyLogEntry, TrustedRoot
from sigstore.sign import SigningContext

from sluicegate.merkle import leaf_hash

SHA256 = ec.ECDSA(hashes.SHA256())
ISSUER = "https://issuer.example"
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(spki(key)).digest()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class World:
    """One instance of Sigstore, with the moment at which everything happens in it."""

    def __init__(self) -> None:
        self.authority, self.ct, self.rekor = (
            ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
        )
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.root = self._root()
        self.issuer = ISSUER

    def _root(self) -> x509.Certificate:
        public = self.authority.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(_name("root"))
            .issuer_name(_name("root"))
            .public_key(public)
            .serial_number(1)
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
            .sign(self.authority, hashes.SHA256())
        )

    def trusted_root(self) -> str:
        valid = {"start": "2020-01-01T00:00:00Z"}

        def log(key):
            return {
                "baseUrl": "http://127.0.0.1:1",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
                "logId": {"keyId": b64(log_id(key))},
            }

        der = self.root.public_bytes(serialization.Encoding.DER)
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log(self.rekor)],
                "ctlogs": [log(self.ct)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "o", "commonName": "root"},
                        "uri": "http://127.0.0.1:1",
                        "certChain": {"certificates": [{"rawBytes": b64(der)}]},
                        "validFor": valid,
                    }
                ],
                "timestampAuthorities": [],
            }
        )

    def certify(self, public: ec.EllipticCurvePublicKey, identity: str) -> x509.Certificate:
        """Return a certificate of ten minutes, with the promise of the certificate log."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(_name("root"))
            .public_key(public)
            .serial_number(2)
            .not_valid_before(self.now - timedelta(minutes=1))
            .not_valid_after(self.now + timedelta(minutes=9))
            .add_extension(usage(sign_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]),
                critical=True,
            )
            .add_extension(
                x509.UnrecognizedExtension(ISSUER_OID, self.issuer.encode()), critical=False
            )
        )
        body = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        promise = x509.UnrecognizedExtension(SCT_LIST, self._promise(body))
        return builder.add_extension(promise, critical=False).sign(self.authority, hashes.SHA256())

    def _promise(self, body: bytes) -> bytes:
        """Return a signed certificate timestamp, as RFC 6962, section 3.3 embeds it."""
        stamp = struct.pack(">Q", int(self.now.timestamp() * 1000))
        issuer = log_id(self.authority)
        length = struct.pack(">I", len(body))[1:]
        signed = b"\0\0" + stamp + b"\0\1" + issuer + length + body + b"\0\0"
        signature = self.ct.sign(signed, SHA256)
        sct = b"\0" + log_id(self.ct) + stamp + b"\0\0\4\3"
        sct += struct.pack(">H", len(signature)) + signature
        listed = struct.pack(">H", len(sct)) + sct
        content = struct.pack(">H", len(listed)) + listed
        return b"\x04" + _der_length(len(content)) + content

    def log(self, body: bytes) -> TransparencyLogEntry:
        """Return a log entry, the only one of its log: proof, checkpoint and promise."""
        root = leaf_hash(body)
        text = f"log.example\n1\n{b64(root)}\n"
        line = log_id(self.rekor)[:4] + self.rekor.sign(text.encode(), SHA256)
        seconds = int(self.now.timestamp())
        promise = {
            "body": b64(body),
            "integratedTime": seconds,
            "logID": log_id(self.rekor).hex(),
            "logIndex": 0,
        }
        proof = {
            "logIndex": 0,
            "treeSize": 1,
            "hashes": [],
            "rootHash": root.hex(),
            "checkpoint": f"{text}\n\u2014 log.example {b64(line)}\n",
        }
        stamp = self.rekor.sign(rfc8785.dumps(promise), SHA256)
        entry = promise | {
            "verification": {"inclusionProof": proof, "signedEntryTimestamp": b64(stamp)}
        }
        return TransparencyLogEntry._from_v1_response({"id": entry})

    def context(self) -> SigningContext:
        """Return what a signer asks: this authority and this log."""
        return SigningContext(
            fulcio=SimpleNamespace(signing_cert=SimpleNamespace(post=self._answer)),
            rekor=_Log(self),
            trusted_root=TrustedRoot(_inner(self.trusted_root())),
        )

    def _answer(self, request, token):
        certificate = self.certify(request.public_key(), token.identity)
        return SimpleNamespace(cert=certificate, chain=[self.root])

    def sign_file(self, content: bytes, identity: str) -> bytes:
        """Return a bundle over a file, as a publisher would put it beside it."""
        from sigstore.sign import Signer

        token = SimpleNamespace(identity=identity, in_validity_period=lambda: True)
        bundle = Signer(token, self.context()).sign_artifact(content)
        assert isinstance(bundle, Bundle)
        return bundle.to_json().encode()


class _Log(RekorClient):
    """The signature log, without its network."""

    def __init__(self, world: World) -> None:
        super().__init__("http://127.0.0.1:1")
        self.world = world

    def create_entry(self, payload):
        if payload["kind"] == "hashedrekord":
            return self.world.log(rfc8785.dumps(payload))
        proposed = payload["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        payload_hash = hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()
        envelope_hash = hashlib.sha256(proposed["envelope"].encode()).hexdigest()
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": envelope_hash},
                "payloadHash": {"algorithm": "sha256", "value": payload_hash},
                "signatures": [
                    {
                        "signature": envelope["signatures"][0]["sig"],
                        "verifier": proposed["verifiers"][0],
                    }
                ],
            },
        }
        return self.world.log(rfc8785.dumps(body))


def _inner(text: str):
    from sigstore_models.trustroot.v1 import TrustedRoot as Inner

    return Inner.from_json(text)


def _der_length(size: int) -> bytes:
    if size < 128:
        return bytes([size])
    return b"\x81" + bytes([size]) if size < 256 else b"\x82" + struct.pack(">H", size)


def usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
