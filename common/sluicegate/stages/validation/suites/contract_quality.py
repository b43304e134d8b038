"""The quality rules of a data contract.

Of the metrics of the standard's library those become expectations whose bound says the same
in both languages. Shares are exact: "less than 1 percent" becomes the next larger share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.catalogue import CATALOGUE, arguments_of
from sluicegate.stages.validation.suites.contract_rules import Rules, severity_of
from sluicegate.stages.validation.suites.documents import read_document
from sluicegate.stages.validation.suites.entries import Entry
from sluicegate.stages.validation.suites.model import refusal

__all__ = ["quality_rules"]

_WHERE: Final = "the data contract"
_GX_ENGINES: Final = ("greatexpectations", "gx")
_PLAIN_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPARED: Final = {
    "mustBe": "=",
    "mustNotBe": "<>",
    "mustBeGreaterThan": ">",
    "mustBeGreaterOrEqualTo": ">=",
    "mustBeLessThan": "<",
    "mustBeLessOrEqualTo": "<=",
}
_BETWEEN: Final = ("mustBeBetween", "mustNotBeBetween")


def quality_rules(owner: Mapping[str, Json], path: str, column: str, rules: Rules) -> None:
    """Turn the quality rules of a table or a column into expectations.

    Args:
        owner: the schema object, or the property.
        path: where it is in the contract.
        column: the column's name, or nothing for a table.
        rules: takes them.
    """
    for index, rule in enumerate(owner.get("quality") or []):
        at = f"{path}.quality[{index}]"
        kind = rule.get("type", "library")
        if kind == "text":
            rules.leave(at, "a rule in prose, which is no check", Severity.INFO)
        elif kind == "sql":
            _sql(rule, at, column, rules)
        elif kind == "custom":
            _custom(rule, at, column, rules)
        elif not _library(rule, at, column, rules):
            metric = rule.get("metric", "no metric")
            rules.leave(at, f"a rule about {metric} in this form", severity_of(rule))


def _library(rule: Mapping[str, Json], at: str, column: str, rules: Rules) -> bool:
    """Ask a rule of the standard's library, and say whether that can be done."""
    metric, given = rule.get("metric"), rule.get("arguments") or {}
    if metric == "rowCount" and not column:
        return _row_count(rule, at, rules)
    names = given.get("properties") or ([column] if column else [])
    if metric == "duplicateValues" and names and _none_allowed(rule):
        many = len(names) > 1
        kind = (
            "expect_compound_columns_to_be_unique"
            if many
            else ("expect_column_values_to_be_unique")
        )
        key = {"column_list": names} if many else {"column": names[0]}
        rules.ask(at, kind, severity_of(rule), **key)
        return True
    least = _least_share(rule)
    if not column or least is None:
        return False
    mostly = {} if least == 1 else {"mostly": least}
    return _about_values(str(metric), given, at, severity_of(rule), column, mostly, rules)


def _about_values(
    metric: str, given: Mapping[str, Any], at: str, severity: Severity, column: str,
    mostly: Mapping[str, float], rules: Rules,
) -> bool:  # fmt: skip
    not_null = "expect_column_values_to_not_be_null"
    if metric == "nullValues":
        rules.ask(at, not_null, severity, column=column, **mostly)
        return True
    if metric == "missingValues" and not mostly:
        # Absent or standing for it: several marks cannot share one allowance.
        marks = given.get("missingValues") or [None]
        texts = [one for one in marks if one is not None]
        if None in marks:
            rules.ask(at, not_null, severity, column=column)
        if texts:
            kind = "expect_column_values_to_not_be_in_set"
            rules.ask(at, kind, severity, column=column, value_set=texts)
        return True
    if metric == "invalidValues" and len(given) == 1:
        if isinstance(given.get("validValues"), list):
            kind, key = "expect_column_values_to_be_in_set", {"value_set": given["validValues"]}
        elif isinstance(given.get("pattern"), str):
            kind, key = "expect_column_values_to_match_regex", {"regex": given["pattern"]}
        else:
            return False
        rules.ask(at, kind, severity, column=column, **key, **mostly)
        return True
    return False


def _none_allowed(rule: Mapping[str, Json]) -> bool:
    return _least_share(rule) == 1


