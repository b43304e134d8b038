"""The columns of a data contract: presence, keys, enumerations and the options of types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.contract_quality import quality_rules
from sluicegate.stages.validation.suites.contract_rules import Rules

__all__ = ["column_name", "column_rules"]

_NOT_NULL: Final = "expect_column_values_to_not_be_null"
_UNIQUE: Final = "expect_column_values_to_be_unique"
_LENGTHS: Final = ("minLength", "maxLength")
_BOUNDS: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_NESTED: Final = ("properties", "items", "map", "relationships")
_PROSE: Final = Severity.INFO


def column_rules(table: Mapping[str, Json], path: str, rules: Rules) -> None:
    """Turn the properties of a schema object into expectations.

    Args:
        table: the schema object.
        path: where it is in the contract.
        rules: takes them.
    """
    keys = []
    for index, column in enumerate(table.get("properties") or []):
        at = f"{path}.properties[{index}]"
        name = column_name(column)
        if column.get("semanticType", "column") == "measure":
            rules.leave(at, f"measure {name!r} is computed, and no column", _PROSE)
            continue
        rules.ask(f"{at}.name", "expect_column_to_exist", column=name)
        if column.get("primaryKey"):
            keys.append((column.get("primaryKeyPosition", -1), index, name, at))
        _values(column, name, at, rules)
        quality_rules(column, at, name, rules)
    _primary_key(sorted(keys), rules)
    if table.get("relationships"):
        rules.leave(f"{path}.relationships", "relations to other tables", Severity.CRITICAL)


def column_name(column: Mapping[str, Json]) -> str:
    """Return what the column is called in the data: its physical name if it has one."""
    return str(column.get("physicalName") or column["name"])


def _values(column: Mapping[str, Json], name: str, at: str, rules: Rules) -> None:
    if column.get("required") or column.get("primaryKey"):
        where = "required" if column.get("required") else "primaryKey"
        rules.ask(f"{at}.{where}", _NOT_NULL, column=name)
    if column.get("unique"):
        rules.ask(f"{at}.unique", _UNIQUE, column=name)
    if column.get("enum"):
        allowed = [one["value"] for one in column["enum"]]
        rules.ask(f"{at}.enum", "expect_column_values_to_be_in_set", column=name,
                  value_set=allowed)  # fmt: skip
    if "logicalType" in column:
        rules.ask(f"{at}.logicalType", "expect_column_logical_type_to_be", column=name,
                  logical_type=column["logicalType"])  # fmt: skip
    _options(column.get("logicalTypeOptions") or {}, name, f"{at}.logicalTypeOptions", rules)
    for nested in _NESTED:
        if column.get(nested):
            rules.leave(f"{at}.{nested}", f"what {nested} demand inside of {name!r}",
                        Severity.CRITICAL)  # fmt: skip


def _primary_key(keys: list[tuple[int, int, str, str]], rules: Rules) -> None:
    if len(keys) == 1:
        _, _, name, at = keys[0]
        rules.ask(f"{at}.primaryKey", _UNIQUE, column=name)
    elif keys:
        names = [name for _, _, name, _ in keys]
        at = f"{keys[0][3]}.primaryKey"
        rules.ask(at, "expect_compound_columns_to_be_unique", column_list=names)


def _options(options: Mapping[str, Json], name: str, at: str, rules: Rules) -> None:
    lengths = [options.get(key) for key in _LENGTHS]
    if any(one is not None for one in lengths):
        rules.ask(at, "expect_column_value_lengths_to_be_between", column=name,
                  min_value=lengths[0], max_value=lengths[1])  # fmt: skip
    if "pattern" in options:
        rules.ask(f"{at}.pattern", "expect_column_values_to_match_regex", column=name,
                  regex=options["pattern"])  # fmt: skip
    for low, high, strict in ((*_BOUNDS[::2], False), (*_BOUNDS[1::2], True)):
        bounds = {"min_value": options.get(low), "max_value": options.get(high)}
        given = {key: value for key, value in bounds.items() if value is not None}
        if given:
            extra: dict[str, Any] = {f"strict_{key[:3]}": True for key in given if strict}
            rules.ask(at, "expect_column_values_to_be_between", column=name, **given, **extra)
    for key in options:
        if key not in (*_LENGTHS, *_BOUNDS, "pattern"):
            rules.leave(f"{at}.{key}", f"the option {key!r} of {name!r}", Severity.WARNING)
