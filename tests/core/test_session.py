"""Training sessions: cleared data in, signed statements out, and what is never recorded."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.canonical import Digest, canonical_json, parse_json
from sluicegate.clearance import open_cleared
from sluicegate.cli.session import add_session
from sluicegate.cli.terminal import report_failure
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    Decision,
    SluicegateError,
    SubjectError,
)
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.receipts.statement import EventStatement, ProductionStatement, Subject
from sluicegate.session import records_training, training_session
from sluicegate.session.code import describe_code, without_credentials
from sluicegate.session.environment import describe_environment
from sluicegate.session.log import MetricLog, describe_parameters, number
from sluicegate.signing import open_evidence
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import LedgerRecords
from tests.scenes import Scene

POLICY = """\
version: 1
purposes:
  train:
    stages: [flag-negatives, {count-rows: {at_least: 3}}]
  score:
    stages: [flag-negatives]
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
  - name: gate-only
    file: keys/gate-only.pub.pem
    stages: [flag-negatives, count-rows]
"""


class Lab(Scene):
    """A project whose key may say what was made from what."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate_only = self.other_key("gate-only")
        self.write_policy(POLICY)
        self.write_data([1.0, 2.0, 3.0])

    @property
    def model(self) -> Path:
        return self.folder / "model.bin"

    def session(self, *inputs, **options):
        values = {"inputs": inputs or [self.data], "signer": self.signer, "code": self.folder}
        return training_session(self.policy, **(values | options))

    def logged(self, kind) -> list:
        policy = load_policy(self.policy)
        records = LedgerRecords(open_evidence(policy), policy, datetime.now(UTC))
        return [one.statement for one in records if isinstance(one.statement, kind)]

    def failures(self) -> list[EventStatement]:
        return [one for one in self.logged(EventStatement) if one.kind == "session.failed"]

    def document(self, digest: Digest) -> dict:
        content = open_evidence(load_policy(self.policy)).report_path(digest).read_bytes()
        assert Digest.of(content) == digest
        value = parse_json(content)
        assert canonical_json(value) == content
        return value


@pytest.fixture
def lab(tmp_path) -> Lab:
    scene = Lab(tmp_path)
    scene.run(scene.data)
    return scene


def test_what_was_made_from_what_is_signed(lab):
    with lab.session(
        parameters={"depth": 6, "api_key": "hunter2hunter2", "rate": float("nan")},
        run=RunIdentity(orchestrator="cli", labels={"run_id": "r1"}),
    ) as session:
        assert list(session.data.read_frame()["value"]) == [1.0, 2.0, 3.0]
        on_step = session.callback()
        on_step(1, {"loss": 0.5, "accuracy": np.float32(0.5)})
        on_step(2, {"loss": float("inf")})
        lab.model.write_bytes(b"weights")
        session.output(lab.model)
    (statement,) = lab.logged(ProductionStatement)
    data = take_snapshot(SubjectUri.parse(lab.data))
    assert statement.subject == Subject.of(take_snapshot(SubjectUri.parse(lab.model)))
    assert statement.made_from == (Subject.of(data),)
    assert statement.activity == "train"
    cleared = open_cleared(lab.data, purpose="train", policy=lab.policy)
    assert statement.cleared_by == tuple(sorted(ref.digest for ref in cleared.receipts))
    assert statement.run.labels == {"run_id": "r1"}
    assert statement.record == session.record
    record = lab.document(statement.record)
    assert record["outcome"] == "finished"
    assert record["parameters"]["depth"] == 6
    assert record["parameters"]["rate"] == "NaN"
    assert "hunter2" not in json.dumps(record)
    assert record["metrics"]["loss"] == {
        "count": 2,
        "last": "Infinity",
        "min": 0.5,
        "max": 0.5,
        "points": [[1, 0.5], [2, "Infinity"]],
    }
    assert record["inputs"][0]["subject"] == Subject.of(data).to_json()
    assert {item["sha256"] for item in record["inputs"][0]["receipts"]} == {
        ref.digest.hex for ref in cleared.receipts
    }
    assert record["outputs"] == [statement.subject.to_json()]
    assert record["code"] == {"absent": "no commit, no repository or no git"}
    assert ["pytest"] in [item[:1] for item in record["environment"]["distributions"]["list"]]


