"""Hash the objects of an S3 subject, several at once, and note what S3 says of each.

By default every byte is read. On request the SHA-256 that S3 itself keeps of a whole object
replaces the read: then the digest rests on S3's word that it refused other bytes when the
object was sent. Whoever opens the file later compares its bytes all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Final

from sluicegate.errors import SubjectChangedError
from sluicegate.storage.base import ListedRow
from sluicegate.storage.hashing import Hashed, hash_stream
from sluicegate.storage.records import Place
from sluicegate.storage.s3 import S3Store
from sluicegate.storage.s3_checksums import (
    CompositeSha256,
    bound_sha256,
    contradiction,
    parts_of,
)
from sluicegate.storage.uri import SubjectUri

__all__ = ["S3Reader"]

_REQUESTS: Final = 8
"""Objects that are read at once: below the ten connections that botocore keeps open."""


class S3Reader:
    """Lists and hashes objects; see :class:`~sluicegate.storage.base.Reader`."""

    alone_below = 0

    def __init__(
        self,
        store: S3Store,
        subject: SubjectUri,
        *,
        trust_store_checksums: bool = False,
        threads: int | None = None,
    ) -> None:
        """Take a store; see the module about ``trust_store_checksums``."""
        self.threads = _REQUESTS if threads is None else threads
        self._store = store
        self._subject = subject
        self._trust = trust_store_checksums

    def rows(self) -> Iterator[ListedRow]:
        """List; see :class:`~sluicegate.storage.base.Reader`."""
        for entry in self._store.entries(self._subject):
            yield entry.path, entry.size, 0, 0, 0, 0

    def hash(self, row: ListedRow, stop: Event) -> Hashed:
        """Hash one object; see :class:`~sluicegate.storage.base.Reader`."""
        if self._trust and (trusted := self._by_checksum(row)) is not None:
            return trusted
        path, size = row[:2]
        source, place = self._store.get(self._subject, path)
        with source:
            composite = self._composite(path, size, place)
            digest = hash_stream(
                source,
                self._subject,
                path,
                size,
                stop=stop,
                also=composite.update if composite is not None else None,
            )
        contradiction(place, digest, subject=str(self._subject), path=path)
        if composite is not None and composite.value() == place.value:
            place = replace(place, part_size=composite.part_size)
        return (path, size, digest), place if place != Place() else None

    def close(self) -> None:
        """Give nothing back: botocore keeps the connections of a client."""

    def _by_checksum(self, row: ListedRow) -> Hashed | None:
        path, size = row[:2]
        length, place = self._store.head(self._subject, path)
        if length != size:
            raise SubjectChangedError(
                f"{path} of {self._subject} changed: listed with {size} bytes, now {length}",
                next_step="take the snapshot when nothing writes to the subject",
            )
        digest = bound_sha256(place)
        return None if digest is None else ((path, size, digest), place)

    def _composite(self, path: str, size: int, place: Place) -> CompositeSha256 | None:
        """Return what verifies a checksum of parts, where they are of one size.

        Parts of several sizes are possible; then the checksum stays unverified and says
        nothing, and the digest of the bytes that were read is all there is.
        """
        parts = parts_of(place)
        if not parts:
            return None
        part_size, _ = self._store.head(self._subject, path, part=1)
        if part_size <= 0 or -(-size // part_size) != parts:
            return None
        return CompositeSha256(part_size)
