"""Snapshots: a subject whose bytes are known, and the only way to read them.

A path can be swapped between the moment it is hashed and the moment it is read. So nobody
above this module reads a path: they read through :meth:`Snapshot.open`, which copies the
file aside while hashing it, compares, and hands out the copy. What was verified is what is
parsed.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import IO, Final, cast

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectChangedError
from sluicegate.storage.base import (
    ListedRow,
    Progress,
    Reader,
    Store,
    VersionedStore,
    no_progress,
)
from sluicegate.storage.hash_cache import CacheUse, HashCache
from sluicegate.storage.hashing import CHUNK, StreamReader, hash_all, interrupted
from sluicegate.storage.local import LocalStore
from sluicegate.storage.local_reader import LocalReader
from sluicegate.storage.manifest import Manifest, ManifestBuilder
from sluicegate.storage.names import TwinNames
from sluicegate.storage.records import FileRecord, Place, RecordRow, require_ascending
from sluicegate.storage.sorting import SortedRows, blocks
from sluicegate.storage.uri import SubjectUri

__all__ = ["Snapshot", "store_for", "take_snapshot"]

SPOOL_BYTES: Final = 64 << 20
"""Verified copies up to this size stay in memory; larger ones go to an unlinked file."""


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
    pinned: bool = False
    """Whether files are read in the version that was hashed, where the store keeps versions."""

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
            with self._source(record) as source:
                while chunk := self._read(source):
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

    def _read(self, source: IO[bytes]) -> bytes:
        try:
            return source.read(CHUNK)
        except OSError as error:
            raise interrupted(self.uri, error) from error

    def _source(self, record: FileRecord) -> IO[bytes]:
        version = record.place.version_id if self.pinned and record.place is not None else ""
        if version and isinstance(self.store, VersionedStore):
            return self.store.open_version(self.uri, record.path, version)
        return self.store.open(self.uri, record.path)

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
    subject: SubjectUri,
    *,
    store: Store | None = None,
    progress: Progress = no_progress,
    cache: HashCache | None = None,
    trust_store_checksums: bool = False,
    pin_versions: bool = False,
    threads: int | None = None,
) -> Snapshot:
    """Hash every file of a subject.

    Args:
        subject: where it lies.
        store: the storage to use, by default the one that serves the URI.
        progress: told how many bytes are done.
        cache: digests of unchanged local files; never given by a consumer.
        trust_store_checksums: take the SHA-256 that S3 keeps of a whole object for its
            bytes, without reading them.
        pin_versions: let :meth:`Snapshot.open` read the versions that were hashed, where the
            store keeps versions, and not whatever is current by then.
        threads: how many files are hashed at once; by default what the storage can bear.

    Raises:
        SubjectError: missing, empty, unreadable, or holding links, unsafe names or names that
            are equal after Unicode normalisation.
        SubjectChangedError: a file is not as it was listed: somebody is writing. Or a file
            that was read again does not have the digest that the cache knew.
    """
    store = store or store_for(subject)
    reader = _reader(store, subject, trust=trust_store_checksums, threads=threads)
    began = time.time_ns()
    try:
        listed = SortedRows(reader.rows())
        task = _Task(reader, subject, listed, progress)
        if cache is None:
            manifest = _build(task, ((row, "") for row in listed))
        else:
            manifest = _with_cache(task, cache, began)
        listed.close()
    finally:
        reader.close()
    return Snapshot(subject, manifest, store, pinned=pin_versions)


def _reader(store: Store, subject: SubjectUri, *, trust: bool, threads: int | None) -> Reader:
    """Return what hashes a subject; a subclass of a storage may open files in its own way."""
    if type(store) is LocalStore:
        return LocalReader(subject, threads=threads)
    if subject.scheme == "s3":
        from sluicegate.storage.s3 import S3Store
        from sluicegate.storage.s3_reader import S3Reader

        if type(store) is S3Store:
            return S3Reader(store, subject, trust_store_checksums=trust, threads=threads)
    return StreamReader(store, subject)


def _check_names(listed: SortedRows[ListedRow]) -> int:
    """Refuse names that are no names before anything is read; return the bytes of all files."""
    names, total, last = TwinNames(), 0, ""
    for block in blocks(listed, 1 << 13):
        paths = [row[0] for row in block]
        require_ascending(last, paths)
        last = paths[-1]
        names.extend(paths)
        total += sum([row[1] for row in block])
    names.require_none(row[0] for row in listed)
    return total


@dataclass(frozen=True, slots=True)
class _Task:
    """One snapshot to be taken."""

    reader: Reader
    subject: SubjectUri
    listed: SortedRows[ListedRow]
    progress: Progress


def _build(task: _Task, rows: Iterable[tuple[ListedRow, str]]) -> Manifest:
    """Hash what is not known, and build the manifest."""
    total, builder = _check_names(task.listed), ManifestBuilder()
    places: list[tuple[str, Place]] = []

    def records() -> Iterator[RecordRow]:
        done = 0
        for row, place in hash_all(task.reader, rows):
            if place is not None:
                places.append((row[0], place))
            done += row[1]
            task.progress("hashing", done, total)
            yield row

    builder.extend(records())
    for path, place in places:
        builder.add_place(path, place)
    return builder.manifest()


def _with_cache(task: _Task, cache: HashCache, began: int) -> Manifest:
    cached = cache.read(task.subject)
    if cached is not None and cached.same(task.listed):
        manifest = cached.manifest()
        again = _rehash(task, cache, manifest)
        cache.use = CacheUse(known=len(manifest), rehashed=again)
        task.progress("hashing", manifest.size, manifest.size)
        return manifest
    expected: dict[str, str] = {}
    counts = {"known": 0, "hashed": 0}

    def rows() -> Iterator[tuple[ListedRow, str]]:
        if cached is None:
            counts["hashed"] = len(task.listed)
            yield from ((row, "") for row in task.listed)
            return
        chosen = cache.draw(len(task.listed))
        for (row, digest), again in zip(cached.known(task.listed), chosen, strict=True):
            counts["known" if digest else "hashed"] += 1
            if digest and again:
                expected[row[0]] = digest
            yield row, "" if again else digest

    manifest = _build(task, rows())
    for path, digest in expected.items():
        _require_known(task, cache, path, digest, manifest.find(path).sha256.hex)
    cache.use = CacheUse(**counts, rehashed=len(expected), ignored=cache.use.ignored)
    cache.write(task.subject, manifest, task.listed, began_ns=began)
    return manifest


def _rehash(task: _Task, cache: HashCache, manifest: Manifest) -> int:
    """Read a share of the files whose digest is known; return how many."""
    if not cache.rehash:
        return 0
    chosen = ((row, "") for row in compress(task.listed, cache.draw(len(manifest))))
    count = 0
    for (path, _, found), _ in hash_all(task.reader, chosen):
        _require_known(task, cache, path, manifest.find(path).sha256.hex, found)
        count += 1
    return count


def _require_known(task: _Task, cache: HashCache, path: str, expected: str, found: str) -> None:
    """Refuse a subject one of whose cached digests was wrong, and drop the cache."""
    if found == expected:
        return
    cache.forget(task.subject)
    raise SubjectChangedError(
        f"the cached digest of {path} of {task.subject} was wrong: expected sha256:{expected}, "
        f"found sha256:{found}, though size, times and inode are as they were",
        next_step="find out who can write beneath the file system or set its clock; the cache "
        "of this subject is removed, take the snapshot again",
    )
