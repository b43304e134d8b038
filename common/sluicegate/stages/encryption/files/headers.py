"""Formats with a header of their own: age, AWS Encryption SDK, ``openssl enc``.

Sources: the age specification (C2SP age.md); the AWS Encryption SDK message format reference;
``openssl-enc(1)``.
"""

from __future__ import annotations

import base64
import binascii
import re
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
)

__all__ = ["AGE", "SALTED", "read_age", "read_aws", "read_salted", "starts_aws"]

AGE: Final = b"age-encryption.org/v1\n"
"""First line of every age file, version 1."""

SALTED: Final = b"Salted__"
"""First bytes of what ``openssl enc`` writes with a password."""

_AGE_HEADER: Final = 1 << 20
"""Longest header read: room for about 8000 recipients, or 700 of post-quantum kinds."""
_AGE_CHUNK: Final = (64 << 10) + 16
"""A chunk of 64 KiB and its tag of 16 bytes."""
_AGE_ARGUMENT: Final = re.compile(rb"[\x21-\x7e]+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*")
_AGE_MAC: Final = re.compile(rb"--- [A-Za-z0-9+/]{43}\n")
_AGE_BODIES: Final = {b"X25519": 32, b"scrypt": 32, b"ssh-ed25519": 32}
"""Length of the wrapped file key, in bytes, for the kinds whose length is fixed."""


def read_age(source: IO[bytes]) -> Envelope:
    """Read a binary age file: header, MAC line and the lengths of the payload.

    A file cut exactly between two chunks of 64 KiB cannot be told from a whole one without
    the key.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: the header is too long.
    """
    source.seek(len(AGE))
    kinds = []
    while (line := _line(source)).startswith(b"-> "):
        words = line[3:-1].split(b" ")
        if not all(_AGE_ARGUMENT.fullmatch(word) for word in words):
            raise MalformedError("a recipient stanza is malformed")
        body = _stanza_body(source)
        expected = _AGE_BODIES.get(words[0])
        if expected is not None and len(body) != expected:
            raise MalformedError("a recipient stanza wraps no file key")
        kinds.append(words[0])
    if not kinds:
        raise MalformedError("it names no recipient")
    if b"scrypt" in kinds and len(kinds) > 1:
        raise MalformedError("a passphrase stanza stands beside others, which age forbids")
    if not _AGE_MAC.fullmatch(line):
        raise MalformedError("the line with the header's MAC is malformed")
    start, end = source.tell() + 16, size_of(source)
    rest = (end - start) % _AGE_CHUNK
    if end - start < 16 or 0 < rest < 16 or (rest == 16 and end - start > 16):
        raise MalformedError("its payload is cut short")
    check_noise(source, start, end)
    return Envelope("age", Standing.ENCRYPTED)


def _stanza_body(source: IO[bytes]) -> bytes:
    lines = []
    while True:
        line = _line(source)[:-1]
        if len(line) > 64 or not _BASE64.fullmatch(line):
            raise MalformedError("the body of a recipient stanza is malformed")
        lines.append(line)
        if len(line) < 64:
            break
    text = b"".join(lines)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise MalformedError("the body of a recipient stanza is not base64") from error


def _line(source: IO[bytes]) -> bytes:
    room = _AGE_HEADER - source.tell()
    line = source.readline(max(room, 0))
    if len(line) >= room:
        raise UndecidedError(f"its header is longer than {_AGE_HEADER >> 20} MiB")
    if not line.endswith(b"\n"):
        raise MalformedError("its header is cut short")
    return line


_SIGNED: Final = frozenset({0x0214, 0x0346, 0x0378, 0x0578})
_SUITES: Final = {
    1: frozenset({0x0014, 0x0046, 0x0078, 0x0114, 0x0146, 0x0178, 0x0214, 0x0346, 0x0378}),
    2: frozenset({0x0478, 0x0578}),
}
"""Algorithm suites by message format version; all of them are AES-GCM."""
_MOST_FRAMES: Final = 1 << 20
"""Frames counted before giving up; at the SDK's usual 4096 bytes that is 4 GiB."""


def starts_aws(head: bytes) -> bool:
    """Return whether a file begins like a message of the AWS Encryption SDK."""
    if head[:2] == b"\x01\x80":
        return int.from_bytes(head[2:4], "big") in _SUITES[1]
    return head[:1] == b"\x02" and int.from_bytes(head[1:3], "big") in _SUITES[2]


def read_aws(source: IO[bytes]) -> Envelope:
    """Read a message of the AWS Encryption SDK to its end: header, frames, signature.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: it has too many frames.
    """
    source.seek(0)
    version = number(source, 1)
    exactly(source, 1 if version == 1 else 0)  # type of the message
    suite = number(source, 2)
    exactly(source, 16 if version == 1 else 32)  # message id
    exactly(source, number(source, 2))  # encryption context: authenticated, in clear
    keys = number(source, 2)
    for _ in range(keys):
        for _part in range(3):  # provider, its information, the encrypted data key
            exactly(source, number(source, 2))
    if not keys:
        raise MalformedError("it holds no encrypted data key")
    content = number(source, 1)
    if version == 1:
        reserved, nonce = number(source, 4), number(source, 1)
        if reserved or nonce != 12:
            raise MalformedError("a fixed field of its header has another value")
    frame = number(source, 4)
    exactly(source, 28 if version == 1 else 48)  # authentication of the header
    if content not in (1, 2) or (content == 2) != bool(frame):
        raise MalformedError("its header names no kind of content")
    start = source.tell()
    _frames(source, frame) if frame else _skip(source, 12, 8)
    end = source.tell()
    if suite in _SIGNED:
        exactly(source, number(source, 2))
    if source.tell() != size_of(source):
        raise MalformedError("something follows its end")
    check_noise(source, start, end)
    return Envelope("aws-encryption-sdk", Standing.ENCRYPTED, "its encryption context is in clear")


def _frames(source: IO[bytes], frame: int) -> None:
    end = size_of(source)
    for expected in range(1, _MOST_FRAMES):
        sequence = number(source, 4)
        if sequence == 0xFFFFFFFF:
            if number(source, 4) != expected:
                raise MalformedError("its frames are not numbered in order")
            _skip(source, 12, 4)
            return
        if sequence != expected:
            raise MalformedError("its frames are not numbered in order")
        if source.seek(12 + frame + 16, 1) > end:
            raise MalformedError("it ends before its structure does")
    raise UndecidedError(f"it has more than {_MOST_FRAMES} frames")


def _skip(source: IO[bytes], nonce: int, octets: int) -> None:
    """Pass over a nonce, a length of so many octets, that much content, and a tag."""
    exactly(source, nonce)
    length = number(source, octets)
    if length + 16 > size_of(source) - source.tell():
        raise MalformedError("it ends before its structure does")
    source.seek(length + 16, 1)


def read_salted(source: IO[bytes]) -> Envelope:
    """Read what ``openssl enc`` writes: a salt, then ciphertext that nothing authenticates.

    Raises:
        MalformedError: there is no ciphertext, or it is in clear.
    """
    end = size_of(source)
    if end < 17:
        raise MalformedError("there is no ciphertext behind the salt")
    check_noise(source, 16, end)
    return Envelope(
        "openssl-enc",
        Standing.WEAK,
        "nothing authenticates the ciphertext, and the file does not tell whether its key was "
        "stretched: a password may be guessed fast, and changes go unnoticed",
    )
