"""A vault: models kept by the digests of their bytes, so that they can come back unchanged.

::

    blobs/sha256/<d[:2]>/<d>                                 each file's bytes, once
    models/<model>/<version>/manifest.ndjson                 which files a version has
    models/<model>/<version>/receipts/<d>.sigstore.json      what speaks for it
    models/<model>/HEAD                                      the newest head: a pointer only

The manifest is stored last: a version that has one is complete. Everything but ``HEAD`` is
created once and never replaced.

Nothing in a vault is believed because it lies there. Blobs are hashed whenever they are
read; a manifest counts only if its Merkle root is the one that a signed receipt names; which
version serves is said by the ledger, not by ``HEAD``. Where the store keeps versions and
somebody has written over an object or hidden it, the copy with the right bytes is found
among the earlier versions, and the disturbance is told.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError, SubjectChangedError, SubjectError
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault_base import Expected, Kept, Lock, Shelf, in_order
from sluicegate.storage.vault_names import (
    blob_name,
    check_name,
    head_name,
    manifest_name,
    receipt_name,
    version_name,
)

__all__ = ["Kept", "Vault", "check_name", "distinct", "open_vault", "version_name"]

MAX_RECEIPT_BYTES: Final = 65_535
"""Largest bundle that a ledger takes."""
MAX_MANIFEST_BYTES: Final = 1 << 30
"""Some five million files. A sparse file of any length costs who writes it nothing."""


def open_vault(location: str | SubjectUri, *, client: Any = None) -> Vault:
    """Return the vault in a folder or below ``s3://bucket/prefix``.

    Args:
        location: where it lies; a folder is made when something is stored.
        client: a boto3 S3 client to use.

    Raises:
        ConfigurationError: another kind of place.
        SubjectError: the location is malformed, or no client can be made.
    """
    uri = location if isinstance(location, SubjectUri) else SubjectUri.parse(location)
    if uri.scheme == "file":
        from sluicegate.storage.vault_folder import FolderShelf

        return Vault(uri, FolderShelf(uri.local))
    if uri.scheme == "s3":
        from sluicegate.storage.vault_s3 import BucketShelf

        return Vault(uri, BucketShelf(uri, client))
    raise ConfigurationError(
        f"a vault cannot lie in {uri}",
        next_step="name a folder or s3://bucket/prefix",
    )


@dataclass(frozen=True, slots=True)
class Vault:
    """The layout over one kind of place. Safe to use from several threads."""

    uri: SubjectUri
    shelf: Shelf

    def version_uri(self, model: str, version: str) -> SubjectUri:
        """Return the URI of a version: what heads name as their subject's place."""
        return self.uri.join("models", model, version)

    # -- files ----------------------------------------------------------------------------

    def has_blob(self, record: FileRecord) -> bool:
        """Return whether something lies under the name of a file's bytes; not what it is.

        Raises:
            SubjectError: the vault cannot be read.
        """
        return self.shelf.exists(blob_name(record.sha256))

    def put_blob(self, record: FileRecord, source: IO[bytes], lock: Lock | None = None) -> bool:
        """Store the bytes of a file unless they are there; return whether it was done.

        Raises:
            SubjectChangedError: ``source`` has other bytes.
            SubjectError: the vault cannot be written.
        """
        name = blob_name(record.sha256)
        return self.shelf.create(name, source, size=record.size, digest=record.sha256, lock=lock)

    def keep_blob(self, record: FileRecord, lock: Lock | None = None) -> Kept:
        """Read a blob back and make sure of its retention.

        Raises:
            SubjectChangedError: no copy in the vault has these bytes.
            SubjectError: the vault cannot be read.
        """
        return self._keep(blob_name(record.sha256), _check_of(record), lock)

    def copy_blob(self, record: FileRecord, target: IO[bytes]) -> bool:
        """Write the verified bytes of a file; return whether the blob was disturbed.

        Args:
            record: which file.
            target: seekable and empty; holds the right bytes only if this returns.

        Raises:
            SubjectChangedError: no copy in the vault has these bytes.
            SubjectError: the vault cannot be read.
        """
        return self._keep(blob_name(record.sha256), _check_of(record), None, target).disturbed

    def verify(self, manifest: Manifest, progress: Progress = no_progress) -> int:
        """Read every file of a version and compare; return how many blobs are disturbed.

        Raises:
            SubjectChangedError: a blob is missing, or has other bytes.
            SubjectError: the vault cannot be read.
        """
        disturbed = done = 0
        for record, kept in self.keep_all(manifest, None):
            done += record.size
            disturbed += kept.disturbed
            progress("verifying", done, manifest.size)
        return disturbed

    def keep_all(self, manifest: Manifest, lock: Lock | None) -> Iterator[tuple[FileRecord, Kept]]:
        """Do :meth:`keep_blob` for each different content of a manifest, several at once.

        Raises:
            SubjectChangedError: a blob is missing, or has other bytes.
            SubjectError: the vault cannot be read.
        """
        return in_order(
            lambda record: (record, self.keep_blob(record, lock)),
            distinct(manifest),
            threads=self.shelf.threads,
        )

    # -- manifests ------------------------------------------------------------------------

    def put_manifest(
        self, model: str, version: str, manifest: Manifest, lock: Lock | None = None
    ) -> bool:
        """Store the manifest of a version unless there is one; return whether it was done.

        Raises:
            SubjectError: the vault cannot be written, or the manifest is too large to be read
                back.
        """
        data = manifest.ndjson()
        if len(data) > MAX_MANIFEST_BYTES:
            raise SubjectError(
                f"the manifest of {model} {version} has {len(data)} bytes: expected at most "
                f"{MAX_MANIFEST_BYTES}",
                next_step="pack small files together, or back the model up in parts",
            )
        return self._put(manifest_name(model, version), data, lock)

    def keep_manifest(
        self, model: str, version: str, manifest: Manifest, lock: Lock | None = None
    ) -> Kept:
        """Read a stored manifest back and make sure of its retention.

        Raises:
            SubjectChangedError: no copy in the vault is this manifest.
            SubjectError: the vault cannot be read.
        """
        data = manifest.ndjson()
        check = Expected(digest=Digest.of(data), size=len(data))
        return self._keep(manifest_name(model, version), check, lock)

    def manifest(self, model: str, version: str, digest: Digest) -> Manifest:
        """Return the manifest of a version, which must have this Merkle root.

        Raises:
            SubjectChangedError: the version is not in the vault, or is another model.
            SubjectError: the vault cannot be read.
        """
        found = []
        for stored in self._manifests(model, version):
            if stored is not None and stored.digest == digest:
                return stored
            found.append(stored.digest.short if stored else "an unreadable manifest")
        where = f"{model} {version} in the vault {self.uri}"
        if not found:
            raise SubjectChangedError(
                f"{where} is missing: no manifest",
                next_step="find out who removed it; back the model up again from its source",
            )
        raise SubjectChangedError(
            f"{where} is not what it was: expected {digest.short}, found {', '.join(found)}",
            next_step="find out who changed the vault; restore the manifest from a copy",
        )

    def other_models(self, model: str, version: str, digest: Digest) -> list[str]:
        """Return what else was ever stored under a version's name, as short digests.

        Raises:
            SubjectError: the vault cannot be read.
        """
        stored = self._manifests(model, version)
        return [
            one.digest.short if one else "an unreadable manifest"
            for one in stored
            if one is None or one.digest != digest
        ]

    def _manifests(self, model: str, version: str) -> Iterator[Manifest | None]:
        """Yield every version of a manifest, newest first; None for an unreadable one."""
        name = manifest_name(model, version)
        for stored in self.shelf.versions(name):
            with self.shelf.fetch(name, stored) as fetched:
                if fetched is None:
                    continue
                manifest = _parsed(fetched.chunks)
            yield manifest

    # -- receipts and heads ---------------------------------------------------------------

    def put_receipt(self, model: str, version: str, bundle: bytes, lock: Lock | None) -> bool:
        """Store a receipt beside a version; return whether it was not there yet.

        Raises:
            SubjectError: the vault cannot be written.
        """
        return self._put(receipt_name(model, version, Digest.of(bundle)), bundle, lock)

    def keep_receipt(self, model: str, version: str, bundle: bytes, lock: Lock | None) -> Kept:
        """Read a receipt back and make sure of its retention.

        Raises:
            SubjectChangedError: no copy in the vault is this receipt.
            SubjectError: the vault cannot be read.
        """
        digest = Digest.of(bundle)
        check = Expected(digest=digest, size=len(bundle))
        return self._keep(receipt_name(model, version, digest), check, lock)

    def head(self, model: str) -> tuple[bytes, str] | None:
        """Return the pointer of a model and a tag for :meth:`replace_head`; None without.

        Raises:
            SubjectError: it cannot be read, or is larger than a receipt.
        """
        return self.shelf.read_small(head_name(model), MAX_RECEIPT_BYTES)

    def replace_head(self, model: str, bundle: bytes, tag: str | None) -> bool:
        """Point to another head, unless somebody else did so meanwhile.

        Raises:
            SubjectError: the vault cannot be written.
        """
        return self.shelf.replace(head_name(model), bundle, tag)

    # -- objects --------------------------------------------------------------------------

    def _put(self, name: str, data: bytes, lock: Lock | None) -> bool:
        digest = Digest.of(data)
        return self.shelf.create(name, io.BytesIO(data), size=len(data), digest=digest, lock=lock)

    def _keep(
        self, name: str, expected: Expected, lock: Lock | None, target: IO[bytes] | None = None
    ) -> Kept:
        """Find the copy with the right bytes, the newest version first."""
        seen = ""
        with self.shelf.fetch(name) as fetched:
            if fetched is not None:
                seen = fetched.version
                if expected.met_by(fetched.chunks, target):
                    return self._locked(name, fetched.version, fetched.lock, lock, disturbed=False)
        present = fetched is not None
        for version in self.shelf.versions(name):
            if version == seen:
                continue
            with self.shelf.fetch(name, version) as earlier:
                present = present or earlier is not None
                if earlier is not None and expected.met_by(earlier.chunks, target):
                    return self._locked(name, version, earlier.lock, lock, disturbed=True)
        what = "has other bytes" if present else "is missing"
        raise SubjectChangedError(
            f"{name} of the vault {self.uri} {what}: expected {expected.size} bytes with "
            f"{expected.digest}",
            next_step="find out who changed the vault; move the file away and back the model "
            "up again from its source",
        )

    def _locked(
        self, name: str, version: str, found: Lock | None, wanted: Lock | None, *, disturbed: bool
    ) -> Kept:
        if wanted is not None and not (found and found.covers(wanted)):
            # What is there may be stronger or longer in one respect: never ask for less.
            found = self.shelf.extend(name, version, wanted.joined(found))
        return Kept(name=name, lock=found, disturbed=disturbed)


