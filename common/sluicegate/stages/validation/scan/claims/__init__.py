"""Claims: which expectation types of Great Expectations the scan answers, and how.

One module for each family of types; a module is imported when one of its types is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from sluicegate.stages.validation.scan.base import ClaimMaker

__all__ = ["CLAIMS"]

_FAMILIES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "nulls": {
            "expect_column_values_to_be_null": "null",
            "expect_column_values_to_not_be_null": "not_null",
            "expect_column_proportion_of_non_null_values_to_be_between": "share",
        },
        "sets": {
            "expect_column_values_to_be_in_set": "in_set",
            "expect_column_values_to_not_be_in_set": "not_in_set",
            "expect_column_distinct_values_to_be_in_set": "distinct_in_set",
            "expect_column_distinct_values_to_equal_set": "distinct_equal_set",
            "expect_column_distinct_values_to_contain_set": "distinct_contain_set",
            "expect_column_most_common_value_to_be_in_set": "most_common",
        },
        "ranges": {"expect_column_values_to_be_between": "between"},
        "aggregates": {
            "expect_column_max_to_be_between": "maximum",
            "expect_column_min_to_be_between": "minimum",
            "expect_column_mean_to_be_between": "mean",
            "expect_column_median_to_be_between": "median",
            "expect_column_sum_to_be_between": "total",
            "expect_column_stdev_to_be_between": "deviation",
            "expect_column_quantile_values_to_be_between": "quantiles",
        },
        "outliers": {
            "expect_column_value_z_scores_to_be_less_than": "z_scores",
            "expect_column_values_to_not_be_outliers": "outliers",
        },
        "uniqueness": {
            "expect_column_values_to_be_unique": "unique",
            "expect_column_unique_value_count_to_be_between": "unique_count",
            "expect_column_proportion_of_unique_values_to_be_between": "unique_share",
            "expect_compound_columns_to_be_unique": "compound",
        },
        "order": {
            "expect_column_values_to_be_increasing": "increasing",
            "expect_column_values_to_be_decreasing": "decreasing",
        },
        "lengths": {
            "expect_column_value_lengths_to_be_between": "between",
            "expect_column_value_lengths_to_equal": "equal",
        },
        "patterns": {
            "expect_column_values_to_match_regex": "match",
            "expect_column_values_to_not_match_regex": "not_match",
            "expect_column_values_to_match_regex_list": "match_list",
            "expect_column_values_to_not_match_regex_list": "not_match_list",
        },
        "texts": {
            "expect_column_values_to_match_strftime_format": "strftime",
            "expect_column_values_to_be_dateutil_parseable": "dateutil",
            "expect_column_values_to_be_json_parseable": "json_parseable",
            "expect_column_values_to_match_json_schema": "json_schema",
        },
        "types": {
            "expect_column_values_to_be_of_type": "of_type",
            "expect_column_values_to_be_in_type_list": "in_type_list",
            "expect_column_type_to_be": "column_type",
        },
        "divergence": {"expect_column_kl_divergence_to_be_less_than": "kullback_leibler"},
        "records": {
            "expect_column_pair_values_to_be_equal": "pair_equal",
            "expect_column_pair_values_a_to_be_greater_than_b": "pair_greater",
            "expect_column_pair_values_to_be_in_set": "pair_in_set",
            "expect_multicolumn_values_to_be_equal": "all_equal",
            "expect_multicolumn_sum_to_equal": "sum_equals",
            "expect_select_column_values_to_be_unique_within_record": "unique_within_record",
        },
        "tables": {
            "expect_column_to_exist": "column_exists",
            "expect_table_row_count_to_equal": "row_count",
            "expect_table_row_count_to_be_between": "row_count_between",
            "expect_table_column_count_to_equal": "column_count",
            "expect_table_column_count_to_be_between": "column_count_between",
            "expect_table_columns_to_match_ordered_list": "ordered_columns",
            "expect_table_columns_to_match_set": "column_set",
        },
    }
)
"""Family, which is a module, to expectation types and the function that plans each."""


class _Claims(Mapping[str, ClaimMaker]):
    def __init__(self) -> None:
        self._where = {
            kind: (family, function)
            for family, kinds in _FAMILIES.items()
            for kind, function in kinds.items()
        }

    def __getitem__(self, kind: str) -> ClaimMaker:
        family, function = self._where[kind]
        maker: ClaimMaker = getattr(import_module(f"{__name__}.{family}"), function)
        return maker

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


CLAIMS: Final[Mapping[str, ClaimMaker]] = _Claims()
"""What plans an expectation, by its type."""
