"""What all claims share: how counts become an answer, and the rules that are stricter than GX.

The steps are those of :mod:`sluicegate.stages.validation.strict`, on counts instead of rows:
an answer that is vacuous is unknown; values that a stricter rule minds are unexpected too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from fractions import Fraction
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.answers import OWN, SCAN, Answer
from sluicegate.stages.validation.scan.base import (
    Column,
    Kind,
    Measure,
    RowFinder,
    Rows,
    Unclaimed,
)
from sluicegate.stages.validation.scan.measures import Count, Present, Total
from sluicegate.stages.validation.suites.model import Expectation

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "EXACT",
    "NO_ROWS",
    "NO_VALUES",
    "Bounds",
    "EachValue",
    "Whole",
    "column_of",
    "each_value",
    "full_or_float",
    "gaps",
    "has_gaps",
    "infinite_rows",
    "instant",
    "never",
    "number",
    "width",
]

EXACT: Final = 1 << 53
"""Up to here every integer has a float of its own. Source: IEEE 754 binary64."""

NO_ROWS: Final = "the row condition selects no row: nothing was examined"
NO_VALUES: Final = "there is no value to examine: all are missing"

_ABOUT_NULLS: Final = frozenset(
    {
        "expect_column_values_to_be_null",
        "expect_column_values_to_not_be_null",
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_type_to_be",
    }
)
"""Types that a column without values answers; the same as in ``strict``."""

_LARGEST: Final = 1 << 1000
"""Bounds beyond it are left to GX: as floats they may be infinite."""

_MICRO: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Guard = Callable[[Mapping[str, Any]], None]
Marks = Callable[[Mapping[str, Any]], "pl.Expr | RowFinder | None"]


def never(_found: Mapping[str, Any]) -> None:
    """Guard nothing."""


def _never_own(_found: Mapping[str, Any]) -> bool:
    return False


def column_of(
    expectation: Expectation, columns: Mapping[str, Column], key: str = "column"
) -> Column:
    """Return the column that an argument names.

    Raises:
        Unclaimed: it is none, or of a type whose values pandas holds in its own way.
    """
    name = expectation.kwargs.get(key)
    if not isinstance(name, str) or name not in columns:
        raise Unclaimed(f"{key} is not the name of a column")
    return plain(columns[name])


def plain(column: Column) -> Column:
    """Return a column whose values pandas holds as they are.

    Raises:
        Unclaimed: it holds categories, lists, decimals, or nothing by type.
    """
    encoded = column.arrow.startswith("dictionary")
    if encoded or column.kind in (Kind.NESTED, Kind.OTHER, Kind.NULL):
        raise Unclaimed(f"columns of type {column.arrow} are not translated")
    return column


def gaps(column: Column) -> dict[str, Measure]:
    """Return the measures that :func:`has_gaps` needs: of all rows, whatever the condition."""
    return {f"rows of {column.name}": Total(), f"values of {column.name}": Present(column.name)}


def has_gaps(column: Column, found: Mapping[str, Any]) -> bool:
    """Whether a value is missing anywhere: pandas then holds integers as floats."""
    return bool(found[f"rows of {column.name}"] != found[f"values of {column.name}"])


def full_or_float(column: Column, what: str) -> tuple[dict[str, Measure], Guard]:
    """Return measures and a guard against columns that change their type for their gaps."""
    if column.kind not in (Kind.INTEGER, Kind.BOOLEAN):
        return {}, never

    def guard(found: Mapping[str, Any]) -> None:
        if has_gaps(column, found):
            raise Unclaimed(f"{what} of {column.kind} values with gaps depend on pandas")

    return gaps(column), guard


def number(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold roughly."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def width(column: Column) -> tuple[int, int]:
    """Return the least and the greatest integer of an integer column's type."""
    name = str(column.dtype)
    bits = int(name.lstrip("UInt"))
    return (0, (1 << bits) - 1) if name[0] == "U" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def instant(text: Any, *, aware: bool) -> Fraction:
    """Return a full ISO 8601 time as seconds since 1970.

    Raises:
        Unclaimed: anything that GX might read otherwise: a date alone, another notation, or a
            time zone where the column has none and the reverse.
    """
    if not isinstance(text, str) or len(text) < len("2025-01-01T00:00:00") or text[10] != "T":
        raise Unclaimed("a bound that is not a full time in ISO 8601 notation")
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise Unclaimed("a bound that is not a time in ISO 8601 notation") from None
    if (value.tzinfo is not None) != aware:
        raise Unclaimed("bound and column do not both have a time zone")
    since = (value if aware else value.replace(tzinfo=UTC)) - _EPOCH
    return Fraction((since.days * 86_400 + since.seconds) * _MICRO + since.microseconds, _MICRO)


