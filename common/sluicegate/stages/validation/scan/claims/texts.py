"""Texts that something can parse: dates, JSON, JSON that follows a schema.

What parses is decided by the very function that Great Expectations calls, once for each
different text. Before it, an expression vouches for texts of the plain notation, which most
are: what it vouches for, the function takes too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.answers import SCAN, Answer
from sluicegate.stages.validation.scan.base import (
    Claim,
    Column,
    Kind,
    Measure,
    RowFinder,
    Rows,
    Unclaimed,
)
from sluicegate.stages.validation.scan.claims.rules import EachValue, column_of
from sluicegate.stages.validation.scan.claims.schemas import compiled
from sluicegate.stages.validation.scan.measures import Present, Total
from sluicegate.stages.validation.scan.measures.suspects import Suspects, suspects_mask
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = ["dateutil", "json_parseable", "json_schema", "strftime"]

_LONGEST_DATE: Final = 200
"""Characters of a text that is parsed as a date; longer ones are left to GX."""

_DIRECTIVES: Final = {
    "Y": "(?:[1-9][0-9]{3}|0[0-9]{2}[1-9])",
    "H": "(?:[01][0-9]|2[0-3])",
    "M": "[0-5][0-9]",
    "S": "[0-5][0-9]",
}
"""Plain notation of each directive."""

_CALENDAR: Final = (
    {"m": "(?:0[1-9]|1[0-2])", "d": "(?:0[1-9]|1[0-9]|2[0-8])"},
    {"m": "(?:0[13-9]|1[0-2])", "d": "(?:29|30)"},
    {"m": "(?:0[13578]|1[02])", "d": "31"},
)
"""Months and the days that they have in every year: all but 29 February."""

_PLAIN_FORMAT: Final = re.compile(r"(?:%[YmdHMS]|[-/:.,_TZ])+(?: (?:%[YmdHMS]|[-/:.,_TZ])+)*")
_ISO_FORM: Final = "%Y-%m-%d(?:[T ]%H:%M:%S(?:\\.[0-9]{1,6})?Z?)?"


def strftime(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_match_strftime_format``."""
    form = expectation.kwargs.get("strftime_format")
    if not isinstance(form, str):
        raise Unclaimed("strftime_format is not text")

    def parses(text: str) -> bool:
        try:
            datetime.strptime(text, form)  # noqa: DTZ007  as GX does
        except ValueError:
            return False
        return True

    return _parsing(expectation, columns, rows, parses, _plain_notation(form))


def dateutil(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_dateutil_parseable``."""
    from dateutil.parser import parse  # type: ignore[import-untyped]

    def parses(text: str) -> bool:
        if len(text) > _LONGEST_DATE:
            raise ValueError("a text of many characters")
        try:
            parse(text)
        except (ValueError, OverflowError):
            return False
        return True

    return _parsing(expectation, columns, rows, parses, _filled(_ISO_FORM))


def json_parseable(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_json_parseable``."""

    def parses(text: str) -> bool:
        try:
            json.loads(text)
        except ValueError:
            return False
        return True

    return _parsing(expectation, columns, rows, parses, "")


def json_schema(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_match_json_schema``."""
    valid = compiled(expectation.kwargs.get("json_schema"))
    broken = (json.JSONDecodeError,)
    return _Readable(_parsing(expectation, columns, rows, valid, "", broken))


@dataclass(frozen=True, slots=True, eq=False)
class _Readable:
    """A claim about texts, of which one that cannot be read leaves all without an answer."""

    inner: EachValue

    @property
    def expectation(self) -> Expectation:
        return self.inner.expectation

    @property
    def measures(self) -> Mapping[str, Measure]:
        return self.inner.measures

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        if isinstance(found["unexpected"], str):
            said = f"Great Expectations could not tell: {found['unexpected']}"
            return Answer.unknown(said, engine=SCAN)
        return self.inner.conclude(found)

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        return self.inner.failing(found)


def _parsing(
    expectation: Expectation,
    columns: Mapping[str, Column],
    rows: Rows,
    function: Callable[[str], bool],
    plain: str,
    unreadable: tuple[type[Exception], ...] = (),
) -> EachValue:
    """Return the claim that a function is true of each present text.

    Args:
        expectation: what is asked.
        columns: of the data.
        rows: of which rows.
        function: the parser; raises where GX would fail as a whole.
        plain: pattern of texts that it takes for certain, or nothing.
        unreadable: what it raises for texts that leave the expectation without an answer.
    """
    column = column_of(expectation, columns)
    if column.kind != Kind.TEXT:
        raise Unclaimed(f"parsing values of type {column.arrow}")
    measure = Suspects(column.name, _vouching(column, plain), function, unreadable, rows)

    def find(frame: pl.DataFrame) -> pl.Series:
        return suspects_mask(measure, frame)

    return EachValue(
        expectation=expectation,
        measures={
            "total": Total(rows),
            "present": Present(column.name, rows),
            "unexpected": measure,
        },
        marks=lambda _found: find,
    )


def _vouching(column: Column, plain: str) -> pl.Expr:
    import polars as pl

    return pl.col(column.name).str.contains(rf"\A(?:{plain})\z") if plain else pl.lit(False)  # noqa: FBT003


def _plain_notation(form: str) -> str:
    """Return a pattern of texts that surely are of a format, or nothing."""
    named = re.findall(r"%(.)", form)
    if not _PLAIN_FORMAT.fullmatch(form) or len(set(named)) != len(named):
        return ""
    return _filled(form.replace(".", r"\."))


def _filled(form: str) -> str:
    """Return a pattern of the texts of a format, one alternative for each kind of month."""
    filled = []
    for days in _CALENDAR:
        pattern = form
        for letter, notation in (_DIRECTIVES | days).items():
            pattern = pattern.replace(f"%{letter}", notation)
        filled.append(pattern)
    return "|".join(filled)
