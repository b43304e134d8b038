"""A vault in a folder.

Files are written aside, synced, made read-only and then linked under their name, which
fails if the name is taken. **A folder is not immutable**: whoever owns it can remove or
replace what is in it. What was changed is seen, because every byte is verified against a
digest when it is read; what was removed is lost.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from sluicegate.canonical import Digest, sha256_hex
from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.local import fsync_directory, write_atomically
from sluicegate.storage.vault_base import Fetched, Lock

__all__ = ["FolderShelf"]

_CHUNK: Final = 1 << 18
_INCOMING: Final = "incoming"
"""Where files are written before they get their name."""
_ABANDONED_SECONDS: Final = 86_400
"""After a day without a write, nobody is still writing a file."""


class FolderShelf:
    """Objects as files below one folder; see :class:`~sluicegate.storage.vault_base.Shelf`."""

    threads = 2

    def __init__(self, root: Path) -> None:
        """Use ``root``; the first object makes it."""
        self._root = root

    def can_lock(self) -> bool:
        """Say no: a file system has no retention."""
        return False

    def exists(self, name: str) -> bool:
        """Return whether there is a file, or anything else, of that name; see ``Shelf``."""
        return os.path.lexists(self._root / name)

    def create(
        self, name: str, source: IO[bytes], *, size: int, digest: Digest, lock: Lock | None
    ) -> bool:
        """Write a file under a name that must be free; ``lock`` must be None. See ``Shelf``."""
        if lock is not None:
            raise SubjectError(f"{self._root} is a folder: it cannot lock what it keeps")
        target = self._root / name
        try:
            if self.exists(name):
                return False
            self._make_folder(target.parent)
            aside = self._make_folder(self._root / _INCOMING) / secrets.token_hex(16)
            try:
                _write(aside, source, size=size, digest=digest, where=str(target))
                os.link(aside, target)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
            fsync_directory(target.parent)
        except OSError as error:
            raise _failed("write", target, error) from error
        return True

    @contextmanager
    def fetch(self, name: str, version: str | None = None) -> Iterator[Fetched | None]:
        """Open a file, never through a link; see ``Shelf``."""
        source = None if version else self._open(name)
        if source is None:
            yield None
            return
        with source:
            yield Fetched(chunks=_chunks(source, self._root / name), version="", lock=None)

    def versions(self, name: str) -> list[str]:
        """Return one empty id if the file exists; see ``Shelf``."""
        return [""] if self.exists(name) else []

    def extend(self, name: str, version: str, lock: Lock) -> Lock | None:
        """Refuse: nothing is locked here; see ``Shelf``."""
        raise SubjectError(
            f"{self._root / (version or name)} cannot be locked until {lock.until:%Y-%m-%d}",
            next_step="use a bucket with Object Lock",
        )

    def read_small(self, name: str, limit: int) -> tuple[bytes, str] | None:
        """Read a short file; its digest is the tag. See ``Shelf``."""
        source = self._open(name)
        if source is None:
            return None
        with source:
            data = b"".join(_chunks(source, self._root / name, limit=limit + 1))
        if len(data) > limit:
            raise SubjectError(f"{self._root / name} has more than {limit} bytes")
        return data, sha256_hex(data)

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Replace a file under a lock that all writers of it take; see ``Shelf``."""
        target = self._root / name
        try:
            self._make_folder(target.parent)
            lock = target.with_name(f".{target.name}.lock")
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(lock, flags, 0o644), "rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                there = self.read_small(name, max(len(data), 1) << 4)
                if (there[1] if there else None) != tag:
                    return False
                write_atomically(target, data)
        except OSError as error:
            raise _failed("write", target, error) from error
        return True

    def sweep(self) -> None:
        """Remove files that were abandoned a day ago; see ``Shelf``."""
        try:
            for item in os.scandir(self._root / _INCOMING):
                if time.time() - item.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS:
                    os.unlink(item.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed("tidy", self._root / _INCOMING, error) from error

    def _make_folder(self, folder: Path) -> Path:
        """Make a folder of the vault; refuse one that a link leads out of it."""
        real, root = os.path.realpath(folder), os.path.realpath(self._root)
        if os.path.relpath(real, root) != os.path.relpath(folder, self._root):
            raise SubjectError(
                f"{folder} is reached through a symbolic link",
                next_step="find out who put it into the vault; remove it",
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _open(self, name: str) -> IO[bytes] | None:
        path = self._root / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise SubjectError(f"{path} is a symbolic link") from error
            raise _failed("read", path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SubjectError(f"{path} is no plain file")
        return os.fdopen(descriptor, "rb")


def _write(aside: Path, source: IO[bytes], *, size: int, digest: Digest, where: str) -> None:
    hasher, written = hashlib.sha256(), 0
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as out:
        while chunk := source.read(_CHUNK):
            hasher.update(chunk)
            written += len(chunk)
            out.write(chunk)
        if written != size or hasher.hexdigest() != digest.hex:
            raise SubjectChangedError(
                f"what was to be stored as {where} has other bytes: expected {size} bytes with "
                f"{digest}, found {written}",
                next_step="find out who writes to the subject; run the gate again",
            )
        out.flush()
        os.fchmod(out.fileno(), 0o444)
        os.fsync(out.fileno())


def _chunks(source: IO[bytes], path: Path, *, limit: int | None = None) -> Iterator[bytes]:
    left = limit
    try:
        while chunk := source.read(_CHUNK if left is None else min(left, _CHUNK)):
            yield chunk
            left = None if left is None else left - len(chunk)
    except OSError as error:
        raise _failed("read", path, error) from error


def _failed(verb: str, path: Path, error: OSError) -> SubjectError:
    return SubjectError(
        f"cannot {verb} {path}: {error.strerror}",
        next_step="check the vault's permissions and the free space",
    )
