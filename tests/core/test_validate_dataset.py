"""The validation stage: what GX lets pass, what it would execute, and what must still work."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.model import Outcome, Severity
from sluicegate.stages.base import Context, Stage, configuration, stage_fields
from sluicegate.stages.validation import ValidateDataset
from sluicegate.stages.validation.strict import strict_pattern
from sluicegate.stages.validation.suites.parse import parse_suite
from tests.core.validation_cases import (
    BETWEEN,
    IN_SET,
    NOT_NULL,
    REGEX,
    ask,
    checks,
    compare,
    only,
    outcomes,
    rows_of,
    run,
    suite_json,
    text_of,
)

ORDERS = {
    "id": [1, 2, 3, 4],
    "age": [20, 30, 40, 50],
    "code": ["ab", "cd", "ef", "gh"],
    "share": [0.1, 0.2, 0.3, 0.4],
    "gap": [1.0, None, 3.0, None],
    "empty": pd.Series([None] * 4, dtype="float64"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder for a data set."""
    path = tmp_path / "data"
    path.mkdir()
    return path


def refused(*entries: Any, **top: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse_suite(suite_json(*entries, **top))
    assert caught.value.next_step
    return caught.value


# ---------------------------------------------------------------- what must work


def test_a_clean_data_set_passes_every_check(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask(NOT_NULL, column="id"),
        ask("expect_column_values_to_be_unique", column="id"),
        ask(BETWEEN, column="age", min_value=0, max_value=120, severity="warning"),
        ask(IN_SET, column="code", value_set=["ab", "cd", "ef", "gh"], severity="info"),
        ask(REGEX, column="code", regex="^[a-z]+$"),
        ask("expect_column_mean_to_be_between", column="share", min_value=0.2, max_value=0.3),
        ask("expect_table_row_count_to_be_between", min_value=1),
        ask("expect_table_columns_to_match_ordered_list", column_list=list(ORDERS)),
        ask("expect_column_to_exist", column="gap"),
        ask("expect_compound_columns_to_be_unique", column_list=["id", "code"]),
    )
    assert set(outcomes(report)) == {"passed"}
    assert len(report.checks) == 11
    assert report.metrics == {
        "rows": 4,
        "columns": 6,
        "expectations": 10,
        "failed": 0,
        "unknown": 0,
    }
    assert [check.severity for check in checks(report)][:4] == [
        Severity.CRITICAL,
        Severity.CRITICAL,
        Severity.WARNING,
        Severity.INFO,
    ]


def test_results_come_in_suite_order_with_ids_and_targets_of_their_own(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask("expect_table_row_count_to_equal", value=5, id="rows"),
        ask(BETWEEN, column="age", min_value=0, id="low"),
        ask("expect_column_pair_values_to_be_equal", column_A="id", column_B="age"),
        ask(BETWEEN, column="age", max_value=45, id="high"),
        ask(BETWEEN, column="id", max_value=9),
    )
    table = report.tables["expectations"]
    assert [row["id"] for row in table] == ["rows", "low", "", "high", ""]
    assert [row["target"] for row in table] == ["table", "age#1", "id,age", "age#3", "id"]
    assert [row["success"] for row in table] == [False, True, False, False, True]
    assert [row["unexpected_count"] for row in table] == [None, 0, 4, 1, 0]
    assert {row["engine"] for row in table} == {"scan"}
    assert [check.target for check in checks(report)] == [row["target"] for row in table]
    assert len({(check.id, check.target) for check in report.checks}) == len(report.checks)


def test_rows_of_a_folder_are_named_by_file_and_ordinal(folder: Path) -> None:
    (folder / "a.csv").write_text("age,code\n10,ab\n999,cd\n")
    (folder / "b.csv").write_text("age,code\n999,x1\n")
    (folder / "c.csv").write_text("age,code\n20,ab\n30,x2\n999,ef\n")
    report = run(
        folder,
        folder,
        ask(BETWEEN, column="age", max_value=120),
        ask(REGEX, column="code", regex="^[a-z]+$"),
        ask(BETWEEN, column="age", max_value=25, row_condition=compare("code", "!=", "ef")),
    )
    age, code, some = checks(report)
    assert rows_of(age) == [("a.csv", 1), ("b.csv", 0), ("c.csv", 2)]
    assert rows_of(code) == [("b.csv", 0), ("c.csv", 1)]
    assert rows_of(some) == [("a.csv", 1), ("b.csv", 0), ("c.csv", 1)]
    assert "3 of 6 values (50.00 %)" in age.findings[0].message


def test_json_lines_and_parquet_give_the_same_report(folder: Path, tmp_path: Path) -> None:
    entry = ask(BETWEEN, column="age", max_value=35)
    lines = tmp_path / "lines"
    lines.mkdir()
    (lines / "data.jsonl").write_text("".join(f'{{"age": {a}}}\n' for a in ORDERS["age"]))
    from_lines = run(lines, lines / "data.jsonl", entry)
    from_parquet = run(folder, {"age": ORDERS["age"]}, entry)
    assert text_of(from_lines).replace("data.jsonl", "data.parquet") == text_of(from_parquet)


def test_mostly_tolerates_a_share_and_no_more(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask(BETWEEN, column="age", max_value=45, mostly=0.75),
        ask(BETWEEN, column="age", max_value=45, mostly=0.76),
    )
    assert outcomes(report) == ["passed", "failed"]
    assert "at least 76 % must be" in checks(report)[1].findings[0].message


def test_more_than_twenty_bad_rows_are_all_named(folder: Path) -> None:
    report = run(folder, {"x": list(range(500))}, ask(BETWEEN, column="x", max_value=99))
    assert rows_of(only(report)) == [("data.parquet", row) for row in range(100, 500)]


def test_a_suite_that_gx_wrote_is_accepted_unchanged(folder: Path) -> None:
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    suite = gx.ExpectationSuite(
        name="written by gx",
        expectations=[
            gxe.ExpectColumnValuesToBeBetween(
                column="age",
                min_value=0,
                strict_max=True,
                max_value=120,
                mostly=0.9,
                severity="warning",
                meta={"owner": "data"},
                notes=["a", "b"],
                description="plausible ages",
                result_format="SUMMARY",
                catch_exceptions=True,
                row_condition=(Column("id") > 1) & Column("code").is_not_null(),
            ),
            gxe.ExpectTableRowCountToEqual(value=4),
        ],
        notes="kept",
        meta={"anything": [1, {"goes": None}]},
    )
    written = json.loads(json.dumps(suite.to_json_dict()))
    written["expectations"][0]["id"] = "8a4fb9d8-6c0a-4d5e-9a0c-0c0f6a1a2b3c"
    report = run(folder, ORDERS, *written.pop("expectations"), **written)
    assert outcomes(report) == ["passed", "passed"]
    assert report.tables["expectations"][0]["element_count"] == 3


def test_the_same_bytes_give_the_same_report(folder: Path) -> None:
    entries = [
        ask(BETWEEN, column="age", max_value=25),
        ask(IN_SET, column="code", value_set=["ab"]),
        ask("expect_column_max_to_be_between", column="age", max_value=1),
    ]
    assert text_of(run(folder, ORDERS, *entries)) == text_of(run(folder, ORDERS, *entries))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (compare("age", ">=", 30), [1, 2, 3]),
        (compare("code", "==", "cd"), [1]),
        (compare("code", "IN", ["ab", "gh"]), [0, 3]),
        (compare("age", "NOT_IN", [20, 50]), [1, 2]),
        ({"type": "nullity", "column": {"name": "gap"}, "is_null": True}, [1, 3]),
        ({"type": "and", "conditions": [compare("age", ">", 20), compare("id", "<", 4)]}, [1, 2]),
        ({"type": "or", "conditions": [compare("age", "<=", 20), compare("id", "!=", 2)]},
         [0, 2, 3]),
    ],
)  # fmt: skip
def test_a_row_condition_selects_the_rows_that_gx_selects(
    folder: Path, condition: Any, rows: list[int]
) -> None:
    import great_expectations as gx

    entry = ask(BETWEEN, column="age", min_value=1000, row_condition=condition)
    report = run(folder, ORDERS, entry)
    assert [ordinal for _, ordinal in rows_of(only(report))] == rows
    whole = (
        gx.get_context(mode="ephemeral")
        .data_sources.add_pandas("p")
        .add_dataframe_asset("a")
        .add_batch_definition_whole_dataframe("w")
    )
    alone = whole.get_batch({"dataframe": pd.DataFrame(ORDERS)}).validate(
        gx.ExpectationSuite(name="s", expectations=[entry]), result_format="COMPLETE"
    )
    assert alone.results[0].result["unexpected_index_list"] == rows


