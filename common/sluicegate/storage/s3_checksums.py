"""What the checksums of S3 say about the bytes of an object, and what they do not.

* ``x-amz-checksum-sha256`` of an object that was sent in one request is the SHA-256 of its
  bytes: S3 refuses the upload when they differ.
* Of an object that was sent in parts it is the SHA-256 over the parts' SHA-256 values
  (``COMPOSITE``, with ``-N`` behind it). It is the same for the same bytes only if they were
  cut in the same places, so it means nothing without the size of the parts.
* An ETag is an MD5 or not, depending on encryption and parts; CRCs are made to catch
  accidents. Neither is evidence against somebody who chooses the bytes.

Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sluicegate.errors import SubjectChangedError
from sluicegate.storage.records import Place

__all__ = ["CompositeSha256", "bound_sha256", "contradiction", "parts_of", "place_of"]

_MOST_PARTS: Final = 10_000
"""Parts of a multipart upload (Amazon S3 User Guide, "Multipart upload limits")."""


def place_of(answer: Mapping[str, Any]) -> Place:
    """Read the answer to a GET or HEAD of an object."""
    value = answer.get("ChecksumSHA256")
    version = str(answer.get("VersionId") or "")
    if not isinstance(value, str) or not value:
        return Place(version_id=version)
    return Place(
        version_id=version,
        algorithm="sha256",
        value=value,
        kind=str(answer.get("ChecksumType") or ""),
    )


def bound_sha256(place: Place) -> str | None:
    """Return the SHA-256 that S3 holds of the whole object, in hexadecimal.

    None where the store's checksum does not bind the bytes: of parts, of another algorithm,
    of a form that is no SHA-256, or where the store does not say of what it is. Stores exist
    that leave out both the type and the ``-N`` of a checksum of parts.
    """
    if place.algorithm != "sha256" or place.kind != "FULL_OBJECT" or place.part_size:
        return None
    return _sha256_of(place.value)


def parts_of(place: Place) -> int:
    """Return of how many parts a composite SHA-256 is made; 0 when it is none."""
    value, dash, count = place.value.rpartition("-")
    if place.algorithm != "sha256" or not dash or place.kind not in ("COMPOSITE", ""):
        return 0
    if _sha256_of(value) is None or not count.isascii() or not count.isdigit() or len(count) > 5:
        return 0
    return int(count) if int(count) <= _MOST_PARTS else 0


def contradiction(place: Place, sha256: str, *, subject: str, path: str) -> None:
    """Refuse bytes that are not those of which S3 holds the checksum.

    Raises:
        SubjectChangedError: S3 says another SHA-256 of the whole object.
    """
    said = bound_sha256(place)
    if said is not None and said != sha256:
        raise SubjectChangedError(
            f"{path} of {subject} contradicts the checksum that the store keeps of it: "
            f"expected sha256:{said}, found sha256:{sha256}",
            next_step="find out who wrote the object, and upload it again",
        )


class CompositeSha256:
    """Computes S3's checksum of parts while the bytes pass by.

    Args:
        part_size: length in bytes of every part but the last.
    """

    def __init__(self, part_size: int) -> None:
        if part_size <= 0:
            raise ValueError("a part has at least one byte")
        self.part_size = part_size
        self._part = hashlib.sha256()
        self._in_part = 0
        self._parts: list[bytes] = []

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            if self._in_part == self.part_size:
                self._close_part()
            piece = view[: self.part_size - self._in_part]
            self._part.update(piece)
            self._in_part += len(piece)
            view = view[len(piece) :]

    def value(self) -> str:
        """Return the checksum as S3 writes it: base64, a dash, the number of parts."""
        digests = [*self._parts, self._part.digest()]
        whole = hashlib.sha256(b"".join(digests)).digest()
        return f"{base64.b64encode(whole).decode()}-{len(digests)}"

    def _close_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part = hashlib.sha256()
        self._in_part = 0


def _sha256_of(value: str) -> str | None:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 32 and base64.b64encode(raw).decode() == value else None
