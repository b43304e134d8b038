"""Objects in a shared folder where locks do not work: old NFS, some cluster file systems.

Everything rests on one promise that such file systems keep: ``link`` fails if the name
exists. So *create* writes a temporary file, syncs it and links it to its name. *Replace*
creates the next generation, ``<name>.g/<number>``, which only one writer can; the newest
generation is the object. Beside it lies a plain copy under the plain name, for other tools;
it may be a moment older.

A client that lists a folder from a cache sees an old generation. It loses the next race, and
nothing else: what decides is the link, on the server.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.signatures import CHECKPOINT, WITNESSED
from sluicegate.storage.local import fsync_directory, open_plain, write_atomically

__all__ = ["LinkObjects"]

MAX_OBJECT_BYTES: Final = 80 << 20
"""Above the largest batch, 64 MiB and its lengths; nothing larger is read."""
_GENERATIONS: Final = 64
"""Old generations that stay, for writers that just read one of them."""
_ABANDONED_SECONDS: Final = 3600
"""A temporary file this old belongs to a writer that was killed."""
_REPLACED: Final = frozenset({CHECKPOINT, WITNESSED})
"""The objects that have generations; no other one is ever replaced."""
_TEMPORARY: Final = ".new"
"""Folder of files that are being written."""


class LinkObjects:
    """Objects below a folder; many processes on many machines may write."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``; the first write makes it."""
        self._folder = folder
        self._durable: set[Path] = set()

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return content and tag; see :class:`Objects`."""
        number = self._newest(name) if name in _REPLACED else 0
        path = self._generation(name, number) if number else self._folder / name
        content = self._content(path)
        return None if content is None else (content, str(number))

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there; see :class:`Objects`."""
        return self._link(self._folder / name, data)

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Create the generation after the one that was read; see :class:`Objects`."""
        number = int(tag or "0") + 1
        if not self._link(self._generation(name, number), data):
            return False
        newest = self._newest(name)
        if newest != number:  # it was removed as an old one before this writer came
            return False
        self._copy_newest(name)
        self._forget(name, newest)
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin like this; see :class:`Objects`."""
        start = self._folder / prefix.rpartition("/")[0]
        for folder, _, files in os.walk(start, onerror=self._cannot_list):
            for file in files:
                name = Path(folder, file).relative_to(self._folder).as_posix()
                if name.startswith(prefix) and not name.startswith(_TEMPORARY):
                    yield name

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; see :class:`Objects`."""
        for name in names:
            with suppress(FileNotFoundError, PermissionError):
                (self._folder / name).unlink()

    def _generations(self, name: str) -> Path:
        return self._folder / f"{name}.g"

    def _generation(self, name: str, number: int) -> Path:
        return self._generations(name) / f"{number:020d}"

    def _newest(self, name: str) -> int:
        return max(self._numbers(name), default=0)

    def _numbers(self, name: str) -> Iterator[int]:
        try:
            with os.scandir(self._generations(name)) as found:
                yield from (int(item.name) for item in found if item.name.isdecimal())
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("read", error) from error

    def _content(self, path: Path) -> bytes | None:
        try:
            with open_plain(path) as source:
                content = source.read(MAX_OBJECT_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed("read", error) from error
        if len(content) > MAX_OBJECT_BYTES:
            raise LedgerError(f"{path} is larger than {MAX_OBJECT_BYTES} bytes: no file of a log")
        return content

    def _link(self, target: Path, data: bytes) -> bool:
        try:
            temporary = self._written(data)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                won = _linked(temporary, target)
            finally:
                os.unlink(temporary)
            if won:
                self._sync_up(target.parent)
        except OSError as error:
            raise self._failed("write to", error) from error
        return won

    def _written(self, data: bytes) -> str:
        """Write and sync a temporary file; clear away those of writers that were killed."""
        folder = self._folder / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), 0o644)
            os.fsync(out.fileno())
            now = os.fstat(out.fileno()).st_mtime  # by the clock that dates the others
        with os.scandir(folder) as items:
            for item in items:
                with suppress(FileNotFoundError):
                    if item.stat().st_mtime < now - _ABANDONED_SECONDS:
                        os.unlink(item.path)
        return temporary

    def _sync_up(self, folder: Path) -> None:
        """Make a name durable, and once the folders above it, which may be new."""
        fsync_directory(folder)
        if folder not in self._durable:
            for above in folder.parents:
                fsync_directory(above)
                if above == self._folder.parent:
                    break
            self._durable.add(folder)

    def _copy_newest(self, name: str) -> None:
        """Copy the newest generation to the plain name, until it is the newest."""
        while True:
            number = self._newest(name)
            content = self._content(self._generation(name, number))
            if content is not None:
                try:
                    write_atomically(self._folder / name, content)
                except OSError as error:
                    raise self._failed("write to", error) from error
                if self._newest(name) == number:
                    return

    def _forget(self, name: str, newest: int) -> None:
        for number in self._numbers(name):
            if number <= newest - _GENERATIONS:
                with suppress(FileNotFoundError, PermissionError):
                    self._generation(name, number).unlink()

    def _cannot_list(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise self._failed("list", error)

    def _failed(self, what: str, error: OSError) -> LedgerError:
        unable = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)
        return LedgerError(
            f"cannot {what} the ledger {self._folder}: {error.strerror}",
            next_step="this file system has no hard links; put the ledger on another one"
            if error.errno in unable
            else "check permissions and free space; nothing was acknowledged",
        )


def _linked(temporary: str, target: Path) -> bool:
    """Link; where the answer says that it failed, the number of links says whether it did."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return Path(temporary).stat().st_nlink > 1  # an answer that was lost, and asked for again
    return True
