"""Questions about pandas data frames, by the judge of the scan.

A frame becomes one batch. What pandas took away from a file stays away: integers with gaps
are floats there, and a schema without nullability is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations.literals import MIXED

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from sluicegate.stages.validation.expectations.spec import Question, Spec

__all__ = ["AllRows", "FrameColumn", "ask", "judge", "unexpected"]


@dataclass(frozen=True, slots=True)
class AllRows:
    """Every row of a frame."""

    condition: pl.Expr | None = None


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """A column of a data frame."""

    name: str
    dtype: pl.DataType
    arrow: str
    nullable: bool
    """Whether a value is missing in it: a data frame's schema does not say more."""
    from_pandas: bool = True
    """Its type is what pandas made of the file's."""


def judge(spec: Spec, frame: pd.DataFrame, kwargs: Mapping[str, Json]) -> Answer:
    """Return the answer of an expectation about a data frame.

    Args:
        spec: the expectation type.
        frame: the rows.
        kwargs: its arguments, checked.
    """
    named = [kwargs.get("column"), *(kwargs.get("column_list") or ())]
    names = [name for name in named if name is not None]
    if absent := [name for name in names if name not in frame.columns]:
        return Answer.broken(f"column {absent[0]!r} does not exist")
    if not frame.columns.is_unique:
        return Answer.unknown("two columns have the same name: it is not clear which is meant")
    # The schema is asked about all columns.
    batch, columns = _batch(frame[names] if names else frame)
    return ask(spec.question(kwargs, columns, AllRows()), batch)


def unexpected(spec: Spec, series: pd.Series, kwargs: Mapping[str, Json]) -> pd.Series:
    """Return which values of a series are not as expected, as a boolean series.

    Args:
        spec: an expectation type that judges values one by one.
        series: the values.
        kwargs: its arguments, checked.
    """
    import pandas as pd
    import polars as pl

    name = kwargs["column"]
    batch, columns = _batch(series.to_frame(name))
    marker = spec.question(kwargs, columns, AllRows()).failing({})
    if marker is None:
        found = pl.Series([False] * batch.height, dtype=pl.Boolean)
    else:
        found = batch.select(marker).to_series() if isinstance(marker, pl.Expr) else marker(batch)
    return pd.Series(found.to_numpy(), index=series.index, dtype=bool)


def ask(question: Question, batch: pl.DataFrame) -> Answer:
    """Return the answer to a question about one batch that holds all rows."""
    found: dict[str, Any] = {}
    for name, measure in question.measures.items():
        expressions = [
            expression.alias(str(index)) for index, expression in enumerate(measure.expressions())
        ]
        state = measure.start()
        state.add(batch.select(expressions).row(0) if expressions else (), batch)
        found[name] = state.finish()
    return question.conclude(found)


def _batch(frame: pd.DataFrame) -> tuple[pl.DataFrame, dict[str, FrameColumn]]:
    import polars as pl

    batch, columns = {}, {}
    for name in map(str, frame.columns):
        array = _arrow(frame[name])
        kind = MIXED if array is None else str(array.type)
        array = _presence(frame[name]) if array is None else array
        batch[name] = pl.Series(name, _in_utc(array))
        columns[name] = FrameColumn(name, batch[name].dtype, kind, bool(array.null_count))
    return pl.DataFrame(batch), columns


def _arrow(series: pd.Series) -> Any:
    """Return a series as an Arrow array, or None if its values are of several types."""
    import pyarrow as pa

    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _in_utc(array: Any) -> Any:
    """Return moments in the one time zone that every library knows; the moments stay."""
    import pyarrow as pa

    if pa.types.is_timestamp(array.type) and array.type.tz:
        return array.cast(pa.timestamp(array.type.unit, "UTC"))
    return array


def _presence(series: pd.Series) -> Any:
    """Return true for each value and null for each missing one."""
    import pyarrow as pa

    return pa.array([True if present else None for present in series.notna()], pa.bool_())
