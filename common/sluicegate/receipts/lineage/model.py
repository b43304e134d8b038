"""What a walk finds: links, edges between them, and what is wrong with either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sluicegate.canonical import Digest, Json
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import Subject

__all__ = ["Chain", "Edge", "Fault", "Link", "Origin", "Problem"]


class Fault(StrEnum):
    """Ways in which a chain breaks."""

    MISSING = "missing"
    """No trusted statement says where something came from."""
    SWAPPED = "swapped"
    """A statement is about other bytes than the ones that were used."""
    FORKED = "forked"
    """Two statements contradict each other about one subject."""
    CYCLIC = "cyclic"
    """Something was made from itself."""
    DISORDERED = "disordered"
    """Something was logged, or made, before what it was made from."""
    KEY = "key"
    """The key that signed may not, not any more, or not yet speak for it."""
    HELD = "held"
    """Somebody, or a later verdict, took back that it may be used."""


class Origin(StrEnum):
    """How a link came to be."""

    PRODUCTION = "production"
    DERIVATION = "derivation"
    ADMISSION = "admission"
    """A verdict that cleared data whose making nobody here has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a chain."""

    fault: Fault
    message: str
    subject: Digest
    """Merkle root of what it is about."""
    entry: int | None = None
    """Ledger entry of the statement at fault."""
    expected: str = ""
    """Digests, as ``algorithm:hex``; empty where the fault is none of bytes."""
    found: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return what a report keeps as evidence."""
        value: dict[str, Json] = {"fault": self.fault.value, "subject": str(self.subject)}
        if self.entry is not None:
            value["ledger_entry"] = self.entry
        if self.expected or self.found:
            value |= {"expected": self.expected, "found": self.found}
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How one subject came to be, as the earliest sound statement says."""

    subject: Subject
    origin: Origin
    activity: str
    """``train``, ``import`` …; ``quarantine`` for derivations, the stage for admissions."""
    inputs: tuple[Subject, ...]
    """What it was made from; none for a source."""
    record: Record
    level: int
    """Links between this one and the subject of the walk, along the shortest way."""

    @property
    def is_source(self) -> bool:
        """Whether the chain ends here."""
        return not self.inputs


@dataclass(frozen=True, slots=True)
class Edge:
    """One input of one link."""

    product: Digest
    source: Digest
    sound: bool
    """Whether nothing is wrong between the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Everything that a walk came across."""

    subject: Subject
    """Where it started."""
    links: Mapping[Digest, Link]
    """By Merkle root, the subject's own first."""
    unmade: Mapping[Digest, Subject]
    """What no sound statement accounts for."""
    edges: tuple[Edge, ...]
    problems: tuple[Problem, ...]
    cut: str
    """Why the walk stopped early; empty if it did not. Then nothing that is not among the
    problems is known to be right."""

    @property
    def origin(self) -> Link | None:
        """How the subject itself came to be, if a sound statement says so."""
        return self.links.get(self.subject.digest)

    @property
    def sources(self) -> tuple[Link, ...]:
        """Where the chain ends."""
        return tuple(link for link in self.links.values() if link.is_source)

    @property
    def depth(self) -> int:
        """Links from the subject to the source that is farthest, each along its shortest way."""
        return max((link.level for link in self.links.values()), default=0)

    @property
    def activities(self) -> frozenset[str]:
        """What was done along the chain."""
        return frozenset(link.activity for link in self.links.values())

    def of(self, *faults: Fault) -> tuple[Problem, ...]:
        """Return the problems of some kinds."""
        return tuple(problem for problem in self.problems if problem.fault in faults)
