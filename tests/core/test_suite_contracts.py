"""Data contracts of the Open Data Contract Standard, read as suites."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sluicegate.errors import ConfigurationError
from sluicegate.model import Report, Severity
from sluicegate.stages.base import Context, configuration_files
from sluicegate.stages.validation import ValidateDataset
from sluicegate.stages.validation.suites.model import Suite
from sluicegate.stages.validation.suites.parse import examine_suite, parse_suite
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

NOT_NULL = "expect_column_values_to_not_be_null"
UNIQUE = "expect_column_values_to_be_unique"


def contract(*properties: Any, quality: Any = None, **more: Any) -> bytes:
    table = {"name": "orders", "properties": list(properties)}
    if quality:
        table["quality"] = quality
    top = {
        "version": "1.0.0", "apiVersion": "v3.1.0", "kind": "DataContract", "id": "c",
        "status": "active", "schema": [table], **more,
    }  # fmt: skip
    return yaml.safe_dump(top, sort_keys=False).encode()


def column(**keys: Any) -> dict[str, Any]:
    return {"name": "a", **keys}


def asked(suite: Suite) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what a suite asks beyond that the columns exist."""
    every = [(one.type, dict(one.kwargs)) for one in suite.expectations]
    return [pair for pair in every if pair[0] != "expect_column_to_exist"]


def typed(word: str) -> tuple[str, dict[str, Any]]:
    return "expect_column_logical_type_to_be", {"column": "a", "logical_type": word}


def only(*properties: Any, **more: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return asked(parse_suite(contract(*properties, **more)))


def refused(data: bytes, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_suite(data, **options)
    assert caught.value.next_step
    return str(caught.value)


def test_a_contract_says_which_columns_there_are() -> None:
    suite = parse_suite(contract(column(), column(name="b", physicalName="B")))
    assert suite.name == "c/orders"
    assert [(one.type, one.kwargs["column"]) for one in suite.expectations] == [
        ("expect_column_to_exist", "a"),
        ("expect_column_to_exist", "B"),
    ]
    assert suite.unasked == ()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"required": True}, [(NOT_NULL, {"column": "a"})]),
        ({"required": False, "unique": False}, []),
        ({"unique": True}, [(UNIQUE, {"column": "a"})]),
        ({"primaryKey": True}, [(NOT_NULL, {"column": "a"}), (UNIQUE, {"column": "a"})]),
        (
            {"enum": [{"value": "x"}, {"value": 2}]},
            [("expect_column_values_to_be_in_set", {"column": "a", "value_set": ["x", 2]})],
        ),
        (
            {"logicalType": "string", "logicalTypeOptions": {"minLength": 2, "pattern": "^x"}},
            [
                typed("string"),
                (
                    "expect_column_value_lengths_to_be_between",
                    {"column": "a", "min_value": 2, "max_value": None},
                ),
                ("expect_column_values_to_match_regex", {"column": "a", "regex": "^x"}),
            ],
        ),
        (
            {
                "logicalType": "integer",
                "logicalTypeOptions": {"minimum": 1, "exclusiveMaximum": 10},
            },
            [
                typed("integer"),
                ("expect_column_values_to_be_between", {"column": "a", "min_value": 1}),
                (
                    "expect_column_values_to_be_between",
                    {"column": "a", "max_value": 10, "strict_max": True},
                ),
            ],
        ),
        (
            {"logicalType": "date", "logicalTypeOptions": {"minimum": "2024-01-01"}},
            [
                typed("date"),
                ("expect_column_values_to_be_between", {"column": "a", "min_value": "2024-01-01"}),
            ],
        ),
    ],
)
def test_what_a_column_demands_is_asked(keys: Any, expected: Any) -> None:
    assert only(column(**keys)) == expected


def test_a_key_of_several_columns_is_unique_as_a_whole_and_in_its_order() -> None:
    found = only(
        column(primaryKey=True, primaryKeyPosition=2),
        column(name="b", primaryKey=True, primaryKeyPosition=1),
    )
    kind = "expect_compound_columns_to_be_unique"
    assert (kind, {"column_list": ["b", "a"]}) in found
    assert UNIQUE not in [one for one, _ in found]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"metric": "nullValues", "mustBe": 0}, [(NOT_NULL, {})]),
        (
            {"metric": "nullValues", "mustBeLessOrEqualTo": 5, "unit": "percent"},
            [(NOT_NULL, {"mostly": 0.95})],
        ),
        ({"metric": "nullValues", "mustBeLessThan": 1}, [(NOT_NULL, {})]),
        ({"metric": "duplicateValues", "mustBe": 0}, [(UNIQUE, {})]),
        (
            {"metric": "missingValues", "mustBe": 0,
             "arguments": {"missingValues": [None, "", "N/A"]}},
            [(NOT_NULL, {}), ("expect_column_values_to_not_be_in_set", {"value_set": ["", "N/A"]})],
        ),
        (
            {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["x", "y"]}},
            [("expect_column_values_to_be_in_set", {"value_set": ["x", "y"]})],
        ),
        (
            {"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "^x"}},
            [("expect_column_values_to_match_regex", {"regex": "^x"})],
        ),
        (
            {"type": "custom", "engine": "great-expectations",
             "implementation": "type: expect_column_values_to_be_null\nkwargs: {mostly: 0.5}"},
            [("expect_column_values_to_be_null", {"mostly": 0.5})],
        ),
    ],
)  # fmt: skip
def test_a_quality_rule_of_a_column_is_asked(rule: Any, expected: Any) -> None:
    found = only(column(quality=[rule]))
    assert found == [(kind, {"column": "a", **kwargs}) for kind, kwargs in expected]


