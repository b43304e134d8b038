"""Subjects on any storage that fsspec knows (``gs://``, ``abfs://``, ``memory://`` …)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, cast

from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.base import Entry
from sluicegate.storage.uri import SubjectUri, check_member_path

__all__ = ["FsspecStore"]


class FsspecStore:
    """Files below a path, or one file, through the installed fsspec implementation."""

    def entries(self, subject: SubjectUri) -> Iterator[Entry]:
        """List with fsspec's ``find``; see :class:`Store`."""
        filesystem, root = _connect(subject)
        try:
            found: dict[str, dict[str, Any]] = filesystem.find(root, detail=True)
        except (OSError, ValueError) as error:
            raise _unreadable(subject, error) from error
        if not found:
            raise SubjectError(f"{subject} does not exist")
        prefix = root.rstrip("/")
        for name, details in found.items():
            if details.get("islink"):
                raise SubjectError(f"{subject} holds a symbolic link")
            path = subject.name if name == prefix else name[len(prefix) + 1 :]
            yield Entry(check_member_path(path, where=str(subject)), int(details["size"]))

    def open(self, subject: SubjectUri, path: str) -> IO[bytes]:
        """Open with fsspec; see :class:`Store`."""
        filesystem, root = _connect(subject)
        try:
            target = root if filesystem.isfile(root) else f"{root.rstrip('/')}/{path}"
            return cast("IO[bytes]", filesystem.open(target, "rb"))
        except (OSError, ValueError) as error:
            raise _unreadable(subject, error) from error

    def write(self, target: SubjectUri, source: IO[bytes]) -> None:
        """Write inside an fsspec transaction, where the implementation has one."""
        filesystem, root = _connect(target)
        try:
            filesystem.makedirs(root.rpartition("/")[0], exist_ok=True)
            with filesystem.transaction, filesystem.open(root, "wb") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
        except (OSError, ValueError, NotImplementedError) as error:
            raise SubjectError(f"cannot write {target}: {type(error).__name__}") from error


def _connect(subject: SubjectUri) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("fsspec", "fsspec", f"a {subject.scheme}:// subject") from error
    try:
        filesystem, root = url_to_fs(str(subject))
    except (ImportError, ValueError) as error:
        raise SubjectError(
            f"no storage is installed for {subject.scheme}://",
            next_step=f"install the fsspec implementation for {subject.scheme}",
        ) from error
    except OSError as error:
        raise SubjectError(
            f"cannot connect to the storage of {subject}: {type(error).__name__}",
            next_step=f"check the credentials and options of fsspec for {subject.scheme}",
        ) from error
    return filesystem, str(root)


def _unreadable(subject: SubjectUri, error: Exception) -> SubjectError:
    if isinstance(error, FileNotFoundError):
        return SubjectError(f"{subject} does not exist")
    return SubjectError(f"cannot read {subject}: {type(error).__name__}")
