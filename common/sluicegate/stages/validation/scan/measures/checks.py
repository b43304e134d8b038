"""Rows and texts, one by one: for what no expression of polars says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FirstRows", "PythonCheck", "python_mask"]

_REMEMBERED: Final = 1 << 16
"""Results of a function that are kept between batches; with :data:`_SHORT`, some megabytes."""

_SHORT: Final = 128
"""Characters of the longest text whose result is kept."""


@dataclass(slots=True)
class _Positions:
    most: int
    start: int = 0
    found: list[int] = field(default_factory=list)

    def add(self, values: Sequence[Any], frame: pl.DataFrame) -> None:
        if (left := self.most - len(self.found)) > 0:
            self.found.extend(self.start + at for at in values[0].head(left).to_list())
        self.start += frame.height

    def finish(self) -> tuple[int, ...]:
        return tuple(self.found)


@dataclass(frozen=True, slots=True, eq=False)
class FirstRows:
    """Positions in the data set of the first rows that a boolean expression is true for."""

    mask: pl.Expr
    most: int
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("first_rows", self.mask, self.most, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.mask(self.mask).arg_true().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Positions(self.most)


def python_mask(
    texts: pl.Series, function: Callable[[str], bool], known: dict[str, bool] | None = None
) -> pl.Series:
    """Apply a function to each different text of a series, once.

    Args:
        texts: a series of texts.
        function: True for texts that are as they should be.
        known: results from before, which is added to.

    Returns:
        What the function says of each row's text; null where there is none.
    """
    import polars as pl

    known = {} if known is None else known
    different = texts.drop_nulls().unique()
    said = [_said(one, function, known) for one in different]
    answers = pl.Series(said, dtype=pl.Boolean)
    if answers.all():  # the common case needs no lookup
        return pl.select(pl.when(texts.is_not_null()).then(True)).to_series()  # noqa: FBT003
    return texts.replace_strict(different, answers, default=None, return_dtype=pl.Boolean)


def _said(text: str, function: Callable[[str], bool], known: dict[str, bool]) -> bool:
    said = known.get(text)
    if said is None:
        said = bool(function(text))
        if len(text) <= _SHORT and len(known) < _REMEMBERED:
            known[text] = said
    return said


@dataclass(slots=True)
class _Calling:
    function: Callable[[str], bool]
    known: dict[str, bool] = field(default_factory=dict)
    total: int = 0

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        self.total += int(python_mask(values[0], self.function, self.known).sum())

    def finish(self) -> int:
        return self.total


@dataclass(frozen=True, slots=True, eq=False)
class PythonCheck:
    """How many rows have a text that a Python function is true of.

    The function is called once for each different text of a batch. What it raises makes the
    measure fail. It must be linear in the length of the text: nothing here limits its time.
    For the rows, give ``python_mask(frame[column], function)`` as the claim's row finder, and
    mind conditions there.
    """

    column: str
    function: Callable[[str], bool]
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("python", self.column, id(self.function), rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        import polars as pl

        return (self.rows.of(pl.col(self.column)).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Calling(self.function)
