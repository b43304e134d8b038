"""The one way through: outcomes, receipts, quarantine, crashes and crowds."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import pytest

from sluicegate.canonical import Digest
from sluicegate.clearance import Clearance
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    GateBlocked,
    KeyFileError,
    MissingExtraError,
    StageError,
    SubjectError,
)
from sluicegate.evidence import Evidence
from sluicegate.gate import gate, run_gate
from sluicegate.model import Report, RunIdentity, Verdict
from sluicegate.stages.base import Option
from tests.scenes import CountRows, FlagNegatives


def frame_of(clearance):
    return pd.read_parquet(clearance.uri.removeprefix("file://"))


def test_clean_data_gets_a_clearance_that_opens(scene):
    clearance = scene.run(scene.write_data([1, 2, 3])).clearance
    assert scene.open(clearance).read_frame()["value"].tolist() == [1, 2, 3]
    assert len(clearance.receipts) == 2


def test_a_critical_finding_blocks_and_leaves_a_receipt(scene):
    data = scene.write_data([1, -999, 3])
    with pytest.raises(GateBlocked, match="forbidden") as caught:
        gate(FlagNegatives(), data, scene.policy)
    assert Path(caught.value.receipt).exists()
    assert Path(caught.value.report).exists()
    assert len(list(Evidence(scene.evidence).receipts())) == 1


def test_an_unknown_is_no_pass_and_no_block(scene):
    outcome = run_gate(FlagNegatives(), scene.write_data([1, None, 3]), scene.policy)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    with pytest.raises(StageError, match="could not conclude"):
        outcome.clear_or_raise()


def test_quarantine_clears_exactly_the_remainder(scene):
    data = scene.write_data([1, 2, -3, 4, 5, 6])
    outcome = scene.run(data)
    assert frame_of(outcome.clearance)["value"].tolist() == [1, 2, 4, 5, 6]
    assert scene.open(outcome.clearance).read_frame()["value"].tolist() == [1, 2, 4, 5, 6]
    with pytest.raises(ClearanceRefused, match="says quarantine"):
        scene.open(data)


def test_quarantine_keeps_what_it_set_aside(scene):
    outcome = run_gate(FlagNegatives(), scene.write_data([1, 2, -3, 4, 5]), scene.policy)
    aside = pd.read_parquet(outcome.set_aside.removeprefix("file://"))
    assert aside["value"].tolist() == [-3]


def test_the_same_quarantine_twice_writes_the_same_bytes(scene):
    data = scene.write_data([1, 2, -3, 4, 5])
    first = run_gate(FlagNegatives(), data, scene.policy)
    second = run_gate(FlagNegatives(), data, scene.policy)
    assert first.clearance.digest == second.clearance.digest
    assert first.clearance.uri == second.clearance.uri


def test_too_much_to_set_aside_blocks(scene):
    with pytest.raises(GateBlocked, match="too much is wrong"):
        gate(FlagNegatives(), scene.write_data([1, -2, -3, 4]), scene.policy)


def test_a_stage_that_rows_can_change_is_asked_again_about_the_remainder(scene):
    """Counting first, then quarantining: the count of the whole says nothing of the rest."""
    data = scene.write_data([1, 2, -3, 4, 5])
    counted = gate(CountRows(at_least=3), data, scene.policy)
    clearance = gate(FlagNegatives(), counted, scene.policy)
    assert len(clearance.receipts) == 4  # count, flag, derivation, count of the remainder
    assert len(scene.open(clearance).read_frame()) == 4


def test_a_remainder_that_fails_an_earlier_stage_is_blocked(scene):
    scene.write_policy(scene.policy.read_text().replace("at_least: 3", "at_least: 5"))
    counted = gate(CountRows(at_least=5), scene.write_data([1, 2, -3, 4, 5]), scene.policy)
    with pytest.raises(GateBlocked, match="found 4"):
        gate(FlagNegatives(), counted, scene.policy)


def test_without_the_second_look_the_consumer_refuses(scene):
    """The policy needs another configuration of the count, so it cannot be asked again."""
    counted = gate(CountRows(at_least=2), scene.write_data([1, 2, -3, 4, 5]), scene.policy)
    clearance = gate(FlagNegatives(), counted, scene.policy)
    with pytest.raises(ClearanceRefused, match="count-rows"):
        scene.open(clearance)


def test_files_of_a_folder_keep_their_names_in_the_remainder(scene):
    for number, values in enumerate([[1, 2], [3, -4], [5, 6], [7, 8]]):
        scene.write_data(values, f"lake/part-{number}.parquet")
    clearance = scene.run(scene.folder / "lake").clearance
    assert scene.open(clearance).files == tuple(f"part-{n}.parquet" for n in range(4))
    assert scene.open(clearance).read_frame()["value"].tolist() == [1, 2, 3, 5, 6, 7, 8]


def test_the_same_bytes_and_configuration_give_the_same_report(scene):
    data = scene.write_data([1, 2, 3])
    digests = {
        run_gate(
            FlagNegatives(), data, scene.policy, run=RunIdentity(orchestrator=name)
        ).statement.report
        for name in ("airflow", "prefect", "cli")
    }
    assert len(digests) == 1


def test_a_signer_that_no_consumer_believes_stops_the_gate_before_the_work(scene):
    with pytest.raises(ConfigurationError, match="does not trust"):
        run_gate(
            FlagNegatives(), scene.write_data([1]), scene.policy, signer=scene.other_key("mallory")
        )
    assert not (scene.evidence / "ledger").exists()


def test_a_missing_key_says_what_to_do(scene):
    (scene.evidence / "keys/signing.key.pem").unlink()
    with pytest.raises(KeyFileError, match="sluicegate init"):
        gate(FlagNegatives(), scene.write_data([1]), scene.policy)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("missing.parquet", None),
        ("empty.parquet", b""),
        ("corrupt.parquet", b"PAR1" + bytes(40) + b"PAR1"),
        ("latin.csv", "value\n1\né".encode("latin-1")),
        ("data.xlsx", b"PK"),
    ],
)
def test_bad_input_is_a_clear_error_and_leaves_nothing(scene, path, content):
    if content is not None:
        (scene.folder / path).write_bytes(content)
    with pytest.raises(SubjectError, match=path.partition(".")[0]):
        gate(FlagNegatives(), scene.folder / path, scene.policy)
    assert not (scene.evidence / "ledger").exists()
    assert not (scene.evidence / "reports").exists()


def test_a_stage_that_returns_something_else_is_an_error(scene, monkeypatch):
    monkeypatch.setattr(FlagNegatives, "run", lambda *_: True)
    with pytest.raises(StageError, match="bool instead of a report"):
        gate(FlagNegatives(), scene.write_data([1]), scene.policy)


def test_a_report_without_checks_cannot_be_built():
    with pytest.raises(ValueError, match="without checks"):
        Report(checks=())


@pytest.mark.parametrize(
    "error",
    [
        GateBlocked("a", stage="s", subject="u", reasons=("r",), receipt="p", report="q"),
        ClearanceRefused("no", next_step="do"),
        StageError("s"),
        MissingExtraError("boto3", "s3", "this"),
    ],
)
def test_errors_survive_pickling_whole(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def start(scene, *, once):
    """Run gates in a process of its own; return its id and the pipe with its clearances."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    while True:
        outcome = run_gate(FlagNegatives(), scene.data, scene.policy)
        os.write(writer, json.dumps(outcome.clearance.to_json()).encode() + b"\n")
        if once:
            os._exit(0)


