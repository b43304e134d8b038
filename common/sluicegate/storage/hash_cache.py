"""Remember the digests of local files that have not changed since they were hashed.

A file is taken for unchanged when its path, size, modification time, change time, inode and
device are as they were. The change time cannot be set by a program, so bytes that were
changed and given their old modification time are seen.

The cache decides what a gate believes, so it lies inside the trust boundary: it is
authenticated with a key that only the owner of the folder can read, and one whose
authentication fails is ignored and told, never used. Four things remain. A file that changed
within two seconds before the snapshot began is not remembered, because a later write could
leave the same times. Whoever can set the clock, or write to the disk beneath the file system,
can forge a change time: ``rehash`` reads a share of the files all the same. And a network
file system whose clock is behind by more than two seconds must not be cached.

One more limit: whoever keeps a file mapped into memory (``mmap``) can write to it without
changing its times. A disk's file system sets them at the first write after the pages were last
written back, which takes some 30 seconds; a file system in memory (tmpfs) need never set them.
Files on the latter are therefore not remembered, where the mount table shows them to be. Where
those who write to a subject while it is checked are not trusted, use no cache.

Consumers never use a cache: they read the bytes.

One file for each subject, named by the SHA-256 of its URI: a line of JSON (version, subject,
lengths of both parts, summary of the manifest), the manifest, the times (a line for each file:
path, size, mtime, ctime, inode, device, by tabs; the path alone where nothing is remembered),
and a line with the HMAC-SHA256 of all before it in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import mmap
import os
import stat
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sluicegate.canonical import Json, canonical_json, parse_json, sha256_hex
from sluicegate.errors import ConfigurationError, SluicegateError
from sluicegate.storage.base import ListedRow
from sluicegate.storage.lines import MAPPED_ABOVE, line_blocks
from sluicegate.storage.local import open_plain, write_atomically
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.sorting import blocks
from sluicegate.storage.uri import SubjectUri

__all__ = ["RACY_NS", "CacheUse", "CachedDigests", "HashCache"]

RACY_NS: Final = 2_000_000_000
"""Files changed within two seconds before a snapshot are not remembered: the coarsest clock
of a file system in use (FAT) ticks every two seconds. Git calls such entries racy."""

_KEY: Final = ".sluicegate-cache.key"
_KEY_BYTES: Final = 32
_MAC_LINE: Final = 65
"""Bytes of the last line: 64 hexadecimal digits and a newline."""
_LONGEST: Final = 4 << 30
"""Largest cache that is read, in bytes: some 15 million files."""
_HEADER: Final = 1 << 16
"""Longest first line in bytes."""
_IN_MEMORY: Final = frozenset({b"tmpfs", b"ramfs", b"devtmpfs", b"hugetlbfs"})
_BLOCK: Final = 1 << 13
_PIECE: Final = 1 << 20
_log: Final = logging.getLogger("sluicegate")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What a cache did for one snapshot."""

    known: int = 0
    """Files whose digest was known."""
    hashed: int = 0
    """Files that were read because nothing was known of them."""
    rehashed: int = 0
    """Files that were read although their digest was known, and had it."""
    ignored: str = ""
    """Why the whole cache was not used; empty when it was, or when there was none yet."""


