"""Row conditions: which rows an expectation is about.

GX turns a condition into text for ``DataFrame.query``, which evaluates expressions: a
condition that is text, or a column name with a backtick in it, runs any code. So conditions
are read into a closed set of comparisons (``condition_forms.py``, ``condition_text.py``) and
applied here, to a pandas frame or as a polars expression, and GX gets the selected rows
without a condition.

Both ways select the rows that ``DataFrame.query`` would. A missing value meets no comparison
but "is not": NaN differs from everything, and so is selected by ``!=`` and ``not in``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from sluicegate.stages.validation.scan.base import Column

__all__ = ["OPERATORS", "Comparison", "Condition", "Every", "Negated", "Nullity", "Some"]

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "==": lambda column, value: _equal(column, value),
        "!=": lambda column, value: ~_equal(column, value),
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "IN": lambda column, values: column.isin(list(values)),
        "NOT_IN": lambda column, values: ~column.isin(list(values)),
    }
)

OPERATORS: Final = tuple(_COMPARISONS)
"""How values compare with constants. Source: ``Operator`` of GX 1.24.1."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows whose value in one column compares so with a constant."""

    column: str
    operator: str
    parameter: str | int | float | bool | tuple[str | int | float, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series.

        Raises:
            TypeError: the column holds values that do not compare with the constant.
        """
        return _boolean(_COMPARISONS[self.operator](frame[self.column], self.parameter))

    def expression(self, columns: Mapping[str, Column]) -> pl.Expr:
        """Return which rows it selects, as a boolean expression that is never null.

        Args:
            columns: what each column of a batch holds, by name.

        Raises:
            Unclaimed: the column's type and the constant do not compare as plain values.
        """
        from sluicegate.stages.validation.suites.condition_expressions import comparison

        return comparison(self.column, self.operator, self.parameter, columns)


@dataclass(frozen=True, slots=True)
class Nullity:
    """Rows that have, or lack, a value in one column."""

    column: str
    is_null: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series."""
        values = frame[self.column]
        return values.isna() if self.is_null else values.notna()

    def expression(self, columns: Mapping[str, Column]) -> pl.Expr:
        """Return which rows it selects; see :meth:`Comparison.expression`."""
        from sluicegate.stages.validation.suites.condition_expressions import nullity

        return nullity(self.column, columns, is_null=self.is_null)


@dataclass(frozen=True, slots=True)
class Every:
    """Rows that all of several conditions select."""

    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(column for one in self.conditions for column in one.columns)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series; see :class:`Comparison`."""
        selected = self.conditions[0].selects(frame)
        for one in self.conditions[1:]:
            selected = selected & one.selects(frame)
        return selected

    def expression(self, columns: Mapping[str, Column]) -> pl.Expr:
        """Return which rows it selects; see :meth:`Comparison.expression`."""
        selected = self.conditions[0].expression(columns)
        for one in self.conditions[1:]:
            selected = selected & one.expression(columns)
        return selected


@dataclass(frozen=True, slots=True)
class Some:
    """Rows that at least one of several conditions selects."""

    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(column for one in self.conditions for column in one.columns)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series; see :class:`Comparison`."""
        selected = self.conditions[0].selects(frame)
        for one in self.conditions[1:]:
            selected = selected | one.selects(frame)
        return selected

    def expression(self, columns: Mapping[str, Column]) -> pl.Expr:
        """Return which rows it selects; see :meth:`Comparison.expression`."""
        selected = self.conditions[0].expression(columns)
        for one in self.conditions[1:]:
            selected = selected | one.expression(columns)
        return selected


@dataclass(frozen=True, slots=True)
class Negated:
    """Rows that a condition does not select, those without a value among them."""

    condition: Condition

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return self.condition.columns

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series; see :class:`Comparison`."""
        return ~self.condition.selects(frame)

    def expression(self, columns: Mapping[str, Column]) -> pl.Expr:
        """Return which rows it selects; see :meth:`Comparison.expression`."""
        return ~self.condition.expression(columns)


Condition = Comparison | Nullity | Every | Some | Negated


def _equal(column: Any, value: Any) -> Any:
    """Compare as ``DataFrame.query`` does, to which a text is a set of one text.

    So no time equals a text, whatever it says, while it can come before or after one.
    """
    return column.isin([value]) if isinstance(value, str) else _boolean(column == value)


def _boolean(selected: Any) -> Any:
    """Read "no value" as not selected, as comparisons with NaN do."""
    return selected.fillna(value=False).astype(bool)
