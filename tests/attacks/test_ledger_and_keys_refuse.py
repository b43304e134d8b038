"""What somebody with one key, or with the ledger's folder, tries; and what honest gates need."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.clearance import Clearance
from sluicegate.errors import ClearanceRefused, GateBlocked, LedgerError
from sluicegate.gate import run_gate
from sluicegate.ledger.keys import new_note_key
from sluicegate.ledger.note import COSIGNATURE, NoteSigner, SignedCheckpoint, cosign
from sluicegate.model import Outcome, RunIdentity, Verdict
from sluicegate.policy.load import load_policy
from sluicegate.receipts.statement import (
    ApprovalStatement,
    DerivationStatement,
    Subject,
    VerdictStatement,
)
from sluicegate.signing import attest, default_ledger_key_path, open_evidence
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.scenes import NAME, FlagNegatives, Scene

RUN = RunIdentity(orchestrator="cli")


def subject(path):
    return Subject.of(take_snapshot(SubjectUri.parse(path)))


class World(Scene):
    """A project whose purpose takes one hereditary stage, with a second key."""

    def __init__(self, folder, *, purpose="", keys="", ledger=""):
        super().__init__(folder)
        self.stages = (FlagNegatives(),)
        self.mallory = self.other_key("mallory")
        self.write_policy(
            f"version: 1\n{ledger}purposes:\n  train:\n{purpose}    stages: [{NAME}]\n"
            "keys:\n"
            "  - {name: gates, file: keys/gates.pub.pem, stages: ['*']}\n"
            "  - {name: m, file: keys/mallory.pub.pem, "
            + (keys or f"stages: [{NAME}, quarantine]}}\n")
        )

    def gate(self, path, signer=None):
        return run_gate(FlagNegatives(), path, self.policy, signer=signer or self.signer)

    def log(self, statement, signer):
        return attest(statement, open_evidence(load_policy(self.policy), write=True), signer)

    def verdict(self, about, word, signer):
        policy = load_policy(self.policy)
        (need,) = policy.purpose("train").requirements
        passed = word is Verdict.ALLOW
        statement = VerdictStatement(
            subject=about,
            stage=NAME,
            configuration=need.configuration,
            policy=policy.digest,
            report=about.sha256,
            verdict=word,
            checks={"toy.sign": Outcome.PASSED if passed else Outcome.FAILED},
            waivers=(),
            issued=datetime.now(UTC),
            run=RUN,
            invocation=f"{word} {about.digest}",
        )
        return self.log(statement, signer)

    def derive(self, child, parent, receipt, signer):
        statement = DerivationStatement(
            subject=child,
            parent=parent,
            verdict_receipt=receipt.digest,
            set_aside=parent,
            rows=1,
            files=0,
            issued=datetime.now(UTC),
            run=RUN,
            invocation=f"derived {child.digest}",
        )
        return self.log(statement, signer)


TWO = "    signatures: 2\n"


def test_one_of_two_keys_cannot_make_cleared_data_into_something_else(tmp_path):
    world = World(tmp_path, purpose=TWO)
    clean, poison = world.write_data([1, 2], "a.parquet"), world.write_data([666], "b.parquet")
    world.gate(clean)
    receipt = world.verdict(subject(clean), Verdict.QUARANTINE, world.mallory)
    world.derive(subject(poison), subject(clean), receipt, world.mallory)
    with pytest.raises(ClearanceRefused):
        world.open(poison)


def test_one_of_two_keys_cannot_rest_on_the_others_quarantine(tmp_path):
    world = World(tmp_path, purpose=TWO)
    raw, poison = (
        world.write_data([1, 2, 3, 4, -2], "a.parquet"),
        world.write_data([666], "b.parquet"),
    )
    honest = world.gate(raw)
    for signer in (world.mallory, world.mallory):
        world.derive(subject(poison), subject(raw), honest.receipt, signer)
    with pytest.raises(ClearanceRefused):
        world.open(poison)


def test_two_gates_that_agree_clear_data_and_remainders(tmp_path):
    world = World(tmp_path, purpose=TWO)
    clean, raw = (
        world.write_data([1, 2], "a.parquet"),
        world.write_data([1, 2, 3, 4, -2], "b.parquet"),
    )
    for signer in (world.signer, world.mallory):
        world.gate(clean, signer)
        remainder = world.gate(raw, signer).clearance.uri
    assert world.open(clean)
    assert world.open(remainder).read_frame()["value"].tolist() == [1, 2, 3, 4]


def test_one_signature_of_two_is_too_few_for_a_remainder(tmp_path):
    world = World(tmp_path, purpose=TWO)
    raw = world.write_data([1, 2, 3, 4, -2], "b.parquet")
    remainder = world.gate(raw).clearance.uri
    with pytest.raises(ClearanceRefused):
        world.open(remainder)


def test_a_block_of_any_ancestor_counts_whoever_says_it_is_one(tmp_path):
    world = World(tmp_path)
    raw, other = (
        world.write_data([1, 2, 3, 4, -2], "b.parquet"),
        world.write_data([1, 5], "c.parquet"),
    )
    outcome = world.gate(raw)
    remainder = outcome.clearance.uri
    assert world.open(remainder)
    # A later, forged step from clean data would hide the first parent.
    world.gate(other)
    receipt = world.verdict(subject(other), Verdict.QUARANTINE, world.mallory)
    child = Subject.of(take_snapshot(SubjectUri.parse(remainder)))
    world.derive(child, subject(other), receipt, world.mallory)
    world.verdict(subject(raw), Verdict.BLOCK, world.signer)
    with pytest.raises(ClearanceRefused, match="says block"):
        world.open(remainder)


def limited(folder):
    return f"stages: [{NAME}, quarantine], subjects: ['file://{folder}/public/*']}}\n"


def test_a_key_for_one_place_cannot_climb_out_of_it(tmp_path):
    world = World(tmp_path, keys=limited(tmp_path))
    prod, public = (
        world.write_data([5], "prod/d.parquet"),
        world.write_data([6], "public/d.parquet"),
    )
    (tmp_path / "public/link").symlink_to(tmp_path / "prod")
    lie = subject(prod)
    lie = Subject(
        name=lie.name,
        uri=f"file://{public}",
        digest=lie.digest,
        sha256=lie.sha256,
        dir_hash=lie.dir_hash,
    )
    ref = world.verdict(lie, Verdict.ALLOW, world.mallory)
    for uri in (
        f"file://{prod}",
        f"file://{tmp_path}/public/../prod/d.parquet",
        f"file://{tmp_path}/public/%2e%2e/prod/d.parquet",
        f"file://{tmp_path}/public/link/d.parquet",
    ):
        with pytest.raises(ClearanceRefused):
            world.open(Clearance(uri=uri, digest=lie.digest, receipts=(ref,)))
    world.gate(public, world.mallory)
    assert world.open(public)


def test_a_key_for_one_place_cannot_call_other_data_a_remainder(tmp_path):
    world = World(tmp_path, keys=limited(tmp_path))
    prod, public = (
        world.write_data([5], "prod/d.parquet"),
        world.write_data([6], "public/d.parquet"),
    )
    world.gate(public, world.mallory)
    receipt = world.verdict(subject(public), Verdict.QUARANTINE, world.mallory)
    child = subject(prod)
    world.derive(
        Subject(
            name=child.name,
            uri=f"file://{public}",
            digest=child.digest,
            sha256=child.sha256,
            dir_hash=child.dir_hash,
        ),
        subject(public),
        receipt,
        world.mallory,
    )
    with pytest.raises(ClearanceRefused):
        world.open(prod)


def test_an_approval_counts_only_where_its_key_may_speak(tmp_path):
    keys = f"stages: [approval], approvers: [ann], subjects: ['file://{tmp_path}/public/*']}}\n"
    world = World(tmp_path, keys=keys, purpose="    approvals: {by: [ann]}\n")
    for place, cleared in (("public", True), ("prod", False)):
        data = world.write_data([len(place)], f"{place}/d.parquet")
        world.gate(data)
        about = subject(data)
        approval = ApprovalStatement(
            subject=Subject(
                name="d.parquet",
                uri=f"file://{tmp_path}/public/d.parquet",
                digest=about.digest,
                sha256=about.sha256,
                dir_hash=about.dir_hash,
            ),
            action="train",
            for_run="",
            approver="ann",
            approved=True,
            factor="totp",
            factor_digest=about.sha256,
            expires=datetime.now(UTC) + timedelta(days=1),
            issued=datetime.now(UTC),
            run=RUN,
            invocation=place,
        )
        world.log(approval, world.mallory)
        if cleared:
            assert world.open(data)
        else:
            with pytest.raises(ClearanceRefused, match="not trusted for"):
                world.open(data)


SIGNED = "ledger:\n  key: keys/log.vkey\n"


def signed_world(folder, more=""):
    world = World(folder, ledger=SIGNED.replace("\n", "\n", 1) + more)
    new_note_key(default_ledger_key_path(world.evidence), folder / "keys/log.vkey", name="log.x")
    return world


def test_a_gate_does_not_extend_a_ledger_that_was_put_back(tmp_path):
    world = signed_world(tmp_path, "  remember: seen\n")
    data = world.write_data([1, 2])
    world.gate(data)
    ledger = world.evidence / "ledger"
    shutil.copytree(ledger, tmp_path / "old")
    with pytest.raises(GateBlocked):
        world.gate(world.write_data([-999], "b.parquet")).clear_or_raise()
    world.open(data)
    shutil.rmtree(ledger)
    (tmp_path / "old").rename(ledger)
    with pytest.raises(LedgerError, match="truncated or rolled back"):
        world.gate(data)
    with pytest.raises(LedgerError, match="truncated or rolled back"):
        world.open(data)
    shutil.rmtree(ledger)
    with pytest.raises(LedgerError):
        world.gate(data)


def test_a_no_is_heard_before_a_witness_saw_it_and_a_yes_is_not(tmp_path):
    world = signed_world(tmp_path, "  witnesses: [keys/w.vkey]\n")
    witness = NoteSigner("witness.x", Ed25519PrivateKey.generate(), COSIGNATURE)
    (tmp_path / "keys/w.vkey").write_text(f"{witness.verifier}\n")
    data, later = world.write_data([1, 2]), world.write_data([3], "later.parquet")
    world.gate(data)
    ledger = open_evidence(load_policy(world.policy)).ledger
    note = ledger.checkpoint().note
    ledger.attach(note + cosign(SignedCheckpoint.parse(note), witness).encode())
    assert world.open(data)
    world.gate(later)
    with pytest.raises(ClearanceRefused, match="no witness has seen it yet"):
        world.open(later)
    world.verdict(subject(data), Verdict.BLOCK, world.signer)
    with pytest.raises(ClearanceRefused, match="says block"):
        world.open(data)


@pytest.mark.parametrize(("days", "good"), [(0, True), (2, False)])
def test_an_old_cosignature_is_none_where_the_policy_says_how_old(tmp_path, days, good):
    world = signed_world(tmp_path, "  witnesses: [keys/w.vkey]\n  witnessed_within: 1d\n")
    witness = NoteSigner("witness.x", Ed25519PrivateKey.generate(), COSIGNATURE)
    (tmp_path / "keys/w.vkey").write_text(f"{witness.verifier}\n")
    data = world.write_data([1, 2])
    world.gate(data)
    ledger = open_evidence(load_policy(world.policy)).ledger
    note = ledger.checkpoint().note
    seen = datetime.now(UTC) - timedelta(days=days)
    line = cosign(SignedCheckpoint.parse(note), witness, clock=lambda: seen)
    ledger.attach(note + line.encode())
    if good:
        assert world.open(data)
        return
    with pytest.raises(LedgerError, match="from the last 1 day"):
        world.open(data)


def test_a_clock_behind_the_ledger_decides_nothing(tmp_path):
    world = World(tmp_path, purpose="    max_age: 7d\n")
    data = world.write_data([1, 2])
    world.gate(data)
    now = datetime.now(UTC)
    assert world.open(data, now=now - timedelta(minutes=4))
    with pytest.raises(ClearanceRefused, match="clock is behind"):
        world.open(data, now=now - timedelta(minutes=6))
    with pytest.raises(ClearanceRefused, match="older than"):
        world.open(data, now=now + timedelta(days=8))


@pytest.mark.parametrize("what", ["pipe", "folder", "huge"])
def test_evidence_that_is_no_plain_file_neither_hangs_nor_fills_memory(tmp_path, what):
    import os

    world = World(tmp_path)
    cleared = world.gate(world.write_data([1, 2])).clearance
    path = next((world.evidence / "receipts").iterdir())
    for ref in cleared.receipts:
        path = open_evidence(load_policy(world.policy)).receipt_path(ref.digest)
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(200 << 30)
    with pytest.raises(ClearanceRefused, match=r"missing, or is no plain file|was edited"):
        world.open(cleared)