class _Stream(io.RawIOBase):
    """A manifest as it comes, so that a bad one is given up at its first bad line."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self._taken = 0
        self.failure: SubjectError | None = None
        """Why the vault could not be read, which says nothing about the manifest."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._next())
        piece = self._rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)

    def _next(self) -> bytes:
        try:
            chunk = next(filter(None, self._chunks), b"")
        except SubjectError as error:
            self.failure = error
            raise
        self._taken += len(chunk)
        if self._taken > MAX_MANIFEST_BYTES:
            raise SubjectError(f"the manifest has more than {MAX_MANIFEST_BYTES} bytes")
        return chunk


def _parsed(chunks: Iterable[bytes]) -> Manifest | None:
    """Return the manifest; None for one that cannot be read as such.

    Raises:
        SubjectError: the vault cannot be read.
    """
    stream = _Stream(chunks)
    try:
        return Manifest.parse(io.BufferedReader(stream))
    except SubjectError:
        if stream.failure is not None:
            raise
        return None


def _check_of(record: FileRecord) -> Expected:
    return Expected(digest=record.sha256, size=record.size)


def distinct(manifest: Manifest) -> Iterator[FileRecord]:
    """Yield one record for each different content of a manifest."""
    seen: set[bytes] = set()
    for record in manifest.files:
        key = bytes.fromhex(record.sha256.hex)
        if key not in seen:
            seen.add(key)
            yield record
