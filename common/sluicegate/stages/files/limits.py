"""How much of everything is allowed, as one value that all walkers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BLOCK", "FREE_DECODED", "FREE_EXPANDED", "Limits"]

BLOCK: Final = 1 << 20
"""Bytes read or inflated at once: large enough to be fast, small beside every memory limit."""

FREE_EXPANDED: Final = 64 << 20
"""Bytes that any stream or archive may expand to, whatever its ratio: small files compress to
almost nothing, and this much harms nobody."""

FREE_DECODED: Final = 1 << 30
"""Bytes that any table or picture may decode to, whatever its ratio: a hundred million equal
numbers take some kilobytes in a column, and are honest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one run; see :class:`~sluicegate.stages.files.stage.InspectFiles`."""

    types: frozenset[str]
    file_bytes: int
    files: int
    total_bytes: int
    expanded_bytes: int
    ratio: int
    decoded_ratio: int
    entries: int
    depth: int
    nested_archives: bool
    line_bytes: int
    json_depth: int
    columns: int
    row_groups: int
    pixels: int
    memory_bytes: int
    seconds: float

    def may_expand(self, size: int) -> int:
        """Return how many bytes the streams and archives in ``size`` bytes may expand to."""
        return min(self.expanded_bytes, max(FREE_EXPANDED, size * self.ratio))

    def may_decode(self, size: int) -> int:
        """Return how many bytes the tables and pictures in ``size`` bytes may decode to."""
        return min(self.expanded_bytes, max(FREE_DECODED, size * self.decoded_ratio))
