"""How the objects of a bucket are encrypted, counted as they are listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from sluicegate.model import Finding
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.stores.base import Judgement
from sluicegate.storage.snapshot import Snapshot

__all__ = ["Listing", "read_pages"]

_LIMIT: Final = 100_000
"""Objects listed at most: a hundred pages of 1000, about half a minute. A longer listing is
only good for finding faults, not for passing."""
_PAGES: Final = 400
"""Pages read at most: services may send short ones, and a broken one may send empty ones
for ever."""
_SECONDS: Final = 120.0
"""Time for one listing, looked at between pages."""
_NAMED: Final = 20
"""Objects named in the evidence of one finding; the remainder is counted."""


def _member_of(name: str, prefix: str) -> bool:
    """Return whether an object is the one called ``prefix`` or lies below it."""
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def read_pages(
    what: str, pages: Iterable[Iterable[Any]], take: Callable[[Any], None]
) -> Unknown | None:
    """Give every object of a listing to ``take``, within bounds.

    Args:
        what: the call in the words of the API.
        pages: of the listing.
        take: is given one object.

    Returns:
        Why it stopped before the end; None if it did not.
    """
    deadline, seen = monotonic() + _SECONDS, 0
    for count, page in enumerate(pages):
        if count >= _PAGES:
            return Unknown(f"{what}: more than {_PAGES} pages")
        for one in page:
            if seen >= _LIMIT:
                return Unknown(f"{what}: more than {_LIMIT} objects")
            seen += 1
            take(one)
        if monotonic() > deadline:
            return Unknown(f"{what}: took longer than {_SECONDS:.0f} seconds")
    return None


@dataclass(slots=True)
class Listing:
    """What was seen of the objects of one store."""

    prefix: str
    """Which objects are listed; see ``add``."""
    snapshot: Snapshot
    subject: str | None
    """The subject's own prefix, if it lies in the same bucket."""
    seen: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    _named: dict[str, list[str]] = field(default_factory=dict)
    _found: dict[str, list[str]] = field(default_factory=dict)
    _files: frozenset[str] = frozenset()
    _missing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.subject is not None:
            self._files = frozenset(file.path for file in self.snapshot.manifest.files)
            if _member_of(self.subject, self.prefix):
                self._missing = set(self._files)

    def add(self, name: str, fault: str | None) -> None:
        """Take note of one object.

        Args:
            name: of the object; ignored if it does not belong to ``prefix``.
            fault: what is wrong with it; None if nothing is.
        """
        if not _member_of(name, self.prefix):
            return
        self.seen += 1
        file = self._file(name)
        self._missing.discard(file or "")
        if fault is None:
            return
        self.wrong[fault] += 1
        named = self._named.setdefault(fault, [])
        if len(named) < _NAMED:
            named.append(name)
        if file:
            self._found.setdefault(fault, []).append(file)

    def judge(self, stopped: Unknown | None) -> Judgement:
        """Return what came of it.

        Args:
            stopped: why the listing ended early; None if it is whole.
        """
        if self.wrong:
            return tuple(self._findings())
        if stopped is not None:
            return stopped
        if self._missing:
            return Unknown(f"{len(self._missing)} files of the snapshot were not listed")
        if not self.seen:
            return Unknown("there is no object of that name, and none below it")
        return ()

    def _findings(self) -> Iterator[Finding]:
        for fault in sorted(self.wrong):
            yield Finding(
                message=f"{self.wrong[fault]} objects: {fault}",
                files=tuple(sorted(self._found.get(fault, ()))),
                evidence={"objects": self.wrong[fault], "first": list(self._named[fault])},
            )

    def _file(self, name: str) -> str | None:
        """Return the file of the snapshot that an object is."""
        if self.subject is None:
            return None
        if name == self.subject:
            file = self.snapshot.uri.name
        else:
            file = name[len(self.subject) + 1 :] if self.subject else name
        return file if file in self._files and _member_of(name, self.subject) else None