# ---------------------------------------------------------------- F1-F11: where GX says yes


@pytest.mark.parametrize("severity", ["huge", "CRITICAL", None, 1, ["critical"]])
def test_f1_an_unknown_severity_is_refused_where_gx_drops_the_expectation(severity: Any) -> None:
    entry = {**ask(NOT_NULL, column="id"), "severity": severity}
    error = refused(ask(NOT_NULL, column="id"), entry)
    assert "expectations[1] (expect_column_values_to_not_be_null)" in str(error)
    assert "$.expectations[1].severity" in str(error)


@pytest.mark.parametrize(
    ("kind", "suggestion"),
    [
        ("expect_column_values_to_not_be_nul", "expect_column_values_to_not_be_null"),
        ("ExpectColumnValuesToBeBetween", "expect_column_values_to_be_between"),
        ("zzz", "import the module"),
    ],
)
def test_f1_an_unknown_type_is_refused_with_a_suggestion(
    folder: Path, kind: str, suggestion: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run(folder, ORDERS, ask(NOT_NULL, column="id"), ask(kind, column="id"))
    assert f"expectations[1] ({kind})" in str(caught.value)
    assert suggestion in caught.value.next_step


@pytest.mark.parametrize("kind", [5, None, "", [], {}])
def test_f1_a_type_that_is_no_name_is_refused(kind: Any) -> None:
    assert "$.expectations[0].type" in str(refused({"type": kind, "kwargs": {}}))


@pytest.mark.parametrize("expectations", [[], None, {}, "none"])
def test_f2_a_suite_that_asks_nothing_is_refused(expectations: Any) -> None:
    data = json.dumps({"name": "s", "expectations": expectations}).encode()
    with pytest.raises(ConfigurationError, match=r"\$\.expectations must be"):
        parse_suite(data)


ABOUT_VALUES = [
    ask(IN_SET, column="empty", value_set=[1]),
    ask(BETWEEN, column="empty", min_value=0),
    ask(REGEX, column="empty", regex="^a$"),
    ask("expect_column_distinct_values_to_be_in_set", column="empty", value_set=[1]),
    ask("expect_column_sum_to_be_between", column="empty", max_value=1),
    ask("expect_column_values_to_be_unique", column="empty"),
    ask("expect_column_unique_value_count_to_be_between", column="empty", max_value=9),
    ask("expect_column_pair_values_to_be_equal", column_A="empty", column_B="empty"),
    ask("expect_multicolumn_values_to_be_equal", column_list=["empty", "void"]),
    ask("expect_column_values_to_be_in_type_list", column="empty", type_list=["float64"]),
]


def test_f3_a_column_without_values_is_unknown(folder: Path) -> None:
    report = run(folder, {**ORDERS, "void": ORDERS["empty"]}, *ABOUT_VALUES)
    for row, check in zip(report.tables["expectations"], checks(report), strict=True):
        assert check.outcome is Outcome.UNKNOWN, row["type"]
        assert "all are missing" in check.reason
        assert row["success"] is None
    assert report.metrics["unknown"] == len(ABOUT_VALUES)


def test_f3_a_question_about_missing_values_is_answered_on_an_empty_column(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask("expect_column_values_to_be_null", column="empty"),
        ask(NOT_NULL, column="empty"),
        ask("expect_column_proportion_of_non_null_values_to_be_between", column="empty",
            max_value=0.5),
        ask("expect_column_max_to_be_between", column="empty", min_value=1),
    )  # fmt: skip
    assert outcomes(report) == ["passed", "failed", "passed", "failed"]


def test_f4_missing_values_are_counted_and_only_fail_where_the_suite_asks(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask(BETWEEN, column="gap", min_value=0),
        ask("expect_column_mean_to_be_between", column="gap", min_value=0),
        ask(BETWEEN, column="gap", max_value=2),
        ask(NOT_NULL, column="gap"),
    )
    assert outcomes(report) == ["passed", "passed", "failed", "failed"]
    assert [row["missing_count"] for row in report.tables["expectations"]] == [2, 2, 2, None]
    assert "2 more values are missing" in checks(report)[2].findings[0].message
    assert rows_of(checks(report)[3]) == [("data.parquet", 1), ("data.parquet", 3)]


def test_f5_a_condition_that_selects_no_row_is_unknown(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask(BETWEEN, column="age", max_value=1, row_condition=compare("id", ">", 99)),
        ask(NOT_NULL, column="age", row_condition=compare("code", "==", 7)),
    )
    assert outcomes(report) == ["unknown", "unknown"]
    assert "selects no row" in checks(report)[0].reason


def test_f5_counting_the_rows_of_a_condition_may_come_to_none(folder: Path) -> None:
    none = compare("id", ">", 99)
    report = run(
        folder,
        ORDERS,
        ask("expect_table_row_count_to_equal", value=0, row_condition=none),
        ask("expect_table_row_count_to_equal", value=1, row_condition=none),
    )
    assert outcomes(report) == ["passed", "failed"]


def test_f6_a_data_set_without_rows_is_not_examined(folder: Path) -> None:
    (folder / "data.csv").write_text("id,age\n")
    with pytest.raises(SubjectError):
        run(folder, folder / "data.csv", ask(NOT_NULL, column="id"))


@pytest.mark.parametrize("mostly", [0, 0.0, -0.5, 1.5, True, "0.9", None])
def test_f7_a_mostly_that_lets_everything_pass_is_refused(mostly: Any) -> None:
    error = refused(ask(NOT_NULL, column="id", mostly=mostly))
    assert "$.expectations[0].kwargs.mostly" in str(error)


NUMERIC = [
    ask(BETWEEN, column="x", min_value=0),
    ask("expect_column_mean_to_be_between", column="x", min_value=0),
    ask("expect_column_max_to_be_between", column="x", min_value=0),
    ask("expect_column_sum_to_be_between", column="x", min_value=0),
    ask("expect_column_value_z_scores_to_be_less_than", column="x", threshold=1,
        double_sided=True),
    ask("expect_column_values_to_not_be_outliers", column="x"),
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["float64", "category"])
def test_f8_an_infinite_value_fails_numeric_expectations_and_is_named(
    folder: Path, encoding: str
) -> None:
    data = pd.DataFrame({"x": pd.Series([1.0, float("inf"), 2.0], dtype="float64")})
    report = run(folder, data.astype(encoding), *NUMERIC)
    for row, check in zip(report.tables["expectations"], checks(report), strict=True):
        if encoding == "category" and check.outcome is Outcome.UNKNOWN:
            continue  # GX cannot do arithmetic on categories, and says so
        assert check.outcome is Outcome.FAILED, row["type"]
        assert [ordinal for _, ordinal in rows_of(check)] == [1]
        assert "infinite" in check.findings[0].message
        assert row["engine"] == "sluicegate"


def test_f8_an_infinite_value_counts_under_mostly(folder: Path) -> None:
    data = {"x": [1.0, float("inf"), 2.0, 3.0]}
    report = run(
        folder,
        data,
        ask(BETWEEN, column="x", min_value=0, mostly=0.75),
        ask(BETWEEN, column="x", min_value=0, mostly=0.8),
    )
    assert outcomes(report) == ["passed", "failed"]


def test_f9_large_integers_are_compared_exactly(folder: Path) -> None:
    data, bound = {"x": [1, 2**53 + 1], "s": [1, 2**53]}, 2**53
    asked = [
        (BETWEEN, "x"),
        ("expect_column_max_to_be_between", "x"),
        ("expect_column_sum_to_be_between", "s"),
    ]
    report = run(
        folder,
        data,
        *(ask(kind, column=column, max_value=bound) for kind, column in asked),
        *(ask(kind, column=column, max_value=bound + 1) for kind, column in asked),
    )
    assert outcomes(report) == ["failed"] * 3 + ["passed"] * 3
    assert [row["engine"] for row in report.tables["expectations"][:3]] == ["sluicegate"] * 3
    assert rows_of(checks(report)[0]) == [("data.parquet", 1)]


def test_f9_a_sum_that_overflows_fails(folder: Path) -> None:
    data = {"x": [2**62, 2**62, 1]}  # pandas comes to -2**63 + 1
    report = run(folder, data, ask("expect_column_sum_to_be_between", column="x", max_value=9))
    assert only(report).outcome is Outcome.FAILED


def test_f9_what_cannot_be_compared_exactly_is_unknown(folder: Path) -> None:
    data = {"x": [1, 2**53 + 1], "y": [0, 0], "f": [0.0, 2.0**53], "z": [2**53, 2**53 + 1]}
    data |= {"h": [2**52, 2**52], "i": [2**52 + 1, 2**52]}
    report = run(
        folder,
        data,
        ask("expect_column_values_to_not_be_in_set", column="x", value_set=[2.5, 2**53 + 1]),
        ask(BETWEEN, column="f", max_value=2**53),
        ask("expect_column_pair_values_a_to_be_greater_than_b", column_A="x", column_B="f",
            or_equal=True),
        ask("expect_column_pair_values_a_to_be_greater_than_b", column_A="z", column_B="y"),
        ask(BETWEEN, column="f", max_value=2**54),
        ask("expect_multicolumn_sum_to_equal", column_list=["h", "i"], sum_total=2**53),
    )  # fmt: skip
    assert outcomes(report) == ["unknown", "unknown", "unknown", "passed", "passed", "unknown"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_f10_two_columns_of_one_name_fail_a_check_of_their_own(folder: Path, suffix: str) -> None:
    path = folder / f"data.{suffix}"
    if suffix == "csv":
        path.write_text("x,y,x\n1,2,3\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = [pa.array([1]), pa.array([2]), pa.array([3])]
        pq.write_table(pa.Table.from_arrays(columns, names=["x", "y", "x"]), path)
    report = run(folder, path, ask(NOT_NULL, column="x"), ask(NOT_NULL, column="y"))
    names = report.checks[0]
    assert (names.id, names.outcome) == ("validation.unique_column_names", Outcome.FAILED)
    assert names.severity is Severity.CRITICAL
    assert names.findings[0].evidence == {"positions": [2]}
    assert outcomes(report) == ["unknown", "unknown"]


def test_f10_a_column_that_only_looks_like_a_repeated_one_is_left_alone(folder: Path) -> None:
    (folder / "data.csv").write_text("x,x.1,x.2\n1,2,3\n")
    report = run(folder, folder / "data.csv", ask(NOT_NULL, column="x.1"))
    assert {check.outcome for check in report.checks} == {Outcome.PASSED}


def test_f11_a_final_line_feed_does_not_match_the_end_of_a_pattern(folder: Path) -> None:
    data = {"code": ["abc", "abc\n", "12\n", None]}
    report = run(
        folder,
        data,
        ask(REGEX, column="code", regex="^[a-z]+$|^[0-9]+$"),
        ask("expect_column_values_to_match_regex_list", column="code",
            regex_list=["^[a-z]+$", "^1"]),
        ask("expect_column_values_to_match_regex_list", column="code",
            regex_list=["^[a-z]+$", "^a"], match_on="all", mostly=0.3),
        ask(REGEX, column="code", regex=r"^[a-z0-9]+\s*$"),
        ask(REGEX, column="code", regex="^[a-z0-9]"),
    )  # fmt: skip
    assert outcomes(report) == ["failed", "failed", "passed", "passed", "passed"]
    assert rows_of(checks(report)[0]) == [("data.parquet", 1), ("data.parquet", 2)]
    assert rows_of(checks(report)[1]) == [("data.parquet", 1)]
    assert [row["engine"] for row in report.tables["expectations"]][:2] == ["sluicegate"] * 2


@pytest.mark.parametrize(
    ("pattern", "strict"),
    [
        ("^a$", r"^a\Z"),
        ("a$|b$", r"a\Z|b\Z"),
        (r"a\$", r"a\$"),
        (r"a\\$", r"a\\\Z"),
        ("[$]", "[$]"),
        ("[]$]$", r"[]$]\Z"),
        ("[^]$]$", r"[^]$]\Z"),
        ("(?m)^a$", "(?m)^a$"),
        (r"\(?m$", r"\(?m\Z"),
        ("(?P<m>a)$", r"(?P<m>a)\Z"),
        ("", ""),
    ],
)
def test_only_dollars_that_mean_the_end_are_made_strict(pattern: str, strict: str) -> None:
    assert strict_pattern(pattern) == strict


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("expect_table_row_count_to_be_between", {}),
        ("expect_table_column_count_to_be_between", {"min_value": None}),
        ("expect_column_values_to_be_in_type_list", {"column": "id", "type_list": None}),
        ("expect_table_columns_to_match_ordered_list", {"column_list": None}),
        ("expect_column_distinct_values_to_contain_set", {"column": "id", "value_set": []}),
        ("expect_column_values_to_not_be_in_set", {"column": "id", "value_set": []}),
        ("expect_column_kl_divergence_to_be_less_than", {"column": "id", "threshold": None}),
        ("expect_column_quantile_values_to_be_between", {"column": "id", "quantile_ranges":
         {"quantiles": [], "value_ranges": []}}),
        ("expect_column_quantile_values_to_be_between", {"column": "id", "quantile_ranges":
         {"quantiles": [0.1, 0.5], "value_ranges": [[0, 1], [None, None]]}}),
        (REGEX, {"column": "id"}),
    ],
)  # fmt: skip
def test_a_question_that_every_data_set_answers_is_refused(kind: str, kwargs: Any) -> None:
    assert "for every data set" in str(refused(ask(kind, **kwargs)))


# ---------------------------------------------------------------- C1-C5: code in the suite


@pytest.mark.parametrize("parser", ["omitted", None, "pandas", "spark", "great_expectations"])
@pytest.mark.parametrize("attack", ["system", "data", "column"])
def test_c1_text_as_row_condition_is_refused_and_does_not_run(
    folder: Path, tmp_path: Path, parser: str | None, attack: str
) -> None:
    marker = tmp_path / "marker"
    condition = {
        "system": f'@pd.io.common.os.system("touch {marker}")==0',
        "data": f'@data.to_pickle("{marker}")==0',
        "column": f'age.to_csv("{marker}")==0',
    }[attack]
    extra = {} if parser == "omitted" else {"condition_parser": parser}
    entry = ask(NOT_NULL, column="id", row_condition=condition, **extra)
    with pytest.raises(ConfigurationError, match="execute as code"):
        run(folder, ORDERS, entry)
    assert not marker.exists()


@pytest.mark.parametrize("nested", ["alone", "and", "or"])
def test_c2_a_filter_to_pass_through_is_refused_and_does_not_run(
    folder: Path, tmp_path: Path, nested: str
) -> None:
    marker = tmp_path / "marker"
    condition: Any = {
        "type": "pass_through",
        "pass_through_filter": f'@pd.io.common.os.system("touch {marker}")==0',
    }
    if nested != "alone":
        condition = {"type": nested, "conditions": [compare("id", ">", 0), condition]}
    with pytest.raises(ConfigurationError, match="execute as code"):
        run(folder, ORDERS, ask(NOT_NULL, column="id", row_condition=condition))
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["comparison", "nullity"])
def test_c3_a_column_name_that_is_an_expression_is_refused_and_does_not_run(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    marker = tmp_path / "marker"
    name = f'age` == 1 or @pd.io.common.os.system("touch {marker}")==0 or `age'
    condition = compare(name, "==", 1)
    if kind == "nullity":
        condition = {"type": "nullity", "column": {"name": name}, "is_null": False}
    with pytest.raises(ConfigurationError, match="plain column name"):
        run(folder, ORDERS, ask(NOT_NULL, column="id", row_condition=condition))
    assert not marker.exists()


def test_c3_text_in_a_parameter_is_only_compared(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    text = f'" or @pd.io.common.os.system("touch {marker}")==0 or "'
    report = run(
        folder, ORDERS, ask(NOT_NULL, column="id", row_condition=compare("code", "==", text))
    )
    assert outcomes(report) == ["unknown"]
    assert not marker.exists()


def test_c3_a_column_of_the_data_cannot_take_the_place_of_another(folder: Path) -> None:
    # DataFrame.query renames `a b` to this name, which a writer of data can give a column.
    data = {"a b": [1, 2], "BACKTICK_QUOTED_STRING_a_b": [9, 9], "x": [5, 500]}
    report = run(
        folder, data, ask(BETWEEN, column="x", max_value=9, row_condition=compare("a b", "<", 5))
    )
    assert rows_of(only(report)) == [("data.parquet", 1)]


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "comparison"},
        {"type": "xor", "conditions": []},
        {"type": "and", "conditions": []},
        {**compare("id", "==", 1), "extra": 1},
        compare("id", "~", 1),
        compare("id", "==", None),
        compare("id", "==", {"a": 1}),
        compare("id", "IN", []),
        compare("id", "IN", "abc"),
        compare("id", "IN", [1, "1"]),
        compare("größe", "==", 1),
        compare("a'b", "==", 1),
        compare("@id", "==", 1),
        {"type": "nullity", "column": {"name": "id"}, "is_null": "no"},
        {"type": "nullity", "column": "id", "is_null": True},
        [],
        7,
        False,
    ],
)
def test_c3_a_condition_of_unknown_structure_is_refused(condition: Any) -> None:
    error = refused(ask(NOT_NULL, column="id", row_condition=condition))
    assert "$.expectations[0].kwargs.row_condition" in str(error)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/x.json"},
        {"properties": {"a": {"$ref": "file:///etc/hostname"}}},
        {"allOf": [{"$dynamicRef": "http://127.0.0.1:9/x.json"}]},
        {"$recursiveRef": "other.json"},
        {"$defs": {"a": {"$id": "http://127.0.0.1:9/x.json", "$ref": "#/b"}}},
        {"$id": "http://127.0.0.1:9/x.json#part", "$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"unknown": {"id": "http://127.0.0.1:9/x.json"}},
    ],
)
def test_c4_a_schema_that_refers_elsewhere_is_refused(schema: Any) -> None:
    entry = ask("expect_column_values_to_match_json_schema", column="j", json_schema=schema)
    assert "json_schema" in str(refused(entry))


