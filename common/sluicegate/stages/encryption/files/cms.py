"""Cryptographic Message Syntax (CMS, PKCS#7): enveloped data, in DER or BER, binary or PEM.

Sources: RFC 5652, section 6 (EnvelopedData); RFC 5083 (AuthEnvelopedData); X.690 for the
encoding. Signed, digested or compressed data is readable without a key.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass
from typing import IO, Final

from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    UndecidedError,
    check_noise,
    exactly,
    number,
    size_of,
    whole,
)

__all__ = ["read_cms", "read_cms_pem", "starts_cms", "starts_cms_pem"]

_PEM: Final = re.compile(
    rb"\s*-----BEGIN (?P<label>CMS|PKCS7)-----\r?\n(?P<body>[A-Za-z0-9+/=\r\n]*)"
    rb"-----END (?P=label)-----\s*"
)
_ENVELOPED: Final = bytes.fromhex("2a864886f70d010703")
_AUTHENTICATED: Final = bytes.fromhex("2a864886f70d0109100117")
_PKCS7: Final = bytes.fromhex("2a864886f70d01")
"""First octets of the object identifiers of all content types."""

_AES_CBC: Final = frozenset(
    bytes.fromhex("60864801650304" + end) for end in ("0102", "0116", "012a")
)
_AES_GCM: Final = frozenset(
    bytes.fromhex("60864801650304" + end)
    for end in ("0106", "011a", "012e", "0107", "011b", "012f")
)
"""AES in GCM and CCM mode, with keys of 128, 192 and 256 bits."""

_SEQUENCE, _SET, _OID, _INTEGER = 0x30, 0x31, 0x06, 0x02
_DEEPEST: Final = 8
_MOST_ELEMENTS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    start: int
    end: int | None
    """Where the content ends; None where only a marker says so."""


def starts_cms(head: bytes) -> bool:
    """Return whether a file begins like a CMS message: a sequence, then its content type."""
    try:
        source = io.BytesIO(head)
        return _open(source, _SEQUENCE).tag == _SEQUENCE and _oid(source).startswith(_PKCS7)
    except MalformedError:
        return False


def starts_cms_pem(head: bytes) -> bool:
    """Return whether a file begins like a CMS message in PEM."""
    return head.lstrip().startswith((b"-----BEGIN CMS-----", b"-----BEGIN PKCS7-----"))


def read_cms_pem(source: IO[bytes]) -> Envelope:
    """Read a message in PEM; see :func:`read_cms`.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: it is too large.
    """
    match = _PEM.fullmatch(whole(source))
    if match is None:
        raise MalformedError("its armour is cut short or malformed")
    try:
        data = base64.b64decode(re.sub(rb"[\r\n]", b"", match["body"]), validate=True)
    except binascii.Error as error:
        raise MalformedError("its armour is not base64") from error
    return read_cms(io.BytesIO(data))


def read_cms(source: IO[bytes]) -> Envelope:
    """Read a message: its type, recipients, algorithm and ciphertext, up to the end.

    Raises:
        MalformedError: it breaks the format, or holds no ciphertext.
        UndecidedError: it is in too many parts.
    """
    source.seek(0)
    size = size_of(source)
    message = _open(source, _SEQUENCE, size)
    kind = _oid(source)
    if kind not in (_ENVELOPED, _AUTHENTICATED):
        return Envelope("cms", Standing.CLEAR, "a CMS message that is not enveloped is readable")
    wrapper = _open(source, 0xA0, size)
    data = _open(source, _SEQUENCE, size)
    _pass(source, _open(source, _INTEGER, size))
    part = _open(source, None, size)
    if part.tag == 0xA0:  # certificates of the sender
        _pass(source, part)
        part = _open(source, None, size)
    if part.tag != _SET:
        raise MalformedError("its recipients are not where they should be")
    before = source.tell()
    _pass(source, part)
    if source.tell() - before < 8:
        raise MalformedError("it names no recipient")
    envelope = _ciphertext(source, size, authenticated=kind == _AUTHENTICATED)
    for outer in (data, wrapper, message):
        _pass(source, outer)
    if source.tell() != size:
        raise MalformedError("something follows its end")
    return envelope


def _ciphertext(source: IO[bytes], size: int, *, authenticated: bool) -> Envelope:
    info = _open(source, _SEQUENCE, size)
    _oid(source)
    algorithm = _open(source, _SEQUENCE, size)
    method = _oid(source)
    _pass(source, algorithm)
    if info.end is not None and source.tell() >= info.end:
        raise MalformedError("it holds no ciphertext")
    content = _open(source, None, size)
    if content.tag not in (0x80, 0xA0):
        raise MalformedError("it holds no ciphertext")
    start = source.tell()
    octets = _octets(source, content)
    if octets < (1 if authenticated else 16):
        raise MalformedError("it holds no ciphertext")
    here = source.tell()
    check_noise(source, start, here)
    source.seek(here)
    _pass(source, info)
    if method not in (_AES_GCM if authenticated else _AES_CBC):
        return Envelope("cms", Standing.WEAK, "its content is not encrypted with AES")
    note = "" if authenticated else "nothing authenticates the ciphertext"
    return Envelope("cms", Standing.ENCRYPTED, note)


def _octets(source: IO[bytes], content: _Element) -> int:
    """Pass over a string of octets, whole or in parts; return how many there are."""
    if content.tag == 0x80:
        _pass(source, content)
        return (content.end or 0) - content.start
    total = 0
    for _ in range(_MOST_ELEMENTS):
        if content.end is not None and source.tell() >= content.end:
            return total
        part = _open(source, None, size_of(source))
        if part.tag == 0 and part.end == part.start:
            return total
        if part.tag != 0x04 or part.end is None:
            raise MalformedError("its ciphertext is not a string of octets")
        _pass(source, part)
        total += part.end - part.start
    raise UndecidedError(f"its ciphertext is in more than {_MOST_ELEMENTS} parts")


def _open(source: IO[bytes], tag: int | None, size: int | None = None) -> _Element:
    """Read the head of an element; its content follows."""
    found = number(source, 1)
    if (tag is not None and found != tag) or found & 0x1F == 0x1F:
        raise MalformedError("an element of it is not where it should be")
    octet = number(source, 1)
    if octet == 0x80 and found & 0x20:
        return _Element(found, source.tell(), None)
    if octet & 0x80:
        if octet & 0x7F > 8 or octet == 0x80:
            raise MalformedError("the length of an element is malformed")
        octet = number(source, octet & 0x7F)
    here = source.tell()
    if size is not None and here + octet > size:
        raise MalformedError("it ends before its structure does")
    return _Element(found, here, here + octet)


def _pass(source: IO[bytes], element: _Element, depth: int = 0) -> None:
    """Go behind an element, from anywhere between its parts."""
    if element.end is not None:
        if source.tell() > element.end:
            raise MalformedError("an element is longer than the one around it")
        source.seek(element.end)
        return
    if depth > _DEEPEST:
        raise MalformedError("its elements are nested too deeply")
    for _ in range(_MOST_ELEMENTS):
        part = _open(source, None, size_of(source))
        if part.tag == 0 and part.end == part.start:
            return
        _pass(source, part, depth + 1)
    raise UndecidedError(f"it has more than {_MOST_ELEMENTS} elements")


def _oid(source: IO[bytes]) -> bytes:
    element = _open(source, _OID)
    return exactly(source, min((element.end or 0) - element.start, 64))
