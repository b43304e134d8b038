"""The ledger on S3, against a real server process: conditions, locks, versions, failures."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger.batches import batch_name
from sluicegate.ledger.keys import new_note_key
from sluicegate.ledger.note import NoteSigner
from sluicegate.ledger.objects import ObjectLedger
from sluicegate.ledger.open import open_ledger
from sluicegate.ledger.s3_objects import S3Objects
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.merkle import leaf_hash, merkle_root
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at

ORIGIN = "log.example/s3"
SHARED = {}


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path):
    point_at(server, monkeypatch, tmp_path, service="S3")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture(scope="module")
def client(server):
    """Return one client for all tests: to make one takes longer than most of them."""
    session = boto3.session.Session("testing", "not-a-secret", region_name="us-east-1")
    made = session.client(
        "s3", endpoint_url=server, config=Config(retries={"total_max_attempts": 1})
    )
    SHARED["client"] = made
    return made


@pytest.fixture
def bucket(client, request):
    name = f"b{abs(hash(request.node.name)):x}"[:40]
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def locked(client, request):
    name = f"l{abs(hash(request.node.name)):x}"[:40]
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def signer():
    return NoteSigner(ORIGIN, Ed25519PrivateKey.generate())


def uri(bucket, key="logs/one"):
    return SubjectUri.parse(f"s3://{bucket}/{key}" if key else f"s3://{bucket}")


def ledger(bucket, signer=None, client=None, key="logs/one", **lock):
    objects = S3Objects(uri(bucket, key), client=client or SHARED["client"], **lock)
    return ObjectLedger(objects, origin=ORIGIN, signer=signer, patience=20)


COMPLIANCE = {"object_lock": "COMPLIANCE", "retain_days": 30}


def keys(client, bucket):
    found = client.list_objects_v2(Bucket=bucket).get("Contents", ())
    return {item["Key"] for item in found}


# ---------------------------------------------------------------- reading and writing


@pytest.mark.parametrize("key", ["logs/one", ""])
def test_a_ledger_in_a_bucket(client, bucket, signer, key):
    log = ledger(bucket, signer, key=key)
    assert log.size == 0
    log.append_many([b"%d" % number for number in range(300)])
    assert log.append(b"last") == 300
    assert log.verify().size == 301
    assert [data for _, data in log.entries(299)] == [b"299", b"last"]
    assert log.checkpoint().verify(signer.verifier).root == merkle_root(
        leaf_hash(data) for _, data in log.entries()
    )
    prefix = f"{key}/" if key else ""
    assert {f"{prefix}checkpoint", f"{prefix}tile/0/000", f"{prefix}{batch_name(300)}"} <= keys(
        client, bucket
    )


def test_settings_open_it(bucket, signer):
    settings = LedgerSettings(location=uri(bucket), key=signer.verifier)
    assert open_ledger(settings, signer).append(b"a") == 0
    assert open_ledger(settings).get(0) == b"a"


def test_writers_that_compete_lose_nothing(bucket, signer, monkeypatch):
    """Three views without a lock between them, as on three machines."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "6")  # the simulated server trips over itself
    client, sent, errors = boto3.session.Session().client("s3"), Counter(), []

    def write(writer):
        log = ledger(bucket, signer, client=client)
        for number in range(4):
            data = b"%d-%d" % (writer, number)
            try:
                assert log.get(log.append(data)) == data
                sent[data] += 1
            except LedgerError as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = ledger(bucket, signer)
    assert errors == []
    assert Counter(data for _, data in log.entries()) == sent
    assert log.verify().size == 12


WRITER = """
import sys
from sluicegate.ledger.keys import load_note_signer
from sluicegate.ledger.objects import ObjectLedger
from sluicegate.ledger.s3_objects import S3Objects
from sluicegate.storage.uri import SubjectUri
from pathlib import Path

where, key, origin, name = sys.argv[1:]
log = ObjectLedger(
    S3Objects(SubjectUri.parse(where)),
    origin=origin,
    signer=load_note_signer(Path(key), name=origin),
)
for number in range(100):
    data = f"{name}-{number}".encode()
    print(log.append(data), data.decode(), flush=True)
"""