def _least_share(rule: Mapping[str, Json]) -> float | None:
    """Return the least share of good values, if a bound on bad ones says one."""
    percent = rule.get("unit") in ("percent", "%")
    for key in ("mustBe", "mustBeLessOrEqualTo", "mustBeLessThan"):
        bound = rule.get(key)
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            continue
        strict = key == "mustBeLessThan"
        if not strict and bound == 0:
            return 1.0
        if not percent:
            return 1.0 if strict and 0 < bound <= 1 else None
        least = 1 - bound / 100
        least = math.nextafter(least, 2) if strict else least
        return least if key != "mustBe" and 0 < least <= 1 else None
    return None


def _row_count(rule: Mapping[str, Json], at: str, rules: Rules) -> bool:
    severity = severity_of(rule)
    bounds: dict[str, Any] = {}
    for key, value in rule.items():
        if key == "mustBe" and _whole(value):
            rules.ask(at, "expect_table_row_count_to_equal", severity, value=value)
            return True
        if key == "mustBeBetween":
            bounds = {"min_value": math.ceil(min(value)), "max_value": math.floor(max(value))}
        elif key in ("mustBeGreaterThan", "mustBeGreaterOrEqualTo"):
            whole = math.floor(value) + 1 if key == "mustBeGreaterThan" else math.ceil(value)
            bounds = {"min_value": whole}
        elif key in ("mustBeLessThan", "mustBeLessOrEqualTo"):
            whole = math.ceil(value) - 1 if key == "mustBeLessThan" else math.floor(value)
            bounds = {"max_value": whole}
    if bounds and rule.get("unit", "rows") == "rows":
        rules.ask(at, "expect_table_row_count_to_be_between", severity, **bounds)
        return True
    return False


def _whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _custom(rule: Mapping[str, Json], at: str, column: str, rules: Rules) -> None:
    """Hand a rule for GX to the strict reader; those of other engines stay unasked."""
    engine = re.sub(r"[^a-z]", "", str(rule.get("engine")).lower())
    if engine not in _GX_ENGINES:
        rules.leave(at, f"a rule for the engine {rule.get('engine')!r}", severity_of(rule))
        return
    inside = f"{at}.implementation"
    value = rule["implementation"]
    if isinstance(value, str):
        try:
            value = read_document(value.encode()).value
        except ConfigurationError as error:
            rules.refuse(refusal(_WHERE, inside, "one expectation, as JSON or YAML", error.what))
            return
    if not isinstance(value, dict):
        rules.refuse(refusal(_WHERE, inside, "one expectation, as JSON or YAML", "another value"))
        return
    entry = {"severity": severity_of(rule).value, **value}
    kwargs, kind = entry.get("kwargs"), entry.get("type")
    takes = column and isinstance(kind, str) and kind in CATALOGUE
    if takes and isinstance(kwargs, dict) and "column" in arguments_of(str(kind)):
        entry["kwargs"] = {"column": column, **kwargs}
    rules.entries.append(Entry(value=entry, path=inside))


def _sql(rule: Mapping[str, Json], at: str, column: str, rules: Rules) -> None:
    """Ask for rows only if the query's one value is not as it must be, NULL included."""
    if not rules.sql:
        rules.refuse(
            refusal(
                _WHERE, f"{at}.type", "a rule that is no SQL", "SQL that the contract holds",
                next_step="remove the rule, or let the policy allow SQL in suites",
            )
        )  # fmt: skip
        return
    query = str(rule["query"]).strip().rstrip(";")
    for name in ("table", "object"):
        query = query.replace(f"${{{name}}}", "\0")
    if column and _PLAIN_COLUMN.fullmatch(column):
        query = query.replace("${column}", column).replace("${property}", column)
    query = query.replace("{", "{{").replace("}", "}}").replace("\0", "{batch}")
    demand = _demand(rule)
    if "$" in query or demand is None:
        rules.leave(at, "a query with placeholders or bounds of its own", severity_of(rule))
        return
    rules.ask(
        at,
        "unexpected_rows_expectation",
        severity_of(rule),
        unexpected_rows_query=(
            f"SELECT 1 AS unexpected WHERE CASE WHEN ({query}) {demand} THEN 0 ELSE 1 END = 1"
        ),
    )


def _demand(rule: Mapping[str, Json]) -> str | None:
    for key, value in rule.items():
        if key in _COMPARED and isinstance(value, int | float) and not isinstance(value, bool):
            return f"{_COMPARED[key]} {value!r}"
        if key in _BETWEEN:
            negation = "NOT " if key == "mustNotBeBetween" else ""
            return f"{negation}BETWEEN {min(value)!r} AND {max(value)!r}"
    return None
