"""What S3 says about its objects: believed only where it binds the bytes, and checked here."""

from __future__ import annotations

import base64
import hashlib
import os

import boto3
import pytest
from botocore.config import Config

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectChangedError
from sluicegate.storage.manifest import Manifest, Place
from sluicegate.storage.s3 import S3Store
from sluicegate.storage.s3_checksums import (
    CompositeSha256,
    bound_sha256,
    contradiction,
    parts_of,
    place_of,
)
from sluicegate.storage.s3_reader import S3Reader
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at, reset

PART = 5 << 20
SUBJECT = SubjectUri.parse("s3://data/set")


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path):
    point_at(server, monkeypatch, tmp_path, service="S3")


@pytest.fixture
def client(server, environment):
    reset(server)  # one process has one simulated AWS, whoever used it before
    made = boto3.client("s3", config=Config(request_checksum_calculation="when_required"))
    made.create_bucket(Bucket="data")
    return made


def b64(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def composite(*parts):
    joined = b"".join(hashlib.sha256(part).digest() for part in parts)
    return f"{b64(joined)}-{len(parts)}"


def put_with(client, key, body, checksum):
    client.put_object(
        Bucket="data", Key=key, Body=body, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum
    )


def upload_in_parts(client, key, parts):
    upload = client.create_multipart_upload(Bucket="data", Key=key, ChecksumAlgorithm="SHA256")
    done = []
    for number, part in enumerate(parts, 1):
        answer = client.upload_part(
            Bucket="data",
            Key=key,
            UploadId=upload["UploadId"],
            PartNumber=number,
            Body=part,
            ChecksumSHA256=b64(part),
        )
        done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": b64(part)})
    client.complete_multipart_upload(
        Bucket="data", Key=key, UploadId=upload["UploadId"], MultipartUpload={"Parts": done}
    )


class Counting(S3Store):
    """Says how often an object is read, and what S3 would say of it."""

    said: dict[str, Place] = {}

    def __init__(self):
        super().__init__()
        self.read = []

    def get(self, subject, path, *, version_id=""):
        self.read.append(path)
        body, place = super().get(subject, path, version_id=version_id)
        return body, self.said.get(path, place)

    def head(self, subject, path, *, part=0):
        if part and path in self.said:
            return PART, Place()
        size, place = super().head(subject, path, part=part)
        return size, self.said.get(path, place)


def snap(store, **options):
    """Take a snapshot through ``S3Reader`` with a store that counts."""
    from sluicegate.storage.hashing import hash_all
    from sluicegate.storage.manifest import ManifestBuilder

    reader = S3Reader(store, SUBJECT, **options)
    builder, places = ManifestBuilder(), []
    for row, place in hash_all(reader, ((row, "") for row in sorted(reader.rows()))):
        builder.extend([row])
        places.append((row[0], place))
    for path, place in places:
        if place is not None:
            builder.add_place(path, place)
    return builder.manifest()


# ---------------------------------------------------------------- what binds the bytes


def test_only_a_whole_sha256_binds_the_bytes():
    value = b64(b"x")
    place = Place(algorithm="sha256", value=value, kind="FULL_OBJECT")
    assert bound_sha256(place) == hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "place",
    [
        Place(),
        Place(algorithm="sha256", value=composite(b"x"), kind="COMPOSITE"),
        Place(algorithm="sha256", value=composite(b"x"), kind=""),
        Place(algorithm="sha256", value=composite(b"x"), kind="FULL_OBJECT"),
        Place(algorithm="sha256", value=b64(b"x"), kind="COMPOSITE"),
        Place(algorithm="sha256", value=b64(b"x"), kind="FUTURE"),
        Place(algorithm="sha256", value=b64(b"x"), kind=""),
        Place(algorithm="sha256", value=b64(b"x"), kind="FULL_OBJECT", part_size=5),
        Place(algorithm="crc64nvme", value=b64(b"x"), kind="FULL_OBJECT"),
        Place(algorithm="sha256", value=b64(b"x")[:-1], kind="FULL_OBJECT"),
        Place(algorithm="sha256", value="AAAAAAAAAAA=", kind="FULL_OBJECT"),
        Place(algorithm="sha256", value="é", kind="FULL_OBJECT"),
        Place(algorithm="sha256", value=b64(b"x") + "\n", kind="FULL_OBJECT"),
    ],
)
def test_everything_else_binds_nothing(place):
    assert bound_sha256(place) is None
    contradiction(place, "0" * 64, subject="s3://data", path="a")


