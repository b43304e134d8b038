"""What security expectations measure, batch by batch.

Each is exact, whatever batches the rows come in, and its state does not grow with the data.
They follow the protocol :class:`sluicegate.stages.validation.scan.base.Measure`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.expectations.spec import Rows
    from sluicegate.stages.validation.scan.base import State
    from sluicegate.text.base import TextRule

__all__ = [
    "MOST_STRANGERS",
    "Height",
    "Levels",
    "LevelsFound",
    "Marked",
    "MarkedFound",
    "Ranks",
    "RanksFound",
    "Tally",
    "question_key",
    "within",
]

MOST_STRANGERS: Final = 10_000
"""Most unknown values that are told apart: beyond it there are "more than" so many."""

_REMEMBERED: Final = 50_000
"""Most texts whose marks are remembered, so that a repeated text is judged once."""

_LONGEST_REMEMBERED: Final = 256
"""Longest text, in code points, that is remembered: together with the number of texts it
bounds the memory to about 50 MB."""


def question_key(*parts: object, rows: Rows) -> str:
    """Return a key that only the same question about the same rows has.

    Args:
        parts: all that the measure depends on; equal only if their ``repr`` is.
        rows: which rows it is about.
    """
    condition = rows.condition
    data = b"" if condition is None else _serialised(condition)
    return hashlib.sha256(repr(parts).encode() + b"\0" + data).hexdigest()


def _serialised(condition: pl.Expr) -> bytes:
    import polars as pl

    try:
        return condition.meta.serialize()
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        # What cannot be compared is a question of its own.
        return uuid.uuid4().bytes


def only(frame: pl.DataFrame, rows: Rows, expression: pl.Expr) -> pl.Series:
    """Return the present values of an expression over the rows that are meant.

    Args:
        frame: a batch.
        rows: which rows.
        expression: one value a row.
    """
    import polars as pl

    lazy = frame.lazy()
    if rows.condition is not None:
        lazy = lazy.filter(rows.condition)
    values = lazy.select(expression.alias("value")).filter(pl.col("value").is_not_null())
    return values.collect(engine="in-memory").to_series()


@dataclass(slots=True)
class _Summing:
    sums: list[int]

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        for index, value in enumerate(values):
            self.sums[index] += int(value or 0)

    def finish(self) -> tuple[int, ...]:
        return tuple(self.sums)


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Rows, rows with a value, and rows for which a mask is true: a tuple of three."""

    column: str
    mask: pl.Expr
    identity: tuple[object, ...]
    """What the mask depends on."""
    rows: Rows

    @property
    def key(self) -> str:
        """Equal for tallies that always come to the same."""
        return question_key("security-tally", self.column, self.identity, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return the three counts."""
        return (*counted(self.column, self.rows), within(self.rows, self.mask).sum())

    def start(self) -> State:
        """Return the counts before the first row."""
        return _Summing([0, 0, 0])


def within(rows: Rows, mask: pl.Expr) -> pl.Expr:
    """Return a mask that is false for rows that are not meant, and for null."""
    mask = mask.fill_null(value=False)
    return mask if rows.condition is None else mask & rows.condition


def counted(column: str, rows: Rows) -> tuple[pl.Expr, pl.Expr]:
    """Return how many rows are meant, and how many of them have a value in a column."""
    import polars as pl

    total = pl.len() if rows.condition is None else rows.condition.sum()
    return total, within(rows, pl.col(column).is_not_null()).sum()


@dataclass(frozen=True, slots=True, eq=False)
class Height:
    """How many rows there are: a tuple of one."""

    rows: Rows

    @property
    def key(self) -> str:
        """Equal for the same rows."""
        return question_key("height", rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return the count."""
        import polars as pl

        return (pl.len() if self.rows.condition is None else self.rows.condition.sum(),)

    def start(self) -> State:
        """Return the count before the first row."""
        return _Summing([0])


@dataclass(frozen=True, slots=True)
class LevelsFound:
    """How often each of some values occurs, and what else there is."""

    total: int
    """Rows."""
    present: int
    """Rows with a value."""
    counts: tuple[int, ...]
    """Of each known value, in the order they were given."""
    strangers: int | None
    """How many different other values there are; None when more than
    :data:`MOST_STRANGERS`, or when nobody asked."""

    @property
    def others(self) -> int:
        """Rows with a value that is none of the known ones."""
        return self.present - sum(self.counts)


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """How often each known value occurs: :class:`LevelsFound`."""

    column: str
    values: pl.Expr
    """The column, in the type of the known values."""
    known: pl.Series
    """The known values, each once, without null."""
    strangers: bool
    """Whether to count different other values."""
    rows: Rows

    @property
    def key(self) -> str:
        """Equal for questions about the same values of the same column."""
        known = (str(self.known.dtype), self.known.to_list())
        return question_key("levels", self.column, known, self.strangers, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return the counts of rows; values are counted from the batch itself."""
        return counted(self.column, self.rows)

    def start(self) -> State:
        """Return the counts before the first row."""
        return _Levelling(self)


@dataclass(slots=True)
class _Levelling:
    measure: Levels
    total: int = 0
    present: int = 0
    counts: Counter[Any] = field(default_factory=Counter)
    strangers: set[Any] | None = field(default_factory=set)

    def add(self, values: Sequence[Any], frame: pl.DataFrame) -> None:
        self.total += int(values[0] or 0)
        self.present += int(values[1] or 0)
        seen = only(frame, self.measure.rows, self.measure.values)
        known = seen.is_in(self.measure.known.implode())
        found = seen.filter(known).value_counts(name="count")
        self.counts.update(dict(zip(found["value"].to_list(), found["count"], strict=True)))
        if self.measure.strangers and self.strangers is not None:
            others = seen.filter(~known).unique().head(MOST_STRANGERS + 1)
            self.strangers.update(others.to_list())
            if len(self.strangers) > MOST_STRANGERS:
                self.strangers = None

    def finish(self) -> LevelsFound:
        strangers = None if self.strangers is None else len(self.strangers)
        return LevelsFound(
            self.total,
            self.present,
            tuple(self.counts[value] for value in self.measure.known.to_list()),
            strangers if self.measure.strangers else None,
        )


@dataclass(frozen=True, slots=True)
class RanksFound:
    """How many values are below each of some points."""

    total: int
    """Rows."""
    present: int
    """Rows with a value."""
    below: tuple[int, ...]
    """Values less than each point."""
    until: tuple[int, ...]
    """Values at most each point."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """How many values of a numeric column are below some points: :class:`RanksFound`."""

    column: str
    points: tuple[float, ...]
    """Ascending, finite."""
    rows: Rows

    @property
    def key(self) -> str:
        """Equal for the same points of the same column."""
        return question_key("ranks", self.column, self.points, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return the counts of rows; values are ranked from the batch itself."""
        return counted(self.column, self.rows)

    def start(self) -> State:
        """Return the counts before the first row."""
        return _Ranking(self, [0] * len(self.points), [0] * len(self.points))


@dataclass(slots=True)
class _Ranking:
    measure: Ranks
    below: list[int]
    until: list[int]
    total: int = 0
    present: int = 0

    def add(self, values: Sequence[Any], frame: pl.DataFrame) -> None:
        import polars as pl

        self.total += int(values[0] or 0)
        self.present += int(values[1] or 0)
        column = pl.col(self.measure.column).cast(pl.Float64)
        ordered = only(frame, self.measure.rows, column).sort()
        points = pl.Series(self.measure.points, dtype=pl.Float64)
        for index, rank in enumerate(ordered.search_sorted(points, side="left")):
            self.below[index] += rank
        for index, rank in enumerate(ordered.search_sorted(points, side="right")):
            self.until[index] += rank

    def finish(self) -> RanksFound:
        return RanksFound(self.total, self.present, tuple(self.below), tuple(self.until))


@dataclass(frozen=True, slots=True)
class MarkedFound:
    """What a rule about texts found."""

    total: int
    """Rows."""
    present: int
    """Rows with a text."""
    unexpected: int
    """Rows whose text has a mark."""
    kinds: tuple[tuple[str, int], ...]
    """Rows by kind of mark, by name; a row with marks of two kinds counts in both."""


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """Which texts a rule finds fault with: :class:`MarkedFound`.

    The rule's filter is part of the scan; its exact judge sees only what the filter leaves,
    each different text of a batch once.
    """

    column: str
    text: pl.Expr
    """The column as text."""
    rule: TextRule
    rows: Rows

    @property
    def key(self) -> str:
        """Equal for the same rule about the same column."""
        return question_key("marked", self.column, repr(self.rule), rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """Return the counts of rows, and of texts that the exact judge must see."""
        suspects = within(self.rows, self.rule.suspects(self.text)).sum()
        return (*counted(self.column, self.rows), suspects)

    def start(self) -> State:
        """Return what is known before the first row."""
        return _Marking(self)

    def kinds_of(self, text: str) -> frozenset[str]:
        """Return the kinds of the marks in one text."""
        return frozenset(mark.kind for mark in self.rule.marks(text))

    def mask(self, frame: pl.DataFrame) -> pl.Series:
        """Return which rows of a batch have a mark."""
        import polars as pl

        marked = within(self.rows, self.rule.suspects(self.text)).alias("suspect")
        rows = frame.select(marked, self.text.alias("text"))
        texts = rows.filter(pl.col("suspect"))["text"].unique().to_list()
        bad = pl.Series([one for one in texts if self.kinds_of(one)], dtype=pl.String)
        found = rows.select(pl.col("suspect") & pl.col("text").is_in(bad.implode()))
        return found.to_series().fill_null(value=False)


@dataclass(slots=True)
class _Marking:
    measure: Marked
    total: int = 0
    present: int = 0
    unexpected: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    remembered: dict[str, frozenset[str]] = field(default_factory=dict)

    def add(self, values: Sequence[Any], frame: pl.DataFrame) -> None:
        import polars as pl

        self.total += int(values[0] or 0)
        self.present += int(values[1] or 0)
        if not values[2]:
            return
        text = self.measure.text
        suspect = pl.when(self.measure.rule.suspects(text)).then(text)
        suspects = only(frame, self.measure.rows, suspect)
        counts = suspects.value_counts(name="count")
        for one, count in zip(counts["value"].to_list(), counts["count"].to_list(), strict=True):
            self._take(self._judge(one), count)

    def _judge(self, text: str) -> frozenset[str]:
        if len(text) > _LONGEST_REMEMBERED:
            return self.measure.kinds_of(text)
        found = self.remembered.get(text)
        if found is None:
            found = self.measure.kinds_of(text)
            if len(self.remembered) < _REMEMBERED:
                self.remembered[text] = found
        return found

    def _take(self, kinds: frozenset[str], count: int) -> None:
        if kinds:
            self.unexpected += count
            self.kinds.update(dict.fromkeys(kinds, count))

    def finish(self) -> MarkedFound:
        kinds = tuple(sorted(self.kinds.items()))
        return MarkedFound(self.total, self.present, self.unexpected, kinds)