def check_all(scene, output):
    """Every clearance that was handed out has its receipts, and the ledger is sound."""
    handed_out = [json.loads(line) for line in output.decode().splitlines()]
    evidence = Evidence(scene.evidence)
    evidence.ledger.verify()
    for value in handed_out:
        for ref in Clearance.from_json(value).receipts:
            assert Digest.of(evidence.receipt(ref)) == ref.digest
    return len(handed_out)


def drain(reader):
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read()


def duration_of_a_gate(scene):
    """Return how long one takes here and now, so that kills fall into the middle of one."""
    gate(FlagNegatives(), scene.data, scene.policy)  # everything is imported before the forks
    started = time.monotonic()
    gate(FlagNegatives(), scene.data, scene.policy)
    return time.monotonic() - started


@pytest.mark.slow
def test_a_killed_gate_leaves_a_sound_ledger_and_no_clearance_without_its_receipt(scene):
    scene.write_data([1, 2, -3, 4, 5, 6])
    moment, longest = random.Random(1), 2 * duration_of_a_gate(scene)
    for _ in range(60):
        child, reader = start(scene, once=False)
        first = os.read(reader, 1 << 16)  # it is running
        time.sleep(moment.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert check_all(scene, first + drain(reader)) >= 1
    assert len(scene.open(scene.run(scene.data).clearance).read_frame()) == 5


def test_gates_at_once_on_one_ledger_lose_nothing(scene):
    scene.write_data([1, 2, -3, 4, 5, 6])
    gate(FlagNegatives(), scene.data, scene.policy)
    workers = [start(scene, once=True) for _ in range(8)]
    for child, reader in workers:
        assert os.waitpid(child, 0)[1] == 0
        assert check_all(scene, drain(reader)) == 1
    assert Evidence(scene.evidence).ledger.verify().size == 2 * 9


def test_a_secret_field_of_a_stage_is_in_no_report_and_no_receipt(scene):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class WithCredential(FlagNegatives):
        token: Annotated[str | None, Option("credential")] = field(default=None, repr=False)

    stage = WithCredential(token="hunter2")
    run_gate(stage, scene.write_data([1, 2, 3]), scene.policy)
    evidence = [path for path in scene.evidence.rglob("*") if path.is_file()]
    assert len(evidence) > 4
    assert not any(b"hunter2" in path.read_bytes() for path in evidence)
    assert "hunter2" not in repr(stage)
