"""Data contracts of the Open Data Contract Standard, as suites.

What a contract demands of its columns becomes expectations of Great Expectations, read by the
same strict reader as any suite. What no expectation can stand for (a rule in prose, a rule of
another engine, a format) is listed as *unasked*, with its severity: nobody knows whether it
holds, and nobody may take it for checked. SQL is refused unless the policy allows it.

The contract is first held against the standard's own JSON schema: the published Python models
ignore keys that they do not know, and a misspelt ``required`` would ask nothing.

Source: Open Data Contract Standard 3.2.0, https://bitol-io.github.io/open-data-contract-standard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import MissingExtraError
from sluicegate.stages.validation.suites.contract_columns import column_rules
from sluicegate.stages.validation.suites.contract_quality import quality_rules
from sluicegate.stages.validation.suites.contract_rules import Rules
from sluicegate.stages.validation.suites.entries import Entry
from sluicegate.stages.validation.suites.model import Unasked, closest, refusal, shown
from sluicegate.stages.validation.suites.problems import Problems
from sluicegate.stages.validation.suites.shape import plain_values

__all__ = ["Contract", "is_contract", "read_contract"]

_KIND: Final = "DataContract"
_MOST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one table of a contract asks."""

    name: str
    entries: tuple[Entry, ...] = ()
    unasked: tuple[Unasked, ...] = ()


def is_contract(value: Mapping[str, Json]) -> bool:
    """Whether a document is a data contract, by what it says of itself."""
    return value.get("kind") == _KIND or "apiVersion" in value


def read_contract(
    value: Mapping[str, Json], problems: Problems, *, sql: bool, table: str
) -> Contract:
    """Turn one table of a contract into entries of a suite.

    Args:
        value: the document.
        problems: takes what is wrong with it.
        sql: the policy allows SQL that a contract holds.
        table: name of the schema object; not needed if there is one.

    Raises:
        MissingExtraError: the library with the standard's schema is missing.
    """
    before = len(problems.found)
    problems.attempt(plain_values, value, "the data contract", "$")
    if len(problems.found) == before:
        _validate(value, problems)
    if len(problems.found) > before:
        return Contract(name="")
    chosen = _table(value, problems, table)
    if chosen is None:
        return Contract(name="")
    index, schema = chosen
    rules = Rules(sql=sql)
    path = f"$.schema[{index}]"
    column_rules(schema, path, rules)
    quality_rules(schema, path, "", rules)
    for error in rules.refused:
        problems.add(error)
    if not rules.entries and not rules.refused:
        problems.add(
            refusal("the data contract", path, "a table with properties or rules", "none",
                    next_step="a contract that asks nothing is no suite: add properties")
        )  # fmt: skip
    name = f"{value.get('name') or value['id']}/{schema['name']}"
    return Contract(name=name, entries=tuple(rules.entries), unasked=tuple(rules.unasked))


def _table(
    value: Mapping[str, Json], problems: Problems, table: str
) -> tuple[int, Mapping[str, Json]] | None:
    tables = list(enumerate(value.get("schema") or []))
    names = [one["name"] for _, one in tables]
    chosen = [pair for pair in tables if not table or pair[1]["name"] == table]
    if len(chosen) == 1:
        return chosen[0]
    expected = (
        f"a contract with one schema object named {table!r}"
        if table
        else ("a contract with one schema object, or one chosen by name")
    )
    problems.add(
        refusal(
            "the data contract",
            "$.schema",
            expected,
            shown(names),
            next_step=closest(table, names) or "say which one the data is with the option table",
        )
    )
    return None


def _validate(value: Mapping[str, Json], problems: Problems) -> None:
    for error in _validator().iter_errors(value):
        at = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path
        )
        problems.add(
            refusal(
                "the data contract",
                f"${at}",
                "what the Open Data Contract Standard allows",
                f"what it does not: {error.message[:_MOST_SHOWN]}",
                next_step="correct the contract; unknown keys would ask nothing",
            )
        )


@cache
def _validator() -> Any:
    try:
        import jsonschema_rs
        from open_data_contract_standard.model import OpenDataContractStandard
    except ImportError as error:
        library = error.name or "open_data_contract_standard"
        raise MissingExtraError(library, "validation", "reading a data contract") from error
    standard: Any = OpenDataContractStandard
    schema = json.loads(standard.json_schema())
    for rule in schema["$defs"]["SchemaBaseProperty"]["allOf"]:
        _only_if_given(rule.get("if", {}))
    return jsonschema_rs.Draft201909Validator(schema)


def _only_if_given(condition: dict[str, Any]) -> None:
    """Make a condition on a logical type fail where there is none.

    As published, it holds for every column without a logical type, which is optional, and
    then demands what only maps and vectors have. Source: JSON Schema 2019-09, 9.3.2.1.
    """
    for part in (condition, *condition.get("anyOf", ())):
        if "logicalType" in part.get("properties", {}):
            part["required"] = ["logicalType"]
