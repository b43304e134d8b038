"""Subjects on a local or mounted file system."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from sluicegate.errors import SubjectError
from sluicegate.storage.base import Entry, ListedRow
from sluicegate.storage.names import shown
from sluicegate.storage.uri import SubjectUri, check_member_path

__all__ = [
    "LocalStore",
    "fsync_directory",
    "local_rows",
    "open_below",
    "open_plain",
    "stamp",
    "write_atomically",
]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class LocalStore:
    """Files and folders. Symbolic links inside a subject are refused, never followed.

    A link would let whoever writes into the folder decide later, and elsewhere, what the
    training task reads.
    """

    def entries(self, subject: SubjectUri) -> Iterator[Entry]:
        """List the files below a folder, or the one file; see :class:`Store`."""
        for row in local_rows(subject.local):
            yield Entry(row[0], row[1])

    def open(self, subject: SubjectUri, path: str) -> IO[bytes]:
        """Open one file without following a link at its end; see :class:`Store`."""
        root = subject.local
        target = root / path if root.is_dir() else root
        try:
            descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                # The root itself may be a link a person made; a member may not.
                real = os.path.realpath(root)
                if target == root and real != os.fspath(root):  # equal: a link to itself
                    return self.open(SubjectUri("file", real), path)
                raise SubjectError(f"{shown(str(target))} became a symbolic link") from error
            raise _unreadable(target, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SubjectError(f"{shown(str(target))} is not a plain file any more")
        return os.fdopen(descriptor, "rb")

    def write(self, target: SubjectUri, source: IO[bytes]) -> None:
        """Write through a temporary file and a rename; see :class:`Store`."""
        try:
            write_atomically(target.local, source)
        except OSError as error:
            raise SubjectError(
                f"cannot write {target.local}: {error.strerror}",
                next_step="check the folder's permissions and the free space",
            ) from error


def local_rows(root: Path) -> Iterator[ListedRow]:
    """List a folder, or the one file, with what tells whether a file is still the same.

    Raises:
        SubjectError: see :class:`Store`.
    """
    try:
        status = root.stat()
        if stat.S_ISREG(status.st_mode):
            yield check_member_path(root.name, where=str(root.parent)), *stamp(status)
            return
        if not stat.S_ISDIR(status.st_mode):
            raise SubjectError(f"{root} is neither a file nor a folder")
        top = os.open(root, _FOLDER)
    except OSError as error:
        raise _unreadable(root, error) from error
    try:
        yield from _walk(root, top)
    finally:
        os.close(top)


def stamp(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """Return what changes when a file does: size, mtime and ctime in ns, inode, device."""
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def open_below(top: int, folder: str) -> int:
    """Open a folder below an open one, following no link on the way; the caller closes it.

    Raises:
        OSError: it is not there, or a link took its place.
    """
    at = os.dup(top)
    for part in folder.split("/") if folder else ():
        try:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _walk(root: Path, top: int) -> Iterator[ListedRow]:
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            folder = open_below(top, prefix.removesuffix("/"))
            try:
                with os.scandir(folder) as listing:
                    for item in listing:
                        name = item.name
                        path = prefix + name
                        if not name.isprintable() or "\\" in name:
                            check_member_path(path, where=str(root))
                        if item.is_file(follow_symlinks=False):
                            yield path, *stamp(item.stat(follow_symlinks=False))
                        elif item.is_dir(follow_symlinks=False):
                            pending.append(f"{path}/")
                        else:
                            raise _no_file(root, path, link=item.is_symlink())
            finally:
                os.close(folder)
        except OSError as error:
            raise _unreadable(root / prefix, error) from error


def _no_file(root: Path, path: str, *, link: bool) -> SubjectError:
    if not link:
        return SubjectError(f"{root} holds something that is no file: {shown(path)}")
    return SubjectError(
        f"{root} holds a symbolic link: {shown(path)}",
        next_step="copy the file into the folder, or remove the link; what a link points to can "
        "change after the gate",
    )


def _unreadable(path: Path, error: OSError) -> SubjectError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SubjectError(
            f"{shown(str(path))} does not exist", next_step="check the path of the subject"
        )
    return SubjectError(f"cannot read {shown(str(path))}: {error.strerror}")


def write_atomically(target: Path, source: IO[bytes] | bytes, *, mode: int = 0o644) -> None:
    """Write a file that is complete and durable once this returns, and absent before.

    Args:
        target: where it goes; parent folders are made.
        source: the content, whole or as an open binary file.
        mode: permission bits of the new file.

    Raises:
        OSError: the file system refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".sluicegate-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            if isinstance(source, bytes):
                out.write(source)
            else:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    fsync_directory(target.parent)


def open_plain(path: Path) -> IO[bytes]:
    """Open a plain file for reading; what else lies at its path is never waited for.

    Raises:
        OSError: it cannot be opened, or is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file")
    return os.fdopen(descriptor, "rb")


def fsync_directory(folder: Path) -> None:
    """Make renames and new names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
