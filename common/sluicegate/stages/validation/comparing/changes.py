"""What a change of a suite does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sluicegate.canonical import Json

__all__ = ["Change", "Effect"]


class Effect(StrEnum):
    """What a change does to what a suite demands."""

    WEAKER = "weaker"
    """Data may pass that did not."""
    UNCLEAR = "unclear"
    """Data may pass that did not, or not: no program can tell."""
    STRONGER = "stronger"
    """No data passes that did not."""

    @property
    def mirrored(self) -> Effect:
        """The effect of the change the other way round."""
        swapped = {Effect.WEAKER: Effect.STRONGER, Effect.STRONGER: Effect.WEAKER}
        return swapped.get(self, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two suites."""

    effect: Effect
    type: str
    """Of the expectation; ``suite`` for the whole."""
    target: str
    """What the expectation is about."""
    what: str
    """The difference, as a phrase, in the suites' own words."""
    old: int | None = None
    """Position of the expectation in the old suite."""
    new: int | None = None
    """Position of the expectation in the new suite."""

    @property
    def sentence(self) -> str:
        """The change for people."""
        place = f"expectations[{self.old if self.old is not None else self.new}]"
        if self.old is None and self.new is None:
            place = "the suite"
        return f"{place} ({self.type}, {self.target}): {self.what}"

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "effect": self.effect.value,
            "type": self.type,
            "target": self.target,
            "what": self.what,
            "old_index": self.old,
            "new_index": self.new,
        }