def day(text: Any) -> date:
    """Return a date in ISO 8601 notation.

    Raises:
        Unclaimed: anything else.
    """
    try:
        if not isinstance(text, str) or len(text) != len("2025-01-01"):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Unclaimed("a bound that is not a date in ISO 8601 notation") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """``min_value`` and ``max_value``, each given or not."""

    low: Any = None
    high: Any = None
    strict_low: bool = False
    strict_high: bool = False

    @classmethod
    def of(cls, expectation: Expectation, read: Callable[[Any], Any]) -> Bounds:
        """Read the bounds of an expectation.

        Raises:
            Unclaimed: none is given, or of a kind that GX converts or refuses.
        """
        given = expectation.kwargs
        low, high = given.get("min_value"), given.get("max_value")
        strict = given.get("strict_min") or False, given.get("strict_max") or False
        if low is None and high is None:
            raise Unclaimed("no bound is given")
        if not all(isinstance(one, bool) for one in strict):
            raise Unclaimed("strict_min and strict_max are not true or false")
        low, high = (None if one is None else read(one) for one in (low, high))
        return cls(low=low, high=high, strict_low=bool(strict[0]), strict_high=bool(strict[1]))

    @property
    def given(self) -> tuple[Any, ...]:
        """The bounds that there are."""
        return tuple(one for one in (self.low, self.high) if one is not None)

    @property
    def reversed(self) -> bool:
        """Whether the lower bound lies above the upper one, which GX may refuse."""
        return self.low is not None and self.high is not None and self.low > self.high

    @property
    def large(self) -> bool:
        """Whether a float could not tell a bound from its neighbours."""
        return any(abs(one) >= EXACT for one in self.given)

    def each(self, change: Callable[[Any], Any]) -> Bounds:
        """Return the bounds after a conversion that keeps their order."""
        low = None if self.low is None else change(self.low)
        return replace(self, low=low, high=None if self.high is None else change(self.high))

    def holds(self, value: Any) -> bool:
        """Whether a value lies within."""
        if self.low is not None and not (
            value > self.low if self.strict_low else value >= self.low
        ):
            return False
        if self.high is None:
            return True
        return bool(value < self.high if self.strict_high else value <= self.high)

    def near(self, value: float, margin: float) -> bool:
        """Whether rounding by a margin could move a value over a bound."""
        return any(abs(Fraction(value) - Fraction(one)) <= margin for one in self.given)

    def expression(self, values: pl.Expr) -> pl.Expr:
        """Return whether values lie within."""
        import polars as pl

        parts = []
        if self.low is not None:
            low = pl.lit(self.low)
            parts.append(values > low if self.strict_low else values >= low)
        if self.high is not None:
            high = pl.lit(self.high)
            parts.append(values < high if self.strict_high else values <= high)
        return parts[0] if len(parts) == 1 else parts[0] & parts[1]

    def integers(self, values: pl.Expr, least: int, greatest: int) -> pl.Expr:
        """Return whether integers of a type lie within, compared exactly.

        Args:
            values: the integers.
            least: the least integer of their type.
            greatest: the greatest one.
        """
        import polars as pl

        low, high = least, greatest
        if self.low is not None:
            low = math.floor(self.low) + 1 if self.strict_low else math.ceil(self.low)
        if self.high is not None:
            high = math.ceil(self.high) - 1 if self.strict_high else math.floor(self.high)
        if low > greatest or high < least:
            return values.is_null()  # of what is present, nothing
        within = [values >= low] if low > least else []
        within += [values <= high] if high < greatest else []
        return pl.all_horizontal(within) if within else values.is_not_null()


