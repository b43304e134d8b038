"""Types of Great Expectations 1.24.1 and their arguments: written by scripts/gx_catalogue.py.

Each argument is ``name kind``, separated by ``; ``. A name that ends in ``!`` is required, one
that ends in ``?`` takes null. ``catalogue.py`` reads this and says what the kinds mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["GX_TYPES", "GX_VERSION"]

GX_VERSION: Final = "1.24.1"
"""The release that was asked."""

GX_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "expect_column_distinct_values_to_be_in_set": (
            "column! column; row_condition? condition; condition_parser? parser; value_set! values"
        ),
        "expect_column_distinct_values_to_contain_set": (
            "column! column; row_condition? condition; condition_parser? parser; value_set! values"
        ),
        "expect_column_distinct_values_to_equal_set": (
            "column! column; row_condition? condition; condition_parser? parser; value_set! values"
        ),
        "expect_column_kl_divergence_to_be_less_than": (
            "column! column; row_condition? condition; condition_parser? parser; partition_object? "
            "object; threshold? number; internal_weight_holdout? share = 0; tail_weight_holdout? "
            "share = 0; bucketize_data flag = true; min_value? bound; max_value? bound"
        ),
        "expect_column_max_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? bound; "
            "max_value? bound; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_mean_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? bound; "
            "max_value? bound; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_median_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? bound; "
            "max_value? bound; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_min_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? bound; "
            "max_value? bound; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_most_common_value_to_be_in_set": (
            "column! column; row_condition? condition; condition_parser? parser; value_set! "
            "values; ties_okay? flag"
        ),
        "expect_column_pair_values_a_to_be_greater_than_b": (
            "column_A! column; column_B! column; mostly share = 1; row_condition? condition; "
            "condition_parser? parser; or_equal? flag; ignore_row_if "
            'both_values_are_missing|either_value_is_missing|neither = "both_values_are_missing"'
        ),
        "expect_column_pair_values_to_be_equal": (
            "column_A! column; column_B! column; mostly share = 1; row_condition? condition; "
            "condition_parser? parser; ignore_row_if "
            'both_values_are_missing|either_value_is_missing|neither = "both_values_are_missing"'
        ),
        "expect_column_pair_values_to_be_in_set": (
            "column_A! column; column_B! column; mostly share = 1; row_condition? condition; "
            "condition_parser? parser; value_pairs_set! pairs; ignore_row_if "
            'both_values_are_missing|either_value_is_missing|neither = "both_values_are_missing"'
        ),
        "expect_column_proportion_of_non_null_values_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? "
            "number; max_value? number; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_proportion_of_unique_values_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? "
            "number; max_value? number; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_quantile_values_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; quantile_ranges! "
            "quantiles; allow_relative_error flag_or_text = false"
        ),
        "expect_column_stdev_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? "
            "number; max_value? number; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_sum_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? bound; "
            "max_value? bound; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_to_exist": "column! column; column_index? integer",
        "expect_column_type_to_be": "column! column; type_! text",
        "expect_column_unique_value_count_to_be_between": (
            "column! column; row_condition? condition; condition_parser? parser; min_value? "
            "integer; max_value? integer; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_value_lengths_to_be_between": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "min_value? integer; max_value? integer; strict_min flag = false; strict_max flag = "
            "false"
        ),
        "expect_column_value_lengths_to_equal": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "value! number"
        ),
        "expect_column_value_z_scores_to_be_less_than": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "threshold! number; double_sided! flag"
        ),
        "expect_column_values_to_be_between": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "min_value? bound; max_value? bound; strict_min flag = false; strict_max flag = false"
        ),
        "expect_column_values_to_be_dateutil_parseable": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser"
        ),
        "expect_column_values_to_be_decreasing": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "strictly? flag"
        ),
        "expect_column_values_to_be_in_set": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "value_set! values"
        ),
        "expect_column_values_to_be_in_type_list": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "type_list? texts"
        ),
        "expect_column_values_to_be_increasing": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "strictly? flag"
        ),
        "expect_column_values_to_be_json_parseable": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser"
        ),
        "expect_column_values_to_be_null": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser"
        ),
        "expect_column_values_to_be_of_type": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "type_! text"
        ),
        "expect_column_values_to_be_unique": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser"
        ),
        "expect_column_values_to_match_json_schema": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "json_schema! object"
        ),
        "expect_column_values_to_match_like_pattern": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "like_pattern! text; escape? character"
        ),
        "expect_column_values_to_match_like_pattern_list": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            'like_pattern_list! texts; match_on any|all = "any"; escape? character'
        ),
        "expect_column_values_to_match_regex": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            'regex regex = "(?s).*"'
        ),
        "expect_column_values_to_match_regex_list": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            'regex_list! regexes; match_on any|all = "any"'
        ),
        "expect_column_values_to_match_strftime_format": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "strftime_format! strftime"
        ),
        "expect_column_values_to_not_be_in_set": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "value_set! values"
        ),
        "expect_column_values_to_not_be_null": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser"
        ),
        "expect_column_values_to_not_be_outliers": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            'method iqr|std = "iqr"; multiplier not_negative = 1.5'
        ),
        "expect_column_values_to_not_match_like_pattern": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "like_pattern! text; escape? character"
        ),
        "expect_column_values_to_not_match_like_pattern_list": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "like_pattern_list! texts; escape? character"
        ),
        "expect_column_values_to_not_match_regex": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "regex! regex"
        ),
        "expect_column_values_to_not_match_regex_list": (
            "column! column; mostly share = 1; row_condition? condition; condition_parser? parser; "
            "regex_list! regexes"
        ),
        "expect_compound_columns_to_be_unique": (
            "column_list! columns; mostly share = 1; row_condition? condition; condition_parser? "
            "parser; ignore_row_if all_values_are_missing|any_value_is_missing|never = "
            '"all_values_are_missing"'
        ),
        "expect_multicolumn_sum_to_equal": (
            "column_list! columns; mostly share = 1; row_condition? condition; condition_parser? "
            "parser; ignore_row_if all_values_are_missing|any_value_is_missing|never = "
            '"all_values_are_missing"; sum_total! number'
        ),
        "expect_multicolumn_values_to_be_equal": (
            "column_list! columns; mostly share = 1; row_condition? condition; condition_parser? "
            "parser; ignore_row_if all_values_are_missing|any_value_is_missing|never = "
            '"all_values_are_missing"'
        ),
        "expect_query_results_to_match_comparison": (
            "base_query! text; comparison_data_source_name! text; comparison_query! text; mostly "
            "share = 1"
        ),
        "expect_select_column_values_to_be_unique_within_record": (
            "column_list! columns; mostly share = 1; row_condition? condition; condition_parser? "
            'parser; ignore_row_if text = "all_values_are_missing"'
        ),
        "expect_table_column_count_to_be_between": "min_value? bound; max_value? bound",
        "expect_table_column_count_to_equal": "value! integer",
        "expect_table_columns_to_match_ordered_list": "column_list? names",
        "expect_table_columns_to_match_set": "column_set? names; exact_match? flag = true",
        "expect_table_row_count_to_be_between": (
            "min_value? integer; max_value? integer; strict_min flag = false; strict_max flag = "
            "false; row_condition? condition; condition_parser? parser"
        ),
        "expect_table_row_count_to_equal": (
            "value! integer; row_condition? condition; condition_parser? parser"
        ),
        "expect_table_row_count_to_equal_other_table": (
            "other_table_name! text; row_condition? condition; condition_parser? parser"
        ),
        "unexpected_rows_expectation": "unexpected_rows_query! query",
    }
)
"""Arguments by type."""
