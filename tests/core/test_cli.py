"""The command line, called as users call it: arguments in, text and exit codes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sluicegate.cli import main as cli
from sluicegate.cli.main import main
from sluicegate.evidence import Evidence
from sluicegate.stages.registry import BUILT_IN
from tests.scenes import POLICY, FlagNegatives

SUITE = {
    "name": "values",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "value", "min_value": 0, "max_value": 100},
            "severity": "critical",
        }
    ],
}


@pytest.fixture
def project(scene, monkeypatch):
    """Work inside the scene's folder, as a person would."""
    monkeypatch.chdir(scene.folder)
    return scene


def run(*arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def run_json(capsys, *arguments):
    code = run(*arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def test_a_passed_gate_exits_with_0_and_prints_the_report(project, capsys):
    project.write_data([1, 2, 3])
    code, value = run_json(capsys, "gate", "flag-negatives", "data.parquet")
    assert code == 0
    assert value["verdict"] == "allow"
    assert [check["outcome"] for check in value["checks"]] == ["passed", "passed"]
    assert Path(value["receipt"]).exists()
    assert Path(value["report"]).read_text().startswith("<!doctype html>")


def test_a_blocked_gate_exits_with_1(project, capsys):
    project.write_data([1, -999, 3, 4, 5])
    code, value = run_json(capsys, "gate", "flag-negatives", "data.parquet")
    assert (code, value["verdict"], value["clearance"]) == (1, "block", None)
    assert any("forbidden" in reason for reason in value["reasons"])


def test_an_unknown_exits_with_2(project, capsys):
    project.write_data([1, None, 3])
    code, value = run_json(capsys, "gate", "flag-negatives", "data.parquet")
    assert (code, value["verdict"]) == (2, "inconclusive")


def test_a_quarantine_exits_with_0_for_the_remainder_and_not_for_the_subject(project, capsys):
    project.write_data([1, 2, -3, 4, 5])
    code = run("secure", "data.parquet", "--purpose", "train", "--clearance-out", "c.json")
    assert code == 0
    assert "remainder" in capsys.readouterr().out
    assert run("verify", "data.parquet", "--purpose", "train") == 1
    assert run("verify", "@c.json", "--purpose", "train") == 0


def test_secure_runs_every_stage_of_the_purpose(project, capsys):
    project.write_data([1, 2, 3])
    code, value = run_json(capsys, "secure", "data.parquet", "--purpose", "train")
    assert code == 0
    assert [gate["stage"] for gate in value["gates"]] == ["flag-negatives", "count-rows"]
    code, value = run_json(capsys, "verify", "data.parquet", "--purpose", "train")
    assert (code, value["outcome"]) == (0, "cleared")


def test_secure_stops_at_the_first_gate_that_does_not_clear(project, capsys):
    project.write_data([1, -999, 3, 4, 5])
    code, value = run_json(capsys, "secure", "data.parquet", "--purpose", "train")
    assert (code, len(value["gates"]), value["clearance"]) == (1, 1, None)


def test_options_of_a_stage_come_from_the_command_line_or_from_the_policy(project, capsys):
    project.write_data([1, 2, 3, 4])
    _, given = run_json(capsys, "gate", "count-rows", "data.parquet", "--at-least", "2")
    assert given["configuration"] == {"at_least": 2}
    _, named = run_json(capsys, "gate", "count-rows", "data.parquet", "--purpose", "train")
    assert named["configuration"] == {"at_least": 3}
    assert run("gate", "count-rows", "data.parquet", "--purpose", "train", "--at-least", "2") == 2
    assert "not both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gate", "flag-negatives", "missing.parquet"], "does not exist"),
        (["gate", "flag-negatives", "folder"], "no files"),
        (["gate", "flag-negatives", "data.parquet", "--policy", "no.yaml"], "cannot read the pol"),
        (["gate", "flag-negatives", "data.parquet", "--policy", "bad.yaml"], "bad.yaml:2"),
        (["gate", "flag-negatives", "data.parquet", "--key", "bad.yaml"], "bad.yaml"),
        (["gate", "flag-negatives", "data.parquet", "--column", "x"], "no column x"),
        (["gate", "flag-negatives", "@bad.yaml"], "clearance"),
        (["gate", "count-rows", "data.parquet", "--at-least", "many"], "invalid int value"),
        (["gate", "flog-negatives", "data.parquet"], "invalid choice"),
        (["verify", "data.parquet", "--purpose", "deploy"], "no purpose 'deploy'"),
        (["report", "7"], "no entry 7"),
        (["report", "x"], "is a number"),
        ([], "COMMAND"),
    ],
)
def test_bad_input_exits_with_2_and_says_what(project, capsys, arguments, words):
    project.write_data([1, 2, 3])
    (project.folder / "bad.yaml").write_text("[")
    (project.folder / "bad.yaml").chmod(0o600)
    (project.folder / "folder").mkdir()
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err


