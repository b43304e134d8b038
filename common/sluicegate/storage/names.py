"""Names that are equal after Unicode normalisation, and names in messages.

Two people, or two file systems, may see one file where there are two: ``é`` as one character
and as ``e`` with an accent behind it. Whoever adds the twin decides which one is read.

Names already in normal form cannot be equal to each other unless they are the same, so only
the others are remembered, each by eight bytes: a million of them take 8 MB.

Source: Unicode Standard Annex 15.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from array import array
from collections.abc import Iterable, Sequence

from sluicegate.errors import SubjectError

__all__ = ["TwinNames", "shown"]


def shown(path: str) -> str:
    """Return a name for a message: escaped if it holds what a terminal or a reader may misread.

    Control characters and those that turn the direction of text are not printable; neither is
    what is no valid Unicode.
    """
    return path if path.isprintable() else ascii(path)


class TwinNames:
    """Remembers names that are not in normal form C."""

    def __init__(self) -> None:
        self._key = os.urandom(16)
        self._odd: array[int] = array("Q")

    def extend(self, paths: Sequence[str]) -> None:
        """Look at names."""
        if "".join(paths).isascii():
            return
        for path in paths:
            if not unicodedata.is_normalized("NFC", path):
                self._odd.append(self._mark(unicodedata.normalize("NFC", path)))

    def require_none(self, paths: Iterable[str]) -> None:
        """Refuse twins among the names that were seen; ``paths`` are all of them again.

        The marks are keyed by chance, so nobody can make two names share one; that two do so
        by accident would refuse a good subject once in ten million of a million such names.

        Raises:
            SubjectError: names it, in normal form and escaped.
        """
        odd, seen = frozenset(self._odd), set()
        for path in paths if odd else ():
            normal = unicodedata.normalize("NFC", path)
            mark = self._mark(normal)
            if mark in seen:
                raise SubjectError(
                    f"the subject holds two names that are equal after Unicode normalisation: "
                    f"{normal!a}",
                    next_step="rename one of them; many systems would take both for one file",
                )
            if mark in odd:
                seen.add(mark)

    def _mark(self, normal: str) -> int:
        data = hashlib.blake2b(normal.encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(data, "little")
