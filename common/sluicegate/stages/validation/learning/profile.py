"""What one pass over trusted data remembers of each column: a size that does not grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.learning.samples import Domain, Repeats, RowSample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["BLOCKS", "ColumnProfile", "Profile", "What"]

BLOCKS: Final = 4
"""A single reference is looked at in this many stretches, to see how much they differ."""


class What(StrEnum):
    """What a column holds, as far as learning cares."""

    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"
    TIME = "time"
    """A moment or a day; in the sample as microseconds since 1970."""
    OTHER = "other"


@dataclass(slots=True, kw_only=True)
class ColumnProfile:
    """One column of the reference."""

    name: str
    what: What
    arrow: str
    """Its Arrow type."""
    nullable: bool
    integers: bool = False
    """The type allows whole numbers only."""
    zone: bool = False
    """A moment with a time zone."""
    whole: bool = True
    """All values so far are whole numbers, whatever the type allows."""
    nulls: int = 0
    infinite: int = 0
    stretches: list[tuple[int, int]] = field(default_factory=list)
    """Rows and missing values of each batch."""
    domain: Domain = field(default_factory=Domain)
    repeats: Repeats = field(default_factory=Repeats)
    shapes: list[int] = field(default_factory=list)
    """How many texts have each shape."""
    marked: dict[str, int] = field(default_factory=dict)
    """How many texts each rule about texts finds fault with."""

    def present(self, rows: int) -> int:
        """Return how many of so many rows have a value."""
        return rows - self.nulls


@dataclass(slots=True, kw_only=True)
class Profile:
    """The whole reference."""

    columns: dict[str, ColumnProfile]
    sample: RowSample
    """Numbers, lengths of texts, times; by column name."""
    rows: int = 0
    parts: list[int] = field(default_factory=list)
    """Rows of each reference that was given."""
    whole_rows: Repeats = field(default_factory=Repeats)
    key: Repeats = field(default_factory=Repeats)
    """Of the key columns together, where there are several."""
    key_nulls: int = 0

    def values(self, column: str) -> Floats:
        """Return the sampled values that are present and finite."""
        import numpy as np

        values: Floats = self.sample.columns[column]
        return values[np.isfinite(values)]

    def blocks(self, column: str) -> list[Floats]:
        """Return the sampled values by reference, or by stretch of the only one."""
        import numpy as np

        values: Any = self.sample.columns[column]
        if len(self.parts) > 1:
            ends = np.cumsum(self.parts)
        else:
            ends = np.linspace(0, self.rows, BLOCKS + 1)[1:]
        block = np.searchsorted(ends, self.sample.positions, side="right")
        usable = np.isfinite(values)
        return [values[usable & (block == at)] for at in range(len(ends))]

    @property
    def complete(self) -> bool:
        """Whether the sample holds every row."""
        return self.sample.hashes is not None and len(self.sample.hashes) == self.rows
