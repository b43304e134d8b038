"""Which encrypted format is a file, if any?

A file is recognised by how it begins and believed only if its structure holds to the end. That
a file looks random is no proof of encryption and never a pass: compressed data looks the same,
and so does a database of SQLCipher, which has no structure to check.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from typing import IO, Final

from sluicegate.stages.encryption.files import archives, cms, headers, openpgp, parquet, tokens
from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    UndecidedError,
    looks_random,
    whole,
)

__all__ = ["KNOWN", "identify"]

KNOWN: Final = (
    "age, OpenPGP, CMS, JWE, Fernet, AWS Encryption SDK, Parquet modular encryption, "
    "zip with AES, 7z with AES"
)
"""Formats that will do, for people."""

_HEAD: Final = 4096
_AGE_ARMOUR: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
_AGE_END: Final = b"-----END AGE ENCRYPTED FILE-----"

_COMPRESSED: Final = (
    b"\x1f\x8b",  # gzip
    b"\x28\xb5\x2f\xfd",  # zstd
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x04\x22\x4d\x18",  # lz4
    b"\x89PNG",
    b"\xff\xd8\xff",  # JPEG
    b"\x89HDF",
    b"Rar!",
    b"OggS",
    b"fLaC",
)
"""First bytes of formats that look random and are readable without a key."""

_Reader = Callable[[IO[bytes]], Envelope]


def identify(source: IO[bytes], layout: parquet.Layout | None = None) -> Envelope:
    """Return what a file is by its structure; never raises for what the file holds.

    Args:
        source: the file, seekable.
        layout: what is known of it as a Parquet file, to save reading it again.
    """
    if layout is not None:
        return layout.envelope()
    source.seek(0)
    head = source.read(_HEAD)
    kind, reader = _reader(head)
    if reader is None:
        return _unrecognised(head)
    try:
        return reader(source)
    except MalformedError as error:
        return Envelope(kind, Standing.BROKEN, f"begins like {kind}, but {error}")
    except UndecidedError as error:
        return Envelope(kind, Standing.UNTOLD, f"begins like {kind}; {error}")


def _unrecognised(head: bytes) -> Envelope:
    if not head:
        return Envelope("empty", Standing.ENCRYPTED, "an empty file holds nothing to encrypt")
    if head.startswith(_COMPRESSED):
        return Envelope("none", Standing.CLEAR, "a format that is readable without a key")
    if len(head) == _HEAD and looks_random(head):
        note = (
            "no known encrypted format; it looks random, which is no proof: it may be "
            "compressed, or a format without structure such as SQLCipher's"
        )
        return Envelope("random", Standing.UNTOLD, note)
    return Envelope("none", Standing.CLEAR, "no known encrypted format")


def _reader(head: bytes) -> tuple[str, _Reader | None]:
    """Return the format that a file begins like, and who reads it."""
    for magic, kind, reader in _MAGIC:
        if head.startswith(magic):
            return kind, reader
    if headers.starts_aws(head):
        return "aws-encryption-sdk", headers.read_aws
    if cms.starts_cms_pem(head):
        return "cms", cms.read_cms_pem
    if cms.starts_cms(head):
        return "cms", cms.read_cms
    if openpgp.starts_packets(head):
        return "openpgp", openpgp.read_packets
    if head.lstrip().startswith(b"{") and _mentions_jwe(head):
        return "jwe", _json
    return "none", None


def _mentions_jwe(head: bytes) -> bool:
    return b'"ciphertext"' in head or b'"protected"' in head or b'"recipients"' in head


def _json(source: IO[bytes]) -> Envelope:
    found = tokens.read_jwe_json(source)
    return found or Envelope("none", Standing.CLEAR, "no known encrypted format")


def _armoured_age(source: IO[bytes]) -> Envelope:
    """Read age's armour: strict PEM, lines of 64 columns."""
    lines = whole(source).strip().replace(b"\r\n", b"\n").split(b"\n")
    body = lines[1:-1]
    if lines[0] != _AGE_ARMOUR or lines[-1] != _AGE_END or not body:
        raise MalformedError("its armour is cut short or malformed")
    if any(len(line) != 64 for line in body[:-1]) or not 0 < len(body[-1]) <= 64:
        raise MalformedError("the lines of its armour have not 64 columns")
    try:
        data = base64.b64decode(b"".join(body), validate=True)
    except binascii.Error as error:
        raise MalformedError("its armour is not base64") from error
    if not data.startswith(headers.AGE):
        raise MalformedError("there is no age file in its armour")
    return headers.read_age(io.BytesIO(data))


def _parquet(source: IO[bytes]) -> Envelope:
    return parquet.read_layout(source).envelope()


_MAGIC: Final[tuple[tuple[bytes, str, _Reader], ...]] = (
    (parquet.CLEAR_FOOTER, "parquet", _parquet),
    (parquet.ENCRYPTED_FOOTER, "parquet-modular", _parquet),
    (headers.AGE, "age", headers.read_age),
    (_AGE_ARMOUR, "age", _armoured_age),
    (openpgp.ARMOUR, "openpgp", openpgp.read_armoured),
    (headers.SALTED, "openssl-enc", headers.read_salted),
    (archives.ZIP[0], "zip", archives.read_zip),
    (archives.ZIP[1], "zip", archives.read_zip),
    (archives.SEVEN_ZIP, "7z", archives.read_seven_zip),
    (b"gAAAA", "fernet", tokens.read_fernet),
    (b"eyJ", "jwe", tokens.read_jwe_compact),
)
"""How files begin. A Fernet token's first octets are 0x80 and a time before the year 2106; a
JOSE header begins with ``{"``, each in base64."""
