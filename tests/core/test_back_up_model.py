"""Backing a model up through the generic gate: stored, read back, locked, with its receipts."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import boto3
import pytest

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError, GateBlocked, StageError, SubjectError
from sluicegate.gate import run_gate
from sluicegate.model import Verdict
from sluicegate.policy.load import load_policy
from sluicegate.stages import registry
from sluicegate.stages.backup import BackUpModel
from sluicegate.stages.base import Context, Stage
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import version_name
from sluicegate.storage.vault_base import Lock
from tests.aws import moto_server, point_at
from tests.serving_scenes import BUILT_IN, ServingScene


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    for name in ("SLUICEGATE_POLICY", "SLUICEGATE_SIGNING_KEY", "SLUICEGATE_HEADS_SEEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def scene(tmp_path) -> ServingScene:
    return ServingScene.new(tmp_path / "project")


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


@pytest.fixture
def client(server, monkeypatch, tmp_path):
    import requests

    point_at(server, monkeypatch, tmp_path, service="S3")
    requests.post(f"{server}/moto-api/reset", timeout=10)
    made = boto3.client("s3")
    made.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    made.create_bucket(Bucket="plain")
    return made


@pytest.fixture
def cloud(client, tmp_path) -> ServingScene:
    return ServingScene.new(tmp_path / "project", "s3://locked/vault")


def examine(scene: ServingScene, version: str = "v1", **options):
    folder = scene.folder / "models" / version
    if not folder.exists():
        scene.model(version)
    return run_gate(scene.stage(version, **options), folder, scene.policy, signer=scene.gates)


def outcomes(outcome) -> dict[str, str]:
    return {check["id"]: check["outcome"] for check in outcome.document["checks"]}


def test_it_is_a_stage_and_imports_nothing_heavy():
    assert isinstance(BackUpModel(vault="/v", model="m"), Stage)
    code = (
        "import sys; from sluicegate.stages.backup import BackUpModel as B; import "
        "sluicegate.serving; B(vault='s3://b/v', model='m'); print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"boto3", "botocore", "numpy", "pandas"} & set(result.stdout.split())


def test_a_clean_backup_in_a_folder_is_whole_and_warns_that_it_has_no_lock(scene):
    outcome = scene.back_up("v1")
    assert outcome.verdict is Verdict.WARN
    assert outcomes(outcome) == {
        "backup.isolated": "passed",
        "backup.version": "passed",
        "backup.stored": "passed",
        "backup.undisturbed": "passed",
        "backup.locked": "failed",
        "backup.receipts": "passed",
    }
    assert outcome.judgement.reasons[0].startswith("backup.locked: no lock was asked for")
    folder = scene.folder / "vault/models/churn/v1"
    manifest = take_snapshot(SubjectUri.parse(scene.model("v1"))).manifest
    assert (folder / "manifest.ndjson").read_bytes() == manifest.ndjson()
    (receipt,) = (folder / "receipts").iterdir()
    assert Digest.of(receipt.read_bytes()).hex == receipt.name.removesuffix(".sigstore.json")


def test_a_folder_is_blocked_for_who_asks_for_a_lock(scene):
    scene.model("v1")
    folder = scene.folder / "models/v1"
    stage = BackUpModel(vault=scene.place, model="churn")
    with pytest.raises(GateBlocked, match=r"backup\.locked: .* has no Object Lock"):
        run_gate(stage, folder, scene.policy, signer=scene.gates).clear_or_raise()
    # It is stored all the same: an unlocked backup is better than none.
    assert (scene.folder / "vault/models/churn").exists()


def test_doing_it_again_stores_nothing_and_says_the_same(scene):
    first = scene.back_up("v1")
    before = {path: path.stat().st_mtime_ns for path in (scene.folder / "vault").rglob("*.*")}
    again = examine(scene)
    assert again.verdict is first.verdict
    assert outcomes(again) == outcomes(first)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_two_versions_share_is_stored_once(scene):
    scene.back_up("v1")
    one = sum(path.is_file() for path in (scene.folder / "vault/blobs").rglob("*"))
    scene.back_up("v2")
    two = sum(path.is_file() for path in (scene.folder / "vault/blobs").rglob("*"))
    assert (one, two) == (3, 4)


def test_a_version_without_a_name_is_named_by_its_digest(scene):
    folder = scene.model("v1")
    stage = BackUpModel(vault=scene.place, model="churn", lock="none")
    run_gate(stage, folder, scene.policy, signer=scene.gates)
    name = version_name(take_snapshot(SubjectUri.parse(folder)).digest)
    assert (scene.folder / "vault/models/churn" / name / "manifest.ndjson").exists()


def test_a_purpose_can_ask_for_a_backup(scene):
    text = scene.policy.read_text().replace(
        "stages: [look-at-model]",
        f"stages: [back-up-model: {{vault: {scene.place}, model: churn, lock: none}}]",
    )
    scene.policy.write_text(text)
    need = load_policy(scene.policy).purpose("deploy").requirements[0]
    cleared = run_gate(need.stage, scene.model("v1"), scene.policy, signer=scene.gates)
    assert cleared.clear_or_raise().open("deploy", scene.policy).files


# -- names ------------------------------------------------------------------------------------


def test_the_name_of_a_version_never_becomes_another_model(scene):
    scene.back_up("v1")
    (scene.folder / "models/v1/weights.bin").write_text("other weights")
    blobs = set((scene.folder / "vault/blobs").rglob("*"))
    outcome = examine(scene)
    assert outcome.verdict is Verdict.BLOCK
    assert "churn v1 is another model already" in outcome.judgement.reasons[0]
    assert set((scene.folder / "vault/blobs").rglob("*")) == blobs  # nothing was stored
    with pytest.raises(GateBlocked, match=r"backup\.version"):
        outcome.clear_or_raise()


def test_nor_does_it_where_the_manifest_was_removed_but_the_ledger_remembers(scene):
    scene.release("v1")
    (scene.folder / "vault/models/churn/v1/manifest.ndjson").unlink()
    (scene.folder / "models/v1/weights.bin").write_text("other weights")
    outcome = examine(scene)
    assert "(ledger entry " in outcome.judgement.reasons[0]
    assert outcome.verdict is Verdict.BLOCK


def test_a_head_of_an_expired_key_takes_no_name(scene):
    examine(scene)
    scene.rotate()
    scene.redirect("v2", to="v1")
    assert examine(scene, "v2").verdict.clears


def test_nor_does_it_where_a_delete_marker_hides_the_manifest(cloud, client):
    cloud.back_up("v1")
    client.delete_object(Bucket="locked", Key="vault/models/churn/v1/manifest.ndjson")
    (cloud.folder / "models/v1/weights.bin").write_text("other weights")
    assert outcomes(examine(cloud))["backup.version"] == "failed"


@pytest.mark.parametrize("inside", ["models/v1", "models/v1/vault", "models", ""])
def test_a_vault_in_the_subject_or_around_it_is_refused_before_anything_is_written(scene, inside):
    folder = scene.model("v1")
    stage = BackUpModel(
        vault=str(scene.folder / inside), model="churn", model_version="v1", lock="none"
    )
    before = sorted(folder.rglob("*"))
    outcome = run_gate(stage, folder, scene.policy, signer=scene.gates)
    assert outcome.verdict is Verdict.BLOCK
    assert outcomes(outcome)["backup.isolated"] == "failed"
    assert sorted(folder.rglob("*")) == before


def test_a_vault_that_a_link_leads_into_the_subject_is_refused(scene):
    folder = scene.model("v1")
    (scene.folder / "elsewhere").symlink_to(folder)
    stage = BackUpModel(vault=str(scene.folder / "elsewhere/v"), model="churn", lock="none")
    outcome = run_gate(stage, folder, scene.policy, signer=scene.gates)
    assert outcomes(outcome)["backup.isolated"] == "failed"


def test_a_vault_beside_a_subject_with_a_similar_name_is_apart(scene):
    folder = scene.model("v1")
    stage = BackUpModel(vault=f"{folder}-vault", model="churn", lock="none")
    assert (
        outcomes(run_gate(stage, folder, scene.policy, signer=scene.gates))["backup.isolated"]
        == "passed"
    )


# -- damage -----------------------------------------------------------------------------------


def weights_blob(scene: ServingScene, version: str = "v1") -> str:
    data = (scene.folder / "models" / version / "weights.bin").read_bytes()
    digest = Digest.of(data).hex
    return f"blobs/sha256/{digest[:2]}/{digest}"


def test_a_flipped_bit_is_found_and_the_file_named(scene):
    scene.back_up("v1")
    path = scene.folder / "vault" / weights_blob(scene)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x80
    path.write_bytes(data)
    outcome = examine(scene)
    assert outcome.verdict is Verdict.BLOCK
    assert outcome.judgement.reasons[0].startswith("backup.stored: weights.bin: blobs/sha256/")


def test_a_removed_blob_is_stored_again_and_a_swapped_one_is_found(scene):
    scene.back_up("v1")
    path = scene.folder / "vault" / weights_blob(scene)
    path.unlink()
    assert outcomes(examine(scene))["backup.stored"] == "passed"
    path.unlink()
    path.write_bytes((scene.folder / "models/v1/empty").read_bytes())
    assert outcomes(examine(scene))["backup.stored"] == "failed"


def test_an_edited_receipt_is_found(scene):
    scene.back_up("v1")
    (receipt, *_) = (scene.folder / "vault/models/churn/v1/receipts").iterdir()
    receipt.chmod(0o644)
    receipt.write_bytes(receipt.read_bytes() + b" ")
    outcome = examine(scene)
    assert outcomes(outcome)["backup.receipts"] == "failed"
    assert outcome.verdict is Verdict.BLOCK


def test_a_model_that_nothing_speaks_for_is_backed_up_with_a_note(scene):
    outcome = examine(scene)
    assert outcomes(outcome)["backup.receipts"] == "failed"
    assert outcome.verdict is Verdict.WARN


def test_without_a_ledger_it_cannot_tell_whether_receipts_are_there(scene):
    snapshot = take_snapshot(SubjectUri.parse(scene.model("v1")))
    report = scene.stage("v1").run(snapshot, Context())
    assert {check.id: check.outcome.value for check in report.checks}["backup.receipts"] == (
        "unknown"
    )


def test_receipts_of_other_models_stay_out(scene):
    scene.back_up("v1")
    scene.back_up("v2")
    assert len(list((scene.folder / "vault/models/churn/v2/receipts").iterdir())) == 1


_BACKUP = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from sluicegate.stages import registry
from tests.serving_scenes import BUILT_IN, ServingScene
registry.BUILT_IN.update(BUILT_IN)
from sluicegate.stages.backup import BackUpModel
from sluicegate.gate import run_gate
from sluicegate.receipts.keys import FileSigner
folder = Path(sys.argv[1])
signer = FileSigner.load(folder / "evidence/keys/signing.key.pem", None)
stage = BackUpModel(vault=sys.argv[2], model="churn", model_version="v1", lock="none")
def say(what, done, total):
    print(what, flush=True)
run_gate(stage, folder / "models/v1", folder / "policy.yaml", signer=signer, progress=say)
"""


