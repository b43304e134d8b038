"""Bringing a version back: verified byte by byte, all of it or nothing."""

from __future__ import annotations

import io
import os
import shutil
import stat
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest
from sluicegate.clearance import open_cleared
from sluicegate.errors import ClearanceRefused, ConfigurationError, SubjectError
from sluicegate.serving import pointer, restore
from sluicegate.stages import registry
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import Vault
from tests.aws import moto_server, point_at
from tests.serving_scenes import BUILT_IN, MODEL, ServingScene


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    for name in ("SLUICEGATE_POLICY", "SLUICEGATE_SIGNING_KEY", "SLUICEGATE_HEADS_SEEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pointer, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def scene(tmp_path) -> ServingScene:
    made = ServingScene.new(tmp_path / "project")
    made.release("v1", "v2")
    return made


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "srv" / "model"


def bring(scene: ServingScene, target: Path, **options) -> Path:
    return restore(MODEL, target, scene.policy, **options)


def digest_of(folder: Path) -> Digest:
    return take_snapshot(SubjectUri.parse(folder)).digest


def blob(scene: ServingScene, version: str = "v2") -> Path:
    data = (scene.folder / "models" / version / "weights.bin").read_bytes()
    digest = Digest.of(data).hex
    return Path(scene.place) / "blobs/sha256" / digest[:2] / digest


def left_behind(target: Path) -> list[Path]:
    return list(target.parent.iterdir()) if target.parent.exists() else []


def test_what_serves_comes_back_byte_for_byte(scene, target):
    assert bring(scene, target) == target
    assert digest_of(target) == digest_of(scene.folder / "models/v2")
    assert (target / "tokens/vocabulary.txt").exists()
    assert (target / "empty").stat().st_size == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert left_behind(target) == [target]


def test_after_a_roll_back_the_earlier_version_comes(scene, target):
    scene.roll_back()
    bring(scene, target)
    assert digest_of(target) == digest_of(scene.folder / "models/v1")


def test_a_restored_copy_is_cleared_by_its_receipts(scene, target):
    bring(scene, target, purpose="deploy")
    cleared = open_cleared(target, purpose="deploy", policy=scene.policy)
    assert cleared.digest == scene.current().subject.digest


def test_a_named_version_is_found_by_its_head_or_by_its_backup(scene, target):
    bring(scene, target, version="v1")
    assert digest_of(target) == digest_of(scene.folder / "models/v1")
    scene.back_up("v3")
    bring(scene, target.with_name("third"), version="v3")
    assert digest_of(target.with_name("third")) == digest_of(scene.folder / "models/v3")
    with pytest.raises(ClearanceRefused, match="no trusted receipt says that churn v4"):
        bring(scene, target.with_name("fourth"), version="v4")


@pytest.mark.parametrize("renewed", [True, False])
def test_an_expired_key_redirects_no_name(scene, target, renewed):
    scene.back_up("v3")
    signer = scene.rotate()
    if renewed:
        scene.promote("v2", signer=signer)
    scene.redirect("v3", to="v1")
    bring(scene, target, version="v3")
    assert digest_of(target) == digest_of(scene.folder / "models/v3")


def test_an_expired_key_makes_no_version(scene, target):
    scene.rotate()
    scene.redirect("v9", to="v1")
    with pytest.raises(ClearanceRefused, match="no trusted receipt says that churn v9"):
        bring(scene, target, version="v9")


def test_an_empty_folder_is_filled(scene, target):
    target.mkdir(parents=True)
    bring(scene, target)
    assert digest_of(target) == digest_of(scene.folder / "models/v2")


def test_a_folder_that_holds_something_is_left_alone(scene, target):
    target.mkdir(parents=True)
    (target / ".hidden").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty"):
        bring(scene, target)
    assert [path.name for path in target.iterdir()] == [".hidden"]


@pytest.mark.parametrize("kind", ["to a folder", "to nothing", "file"])
def test_a_target_that_is_a_link_or_a_file_is_refused(scene, target, kind, tmp_path):
    target.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    if kind == "to a folder":
        elsewhere.mkdir()
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="is a link or a file"):
        bring(scene, target)
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


