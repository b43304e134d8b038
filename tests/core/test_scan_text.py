"""The stage over texts: what it reads, counts, names and refuses."""

# ruff: noqa: RUF001  # letters that look like others are what this is about

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluicegate.canonical import canonical_json
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.model import Check, Outcome, Report, Severity
from sluicegate.stages.base import Context, Stage, configuration, stage_fields
from sluicegate.stages.text import ScanText, tally
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.text import RULES
from tests.core.near_misses import ALL

CLEAN = ["a plain text", "another one", "", None]


def written(path: Path, columns: dict[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path / "a.parquet")
    return path


def run(path: Path, *, samples: bool = False, **options: Any) -> Report:
    snapshot = take_snapshot(SubjectUri.parse(str(path)))
    return ScanText(**options).run(snapshot, Context(samples=samples))


def by_id(report: Report, target: str) -> dict[str, Check]:
    return {check.id: check for check in report.checks if check.target == target}


def rows(check: Check) -> list[int]:
    return sorted({row.ordinal for finding in check.findings for row in finding.rows})


def test_it_is_a_stage() -> None:
    stage = ScanText(columns=("a",), kinds=("secrets.jwt",))
    assert isinstance(stage, Stage)
    assert [field.name for field in stage_fields(stage)] == [
        "columns",
        "rules",
        "kinds",
        "domains",
        "schemes",
        "classifier",
        "tokenizer",
        "classifier_label",
        "classifier_threshold",
    ]
    canonical_json(configuration(stage, {}))
    assert set(stage.check_ids) == {f"text.{name}" for name in (*RULES, "prompt_classifier")}


def test_clean_texts_pass_each_rule_in_each_column(tmp_path: Path) -> None:
    path = written(tmp_path / "d", {"one": CLEAN, "n": [1, 2, 3, 4], "two": ["x"] * 4})
    report = run(path)
    assert {check.outcome for check in report.checks} == {Outcome.PASSED}
    assert len(report.checks) == 10
    assert report.metrics == {"rows": 4, "columns": 2, "texts": 6, "marks": 0, "failed": 0}
    assert len(report.tables["text"]) == 10


def test_near_misses_pass(tmp_path: Path) -> None:
    report = run(written(tmp_path / "d", {"text": list(ALL)}))
    assert {check.outcome for check in report.checks} == {Outcome.PASSED}
    assert report.metrics["texts"] == sum(bool(text) for text in ALL)


def test_each_rule_names_its_rows_and_has_its_severity(tmp_path: Path) -> None:
    texts = [
        "fine",
        "in\u200bvisible",
        "<script>x</script>",
        "AKIAIOSFODNN7EXAMPLE",
        "pаypal",
        "=1+1",
        "pay\u202eload in\u200bvisible",
    ]
    report = run(written(tmp_path / "d", {"text": texts}))
    found = by_id(report, "text")
    assert {name: rows(check) for name, check in found.items()} == {
        "text.hidden_characters": [1, 6],
        "text.active_markup": [2],
        "text.secrets": [3],
        "text.mixed_scripts": [4],
        "text.spreadsheet_formulas": [5],
    }
    assert {name: check.severity for name, check in found.items()} == {
        "text.hidden_characters": Severity.CRITICAL,
        "text.active_markup": Severity.CRITICAL,
        "text.secrets": Severity.CRITICAL,
        "text.mixed_scripts": Severity.WARNING,
        "text.spreadsheet_formulas": Severity.WARNING,
    }
    findings = found["text.hidden_characters"].findings
    assert [finding.evidence["kind"] for finding in findings] == ["bidirectional", "zero_width"]
    assert [finding.evidence["count"] for finding in findings] == [1, 2]
    assert findings[1].evidence["details"] == [{"detail": "U+200B ZERO WIDTH SPACE", "count": 2}]


def test_rules_that_are_asked_for(tmp_path: Path) -> None:
    path = written(
        tmp_path / "d",
        {"text": ["https://evil.example", "bob@mail.example", "DE89370400440532013000"]},
    )
    options = {"rules": ("urls", "personal_data"), "domains": ("good.example",)}
    found = by_id(run(path, **options), "text")
    assert rows(found["text.urls"]) == [0]
    assert rows(found["text.personal_data"]) == [1, 2]
    narrow = run(path, kinds=("personal_data.iban",), **options)
    assert rows(by_id(narrow, "text")["text.personal_data"]) == [2]


def test_values_stay_out_unless_the_policy_allows_samples(tmp_path: Path) -> None:
    texts = ["=HYPERLINK(canary17)", "AKIAIOSFODNN7EXAMPLE", "canary18@mail.example"]
    path = written(tmp_path / "d", {"text": texts})
    options = {"rules": ("spreadsheet_formulas", "secrets", "personal_data")}
    shown = json.dumps(run(path, **options).to_json())
    assert "canary" not in shown
    assert "AKIA" not in shown
    allowed = json.dumps(run(path, samples=True, **options).to_json())
    assert "canary17" in allowed
    assert "canary18" not in allowed
    assert "AKIA" not in allowed


def test_texts_in_lists_and_structs_belong_to_their_row(tmp_path: Path) -> None:
    chats = [
        [{"role": "user", "content": "hello"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "in\u200bvisible"}],
        [],
        None,
        [{"role": "user\u2063", "content": "<script>x</script>"}],
    ]
    tags = [["a", "b"], [], None, ["c", "pаypal"], ["d"]]
    path = written(tmp_path / "d", {"chat": chats, "tags": tags, "n": [1, 2, 3, 4, 5]})
    report = run(path)
    assert rows(by_id(report, "chat")["text.hidden_characters"]) == [1, 4]
    assert rows(by_id(report, "chat")["text.active_markup"]) == [4]
    assert rows(by_id(report, "tags")["text.mixed_scripts"]) == [3]
    assert by_id(report, "tags")["text.secrets"].outcome is Outcome.PASSED


def test_dictionary_columns_are_text(tmp_path: Path) -> None:
    column = pa.array(["a", "in\u200bvisible", "a"]).dictionary_encode()
    report = run(written(tmp_path / "d", {"text": column}))
    assert rows(by_id(report, "text")["text.hidden_characters"]) == [1]


def test_rows_are_named_by_file_and_ordinal_in_any_format(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "=1+1"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "=2+2"}\n{"text": "ok"}\n')
    (check,) = run(tmp_path, rules=("spreadsheet_formulas",)).checks
    assert [(row.file, row.ordinal) for row in check.findings[0].rows] == [
        ("a.jsonl", 1),
        ("b.jsonl", 0),
    ]


def test_an_empty_column_is_unknown_if_it_was_asked_about(tmp_path: Path) -> None:
    empty = pa.array([None, None], pa.string())
    path = written(tmp_path / "d", {"text": ["a", "b"], "empty": empty})
    named = run(path, columns=("text", "empty"))
    assert {check.outcome for check in by_id(named, "empty").values()} == {Outcome.UNKNOWN}
    assert {check.target for check in run(path).checks} == {"text"}
    only = run(written(tmp_path / "e", {"empty": empty}))
    assert {check.outcome for check in only.checks} == {Outcome.UNKNOWN}


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ("n",)},
        {"columns": ("text", "text")},
        {"rules": ()},
        {"rules": ("secrets", "secrets")},
        {"rules": ("no_such",)},
        {"rules": ("urls",)},
        {"domains": ("good.example",)},
        {"kinds": ("secrets.no_such",)},
        {"kinds": ("urls.domain",)},
        {"kinds": ("jwt",)},
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    path = written(tmp_path / "d", {"text": ["a"], "n": [1]})
    with pytest.raises(ConfigurationError):
        run(path, **options)


