"""Which way an argument must move for an expectation to ask less.

Every argument of every type has a direction, or is said not to have one. A change of an
argument without a direction cannot be judged by a program; a person has to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["Direction", "direction_of", "named_directions"]


class Direction(StrEnum):
    """What makes an argument stricter."""

    HIGHER = "higher"
    """A greater number, or a later moment; none at all is no bound."""
    LOWER = "lower"
    """A smaller number, or an earlier moment; none at all is no bound."""
    FEWER = "fewer"
    """A subset: it lists what is allowed."""
    MORE = "more"
    """A superset: it lists what is demanded, or refused."""
    MORE_OR_ALL = "more_or_all"
    """A superset; nothing given stands for everything."""
    YES = "yes"
    """True."""
    NO = "no"
    """False."""
    GIVEN = "given"
    """Anything is stricter than nothing; two values cannot be compared."""
    RANGES = "ranges"
    """Narrower ranges for the same quantiles."""
    PATTERNS = "patterns"
    """A list of patterns: of allowed ones or of demanded ones, by ``match_on``."""
    ALL = "all"
    """``all`` is stricter than ``any``."""
    SCHEMA = "schema"
    """Columns that may not be null where they might."""
    ROBUST = "robust"
    """Together with others it makes a range: the narrower one is stricter."""
    NONE = "none"
    """No direction."""


_BY_NAME: Final[Mapping[str, Direction]] = MappingProxyType(
    {
        "mostly": Direction.HIGHER,
        "min_value": Direction.HIGHER,
        "max_value": Direction.LOWER,
        "strict_min": Direction.YES,
        "strict_max": Direction.YES,
        "threshold": Direction.LOWER,
        "multiplier": Direction.LOWER,
        "max_distance": Direction.LOWER,
        "max_share": Direction.LOWER,
        "confidence": Direction.LOWER,
        "not_before": Direction.HIGHER,
        "not_after": Direction.LOWER,
        "low": Direction.ROBUST,
        "high": Direction.ROBUST,
        "margin": Direction.ROBUST,
        "type_list": Direction.FEWER,
        "value_pairs_set": Direction.FEWER,
        "domains": Direction.FEWER,
        "schemes": Direction.FEWER,
        "kinds": Direction.MORE_OR_ALL,
        "exact_match": Direction.YES,
        "ordered": Direction.YES,
        "strictly": Direction.YES,
        "double_sided": Direction.YES,
        "all_present": Direction.YES,
        "or_equal": Direction.NO,
        "ties_okay": Direction.NO,
        "column_index": Direction.GIVEN,
        "quantile_ranges": Direction.RANGES,
        "match_on": Direction.ALL,
        "column": Direction.NONE,
        "column_A": Direction.NONE,
        "column_B": Direction.NONE,
        "column_list": Direction.NONE,
        "column_set": Direction.NONE,
        "type_": Direction.NONE,
        "logical_type": Direction.NONE,
        "value": Direction.NONE,
        "sum_total": Direction.NONE,
        "regex": Direction.NONE,
        "like_pattern": Direction.NONE,
        "escape": Direction.NONE,
        "strftime_format": Direction.NONE,
        "json_schema": Direction.NONE,
        "ignore_row_if": Direction.NONE,
        "method": Direction.NONE,
        "allow_relative_error": Direction.NONE,
        "partition_object": Direction.NONE,
        "internal_weight_holdout": Direction.NONE,
        "tail_weight_holdout": Direction.NONE,
        "bucketize_data": Direction.NONE,
        "shares": Direction.NONE,
        "edges": Direction.NONE,
        "quantiles": Direction.NONE,
        "other_table_name": Direction.NONE,
        "unexpected_rows_query": Direction.NONE,
        "base_query": Direction.NONE,
        "comparison_query": Direction.NONE,
        "comparison_data_source_name": Direction.NONE,
    }
)
"""For most types an argument's name says what it does."""

_BY_TYPE: Final[Mapping[str, Mapping[str, Direction]]] = MappingProxyType(
    {
        "expect_column_values_to_be_in_set": {"value_set": Direction.FEWER},
        "expect_column_distinct_values_to_be_in_set": {"value_set": Direction.FEWER},
        "expect_column_most_common_value_to_be_in_set": {"value_set": Direction.FEWER},
        "expect_column_values_to_not_be_in_set": {"value_set": Direction.MORE},
        "expect_column_distinct_values_to_contain_set": {"value_set": Direction.MORE},
        "expect_column_distinct_values_to_equal_set": {"value_set": Direction.NONE},
        "expect_column_kl_divergence_to_be_less_than": {
            "min_value": Direction.NONE,
            "max_value": Direction.NONE,
        },
        "expect_column_values_to_match_regex_list": {"regex_list": Direction.PATTERNS},
        "expect_column_values_to_match_like_pattern_list": {
            "like_pattern_list": Direction.PATTERNS
        },
        "expect_column_values_to_not_match_regex_list": {"regex_list": Direction.MORE},
        "expect_column_values_to_not_match_like_pattern_list": {
            "like_pattern_list": Direction.MORE
        },
        "expect_table_schema_to_equal": {"columns": Direction.SCHEMA},
        "expect_column_categories_to_be_frozen": {"categories": Direction.FEWER},
        "expect_column_psi_to_be_less_than": {"categories": Direction.NONE},
    }
)
"""Where the same name means another thing."""


def direction_of(kind: str, argument: str) -> Direction:
    """Return the direction of an argument; ``NONE`` for one that nobody knows."""
    own = _BY_TYPE.get(kind, {})
    return own.get(argument) or _BY_NAME.get(argument, Direction.NONE)


def named_directions(kind: str) -> frozenset[str]:
    """Return the arguments for which somebody decided, of this type or of all."""
    return frozenset(_BY_NAME) | frozenset(_BY_TYPE.get(kind, {}))
