"""What an answer to a HEAD request says of an object."""

from __future__ import annotations

import sys
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Head", "Miss", "read_headers"]

NO_MODE: Final = "none"
"""The store named no mode. Old objects of S3 are not encrypted then; other stores may
encrypt below their interface, which nobody can tell from outside. It is never a pass."""

_MODES: Final = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}
"""Values of ``x-amz-server-side-encryption`` by the names of the settings. S3 has more and
will have others (``aws:fsx``, ``aws:backup``): they stay as they are, and match no setting."""

_LONG: Final = 2048
"""Longer header values are cut: no mode, key ARN, version id or ETag comes near it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """An object as it is stored. Of one under a customer's key only the mode is known."""

    mode: str
    """``SSE-S3 SSE-KMS DSSE-KMS SSE-C``, ``none``, or the store's own word."""
    size: int | None = None
    """Length in bytes."""
    key: str | None = None
    """KMS key, as the store names it: on AWS its full ARN."""
    bucket_key: bool = False
    version: str | None = None
    """Version id; ``null`` or None where versions are not kept."""
    etag: str | None = None
    checksum: str = "none"
    """Which checksum the store keeps, and of what: ``SHA256 FULL_OBJECT``."""
    checksum_denied: bool = False
    """Whether the store refused to tell."""
    sha256: str | None = None
    """SHA-256 of the whole object, hexadecimal, if the store keeps that."""
    lock_mode: str | None = None
    lock_until: str | None = None
    """End of the retention, ISO 8601."""
    legal_hold: bool = False

    @property
    def uses_kms(self) -> bool:
        """Whether the object is encrypted under a KMS key."""
        return self.mode in ("SSE-KMS", "DSSE-KMS")


@dataclass(frozen=True, slots=True)
class Miss:
    """No clear answer, and why."""

    reason: str
    dead: bool = False
    """The service gave no answer at all."""
    denied: bool = False
    """The service refused."""


def read_headers(headers: Mapping[str, str]) -> Head | Miss:
    """Read the headers of a 200 answer, by their names in lower case.

    Returns:
        What they say; :class:`Miss` if they hold no length, so are not from S3.
    """

    def text(name: str) -> str | None:
        value = headers.get(name)
        return value.strip()[:_LONG] or None if value else None

    length = text("content-length") or ""
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        return Miss("s3.head_object: the answer does not say how long the object is")
    customer = text("x-amz-server-side-encryption-customer-algorithm")
    said = text("x-amz-server-side-encryption") or NO_MODE
    checksum, sha256 = _checksum(headers)
    return Head(
        mode="SSE-C" if customer else sys.intern(_MODES.get(said, said)),
        size=int(length),
        key=_interned(text("x-amz-server-side-encryption-aws-kms-key-id")),
        bucket_key=text("x-amz-server-side-encryption-bucket-key-enabled") == "true",
        version=text("x-amz-version-id"),
        etag=text("etag"),
        checksum=checksum,
        sha256=sha256,
        lock_mode=text("x-amz-object-lock-mode"),
        lock_until=text("x-amz-object-lock-retain-until-date"),
        legal_hold=text("x-amz-object-lock-legal-hold") == "ON",
    )


def _interned(text: str | None) -> str | None:
    return sys.intern(text) if text else None


def _checksum(headers: Mapping[str, str]) -> tuple[str, str | None]:
    """Return what checksum there is, and the SHA-256 of the whole object if it is that."""
    kind = headers.get("x-amz-checksum-type", "")
    for name in ("sha256", "sha1", "crc64nvme", "crc32c", "crc32"):
        value = headers.get(f"x-amz-checksum-{name}")
        if not value:
            continue
        parts = "-" in value  # "...-3": of three parts, not of the whole object
        of = kind or ("COMPOSITE" if parts else "FULL_OBJECT")
        whole = name == "sha256" and of == "FULL_OBJECT"
        return f"{name.upper()} {of}"[:64], _hex(value) if whole else None
    return "none", None


def _hex(value: str) -> str | None:
    try:
        raw = b64decode(value, validate=True)
    except BadBase64:
        return None
    return raw.hex() if len(raw) == 32 else None
