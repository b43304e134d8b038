"""The files of a ledger in a folder: reading them by name, and writing them whole.

Of the partial tiles at the right edge a folder keeps the newest ones. An older one is the
beginning of a newer one, and is cut from it when somebody asks for it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import MAX_ENTRY_BYTES
from sluicegate.ledger.note import MAX_NOTE_BYTES
from sluicegate.ledger.signatures import CHECKPOINT, WITNESSED
from sluicegate.ledger.tiles import HASH_BYTES, TILE_WIDTH, entries_path, tile_path
from sluicegate.storage.local import fsync_directory, open_plain, write_atomically

__all__ = ["FolderFiles", "names_between", "parse_name"]

_NAME: Final = re.compile(
    r"tile/(entries|0|[1-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/([1-9][0-9]{0,2}))?"
)
_NEW: Final = ".new"
"""The one file that is being written; only who holds the commit lock writes."""
_MOST_BUNDLE_BYTES: Final = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
_SYNCED_AT_ONCE: Final = 64
"""Files that are open at the same time while they are synced; far below any limit."""
_ATTEMPTS: Final = 8
"""How often a reader looks again for a file that writers replaced under its eyes."""


def parse_name(name: str) -> tuple[int | None, int, int] | None:
    """Return ``(level, index, width)`` of a tile's name, level None for a bundle of entries.

    None for a name that tlog-tiles does not know, or not in this form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    level = None if match[1] == "entries" else int(match[1])
    index = int(match[2].replace("x", "").replace("/", ""))
    width = int(match[3] or TILE_WIDTH)
    if width > TILE_WIDTH or name != _path(level, index, width):
        return None
    return level, index, width


def _path(level: int | None, index: int, width: int = TILE_WIDTH) -> str:
    return entries_path(index, width) if level is None else tile_path(level, index, width)


