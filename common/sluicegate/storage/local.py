"""Subjects on a local or mounted file system."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sluicegate.errors import SubjectError
from sluicegate.storage.base import Entry
from sluicegate.storage.uri import SubjectUri, check_member_path

__all__ = ["LocalStore", "fsync_directory", "write_atomically"]


class LocalStore:
    """Files and folders. Symbolic links inside a subject are refused, never followed.

    A link would let whoever writes into the folder decide later, and elsewhere, what the
    training task reads.
    """

    def entries(self, subject: SubjectUri) -> Iterator[Entry]:
        """List the files below a folder, or the one file; see :class:`Store`."""
        root = subject.local
        try:
            status = root.stat()
        except OSError as error:
            raise _unreadable(root, error) from error
        if stat.S_ISREG(status.st_mode):
            yield Entry(check_member_path(root.name, where=str(root.parent)), status.st_size)
        elif stat.S_ISDIR(status.st_mode):
            yield from _walk(root)
        else:
            raise SubjectError(f"{root} is neither a file nor a folder")

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
                raise SubjectError(f"{target} became a symbolic link") from error
            raise _unreadable(target, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SubjectError(f"{target} is not a plain file any more")
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


def _walk(root: Path) -> Iterator[Entry]:
    pending = [("", os.fspath(root))]
    while pending:
        prefix, folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                for item in listing:
                    path = check_member_path(prefix + item.name, where=str(root))
                    if item.is_symlink():
                        raise SubjectError(
                            f"{root} holds a symbolic link: {path}",
                            next_step="copy the file into the folder, or remove the link; what a "
                            "link points to can change after the gate",
                        )
                    if item.is_dir(follow_symlinks=False):
                        pending.append((f"{path}/", item.path))
                    elif item.is_file(follow_symlinks=False):
                        yield Entry(path, item.stat(follow_symlinks=False).st_size)
                    else:
                        raise SubjectError(f"{root} holds something that is no file: {path}")
        except OSError as error:
            raise _unreadable(Path(folder), error) from error


def _unreadable(path: Path, error: OSError) -> SubjectError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SubjectError(f"{path} does not exist", next_step="check the path of the subject")
    return SubjectError(f"cannot read {path}: {error.strerror}")


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


def fsync_directory(folder: Path) -> None:
    """Make renames and new names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
