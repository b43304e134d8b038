r"""Where Great Expectations says yes and should not: rules that are stricter than GX.

Each rule takes GX's answer and returns it, a worse one, or "unknown". No rule turns a
failure into a success. Where a rule decided, the answer's engine says so.

An infinity, or a match that owes itself to a final line feed, counts as an unexpected value,
under ``mostly`` like any other. Values that are merely missing are counted and never fail;
where half of them or more are missing and the suite does not speak of it, what holds for the
others is unknown.

===============  ==================================================================
rule             GX alone
===============  ==================================================================
missing column   raises: an exception instead of the answer, which is no
nothing there    answers yes about a column without a single value
infinities       lets +inf pass between, mean, max, z-score and outlier expectations
overflow         lets any z-score pass once squares beyond 1e308 make the spread infinite
large integers   compares as floats: 2**53 + 1 is "at most 2**53"; sums overflow
line ends        lets "abc\n" match ``^[a-z]+$``
order            subtracts unsigned integers, which wrap around: 5, 3 is "increasing"
===============  ==================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.suites.model import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["judge", "settled", "strict_pattern", "too_sparse"]

EXACT_INTEGERS: Final = 1 << 53
"""Up to here every integer has a float of its own. Source: IEEE 754 binary64."""

_BETWEEN: Final = "expect_column_values_to_be_between"
_SUM: Final = "expect_column_sum_to_be_between"
_MAX: Final = "expect_column_max_to_be_between"
_MIN: Final = "expect_column_min_to_be_between"
_INCREASING: Final = "expect_column_values_to_be_increasing"
_PAIR: Final = "expect_column_pair_values_a_to_be_greater_than_b"
_ROW_SUM: Final = "expect_multicolumn_sum_to_equal"

_ABOUT_NULLS: Final = frozenset(
    {
        "expect_column_values_to_be_null",
        "expect_column_values_to_not_be_null",
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_type_to_be",
    }
)
"""Types that a column without values answers."""

_NUMERIC: Final = frozenset(
    {
        _BETWEEN,
        _SUM,
        _MAX,
        _MIN,
        _PAIR,
        _ROW_SUM,
        "expect_column_mean_to_be_between",
        "expect_column_median_to_be_between",
        "expect_column_stdev_to_be_between",
        "expect_column_quantile_values_to_be_between",
        "expect_column_kl_divergence_to_be_less_than",
        "expect_column_value_z_scores_to_be_less_than",
        "expect_column_values_to_not_be_outliers",
    }
)
"""Types that do arithmetic or compare sizes, which an infinity makes meaningless."""

_SQUARED: Final = (
    "expect_column_stdev_to_be_between",
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_not_be_outliers",
)
_SUMMED: Final = (
    _SUM,
    "expect_column_mean_to_be_between",
    "expect_column_median_to_be_between",
)
_FLOAT_BITS: Final = 1020
"""Somewhat below 2**1024, from which on a float is infinite. Source: IEEE 754 binary64."""

_SETS: Final = frozenset(
    {
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_not_be_in_set",
        "expect_column_distinct_values_to_be_in_set",
        "expect_column_distinct_values_to_equal_set",
        "expect_column_distinct_values_to_contain_set",
        "expect_column_most_common_value_to_be_in_set",
    }
)


_LINES_OR_VERBOSE: Final = re.compile(r"\(\?[a-zA-Z]*[mx][a-zA-Z]*[-:)]")
_CLASS_START: Final = re.compile(r"\[\^?\]?")


def settled(expectation: Expectation, frame: pd.DataFrame) -> Answer | None:
    """Return the answer that needs no engine: a column that is not there.

    Args:
        expectation: the question.
        frame: the whole table.
    """
    condition = expectation.condition.columns if expectation.condition else ()
    present = set(frame.columns)
    for column in (*expectation.columns, *condition):
        if column not in present:
            return Answer.broken(f"column {column!r} does not exist")
    return None


def too_sparse(suite: Suite, answers: Mapping[int, Answer], *, missing: float) -> dict[int, Answer]:
    """Return the answers, without those that rest on too few values to mean anything.

    Whoever can blank cells can make a column pass whatever is asked of its values. So an
    expectation that holds for the few values that are there is unknown, unless the suite says
    of the same column how many may be missing.

    Args:
        suite: the questions.
        answers: by index.
        missing: share of missing values from which on nothing is concluded.
    """
    spoken = {
        name for one in suite.expectations if one.type in _ABOUT_NULLS for name in one.columns
    }
    return {
        one.index: _sparse(answers[one.index], missing)
        if one.type not in _ABOUT_NULLS and not spoken.issuperset(one.columns)
        else answers[one.index]
        for one in suite.expectations
    }


def _sparse(answer: Answer, limit: float) -> Answer:
    if not answer.success or not answer.elements or answer.missing is None:
        return answer
    if answer.missing < limit * answer.elements:
        return answer
    return answer.undecided(
        f"{answer.missing} of {answer.elements} values are missing: too few are there to conclude "
        "from; say in the suite how many may be missing (expect_column_values_to_not_be_null "
        "with mostly)"
    )


def judge(expectation: Expectation, rows: pd.DataFrame, answer: Answer) -> Answer:
    """Return an engine's answer after all rules, which only make it stricter.

    Args:
        expectation: the question.
        rows: the rows that it was asked about; index labels are positions in the table.
        answer: what the engine said.
    """
    for rule in _RULES:
        if answer.success is None:
            break
        answer = rule(expectation, rows, answer)
    return answer


def _gaps(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    """Count the missing values that an aggregate left out, for the reader of the report."""
    rows_counted = answer.unexpected is not None and not expectation.counts_different_values
    if rows_counted or len(expectation.columns) != 1:
        return answer
    return replace(answer, missing=int(rows[expectation.columns[0]].isna().sum()))


def _nothing_there(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    if not answer.success or expectation.type in _ABOUT_NULLS or not expectation.columns:
        return answer
    asked = answer.missing is not None and answer.elements == answer.missing
    if asked or not any(rows[column].notna().any() for column in expectation.columns):
        return answer.undecided("there is no value to examine: all are missing")
    return answer


def _infinities(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    if expectation.type not in _NUMERIC:
        return answer
    found: set[int] = set()
    for column in expectation.columns:
        found.update(_infinite(rows[column]))
    if not found:
        return answer
    problem = f"infinite values in {_count(found, 'row')}, which meet bounds without being numbers"
    if expectation.type == _BETWEEN:
        return answer.also_unexpected(found, mostly=expectation.mostly, problem=problem)
    return answer.also_broken(problem, found)


def _infinite(values: Any) -> Iterable[int]:
    import numpy as np

    values = _uncoded(values)
    if values.dtype.kind == "f":
        infinite = np.isinf(values.to_numpy(dtype="float64", na_value=np.nan))
    elif values.dtype == object:
        infinite = np.array([isinstance(one, float) and math.isinf(one) for one in values])
    else:
        return ()
    return (int(label) for label in values.index[infinite])


def _overflows(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    """Doubt statistics of finite values so large that their sum, or that of squares, is not."""
    squared = expectation.type in _SQUARED and expectation.kwargs.get("method", "std") == "std"
    if not answer.success or not (squared or expectation.type in (*_SQUARED, *_SUMMED)):
        return answer
    values = _uncoded(rows[expectation.columns[0]])
    largest = float(values.abs().max()) if values.dtype.kind == "f" and len(values) else 0.0
    if not largest > 0:
        return answer
    bits = (2 if squared else 1) * math.log2(largest) + math.log2(len(values))
    if bits < _FLOAT_BITS:
        return answer
    return answer.undecided("values are so large that their statistics overflow")


def _large_integers(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    if expectation.type == _BETWEEN:
        return _large_between(expectation, rows, answer)
    if not answer.success:
        return answer
    if expectation.type in (_MAX, _MIN, _SUM):
        return _large_aggregate(expectation, rows, answer)
    if _is_inexact(expectation, rows):
        return answer.undecided("integers beyond 2**53 would be compared as rounded floats")
    return answer


def _is_inexact(expectation: Expectation, rows: Any) -> bool:
    columns = [rows[column] for column in expectation.columns]
    if expectation.type == _ROW_SUM:
        return sum(_magnitude(values) for values in columns) > EXACT_INTEGERS
    if expectation.type == _PAIR:
        # Integers compare exactly with integers, and not with floats.
        mixed = len({values.dtype.kind for values in columns}) > 1
        return mixed and any(_is_large(values) for values in columns)
    if expectation.type in _SETS:
        members = expectation.kwargs.get("value_set") or ()
        return any(isinstance(one, float) for one in members) and _is_large(columns[0])
    return False


def _large_between(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    values = rows[expectation.columns[0]]
    integers, bounds = _integers(values), _Bounds(expectation.kwargs)
    if not bounds.numeric:
        return answer
    if integers is None:
        return _rounded_at_bound(values, bounds, answer)
    if not _is_large(values) and not bounds.large:
        return answer
    outside = integers.index[bounds.outside(integers)]
    return answer.also_unexpected(
        (int(label) for label in outside),
        mostly=expectation.mostly,
        problem="integers beyond 2**53 were compared exactly",
    )


def _large_aggregate(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    values = rows[expectation.columns[0]]
    integers, bounds = _integers(values), _Bounds(expectation.kwargs)
    if not bounds.numeric:
        return answer
    if integers is None:
        return _rounded_at_bound(values, bounds, answer)
    if expectation.type == _SUM:
        if float(integers.astype("float64").abs().sum()) < EXACT_INTEGERS and not bounds.large:
            return answer
        exact = sum(int(one) for one in integers.tolist())
    elif _is_large(values) or bounds.large:
        exact = int(integers.max() if expectation.type == _MAX else integers.min())
    else:
        return answer
    if bounds.misses(exact):
        return answer.also_broken("compared exactly, the integer is outside of the bounds")
    return answer


def _rounded_at_bound(values: Any, bounds: _Bounds, answer: Answer) -> Answer:
    """Doubt a float that equals a large bound: it may have been an integer beyond it.

    A reader turns a column of integers with gaps into floats before anybody can look.
    """
    if not answer.success or values.dtype.kind != "f":
        return answer
    for bound in bounds.given:
        if abs(bound) >= EXACT_INTEGERS and bool((values == float(bound)).any()):
            return answer.undecided("a value beyond 2**53 may have been rounded onto the bound")
    return answer


class _Bounds:
    """min_value and max_value of an expectation, for exact comparison with integers."""

    def __init__(self, kwargs: Mapping[str, Json]) -> None:
        named = (kwargs.get("min_value"), kwargs.get("max_value"))
        self.given = [one for one in named if one is not None]
        self.numeric = all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in self.given
        )
        if not self.numeric:
            return
        self.large = any(abs(one) >= EXACT_INTEGERS for one in self.given)
        low, high = named
        self.low = self.high = None
        if low is not None:
            self.low = math.floor(low) + 1 if kwargs.get("strict_min") else math.ceil(low)
        if high is not None:
            self.high = math.ceil(high) - 1 if kwargs.get("strict_max") else math.floor(high)

    def outside(self, integers: Any) -> Any:
        """Return which integers of a series are outside, as a boolean array."""
        import numpy as np

        found = np.zeros(len(integers), dtype=bool)
        if self.low is not None:
            found |= (integers < self.low).to_numpy(dtype=bool)
        if self.high is not None:
            found |= (integers > self.high).to_numpy(dtype=bool)
        return found

    def misses(self, value: int) -> bool:
        """Whether one integer is outside."""
        return (self.low is not None and value < self.low) or (
            self.high is not None and value > self.high
        )


def _integers(values: Any) -> Any:
    """Return the present values of a column of integers, or ``None`` for another column."""
    import pandas as pd

    present = _uncoded(values.dropna())
    if not len(present):
        return None
    if pd.api.types.is_integer_dtype(present.dtype):
        return present
    if present.dtype == object and pd.api.types.infer_dtype(present) == "integer":
        return present
    return None


def _uncoded(values: Any) -> Any:
    """Return a dictionary-encoded column as its values."""
    return values.astype(object) if values.dtype.name == "category" else values


def _is_large(values: Any) -> bool:
    return _magnitude(values) > EXACT_INTEGERS


def _magnitude(values: Any) -> int:
    """Return how far from 0 a column of integers gets; 0 for another column."""
    present = _integers(values)
    return 0 if present is None else max(abs(int(present.max())), abs(int(present.min())))


def _line_ends(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    patterns = _patterns(expectation)
    stricter = [strict_pattern(pattern) for pattern in patterns]
    if stricter == patterns:
        return answer
    values = rows[expectation.columns[0]]
    if values.dtype.kind in "iufbmM":
        return answer
    present = values.dropna().astype(str)
    suspects = present[present.str.endswith("\n").astype(bool)]
    if not len(suspects):
        return answer
    try:
        compiled = [re.compile(pattern) for pattern in stricter]
    except re.error:
        return answer.undecided('values end in a line feed, which "$" lets pass')
    enough = all if expectation.kwargs.get("match_on") == "all" else any
    found = [
        int(label)
        for label, text in zip(suspects.index, suspects, strict=True)
        if not enough(pattern.search(text) for pattern in compiled)
    ]
    return answer.also_unexpected(
        found,
        mostly=expectation.mostly,
        problem=f'{_count(found, "value")} matched only because "$" ignores a final line feed',
    )


def _wrapped_steps(expectation: Expectation, rows: Any, answer: Answer) -> Answer:
    if expectation.type != _INCREASING:
        return answer
    values = rows[expectation.columns[0]]
    if values.dtype.kind != "u":
        return answer
    before, after = values.to_numpy()[:-1], values.to_numpy()[1:]
    falls = after <= before if expectation.kwargs.get("strictly") else after < before
    return answer.also_unexpected(
        (int(label) for label in values.index[1:][falls]),
        mostly=expectation.mostly,
        problem="unsigned integers were compared without wrapping around",
    )


def _patterns(expectation: Expectation) -> list[str]:
    if expectation.type == "expect_column_values_to_match_regex":
        return [expectation.kwargs["regex"]]
    if expectation.type == "expect_column_values_to_match_regex_list":
        return list(expectation.kwargs["regex_list"])
    return []


def strict_pattern(pattern: str) -> str:
    r"""Return a pattern whose ``$`` means the end of the text, not "before a final \n".

    Escaped dollars and those in a character class stay. So does a pattern that asks for
    multi-line or verbose mode: its author knows what lines are.

    Source: Python ``re``, ``$`` and ``\Z``.
    """
    out, in_class, at = [], False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            out.append(pattern[at : at + 2])
            at += 2
            continue
        if not in_class and _LINES_OR_VERBOSE.match(pattern, at):
            return pattern
        if char == "[" and not in_class:
            in_class = True
            # A bracket that comes first in a class is a member of it.
            char = pattern[at : _CLASS_START.match(pattern, at).end()]  # type: ignore[union-attr]
        elif char == "]":
            in_class = False
        out.append(r"\Z" if char == "$" and not in_class else char)
        at += len(char)
    return "".join(out)


def _count(found: Any, noun: str) -> str:
    return f"{len(found)} {noun}" + ("" if len(found) == 1 else "s")


_RULES: Final[tuple[Callable[[Expectation, Any, Answer], Answer], ...]] = (
    _gaps,
    _nothing_there,
    _infinities,
    _overflows,
    _large_integers,
    _line_ends,
    _wrapped_steps,
)
