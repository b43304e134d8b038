"""Row conditions as polars expressions that select what pandas would.

pandas and polars differ where types meet: pandas compares a text with a number and says no,
reads integers with gaps as floats, rounds a constant to the type of a column of float32.
Where the two cannot be known to agree from the types alone, this says
:class:`~sluicegate.stages.validation.answers.Unclaimed`, and pandas selects.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.answers import Unclaimed

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.scan.base import Column

__all__ = ["comparison", "nullity"]

_EXACT: Final = 1 << 53
"""Constants below it compare alike with integers and with integers rounded to floats.
Source: IEEE 754 binary64."""

_SELECTS_NULL: Final = ("!=", "NOT_IN")
"""What a missing value meets: NaN differs from everything."""

_SIGNS: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
)

_ORDERS: Final = ("<", "<=", ">", ">=")

_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?")


def nullity(name: str, columns: Mapping[str, Column], *, is_null: bool) -> pl.Expr:
    """Return which rows lack, or have, a value.

    Raises:
        Unclaimed: there is no such column.
    """
    import polars as pl

    values = pl.col(_known(name, columns).name)
    return values.is_null() if is_null else values.is_not_null()


def comparison(name: str, sign: str, parameter: Any, columns: Mapping[str, Column]) -> pl.Expr:
    """Return which rows compare so with a constant, or with one of several.

    Raises:
        Unclaimed: there is no such column, or its type does not fit.
    """
    column = _known(name, columns)
    compared = _compared(column, sign, parameter)
    return compared.fill_null(value=sign in _SELECTS_NULL)


def _known(name: str, columns: Mapping[str, Column]) -> Column:
    if name not in columns:
        raise Unclaimed(f"the row condition names {name!r}, which is not a column")
    return columns[name]


def _compared(column: Column, sign: str, parameter: Any) -> pl.Expr:
    import polars as pl

    values = pl.col(column.name)
    if sign in ("IN", "NOT_IN"):
        members = [_constant(column, sign, one) for one in parameter]
        if column.kind == "float32":
            raise _unfit(column)
        found = values == members[0]
        for one in members[1:]:
            found = found | (values == one)
        return found if sign == "IN" else ~found
    if column.kind == "boolean" and sign not in ("==", "!="):
        raise _unfit(column)
    constant = _constant(column, sign, parameter)
    compared: pl.Expr = _SIGNS[sign](values, constant)
    return compared


def _constant(column: Column, sign: str, value: Any) -> pl.Expr:
    """Return the constant in the type that pandas would compare in."""
    import polars as pl

    if column.kind == "boolean" and isinstance(value, bool):
        return pl.lit(value)
    if isinstance(value, bool):
        raise _unfit(column)
    if column.kind == "text" and isinstance(value, str):
        return pl.lit(value)
    if column.kind == "datetime" and isinstance(value, str):
        # A text in a set of times is never found, and so never equal: let pandas say it.
        if sign not in _ORDERS:
            raise _unfit(column)
        return _moment(column, value)
    numeric = column.kind in ("integer", "float64", "float32")
    if not numeric or isinstance(value, str) or not abs(value) < _EXACT:
        raise _unfit(column)
    if column.kind == "float32":
        return pl.lit(value, dtype=pl.Float32)
    if column.kind == "float64" or isinstance(value, float):
        return pl.lit(float(value), dtype=pl.Float64)
    if column.dtype.is_unsigned_integer():
        if value < 0:
            raise _unfit(column)
        return pl.lit(value, dtype=pl.UInt64)
    return pl.lit(value, dtype=pl.Int64)


def _moment(column: Column, text: str) -> pl.Expr:
    """Read a time as pandas does, where no time zone makes it doubtful which one is meant."""
    import polars as pl

    if not _MOMENT.fullmatch(text) or getattr(column.dtype, "time_zone", None) is not None:
        raise _unfit(column)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _unfit(column) from None
    return pl.lit(moment, dtype=pl.Datetime("us"))


def _unfit(column: Column) -> Exception:
    return Unclaimed(
        f"the row condition compares {column.kind} values ({column.name!r}) with a constant of "
        "another kind"
    )