def test_an_error_in_sluicegate_itself_never_looks_like_a_decision(project, monkeypatch, capsys):
    """Python's own exit code for an exception, 1, would read as "blocked"."""
    monkeypatch.setattr("sluicegate.cli.verify.open_cleared", lambda *_, **__: 1 / 0)
    assert run("verify", "data.parquet", "--purpose", "train") == 2
    assert "could not conclude" in capsys.readouterr().err


def test_a_refusal_as_json_says_what_and_what_next(project, capsys):
    project.write_data([1, 2, 3])
    code, value = run_json(capsys, "verify", "data.parquet", "--purpose", "train")
    assert (code, value["outcome"], value["error"]) == (1, "refused", "ClearanceRefused")
    assert "run the gate flag-negatives" in value["next"]


def test_init_makes_a_project_that_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.json").write_text(json.dumps(SUITE))
    assert run("init", ".", "--label", "digit: no", "--suite", "suite.json") == 0
    key = tmp_path / ".sluicegate/keys/signing.key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (tmp_path / "policy.yaml").read_text()
    assert run("ledger", "verify") == 0
    before = key.read_bytes()
    assert run("init", ".") == 2
    assert key.read_bytes() == before


def test_a_key_with_a_password_works_and_a_wrong_one_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICEGATE_KEY_PASSWORD", "correct horse")
    assert run("init", ".") == 0
    pd.DataFrame({"value": [1, 2, 3]}).to_parquet("data.parquet")
    assert run("gate", "flag-negatives", "data.parquet") == 0
    monkeypatch.setenv("SLUICEGATE_KEY_PASSWORD", "wrong")
    assert run("gate", "flag-negatives", "data.parquet") == 2
    assert "password is wrong" in capsys.readouterr().err


def test_without_a_policy_a_gate_still_examines_but_clears_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"value": [1, 2, 3]}).to_parquet("data.parquet")
    assert run("gate", "flag-negatives", "data.parquet") == 0
    assert "no policy trusts yet" in capsys.readouterr().err
    assert (tmp_path / ".sluicegate/.gitignore").read_text() == "*\n"
    assert run("gate", "flag-negatives", "data.parquet") == 0
    assert run("verify", "data.parquet", "--purpose", "train") == 2


def test_a_broken_policy_is_never_passed_over_for_the_built_in_rules(project, capsys):
    project.write_data([1, 2, 3])
    project.write_policy(POLICY + "unknown: 1\n")
    assert run("gate", "flag-negatives", "data.parquet") == 2
    assert "unknown key" in capsys.readouterr().err


def test_the_ledger_can_be_listed_verified_and_exported(project, capsys):
    project.run(project.write_data([1, 2, -3, 4, 5]))
    assert run("ledger", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2:4] for line in lines] == [
        ["flag-negatives", "quarantine"],
        ["quarantine", "derivation"],
        ["count-rows", "allow"],
    ]
    evidence = Evidence(project.evidence)
    (ref, _), *_ = evidence.receipts()
    evidence.receipt_path(ref.digest).unlink()
    assert run("ledger", "export") == 0
    assert evidence.receipt_path(ref.digest).exists()
    assert run("ledger", "verify") == 0
    assert "3 entries, all sound; 3 trusted" in capsys.readouterr().out


def test_a_damaged_ledger_is_reported_with_its_place(project, capsys):
    project.run(project.write_data([1, 2, 3]))
    log = project.evidence / "ledger/journal"
    content = bytearray(log.read_bytes())
    content[-1] ^= 1
    log.write_bytes(content)
    assert run("ledger", "verify") == 2
    assert "damaged at entry 1" in capsys.readouterr().err