class FolderFiles:
    """The files of one ledger; a :class:`TileSource` and what writers need besides."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which need not exist."""
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """Return a file; see :class:`TileSource`. Needs no lock.

        Raises:
            LedgerError: it cannot be read, is far too long, or no file of a ledger has this
                name.
        """
        if name in (CHECKPOINT, WITNESSED):
            return self._bytes(name, MAX_NOTE_BYTES)
        parsed = parse_name(name)
        if parsed is None:
            raise LedgerError(f"no file of a ledger is called {name!r}")
        level, index, width = parsed
        most = _MOST_BUNDLE_BYTES if level is None else TILE_WIDTH * HASH_BYTES
        content = self._bytes(name, most)
        if content is None and width < TILE_WIDTH:
            return self._from_wider(level, index, width, most)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole; what it replaces is kept as evidence. Syncs nothing.

        For who holds the commit lock.

        Raises:
            OSError: the file system refuses.
        """
        target = self._folder / name
        try:
            found = target.read_bytes()
        except FileNotFoundError:
            self._write(target, content)
            return
        if found != content:
            digest = hashlib.sha256(found).hexdigest()[:16]
            plain = name.replace("/", "_")
            write_atomically(self._folder / f"torn-{plain}-{digest}", found)
            self._write(target, content)

    def publish(self, note: bytes, name: str = CHECKPOINT) -> None:
        """Put a checkpoint in place of the last one of this name. Syncs nothing.

        For who holds the commit lock.

        Raises:
            OSError: the file system refuses.
        """
        self._write(self._folder / name, note)

    def sync(self, names: Iterable[str]) -> None:
        """Return once the disk has the checkpoint and these files, under their names.

        Raises:
            OSError: the file system refuses.
        """
        folders: set[Path] = {self._folder}
        paths = [self._folder / name for name in (CHECKPOINT, *names)]
        for at in range(0, len(paths), _SYNCED_AT_ONCE):
            _sync_files(paths[at : at + _SYNCED_AT_ONCE])
        for path in paths:
            folders.update(parent for parent in path.parents if self._folder in parent.parents)
        for folder in folders:
            fsync_directory(folder)

    def drop_partials(self, base: int, since: int, below: int) -> None:
        """Remove partial tiles that can be made again from the journal.

        Args:
            base: number of the first entry in the journal; what smaller trees have stays.
            since: size of a tree; only its right edge, and what came after it, is looked at.
            below: size of a tree: its own partial tiles stay.
        """
        level = 0
        while (mine := below >> 8 * level) > 0:
            for index in range((since >> 8 * level) // TILE_WIDTH, mine // TILE_WIDTH + 1):
                for kind in (level,) if level else (level, None):
                    for width in self._widths(kind, index):
                        end = index * TILE_WIDTH + width
                        if base >> 8 * level < end < mine:
                            (self._folder / _path(kind, index, width)).unlink(missing_ok=True)
            level += 1

    def drop_all_partials(self, names: Iterable[str]) -> None:
        """Remove the partial tiles that full tiles of these names stand for.

        The caller owes: that the disk has the full ones.
        """
        for name in names:
            if ".p/" not in name:
                shutil.rmtree(self._folder / f"{name}.p", ignore_errors=True)

    def names(self) -> Iterator[str]:
        """Yield the name of every file below ``tile``, whatever it is."""
        for path in sorted((self._folder / "tile").rglob("*")):
            if not path.is_dir():
                yield path.relative_to(self._folder).as_posix()

    def _bytes(self, name: str, most: int) -> bytes | None:
        try:
            with open_plain(self._folder / name) as file:
                content = file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(
                f"cannot read {name} of the ledger {self._folder}: {error.strerror}",
                next_step="check the permissions of this worker",
            ) from error
        if len(content) > most:
            raise LedgerError(f"{name} of the ledger {self._folder} has more than {most:,} bytes")
        return content

    def _write(self, target: Path, content: bytes) -> None:
        temporary = self._folder / _NEW
        with temporary.open("wb", buffering=0) as out:
            os.fchmod(out.fileno(), 0o644)
            rest = memoryview(content)
            while rest:
                rest = rest[out.write(rest) :]
        try:
            os.replace(temporary, target)
        except FileNotFoundError:
            self._make(target.parent)
            os.replace(temporary, target)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)

    def _widths(self, level: int | None, index: int) -> list[int]:
        try:
            found = [path.name for path in (self._folder / f"{_path(level, index)}.p").iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(width) for width in found if width.isdecimal() and width.isascii())

    def _from_wider(self, level: int | None, index: int, width: int, most: int) -> bytes | None:
        for _ in range(_ATTEMPTS):
            wider = [found for found in self._widths(level, index) if found > width]
            if not wider:
                return None
            content = self._bytes(_path(level, index, wider[-1]), most)
            if content is not None:
                return content[: width * HASH_BYTES if level is not None else _cut(content, width)]
        return None


def _cut(bundle: bytes, width: int) -> int:
    """Return where the first ``width`` entries of a bundle end."""
    at = 0
    for _ in range(width):
        at += 2 + int.from_bytes(bundle[at : at + 2], "big")
    return at


def _sync_files(paths: list[Path]) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open("rb")).fileno() for path in paths]
        for file in opened:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # the disk may begin with all
        for file in opened:
            os.fsync(file)


def names_between(old: int, new: int) -> Iterator[str]:
    """Yield the full files that a tree of ``new`` has and one of ``old`` does not.

    And the partial tiles of ``new``, which is a multiple of 256: what it grows on from.
    """
    for index in range(old // TILE_WIDTH, new // TILE_WIDTH):
        yield entries_path(index)
    level = 0
    while new:
        old, (new, width) = old // TILE_WIDTH, divmod(new, TILE_WIDTH)
        for index in range(old, new):
            yield tile_path(level, index)
        if width:
            yield tile_path(level, new, width)
        level += 1
