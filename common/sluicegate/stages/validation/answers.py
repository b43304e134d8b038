"""What an engine says about one expectation, before it becomes a check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from sluicegate.canonical import Json

__all__ = ["GX", "MOST_ROWS", "OWN", "SCAN", "Answer", "Unclaimed"]


class Unclaimed(Exception):  # noqa: N818  a decision, not an error
    """An expectation is one for Great Expectations and not for the scan; says why."""


SCAN: Final = "scan"
"""The one-scan engine answered, as Great Expectations would have."""

GX: Final = "gx"
"""Great Expectations answered, and its answer stands."""

OWN: Final = "sluicegate"
"""A stricter rule of this package decided."""

MOST_ROWS: Final = 100_000
"""Most rows that one answer names. Rows beyond it are counted; a finding that cannot name all
of its rows names none, so that no quarantine leaves some of them behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Yes, no, or could not tell, with the counts behind it."""

    engine: str
    """Who decided: :data:`SCAN`, :data:`GX` or :data:`OWN`."""
    success: bool | None
    """``None`` when nobody can tell; then there is a reason."""
    reason: str = ""
    """Why it is unknown. Holds no data value."""
    problems: tuple[str, ...] = ()
    """What is wrong beyond the counts, one phrase each. Holds no data value."""
    elements: int | None = None
    """How many rows were asked about."""
    missing: int | None = None
    """How many of those had no value, where missing values are left out."""
    unexpected: int | None = None
    """How many values are not as expected, where values are judged one by one; how many
    different values, where the set of them is judged."""
    positions: frozenset[int] = frozenset()
    """The rows that are not as expected, as positions in the whole table; all of them, or at
    most :data:`MOST_ROWS` and then :attr:`capped`."""
    capped: bool = False
    """More rows are not as expected than :attr:`positions` names."""
    distribution: tuple[int, ...] | None = None
    """Counts of the present values in the bins or categories that the expectation names, and
    of all others last, where it asks about a distribution."""
    observed: Json = None
    """What an aggregate came to. A data value: shown only if the policy allows samples."""

    @classmethod
    def unknown(cls, reason: str, *, engine: str = OWN) -> Answer:
        """Nobody can tell, for this reason."""
        return cls(engine=engine, success=None, reason=reason)

    @classmethod
    def broken(cls, problem: str, positions: Iterable[int] = ()) -> Answer:
        """A rule of this package found the expectation broken."""
        return cls(engine=OWN, success=False, problems=(problem,), positions=frozenset(positions))

    def undecided(self, reason: str) -> Answer:
        """Return the same counts without their conclusion."""
        return replace(self, engine=OWN, success=None, reason=reason, problems=())

    def also_broken(self, problem: str, positions: Iterable[int] = ()) -> Answer:
        """Return a failure, whatever it was, that names these rows too."""
        return replace(
            self,
            engine=OWN if self.success else self.engine,
            success=False,
            problems=(*self.problems, problem),
            positions=self.positions | frozenset(positions),
        )

    def also_unexpected(self, positions: Iterable[int], *, mostly: float, problem: str) -> Answer:
        """Return the answer when these rows count as unexpected too.

        Args:
            positions: rows, which may be among the unexpected ones already.
            mostly: share of the present values that must be as expected.
            problem: one phrase about what these rows hold.
        """
        rows = self.positions | frozenset(positions)
        if self.success is None or rows == self.positions:
            return self
        if len(self.positions) != self.unexpected:
            # The engine counted rows without naming them: the union cannot be counted.
            return self.also_broken(problem, positions)
        present = (self.elements or 0) - (self.missing or 0)
        success = bool(self.success and present and (present - len(rows)) / present >= mostly)
        return replace(
            self,
            engine=OWN if success != self.success else self.engine,
            success=success,
            unexpected=len(rows),
            positions=rows,
            problems=(*self.problems, problem),
        )