def test_a_report_is_found_by_its_ledger_entry_and_must_be_the_one_signed_for(project, capsys):
    project.run(project.write_data([1, 2, -3, 4, 5]))
    assert run("report", "0") == 0
    assert ".html" in capsys.readouterr().out
    code, value = run_json(capsys, "report")
    assert (code, value["stage"]) == (0, "count-rows")
    for path in (project.evidence / "reports").glob("*.json"):
        path.write_text("{}")
    assert run("report", "0") == 2
    assert "not the one that the receipt names" in capsys.readouterr().err


def test_a_report_made_under_earlier_rules_is_found_too(project, capsys):
    project.run(project.write_data([1, 2, -3, 4, 5]))
    policy = project.folder / "policy.yaml"
    policy.write_text(policy.read_text() + "rules:\n  count-rows: {info: block}\n")
    assert run("report", "0") == 0
    said = capsys.readouterr()
    assert ".html" in said.out
    assert "counts no more: the verdict of" in said.err


def test_init_after_a_gate_without_a_policy_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLUICEGATE_POLICY", raising=False)
    (tmp_path / "data.csv").write_text("a\nfine\n")
    assert run("gate", "scan-text", "data.csv") == 0
    assert run("init", ".") == 2
    assert "before there was a policy" in capsys.readouterr().err
    (tmp_path / ".sluicegate").rename(tmp_path / "old")
    assert run("init", ".") == 0


def test_help_teaches(capsys):
    assert run("--help") == 0
    assert "start here" in capsys.readouterr().out
    assert run("gate", "count-rows", "--help") == 0
    text = capsys.readouterr().out
    assert "fewest rows that will do" in text
    assert "could not conclude" in text


def test_stages_lists_every_option(capsys):
    assert run("stages") == 0
    text = capsys.readouterr().out
    assert "scan-for-poisoning" in text
    assert "validate-dataset" in text
    assert "(required)" in text


def test_the_installed_command_runs(tmp_path):
    command = Path(sys.executable).with_name("sluicegate")
    result = subprocess.run(
        [command, "--version"], capture_output=True, text=True, env=os.environ, cwd=tmp_path
    )
    assert result.returncode == 0
    assert result.stdout.strip() == cli.version("sluicegate")


@pytest.mark.parametrize("code", [0, 1])
def test_a_stage_that_ends_the_process_does_not_choose_the_outcome(project, monkeypatch, code):
    project.write_data([1, 2, 3])
    monkeypatch.setattr(FlagNegatives, "run", lambda *_: sys.exit(code))
    assert run("gate", "flag-negatives", "data.parquet") == 2


def test_after_a_block_no_clearance_of_an_earlier_run_is_left(project):
    project.write_data([1, 2, 3])
    command = ("secure", "data.parquet", "--purpose", "train", "--clearance-out", "c.json")
    assert run(*command) == 0
    assert Path("c.json").exists()
    project.write_data([1, -999, 3])
    assert run(*command) == 1
    assert not Path("c.json").exists()
    assert run(*command[:-1], "no/such/\x00folder/c.json") == 2


def test_a_stage_that_cannot_be_imported_does_not_stop_the_others(project, monkeypatch, capsys):
    monkeypatch.setitem(BUILT_IN, "broken-stage", "tests.no_such_module:Stage")
    project.write_data([1, 2, 3])
    assert run("gate", "flag-negatives", "data.parquet") == 0
    assert "broken-stage" in capsys.readouterr().err
    assert run("stages") == 0


def test_a_receipt_that_was_logged_twice_is_reported(project, capsys):
    project.run(project.write_data([1, 2, 3]))
    evidence = Evidence(project.evidence)
    evidence.log(evidence.ledger.get(0))
    assert run("ledger", "verify") == 2
    assert "entry 2 of the ledger repeats an earlier receipt" in capsys.readouterr().err


def test_an_entry_that_is_no_receipt_is_reported(project, capsys):
    project.run(project.write_data([1, 2, 3]))
    Evidence(project.evidence).ledger.append(b"not a receipt")
    assert run("ledger", "verify") == 2
    assert "entry 2 of the ledger is no sound receipt" in capsys.readouterr().err


def test_init_with_a_suite_that_is_not_there_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("init", ".", "--suite", "suite.json") == 2
    assert "there is no suite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