def test_c4_a_schema_that_refers_to_itself_works_without_network(folder: Path) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "http://127.0.0.1:9/never-fetched.json",
        "definitions": {"positive": {"type": "number", "minimum": 0}},
        "properties": {"id": {"$ref": "#/definitions/positive"}, "$ref": {"type": "string"}},
    }
    opened: list[str] = []
    _audit(opened)
    report = run(
        folder,
        {"j": ['{"id": 1}', '{"id": -1}']},
        ask("expect_column_values_to_match_json_schema", column="j", json_schema=schema),
    )
    assert rows_of(only(report)) == [("data.parquet", 1)]
    assert opened == []


def _audit(opened: list[str]) -> None:
    watched = ("socket.connect", "socket.getaddrinfo", "urllib.Request")
    sys.addaudithook(lambda event, args: opened.append(event) if event in watched else None)


@pytest.mark.parametrize(
    "entry",
    [
        ask("unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch}"),
        ask("expect_query_results_to_match_comparison", base_query="SELECT 1",
            comparison_data_source_name="d", comparison_query="SELECT 1"),
        ask("expect_table_row_count_to_equal_other_table", other_table_name="users"),
        ask("expect_column_values_to_match_like_pattern", column="code", like_pattern="a%"),
    ],
    ids=lambda entry: entry["type"],
)  # fmt: skip
def test_c5_types_that_need_sql_are_refused(entry: Any) -> None:
    assert "can be asked of files" in str(refused(entry))