@dataclass(frozen=True, slots=True)
class CachedDigests:
    """What was remembered of one subject; authenticated, and out of everybody's reach."""

    data: bytes | mmap.mmap
    """The whole cache."""
    manifest_at: int
    """Where the manifest begins; the times begin where it ends."""
    times_at: int
    """Where the times begin: a line for each file, in the order of the manifest."""
    end: int
    """Where the times end."""
    summary: Json
    """The manifest's digests."""

    def same(self, rows: Iterable[ListedRow]) -> bool:
        """Say whether every file is listed as it was, and no other."""
        at = self.times_at
        for block in blocks(rows, _BLOCK):
            text = _times(block)
            if self.data[at : at + len(text)] != text:
                return False
            at += len(text)
        return at == self.end

    def manifest(self) -> Manifest:
        """Return the manifest as it was built when the files were read."""
        return Manifest.restored(
            line_blocks(self.data, self.manifest_at, self.times_at), self.summary
        )

    def known(self, rows: Iterable[ListedRow]) -> Iterator[tuple[ListedRow, str]]:
        """Yield each file with its digest, empty when it is not known; ``rows`` are sorted."""
        nothing = ("", "", "")
        remembered = self._remembered()
        path, line, digest = next(remembered, nothing)
        for row in rows:
            while path and path < row[0]:
                path, line, digest = next(remembered, nothing)
            hit = path == row[0] and line == _LINE % row
            yield row, digest if hit else ""

    def _remembered(self) -> Iterator[tuple[str, str, str]]:
        """Yield the path, the line of times and the digest of each file."""
        times = self._lines(self.times_at, self.end)
        records = self._lines(self.manifest_at, self.times_at)
        for line, record in zip(times, records, strict=True):
            text = line.decode()
            yield text.partition("\t")[0], text + "\n", _digest_in(record)

    def _lines(self, start: int, end: int) -> Iterator[bytes]:
        for block in line_blocks(self.data, start, end):
            yield from block[:-1].split(b"\n")


