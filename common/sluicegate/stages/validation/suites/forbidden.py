"""What no suite may hold: code, SQL, network references, and questions that ask nothing.

A suite file reads like data, and GX executes parts of it. Whoever can propose a change to a
suite could run code on the worker that validates, or make it fetch an address. And a
question without content is answered yes for every data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.suites.model import Link, SuiteError, spell

__all__ = ["ONLY_SQL", "REFUSED_TYPES", "find_forbidden"]

_SQL: Final = "it runs SQL that the suite file holds"
_LIKE: Final = "it needs a SQL database; on files GX cannot answer it"

REFUSED_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unexpected_rows_expectation": _SQL,
        "expect_query_results_to_match_comparison": _SQL,
        "expect_table_row_count_to_equal_other_table": "it reads another table, which no "
        "receipt would bind",
        "expect_column_values_to_match_like_pattern": _LIKE,
        "expect_column_values_to_match_like_pattern_list": _LIKE,
        "expect_column_values_to_not_match_like_pattern": _LIKE,
        "expect_column_values_to_not_match_like_pattern_list": _LIKE,
    }
)
"""Types of GX that cannot be asked of files, each with the reason."""

ONLY_SQL: Final = frozenset(REFUSED_TYPES)
"""Types that only a data source that speaks SQL answers, where a policy allows them."""

_NEEDS_ONE: Final = MappingProxyType(
    {
        "expect_table_row_count_to_be_between": ("min_value", "max_value"),
        "expect_table_column_count_to_be_between": ("min_value", "max_value"),
        "expect_column_kl_divergence_to_be_less_than": ("threshold",),
        "expect_column_values_to_be_in_type_list": ("type_list",),
        "expect_table_columns_to_match_ordered_list": ("column_list",),
        "expect_table_columns_to_match_set": ("column_set",),
        "expect_column_values_to_match_regex": ("regex",),
        "expect_column_distinct_values_to_be_in_set": ("value_set",),
        "expect_column_distinct_values_to_contain_set": ("value_set",),
        "expect_column_values_to_not_be_in_set": ("value_set",),
        "expect_column_distinct_values_to_equal_set": ("value_set",),
    }
)
"""Arguments without which GX answers yes whatever the data. Found by asking GX 1.24.1."""

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_IDENTITIES: Final = ("$id", "id", "$schema")


def find_forbidden(kind: str, kwargs: Mapping[str, Json], path: str, *, sql: bool = False) -> None:
    """Refuse an expectation that executes, fetches, or asks nothing.

    Args:
        kind: its type.
        kwargs: its arguments.
        path: JSON path of the arguments, for the message.
        sql: the policy allows SQL that a suite holds.

    Raises:
        SuiteError: it does; the message does not say which expectation it was.
    """
    if kind in ONLY_SQL and not sql:
        at = f"{path.removesuffix('.kwargs')}.type"
        raise _refused(
            at,
            f"{at} must be a type that can be asked of files; found {kind!r}: "
            f"{REFUSED_TYPES[kind]}",
            "remove the expectation, or express it with a column expectation; for a data source "
            "that speaks SQL, the policy can allow SQL in suites",
        )
    if "json_schema" in kwargs:
        _check_schema(kwargs["json_schema"], f"{path}.json_schema")
    _check_asks(kind, kwargs, path)


def _check_asks(kind: str, kwargs: Mapping[str, Json], path: str) -> None:
    needed = _NEEDS_ONE.get(kind, ())
    if needed and not any(_says_something(kwargs.get(key)) for key in needed):
        raise _refused(
            path,
            f"{path} must hold {' or '.join(needed)}; found nothing to compare with: GX would "
            "answer yes for every data set",
            "say what you expect, or remove the expectation",
        )
    ranges = kwargs.get("quantile_ranges")
    if isinstance(ranges, dict):
        bounds = ranges.get("value_ranges")
        if not isinstance(bounds, list) or not bounds or [None, None] in bounds:
            raise _refused(
                f"{path}.quantile_ranges",
                f"{path}.quantile_ranges.value_ranges must hold a bound for each quantile; "
                "found none: GX would answer yes for every data set",
                "give at least one number in each range, or remove the quantile",
            )


def _says_something(value: Json) -> bool:
    return value is not None and value not in ([], "")


def _check_schema(schema: Json, path: str) -> None:
    """Refuse references out of the schema: the validator would fetch http and read files.

    An identity inside of the schema is refused too: it moves what "#" refers to.

    Source: JSON Schema 2020-12, sections 8.2.1 ($id) and 8.2.3 ($ref).
    """
    pending: list[tuple[Json, Link]] = [(schema, (None, path))]
    while pending:
        item, at = pending.pop()
        if isinstance(item, list):
            pending += [(one, (at, f"[{index}]")) for index, one in enumerate(item)]
        if not isinstance(item, dict):
            continue
        for key, value in item.items():
            if isinstance(value, str) and _leads_away(key, value, top=at[0] is None):
                where = spell((at, f".{key}"))
                raise _refused(
                    where,
                    f"{where} must keep every reference in this schema; found one that "
                    "leads out of it, which the JSON Schema library would fetch",
                    "copy what it refers to into $defs of this schema, refer to it "
                    'with "#/$defs/…", and name only the whole schema with $id',
                )
            pending.append((value, (at, f".{key}")))


def _leads_away(key: str, value: str, *, top: bool) -> bool:
    if key in _REFERENCES:
        return not value.startswith("#")
    if key in _IDENTITIES:
        # At the top an identity only names the schema, unless it has a fragment: then the
        # name without the fragment, to which "#" resolves, is one that nobody knows.
        return not top or "#" in value.rstrip("#")
    return False


def _refused(path: str, what: str, next_step: str) -> SuiteError:
    error = SuiteError(what, next_step=next_step)
    error.path = path
    return error