def test_c5_sql_under_another_name_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = """
        import great_expectations.expectations as gxe

        class ExpectHarmlessLookingThings(gxe.UnexpectedRowsExpectation):
            unexpected_rows_query: str = "SELECT 1"
    """
    (folder.parent / "harmless.py").write_text(textwrap.dedent(plugin))
    monkeypatch.syspath_prepend(str(folder.parent))
    with pytest.raises(ConfigurationError, match="runs SQL"):
        run(folder, ORDERS, ask("expect_harmless_looking_things"), plugins=("harmless",))


@pytest.mark.parametrize("at", ["kwargs", "nested", "top"])
def test_parameters_that_a_run_could_set_are_refused(at: str) -> None:
    parameter = {"$PARAMETER": "now()"}
    if at == "top":
        refused(ask(NOT_NULL, column="id"), suite_parameters={"a": 1})
    else:
        value = parameter if at == "kwargs" else [[parameter]]
        assert "parameter" in str(refused(ask(BETWEEN, column="id", min_value=value)))


# ---------------------------------------------------------------- refusals say what to do


def test_broken_json_is_refused_with_its_position() -> None:
    with pytest.raises(ConfigurationError, match="line 1, column 10"):
        parse_suite(b'{"name": ,}')
    with pytest.raises(ConfigurationError, match="occurs twice"):
        parse_suite(b'{"name": "a", "name": "b"}')
    with pytest.raises(ConfigurationError, match="UTF-8"):
        parse_suite(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="must be an object"):
        parse_suite(b"[]")


