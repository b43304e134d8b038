"""Expectations in plain English, one line each, for those who review a suite.

Says what is asked, of which rows, how bad a failure is, and what would leave the question
unanswered: an unknown answer is never a pass.
"""

from __future__ import annotations

from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.conditions import (
    Comparison,
    Condition,
    Every,
    Negated,
    Nullity,
)
from sluicegate.stages.validation.suites.model import Expectation
from sluicegate.stages.validation.suites.sentences import SENTENCES, name_of, value_of
from sluicegate.stages.validation.suites.types import security_types

__all__ = ["describe_condition", "explain", "unknown_when"]

_CONSEQUENCES: Final = {
    Severity.CRITICAL: "critical: blocks",
    Severity.WARNING: "warning: rows are set aside",
    Severity.INFO: "info: noted",
}
"""What the default policy makes of a failure."""

_OF_ROWS: Final = (
    "expect_column_values_",
    "expect_column_value_lengths_",
    "expect_column_value_z_scores_",
    "expect_column_pair_values_",
    "expect_compound_columns_",
    "expect_multicolumn_",
    "expect_select_column_values_",
)
_OF_COLUMNS: Final = (
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_in_type_list",
)
_OTHER_ROWS: Final = (
    "expect_column_categories_to_be_frozen",
    "expect_column_urls_to_be_allowed",
    "expect_column_timestamps_to_be_within",
    "expect_column_duplicate_share_to_be_less_than",
)


def explain(one: Expectation) -> str:
    """Return what an expectation asks, in one line of plain English."""
    security = security_types() if one.type not in SENTENCES else {}
    if one.type in SENTENCES:
        asked = SENTENCES[one.type](one.kwargs)
    elif one.type in security:
        asked = security[one.type].explain(one.own_kwargs)
    else:
        asked = f"{one.type} holds, with {value_of(one.own_kwargs)}"
    rows = f", among rows where {describe_condition(one.condition)}" if one.condition else ""
    effect = _CONSEQUENCES[one.severity]
    if one.severity is Severity.WARNING and not _names_rows(one):
        effect = "warning: blocks, as it names no rows that could be set aside"
    allowance = f", for at least {100 * one.mostly:g} % of the values" if one.mostly < 1 else ""
    return f"{asked.rstrip('.')}{allowance}{rows} ({effect})"


def _names_rows(one: Expectation) -> bool:
    """Whether a failure is that of rows, which a quarantine can set aside."""
    if one.type in SENTENCES:
        return one.type.startswith(_OF_ROWS) and not one.type.startswith(_OF_COLUMNS)
    return one.type.startswith(_OF_ROWS) or one.type in _OTHER_ROWS


def unknown_when(one: Expectation) -> str:
    """Return what would leave the question unanswered, as a phrase."""
    reasons = []
    if one.columns and one.type not in _ABOUT_NULLS:
        reasons.append("the column has no value" if len(one.columns) == 1 else
                       "none of the columns has a value")  # fmt: skip
    if one.condition is not None and not one.counts_rows:
        reasons.append("the condition selects no row")
    if one.sql:
        reasons.append("the data source does not speak SQL")
    reasons.append("the engine cannot read a value")
    return " or ".join(reasons)


def describe_condition(condition: Condition) -> str:
    """Return which rows a condition selects, as a phrase."""
    if isinstance(condition, Comparison):
        words = _OPERATORS[condition.operator]
        parameter: Json = condition.parameter
        if isinstance(parameter, tuple):
            parameter = list(parameter)
        return f"{name_of(condition.column)} {words} {value_of(parameter)}"
    if isinstance(condition, Nullity):
        return f"{name_of(condition.column)} {'has no' if condition.is_null else 'has a'} value"
    if isinstance(condition, Negated):
        return f"not ({describe_condition(condition.condition)})"
    word = " and " if isinstance(condition, Every) else " or "
    return word.join(
        describe_condition(one)
        if isinstance(one, Comparison | Nullity | Negated)
        else f"({describe_condition(one)})"
        for one in condition.conditions
    )


_OPERATORS: Final = {
    "==": "is",
    "!=": "is not",
    "<": "is below",
    "<=": "is at most",
    ">": "is above",
    ">=": "is at least",
    "IN": "is one of",
    "NOT_IN": "is none of",
}
_ABOUT_NULLS: Final = (
    "expect_column_values_to_be_null",
    "expect_column_values_to_not_be_null",
    "expect_column_proportion_of_non_null_values_to_be_between",
    "expect_column_type_to_be",
)
