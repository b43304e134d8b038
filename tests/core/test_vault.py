"""The vault on a folder and on S3 with Object Lock: created once, read by digest."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError, SubjectChangedError, SubjectError
from sluicegate.storage import vault as vaults
from sluicegate.storage import vault_s3
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.vault import Vault, check_name, distinct, open_vault, version_name
from sluicegate.storage.vault_base import COMPLIANCE, GOVERNANCE, Fetched, Lock, in_order
from tests.aws import moto_server, point_at

BYTES = b"the weights of a model"
RECORD = FileRecord(path="w.bin", size=len(BYTES), sha256=Digest.of(BYTES))
MANIFEST = Manifest.of([RECORD])
BLOB = f"blobs/sha256/{RECORD.sha256.hex[:2]}/{RECORD.sha256.hex}"


def until(days: int, mode: str = COMPLIANCE) -> Lock:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    return Lock(mode=mode, until=moment)


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


@pytest.fixture
def client(server, monkeypatch, tmp_path):
    """Return a client of a server with nothing but a locked and a plain bucket."""
    point_at(server, monkeypatch, tmp_path, service="S3")
    made = boto3.client("s3")
    import requests

    requests.post(f"{server}/moto-api/reset", timeout=10)
    made.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    made.create_bucket(Bucket="plain")
    return made


@pytest.fixture(params=["folder", "s3"])
def vault(request, tmp_path) -> Vault:
    if request.param == "folder":
        return open_vault(str(tmp_path / "vault"))
    request.getfixturevalue("client")
    return open_vault("s3://locked/models/eu")


@pytest.fixture
def bucket(client) -> Vault:
    return open_vault("s3://locked/v")


def put(vault: Vault, data: bytes = BYTES, lock: Lock | None = None) -> FileRecord:
    record = FileRecord(path="w.bin", size=len(data), sha256=Digest.of(data))
    vault.put_blob(record, io.BytesIO(data), lock)
    return record


def read(vault: Vault, record: FileRecord = RECORD) -> bytes:
    target = io.BytesIO()
    vault.copy_blob(record, target)
    return target.getvalue()


def test_a_blob_comes_back_byte_for_byte_and_is_stored_once(vault):
    assert not vault.has_blob(RECORD)
    assert vault.put_blob(RECORD, io.BytesIO(BYTES))
    assert vault.has_blob(RECORD)
    assert not vault.put_blob(RECORD, io.BytesIO(BYTES))
    assert read(vault) == BYTES
    assert not vault.keep_blob(RECORD).disturbed
    assert vault.verify(MANIFEST) == 0


def test_an_empty_file_is_a_blob_like_any_other(vault):
    record = put(vault, b"")
    assert vault.keep_blob(record).lock is None
    assert read(vault, record) == b""


def test_a_blob_that_was_never_stored_is_missing(vault):
    with pytest.raises(SubjectChangedError, match=f"{BLOB} of the vault .* is missing"):
        vault.keep_blob(RECORD)


def test_a_manifest_is_found_by_its_root_only(vault):
    put(vault)
    vault.put_manifest("churn", "v1", MANIFEST)
    assert vault.manifest("churn", "v1", MANIFEST.digest).ndjson() == MANIFEST.ndjson()
    assert vault.other_models("churn", "v1", MANIFEST.digest) == []
    with pytest.raises(SubjectChangedError, match=f"expected {'0' * 12}, found "):
        vault.manifest("churn", "v1", Digest("0" * 64))
    with pytest.raises(SubjectChangedError, match="is missing: no manifest"):
        vault.manifest("churn", "v2", MANIFEST.digest)


def test_a_version_that_has_another_manifest_is_told_and_not_overwritten(vault):
    other = Manifest.of([FileRecord(path="w.bin", size=1, sha256=Digest.of(b"x"))])
    assert vault.put_manifest("churn", "v1", MANIFEST)
    assert not vault.put_manifest("churn", "v1", other)
    assert vault.other_models("churn", "v1", other.digest) == [MANIFEST.digest.short]
    assert vault.manifest("churn", "v1", MANIFEST.digest) == MANIFEST


def test_a_sparse_manifest_is_given_up_at_its_first_line(tmp_path):
    vault = open_vault(str(tmp_path / "vault"))
    vault.put_manifest("churn", "v1", MANIFEST)
    path = tmp_path / "vault/models/churn/v1/manifest.ndjson"
    path.chmod(0o644)
    os.truncate(path, 1 << 40)
    with pytest.raises(SubjectChangedError, match="found an unreadable manifest"):
        vault.manifest("churn", "v1", MANIFEST.digest)


def test_a_manifest_is_read_and_stored_up_to_its_limit(vault, monkeypatch):
    vault.put_manifest("churn", "v1", MANIFEST)
    monkeypatch.setattr(vaults, "MAX_MANIFEST_BYTES", len(MANIFEST.ndjson()))
    assert vault.manifest("churn", "v1", MANIFEST.digest) == MANIFEST
    monkeypatch.setattr(vaults, "MAX_MANIFEST_BYTES", len(MANIFEST.ndjson()) - 1)
    with pytest.raises(SubjectChangedError, match="an unreadable manifest"):
        vault.manifest("churn", "v1", MANIFEST.digest)
    with pytest.raises(SubjectError, match="expected at most"):
        vault.put_manifest("churn", "v2", MANIFEST)


def test_a_vault_that_breaks_off_is_no_bad_manifest(tmp_path, monkeypatch):
    vault = open_vault(str(tmp_path / "vault"))
    vault.put_manifest("churn", "v1", MANIFEST)

    def broken():
        yield MANIFEST.ndjson()[:10]
        raise SubjectError("cannot reach the vault")

    fetched = Fetched(chunks=broken(), version="", lock=None)
    monkeypatch.setattr(type(vault.shelf), "fetch", lambda *_: nullcontext(fetched))
    with pytest.raises(SubjectError, match="cannot reach the vault"):
        vault.other_models("churn", "v1", MANIFEST.digest)


def test_receipts_come_back_and_a_lost_one_is_missing(vault):
    assert vault.put_receipt("churn", "v1", b"{}", None)
    assert not vault.put_receipt("churn", "v1", b"{}", None)
    assert not vault.keep_receipt("churn", "v1", b"{}", None).disturbed
    with pytest.raises(SubjectChangedError, match="is missing"):
        vault.keep_receipt("churn", "v1", b"[]", None)


def test_the_head_changes_only_for_who_saw_the_last_one(vault):
    assert vault.head("churn") is None
    assert vault.replace_head("churn", b"one", None)
    assert not vault.replace_head("churn", b"two", None)
    data, tag = vault.head("churn")
    assert data == b"one"
    assert vault.replace_head("churn", b"two", tag)
    assert not vault.replace_head("churn", b"three", tag)
    assert vault.head("churn")[0] == b"two"


def test_a_head_that_is_no_receipt_is_not_read_whole(vault):
    assert vault.replace_head("churn", bytes(65_536), None)
    with pytest.raises(SubjectError, match="more than 65535 bytes"):
        vault.head("churn")


def test_a_source_with_other_bytes_is_not_stored_in_a_folder(tmp_path):
    vault = open_vault(str(tmp_path))
    for wrong in (BYTES[:-1], BYTES + b"!", BYTES.swapcase()):
        with pytest.raises(SubjectChangedError, match="has other bytes"):
            vault.put_blob(RECORD, io.BytesIO(wrong))
    assert not vault.has_blob(RECORD)
    assert not list((tmp_path / "incoming").iterdir())


# -- a folder ---------------------------------------------------------------------------------


def test_files_in_a_folder_are_read_only_and_damage_is_seen(tmp_path):
    vault = open_vault(str(tmp_path))
    put(vault)
    path = tmp_path / BLOB
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    path.chmod(0o644)
    data = bytearray(BYTES)
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(SubjectChangedError, match="has other bytes"):
        vault.keep_blob(RECORD)
    path.write_bytes(BYTES + b"\0")
    with pytest.raises(SubjectChangedError, match="has other bytes"):
        read(vault)


def test_links_into_and_out_of_a_folder_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    vault = open_vault(str(tmp_path / "vault"))
    put(vault)
    path = tmp_path / "vault" / BLOB
    path.unlink()
    (tmp_path / "other").write_bytes(BYTES)
    path.symlink_to(tmp_path / "other")
    with pytest.raises(SubjectError, match="is a symbolic link"):
        vault.keep_blob(RECORD)
    (tmp_path / "vault" / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SubjectError, match="reached through a symbolic link"):
        vault.put_manifest("churn", "v1", MANIFEST)
    with pytest.raises(SubjectError, match="reached through a symbolic link"):
        vault.replace_head("churn", b"x", None)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_vault_may_itself_be_reached_through_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "vault").symlink_to(tmp_path / "disk")
    vault = open_vault(str(tmp_path / "vault"))
    put(vault)
    assert read(vault) == BYTES


def test_a_fifo_in_place_of_a_blob_does_not_hang(tmp_path):
    vault = open_vault(str(tmp_path))
    put(vault)
    (tmp_path / BLOB).unlink()
    os.mkfifo(tmp_path / BLOB)
    with pytest.raises(SubjectError, match="no plain file"):
        vault.keep_blob(RECORD)


def test_a_folder_promises_no_lock(tmp_path):
    vault = open_vault(str(tmp_path))
    assert not vault.shelf.can_lock()
    with pytest.raises(SubjectError, match="cannot lock"):
        put(vault, lock=until(1))
    put(vault)
    with pytest.raises(SubjectError, match="cannot be locked"):
        vault.keep_blob(RECORD, until(1))


def test_what_killed_writers_left_goes_after_a_day(tmp_path):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "old").write_bytes(b"x")
    (incoming / "new").write_bytes(b"x")
    os.utime(incoming / "old", (time.time() - 90_000,) * 2)
    open_vault(str(tmp_path)).shelf.sweep()
    assert [item.name for item in incoming.iterdir()] == ["new"]


_WRITER = """
import sys, io
from sluicegate.canonical import Digest
from sluicegate.storage.manifest import FileRecord
from sluicegate.storage.vault import open_vault
vault = open_vault(sys.argv[1])
print("ready", flush=True)
for number in range(100_000):
    data = str(number).encode() * 40_000
    record = FileRecord(path="w", size=len(data), sha256=Digest.of(data))
    vault.put_blob(record, io.BytesIO(data))