def test_unknown_keys_are_refused_with_a_suggestion() -> None:
    entry = ask(NOT_NULL, column="id")
    assert "'severity'" in refused({**entry, "severty": "info"}).next_step
    assert "'expectations'" in refused(entry, expectation=[]).next_step
    assert "$.expectations[0]" in str(refused({**entry, "severty": "info"}))


def test_the_form_before_gx_1_is_refused_with_the_way_to_migrate() -> None:
    old = {"expectation_type": NOT_NULL, "kwargs": {"column": "id"}}
    assert "now 'type'" in refused(old).next_step
    data = json.dumps({"expectation_suite_name": "s", "expectations": [old]}).encode()
    with pytest.raises(ConfigurationError) as caught:
        parse_suite(data)
    assert "now 'name'" in caught.value.next_step


@pytest.mark.parametrize(
    ("entry", "path", "hint"),
    [
        (ask(BETWEEN, column="id", min_valu=1), "kwargs.min_valu", "min_value"),
        (ask(BETWEEN, min_value=1), "kwargs.column", "add 'column'"),
        (ask(BETWEEN, column="id"), "kwargs", "documentation"),
        (ask(BETWEEN, column=7, min_value=1), "kwargs.column", "documentation"),
        (ask("expect_table_row_count_to_equal", value="many"), "kwargs.value", "documentation"),
        (ask("expect_column_type_to_be", column="id", type_="int64",
             row_condition=compare("id", ">", 1)), "kwargs.row_condition", "arguments are"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_the_data_is_read(
    folder: Path, entry: Any, path: str, hint: str
) -> None:
    (folder / "not-a-table.txt").write_text("never opened")
    with pytest.raises(ConfigurationError) as caught:
        run(folder, folder / "not-a-table.txt", entry)
    assert f"$.expectations[0].{path}" in str(caught.value)
    assert hint in caught.value.next_step


@pytest.mark.parametrize(
    "entry",
    [
        ask(BETWEEN, column="id", max_value="inf"),
        ask(BETWEEN, column="id", max_value="NaN"),
        ask(BETWEEN, column="id", max_value="9007199254740992"),
        ask(BETWEEN, column="id", min_value=1, windows=[{"range": 1}]),
        ask(BETWEEN, column="id", min_value=1, severity_="info") | {"kwargs": None},
        {"type": BETWEEN, "kwargs": {"column": "id", "min_value": 1, "severity": "info"}},
        {"type": BETWEEN, "kwargs": {"column": "id", "min_value": 1}, "id": 7},
        {"type": BETWEEN, "kwargs": {"column": "id", "min_value": 1}, "meta": []},
        "an expectation",
    ],
)
def test_other_nonsense_is_refused(entry: Any) -> None:
    assert "expectations[0]" in str(refused(entry))


def test_a_number_beyond_floats_in_json_lines_is_refused_before_any_expectation(
    folder: Path,
) -> None:
    (folder / "data.jsonl").write_text('{"x": 1}\n{"x": 1e999}\n{"x": 2.5}\n')
    with pytest.raises(SubjectError, match="line 2"):
        run(folder, folder / "data.jsonl", ask(BETWEEN, column="x", min_value=0))


def test_numbers_beyond_floats_and_deep_nesting_are_refused() -> None:
    text = suite_json(ask(BETWEEN, column="id", max_value=12345)).replace(b"12345", b"1e999")
    with pytest.raises(ConfigurationError, match="finite"):
        parse_suite(text)
    deep: Any = {}
    for _ in range(200):
        deep = {"not": deep}
    entry = ask("expect_column_values_to_match_json_schema", column="j", json_schema=deep)
    assert "deep" in str(refused(entry))


def test_two_expectations_with_one_id_are_refused() -> None:
    error = refused(ask(NOT_NULL, column="id", id="x"), ask(NOT_NULL, column="age", id="x"))
    assert "$.expectations[1].id" in str(error)
    assert "expectations[0]" in str(error)


# ---------------------------------------------------------------- columns, exceptions, values


def test_a_missing_column_is_a_failure_and_not_an_exception(folder: Path) -> None:
    report = run(
        folder,
        ORDERS,
        ask(BETWEEN, column="agee", min_value=0, severity="warning"),
        ask("expect_column_pair_values_to_be_equal", column_A="id", column_B="other"),
        ask("expect_compound_columns_to_be_unique", column_list=["id", "third"]),
        ask(NOT_NULL, column="id", row_condition=compare("fourth", "==", 1)),
        ask("expect_column_to_exist", column="fifth"),
        ask(NOT_NULL, column="id"),
    )
    assert outcomes(report) == ["failed"] * 5 + ["passed"]
    messages = [check.findings[0].message for check in checks(report)[:4]]
    names = ["agee", "other", "third", "fourth"]
    assert messages == [f"column {name!r} does not exist" for name in names]
    assert checks(report)[0].severity is Severity.WARNING


def test_an_exception_is_unknown_and_only_its_class_is_named(folder: Path) -> None:
    secret = "ValueErrorish-4111-1111\nTypeError: SECRET"
    data = {"j": ["{}", secret], "m": ["a", secret]}
    report = run(
        folder,
        data,
        ask("expect_column_values_to_match_json_schema", column="j", json_schema={}),
        ask("expect_column_mean_to_be_between", column="m", min_value=0),
        ask(NOT_NULL, column="m"),
    )
    assert outcomes(report) == ["unknown", "unknown", "passed"]
    assert checks(report)[0].reason.endswith("JSONDecodeError")
    assert checks(report)[1].reason.endswith("TypeError")
    assert "SECRET" not in text_of(report)
    assert "4111" not in text_of(report)


SECRET = "s3cr3t-value"
LEAKY = [
    ask(IN_SET, column="text", value_set=["fine"]),
    ask(REGEX, column="text", regex="^fine$"),
    ask("expect_column_values_to_be_unique", column="text"),
    ask("expect_column_distinct_values_to_be_in_set", column="text", value_set=["fine"]),
    ask("expect_column_distinct_values_to_equal_set", column="text", value_set=["fine"]),
    ask("expect_column_distinct_values_to_contain_set", column="text", value_set=["other"]),
    ask("expect_column_most_common_value_to_be_in_set", column="text", value_set=["fine"]),
    ask("expect_column_max_to_be_between", column="number", max_value=1),
    ask("expect_column_quantile_values_to_be_between", column="number",
        quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 1]]}),
    ask("expect_column_pair_values_to_be_in_set", column_A="text", column_B="number",
        value_pairs_set=[["a", 1]]),
    ask("expect_table_columns_to_match_set", column_set=["text"]),
    ask("expect_column_kl_divergence_to_be_less_than", column="text", threshold=0.1,
        partition_object={"values": ["fine", "x"], "weights": [0.5, 0.5]}),
]  # fmt: skip