class HashCache:
    """A folder of caches, one file for each subject.

    Args:
        folder: where they lie; made when missing, readable by the owner alone.
        rehash: share of the known files that are read all the same, 0 to 1.
        tell: gets a sentence when a cache is ignored; by default the log ``sluicegate``.

    Raises:
        ConfigurationError: ``rehash`` is not a share.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rehash: float = 0.0,
        tell: Callable[[str], None] = _log.warning,
    ) -> None:
        if not 0 <= rehash <= 1:  # also not NaN
            raise ConfigurationError(
                f"rehash is the share of known files to read again, not {rehash}",
                next_step="give a number from 0 to 1, such as 0.01",
            )
        self.folder = folder
        self.rehash = rehash
        self.use = CacheUse()
        """What the cache did for the last snapshot."""
        self._tell = tell

    def path(self, subject: SubjectUri) -> Path:
        """Return where the cache of a subject lies."""
        return self.folder / f"{sha256_hex(str(subject).encode())}.cache"

    def read(self, subject: SubjectUri) -> CachedDigests | None:
        """Return what is remembered of a subject, None when nothing is, or nothing trustworthy."""
        self.use = CacheUse()
        try:
            with open_plain(self.path(subject)) as source:
                if os.fstat(source.fileno()).st_size > _LONGEST:
                    raise ValueError("it is too long")
                data = _taken(source)
            return _opened(data, self._key(make=False), str(subject))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, SluicegateError) as error:
            why = str(error) if type(error) is ValueError else type(error).__name__
            self.use = CacheUse(ignored=why)
            self._tell(f"the cache of digests of {subject} is ignored: {why}; all files are read")
            return None

    def write(
        self, subject: SubjectUri, manifest: Manifest, rows: Iterable[ListedRow], *, began_ns: int
    ) -> None:
        """Remember a subject; failing to is told and is no error.

        Args:
            subject: the subject.
            manifest: its manifest.
            rows: its files as they were listed, sorted by path.
            began_ns: when the listing began, in nanoseconds since 1970.
        """
        before, fleeting = began_ns - RACY_NS, _in_memory()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = self._key(make=True)
            with tempfile.TemporaryFile() as times, tempfile.TemporaryFile() as whole:
                for block in blocks(rows, _BLOCK):
                    times.write(_times(block, before=before, fleeting=fleeting))
                length = times.tell()
                mac = hmac.new(key, digestmod=hashlib.sha256)
                times.seek(0)
                for piece in _parts(
                    subject, manifest, length, iter(lambda: times.read(1 << 20), b"")
                ):
                    mac.update(piece)
                    whole.write(piece)
                whole.write(mac.hexdigest().encode() + b"\n")
                whole.seek(0)
                write_atomically(self.path(subject), whole, mode=0o600)
        except (OSError, ValueError) as error:
            self._tell(f"the digests of {subject} cannot be remembered: {type(error).__name__}")

    def forget(self, subject: SubjectUri) -> None:
        """Remove what is remembered of a subject."""
        self.path(subject).unlink(missing_ok=True)

    def draw(self, count: int) -> Iterator[bool]:
        """Say of each of ``count`` files whether it is read again, by chance nobody can foresee."""
        limit = int(self.rehash * 2**32)
        for at in range(0, count, _BLOCK):
            size = min(_BLOCK, count - at)
            if limit:
                yield from (one < limit for one in array("I", os.urandom(4 * size)))
            else:
                yield from (False for _ in range(size))

    def _key(self, *, make: bool) -> bytes:
        """Return the key of the folder.

        Raises:
            ValueError: it is not a plain file of 32 bytes that only its owner can read.
            OSError: it cannot be read or made.
        """
        path = self.folder / _KEY
        if make:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                descriptor = os.open(path, flags, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(os.urandom(_KEY_BYTES))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags), "rb") as source:
            status = os.fstat(source.fileno())
            key = source.read(_KEY_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
        if len(key) != _KEY_BYTES:
            raise ValueError("the key beside it is damaged")
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise ValueError("others can read the key beside it")
        return key


_LINE: Final = "%s\t%d\t%d\t%d\t%d\t%d\n"


def _in_memory() -> frozenset[int]:
    """Return the devices of the file systems whose files need not show when they were written."""
    try:
        table = Path("/proc/self/mountinfo").read_bytes()
    except OSError:  # not Linux
        return frozenset()
    found = set[int]()
    for line in table.splitlines():
        head, _, tail = line.partition(b" - ")
        if tail.split(b" ", 1)[0] in _IN_MEMORY:
            major, _, minor = head.split(b" ")[2].partition(b":")
            found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)


def _times(
    rows: list[ListedRow], *, before: int | None = None, fleeting: frozenset[int] = frozenset()
) -> bytes:
    """Return the lines of files; the path alone of those that may change without a trace.

    These are the ones that were changed since ``before``, or lie on a device in ``fleeting``.
    """
    if before is None:
        return "".join(map(_LINE.__mod__, rows)).encode()
    return "".join(
        _LINE % row
        if row[4] and max(row[2], row[3]) < before and row[5] not in fleeting
        else f"{row[0]}\n"
        for row in rows
    ).encode()


def _digest_in(record: bytes) -> str:
    """Return the digest in the line of a record: it stands before the size, which is last."""
    return record.rpartition(b'","size":')[0][-64:].decode()


def _parts(
    subject: SubjectUri, manifest: Manifest, length: int, times: Iterator[bytes]
) -> Iterator[bytes]:
    header = {
        "manifest": sum(map(len, manifest.ndjson_blocks())),
        "subject": str(subject),
        "summary": manifest.summary(),
        "times": length,
        "version": 1,
    }
    yield canonical_json(header) + b"\n"
    yield from manifest.ndjson_blocks()
    yield from times


def _opened(data: bytes | mmap.mmap, key: bytes, subject: str) -> CachedDigests:
    """Check and take apart a cache.

    Raises:
        ValueError: it is not what was written, or not for this subject.
    """
    last = len(data) - _MAC_LINE
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for at in range(0, last, _PIECE):
        mac.update(data[at : min(at + _PIECE, last)])
    if last < 0 or not hmac.compare_digest(mac.hexdigest().encode() + b"\n", data[last:]):
        raise ValueError("its authentication fails: it was changed, or written with another key")
    start = data.find(b"\n", 0, _HEADER) + 1
    header = parse_json(data[:start])
    if header["version"] != 1 or header["subject"] != subject:
        raise ValueError("it is of another version or subject")
    middle = start + header["manifest"]
    if middle + header["times"] != last:
        raise ValueError("its parts have other lengths than it says")
    return CachedDigests(data, start, middle, last, header["summary"])


def _taken(source: IO[bytes]) -> bytes | mmap.mmap:
    """Copy a cache to where nobody can change it between its check and its use."""
    data = source.read(MAPPED_ABOVE)
    if len(data) < MAPPED_ABOVE:
        return data
    with tempfile.TemporaryFile() as copy:
        copy.write(data)
        while piece := source.read(_PIECE):
            copy.write(piece)
        copy.flush()
        return mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)
