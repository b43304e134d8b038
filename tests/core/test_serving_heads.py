"""Heads: which version serves, who may say so, and every way to mislead a server."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest, canonical_json
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    GateBlocked,
    LedgerError,
    PolicyError,
    SluicegateError,
)
from sluicegate.gate import run_gate
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import new_key_pair
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import EventStatement, HeadStatement, Subject
from sluicegate.serving import list_heads, mend_head, pointer
from sluicegate.serving.history import read_history
from sluicegate.serving.memory import remember
from sluicegate.signing import open_evidence
from sluicegate.stages import registry
from sluicegate.testimony import LedgerRecords
from tests.aws import moto_server, point_at
from tests.serving_scenes import BUILT_IN, MODEL, LookAtModel, ServingScene

HERE = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    for name in ("SLUICEGATE_POLICY", "SLUICEGATE_SIGNING_KEY", "SLUICEGATE_HEADS_SEEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pointer, "_PAUSE_SECONDS", 0.01)
    # Durability is tested where it is made; here it would only take time.
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def scene(tmp_path) -> ServingScene:
    return ServingScene.new(tmp_path / "project")


@pytest.fixture
def served(scene) -> ServingScene:
    """Three versions were promoted, the last one serves."""
    scene.release("v1", "v2", "v3")
    return scene


def head_file(scene: ServingScene) -> Path:
    return Path(scene.place) / "models" / MODEL / "HEAD"


def records(scene: ServingScene) -> LedgerRecords:
    policy = load_policy(scene.policy)
    return LedgerRecords(open_evidence(policy), policy, datetime.now(UTC))


def newest(scene: ServingScene):
    return list_heads(MODEL, scene.policy).newest


def ledger_size(scene: ServingScene) -> int:
    return sum(1 for _ in open_evidence(load_policy(scene.policy)).receipts())


def next_head(scene: ServingScene, **changes) -> HeadStatement:
    """Return a head that would follow the newest one."""
    last = newest(scene)
    values = {
        "epoch": last.says.epoch + 1,
        "previous": last.digest,
        "invocation": os.urandom(4).hex(),
        "issued": datetime.now(UTC),
    }
    return replace(last.says, **(values | changes))


# -- the ordinary way -------------------------------------------------------------------------


def test_a_version_is_promoted_and_serves(scene):
    scene.back_up("v1")
    promoted = scene.promote("v1", reason="first release")
    assert (promoted.version, promoted.epoch, promoted.key) == ("v1", 1, "heads")
    assert scene.current() == promoted
    assert promoted.vault.local == Path(scene.place)
    assert promoted.subject.uri == f"file://{scene.place}/models/churn/v1"
    assert Digest.of(head_file(scene).read_bytes()) == promoted.receipt.digest
    stored = Path(scene.place) / "models/churn/v1/receipts"
    assert len(list(stored.iterdir())) == 3  # what was looked at, the backup, the head


def test_the_subject_of_a_head_is_the_one_of_the_verdicts(served):
    verdicts = [
        item.statement.subject
        for item in records(served)
        if item.statement.stage == "look-at-model"
    ]
    says = newest(served).says.subject
    assert [says.digest, says.sha256, says.dir_hash] == [
        verdicts[2].digest,
        verdicts[2].sha256,
        verdicts[2].dir_hash,
    ]


def test_rolling_back_serves_the_version_before_and_copies_nothing(served):
    before = {path for path in Path(served.place).rglob("*") if path.is_file()}
    back = served.roll_back(reason="v3 drifts")
    assert (back.version, back.epoch, back.action) == ("v2", 4, "roll-back")
    assert back.reason == "v3 drifts"
    assert served.current() == back
    added = {path for path in Path(served.place).rglob("*") if path.is_file()} - before
    assert {path.parent.name for path in added} == {"receipts"}


def test_rolling_back_twice_goes_further_back_and_not_forward_again(served):
    assert served.roll_back().version == "v2"
    assert served.roll_back().version == "v1"
    with pytest.raises(ClearanceRefused, match="no version before v1"):
        served.roll_back()
    assert served.promote("v3").epoch == 6
    assert served.roll_back().version == "v1"  # what served before v3 was promoted again


def test_rolling_back_to_a_version_or_an_epoch(served):
    assert served.roll_back(to="v1").version == "v1"
    assert served.roll_back(to=3).version == "v3"
    for to, what in (("v9", "v9"), (9, "epoch 9"), (0, "epoch 0"), (-1, "epoch -1")):
        with pytest.raises(ClearanceRefused, match=f"never served {what}"):
            served.roll_back(to=to)


def test_a_version_promoted_again_is_younger_and_not_its_own_predecessor(served):
    assert served.promote("v3").epoch == 4
    assert served.roll_back().version == "v2"


def test_a_roll_back_needs_a_reason_and_a_head(scene):
    scene.back_up("v1")
    with pytest.raises(ConfigurationError, match="needs a reason"):
        scene.roll_back(reason=" ")
    with pytest.raises(ClearanceRefused, match="was ever promoted"):
        scene.roll_back()
    with pytest.raises(ClearanceRefused, match="was ever promoted"):
        scene.current()
    with pytest.raises(ConfigurationError, match="more than 500"):
        scene.promote("v1", reason="x" * 501)


def test_models_have_chains_of_their_own(served):
    history = read_history(records(served), "other")
    assert (history.heads, history.epoch) == ((), 0)


# -- who may --------------------------------------------------------------------------------


def test_a_key_of_a_gate_cannot_sign_a_head_not_even_with_a_star(served):
    size = ledger_size(served)
    with pytest.raises(ConfigurationError, match="is not trusted for head"):
        served.roll_back(signer=served.gates)
    with pytest.raises(ConfigurationError, match="does not trust"):
        served.roll_back(signer=new_key_pair(served.folder / "x", served.folder / "x.pub"))
    assert ledger_size(served) == size


def test_a_head_that_a_gate_key_signed_past_the_checks_does_not_count(served):
    before = served.current()
    served.log(next_head(served, version="v1", action="roll-back"), served.gates)
    assert served.current() == before
    assert list_heads(MODEL, served.policy).epoch == 3


def test_a_forged_head_as_pointer_is_refused(served):
    ref = served.log(next_head(served, version="v1"), served.gates)
    evidence = open_evidence(load_policy(served.policy))
    head_file(served).write_bytes(evidence.ledger.get(ref.index))
    with pytest.raises(ClearanceRefused, match="is forged, or the ledger was cut"):
        served.current()


def test_a_key_for_one_vault_cannot_promote_in_another(scene):
    text = scene.policy.read_text().replace(
        "[head, event]", "[head, event]\n    subjects: ['s3://*']"
    )
    scene.policy.write_text(text)
    scene.back_up("v1")
    with pytest.raises(ConfigurationError, match="is not trusted for file://"):
        scene.promote("v1")


def test_a_head_of_a_key_that_has_expired_does_not_serve_and_can_be_renewed(served):
    new_key_pair(served.folder / "new.key.pem", served.folder / "keys/new.pub.pem")
    text = served.policy.read_text().replace(
        "[head, event]", "[head, event]\n    not_after: 2026-01-01"
    )
    served.policy.write_text(text + "  - {name: new, file: keys/new.pub.pem, stages: [head]}\n")
    with pytest.raises(ClearanceRefused, match="does not count"):
        served.current()
    from sluicegate.receipts.keys import FileSigner

    signer = FileSigner.load(served.folder / "new.key.pem", None)
    assert served.promote("v3", signer=signer).epoch == 4
    assert served.current().key == "new"


def test_an_expired_key_gives_the_name_of_a_version_to_nothing_else(scene):
    scene.release("v1")
    scene.back_up("v0", "old weights\n")
    scene.back_up("v2")
    signer = scene.rotate()
    scene.promote("v1", signer=signer)
    scene.redirect("v2", to="v0")
    pointer_before = head_file(scene).read_bytes()
    for attempt in (scene.current, lambda: mend_head(MODEL, scene.policy)):
        with pytest.raises(ClearanceRefused, match="does not count"):
            attempt()
    assert head_file(scene).read_bytes() == pointer_before
    served = scene.promote("v2", signer=signer)
    assert (served.epoch, str(served.vault)) == (4, str(scene.vault.uri))
    assert served.subject.digest == scene.vault.manifest(MODEL, "v2", served.subject.digest).digest
    assert scene.current().subject.uri == str(scene.vault.version_uri(MODEL, "v2"))
    with pytest.raises(ClearanceRefused, match="name the version"):
        scene.roll_back(signer=signer)
    with pytest.raises(ClearanceRefused, match=r"v2 means two models: .* in epoch 3 \(v2"):
        scene.roll_back(to=3, signer=signer)
    assert scene.roll_back(to="v1", signer=signer).version == "v1"


def test_a_backup_confirms_what_an_expired_key_said(served):
    signer = served.rotate()
    served.promote("v3", signer=signer)
    back = served.roll_back(to=2, signer=signer)
    assert (back.version, back.epoch) == ("v2", 5)
    assert served.current().key == "heads2"


def test_an_older_pointer_is_told_under_heads_that_do_not_count_too(served):
    signer = served.rotate()
    old = head_file(served).read_bytes()
    served.promote("v2", signer=signer)
    served.redirect("v3", to="v1")
    head_file(served).write_bytes(old)
    with pytest.raises(ClearanceRefused, match=r"is an old one: expected epoch 4 \(v2"):
        served.promote("v2", signer=signer)


def test_a_head_and_a_backup_that_disagree_are_both_named(served):
    kept = served.back_up("v4")
    other = replace(served, place=str(served.folder / "other-vault"))
    other.back_up("v4", "other weights")
    uri = str(served.vault.version_uri(MODEL, "v4"))
    subject = replace(kept.statement.subject, name="v4", uri=uri)
    served.log(next_head(served, version="v4", subject=subject))
    mend_head(MODEL, served.policy)
    with pytest.raises(ClearanceRefused, match=r"in epoch 4 \(v4.*was backed up \(ledger entry"):
        served.promote("v4")


def test_a_revoked_key_takes_back_the_heads_after_its_revocation(served):
    at = newest(served).record.index
    text = served.policy.read_text().replace(
        "[head, event]", f"[head, event]\n    revoked_at: {at}"
    )
    served.policy.write_text(text)
    assert list_heads(MODEL, served.policy).epoch == 2
    with pytest.raises(ClearanceRefused, match=r"HEAD .* is forged, or the ledger was cut"):
        served.current()
    mend_head(MODEL, served.policy)
    assert served.current().version == "v2"


# -- clearance ------------------------------------------------------------------------------


def test_a_version_that_no_gate_cleared_is_not_promoted(scene):
    folder = scene.model("v1")
    run_gate(scene.stage("v1"), folder, scene.policy, signer=scene.gates)
    size = ledger_size(scene)
    with pytest.raises(ClearanceRefused, match="'deploy' needs look-at-model"):
        scene.promote("v1")
    assert ledger_size(scene) == size


def test_a_version_that_was_found_bad_later_is_not_rolled_back_to(served):
    served.policy.write_text(served.policy.read_text())
    folder = served.folder / "models/v2"

    class Harsh(LookAtModel):
        def run(self, snapshot, context):
            from sluicegate.model import Check, Finding, Report

            return Report(checks=(Check.failed("toy.evil", [Finding(message="a backdoor")]),))

    with pytest.raises(GateBlocked):
        run_gate(Harsh(), folder, served.policy, signer=served.gates).clear_or_raise()
    with pytest.raises(ClearanceRefused, match="says block"):
        served.roll_back(to="v2")
    with pytest.raises(ClearanceRefused, match="says block"):
        served.promote("v2")
    assert served.roll_back(to="v1").version == "v1"


def test_the_policy_of_now_counts_and_not_the_one_of_then(served):
    text = served.policy.read_text().replace("stages: [look", "max_age: 0d\n    stages: [look")
    text = text.replace("max_age: 0d", "max_age: 1m")
    served.policy.write_text(text)
    with pytest.raises(ClearanceRefused, match="under other rules"):
        served.roll_back()


def test_a_server_may_ask_for_the_purpose_as_well(served):
    assert served.current(purpose="deploy").version == "v3"
    with pytest.raises(PolicyError, match="no purpose 'serve'"):
        served.current(purpose="serve")


def without_purpose(scene: ServingScene) -> None:
    text = scene.policy.read_text().replace("deploy:", "something-else:")
    scene.policy.write_text(text)


def test_without_a_purpose_it_takes_an_override_which_is_logged(scene):
    without_purpose(scene)
    scene.back_up("v1")
    with pytest.raises(ClearanceRefused, match="has no purpose 'deploy'"):
        scene.promote("v1")
    promoted = scene.promote("v1", without_clearance=True, reason="there is no policy yet")
    events = [
        item.statement
        for item in records(scene)
        if isinstance(item.statement, EventStatement)
        and item.statement.kind == "override.clearance"
    ]
    assert len(events) == 1
    assert events[0].details["reason"] == "there is no policy yet"
    assert events[0].details["digest"] == str(promoted.subject.digest)


def test_an_override_takes_a_key_that_may_record_it(scene):
    without_purpose(scene)
    scene.policy.write_text(scene.policy.read_text().replace("[head, event]", "[head]"))
    scene.back_up("v1")
    size = ledger_size(scene)
    with pytest.raises(ConfigurationError, match="not trusted for event"):
        scene.promote("v1", without_clearance=True)
    assert ledger_size(scene) == size


def test_nothing_overrides_a_purpose_that_the_policy_has(served):
    with pytest.raises(ConfigurationError, match="cannot be left out"):
        served.roll_back(without_clearance=True)


# -- the vault ------------------------------------------------------------------------------


def blob(scene: ServingScene, version: str) -> Path:
    data = (scene.folder / "models" / version / "weights.bin").read_bytes()
    digest = Digest.of(data).hex
    return Path(scene.place) / "blobs/sha256" / digest[:2] / digest


def test_a_flipped_bit_stops_a_roll_back_before_anything_is_signed(served):
    path = blob(served, "v2")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    size = ledger_size(served)
    with pytest.raises(ClearanceRefused, match="has other bytes"):
        served.roll_back()
    assert ledger_size(served) == size
    assert served.current().version == "v3"


def test_a_missing_blob_and_a_swapped_one_stop_it_too(served):
    path = blob(served, "v2")
    other = blob(served, "v1").read_bytes()
    path.unlink()
    with pytest.raises(ClearanceRefused, match="is missing"):
        served.roll_back()
    path.write_bytes(other)
    with pytest.raises(ClearanceRefused, match="has other bytes"):
        served.roll_back()


def swap_manifests(scene: ServingScene, one: str, other: str) -> None:
    folder = Path(scene.place) / "models" / MODEL
    (folder / one).rename(folder / "x")
    (folder / other).rename(folder / one)
    (folder / "x").rename(folder / other)


def test_manifests_that_changed_places_are_refused(served):
    swap_manifests(served, "v1", "v2")
    with pytest.raises(ClearanceRefused, match=r"v2 in the vault .* is not what it was"):
        served.roll_back()


def test_so_are_those_of_versions_that_never_served(scene):
    scene.back_up("v1")
    scene.back_up("v2")
    swap_manifests(scene, "v1", "v2")
    with pytest.raises(ClearanceRefused, match=r"v1 in the vault .* is not what it was"):
        scene.promote("v1")


def test_a_version_that_only_lies_in_the_vault_was_not_backed_up(scene):
    scene.back_up("v1")
    folder = Path(scene.place) / "models" / MODEL
    shutil.copytree(folder / "v1", folder / "v2")
    with pytest.raises(ClearanceRefused, match="no trusted receipt says that churn v2"):
        scene.promote("v2")


def test_one_name_for_two_models_in_two_vaults_is_no_name(scene):
    scene.back_up("v1")
    other = replace(scene, place=str(scene.folder / "other-vault"))
    other.back_up("v1", "other weights")
    with pytest.raises(ClearanceRefused, match="v1 was backed up as different models"):
        scene.promote("v1")


def test_a_backup_that_a_stranger_vouches_for_does_not_count(scene):
    stranger = new_key_pair(scene.folder / "x.pem", scene.folder / "x.pub.pem")
    folder = scene.model("v1")
    with pytest.raises(SluicegateError, match="does not trust"):
        run_gate(scene.stage("v1"), folder, scene.policy, signer=stranger)
    with pytest.raises(ClearanceRefused, match="no trusted receipt"):
        scene.promote("v1")


def test_a_report_that_was_edited_does_not_rename_a_backup(scene):
    outcome = scene.back_up("v1")
    report = scene.folder / "evidence/reports" / f"{outcome.statement.report.hex}.json"
    report.write_bytes(report.read_bytes().replace(b'"v1"', b'"v2"'))
    for version in ("v1", "v2"):
        with pytest.raises(ClearanceRefused, match=rf"report .*{report.name} is missing or was"):
            scene.promote(version)


def report_of(scene: ServingScene, outcome) -> Path:
    return scene.folder / "evidence/reports" / f"{outcome.statement.report.hex}.json"


def test_a_report_that_was_removed_hides_no_other_model_of_that_name(scene):
    outcome = scene.back_up("v1")
    replace(scene, place=str(scene.folder / "other-vault")).back_up("v1", "other weights")
    report_of(scene, outcome).unlink()
    with pytest.raises(ClearanceRefused, match=r"is about churn v1: its report"):
        scene.promote("v1")


def test_a_report_that_was_removed_hides_no_later_word(scene):
    scene.back_up("v1")
    path, folder = blob(scene, "v1"), scene.folder / "models/v1"
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"bad")
    again = scene.stage("v1")
    outcomes = [
        run_gate(stage, folder, scene.policy, signer=scene.gates)
        for stage in (again, replace(again, retain_days=31))
    ]
    path.write_bytes(good)
    report_of(scene, outcomes[0]).unlink()
    with pytest.raises(ClearanceRefused, match="newest word on the backup of churn v1 is block"):
        scene.promote("v1")
    report_of(scene, outcomes[1]).unlink()
    with pytest.raises(
        ClearanceRefused, match=r"cannot tell whether .* \(block\), is about churn v1"
    ):
        scene.promote("v1")
    run_gate(again, folder, scene.policy, signer=scene.gates)
    assert scene.promote("v1").epoch == 1


def test_a_lost_report_of_a_backup_that_failed_keeps_nobody_else_from_serving(scene):
    scene.back_up("v1")
    folder = scene.model("v2")
    stage = replace(scene.stage("v2"), vault=str(folder / "inside"))
    outcome = run_gate(stage, folder, scene.policy, signer=scene.gates)
    assert not outcome.verdict.clears
    report_of(scene, outcome).unlink()
    assert scene.promote("v1").epoch == 1


def test_a_backup_that_was_found_damaged_later_is_not_promoted_until_it_is_mended(scene):
    scene.back_up("v1")
    path = blob(scene, "v1")
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"bad")
    folder = scene.folder / "models/v1"
    run_gate(scene.stage("v1"), folder, scene.policy, signer=scene.gates)
    path.write_bytes(good)
    with pytest.raises(ClearanceRefused, match="newest word on the backup of churn v1 is block"):
        scene.promote("v1")
    run_gate(scene.stage("v1"), folder, scene.policy, signer=scene.gates)
    assert scene.promote("v1").epoch == 1


# -- the pointer ----------------------------------------------------------------------------


def test_an_older_signed_pointer_is_a_roll_back_attack(scene):
    scene.release("v1")
    old = head_file(scene).read_bytes()
    scene.release("v2")
    head_file(scene).write_bytes(old)
    for attempt in (scene.current, scene.roll_back, lambda: scene.promote("v2")):
        with pytest.raises(
            ClearanceRefused, match=r"is an old one: expected epoch 2 \(v2.*found epoch 1 \(v1"
        ):
            attempt()
    assert mend_head(MODEL, scene.policy).version == "v2"
    assert scene.current().version == "v2"


def test_a_pointer_that_was_deleted_is_told(served):
    head_file(served).unlink()
    with pytest.raises(ClearanceRefused, match=r"HEAD of churn in .* is missing"):
        served.current()
    with pytest.raises(ClearanceRefused, match="is missing"):
        served.roll_back()


def test_a_pointer_of_rubbish_is_told(served):
    head_file(served).write_bytes(b"rubbish")
    with pytest.raises(ClearanceRefused, match="is forged, or the ledger was cut"):
        served.current()


def test_a_pointer_for_a_model_that_the_ledger_does_not_know_is_told(served):
    policy = load_policy(served.policy)
    shutil.rmtree(policy.evidence / "ledger")
    with pytest.raises(ClearanceRefused, match="the ledger has no head, and there is"):
        served.current(vault=served.place)
    served.back_up("v4")
    with pytest.raises(ClearanceRefused, match="the ledger has no head, and there is"):
        served.promote("v4")


def test_a_promotion_that_was_interrupted_is_mended(served, monkeypatch):
    from sluicegate.serving import change

    def die(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(change, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            served.roll_back()
    with pytest.raises(ClearanceRefused, match="--mend"):
        served.current()
    assert mend_head(MODEL, served.policy).version == "v2"
    assert served.current().epoch == 4


def test_a_pointer_that_follows_in_a_moment_is_waited_for(served, monkeypatch):
    old = head_file(served).read_bytes()
    served.roll_back()
    new = head_file(served).read_bytes()
    head_file(served).write_bytes(old)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        head_file(served).write_bytes(new)

    monkeypatch.setattr(pointer.time, "sleep", sleep)
    assert served.current().version == "v2"
    assert len(waits) == 1


# -- the chain ------------------------------------------------------------------------------


def test_a_head_that_leaves_epochs_out_breaks_the_chain(served):
    served.log(next_head(served, epoch=9))
    for attempt in (served.current, served.roll_back):
        with pytest.raises(ClearanceRefused, match="comes after epoch 3: heads are missing"):
            attempt()


def test_two_heads_of_one_epoch_after_different_ones_are_a_fork(served):
    heads = list_heads(MODEL, served.policy).heads
    served.log(next_head(served, epoch=3, previous=heads[0].digest, version="v1"))
    with pytest.raises(
        ClearanceRefused, match=r"forked: two heads of epoch 3: epoch 3 \(v3.* and epoch 3 \(v1"
    ):
        served.current()


def test_of_two_heads_after_the_same_one_the_first_logged_counts(served):
    heads = list_heads(MODEL, served.policy).heads
    rival = replace(heads[1].says, version="v1", subject=heads[0].says.subject, invocation="x")
    served.log(rival)
    assert served.current().version == "v3"
    history = list_heads(MODEL, served.policy)
    assert [head.says.version for head in history.superseded] == ["v1"]
    assert served.promote("v2").epoch == 4


def test_nothing_may_be_built_on_a_head_that_lost(served):
    heads = list_heads(MODEL, served.policy).heads
    lost = served.log(replace(heads[2].says, version="v1", invocation="lost"))
    served.log(next_head(served, epoch=4, previous=lost.digest))
    with pytest.raises(ClearanceRefused, match="which is superseded: epoch 3"):
        served.current()


def test_a_copy_of_an_old_head_in_the_ledger_changes_nothing(served):
    policy = load_policy(served.policy)
    evidence = open_evidence(policy, write=True)
    old = list_heads(MODEL, served.policy).heads[0]
    evidence.log(evidence.ledger.get(old.record.index))
    assert served.current().version == "v3"


def test_a_version_that_means_two_models_is_refused(served):
    heads = list_heads(MODEL, served.policy).heads
    served.log(next_head(served, version="v1", subject=heads[1].says.subject))
    with pytest.raises(ClearanceRefused, match="the version v1 of churn means two models"):
        served.current()


def test_a_head_that_points_out_of_its_vault_is_refused(served):
    says = newest(served).says
    elsewhere = replace(says.subject, uri="s3://evil/models/churn/v9")
    served.log(next_head(served, subject=elsewhere))
    with pytest.raises(ClearanceRefused, match="is no place of v3 in a vault"):
        served.current()


SUBJECT = Subject.of_document("m", b"m", uri="s3://b/v/models/m/v")


def a_record(index: int, epoch: int, previous: Digest | None) -> Record:
    says = HeadStatement(
        subject=SUBJECT,
        model="m",
        version="v",
        action="promote",
        epoch=epoch,
        previous=previous,
        issued=datetime(2026, 1, 1, tzinfo=UTC),
        run=RunIdentity(orchestrator="cli"),
        invocation=str(index),
    )
    digest = Digest.of(canonical_json(says.to_json()))
    return Record(index=index, digest=digest, payload=digest, statement=says, key="k", key_id="k")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 8)), max_size=8))
def test_whatever_is_logged_the_chain_that_counts_is_whole_and_only_grows(steps):
    """Later entries never change which heads counted before; at worst nothing counts."""
    made: list[Record] = []
    chains: list[tuple[Digest, ...]] = []
    for index, (epoch, choice) in enumerate(steps):
        earlier = made[choice % len(made)].digest if made and epoch > 1 else None
        if (epoch == 1) != (earlier is None):
            continue  # no such statement can be read
        made.append(a_record(index, epoch, earlier))
        try:
            history = read_history(made, "m")
        except ClearanceRefused:
            break
        assert [head.says.epoch for head in history.heads] == list(range(1, history.epoch + 1))
        for before, after in zip(history.heads, history.heads[1:], strict=False):
            assert after.says.previous == before.digest
            assert after.record.index > before.record.index
        assert len(history.heads) + len(history.superseded) == len(made)
        chain = tuple(head.digest for head in history.heads)
        assert not chains or chain[: len(chains[-1])] == chains[-1]
        chains.append(chain)


# -- two at once ----------------------------------------------------------------------------


def test_who_comes_second_is_told_and_its_head_does_not_count(served, monkeypatch):
    """Both read the ledger before either has logged: the worst moment."""
    from sluicegate.serving.change import Change

    carry_out = Change._must_be_unchanged
    entered = []

    def let_another_in(change):
        carry_out(change)
        if not entered:
            entered.append(True)
            served.roll_back(to="v1")

    monkeypatch.setattr(Change, "_must_be_unchanged", let_another_in)
    with pytest.raises(ClearanceRefused, match=r"somebody else changed .* it is epoch 4 \(v1"):
        served.roll_back(to="v2")
    history = list_heads(MODEL, served.policy)
    assert (history.epoch, len(history.superseded)) == (4, 1)
    assert served.current().version == "v1"


def test_who_sees_the_other_in_time_logs_nothing(served, monkeypatch):
    from sluicegate.serving.change import Change

    verify = Change._verify_bytes
    entered = []

    def let_another_in(change, *args):
        if not entered:
            entered.append(True)
            served.roll_back(to="v1")
        return verify(change, *args)

    monkeypatch.setattr(Change, "_verify_bytes", let_another_in)
    with pytest.raises(ClearanceRefused, match="somebody else changed"):
        served.roll_back(to="v2")
    assert not list_heads(MODEL, served.policy).superseded


_RACER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from sluicegate.stages import registry
from tests.serving_scenes import BUILT_IN
registry.BUILT_IN.update(BUILT_IN)
from sluicegate.errors import ClearanceRefused
from sluicegate.receipts.keys import FileSigner
from sluicegate.serving import roll_back
folder = Path(sys.argv[2])
signer = FileSigner.load(folder / "heads.key.pem", None)
print("ready", flush=True)
sys.stdin.readline()
try:
    policy, to = folder / "policy.yaml", sys.argv[3]
    served = roll_back("churn", policy, to=to, reason="race", signer=signer)
    print("won", served.epoch, served.version)
except ClearanceRefused as error:
    print("refused", error.what)
"""


