"""Subject URIs: where a dataset or a model lies.

A plain path is a local file or folder. A URI never carries a secret: it ends up in
receipts, logs and task state.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from sluicegate.errors import SubjectError

__all__ = ["SubjectUri", "check_member_path"]

_CONTAINER_SCHEMES: Final = ("abfs", "abfss", "wasb", "wasbs")
"""Azure writes container@account, where others write user@host."""

_LOCAL_SCHEMES: Final = ("file", "local")
"""fsspec calls the local file system by both names; here one place has one name."""

_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_QUOTED: Final = str.maketrans({"%": "%25", "?": "%3F", "#": "%23"})
"""What a ``file`` URI must not hold as it stands; all else stays readable."""
_DOTS: Final = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
"""``.`` or ``..``, as it stands or percent-encoded; an HTTP client may resolve either."""


@dataclass(frozen=True, slots=True)
class SubjectUri:
    """A parsed, normalised URI."""

    scheme: str
    """``file``, ``s3`` or any scheme that fsspec knows."""
    path: str
    """Absolute path for ``file``; ``bucket/key`` for the others, without a trailing slash."""

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> SubjectUri:
        """Read a path or a URI.

        Raises:
            SubjectError: empty, no valid Unicode, with credentials, query or fragment, a
                ``file`` URI of another host, or another URI with ``.`` or ``..`` in its path.
        """
        raw = os.fspath(text)
        _check_unicode(raw)
        if not raw.strip():
            raise SubjectError(
                "the subject is empty", next_step="name a path, or a URI such as s3://bucket/key"
            )
        match = _SCHEME.match(raw)
        if match is None:
            return cls("file", _absolute(raw))
        scheme = match.group(1).lower()
        if scheme in _LOCAL_SCHEMES:
            return cls("file", _absolute(_local_path(raw[match.end() :])))
        rest = raw[match.end() :].rstrip("/")
        user = rest.partition("/")[0].rpartition("@")[0]
        if user and (scheme not in _CONTAINER_SCHEMES or ":" in user):
            raise SubjectError(
                f"the {scheme}:// subject carries credentials before the host",
                next_step="take them out of the URI; give them to the client's own configuration",
            )
        if not rest or "?" in rest or "#" in rest:
            raise SubjectError(
                f"the {scheme}:// subject has no path, or carries a query or fragment",
                next_step=f"write {scheme}://bucket/key",
            )
        if any(_DOTS.fullmatch(part) for part in rest.split("/")):
            raise SubjectError(
                f"the path of the {scheme}:// subject holds '.' or '..'",
                next_step="write the path that it leads to; a place that a policy allows must "
                "not be left by way of its own name",
            )
        return cls(scheme, rest)

    def __str__(self) -> str:
        path = self.path.translate(_QUOTED) if self.scheme == "file" else self.path
        return f"{self.scheme}://{path}"

    def resolved(self) -> SubjectUri:
        """Return where a local subject really lies, if links lead to it."""
        if self.scheme != "file":
            return self
        return SubjectUri("file", os.path.realpath(self.path))

    @property
    def name(self) -> str:
        """The last component: a file's or folder's own name."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def local(self) -> Path:
        """The local path.

        Raises:
            SubjectError: the subject is not a local file or folder.
        """
        if self.scheme != "file":
            raise SubjectError(f"{self} is not a local path")
        return Path(self.path)

    def join(self, *members: str) -> SubjectUri:
        """Return the URI of something below this one.

        Raises:
            SubjectError: a member is not a plain relative path.
        """
        for member in members:
            check_member_path(member, where=str(self))
        return SubjectUri(self.scheme, "/".join((self.path.rstrip("/"), *members)))


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SubjectError(
            f"the subject is no valid Unicode at character {error.start}",
            next_step="rename the file; such a name cannot be written into a receipt",
        ) from error


def _local_path(rest: str) -> str:
    """Return the path of a ``file`` URI, given what stands behind its ``//``."""
    host, _, path = rest.partition("/")
    if host not in ("", "localhost"):
        # Not repeated in the message: credentials may stand before the host.
        raise SubjectError("the file:// subject names a file on another host")
    if "?" in path or "#" in path:
        raise SubjectError(
            "the file:// subject carries a query or fragment",
            next_step="write %3F and %23 for these characters in a name, or give a plain path",
        )
    return unquote(f"/{path}")


def _absolute(path: str) -> str:
    if "\x00" in path:
        raise SubjectError("the path of the subject holds a NUL character")
    return os.path.abspath(os.path.expanduser(path))


def check_member_path(path: str, *, where: str) -> str:
    """Return ``path`` if it is a safe relative name of a file inside a subject.

    Stops object keys and archive-like names that a consumer could resolve to a place
    outside the folder it copies to.

    Raises:
        SubjectError: absolute, empty components, ``.`` or ``..``, a backslash, a control
            character, or text that is not valid Unicode.
    """
    parts = path.split("/")
    bad = (
        not path
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in path
        or any(ord(char) < 32 or ord(char) == 127 for char in path)
    )
    if not bad:
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            bad = True
    if bad:
        raise SubjectError(
            f"{where} holds a file whose name is not a plain relative path: {path!a}",
            next_step="rename it; names with '..', '//', backslashes or control characters "
            "can leave the folder they are copied to",
        )
    return path
