"""One learned expectation: what is asked, how bad it would be, and why it is asked so."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Json, canonical_json
from sluicegate.model import Severity

__all__ = ["Entry", "chance", "outward", "percent"]

_NAMES: Final = uuid.UUID("6ff4bd0a-9f4c-5b55-8a2b-5f5e0d1f6a11")
"""Namespace of the ids: learning again gives an expectation the id it had."""

SURE: Final = 3.3
"""Standard errors of a share that are allowed for: one clean batch in two thousand has more.
Source: normal approximation of the binomial distribution, one-sided."""

SMALLEST_PART: Final = 10
"""Batches are taken to have at least this part of the reference's rows: their shares vary
more than the reference's own."""

SMALLEST: Final = 30
"""Fewest rows of a batch whose shares can be judged at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One expectation to write."""

    type: str
    kwargs: Mapping[str, Json]
    severity: Severity
    why: str
    """What was seen, what was left out, why this bound: whole sentences for a reviewer."""
    note: str = ""
    """What tells it from another of the same type about the same columns."""

    def to_json(self, severity: Severity | None) -> dict[str, Json]:
        """Return the form that Great Expectations reads.

        Args:
            severity: to use in place of its own.
        """
        about = {key: self.kwargs[key] for key in ("column", "column_list") if key in self.kwargs}
        name = canonical_json([self.type, about, self.note]).decode()
        return {
            "id": str(uuid.uuid5(_NAMES, name)),
            "type": self.type,
            "kwargs": dict(self.kwargs),
            "severity": (severity or self.severity).value,
            "meta": {"sluicegate": {"why": self.why}},
        }


def chance(count: int, rows: int) -> float:
    """Return the greatest share that clean batches will show of what a reference shows.

    Args:
        count: rows of the reference that show it.
        rows: rows of the reference.
    """
    share = count / rows
    batch = max(rows // SMALLEST_PART, SMALLEST)
    error = math.sqrt(share * (1 - share) * (1 / rows + 1 / batch))
    return min(share + SURE * error + 3 / batch, 1.0)


def outward(value: float, *, up: bool) -> float:
    """Return a number of six digits that is not inside of a bound."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    if not unit:
        return value
    steps = math.ceil(value / unit - 1e-9) if up else math.floor(value / unit + 1e-9)
    rounded = float(f"{steps * unit:.6g}")
    tightened = rounded < value if up else rounded > value
    return value if tightened or not math.isfinite(rounded) else rounded


def percent(part: float, whole: float) -> str:
    """Return a share for people."""
    return f"{100 * part / whole:.3g} %" if whole else "0 %"