def test_a_killed_backup_is_picked_up_where_it_stopped(scene):
    folder = scene.model("v1")
    for number in range(300):
        (folder / f"shard-{number}").write_bytes(os.urandom(20_000))
    here = str(SubjectUri.parse(__file__).local.parents[2])
    writer = subprocess.Popen(
        [sys.executable, "-c", _BACKUP, str(scene.folder), scene.place, here],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in writer.stdout:
        if line == "storing\n":
            break
    time.sleep(0.03)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    blobs = scene.folder / "vault/blobs"
    stored = sum(path.is_file() for path in blobs.rglob("*"))
    assert 0 < stored < 303
    assert not (scene.folder / "vault/models/churn/v1/manifest.ndjson").exists()
    assert outcomes(examine(scene))["backup.stored"] == "passed"
    assert sum(path.is_file() for path in blobs.rglob("*")) == 303


def test_a_subject_that_changes_meanwhile_stores_nothing_wrong(scene, monkeypatch):
    folder = scene.model("v1")
    snapshot = take_snapshot(SubjectUri.parse(folder))
    (folder / "weights.bin").write_text("changed")
    with pytest.raises(SubjectError, match="changed after its snapshot"):
        scene.stage("v1").run(snapshot, Context())
    assert not (scene.folder / "vault/models/churn/v1/manifest.ndjson").exists()


# -- S3 ---------------------------------------------------------------------------------------


def test_a_backup_in_a_locked_bucket_passes_everything(cloud, client):
    outcome = cloud.back_up("v1")
    assert outcome.verdict is Verdict.ALLOW, outcome.judgement.reasons
    versions = client.list_object_versions(Bucket="locked")["Versions"]
    assert len(versions) == 5  # three files, a receipt, the manifest
    for one in versions:
        head = client.head_object(Bucket="locked", Key=one["Key"], VersionId=one["VersionId"])
        assert head["ObjectLockMode"] == "COMPLIANCE"
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            client.delete_object(Bucket="locked", Key=one["Key"], VersionId=one["VersionId"])


def test_a_bucket_without_object_lock_is_blocked_or_noted(client, tmp_path):
    scene = ServingScene.new(tmp_path / "project", "s3://plain/vault")
    outcome = examine(scene)
    assert outcome.verdict is Verdict.BLOCK
    assert outcomes(outcome)["backup.stored"] == "passed"
    assert outcomes(outcome)["backup.locked"] == "failed"


def test_a_lock_that_is_weaker_than_asked_is_made_stronger_and_never_weaker(cloud, client):
    cloud.model("v1")
    weak = BackUpModel(
        vault=cloud.place, model="churn", model_version="v1", lock="GOVERNANCE", retain_days=90
    )
    folder = cloud.folder / "models/v1"
    run_gate(weak, folder, cloud.policy, signer=cloud.gates)
    assert outcomes(examine(cloud))["backup.locked"] == "passed"
    until = set()
    for one in client.list_object_versions(Bucket="locked", Prefix="vault/blobs")["Versions"]:
        head = client.head_object(Bucket="locked", Key=one["Key"])
        assert head["ObjectLockMode"] == "COMPLIANCE"
        until.add((head["ObjectLockRetainUntilDate"] - one["LastModified"]).days)
    assert until <= {89, 90}


def test_a_store_that_forgets_retention_is_found_out(cloud, client, monkeypatch):
    """What a server says it locked counts only if it says so when it is asked."""
    from sluicegate.storage import vault_s3

    monkeypatch.setattr(vault_s3, "_lock_of", lambda answer: None)
    outcome = examine(cloud)
    assert outcomes(outcome)["backup.locked"] == "failed"
    assert "is not locked as it should be: expected COMPLIANCE" in outcome.judgement.reasons[0]


def test_a_store_that_keeps_a_weaker_lock_is_found_out(cloud, client, monkeypatch):
    from sluicegate.storage import vault_s3

    weaker = Lock(mode="GOVERNANCE", until=datetime(2100, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(vault_s3, "_lock_of", lambda answer: weaker)
    assert outcomes(examine(cloud))["backup.locked"] == "failed"


def test_what_lies_over_a_blob_is_noted_and_the_backup_stands(cloud, client):
    cloud.back_up("v1")
    client.put_object(Bucket="locked", Key=f"vault/{weights_blob(cloud)}", Body=b"poisoned")
    outcome = examine(cloud)
    assert outcomes(outcome)["backup.stored"] == "passed"
    assert outcomes(outcome)["backup.undisturbed"] == "failed"
    assert outcome.verdict is Verdict.WARN


def test_bytes_that_arrive_wrong_are_found_when_read_back(cloud, client, monkeypatch):
    from sluicegate.storage.vault_s3 import BucketShelf

    create = BucketShelf.create

    def garble(self, name, source, *, size, digest, lock):
        data = source.read()
        flawed = io.BytesIO(data[:-1] + b"?" if name.startswith("blobs") and data else data)
        return create(self, name, flawed, size=size, digest=digest, lock=lock)

    monkeypatch.setattr(BucketShelf, "create", garble)
    assert outcomes(examine(cloud))["backup.stored"] == "failed"


def test_a_vault_that_is_gone_is_no_verdict(cloud, client, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SubjectError, match="cannot reach the vault"):
        examine(cloud)


# -- configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "a/b"}, "name of a model"),
        ({"model_version": "HEAD"}, "name of a version"),
        ({"lock": "compliance"}, "lock is one of"),
        ({"retain_days": 0}, "retain_days is from 1"),
        ({"retain_days": 36_501}, "retain_days is from 1"),
        ({"vault": "vault"}, "relative path"),
    ],
)
def test_a_stage_that_cannot_be_meant_is_an_error(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BackUpModel(**({"vault": "/v", "model": "m"} | options))


def test_the_ordinary_settings_are_taken():
    for lock in ("COMPLIANCE", "GOVERNANCE", "none"):
        for days in (1, 36_500):
            BackUpModel(vault="s3://b/v", model="m", lock=lock, retain_days=days)


def test_unknown_checks_stop_the_gate(scene):
    folder = scene.model("v1")
    stage = BackUpModel(vault=str(folder), model="churn", lock="none")
    outcome = run_gate(stage, folder, scene.policy, signer=scene.gates)
    with pytest.raises((GateBlocked, StageError)):
        outcome.clear_or_raise()