def test_less_than_a_share_excludes_the_share_itself() -> None:
    rule = {"metric": "nullValues", "mustBeLessThan": 1, "unit": "percent"}
    ((_, kwargs),) = only(column(quality=[rule]))
    assert 0.99 < kwargs["mostly"] < 0.99 + 1e-12


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"mustBe": 7}, ("expect_table_row_count_to_equal", {"value": 7})),
        ({"mustBeGreaterThan": 9}, {"min_value": 10}),
        ({"mustBeGreaterOrEqualTo": 9.5}, {"min_value": 10}),
        ({"mustBeLessThan": 9}, {"max_value": 8}),
        ({"mustBeLessOrEqualTo": 9}, {"max_value": 9}),
        ({"mustBeBetween": [1, 9]}, {"min_value": 1, "max_value": 9}),
    ],
)
def test_rows_are_counted(rule: Any, expected: Any) -> None:
    found = only(column(), quality=[{"metric": "rowCount", **rule}])
    if isinstance(expected, dict):
        expected = ("expect_table_row_count_to_be_between", expected)
    assert found == [expected]


@pytest.mark.parametrize(
    ("rule", "severity"),
    [
        ({"type": "text", "description": "looks fine"}, Severity.INFO),
        ({"metric": "nullValues", "mustBeLessThan": 100}, Severity.CRITICAL),
        ({"metric": "nullValues", "mustNotBe": 0}, Severity.CRITICAL),
        ({"metric": "nullValues", "mustBe": 5, "unit": "percent"}, Severity.CRITICAL),
        (
            {"metric": "duplicateValues", "mustBeLessThan": 3, "severity": "warning"},
            Severity.WARNING,
        ),
        (
            {"type": "custom", "engine": "soda", "implementation": "checks", "severity": "info"},
            Severity.INFO,
        ),
    ],
)
def test_what_nobody_can_ask_is_said_and_never_dropped(rule: Any, severity: Severity) -> None:
    suite = parse_suite(contract(column(quality=[rule])))
    assert asked(suite) == []
    (left,) = suite.unasked
    assert left.path == "$.schema[0].properties[0].quality[0]"
    assert left.severity is severity


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        ({"logicalType": "string", "logicalTypeOptions": {"format": "uuid"}}, "format"),
        ({"logicalType": "integer", "logicalTypeOptions": {"multipleOf": 5}}, "multipleOf"),
        ({"logicalType": "object", "properties": [{"name": "x", "required": True}]}, "properties"),
    ],
)
def test_options_that_no_expectation_stands_for_are_said(keys: Any, at: str) -> None:
    suite = parse_suite(contract(column(**keys)))
    assert any(one.path.endswith(f".{at}") for one in suite.unasked)


def test_severity_words_that_are_not_known_never_make_a_rule_weaker() -> None:
    rules = [
        {"metric": "nullValues", "mustBe": 0, "severity": word}
        for word in ("info", "WARNING", "error", "high", "whatever")
    ]
    suite = parse_suite(contract(column(quality=rules)))
    assert [one.severity.value for one in suite.expectations[1:]] == [
        "info", "warning", "critical", "critical", "critical",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (contract(column(requird=True)), "requird"),
        (contract(column(required="yes")), "required"),
        (contract(column(), schemas=[]), "schemas"),
        (contract(column(logicalType="text")), "logicalType"),
        (contract(column(quality=[{"metric": "nulls", "mustBe": 0}])), "quality"),
        (contract(column(quality=[{"metric": "nullValues", "mustBeAtMost": 0}])), "quality"),
        (contract(column(), apiVersion="v9"), "apiVersion"),
        (contract(column(), schema=[]), "schema object"),
        (contract(), "orders"),
        (b"kind: DataContract\napiVersion: v3.1.0\n", "version"),
    ],
)
def test_a_contract_that_the_standard_does_not_know_is_refused(data: bytes, says: str) -> None:
    if says == "orders":
        says = "a table with properties"
    assert says in refused(data)