def test_an_etag_or_a_crc_is_no_checksum_of_ours():
    answer = {"ETag": '"x"', "ChecksumCRC64NVME": "x", "ChecksumType": "FULL_OBJECT"}
    assert place_of(answer) == Place()
    assert place_of({"VersionId": "v", **answer}) == Place(version_id="v")


@pytest.mark.parametrize(
    ("value", "kind", "parts"),
    [
        (composite(b"x", b"y"), "COMPOSITE", 2),
        (composite(b"x"), "", 1),
        (composite(b"x"), "FULL_OBJECT", 0),
        (b64(b"x"), "COMPOSITE", 0),
        (f"{b64(b'x')}-10001", "COMPOSITE", 0),
        (f"{b64(b'x')}-²", "COMPOSITE", 0),
        (f"{b64(b'x')}--1", "COMPOSITE", 0),
        ("x-2", "COMPOSITE", 0),
        ("", "", 0),
    ],
)
def test_the_number_of_parts_is_read_from_a_composite_alone(value, kind, parts):
    assert parts_of(Place(algorithm="sha256", value=value, kind=kind)) == parts


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 35])
@pytest.mark.parametrize("step", [1, 3, 10, 100])
def test_a_composite_does_not_depend_on_how_the_bytes_come(size, step):
    data = os.urandom(size)
    checksum = CompositeSha256(10)
    for at in range(0, size, step):
        checksum.update(data[at : at + step])
    parts = [data[at : at + 10] for at in range(0, size, 10)] or [b""]
    assert checksum.value() == composite(*parts)
    with pytest.raises(ValueError, match="at least one byte"):
        CompositeSha256(0)


# ---------------------------------------------------------------- against a server


def test_objects_are_read_by_default_and_their_checksum_is_noted(client):
    put_with(client, "set/a", b"x", b64(b"x"))
    client.put_object(Bucket="data", Key="set/b", Body=b"y")
    store = Counting()
    manifest = snap(store)
    assert sorted(store.read) == ["a", "b"]
    assert manifest.find("a").sha256 == Digest.of(b"x")
    assert manifest.place("a").value == b64(b"x")
    assert manifest.place("b") is None
    assert manifest == take_snapshot(SUBJECT).manifest
    assert Manifest.parse(manifest.ndjson(), places=manifest.places_ndjson()).place(
        "a"
    ) == manifest.place("a")


def test_on_request_a_whole_checksum_replaces_the_read_and_no_other_does(client):
    put_with(client, "set/a", b"x", b64(b"x"))
    client.put_object(Bucket="data", Key="set/b", Body=b"y")
    client.put_object(Bucket="data", Key="set/c", Body=b"z", ChecksumAlgorithm="CRC32")
    upload_in_parts(client, "set/d", [b"p" * PART, b"q"])
    put_with(client, "set/e", b"e", b64(b"e"))  # the simulated server names no type
    store = Counting()
    store.said = {"a": Place(algorithm="sha256", value=b64(b"x"), kind="FULL_OBJECT")}
    manifest = snap(store, trust_store_checksums=True)
    assert sorted(store.read) == ["b", "c", "d", "e"]
    assert manifest == take_snapshot(SUBJECT).manifest
    trusted = take_snapshot(SUBJECT, trust_store_checksums=True)
    assert trusted.digest == manifest.digest