"""


def test_a_killed_writer_leaves_whole_blobs_or_none(tmp_path):
    for delay in (0.02, 0.05, 0.11):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    blobs = list((tmp_path / "blobs").rglob("*"))
    assert any(path.is_file() for path in blobs)
    for path in blobs:
        assert path.is_dir() or Digest.of(path.read_bytes()).hex == path.name


def test_one_of_many_writers_wins_a_name(vault):
    others = [Manifest.of([FileRecord(path="w", size=n, sha256=Digest.of(b"x"))]) for n in range(8)]
    won: list[int] = []
    start = threading.Barrier(len(others))

    def write(number: int) -> None:
        start.wait()
        if vault.put_manifest("churn", "v1", others[number]):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(others))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The simulator decides conditions without a lock of its own, so that two may win. A folder
    # must let exactly one win.
    assert won
    if vault.uri.scheme == "file":
        assert len(won) == 1
        assert vault.manifest("churn", "v1", others[won[0]].digest) == others[won[0]]


# -- S3 ---------------------------------------------------------------------------------------


def test_an_object_is_locked_from_the_moment_it_exists(bucket, client):
    assert bucket.shelf.can_lock()
    lock = until(30)
    put(bucket, lock=lock)
    kept = bucket.keep_blob(RECORD, lock)
    assert kept.lock == lock
    version = client.list_object_versions(Bucket="locked")["Versions"][0]
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket="locked", Key=version["Key"], VersionId=version["VersionId"])


def test_a_bucket_without_object_lock_says_so(client):
    assert not open_vault("s3://plain/v").shelf.can_lock()


def test_retention_grows_and_never_shrinks(bucket):
    put(bucket, lock=until(30, GOVERNANCE))
    longer = until(60, GOVERNANCE)
    assert bucket.keep_blob(RECORD, longer).lock == longer
    stronger = bucket.keep_blob(RECORD, until(10)).lock
    assert (stronger.mode, stronger.until) == (COMPLIANCE, longer.until)
    assert bucket.keep_blob(RECORD, until(10)).lock == stronger
    assert bucket.keep_blob(RECORD, until(10, GOVERNANCE)).lock == stronger


def test_an_object_that_was_stored_without_a_lock_gets_one(bucket):
    put(bucket)
    lock = until(5)
    assert bucket.keep_blob(RECORD, lock).lock == lock


def test_a_version_written_over_a_blob_is_told_and_read_around(bucket, client):
    put(bucket, lock=until(30))
    client.put_object(Bucket="locked", Key=f"v/{BLOB}", Body=BYTES[::-1])
    assert read(bucket) == BYTES
    assert bucket.keep_blob(RECORD).disturbed
    assert bucket.verify(MANIFEST) == 1


def test_a_delete_marker_over_a_blob_is_told_and_read_around(bucket, client):
    put(bucket, lock=until(30))
    client.delete_object(Bucket="locked", Key=f"v/{BLOB}")
    assert not bucket.has_blob(RECORD)
    assert read(bucket) == BYTES
    kept = bucket.keep_blob(RECORD, until(30))
    assert kept.disturbed
    assert kept.lock
    assert put(bucket) == RECORD  # a new version on top puts it right
    assert not bucket.keep_blob(RECORD).disturbed


def test_a_blob_of_which_no_version_is_right_is_refused(client):
    client.put_object(Bucket="locked", Key=f"v/{BLOB}", Body=BYTES[::-1])
    client.put_object(Bucket="locked", Key=f"v/{BLOB}", Body=BYTES + b"!")
    with pytest.raises(SubjectChangedError, match="has other bytes"):
        open_vault("s3://locked/v").keep_blob(RECORD)


def test_wrong_bytes_under_a_right_checksum_are_found_when_read_back(bucket, client):
    """The simulator takes a checksum that is not the body's; other stores might."""
    bucket.put_blob(RECORD, io.BytesIO(BYTES[::-1]))
    with pytest.raises(SubjectChangedError, match="has other bytes"):
        bucket.keep_blob(RECORD)


