"""What each type of Great Expectations asks, in plain English."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = ["SENTENCES", "name_of", "value_of"]

_LONGEST: Final = 200
_MEMBERS: Final = 8

_Words = Callable[[Mapping[str, Any]], str]


def name_of(value: Any) -> str:
    """Return a column's name, marked as one."""
    return f"`{value}`"


def value_of(value: Any) -> str:
    """Return a value of the suite, not longer than a line or two."""
    if isinstance(value, list) and len(value) > _MEMBERS:
        return f"{value_of(value[:_MEMBERS])[:-1]}, … {len(value) - _MEMBERS} more]"
    if isinstance(value, Mapping):
        value = dict(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _names(columns: Any) -> str:
    shown = [name_of(one) for one in columns[:_MEMBERS]]
    more = [f"{len(columns) - _MEMBERS} more"] if len(columns) > _MEMBERS else []
    return ", ".join([*shown, *more])


def _range(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    parts = []
    if low is not None:
        parts.append(f"{'above' if kwargs.get('strict_min') else 'at least'} {value_of(low)}")
    if high is not None:
        parts.append(f"{'below' if kwargs.get('strict_max') else 'at most'} {value_of(high)}")
    return " and ".join(parts) or "anything: there are no bounds"


def _of_values(phrase: str, *keys: str) -> _Words:
    """Say something of each value of one column."""

    def words(kwargs: Mapping[str, Any]) -> str:
        shown = [value_of(kwargs.get(key)) for key in keys]
        return f"each value of {name_of(kwargs['column'])} {phrase.format(*shown)}"

    return words


def _of_column(phrase: str, *keys: str) -> _Words:
    """Say something of one column as a whole."""

    def words(kwargs: Mapping[str, Any]) -> str:
        shown = [value_of(kwargs.get(key)) for key in keys]
        return f"{phrase.format(name_of(kwargs['column']), *shown)}"

    return words


def _in_range(phrase: str) -> _Words:
    """Say that a quantity of one column, or of the table, lies between bounds."""

    def words(kwargs: Mapping[str, Any]) -> str:
        return f"{phrase.format(name_of(kwargs.get('column')))} is {_range(kwargs)}"

    return words


def _of_pair(phrase: str, key: str = "") -> _Words:
    def words(kwargs: Mapping[str, Any]) -> str:
        first, second = name_of(kwargs["column_A"]), name_of(kwargs["column_B"])
        return f"in each row {phrase.format(first, second, value_of(kwargs.get(key)))}"

    return words


def _of_columns(phrase: str, key: str = "column_list", other: str = "") -> _Words:
    def words(kwargs: Mapping[str, Any]) -> str:
        return phrase.format(_names(kwargs.get(key) or []), value_of(kwargs.get(other)))

    return words


def _of_table(phrase: str, *keys: str) -> _Words:
    return lambda kwargs: phrase.format(*(value_of(kwargs.get(key)) for key in keys))


def _z_scores(kwargs: Mapping[str, Any]) -> str:
    side = "on either side" if kwargs["double_sided"] else "above"
    return (
        f"each value of {name_of(kwargs['column'])} is less than {value_of(kwargs['threshold'])} "
        f"standard deviations {side} of the mean"
    )


def _greater(kwargs: Mapping[str, Any]) -> str:
    word = "at least" if kwargs.get("or_equal") else "greater than"
    return f"in each row {name_of(kwargs['column_A'])} is {word} {name_of(kwargs['column_B'])}"


def _ordered(direction: str) -> _Words:
    def words(kwargs: Mapping[str, Any]) -> str:
        strictly = "strictly " if kwargs.get("strictly") else ""
        return f"values of {name_of(kwargs['column'])} are {strictly}{direction} from row to row"

    return words


def _matching(phrase: str) -> _Words:
    def words(kwargs: Mapping[str, Any]) -> str:
        which = kwargs.get("match_on", "any")
        patterns = kwargs.get("regex_list") or kwargs.get("like_pattern_list")
        return f"each value of {name_of(kwargs['column'])} {phrase} {which} of {value_of(patterns)}"

    return words


def _column_set(kwargs: Mapping[str, Any]) -> str:
    exactly = "are exactly" if kwargs.get("exact_match", True) in (True, None) else "include"
    return f"the columns, in any order, {exactly} {_names(kwargs.get('column_set') or [])}"


def _exists(kwargs: Mapping[str, Any]) -> str:
    index = kwargs.get("column_index")
    at = "" if index is None else f" at position {index}, counted from 0"
    return f"there is a column {name_of(kwargs['column'])}{at}"


def _quantiles(kwargs: Mapping[str, Any]) -> str:
    asked = kwargs["quantile_ranges"]
    parts = [
        f"{value_of(quantile)} is {_range({'min_value': low, 'max_value': high})}"
        for quantile, (low, high) in zip(
            asked["quantiles"][:_MEMBERS], asked["value_ranges"][:_MEMBERS], strict=True
        )
    ]
    return f"of the quantiles of {name_of(kwargs['column'])}, {', '.join(parts)}"


SENTENCES: Final[Mapping[str, _Words]] = MappingProxyType(
    {
        "expect_column_distinct_values_to_be_in_set": _of_column(
            "all distinct values of {} are among {}", "value_set"
        ),
        "expect_column_distinct_values_to_contain_set": _of_column(
            "among the values of {} are all of {}", "value_set"
        ),
        "expect_column_distinct_values_to_equal_set": _of_column(
            "the distinct values of {} are exactly {}", "value_set"
        ),
        "expect_column_kl_divergence_to_be_less_than": _of_column(
            "the Kullback-Leibler divergence of {} from a given distribution is below {}",
            "threshold",
        ),
        "expect_column_max_to_be_between": _in_range("the largest value of {}"),
        "expect_column_mean_to_be_between": _in_range("the mean of {}"),
        "expect_column_median_to_be_between": _in_range("the median of {}"),
        "expect_column_min_to_be_between": _in_range("the smallest value of {}"),
        "expect_column_most_common_value_to_be_in_set": _of_column(
            "the most common value of {} is among {}", "value_set"
        ),
        "expect_column_pair_values_a_to_be_greater_than_b": _greater,
        "expect_column_pair_values_to_be_equal": _of_pair("{} equals {}"),
        "expect_column_pair_values_to_be_in_set": _of_pair(
            "{} and {} are one of the pairs {}", "value_pairs_set"
        ),
        "expect_column_proportion_of_non_null_values_to_be_between": _in_range(
            "the share of rows with a value of {}"
        ),
        "expect_column_proportion_of_unique_values_to_be_between": _in_range(
            "the share of distinct values of {}"
        ),
        "expect_column_quantile_values_to_be_between": _quantiles,
        "expect_column_stdev_to_be_between": _in_range("the standard deviation of {}"),
        "expect_column_sum_to_be_between": _in_range("the sum of {}"),
        "expect_column_to_exist": _exists,
        "expect_column_type_to_be": _of_column("the type of {} is {}", "type_"),
        "expect_column_unique_value_count_to_be_between": _in_range(
            "the number of distinct values of {}"
        ),
        "expect_column_value_lengths_to_be_between": _in_range("the length of each value of {}"),
        "expect_column_value_lengths_to_equal": _of_values("is {} characters long", "value"),
        "expect_column_value_z_scores_to_be_less_than": _z_scores,
        "expect_column_values_to_be_between": _in_range("each value of {}"),
        "expect_column_values_to_be_dateutil_parseable": _of_values("reads as a date or time"),
        "expect_column_values_to_be_decreasing": _ordered("decreasing"),
        "expect_column_values_to_be_in_set": _of_values("is one of {}", "value_set"),
        "expect_column_values_to_be_in_type_list": _of_values(
            "is of one of the types {}", "type_list"
        ),
        "expect_column_values_to_be_increasing": _ordered("increasing"),
        "expect_column_values_to_be_json_parseable": _of_values("is JSON"),
        "expect_column_values_to_be_null": _of_values("is missing"),
        "expect_column_values_to_be_of_type": _of_values("is of the type {}", "type_"),
        "expect_column_values_to_be_unique": _of_values("occurs once"),
        "expect_column_values_to_match_json_schema": _of_values(
            "is JSON that meets the schema {}", "json_schema"
        ),
        "expect_column_values_to_match_like_pattern": _of_values(
            "is LIKE {}, by SQL", "like_pattern"
        ),
        "expect_column_values_to_match_like_pattern_list": _matching("is, by SQL, LIKE"),
        "expect_column_values_to_match_regex": _of_values("contains a match of {}", "regex"),
        "expect_column_values_to_match_regex_list": _matching("contains a match of"),
        "expect_column_values_to_match_strftime_format": _of_values(
            "reads as a time of the format {}", "strftime_format"
        ),
        "expect_column_values_to_not_be_in_set": _of_values("is none of {}", "value_set"),
        "expect_column_values_to_not_be_null": _of_values("is present"),
        "expect_column_values_to_not_be_outliers": _of_values(
            "is no outlier, by the method {} with the factor {} (1.5 if none is given)",
            "method",
            "multiplier",
        ),
        "expect_column_values_to_not_match_like_pattern": _of_values(
            "is not LIKE {}, by SQL", "like_pattern"
        ),
        "expect_column_values_to_not_match_like_pattern_list": _of_values(
            "is, by SQL, LIKE none of {}", "like_pattern_list"
        ),
        "expect_column_values_to_not_match_regex": _of_values("contains no match of {}", "regex"),
        "expect_column_values_to_not_match_regex_list": _of_values(
            "contains a match of none of {}", "regex_list"
        ),
        "expect_compound_columns_to_be_unique": _of_columns(
            "no two rows have the same values of {}"
        ),
        "expect_multicolumn_sum_to_equal": _of_columns(
            "in each row {} add up to {}", other="sum_total"
        ),
        "expect_multicolumn_values_to_be_equal": _of_columns("in each row {} are equal"),
        "expect_query_results_to_match_comparison": _of_table(
            "the SQL query {} returns what the query {} returns from the source {}",
            "base_query",
            "comparison_query",
            "comparison_data_source_name",
        ),
        "expect_select_column_values_to_be_unique_within_record": _of_columns(
            "in each row {} differ from each other"
        ),
        "expect_table_column_count_to_be_between": _in_range("the number of columns"),
        "expect_table_column_count_to_equal": _of_table("there are {} columns", "value"),
        "expect_table_columns_to_match_ordered_list": _of_columns(
            "the columns are, in this order, {}"
        ),
        "expect_table_columns_to_match_set": _column_set,
        "expect_table_row_count_to_be_between": _in_range("the number of rows"),
        "expect_table_row_count_to_equal": _of_table("there are {} rows", "value"),
        "expect_table_row_count_to_equal_other_table": _of_table(
            "there are as many rows as in the table {}", "other_table_name"
        ),
        "unexpected_rows_expectation": _of_table(
            "the SQL query {} returns no row", "unexpected_rows_query"
        ),
    }
)
"""What each type of GX asks."""
