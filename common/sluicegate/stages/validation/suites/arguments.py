"""Arguments of expectations, checked against the catalogue.

Great Expectations converts what it is given: ``"yes"`` becomes true, ``5.7`` becomes 5 where
a whole number is meant, an empty text becomes an empty parameter. Here a value is of its kind
or it is refused, which is never more lenient and keeps a suite meaning what it says.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from string import Formatter
from types import MappingProxyType
from typing import Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.suites.catalogue import PARSERS, Argument, arguments_of
from sluicegate.stages.validation.suites.model import closest, refusal, shown

__all__ = ["argument_problems"]

_SEE: Final = "see the expectation's documentation"
_MAX_PATTERN: Final = 10_000
"""Longest regular expression, in characters: beyond what anyone reads, and compiled in
milliseconds."""
_MOMENT: Final = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
"""Written and read back to see whether a format of times can be read."""
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ISO_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?"
)


def argument_problems(
    kind: str, kwargs: Mapping[str, Json], where: str, path: str, *, sql: bool = False
) -> Iterator[ConfigurationError]:
    """Yield what is wrong with the arguments of a type of GX.

    Args:
        kind: a type in the catalogue.
        kwargs: its arguments.
        where: which expectation, for the message.
        path: JSON path of the arguments, for the message.
        sql: a database answers, which has a dialect of regular expressions of its own.
    """
    known = arguments_of(kind)
    for key in kwargs:
        if key not in known:
            yield refusal(
                where,
                f"{path}.{key}",
                "absent",
                "an argument that this type does not have",
                next_step=closest(key, known) or f"its arguments are {', '.join(sorted(known))}",
            )
    for argument in known.values():
        yield from _one(argument, kwargs, where, path, sql=sql)
    yield from _together(kind, kwargs, where, path)


def _one(
    argument: Argument, kwargs: Mapping[str, Json], where: str, path: str, *, sql: bool
) -> Iterator[ConfigurationError]:
    at = f"{path}.{argument.name}"
    if argument.name not in kwargs:
        if argument.required:
            yield refusal(
                where, at, "present", "nothing", next_step=f"add {argument.name!r} to kwargs"
            )
        return
    value = kwargs[argument.name]
    if value is None and argument.nullable:
        return
    if sql and argument.kind in ("regex", "regexes"):
        argument_kind = "text" if argument.kind == "regex" else "texts"
    else:
        argument_kind = argument.kind
    expected = _expected(argument_kind, value)
    if expected:
        yield refusal(where, at, expected, shown(value), next_step=_SEE)


def _expected(kind: str, value: Json) -> str:
    """Return what would do instead of this value, or nothing if it will do."""
    if kind in _KINDS:
        expected, will_do = _KINDS[kind]
        return "" if will_do(value) else expected
    choices = kind.split("|")
    return "" if isinstance(value, str) and value in choices else " or ".join(choices)


def _together(
    kind: str, kwargs: Mapping[str, Json], where: str, path: str
) -> Iterator[ConfigurationError]:
    """Check what GX checks of several arguments at once."""
    low: Json = kwargs.get("min_value")
    high: Json = kwargs.get("max_value")
    if kind in _NEEDS_BOUND and low is None and high is None:
        yield refusal(where, path, "given min_value or max_value", "neither", next_step=_SEE)
    rows = kind == "expect_table_row_count_to_be_between"
    if rows and _integer(low) and _integer(high) and low > high:
        found = f"{low}, above {high}"
        yield refusal(where, f"{path}.min_value", "at most max_value", found, next_step=_SEE)


_NEEDS_BOUND: Final = frozenset(
    {"expect_column_values_to_be_between", "expect_column_value_lengths_to_be_between"}
)


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Json) -> bool:
    return _number(value) and value == int(value)


def _text(value: Json) -> bool:
    return isinstance(value, str)


def _texts(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _bound(value: Json) -> bool:
    """A number, or a day or moment in the forms of RFC 3339 that GX reads too."""
    if not isinstance(value, str):
        return _number(value)
    try:
        if _ISO_DATE.fullmatch(value):
            date.fromisoformat(value)
            return True
        if _ISO_TIME.fullmatch(value):
            datetime.fromisoformat(value)
            return True
    except ValueError:
        return False
    return False


def _pattern(value: Json) -> bool:
    if not isinstance(value, str) or len(value) > _MAX_PATTERN:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(value)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _strftime(value: Json) -> bool:
    """Whether what it writes can be read back; GX asks the same."""
    if not isinstance(value, str) or len(value) > _MAX_PATTERN:
        return False
    try:
        datetime.strptime(_MOMENT.strftime(value), value)  # noqa: DTZ007  only tried
    except (ValueError, re.error, UnicodeError, OverflowError):
        return False
    return True


def _query(value: Json) -> bool:
    """Whether a query is about the batch, and names nothing else to be put in.

    GX formats it, and warns of a query that asks other data than what is validated.
    """
    try:
        fields = list(Formatter().parse(value)) if isinstance(value, str) else []
    except ValueError:
        return False
    named = {(name, form, conversion) for _, name, form, conversion in fields if name is not None}
    return named == {("batch", "", None)}


def _pairs(value: Json) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 for pair in value
    )


def _quantiles(value: Json) -> bool:
    if not isinstance(value, dict) or set(value) != {"quantiles", "value_ranges"}:
        return False
    quantiles, ranges = value["quantiles"], value["value_ranges"]
    return (
        isinstance(quantiles, list)
        and isinstance(ranges, list)
        and len(quantiles) == len(ranges)
        and all(_number(one) and 0 <= one <= 1 for one in quantiles)
        and all(_range(one) for one in ranges)
    )


def _range(value: Json) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    low, high = value
    given = [one for one in value if one is not None]
    return all(_number(one) for one in given) and (len(given) < 2 or low <= high)


_KINDS: Final[Mapping[str, tuple[str, Callable[[Json], bool]]]] = MappingProxyType(
    {
        "text": ("text", _text),
        "column": ("the name of a column", lambda value: isinstance(value, str) and value != ""),
        "query": ("SQL about {batch}, with other braces doubled", _query),
        "texts": ("a list of texts that is not empty", _texts),
        "names": (
            "a list of column names",
            lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        ),
        "columns": (
            "a list of two or more column names",
            lambda value: _texts(value) and len(value) > 1,
        ),
        "character": ("one character", lambda value: isinstance(value, str) and len(value) == 1),
        "regex": ("a regular expression of Python", _pattern),
        "regexes": (
            "a list of regular expressions of Python that is not empty",
            lambda value: (
                isinstance(value, list) and bool(value) and all(_pattern(one) for one in value)
            ),
        ),
        "strftime": ("a format that strptime reads", _strftime),
        "number": ("a number", _number),
        "integer": ("a whole number", _integer),
        "share": ("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1),
        "not_negative": ("a number from 0", lambda value: _number(value) and value >= 0),
        "bound": ("a number, a date or a time (ISO 8601)", _bound),
        "flag": ("true or false", lambda value: isinstance(value, bool)),
        "flag_or_text": (
            "true, false or text",
            lambda value: isinstance(value, bool | str),
        ),
        "values": ("a list", lambda value: isinstance(value, list)),
        "pairs": ("a list of pairs", _pairs),
        "object": ("an object", lambda value: isinstance(value, dict)),
        "quantiles": (
            'an object with "quantiles" from 0 to 1 and a "value_ranges" pair, in order, of each',
            _quantiles,
        ),
        "condition": ("a condition", lambda _: True),
        "parser": (
            " or ".join(PARSERS),
            lambda value: isinstance(value, str) and value in PARSERS,
        ),
    }
)
"""What each kind is called, and whether a value is one. Row conditions have a reader of their
own, and are refused by it."""