def test_a_manifest_hidden_by_a_delete_marker_still_holds_its_name(bucket, client):
    bucket.put_manifest("churn", "v1", MANIFEST, until(30))
    client.delete_object(Bucket="locked", Key="v/models/churn/v1/manifest.ndjson")
    other = Manifest.of([FileRecord(path="w.bin", size=1, sha256=Digest.of(b"x"))])
    assert bucket.other_models("churn", "v1", other.digest) == [MANIFEST.digest.short]
    assert bucket.manifest("churn", "v1", MANIFEST.digest) == MANIFEST
    client.put_object(Bucket="locked", Key="v/models/churn/v1/manifest.ndjson", Body=b"no manifest")
    assert bucket.manifest("churn", "v1", MANIFEST.digest) == MANIFEST
    assert bucket.other_models("churn", "v1", MANIFEST.digest) == ["an unreadable manifest"]


def test_a_name_that_begins_like_another_is_not_taken_for_it(bucket, client):
    put(bucket)
    client.put_object(Bucket="locked", Key=f"v/{BLOB}-copy", Body=b"something else")
    assert bucket.shelf.versions(BLOB) != []
    assert len(bucket.shelf.versions(BLOB)) == 1


def test_somebody_who_writes_over_an_object_without_end_is_told(bucket, client, monkeypatch):
    monkeypatch.setattr(vault_s3, "_MAX_VERSIONS", 3)
    put(bucket, lock=until(1))
    for number in range(2):
        client.put_object(Bucket="locked", Key=f"v/{BLOB}", Body=b"%d" % number)
    assert read(bucket) == BYTES
    client.put_object(Bucket="locked", Key=f"v/{BLOB}", Body=b"one more")
    with pytest.raises(SubjectError, match="has more than 3 versions"):
        read(bucket)