def test_the_place_of_a_problem_is_told_by_line() -> None:
    text = contract(column(required="yes")).decode()
    line = text.splitlines().index("    required: 'yes'") + 1
    assert f"line {line}, column 5" in refused(text.encode())


def test_a_contract_of_several_tables_says_which_one() -> None:
    tables = [{"name": name, "properties": [column(required=True)]} for name in ("orders", "users")]
    data = contract(schema=tables)
    assert '["orders", "users"]' in refused(data)
    assert "did you mean 'orders'?" in refused(data, table="order")
    assert parse_suite(data, table="users").name == "c/users"


def test_a_table_is_no_option_of_a_suite_of_gx() -> None:
    data = b'{"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}}]}'  # noqa: E501
    assert parse_suite(data)
    assert "data contract" in refused(data, table="orders")


@pytest.mark.parametrize(
    "implementation",
    [
        "type: expect_column_values_to_be_nul\nkwargs: {}",
        "type: expect_column_values_to_be_null\nkwargs: {mosty: 0.5}",
        "type: expect_column_values_to_be_null\nkwargs: {row_condition: '@pd.io == 1'}",
        "!!python/object/apply:os.system [id]",
        "just text",
        {"expectation_type": "expect_column_values_to_be_null"},
        "type: unexpected_rows_expectation\nkwargs: {unexpected_rows_query: 'SELECT 1'}",
    ],
)
def test_a_rule_for_gx_goes_through_the_strict_reader(implementation: Any) -> None:
    rule = {"type": "custom", "engine": "greatExpectations", "implementation": implementation}
    assert "quality[0].implementation" in refused(contract(column(quality=[rule])))


SQL = {
    "type": "sql",
    "query": "SELECT COUNT(*) FROM ${table} WHERE ${column} = '{}'",
    "mustBe": 0,
}


def test_sql_is_refused_without_the_consent_of_the_policy() -> None:
    assert "SQL" in refused(contract(column(quality=[SQL])))


def test_sql_asks_for_a_row_if_the_value_is_not_as_it_must_be() -> None:
    import sqlite3

    suite = parse_suite(contract(column(quality=[SQL])), sql=True)
    (one,) = [one for one in suite.expectations if one.sql]
    query = one.kwargs["unexpected_rows_query"].format(batch="orders")
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE orders (a TEXT)")
    assert base.execute(query).fetchall() == []
    base.execute("INSERT INTO orders VALUES ('{}')")
    assert base.execute(query).fetchall() == [(1,)]
    # NULL is no answer: it must not pass for one.
    null = one.kwargs["unexpected_rows_query"].replace("COUNT(*)", "MAX(NULL)")
    assert base.execute(null.format(batch="orders")).fetchall() == [(1,)]


def test_all_problems_of_a_contract_are_listed() -> None:
    examined = examine_suite(contract(column(requird=True), column(name="b", unique="no")))
    assert examined.suite is None
    whats = " ".join(one.what for one in examined.problems)
    assert "requird" in whats
    assert "properties[1].unique" in whats


def examined_contract(folder: Path, data: pd.DataFrame, *properties: Any) -> Report:
    data.to_parquet(folder / "d.parquet")
    suite = folder / "contract.yaml"
    suite.write_bytes(contract(*properties))
    stage = ValidateDataset(suite=suite)
    snapshot = take_snapshot(SubjectUri.parse(str(folder / "d.parquet")))
    return stage.run(snapshot, Context(files=configuration_files(stage)))


def test_prose_is_listed_and_leaves_nothing_unknown(tmp_path: Path) -> None:
    prose = {"type": "text", "description": "must be nice"}
    keys = {"required": True, "logicalType": "string"}
    data = pd.DataFrame({"a": ["x", "y"]})
    report = examined_contract(tmp_path, data, column(**keys, quality=[prose]))
    assert {one.outcome.value for one in report.checks} == {"passed"}
    assert report.tables["not_checked"] == (
        {
            "path": "$.schema[0].properties[0].quality[0]",
            "what": "a rule in prose, which is no check",
            "severity": "info",
        },
    )
    # A rule that somebody meant, and that nobody can ask, is another matter.
    meant = {"metric": "nullValues", "mustNotBe": 0}
    report = examined_contract(tmp_path, data, column(**keys, quality=[meant]))
    assert [one.id for one in report.checks if one.outcome.value == "unknown"] == [
        "validation.contract_rule"
    ]
    assert "not_checked" not in report.tables


def test_a_logical_type_is_checked(tmp_path: Path) -> None:
    wrong = pd.DataFrame({"a": ["1", "2"]})
    report = examined_contract(tmp_path, wrong, column(logicalType="integer"))
    (failed,) = [one for one in report.checks if one.outcome.value == "failed"]
    assert failed.id == "validation.expect_column_logical_type_to_be"
    assert failed.severity is Severity.CRITICAL