def infinite_rows(count: int) -> str:
    """Return the problem that infinities are, in the words of ``strict``."""
    rows = f"{count} row" + ("" if count == 1 else "s")
    return f"infinite values in {rows}, which meet bounds without being numbers"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EachValue:
    """A claim about each value: unexpected ones are counted, and ``mostly`` allows for some.

    Measures: ``total`` rows, ``present`` of them that are judged, ``unexpected``; where a
    stricter rule looks further, ``marked`` by it, and unexpected in ``either`` way.
    """

    expectation: Expectation
    measures: Mapping[str, Measure]
    marks: Marks
    guard: Guard = never
    counted: Callable[[Mapping[str, Any]], int] = itemgetter("unexpected")
    problem: Callable[[int], str] | None = None
    skips: bool = True
    """Whether rows that are not judged are the missing ones."""
    own: Callable[[Mapping[str, Any]], bool] = _never_own
    """Whether Great Expectations could not have concluded the same."""

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """See :class:`~sluicegate.stages.validation.scan.base.Claim`."""
        total = found["total"]
        if not total:
            return Answer.unknown(NO_ROWS)
        self.guard(found)
        present, unexpected = found["present"], self.counted(found)
        answer = Answer(
            engine=OWN if self.own(found) else SCAN,
            success=self._enough(present, unexpected),
            elements=total,
            missing=total - present if self.skips else None,
            unexpected=unexpected,
        )
        valued = found.get("valued", present)
        about_values = self.expectation.type not in _ABOUT_NULLS
        if answer.success and about_values and not (present and valued):
            return answer.undecided(NO_VALUES)
        return self._stricter(answer, found)

    def _enough(self, present: int, unexpected: int) -> bool:
        share = (float(present) - float(unexpected)) / float(present) if present else 1.0
        return share >= self.expectation.mostly

    def _stricter(self, answer: Answer, found: Mapping[str, Any]) -> Answer:
        if self.problem is None or found["either"] == answer.unexpected:
            return answer
        success = bool(answer.success and self._enough(found["present"], found["either"]))
        return replace(
            answer,
            engine=OWN if success != answer.success else answer.engine,
            success=success,
            unexpected=found["either"],
            problems=(self.problem(found["marked"]),),
        )

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | RowFinder | None:
        """See :class:`~sluicegate.stages.validation.scan.base.Claim`."""
        return self.marks(found)


def each_value(
    expectation: Expectation,
    rows: Rows,
    column: Column,
    expected: pl.Expr,
    *,
    stricter: pl.Expr | None = None,
    problem: Callable[[int], str] | None = None,
    extra: Mapping[str, Measure] | None = None,
    guard: Guard = never,
) -> EachValue:
    """Return the claim that a column's present values are as an expression says.

    Args:
        expectation: what is asked.
        rows: of which rows.
        column: of which column.
        expected: true for values that GX takes; null counts as "no" where there is a value.
        stricter: true for values that are unexpected all the same.
        problem: what to say about how many of those.
        extra: further measures, for the guard.
        guard: raises ``Unclaimed`` if the data is not what the translation holds for.
    """
    import polars as pl

    present = pl.col(column.name).is_not_null()
    unexpected = present & ~expected.fill_null(value=False)
    either = unexpected if stricter is None else unexpected | (present & stricter)
    measures: dict[str, Measure] = {
        **(extra or {}),
        "total": Total(rows),
        "present": Present(column.name, rows),
        "unexpected": Count(unexpected, rows),
    }
    if stricter is not None:
        measures |= {"marked": Count(present & stricter, rows), "either": Count(either, rows)}
    return EachValue(
        expectation=expectation,
        measures=measures,
        marks=lambda _found: rows.mask(either),
        guard=guard,
        problem=problem,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whole:
    """A claim about a column as a whole, or the table: no rows are counted as unexpected.

    Measures: ``total`` rows; ``present`` values for one column; ``infinite`` ones where they
    make arithmetic meaningless.
    """

    expectation: Expectation
    measures: Mapping[str, Measure]
    judge: Callable[[Mapping[str, Any]], tuple[bool, Any]]
    """Success, and what was observed."""
    infinite: pl.Expr | None = None
    """Marks the rows with infinite values."""
    empty: Sequence[str] = field(default=("present",))
    """Measures that are all 0 if there is no value to examine; none if that is an answer."""
    different: Callable[[Mapping[str, Any]], int] | None = None
    """Counts different values that are not as expected, where there are such."""
    own: Callable[[Mapping[str, Any]], bool] = _never_own
    """Whether Great Expectations could not have concluded the same."""

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        """See :class:`~sluicegate.stages.validation.scan.base.Claim`."""
        total = found["total"]
        if not total and not self.expectation.counts_rows:
            return Answer.unknown(NO_ROWS)
        success, observed = self.judge(found)
        answer = Answer(
            engine=OWN if self.own(found) else SCAN,
            success=success,
            elements=total,
            missing=total - found["present"] if "present" in self.measures else None,
            unexpected=None if self.different is None else self.different(found),
            observed=_scalar(observed),
        )
        about_values = self.empty and self.expectation.type not in _ABOUT_NULLS
        if success and about_values and not any(found[one] for one in self.empty):
            return answer.undecided(NO_VALUES)
        infinities = found.get("infinite", 0)
        return answer.also_broken(infinite_rows(infinities)) if infinities else answer

    def failing(self, found: Mapping[str, Any]) -> pl.Expr | None:
        """See :class:`~sluicegate.stages.validation.scan.base.Claim`."""
        return self.infinite if found.get("infinite") else None


def _scalar(value: Any) -> str | int | float | None:
    """Return what was observed as the JSON scalar that a report may show."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and abs(value) < EXACT:
        return value
    return str(value)[:100]
