"""What is remarkable about one file, collected while it is walked.

Two things may be said about a file besides that it is in order: something is wrong with it
(a check *failed*), or something could not be told (*unknown*). Walkers say so through
:class:`Examination` and go on where they can. Where they cannot, they raise
:class:`MalformedError` (this part is not what it should be), :class:`UnreadableError` (nobody can
tell) or :class:`ExceededError` (a limit is reached: the whole file is given up).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.stages.files.limits import Limits

if TYPE_CHECKING:
    from sluicegate.stages.files.child.nursery import Nursery

__all__ = [
    "Examination",
    "ExceededError",
    "MalformedError",
    "Place",
    "Remark",
    "UnreadableError",
    "shown",
]

MOST_OF_ONE: Final = 10
"""Remarks of one check kept of one file: an archive with a million bad names must not fill the
report, nor crowd out what else is wrong with it."""

SHOWN: Final = 120
"""Characters of a member's name that a message quotes."""


def shown(name: str) -> str:
    """Return a name from inside a file for a message: cut, and escaped where it is odd."""
    short = name if len(name) <= SHOWN else name[:SHOWN] + "…"
    return short if short.isprintable() else ascii(short)


class MalformedError(Exception):
    """This part breaks the rules of its format. The message says which rule and where."""


class UnreadableError(Exception):
    """Nobody can tell what this part holds: encrypted, unsupported, a reader gave up."""


class ExceededError(Exception):
    """A limit is reached, and nothing more is read of the file.

    Attributes:
        check: id of the check that failed.
        unknown: whether the check cannot be answered rather than failed.
        evidence: numbers for the finding.
    """

    def __init__(
        self, check: str, message: str, *, unknown: bool = False, **evidence: Json
    ) -> None:
        super().__init__(message)
        self.check = check
        self.unknown = unknown
        self.evidence = evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One remarkable thing about a file."""

    check: str
    message: str
    unknown: bool = False
    evidence: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a file a walker is: the file itself, or a member at some depth."""

    name: str
    """Name of this part, which may claim a type by its ending."""
    path: str = ""
    """Members on the way to it, for messages; empty for the file itself."""
    depth: int = 0
    """Containers around it."""
    archives: int = 0
    """Containers around it that hold several members."""
    free: bool = False
    """Whether its type need not be on the list, as it is a part of a known document."""

    def inside(self, name: str, *, archive: bool, free: bool = False) -> Place:
        """Return the place of a member."""
        return Place(
            name=name,
            path=f"{self.path} > {shown(name)}" if self.path else shown(name),
            depth=self.depth + 1,
            archives=self.archives + archive,
            free=self.free or free,
        )

    def says(self, message: str) -> str:
        """Return a message with the member that it is about in front."""
        return f"{self.path}: {message}" if self.path else message


class Examination:
    """The remarks about one file, and what was spent on it.

    Attributes:
        remarks: what is remarkable; ``dropped`` counts what was too much of the same.
        expanded: bytes that came out of streams and archives.
        decoded: bytes that tables and pictures decoded to.
        entries: members of archives.
        depth: containers around the innermost part.
        complete: whether it was walked to its end.
        kind: its type by content.
    """

    def __init__(self, *, size: int, limits: Limits, nursery: Nursery) -> None:
        self.size = size
        self.limits = limits
        self.nursery = nursery
        self.remarks: list[Remark] = []
        self.dropped = 0
        self.expanded = 0
        self.decoded = 0
        self.complete = True
        self.kind = ""
        self.entries = 0
        self.depth = 0
        self._deadline = time.monotonic() + limits.seconds

    def fail(self, check: str, message: str, **evidence: Json) -> None:
        """Say that something is wrong."""
        self._add(Remark(check=check, message=message, evidence=evidence))

    def unknown(self, check: str, message: str) -> None:
        """Say that something could not be told."""
        self._add(Remark(check=check, message=message, unknown=True))

    def _add(self, remark: Remark) -> None:
        alike = sum(
            one.check == remark.check and one.unknown == remark.unknown for one in self.remarks
        )
        if alike < MOST_OF_ONE:
            self.remarks.append(remark)
        else:
            self.dropped += 1

    def spend(self, count: int) -> None:
        """Count bytes that came out of a stream or an archive.

        Raises:
            ExceededError: more came out than the file may expand to, or time is up.
        """
        self.expanded += count
        allowed = self.limits.may_expand(self.size)
        if self.expanded > allowed:
            raise ExceededError(
                "files.expansion",
                f"{self.size} bytes expand to more than {allowed}: counted {self.expanded} and "
                "stopped",
                counted=self.expanded,
                allowed=allowed,
                size=self.size,
            )
        self.tick()

    def room(self) -> int:
        """Return how many bytes streams and archives may still expand to."""
        return max(0, self.limits.may_expand(self.size) - self.expanded)

    def room_to_decode(self) -> int:
        """Return how many bytes tables and pictures may still decode to."""
        return max(0, self.limits.may_decode(self.size) - self.decoded)

    def count_entry(self) -> None:
        """Count a member of an archive.

        Raises:
            ExceededError: there are too many, or time is up.
        """
        self.entries += 1
        if self.entries > self.limits.entries:
            raise ExceededError(
                "files.count",
                f"more than {self.limits.entries} entries in archives",
                allowed=self.limits.entries,
            )
        self.tick()

    def seconds(self) -> float:
        """Return how much wall time is left, in seconds."""
        return self._deadline - time.monotonic()

    def tick(self) -> None:
        """Look at the clock.

        Raises:
            ExceededError: time is up.
        """
        if self.seconds() <= 0:
            message = f"not examined within {self.limits.seconds:g} seconds"
            raise ExceededError("files.readable", message, unknown=True)