def test_many_processes_at_once_leave_one_chain_and_nobody_is_told_wrong(served):
    targets = ["v1", "v2"] * 2
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, HERE, str(served.folder), target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for target in targets
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0].split() for racer in racers]
    history = list_heads(MODEL, served.policy)
    won = {int(words[1]): words[2] for words in answers if words[0] == "won"}
    refused = [words for words in answers if words[0] == "refused"]
    assert won
    assert len(won) + len(refused) == len(racers)
    assert {head.says.epoch: head.says.version for head in history.heads[3:]} == won
    assert len(history.superseded) <= len(refused)
    assert Digest.of(head_file(served).read_bytes()) == history.newest.digest
    assert served.current().epoch == max(won)


# -- what a server remembers ------------------------------------------------------------------


@pytest.fixture
def seen(tmp_path) -> Path:
    return tmp_path / "server" / "seen.json"


def test_a_ledger_that_was_cut_short_is_seen_by_who_remembers(scene, seen):
    scene.release("v1", "v2")
    evidence = scene.folder / "evidence"
    shutil.copytree(evidence, scene.folder / "old")
    pointer_then = head_file(scene).read_bytes()
    scene.back_up("v3")
    scene.promote("v3")
    assert scene.current(seen=seen).version == "v3"
    assert stat.S_IMODE(seen.stat().st_mode) == 0o600
    # The attacker puts back a consistent state of last week, ledger and pointer alike.
    shutil.rmtree(evidence)
    shutil.copytree(scene.folder / "old", evidence)
    head_file(scene).write_bytes(pointer_then)
    assert scene.current().version == "v2"  # nobody remembers: not seen
    for attempt in (
        lambda: scene.current(seen=seen),
        lambda: scene.roll_back(seen=seen),
        lambda: list_heads(MODEL, scene.policy, seen=seen),
        lambda: mend_head(MODEL, scene.policy, seen=seen),
    ):
        with pytest.raises(ClearanceRefused, match=r"was seen at epoch 3 .* ends at epoch 2"):
            attempt()


