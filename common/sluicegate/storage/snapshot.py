"""Snapshots: a subject whose bytes are known, and the only way to read them.

A path can be swapped between the moment it is hashed and the moment it is read. So nobody
above this module reads a path: they read through :meth:`Snapshot.open`, which copies the
file aside while hashing it, compares, and hands out the copy. What was verified is what is
parsed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.base import Entry, Progress, Store, no_progress
from sluicegate.storage.local import LocalStore
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.uri import SubjectUri

__all__ = ["Snapshot", "store_for", "take_snapshot"]

SPOOL_BYTES: Final = 64 << 20
"""Verified copies up to this size stay in memory; larger ones go to an unlinked file."""

_CHUNK: Final = 1 << 18
"""Read size; the one at which hashing is fastest (as in ``hashlib.file_digest``)."""


def store_for(subject: SubjectUri) -> Store:
    """Return the storage that serves a URI, importing nothing that is not needed."""
    if subject.scheme == "file":
        return LocalStore()
    if subject.scheme == "s3":
        from sluicegate.storage.s3 import S3Store

        return S3Store()
    from sluicegate.storage.orchestrators import description_store

    if (described := description_store(subject.scheme)) is not None:
        return described
    from sluicegate.storage.fsspec_store import FsspecStore

    return FsspecStore()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A subject and the manifest of its bytes at one moment."""

    uri: SubjectUri
    """Where the subject lies."""
    manifest: Manifest
    """Every file with size and digest."""
    store: Store
    """The storage it was listed from."""

    @property
    def digest(self) -> Digest:
        """The Merkle root of the manifest."""
        return self.manifest.digest

    @property
    def is_single_file(self) -> bool:
        """Whether the subject is one file, named itself rather than its folder."""
        files = self.manifest.files
        return len(files) == 1 and files[0].path == self.uri.name

    def open(self, path: str) -> IO[bytes]:
        """Return the verified bytes of one file, as a seekable binary file.

        Raises:
            SubjectChangedError: the bytes are not those of the snapshot.
            SubjectError: the file cannot be read, or is not part of the snapshot.
        """
        record = self.manifest.find(path)
        copy = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        hasher, size = hashlib.sha256(), 0
        try:
            with self.store.open(self.uri, path) as source:
                while chunk := _read(source, self.uri):
                    size += len(chunk)
                    if size > record.size:
                        break
                    hasher.update(chunk)
                    copy.write(chunk)
            if size != record.size or hasher.hexdigest() != record.sha256.hex:
                raise SubjectChangedError(
                    f"{path} of {self.uri} changed after its snapshot was taken: "
                    f"expected {record.size} bytes with {record.sha256}",
                    next_step="find out who writes to the subject; run the gates again",
                )
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return cast("IO[bytes]", copy)

    def copy_to(self, folder: Path) -> Path:
        """Write verified copies of all files below ``folder``; return the path to use.

        Returns:
            The copied file when the subject is a single file, else ``folder``.

        Raises:
            SubjectChangedError: the bytes are not those of the snapshot.
        """
        target = SubjectUri("file", str(folder.resolve()))
        for file in self.manifest.files:
            with self.open(file.path) as source:
                LocalStore().write(target.join(*file.path.split("/")), source)
        return folder / self.manifest.files[0].path if self.is_single_file else folder


def take_snapshot(
    subject: SubjectUri, *, store: Store | None = None, progress: Progress = no_progress
) -> Snapshot:
    """Hash every file of a subject.

    Args:
        subject: where it lies.
        store: the storage to use, by default the one that serves the URI.
        progress: told how many bytes are done.

    Raises:
        SubjectError: missing, empty, unreadable, or holding links or unsafe names.
        SubjectChangedError: a file's size differs from its listing: somebody is writing.
    """
    store = store or store_for(subject)
    entries = sorted(store.entries(subject))
    total, done = sum(entry.size for entry in entries), 0
    records = []
    for entry in entries:
        records.append(_hash(store, subject, entry))
        done += entry.size
        progress("hashing", done, total)
    return Snapshot(subject, Manifest.of(records), store)


def _hash(store: Store, subject: SubjectUri, entry: Entry) -> FileRecord:
    hasher, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_CHUNK))
    with store.open(subject, entry.path) as source:
        readinto = getattr(source, "readinto", None)
        if readinto is not None:
            while count := _read_into(readinto, buffer, subject):
                hasher.update(buffer[:count])
                size += count
        else:
            while chunk := _read(source, subject):
                hasher.update(chunk)
                size += len(chunk)
    if size != entry.size:
        raise SubjectChangedError(
            f"{entry.path} of {subject} changed while it was read: "
            f"listed with {entry.size} bytes, read {size}",
            next_step="take the snapshot when nothing writes to the subject",
        )
    return FileRecord(path=entry.path, size=size, sha256=Digest(hasher.hexdigest()))


def _read_into(
    readinto: Callable[[memoryview], int], buffer: memoryview, subject: SubjectUri
) -> int:
    try:
        return readinto(buffer)
    except OSError as error:
        raise _interrupted(subject, error) from error


def _read(source: IO[bytes], subject: SubjectUri) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise _interrupted(subject, error) from error


def _interrupted(subject: SubjectUri, error: OSError) -> SubjectError:
    return SubjectError(f"reading {subject} failed: {type(error).__name__}")
