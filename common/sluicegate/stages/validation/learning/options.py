"""What a user says about trusted data, before anything is learned from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from sluicegate.model import Severity

__all__ = ["Wishes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How to learn a suite."""

    name: str = "learned"
    """Name of the suite."""
    label: str = ""
    """The column to predict: its shares are kept, and it is never taken for a number."""
    keys: tuple[str, ...] = ()
    """Columns that together tell rows apart."""
    severity: Severity | None = None
    """Of every expectation; by default each has one that suits what it asks."""
    plain: bool = False
    """Only types of Great Expectations itself."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """What timestamps are in the past of. The suite depends on it only if some are not."""
