"""Named bytes on a store without locks, and the files of a ledger among them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from sluicegate.ledger.base import TileSource

__all__ = ["KeptFiles", "ObjectFiles", "Objects", "Overlay"]

_FILES_KEPT: Final = 12
"""Files of the right edge held in memory: a bundle and a tile of each level."""


class Objects(Protocol):
    """Named bytes on a store. Every write is whole and durable once it is answered."""

    @property
    def where(self) -> str:
        """Where the store is, for messages."""
        ...

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return content and tag, None if there is no such object.

        Raises:
            LedgerError: it cannot be read.
        """
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that is not there; False if it is, or somebody else was first.

        Raises:
            LedgerError: it cannot be written; it may have been, if the answer was lost.
        """
        ...

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Write over the content that has this tag (None: there is none); False if it changed.

        Raises:
            LedgerError: it cannot be written; it may have been, if the answer was lost.
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin like this, in no certain order.

        Raises:
            LedgerError: they cannot be listed.
        """
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects that nobody needs any more, as far as this is allowed."""
        ...


@dataclass(slots=True)
class ObjectFiles:
    """The files of a ledger, for readers."""

    objects: Objects

    def read(self, name: str) -> bytes | None:
        """Return a file; see :class:`TileSource`."""
        found = self.objects.read(name)
        return found[0] if found else None


@dataclass(slots=True)
class KeptFiles:
    """The same, with the newest tiles and bundles kept: a file under its name never changes."""

    objects: Objects
    kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    def read(self, name: str) -> bytes | None:
        """Return a file; see :class:`TileSource`."""
        if name not in self.kept:
            found = self.objects.read(name)
            if found is None:
                return None
            self.keep({name: found[0]})
        self.kept.move_to_end(name)
        return self.kept[name]

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Keep files that were just written, and forget the oldest."""
        for name, content in files.items():
            self.kept[name] = content
            self.kept.move_to_end(name)
            if len(self.kept) > _FILES_KEPT:
                self.kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Overlay:
    """Files that are about to be published, in front of those that are."""

    files: Mapping[str, bytes]
    below: TileSource

    def read(self, name: str) -> bytes | None:
        """Return a file; see :class:`TileSource`."""
        return self.files[name] if name in self.files else self.below.read(name)