def test_large_objects_go_in_parts_with_their_lock(bucket, client, monkeypatch):
    monkeypatch.setattr(vault_s3, "_WHOLE_BYTES", 1 << 20)
    monkeypatch.setattr(vault_s3, "_PART_BYTES", 5 << 20)
    data = os.urandom(11 << 20)
    lock = until(3)
    record = put(bucket, data, lock)
    kept = bucket.keep_blob(record, lock)
    assert kept.lock == lock
    assert read(bucket, record) == data
    assert not bucket.put_blob(record, io.BytesIO(data), lock)
    wrong = FileRecord(path="w", size=len(data), sha256=Digest.of(b"other"))
    with pytest.raises(SubjectChangedError, match="has other bytes"):
        bucket.put_blob(wrong, io.BytesIO(data), lock)
    assert not client.list_multipart_uploads(Bucket="locked").get("Uploads")


def test_a_bucket_that_is_not_there_is_no_pass(client):
    vault = open_vault("s3://nowhere/v")
    with pytest.raises(SubjectError, match=r"refused .* with NoSuchBucket"):
        vault.keep_blob(RECORD)
    with pytest.raises(SubjectError, match=r"refused .* with NoSuchBucket"):
        vault.shelf.can_lock()
    with pytest.raises(SubjectError, match=r"refused .* with NoSuchBucket"):
        put(vault)


