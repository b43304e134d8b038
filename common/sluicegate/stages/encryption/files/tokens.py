"""Encrypted tokens that are text: Fernet and JWE.

Sources: the Fernet specification (github.com/fernet/spec); RFC 7516 (JWE), RFC 7518 (JWA).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import IO, Any, Final

from sluicegate.canonical import parse_json
from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    looks_random,
    whole,
)

__all__ = ["read_fernet", "read_jwe_compact", "read_jwe_json"]

_URL_SAFE: Final = re.compile(rb"[A-Za-z0-9_-]*")
_SAMPLE: Final = 1 << 14

_CONTENT: Final = {
    "A128GCM": (12, 16),
    "A192GCM": (12, 16),
    "A256GCM": (12, 16),
    "A128CBC-HS256": (16, 16),
    "A192CBC-HS384": (16, 24),
    "A256CBC-HS512": (16, 32),
}
"""Octets of the initialisation vector and of the tag; RFC 7518, section 5."""


def read_fernet(source: IO[bytes]) -> Envelope:
    """Read a Fernet token: version 0x80, time, vector, blocks of 16 octets, HMAC.

    A token that lacks whole blocks cannot be told from a shorter one without the key.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: it is too large.
    """
    text = whole(source).strip()
    plain = text.rstrip(b"=")
    if len(text) % 4 or len(text) - len(plain) > 2:
        raise MalformedError("it is not base64 of whole length")
    token = _decode(plain)
    if token[:1] != b"\x80" or len(token) < 73 or (len(token) - 57) % 16:
        raise MalformedError("its length is not that of a token with ciphertext")
    if not looks_random(token[9:][:_SAMPLE]):
        raise MalformedError("its payload is not ciphertext: the bytes are far from random")
    return Envelope("fernet", Standing.ENCRYPTED, "the time of encryption is in clear")


def read_jwe_compact(source: IO[bytes]) -> Envelope:
    """Read the compact serialization of a JWE: five parts with dots between.

    Raises:
        MalformedError: it breaks the format; signed tokens (JWS) have three parts and are clear.
        UndecidedError: it is too large.
    """
    parts = whole(source).strip().split(b".")
    if len(parts) == 3:
        return Envelope("jws", Standing.CLEAR, "a signed token (JWS) is readable without a key")
    if len(parts) != 5:
        raise MalformedError("it does not consist of five parts")
    protected, key, vector, content, tag = (_decode(part) for part in parts)
    header = _object(protected)
    _check_parts(header, vector=vector, content=content, tag=tag)
    _check_key(header, key)
    return Envelope("jwe", Standing.ENCRYPTED)


def read_jwe_json(source: IO[bytes]) -> Envelope | None:
    """Read the JSON serialization of a JWE; None if the JSON is something else.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: it is too large.
    """
    try:
        value = parse_json(whole(source))
    except ValueError as error:
        raise MalformedError("it is not JSON") from error
    if not isinstance(value, dict) or not {"ciphertext", "tag", "iv"} <= value.keys():
        return None
    header = _object(_part(value, "protected")) if "protected" in value else {}
    header = {**_mapping(value.get("unprotected", {})), **header}
    recipients = value.get("recipients", [value])
    if not isinstance(recipients, list) or not recipients:
        raise MalformedError("it names no recipient")
    for one in map(_mapping, recipients):
        joined = {**_mapping(one.get("header", {})), **header}
        _check_key(joined, _part(one, "encrypted_key") if "encrypted_key" in one else b"")
        parts = {name: _part(value, name) for name in ("iv", "ciphertext", "tag")}
        _check_parts(joined, vector=parts["iv"], content=parts["ciphertext"], tag=parts["tag"])
    return Envelope("jwe", Standing.ENCRYPTED)


def _check_parts(header: dict[str, Any], *, vector: bytes, content: bytes, tag: bytes) -> None:
    method = header.get("enc")
    if method not in _CONTENT:
        raise MalformedError("its content is not encrypted by a method of RFC 7518")
    if (len(vector), len(tag)) != _CONTENT[method] or not content:
        raise MalformedError("its vector, ciphertext or tag has not the length of its method")
    if not looks_random(content[:_SAMPLE]):
        raise MalformedError("its payload is not ciphertext: the bytes are far from random")


def _check_key(header: dict[str, Any], key: bytes) -> None:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm in ("", "none"):
        raise MalformedError("it does not say how its key is wrapped")
    if (algorithm in ("dir", "ECDH-ES")) == bool(key):
        raise MalformedError("its wrapped key does not fit its algorithm")


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("a part of it is no JSON object")
    return value


def _object(data: bytes) -> dict[str, Any]:
    try:
        return _mapping(parse_json(data))
    except ValueError as error:
        raise MalformedError("its header is no JSON object") from error


def _part(value: dict[str, Any], name: str) -> bytes:
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedError(f"it has no {name}")
    return _decode(text.encode("utf-8", "replace"))


def _decode(text: bytes) -> bytes:
    if not _URL_SAFE.fullmatch(text) or len(text) % 4 == 1:
        raise MalformedError("a part of it is not base64")
    try:
        return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise MalformedError("a part of it is not base64") from error