def test_data_that_is_not_cleared_does_not_get_in(lab):
    other = lab.write_data([4.0, 5.0, 6.0], "other.parquet")
    with pytest.raises(ClearanceRefused), lab.session(other):
        raise AssertionError("ran")
    lab.write_data([1.0, 2.0, 3.5])
    with pytest.raises(ClearanceRefused), lab.session():
        raise AssertionError("ran")
    assert lab.logged(ProductionStatement) == []


def test_clearances_and_opened_data_are_inputs(lab):
    clearance = lab.run(lab.data).clearance
    cleared = lab.open(clearance)
    for number_of, source in enumerate((clearance, clearance.to_json(), cleared)):
        with lab.session(source) as session:
            lab.model.write_bytes(b"weights %d" % number_of)
            session.output(lab.model)
    assert len({one.made_from for one in lab.logged(ProductionStatement)}) == 1
    scored = open_cleared(lab.data, purpose="score", policy=lab.policy)
    with pytest.raises(ClearanceRefused, match="opened for 'score'"), lab.session(scored):
        raise AssertionError("ran")


def test_several_outputs_and_folders(lab):
    with lab.session() as session:
        (lab.folder / "model").mkdir()
        (lab.folder / "model" / "a.bin").write_bytes(b"a")
        (lab.folder / "model" / "b.bin").write_bytes(b"b")
        lab.model.write_bytes(b"weights")
        session.output(lab.folder / "model")
        session.output(str(lab.model))
        session.output(lab.model)
    folder, file = lab.logged(ProductionStatement)
    assert (folder.subject.name, file.subject.name) == ("model", "model.bin")
    assert folder.record == file.record
    assert len(session.receipts) == 2
    manifest = open_evidence(load_policy(lab.policy)).manifest_path(folder.subject.sha256)
    assert manifest.read_bytes().count(b"\n") == 2


def test_a_session_that_fails_leaves_an_event_and_no_production(lab):
    def train():
        with lab.session() as session:
            session.log_metric("loss", 3)
            lab.model.write_bytes(b"half")
            session.output(lab.model)
            raise ZeroDivisionError("row 17 of alice@example.org")

    with pytest.raises(ZeroDivisionError):
        train()
    assert lab.logged(ProductionStatement) == []
    (event,) = lab.failures()
    assert event.details["error"] == "ZeroDivisionError"
    record = lab.document(Digest(event.details["record"]))
    assert (record["outcome"], record["error"]) == ("failed", "ZeroDivisionError")
    assert record["metrics"]["loss"]["last"] == 3
    assert "alice" not in json.dumps([record, event.to_json()])


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_being_stopped_is_a_failure_too(lab, ending):
    with pytest.raises(ending), lab.session():
        raise ending
    assert [one.details["error"] for one in lab.failures()] == [ending.__name__]


def test_a_session_without_output_signs_nothing(lab):
    with pytest.raises(ConfigurationError, match="no output"), lab.session():
        pass
    with pytest.raises(SubjectError), lab.session() as session:
        session.output(lab.folder / "missing")
    assert lab.logged(ProductionStatement) == []
    assert len(lab.failures()) == 2


def test_an_output_that_is_the_input_was_not_made(lab):
    with pytest.raises(ConfigurationError, match="nothing was made"), lab.session() as session:
        session.output(lab.data)
    assert lab.logged(ProductionStatement) == []


def test_a_key_that_may_not_say_so_fails_before_the_work(lab):
    refused = pytest.raises(ConfigurationError, match="not trusted for production")
    with refused, lab.session(signer=lab.gate_only):
        raise AssertionError("ran")


def test_a_failure_that_cannot_be_logged_does_not_hide_the_error(lab):
    lab.write_policy(POLICY.replace('["*"]', "[flag-negatives, count-rows, production]"))
    with pytest.raises(ZeroDivisionError) as caught, lab.session():
        raise ZeroDivisionError
    assert "could not log" in caught.value.__notes__[0]