def test_another_history_of_the_same_length_is_seen(scene, seen):
    scene.release("v1")
    scene.back_up("v2")
    scene.back_up("v3")
    evidence = scene.folder / "evidence"
    shutil.copytree(evidence, scene.folder / "old")
    pointer_then = head_file(scene).read_bytes()
    scene.promote("v2")
    scene.current(seen=seen)
    shutil.rmtree(evidence)
    shutil.copytree(scene.folder / "old", evidence)
    head_file(scene).write_bytes(pointer_then)
    scene.promote("v3")
    scene.promote("v1")
    with pytest.raises(ClearanceRefused, match="another head there, epoch 2"):
        scene.current(seen=seen)


def test_what_is_remembered_grows_with_the_chain_and_holds_many_models(served, seen):
    served.current(seen=seen)
    served.roll_back(seen=seen)
    served.current(seen=seen)
    (entry,) = json.loads(seen.read_bytes()).values()
    assert entry["epoch"] == 4
    other = read_history([a_record(0, 1, None)], "m")
    remember(seen, "elsewhere", other)
    assert len(json.loads(seen.read_bytes())) == 2
    assert served.current(seen=seen).epoch == 4


def test_the_environment_names_where_to_remember(served, seen, monkeypatch):
    monkeypatch.setenv("SLUICEGATE_HEADS_SEEN", str(seen))
    served.current()
    assert seen.exists()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"a":{}}', b'{"a":{"epoch":true,"receipt":"00"}}', b"{", b'{"a":1}']
)
def test_a_memory_that_is_damaged_is_not_begun_anew(served, seen, text):
    seen.parent.mkdir()
    seen.write_bytes(text)
    with pytest.raises(LedgerError, match="is damaged"):
        served.current(seen=seen)
    assert seen.read_bytes() == text


