"""What GX is asked: an expectation without what only this package needs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.canonical import Json
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["Question"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """One expectation as GX sees it: its row condition was applied before."""

    index: int
    """Position in the suite file, from 0."""
    type: str
    kwargs: Mapping[str, Json]
    """Arguments as in the file: GX must know all of them."""
    own_kwargs: Mapping[str, Json]
    """Arguments without the row condition: those that GX is asked with."""
    where: str
    """Its place in the file, for messages."""
    mask: int | None = None
    """Which of the masks sent with the rows selects those that it is about; None: all rows."""

    @classmethod
    def of(cls, expectation: Expectation, *, mask: int | None = None) -> Question:
        """Return the question that an expectation asks, of the rows that a mask selects."""
        return cls(
            index=expectation.index,
            type=expectation.type,
            kwargs=expectation.kwargs,
            own_kwargs=expectation.own_kwargs,
            where=expectation.where,
            mask=mask,
        )

    @property
    def key(self) -> str:
        """An id that GX takes, and that tells whose a result is."""
        return str(uuid.UUID(int=self.index + 1))

    def entry(self) -> dict[str, Json]:
        """Return it as an entry of a GX suite."""
        return {"type": self.type, "kwargs": dict(self.own_kwargs), "id": self.key}