def test_no_credentials_and_no_network_are_told(client, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    boto3.DEFAULT_SESSION = None
    with pytest.raises(SubjectError, match="no AWS credentials"):
        open_vault("s3://locked/v").keep_blob(RECORD)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not a url")
    with pytest.raises(SubjectError, match="is not a URL"):
        open_vault("s3://locked/v")


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "-a", "HEAD", "incoming", "a b", "a\n", "ü", "x" * 101]
)
def test_names_that_could_leave_the_layout_are_refused(name, tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be the name of a model"):
        check_name("model", name)
    with pytest.raises(ConfigurationError, match="cannot be the name of a version"):
        open_vault(str(tmp_path)).put_manifest("churn", name, MANIFEST)


@pytest.mark.parametrize(
    "name", ["v1", "1", "2026-01-01", "a.b_c+d", "head", version_name(MANIFEST.digest)]
)
def test_ordinary_names_are_good(name):
    assert check_name("version", name) == name


def test_a_vault_lies_in_a_folder_or_in_s3():
    with pytest.raises(ConfigurationError, match="a vault cannot lie in"):
        open_vault("gs://bucket/x")


@given(st.lists(st.binary(max_size=3)))
def test_each_content_is_stored_once(contents):
    records = [
        FileRecord(path=f"f{number}", size=len(data), sha256=Digest.of(data))
        for number, data in enumerate(contents)
    ]
    if records:
        found = [record.sha256 for record in distinct(Manifest.of(records))]
        assert len(found) == len(set(found))
        assert set(found) == {record.sha256 for record in records}


LOCKS = st.builds(
    Lock,
    mode=st.sampled_from([COMPLIANCE, GOVERNANCE]),
    until=st.datetimes(timezones=st.just(UTC)),
)


@given(LOCKS, LOCKS)
def test_a_lock_covers_another_if_neither_mode_nor_date_is_less(one, other):
    weaker = one.mode == GOVERNANCE and other.mode == COMPLIANCE
    assert one.covers(other) == (one.until >= other.until and not weaker)


def test_work_in_threads_keeps_its_order_and_ends_at_the_first_error():
    assert list(in_order(lambda number: number * 2, range(100), threads=3)) == list(
        range(0, 200, 2)
    )
    begun = []

    def fail(number):
        begun.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"^0$"):
        list(in_order(fail, range(1000), threads=2))
    assert len(begun) < 20