@pytest.mark.slow
def test_processes_that_are_killed_lose_nothing_that_was_acknowledged(
    bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "6")
    signer = new_note_key(tmp_path / "log.key", tmp_path / "log.vkey", name=ORIGIN)
    acknowledged = {}
    for killed in range(3):
        command = [sys.executable, "-c", WRITER, str(uri(bucket)), tmp_path / "log.key", ORIGIN]
        pair = [
            subprocess.Popen([*command, f"w{killed}{side}"], stdout=subprocess.PIPE, text=True)
            for side in "ab"
        ]
        for process in pair:
            with process:
                lines = [process.stdout.readline() for _ in range(2 + killed)]
                process.kill()
                lines += process.stdout.readlines()
            for line in lines:
                place, _, data = line.partition(" ")
                if data.endswith("\n"):
                    acknowledged[data.strip().encode()] = int(place)
    log = ledger(bucket, signer)
    log.append(b"the end")
    found = dict(log.entries())
    assert len(acknowledged) >= 12
    assert all(found[place] == data for data, place in acknowledged.items())
    assert log.verify().size == len(found) == len(set(found.values()))


# ---------------------------------------------------------------- what stores differ in


class Rewriting:
    """A client whose requests pass through a function first."""

    def __init__(self, client, change):
        self._client = client
        self._change = change

    def __getattr__(self, name):
        call = getattr(self._client, name)
        if name == "get_paginator":
            return call
        return lambda **parameters: self._change(name, parameters, call)


def test_a_store_that_ignores_conditions_is_refused(client, bucket):
    for ignored in ("IfNoneMatch", "IfMatch"):

        def drop(name, parameters, call, ignored=ignored):
            parameters.pop(ignored, None)
            return call(**parameters)

        with pytest.raises(ConfigurationError, match="ignores conditional writes"):
            ledger(bucket, client=Rewriting(client, drop)).append(b"a")
    assert keys(client, bucket) == {"logs/one/probe"}
    assert ledger(bucket).append(b"a") == 0


def test_a_batch_that_the_store_damaged_is_not_acknowledged(client, bucket):
    def damage(name, parameters, call):
        if name == "put_object" and "/batch/" in parameters["Key"]:
            parameters["Body"] = parameters["Body"][:-1] + b"X"
        return call(**parameters)

    with pytest.raises(LedgerError, match="is not what was written a moment ago"):
        ledger(bucket, client=Rewriting(client, damage)).append(b"a")
    assert ledger(bucket).size == 0


def test_a_checksum_is_sent_and_another_one_in_the_answer_refused(client, bucket):
    sent = []

    def watch(name, parameters, call):
        answer = call(**parameters)
        if name == "put_object":
            sent.append(parameters["ChecksumSHA256"])
            if parameters["Key"].endswith(".p/1"):
                answer["ChecksumSHA256"] = "AAAA"
        return answer

    with pytest.raises(LedgerError, match="answers with another checksum"):
        ledger(bucket, client=Rewriting(client, watch)).append(b"a")
    assert all(len(checksum) == 44 for checksum in sent)


def answering(code, status, *, on):
    def fail(name, parameters, call):
        if on(name, parameters):
            raise ClientError(
                {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, name
            )
        return call(**parameters)

    return fail


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "PreconditionFailed"])
def test_a_conflict_is_tried_again(client, bucket, code):
    seen = []

    def once(name, parameters):
        first = name == "put_object" and "/batch/" in parameters["Key"] and not seen
        seen.extend([1] * first)
        return first

    fail = answering(code, 409, on=once)
    assert ledger(bucket, client=Rewriting(client, fail)).append(b"a") == 0
    assert seen


def test_a_checkpoint_that_vanished_under_a_condition_is_a_lost_race(client, bucket):
    store = S3Objects(uri(bucket), client=client)
    assert store.replace("checkpoint", b"x", None)
    _, tag = store.read("checkpoint")
    client.delete_object(Bucket=bucket, Key="logs/one/checkpoint")
    assert not store.replace("checkpoint", b"y", tag)


@pytest.mark.parametrize(
    ("code", "status", "step"),
    [
        ("AccessDenied", 403, "s3:ListBucket"),
        ("NoSuchBucket", 404, "make the bucket"),
        ("SlowDown", 503, "check the bucket"),
    ],
)
def test_refusals_say_what_to_do(client, bucket, code, status, step):
    fail = Rewriting(client, answering(code, status, on=lambda name, parameters: True))
    with pytest.raises(LedgerError, match=f"S3 answered {code}") as caught:
        _ = ledger(bucket, client=fail).size
    assert step in caught.value.next_step
    with pytest.raises(LedgerError, match=f"S3 answered {code}"):
        ledger(bucket, client=fail).append(b"a")


def test_a_bucket_that_is_not_there_and_a_server_that_is_away(client, monkeypatch):
    with pytest.raises(LedgerError, match="NoSuchBucket"):
        ledger("nobody-made-this").append(b"a")

    def away(name, parameters, call):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    with pytest.raises(LedgerError, match="EndpointConnectionError"):
        _ = ledger("any", client=Rewriting(client, away)).size