def test_a_checksum_that_the_server_took_unchecked_is_caught_here(client):
    """The simulated server keeps a wrong checksum; the real one refuses the upload."""
    put_with(client, "set/a", b"bytes", b64(b"others"))
    with pytest.raises(SubjectChangedError, match="contradict"):
        take_snapshot(SUBJECT)
    with pytest.raises(SubjectChangedError, match="contradict"):
        take_snapshot(SUBJECT, trust_store_checksums=True)


def test_bytes_that_were_trusted_are_compared_when_they_are_opened(client):
    client.put_object(Bucket="data", Key="set/a", Body=b"bytes")
    store = Counting()
    store.said = {"a": Place(algorithm="sha256", value=b64(b"other"), kind="FULL_OBJECT")}
    trusted = Snapshot(SUBJECT, snap(store, trust_store_checksums=True), S3Store())
    with pytest.raises(SubjectChangedError, match="a of s3://data/set changed"):
        trusted.open("a")


def test_a_contradiction_is_found_without_the_help_of_botocore(client):
    client.put_object(Bucket="data", Key="set/a", Body=b"bytes")
    store = Counting()
    store.said = {"a": Place(algorithm="sha256", value=b64(b"others"), kind="FULL_OBJECT")}
    with pytest.raises(SubjectChangedError, match="a of s3://data/set contradicts the checksum"):
        snap(store)


def test_an_object_whose_length_changed_is_not_taken_by_its_checksum(client):
    put_with(client, "set/a", b"x", b64(b"x"))
    reader = S3Reader(S3Store(), SUBJECT, trust_store_checksums=True)
    [row] = reader.rows()
    put_with(client, "set/a", b"longer", b64(b"longer"))
    with pytest.raises(SubjectChangedError, match="listed with 1 bytes, now 6"):
        reader.hash(row, None)


@pytest.mark.parametrize(
    ("parts", "part_size"),
    [([PART, 3], PART), ([PART, PART], PART), ([3, PART], 0), ([PART], PART)],
)
def test_a_composite_is_noted_with_its_part_size_only_when_it_was_verified(
    client, parts, part_size
):
    data = [os.urandom(size) for size in parts]
    client.put_object(Bucket="data", Key="set/a", Body=b"".join(data))
    store = Counting()
    store.said = {"a": Place(algorithm="sha256", value=composite(*data), kind="COMPOSITE")}
    manifest = snap(store)
    assert manifest.place("a").part_size == part_size
    assert manifest.find("a").sha256 == Digest.of(b"".join(data))


def test_many_objects_are_read_at_once_with_one_result(client):
    for at in range(40):
        client.put_object(Bucket="data", Key=f"set/{at:02}", Body=b"%d" % at)
    digests = {take_snapshot(SUBJECT, threads=threads).digest for threads in (1, 8)}
    assert len(digests) == 1


# ---------------------------------------------------------------- versions


def test_a_pinned_snapshot_reads_the_version_that_was_hashed(client):
    client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket="data", Key="set/a", Body=b"first")
    pinned, loose = take_snapshot(SUBJECT, pin_versions=True), take_snapshot(SUBJECT)
    assert pinned.manifest.place("a").version_id
    client.put_object(Bucket="data", Key="set/a", Body=b"later")
    with pinned.open("a") as source:
        assert source.read() == b"first"
    with pytest.raises(SubjectChangedError):
        loose.open("a")


def test_a_version_id_does_not_replace_the_comparison_of_the_bytes(client):
    client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket="data", Key="set/a", Body=b"first")
    snapshot = take_snapshot(SUBJECT, pin_versions=True)
    other = client.put_object(Bucket="data", Key="set/a", Body=b"later")["VersionId"]
    forged = snapshot.manifest.with_places(b'{"path":"a","versionId":"%s"}\n' % other.encode())
    with pytest.raises(SubjectChangedError):
        type(snapshot)(SUBJECT, forged, snapshot.store, pinned=True).open("a")