def test_a_missing_column_and_no_text_at_all_are_errors(tmp_path: Path) -> None:
    path = written(tmp_path / "d", {"n": [1]})
    with pytest.raises(SubjectError):
        run(path, columns=("text",))
    with pytest.raises(ConfigurationError):
        run(path)


def test_too_many_rows_are_counted_and_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST_ROWS", 10)
    path = written(tmp_path / "d", {"text": ["=1+1"] * 10 + ["fine"]})
    (check,) = run(path, rules=("spreadsheet_formulas",)).checks
    assert rows(check) == list(range(10))
    path = written(tmp_path / "e", {"text": ["=1+1"] * 11 + ["=IMPORTXML(1)"]})
    (check,) = run(path, rules=("spreadsheet_formulas",)).checks
    assert [finding.rows for finding in check.findings] == [(), ()]
    assert [finding.evidence["rows"] for finding in check.findings] == [1, 11]


def test_the_same_data_gives_the_same_report_however_it_is_cut(tmp_path: Path) -> None:
    texts = [*ALL, "=1+1", "in\u200bvisible", "pаypal"] * 2
    one = written(tmp_path / "one", {"text": texts})
    report = run(one)
    (tmp_path / "two").mkdir()
    pq.write_table(pa.table({"text": texts}), tmp_path / "two" / "a.parquet", row_group_size=97)
    assert run(tmp_path / "two").to_json() == report.to_json()


def test_a_column_of_empty_texts_was_not_examined(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["", "", None]}), tmp_path / "empty.parquet")
    snapshot = take_snapshot(SubjectUri.parse(str(tmp_path / "empty.parquet")))
    report = ScanText(columns=("a",), rules=("secrets",)).run(snapshot, Context())
    assert [check.outcome for check in report.checks] == [Outcome.UNKNOWN]