def test_no_value_of_the_data_gets_into_a_report_or_a_log(
    folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    data = {
        "text": ["fine", SECRET, SECRET],
        "number": [987654321, 987654321, 987654321],
        f"col-{SECRET}": [1, 2, 3],
    }
    with caplog.at_level(logging.DEBUG):
        report = run(folder, data, *LEAKY)
    assert set(outcomes(report)) == {"failed"}
    out, err = capfd.readouterr()
    for text in (text_of(report), caplog.text, out, err):
        assert SECRET not in text
        assert "987654321" not in text
    assert not [record for record in caplog.records if record.name.startswith("great_exp")]


def test_samples_show_a_few_values_where_the_policy_allows_them(folder: Path) -> None:
    data = {"text": [SECRET] * 9, "number": [987654321] * 9}
    report = run(folder, data, LEAKY[0], LEAKY[7], samples=True)
    first, second = (check.findings[0] for check in checks(report))
    assert first.evidence["samples"] == [SECRET] * 5
    assert second.evidence["observed"] == 987654321


def test_counts_are_shown_without_leave(folder: Path) -> None:
    report = run(folder, ORDERS, ask("expect_table_row_count_to_equal", value=5))
    assert "observed 4" in only(report).findings[0].message


def test_bounds_beyond_canonical_json_do_not_break_the_report(folder: Path) -> None:
    report = run(folder, ORDERS, ask(BETWEEN, column="id", min_value=2**70))
    assert only(report).outcome is Outcome.FAILED
    assert str(2**70) in text_of(report)


# ---------------------------------------------------------------- the stage as a citizen


def test_the_stage_is_configured_by_the_content_of_its_suite() -> None:
    stage = ValidateDataset(suite="s.json")
    assert isinstance(stage, Stage)
    assert [field.name for field in stage_fields(stage) if field.required] == ["suite"]
    assert stage_fields(stage)[0].file
    assert "s.json" not in json.dumps(configuration(stage, {"suite": b"{}"}))


def test_the_suite_is_read_from_the_gate_and_never_from_its_path(folder: Path) -> None:
    from sluicegate.storage.snapshot import take_snapshot
    from sluicegate.storage.uri import SubjectUri

    path = folder / "data.parquet"
    pd.DataFrame(ORDERS).to_parquet(path)
    stage = ValidateDataset(suite="/nonexistent/suite.json")
    given = Context(files={"suite": suite_json(ask(NOT_NULL, column="id"))})
    report = stage.run(take_snapshot(SubjectUri.parse(str(path))), given)
    assert outcomes(report) == ["passed"]


def test_progress_is_told(folder: Path) -> None:
    from sluicegate.storage.snapshot import take_snapshot
    from sluicegate.storage.uri import SubjectUri

    path = folder / "data.parquet"
    pd.DataFrame(ORDERS).to_parquet(path)
    told: list[tuple[str, int, int]] = []
    given = Context(
        files={"suite": suite_json(ask(NOT_NULL, column="id"))},
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    ValidateDataset(suite="s").run(take_snapshot(SubjectUri.parse(str(path))), given)
    assert told == [("scanning", 0, 1), ("scanning", 1, 1)]


def test_the_users_own_gx_project_and_log_levels_are_left_alone(folder: Path) -> None:
    import great_expectations as gx
    from great_expectations.data_context.data_context.context_factory import project_manager

    own = gx.get_context(mode="ephemeral")
    logger = logging.getLogger("great_expectations")
    before = logger.level
    run(folder, ORDERS, ask(NOT_NULL, column="id"))
    assert project_manager.get_current_project() is own
    assert logger.level == before


def _python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_and_building_the_stage_loads_nothing_heavy(folder: Path) -> None:
    said = _python(
        """
        import sys
        from sluicegate.stages.validation import ValidateDataset
        ValidateDataset(suite="s.json")
        heavy = {"great_expectations", "pandas", "pyarrow", "numpy", "jsonschema"}
        print(sorted(heavy & set(sys.modules)))
        """,
        folder,
    )
    assert said == "[]\n"


def test_a_run_says_nothing_and_uses_no_network_or_file(folder: Path) -> None:
    suite = suite_json(ask(NOT_NULL, column="id"), ask(BETWEEN, column="id", max_value=1))
    (folder / "data.csv").write_text("id\n1\n2\n")
    (folder.parent / "home").mkdir()
    said = _python(
        f"""
        import logging, os, sys
        logging.basicConfig(level=logging.INFO)
        done = []
        def watch(event, args):
            if event == "subprocess.Popen" and args[1] == ["uname", "-p"]:
                return  # azure-identity, where it is installed: GX imports it
            if event in ("socket.connect", "socket.getaddrinfo", "os.system", "subprocess.Popen"):
                done.append(event)
            if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
                if not str(args[0]).endswith(".pyc") and "__pycache__" not in str(args[0]):
                    done.append(args[0])
        sys.addaudithook(watch)
        from sluicegate.stages.base import Context
        from sluicegate.stages.validation import ValidateDataset
        from sluicegate.storage.snapshot import take_snapshot
        from sluicegate.storage.uri import SubjectUri
        snapshot = take_snapshot(SubjectUri.parse({str(folder / "data.csv")!r}))
        context = Context(files={{"suite": {suite!r}}})
        report = ValidateDataset(suite="s").run(snapshot, context)
        print([check.outcome.value for check in report.checks], done)
        """,
        folder.parent / "home",
    )
    assert said == "['passed', 'passed', 'failed'] []\n"
    assert not list((folder.parent / "home").iterdir())


def test_unsigned_integers_that_fall_are_not_increasing(folder: Path) -> None:
    kinds = ("uint8", "uint64")
    data = {f"n {kind}": pd.Series([5, 3, 4, 4], dtype=kind) for kind in kinds}
    data |= {f"up {kind}": pd.Series([0, 1, 2, 3], dtype=kind) for kind in kinds}
    rising = "expect_column_values_to_be_increasing"
    entries = [
        entry
        for kind in kinds
        for entry in (
            ask(rising, column=f"n {kind}"),
            ask(rising, column=f"n {kind}", strictly=True),
            ask("expect_column_values_to_be_decreasing", column=f"n {kind}"),
            ask(rising, column=f"up {kind}", strictly=True),
        )
    ]
    told = run(folder, data, *entries).tables["expectations"]
    assert [row["success"] for row in told] == [False, False, False, True] * 2
    counts = [row["unexpected_count"] for row in told]
    assert [counts[:2], counts[4:6]] == [[1, 2], [1, 2]]


HALF = {"x": [1.0, None, 2.0, None]}
MEAN = "expect_column_mean_to_be_between"


@pytest.mark.parametrize("kind", [BETWEEN, MEAN])
def test_f4_half_of_the_values_missing_is_unknown(folder: Path, kind: str) -> None:
    check = only(run(folder, HALF, ask(kind, column="x", min_value=0)))
    assert check.outcome is Outcome.UNKNOWN
    assert "2 of 4 values are missing" in check.reason


def test_f4_a_suite_that_says_how_many_may_be_missing_is_asked(folder: Path) -> None:
    said = ask(NOT_NULL, column="x", mostly=0.5)
    report = run(folder, HALF, ask(BETWEEN, column="x", min_value=0), said)
    assert outcomes(report) == ["passed", "passed"]
    fewer = {"x": [1.0, 3.0, 2.0, None]}
    assert outcomes(run(folder, fewer, ask(BETWEEN, column="x", min_value=0))) == ["passed"]


def test_f4_what_fails_fails_however_few_values_there_are(folder: Path) -> None:
    assert outcomes(run(folder, HALF, ask(BETWEEN, column="x", min_value=2))) == ["failed"]


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"engine": "spark"}, {"gx_seconds": 0.0}, {"unknown_if_missing": 0.0}):
        with pytest.raises(ConfigurationError):
            ValidateDataset(suite="s", **wrong)


