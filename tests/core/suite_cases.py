"""Expectations that Great Expectations takes, one of each type, for the tests of suites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COLUMNS: Final = {"column_list": ["a", "b"]}
PAIR: Final = {"column_A": "a", "column_B": "b"}
RANGE: Final = {"column": "a", "min_value": 1, "max_value": 2}
SET: Final = {"column": "a", "value_set": ["x", "y"]}
LIKE: Final = {"column": "a", "like_pattern": "x%"}
LIKES: Final = {"column": "a", "like_pattern_list": ["x%"]}

VALID: Final[Mapping[str, Mapping[str, Any]]] = {
    "expect_column_distinct_values_to_be_in_set": SET,
    "expect_column_distinct_values_to_contain_set": SET,
    "expect_column_distinct_values_to_equal_set": SET,
    "expect_column_kl_divergence_to_be_less_than": {
        "column": "a",
        "partition_object": {"values": ["x"], "weights": [1.0]},
        "threshold": 0.1,
    },
    "expect_column_max_to_be_between": RANGE,
    "expect_column_mean_to_be_between": RANGE,
    "expect_column_median_to_be_between": RANGE,
    "expect_column_min_to_be_between": RANGE,
    "expect_column_most_common_value_to_be_in_set": {**SET, "ties_okay": True},
    "expect_column_pair_values_a_to_be_greater_than_b": {**PAIR, "or_equal": True},
    "expect_column_pair_values_to_be_equal": {**PAIR, "ignore_row_if": "neither"},
    "expect_column_pair_values_to_be_in_set": {**PAIR, "value_pairs_set": [["x", 1]]},
    "expect_column_proportion_of_non_null_values_to_be_between": {**RANGE, "min_value": 0.5},
    "expect_column_proportion_of_unique_values_to_be_between": {**RANGE, "min_value": 0.5},
    "expect_column_quantile_values_to_be_between": {
        "column": "a",
        "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[1, None]]},
    },
    "expect_column_stdev_to_be_between": RANGE,
    "expect_column_sum_to_be_between": {**RANGE, "strict_min": True},
    "expect_column_to_exist": {"column": "a", "column_index": 1},
    "expect_column_type_to_be": {"column": "a", "type_": "int64"},
    "expect_column_unique_value_count_to_be_between": RANGE,
    "expect_column_value_lengths_to_be_between": RANGE,
    "expect_column_value_lengths_to_equal": {"column": "a", "value": 3},
    "expect_column_value_z_scores_to_be_less_than": {
        "column": "a",
        "threshold": 3,
        "double_sided": True,
    },
    "expect_column_values_to_be_between": {**RANGE, "strict_max": True},
    "expect_column_values_to_be_dateutil_parseable": {"column": "a"},
    "expect_column_values_to_be_decreasing": {"column": "a", "strictly": True},
    "expect_column_values_to_be_in_set": {**SET, "mostly": 0.5},
    "expect_column_values_to_be_in_type_list": {"column": "a", "type_list": ["int64"]},
    "expect_column_values_to_be_increasing": {"column": "a", "strictly": False},
    "expect_column_values_to_be_json_parseable": {"column": "a"},
    "expect_column_values_to_be_null": {"column": "a"},
    "expect_column_values_to_be_of_type": {"column": "a", "type_": "int64"},
    "expect_column_values_to_be_unique": {"column": "a"},
    "expect_column_values_to_match_json_schema": {"column": "a", "json_schema": {"type": "object"}},
    "expect_column_values_to_match_like_pattern": {**LIKE, "escape": "!"},
    "expect_column_values_to_match_like_pattern_list": {**LIKES, "match_on": "all"},
    "expect_column_values_to_match_regex": {"column": "a", "regex": "^x"},
    "expect_column_values_to_match_regex_list": {
        "column": "a",
        "regex_list": ["^x"],
        "match_on": "any",
    },
    "expect_column_values_to_match_strftime_format": {
        "column": "a",
        "strftime_format": "%Y-%m-%d",
    },
    "expect_column_values_to_not_be_in_set": SET,
    "expect_column_values_to_not_be_null": {"column": "a"},
    "expect_column_values_to_not_be_outliers": {"column": "a", "method": "std", "multiplier": 2},
    "expect_column_values_to_not_match_like_pattern": LIKE,
    "expect_column_values_to_not_match_like_pattern_list": LIKES,
    "expect_column_values_to_not_match_regex": {"column": "a", "regex": "^x"},
    "expect_column_values_to_not_match_regex_list": {"column": "a", "regex_list": ["^x"]},
    "expect_compound_columns_to_be_unique": {**COLUMNS, "ignore_row_if": "never"},
    "expect_multicolumn_sum_to_equal": {**COLUMNS, "sum_total": 3},
    "expect_multicolumn_values_to_be_equal": COLUMNS,
    "expect_query_results_to_match_comparison": {
        "base_query": "SELECT 1",
        "comparison_data_source_name": "other",
        "comparison_query": "SELECT 2",
    },
    "expect_select_column_values_to_be_unique_within_record": COLUMNS,
    "expect_table_column_count_to_be_between": {"min_value": 1, "max_value": 2},
    "expect_table_column_count_to_equal": {"value": 2},
    "expect_table_columns_to_match_ordered_list": COLUMNS,
    "expect_table_columns_to_match_set": {"column_set": ["a", "b"], "exact_match": False},
    "expect_table_row_count_to_be_between": {"min_value": 1, "max_value": 2},
    "expect_table_row_count_to_equal": {"value": 2},
    "expect_table_row_count_to_equal_other_table": {"other_table_name": "b"},
    "unexpected_rows_expectation": {"unexpected_rows_query": "SELECT * FROM {batch}"},
}
"""Arguments by type; every argument that a type has but common ones occurs somewhere."""
