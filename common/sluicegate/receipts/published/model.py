"""A publisher's list, whatever format it came in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.errors import ReceiptError, SubjectError
from sluicegate.receipts.oms.statement import check_equivalents

__all__ = ["MAX_LIST_BYTES", "Collector", "Published", "PublishedFile", "check_listed_name"]

MAX_LIST_BYTES: Final = 128 << 20
"""Largest list that is read: about a million lines of a checksum file."""

_DRIVE: Final = re.compile(r"[A-Za-z]:[/\\]")
"""An absolute path on Windows."""

_MAX_NAME: Final = 4096
"""Longest name of a list, in characters: no system opens a longer path (Linux, ``PATH_MAX``)."""
_HERE: Final = re.compile(r"(?:\./)+")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file as its publisher describes it."""

    sha256: Digest
    size: int | None = None
    """Bytes, where the format says so exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Digests that a publisher vouches for."""

    files: Mapping[str, PublishedFile]
    """By path inside the subject."""
    signer: str | None = None
    """Who signed the list, if that was verified; ``None`` for a list that anybody who can
    change the files could change, too."""
    complete: bool = False
    """Whether the list says that there are no other files."""
    weak: frozenset[str] = frozenset()
    """Paths the list names without a SHA-256: with an MD5 or SHA-1, or with no digest."""

    def by(self, signer: str) -> Published:
        """Return the same list with the name of who signed it."""
        return replace(self, signer=signer)


class Collector:
    """Gather a list entry by entry, refusing what two readers could understand differently."""

    def __init__(self, what: str) -> None:
        """Gather for a list that messages call ``what``."""
        self._what = what
        self._files: dict[str, PublishedFile] = {}
        self._weak: set[str] = set()

    def add(self, path: str, file: PublishedFile) -> None:
        """Take an entry; the same one may come twice.

        Raises:
            ReceiptError: the path was listed with another digest or size.
        """
        if self._files.setdefault(path, file) != file:
            raise ReceiptError(
                f"{self._what} lists {path!a} with two digests",
                next_step="ask the publisher which is right",
            )

    def add_weak(self, path: str) -> None:
        """Take a path that is listed without a digest that counts."""
        self._weak.add(path)

    def published(self, *, complete: bool = False) -> Published:
        """Return the list.

        Raises:
            ReceiptError: it covers no file, or two names differ only in their Unicode form.
        """
        if not self._files:
            why = "only digests that no longer bind" if self._weak else "no digests"
            raise ReceiptError(
                f"{self._what} holds {why}: SHA-256 is needed",
                next_step="MD5 and SHA-1 can be made to collide; ask the publisher for SHA-256",
            )
        try:
            check_equivalents(self._files)
        except SubjectError as error:
            raise ReceiptError(f"{self._what}: {error.what}") from error
        return Published(
            files=self._files,
            complete=complete,
            weak=frozenset(self._weak.difference(self._files)),
        )


def check_listed_name(name: str, *, where: str) -> str:
    """Return a listed name without a leading ``./`` if it stays inside the subject.

    A backslash or a line end is let through: a list may hold such a name, no subject can, and
    so the file counts as missing.

    Raises:
        ReceiptError: absolute, with ``..`` or empty components, NUL, or invalid Unicode; or
            longer than any path can be.
    """
    if len(name) > _MAX_NAME:
        raise ReceiptError(f"{where} lists a name of more than {_MAX_NAME} characters")
    here = _HERE.match(name)
    path = name[here.end() :] if here else name
    unsafe = (
        any(part in ("", ".", "..") for part in path.split("/"))
        or ".." in path.replace("\\", "/").split("/")
        or _DRIVE.match(path) is not None
        or "\x00" in path
        or any("\ud800" <= char <= "\udfff" for char in path)
    )
    if unsafe:
        raise ReceiptError(
            f"{where} lists a name that is not a plain path inside the data: {name[:200]!a}",
            next_step="write names relative to the folder of the data, without '..'",
        )
    return path