def test_a_pipe_in_place_of_the_memory_is_not_waited_for(served, seen):
    seen.parent.mkdir()
    os.mkfifo(seen)
    with pytest.raises(LedgerError, match="not a plain file"):
        served.current(seen=seen)


def test_a_memory_that_cannot_be_kept_is_no_pass(served, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LedgerError, match="cannot lock"):
        served.current(seen=tmp_path / "file" / "seen.json")


# -- freshness --------------------------------------------------------------------------------


def test_a_head_that_nobody_renewed_is_told_as_frozen(served):
    later = datetime.now(UTC) + timedelta(days=8)
    week = timedelta(days=7)
    assert served.current(max_age=week).version == "v3"
    assert served.current(now=later).version == "v3"
    with pytest.raises(ClearanceRefused, match="older than 7 days"):
        served.current(now=later, max_age=week)


def test_a_head_of_the_future_does_not_serve(served):
    served.log(next_head(served, issued=datetime.now(UTC) + timedelta(hours=1)))
    with pytest.raises(ClearanceRefused, match="issued in the future"):
        mend_head(MODEL, served.policy)
    with pytest.raises(ClearanceRefused, match="issued in the future"):
        served.current()
    with pytest.raises(ClearanceRefused, match="issued in the future"):
        served.roll_back()
    with pytest.raises(ClearanceRefused, match="issued in the future"):
        served.promote("v3")


