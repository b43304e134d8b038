"""Logical types: what a column holds, whatever its file calls it.

The words are those of data contracts. Source: Open Data Contract Standard 3.0, section
Schema, ``logicalType``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import SCAN, Answer
from sluicegate.stages.validation.expectations.arguments import COLUMN, Argument, chosen
from sluicegate.stages.validation.expectations.literals import (
    NESTED,
    is_boolean,
    is_numeric,
    is_text,
)
from sluicegate.stages.validation.expectations.measures import Tally, within
from sluicegate.stages.validation.expectations.questions import nothing_to_judge
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    import polars as pl

    from sluicegate.stages.validation.scan.base import Measure

__all__ = ["SPECS"]

_LISTS: Final = ("list", "large_list", "fixed_size_list")
_OBJECTS: Final = ("struct<", "map<")

_DATE: Final = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
_ZONE: Final = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_NOTATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"date": _DATE, "timestamp": f"{_DATE}[T ]{_TIME}{_ZONE}", "time": f"{_TIME}{_ZONE}"}
)
"""How a text says each of them. Source: ISO 8601-1:2019, extended format; RFC 3339."""

_STARTS: Final[Mapping[str, str]] = MappingProxyType({"array": "[", "object": "{"})
"""First character of their JSON. Source: RFC 8259, section 2."""


def _is_integer(column: Column) -> bool:
    return column.dtype.is_integer() or (
        column.dtype.is_decimal() and getattr(column.dtype, "scale", None) == 0
    )


def _is(name: str) -> Callable[[Column], bool]:
    return lambda column: column.dtype.base_type().__name__ == name


_FITS: Final[Mapping[str, Callable[[Column], bool]]] = MappingProxyType(
    {
        "array": lambda column: column.arrow.startswith(_LISTS),
        "boolean": is_boolean,
        "date": _is("Date"),
        "integer": _is_integer,
        "number": is_numeric,
        "object": lambda column: column.arrow.startswith(_OBJECTS),
        "string": is_text,
        "time": _is("Time"),
        "timestamp": _is("Datetime"),
    }
)
"""Whether the type of a column alone makes all of its values such ones."""


@dataclass(frozen=True, slots=True, eq=False)
class _LogicalType:
    tally: Tally
    problem: str
    rows_differ: bool
    """Whether it is for each value to be right or wrong, and not for the type of all."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"values": self.tally})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        total, present, wrong = found["values"]
        # How many values are missing says nothing about a type: they are not counted here.
        return nothing_to_judge(total, present) or Answer(
            engine=SCAN,
            success=not wrong,
            problems=(self.problem,) if wrong else (),
            elements=total,
        )

    def failing(self, _found: Mapping[str, Any]) -> pl.Expr | None:
        return within(self.tally.rows, self.tally.mask) if self.rows_differ else None


def _ask(kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows) -> Question:
    import polars as pl

    column, word = columns[kwargs["column"]], kwargs["logical_type"]
    identity = ("logical", word, column.arrow)
    values = pl.col(column.name)
    if _FITS[word](column):
        never = values.is_null() & values.is_not_null()
        return _LogicalType(Tally(column.name, never, identity, rows), "", rows_differ=False)
    wrong = _wrong(column, word)
    if wrong is not None:
        problem = f"values that are no {word}"
        return _LogicalType(
            Tally(column.name, values.is_not_null() & wrong, identity, rows),
            problem,
            rows_differ=True,
        )
    problem = f"the column is of type {column.arrow.partition('<')[0]}, and no {word}"
    every = Tally(column.name, values.is_not_null(), identity, rows)
    return _LogicalType(every, problem, rows_differ=False)


def _wrong(column: Column, word: str) -> pl.Expr | None:
    """Return what marks values that are not of a logical type; None if their type says no."""
    import polars as pl

    values = pl.col(column.name)
    if word in _NOTATIONS and is_text(column):
        return ~_written(values.cast(pl.String), word)
    if word in _STARTS and column.arrow == NESTED:
        return ~values.str.strip_chars_start().str.starts_with(_STARTS[word])
    if word == "integer" and getattr(column, "from_pandas", False) and column.arrow == "double":
        # Integers with gaps: a data frame holds them as floats.
        return None if not column.nullable else ~(values.is_finite() & (values == values.floor()))
    return None


def _written(texts: pl.Expr, word: str) -> pl.Expr:
    """Return whether texts are in the notation of a date, a time or both."""
    formal = texts.str.contains(rf"\A(?:{_NOTATIONS[word]})\z")
    if word == "time":
        return formal
    day = texts.str.slice(0, len("2025-01-01")).str.to_date("%Y-%m-%d", strict=False)
    return formal & day.is_not_null()


def _line(kwargs: Mapping[str, Json]) -> str:
    return f"the values of {kwargs['column']!r} are of the logical type {kwargs['logical_type']}"


SPECS: Final = (
    Spec(
        type="expect_column_logical_type_to_be",
        shape=Shape.COLUMN,
        summary="""The values of a column are of a logical type, whatever the file calls it.

The words are those of data contracts: string, integer (of any width; decimals without a
fraction), number (integers, floats, decimals), boolean, date, timestamp (with or without a
time zone), time, array, object (structs and maps). What counts is the type of the column in
the file, or the one that was inferred where a file has none. Since such files know no dates,
a column of texts is of type date, timestamp or time if each present value is one in ISO 8601
notation. Numbers that are written as text are strings, and floats are no integers, be they
whole or not; only in a pandas frame, where integers with gaps are floats, whole ones with
gaps are integers. One wrong value fails: there is no mostly. Unknown if every value is
missing, or values are of several types.""",
        arguments=(
            COLUMN,
            Argument(
                name="logical_type",
                form=chosen(tuple(_FITS), "a logical type"),
                explanation="what the values must be",
            ),
        ),
        ask=_ask,
        line=_line,
    ),
)
"""The types of this family."""