def test_a_key_for_other_places_may_not_sign_an_output(lab):
    pattern = f'["{SubjectUri.parse(lab.folder)}/*.parquet"]'
    lab.write_policy(POLICY.replace('stages: ["*"]', f'stages: ["*"]\n    subjects: {pattern}'))
    lab.model.write_bytes(b"weights")
    with pytest.raises(ConfigurationError, match="not trusted for"), lab.session() as session:
        session.output(lab.model)
    assert lab.logged(ProductionStatement) == []
    assert len(lab.failures()) == 1


def test_a_session_is_used_once_and_only_inside(lab):
    session = lab.session()
    with pytest.raises(ConfigurationError, match="not open"):
        session.log_metric("loss", 1)
    with session:
        lab.model.write_bytes(b"weights")
        session.output(lab.model)
    for use in (lambda: session.output("x"), lambda: session.log_parameter("a", 1)):
        with pytest.raises(ConfigurationError, match="not open"):
            use()
    with pytest.raises(ConfigurationError, match="used once"), session:
        pass


def test_inputs_are_named(lab):
    with pytest.raises(ConfigurationError, match="1 to 16 inputs"):
        training_session(lab.policy, inputs=[])
    with pytest.raises(ConfigurationError, match="1 to 16 inputs"):
        training_session(lab.policy, inputs=[lab.data] * 17)
    lab.model.write_bytes(b"weights")
    with lab.session() as session:
        session.output(lab.model)
        for n in range(15):
            lab.write_data([float(n)], f"m{n}")
            session.output(lab.folder / f"m{n}")
        with pytest.raises(ConfigurationError, match="16 outputs"):
            session.output("one more")


def test_the_decorator(lab):
    @records_training("train", policy=lab.policy, signer=lab.signer)
    def train(dataset, depth, *, password="none", session):
        session.log_metric("rows", len(dataset.read_frame()))
        lab.model.write_bytes(b"weights")
        return lab.model

    assert train(lab.data, 6, password="hunter2hunter2") == lab.model
    (statement,) = lab.logged(ProductionStatement)
    record = lab.document(statement.record)
    assert record["parameters"]["depth"] == 6
    assert "hunter2" not in json.dumps(record)
    assert record["metrics"]["rows"]["last"] == 3
    with pytest.raises(ClearanceRefused):
        train(lab.write_data([9.0], "x.parquet"), 6)
    with pytest.raises(ConfigurationError, match="without 'dataset'"):
        train(depth=1)


def test_what_the_decorator_cannot_guard_is_refused():
    async def later(dataset): ...

    def several(dataset):
        yield

    def nothing(): ...

    for function in (later, several, nothing):
        with pytest.raises(ConfigurationError):
            records_training()(function)


# Numbers, names and secrets.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (True, 1),
        (0.5, 0.5),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (2**53, "9007199254740992.0"),
        (10**400, "Infinity"),
        (1e300, "1e+300"),
        (2**53 - 1, 2**53 - 1),
        (np.float64(0.25), 0.25),
        (np.int64(3), 3.0),
        (np.array(2.0), 2.0),
    ],
)
def test_numbers(value, expected):
    assert number(value) == expected
    canonical_json(number(value))


@pytest.mark.parametrize("value", ["1", b"1", None, [1], np.array([1.0, 2.0]), 1j])
def test_no_numbers(value):
    with pytest.raises(ConfigurationError, match="number"):
        number(value)


@given(st.lists(st.one_of(st.floats(), st.integers())))
def test_any_metrics_have_a_canonical_form(values):
    log = MetricLog()
    for step, value in enumerate(values):
        log.add("m", value, step)
    content = canonical_json(log.to_json())
    assert parse_json(content) == log.to_json()


def test_metrics_are_bounded():
    log = MetricLog()
    for step in range(10_050):
        log.add("loss", step)
    series = log.to_json()["loss"]
    assert (series["count"], series["last"], series["max"]) == (10_050, 10_049, 10_049)
    assert len(series["points"]) == 10_000
    for n in range(999):
        log.add(f"m{n}", 1)
    with pytest.raises(ConfigurationError, match="at most 1000 metrics"):
        log.add("one more", 1)
    for name in ("", "x" * 201, "a\n", 3):
        with pytest.raises(ConfigurationError, match="name"):
            log.add(name, 1)
    for step in (-1, 1.5, True, 2**53):
        with pytest.raises(ConfigurationError, match="step"):
            log.add("loss", 1, step)