# -- S3 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


def test_the_same_on_s3_with_versions_and_locks(server, monkeypatch, tmp_path):
    point_at(server, monkeypatch, tmp_path, service="S3")
    client = boto3.client("s3")
    client.create_bucket(Bucket="heads", ObjectLockEnabledForBucket=True)
    scene = ServingScene.new(tmp_path / "project", "s3://heads/vault")
    scene.release("v1", "v2")
    assert scene.roll_back().version == "v1"
    assert scene.current().epoch == 3
    head = {"Bucket": "heads", "Key": "vault/models/churn/HEAD"}
    versions = client.list_object_versions(Bucket="heads", Prefix=head["Key"])["Versions"]
    assert len(versions) == 3
    # The head may be replaced; the receipts beside the version may not be removed.
    assert "ObjectLockMode" not in client.head_object(**head)
    for one in client.list_object_versions(Bucket="heads", Prefix="vault/models/churn/v1/")[
        "Versions"
    ]:
        described = client.head_object(Bucket="heads", Key=one["Key"])
        assert described["ObjectLockMode"] == "COMPLIANCE"
    # An older version of the pointer, brought back as the newest.
    old = client.get_object(**head, VersionId=versions[1]["VersionId"])["Body"].read()
    client.put_object(**head, Body=old)
    with pytest.raises(ClearanceRefused, match="is an old one"):
        scene.current()
    mend_head(MODEL, scene.policy)
    client.delete_object(**head)
    with pytest.raises(ClearanceRefused, match="is missing"):
        scene.current()
    mend_head(MODEL, scene.policy)
    assert scene.current().version == "v1"
    # Poison over a blob, and a delete marker over another: the earlier versions serve.
    for number, item in enumerate(
        client.list_objects_v2(Bucket="heads", Prefix="vault/blobs")["Contents"]
    ):
        if number % 2:
            client.put_object(Bucket="heads", Key=item["Key"], Body=b"poison")
        else:
            client.delete_object(Bucket="heads", Key=item["Key"])
    assert scene.roll_back(to="v2").version == "v2"