def test_a_link_that_appears_while_files_are_copied_is_not_followed(
    scene, target, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = Vault.copy_blob

    def swap(self, record, out):
        if not target.is_symlink():
            target.symlink_to(elsewhere)
        return copy(self, record, out)

    monkeypatch.setattr(Vault, "copy_blob", swap)
    with pytest.raises(SubjectError, match="cannot restore"):
        bring(scene, target)
    assert not list(elsewhere.iterdir())
    assert left_behind(target) == [target]


def test_a_file_that_appears_while_files_are_copied_is_not_mixed_in(scene, target, monkeypatch):
    copy = Vault.copy_blob

    def add(self, record, out):
        target.mkdir(parents=True, exist_ok=True)
        (target / "extra.py").write_text("import os")
        return copy(self, record, out)

    monkeypatch.setattr(Vault, "copy_blob", add)
    with pytest.raises(SubjectError, match="cannot restore"):
        bring(scene, target)
    assert [path.name for path in target.iterdir()] == ["extra.py"]


@pytest.mark.parametrize("damage", ["flipped", "longer", "shorter", "removed", "swapped"])
def test_damage_restores_nothing(scene, target, damage):
    path = blob(scene)
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flipped":
        data[len(data) // 2] ^= 4
    if damage == "longer":
        data += b"!"
    if damage == "shorter":
        data = data[:-1]
    if damage == "swapped":
        data = blob(scene, "v1").read_bytes()
    if damage != "removed":
        path.write_bytes(data)
    with pytest.raises(ClearanceRefused, match="is missing" if damage == "removed" else "other"):
        bring(scene, target)
    assert left_behind(target) == []


def test_manifests_that_changed_places_are_refused(scene, target):
    folder = Path(scene.place) / "models" / MODEL
    shutil.rmtree(folder / "v2")
    shutil.copytree(folder / "v1", folder / "v2")
    for version in (None, "v2"):
        with pytest.raises(ClearanceRefused, match="is not what it was"):
            bring(scene, target, version=version)
    assert left_behind(target) == []


def test_a_manifest_with_one_more_file_is_refused(scene, target):
    path = Path(scene.place) / "models/churn/v2/manifest.ndjson"
    manifest = Manifest.parse(path.read_bytes())
    extra = b"import os"
    record = FileRecord(path="sitecustomize.py", size=len(extra), sha256=Digest.of(extra))
    scene.vault.put_blob(record, io.BytesIO(extra))
    path.unlink()
    path.write_bytes(Manifest.of([*manifest.files, record]).ndjson())
    with pytest.raises(ClearanceRefused, match="is not what it was"):
        bring(scene, target)


def test_a_manifest_that_leads_out_of_the_folder_is_refused(scene, target):
    path = Path(scene.place) / "models/churn/v2/manifest.ndjson"
    text = path.read_bytes().replace(b"weights.bin", b"../weights.bin")
    path.unlink()
    path.write_bytes(text)
    with pytest.raises(ClearanceRefused, match="an unreadable manifest"):
        bring(scene, target)


def test_the_pointer_and_the_age_of_the_head_count_as_for_a_server(scene, target):
    with pytest.raises(ClearanceRefused, match="older than"):
        bring(scene, target, max_age=timedelta(microseconds=1))
    with pytest.raises(ConfigurationError, match="about the version that serves"):
        bring(scene, target, version="v1", max_age=timedelta(days=1))
    with pytest.raises(ConfigurationError, match="about the version that serves"):
        bring(scene, target, version="v1", purpose="deploy")
    (Path(scene.place) / "models/churn/HEAD").unlink()
    with pytest.raises(ClearanceRefused, match="is missing"):
        bring(scene, target)
    assert left_behind(target) == []


def test_a_copy_of_the_vault_will_do(scene, target, tmp_path):
    shutil.move(scene.place, tmp_path / "copy")
    with pytest.raises(ClearanceRefused, match="is missing"):
        bring(scene, target)
    bring(scene, target, vault=str(tmp_path / "copy"))
    assert digest_of(target) == digest_of(scene.folder / "models/v2")


def test_a_disk_that_is_full_leaves_nothing(scene, target, monkeypatch):
    def full(self, record, out):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Vault, "copy_blob", full)
    with pytest.raises(SubjectError, match="No space left"):
        bring(scene, target)
    assert left_behind(target) == []


def test_a_single_file_comes_back_in_a_folder(tmp_path, target):
    scene = ServingScene.new(tmp_path / "project")
    from sluicegate.gate import run_gate
    from tests.serving_scenes import LookAtModel

    path = scene.folder / "model.onnx"
    path.write_bytes(b"onnx")
    for stage in (LookAtModel(), scene.stage("v1")):
        run_gate(stage, path, scene.policy, signer=scene.gates)
    assert scene.promote("v1").subject.sha256 == Digest.of(b"onnx")
    assert (bring(scene, target) / "model.onnx").read_bytes() == b"onnx"


NAMES = st.text(
    st.characters(blacklist_characters="/\\", blacklist_categories=("Cc", "Cs")),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", ".."))


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=6))
def test_whatever_the_names_and_bytes_it_is_the_same_afterwards(tmp_path_factory, files):
    from sluicegate.serving.restore import _fill
    from sluicegate.storage.vault import open_vault

    try:
        manifest = Manifest.of(
            FileRecord(path=f"d/{name}", size=len(data), sha256=Digest.of(data))
            for name, data in files.items()
        )
    except SubjectError:
        return  # names that differ only in how Unicode writes them
    folder = tmp_path_factory.mktemp("case")
    vault = open_vault(str(folder / "vault"))
    for file in manifest.files:
        vault.put_blob(file, io.BytesIO(files[file.path.removeprefix("d/")]))
    _fill(vault, manifest, folder / "out", lambda *_: None)
    assert digest_of(folder / "out") == manifest.digest


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


def test_the_same_from_s3_with_poison_over_the_blobs(server, monkeypatch, tmp_path, target):
    point_at(server, monkeypatch, tmp_path, service="S3")
    client = boto3.client("s3")
    client.create_bucket(Bucket="restored", ObjectLockEnabledForBucket=True)
    scene = ServingScene.new(tmp_path / "project", "s3://restored/vault")
    scene.release("v1")
    bring(scene, target)
    assert digest_of(target) == digest_of(scene.folder / "models/v1")
    for item in client.list_objects_v2(Bucket="restored", Prefix="vault/blobs")["Contents"]:
        client.put_object(Bucket="restored", Key=item["Key"], Body=b"poison")
    manifest = "vault/models/churn/v1/manifest.ndjson"
    client.delete_object(Bucket="restored", Key=manifest)
    bring(scene, target.with_name("again"))
    assert digest_of(target.with_name("again")) == digest_of(target)