def test_parameters_are_plain_and_without_secrets():
    deep: dict = {}
    at = deep
    for _ in range(50):
        at["d"] = {}
        at = at["d"]
    found = describe_parameters(
        {
            "depth": 6,
            "max_tokens": 512,
            "layers": (64, 32),
            "path": Path("/data/x"),
            "day": date(2030, 1, 2),
            "rate": np.float64(0.5),
            "model": object(),
            "nothing": None,
            "seed": 2**63 + 1,
            "deep": deep,
            "db": "postgresql://ana:hunter2@db.example.org/x",
            "nested": {"password": "hunter2"},
            "key": "AKIAIOSFODNN7EXAMPLE",
        }
    )
    assert found["depth"] == 6
    assert found["max_tokens"] == 512
    assert found["layers"] == [64, 32]
    assert found["path"] == "/data/x"
    assert found["day"] == "2030-01-02"
    assert found["rate"] == 0.5
    assert found["seed"] == "0x8000000000000001"
    assert found["model"] == {"type": "builtins.object"}
    text = canonical_json(found)
    assert b"hunter2" not in text
    assert b"AKIA" not in text


def test_parameters_are_bounded():
    with pytest.raises(ConfigurationError, match="too many"):
        describe_parameters({"many": list(range(20_000))})
    with pytest.raises(ConfigurationError, match="larger than"):
        describe_parameters({f"p{n}": "word " * 1000 for n in range(100)})


def test_the_environment_has_names_and_no_values(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "hunter2")
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    found = describe_environment()
    assert "CUDA_VISIBLE_DEVICES" in found["variables"]
    assert b"hunter2" not in canonical_json(found)
    assert b"DATABASE_PASSWORD" not in canonical_json(found)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    listed = found["distributions"]
    assert listed["sha256"] == Digest.of_json(listed["list"]).hex


# Code.


def git(folder: Path, *words: str) -> str:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    return subprocess.run(
        ["git", *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").write_text("pass\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "remote", "add", "origin", "https://ana:hunter2@git.example.org/a/b.git?token=x")
    return folder


def test_commit_remote_and_changes(repository):
    commit = git(repository, "rev-parse", "HEAD")
    expected = {"commit": commit, "dirty": False, "remote": "https://git.example.org/a/b.git"}
    assert describe_code(repository) == expected
    (repository / "train.py").write_text("evil\n")
    assert describe_code(repository) == expected | {"dirty": True}
    git(repository, "checkout", "-q", "train.py")
    (repository / "new.py").write_text("evil\n")
    assert describe_code(repository) == expected | {"dirty": True}


def test_nothing_of_the_repository_runs(repository):
    trap = repository.parent / "ran"
    script = repository.parent / "trap.sh"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(script))
    for hook in ("post-index-change", "post-checkout", "reference-transaction"):
        path = repository / ".git" / "hooks" / hook
        path.write_text(script.read_text())
        path.chmod(0o755)
    trap.unlink(missing_ok=True)
    assert describe_code(repository)["dirty"] is False
    assert not trap.exists()


def test_no_git_no_answer(tmp_path, monkeypatch):
    assert "absent" in describe_code(tmp_path)
    assert "absent" in describe_code(tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "absent" in describe_code(tmp_path)


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://git.example.org/a.git", "https://git.example.org/a.git"),
        ("https://x:y@git.example.org:8443/a.git#f", "https://git.example.org:8443/a.git"),
        ("ssh://git@git.example.org/a.git", "ssh://git.example.org/a.git"),
        ("git@git.example.org:a/b.git", "git.example.org:a/b.git"),
        ("tok:en@git.example.org:a/b.git", "tok:en@git.example.org:a/b.git"),
        ("/srv/git/a:b.git", "/srv/git/a:b.git"),
        ("https://[x", "(not a URL)"),
    ],
)
def test_remotes(remote, expected):
    assert without_credentials(remote) == expected


# Any command.

