"""Rows that were seen to fail in the first pass, so that no second one has to look for them.

A claim says which rows fail only after the scan. Mostly that is the very mask that it had
counted. So of each counted mask the positions are kept, as long as they are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.answers import MOST_ROWS
from sluicegate.stages.validation.scan.base import Measure
from sluicegate.stages.validation.scan.failures import failures
from sluicegate.stages.validation.scan.measures.counting import Count
from sluicegate.stages.validation.scan.measures.keys import key_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Remembered"]

_MOST: Final = 4 << 20
"""Positions of all masks together: 32 MiB."""


class Remembered:
    """Positions in the data set of the rows of counted masks."""

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        """Take the measures of a scan by their keys."""
        self._masks = {
            key: measure.marks() for key, measure in measures.items() if isinstance(measure, Count)
        }
        self._rows: dict[str, list[Any]] = {key: [] for key in self._masks}
        self._counts = dict.fromkeys(self._masks, 0)

    def take(self, frame: pl.DataFrame, start: int, counted: Mapping[str, Sequence[Any]]) -> None:
        """Keep the rows of a batch.

        Args:
            frame: its rows.
            start: position of the first one.
            counted: what each measure came to in this batch.
        """
        some: dict[str, pl.Expr] = {}
        for key in list(self._rows):
            count = int(counted[key][0] or 0) if key in counted else MOST_ROWS + 1
            self._counts[key] += count
            if self._counts[key] > MOST_ROWS or sum(self._counts.values()) > _MOST:
                del self._rows[key], self._counts[key]
            elif count:
                some[key] = self._masks[key]
        if not some:
            return
        try:
            marked = frame.lazy().select(**some).collect(engine="in-memory")
        except failures():
            self._rows, self._counts = {}, {}  # the second pass finds out what is wrong
            return
        for key in some:
            self._rows[key].append(marked[key].arg_true().to_numpy() + start)

    def positions(self, marks: pl.Expr) -> list[int] | None:
        """Return all rows that an expression marks, if that is a mask that was counted."""
        wanted = key_of("marks", marks)
        for key, rows in self._rows.items():
            if key_of("marks", self._masks[key]) == wanted:
                return [int(at) for part in rows for at in part]
        return None