def test_values_outside_of_a_set_are_told_as_values_and_drawn_as_no_rows(folder: Path) -> None:
    kinds = ("expect_column_distinct_values_to_be_in_set",
             "expect_column_distinct_values_to_equal_set")  # fmt: skip
    data = {"x": ["a", "b", "b", "c", "c"]}
    report = run(folder, data, *[ask(kind, column="x", value_set=["a"]) for kind in kinds])
    for check in checks(report):
        (finding,) = check.findings
        assert finding.message == "2 different values are outside of the set"
        assert finding.evidence["unexpected"] == 2
    assert report.figures == ()
    lacking = ask(kinds[1], column="x", value_set=["a", "b", "c", "d"])
    assert only(run(folder, data, lacking)).findings[0].message == "members of the set do not occur"


def test_a_finding_that_cannot_name_all_of_its_rows_names_none(folder: Path) -> None:
    data = pd.DataFrame({"x": [-1] * 100_001 + [1] * 100_001})
    check = only(run(folder, data, ask(BETWEEN, column="x", min_value=0, severity="warning")))
    (finding,) = check.findings
    assert finding.rows == ()  # a quarantine of some of them would clear the others
    assert finding.evidence["unexpected"] == 100_001
    assert len(finding.evidence["first_rows"]) == 100
    few = pd.DataFrame({"x": [-1] * 3 + [1] * 5})
    assert len(rows_of(only(run(folder, few, ask(BETWEEN, column="x", min_value=0))))) == 3