TRAIN = """\
import json, os, pathlib
data = pathlib.Path(os.environ["SLUICEGATE_DATA"])
assert data.stat().st_size
names = [name for name in os.environ if name.startswith("SLUICEGATE_")]
with open(os.environ["SLUICEGATE_METRICS"], "a") as metrics:
    metrics.write(json.dumps({"name": "loss", "value": 0.5, "step": 1}) + "\\n")
    metrics.write("nonsense\\n" + json.dumps({"name": "x", "value": "y"}) + "\\n")
pathlib.Path(os.environ["SLUICEGATE_OUTPUT"]).write_text(f"{data} {sorted(names)}")
print("the command speaks")
"""


MAIN = """\
import argparse, sys
import tests.scenes
from tests.core.test_session import run_cli
sys.exit(run_cli(sys.argv[1:]))
"""


def run_cli(words: list[str]) -> int:
    """Do what ``sluicegate`` does with these words."""
    parser = argparse.ArgumentParser()
    add_session(parser.add_subparsers())
    args = parser.parse_args(words)
    try:
        return args.run(args)
    except SystemExit:
        return 2
    except (Decision, SluicegateError) as error:
        return report_failure(error, as_json=args.json)


def arguments(lab: Lab, *program: str) -> list[str]:
    return [
        *("session", "run", "--policy", str(lab.policy), "--purpose", "train", "--json"),
        *("--subject", str(lab.data), "--output", str(lab.model)),
        *("--param", "depth=6", "--param", "password=hunter2", "--"),
        *(program or (sys.executable, str(lab.folder / "train.py"))),
    ]


@pytest.fixture
def command(lab, monkeypatch, capfd):
    """Run ``sluicegate session run``; return exit code and what it printed."""
    (lab.folder / "train.py").write_text(TRAIN)
    monkeypatch.setenv("SLUICEGATE_LEDGER_KEY", "hunter2")
    before = signal.getsignal(signal.SIGTERM)

    def run(*program: str):
        code = run_cli(arguments(lab, *program))
        out, err = capfd.readouterr()
        return code, json.loads(out), err

    yield run
    signal.signal(signal.SIGTERM, before)


def test_a_command_as_a_session(lab, command):
    code, value, err = command()
    assert code == 0, err
    assert "the command speaks" in err
    assert value["metrics_ignored"] == 2
    (statement,) = lab.logged(ProductionStatement)
    record = lab.document(statement.record)
    assert str(statement.record) == value["record"]
    assert record["metrics"]["loss"]["points"] == [[1, 0.5]]
    assert record["parameters"]["depth"] == "6"
    assert "hunter2" not in json.dumps(record)
    copy, names = lab.model.read_text().split(" ", 1)
    assert names == "['SLUICEGATE_DATA', 'SLUICEGATE_METRICS', 'SLUICEGATE_OUTPUT']"
    assert copy != str(lab.data)
    assert not Path(copy).exists(), "the private copy is gone"


def test_a_command_does_not_run_on_data_that_is_not_cleared(lab, command):
    lab.write_data([1.0, -2.0, 3.0])
    code, value, _ = command()
    assert (code, value["outcome"]) == (1, "refused")
    assert not lab.model.exists()


@pytest.mark.parametrize(
    "program", [(sys.executable, "-c", "raise SystemExit(1)"), ("true",), ("/no/program",)]
)
def test_a_command_that_fails_or_makes_nothing_is_not_recorded(lab, command, program):
    code, value, _ = command(*program)
    assert (code, value["outcome"]) == (2, "could not conclude")
    assert lab.logged(ProductionStatement) == []
    assert len(lab.failures()) == 1


def test_what_lies_there_already_was_not_made_now(lab, command):
    lab.model.write_bytes(b"somebody else's weights")
    code, value, _ = command("true")
    assert code == 2
    assert "holds something already" in value["message"]
    assert lab.logged(ProductionStatement) == []


@pytest.mark.slow
def test_a_session_that_is_terminated_ends_its_command_and_says_so(lab):
    mark = lab.folder / "started"
    program = (
        "import os, time, pathlib\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments(lab, sys.executable, "-c", program)],
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 100
    while not (mark.exists() and mark.read_text()) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert [one.details["error"] for one in lab.failures()] == ["SystemExit"]
