"""What a channel says: a score for every row, and groups of rows flagged for one reason.

Channels are kept apart. A sum of scores would let one channel's tail bury another's
evidence; each channel has its own rule, its own share of false alarms, and its own check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluicegate.canonical import Json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Channel", "Group"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Group:
    """Rows that one channel flags for one reason: a finding in the making."""

    message: str
    """What was found, expected and observed. Column and class names may appear; values of
    cells and pieces of text never do."""
    rows: npt.NDArray[np.int64]
    """Shape (members,): indices into the channel's rows, ascending, at least one."""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """Machine-readable details without values of cells."""
    samples: Mapping[str, Json] = field(default_factory=dict)
    """Details that quote values: reported only where the policy allows samples."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Channel:
    """What one channel says of every row that it was given."""

    id: str
    """The check it answers, ``poisoning.…``."""
    scores: npt.NDArray[np.float64]
    """Shape (rows,): higher is worse; NaN where a row was not examined."""
    p_values: npt.NDArray[np.float64]
    """Shape (rows,): how likely an honest row scores as high; NaN where that is not known."""
    groups: tuple[Group, ...] = ()
    """What is flagged, worst first. A row may be in several groups."""
    unknown: str = ""
    """Why the channel could not tell about some or all rows; empty if it could."""
    suggested: npt.NDArray[np.int64] | None = None
    """Shape (rows,): the class that a row looks like, by code, if the channel can tell."""
    metrics: Mapping[str, float | int] = field(default_factory=dict)
    """Numbers worth keeping: counts, thresholds, rates."""

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Shape (rows,): the rows in any group."""
        import numpy as np

        mask = np.zeros(len(self.scores), dtype=bool)
        for group in self.groups:
            mask[group.rows] = True
        return mask