def test_without_credentials_nothing_is_tried(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps what it found
    with pytest.raises(LedgerError, match="no AWS credentials"):
        S3Objects(uri(bucket)).read("checkpoint")


def test_a_role_that_may_not_delete_leaves_old_partial_tiles(client, bucket, signer):
    denied = answering("AccessDenied", 403, on=lambda name, parameters: name == "delete_objects")
    log = ledger(bucket, signer, client=Rewriting(client, denied))
    log.append(b"a")
    log.append_many([b"%d" % number for number in range(300)])
    assert "logs/one/tile/0/000.p/1" in keys(client, bucket)
    assert log.verify().size == 301
    log = ledger(bucket, signer, key="logs/two")
    log.append(b"a")
    log.append_many([b"%d" % number for number in range(300)])
    assert "logs/two/tile/0/000.p/1" not in keys(client, bucket)


@pytest.mark.parametrize("bad", ["s3://", "file:///x"])
def test_other_locations_are_refused(bad):
    scheme, _, path = bad.partition("://")
    with pytest.raises(ConfigurationError, match="is not s3://bucket/prefix"):
        S3Objects(SubjectUri(scheme, path))


# ---------------------------------------------------------------- Object Lock


def test_what_must_last_is_locked_and_the_rest_is_not(client, locked, signer):
    log = ledger(locked, signer, **COMPLIANCE)
    log.append_many([b"%d" % number for number in range(257)])
    log.append(b"last")
    until = {}
    for key in keys(client, locked):
        head = client.head_object(Bucket=locked, Key=key)
        until[key.removeprefix("logs/one/")] = head.get("ObjectLockRetainUntilDate")
    kept = {name for name, date in until.items() if date is not None}
    assert kept == {
        batch_name(0),
        batch_name(257),
        "tile/0/000",
        "tile/entries/000",
    }
    soon = datetime.now(UTC) + timedelta(days=29)
    assert all(until[name] > soon for name in kept)
    version = client.head_object(Bucket=locked, Key=f"logs/one/{batch_name(0)}")["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=locked, Key=f"logs/one/{batch_name(0)}", VersionId=version)


def test_a_bucket_without_object_lock_is_told(bucket, signer):
    with pytest.raises(LedgerError, match=r"InvalidRequest|is not locked as asked") as caught:
        ledger(bucket, signer, **COMPLIANCE).append(b"a")
    assert "Object Lock" in caught.value.next_step


def test_a_lock_that_the_store_did_not_set_is_told(client, locked, signer):
    for change in ({"ObjectLockMode": "GOVERNANCE"}, {"ObjectLockRetainUntilDate": None}):

        def weaken(name, parameters, call, change=change):
            if name == "put_object" and "ObjectLockMode" in parameters:
                short = datetime.now(UTC) + timedelta(days=1)
                parameters |= {key: value or short for key, value in change.items()}
            return call(**parameters)

        weak = Rewriting(client, weaken)
        log = ledger(locked, signer, weak, key=next(iter(change)), **COMPLIANCE)
        with pytest.raises(LedgerError, match="is not locked as asked"):
            log.append(b"a")


def test_history_that_was_hidden_by_deletion_is_not_begun_anew(client, locked, signer):
    """Deleting leaves a marker, under which a create-if-absent succeeds."""
    log = ledger(locked, signer, **COMPLIANCE)
    log.append_many([b"a", b"b"])
    for key in keys(client, locked):
        client.delete_object(Bucket=locked, Key=key)
    with pytest.raises(LedgerError, match="was deleted, and would be written a second time"):
        ledger(locked, signer, **COMPLIANCE).append(b"another history")
    assert ledger(locked, signer).checkpoint() is None
    assert keys(client, locked) <= {"logs/one/probe"}  # so that it can be restored


def test_history_that_is_hidden_while_a_writer_waits_is_seen_as_well(client, locked, signer):
    log = ledger(locked, signer, **COMPLIANCE)
    log.append_many([b"a", b"b"])

    def hide(name, parameters, call):
        if name == "put_object" and "/batch/" in parameters["Key"]:
            for key in keys(client, locked):
                client.delete_object(Bucket=locked, Key=key)
            parameters["Key"] = f"logs/one/{batch_name(0)}"
        return call(**parameters)

    slow = S3Objects(uri(locked), client=Rewriting(client, hide), **COMPLIANCE)
    with pytest.raises(LedgerError, match="would be written a second time"):
        slow.create(batch_name(0), b"another history")
