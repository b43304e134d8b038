"""``sluicegate suite check`` and ``sluicegate suite explain``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from sluicegate.cli.suite import add_suite
from sluicegate.errors import ConfigurationError
from tests.core.validation_cases import BETWEEN, IN_SET, NOT_NULL, ask, suite_json


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    add_suite(parser.add_subparsers())
    args = parser.parse_args(["suite", *argv])
    return int(args.run(args))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "orders.json"
    path.write_bytes(
        suite_json(
            ask(BETWEEN, column="age", min_value=0, max_value=120, strict_max=True, mostly=0.99,
                severity="warning", row_condition="country in ['CH', 'DE'] and not age.isnull()"),
            ask(IN_SET, column="code", value_set=list(range(20)), severity="info"),
            ask("expect_table_row_count_to_be_between", min_value=1),
        )
    )  # fmt: skip
    return path


def test_a_good_suite_passes(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(suite)) == 0
    assert "3 expectations" in capsys.readouterr().out
    assert run("check", str(suite), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["outcome"] == "passed"
    assert said["expectations"][0]["type"] == BETWEEN
    assert {one["engine"] for one in said["expectations"]} <= {"scan", "gx"}


def test_all_problems_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(suite_json(ask(NOT_NULL, colum="a"), ask("expect_x\x1b[31m"), severty="info"))
    assert run("check", str(path)) == 1
    out = capsys.readouterr().out
    assert "4 problems" in out
    assert "did you mean 'column'?" in out
    assert "\x1b" not in out
    assert run("check", str(path), "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["outcome"] == "refused"
    assert len(said["problems"]) == 4
    assert run("explain", str(path)) == 1


def test_a_file_that_cannot_be_read_is_no_decision(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        run("check", str(tmp_path / "missing.json"))


def test_explain_says_what_is_asked(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", str(suite)) == 0
    out = capsys.readouterr().out
    assert (
        "each value of `age` is at least 0 and below 120, for at least 99 % of the values, among "
        'rows where `country` is one of ["CH", "DE"] and not (`age` has no value) '
        "(warning: rows are set aside)"
    ) in out
    assert "unknown if the column has no value or the condition selects no row" in out
    assert "… 12 more]" in out
    assert run("explain", str(suite), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["expectations"]) == 3


def test_a_contract_says_what_is_not_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(
        "version: 1.0.0\napiVersion: v3.1.0\nkind: DataContract\nid: 7\nschema:\n"
        "- name: orders\n  properties:\n  - {name: a, required: true}\n"
        "  quality:\n  - {type: text, description: nice}\n"
    )
    assert run("check", str(path)) == 1  # an id is text
    assert "line 4, column 1" in capsys.readouterr().out
    path.write_text(path.read_text().replace("id: 7", "id: c"))
    assert run("check", str(path), "--table", "orders") == 0
    assert "not checked (info): a rule in prose" in capsys.readouterr().out
    path.write_text(path.read_text() + "  - {metric: nullValues, mustNotBe: 0}\n")
    assert run("check", str(path)) == 0
    assert "unknown in every run (critical): a rule about nullValues" in capsys.readouterr().out
    assert run("check", str(path), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [len(said[key]) for key in ("unasked", "not_checked")] == [1, 1]


def test_sql_needs_consent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sql.json"
    query = "SELECT * FROM {batch} WHERE a < 0"
    path.write_bytes(suite_json(ask("unexpected_rows_expectation", unexpected_rows_query=query)))
    assert run("check", str(path)) == 1
    assert run("check", str(path), "--sql", "--json") == 0
    assert '"engine": "gx"' in capsys.readouterr().out
