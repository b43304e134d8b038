"""S3 through boto3 against a real server process: objects, prefixes, credentials, failures."""

from __future__ import annotations

import io
import socket
import threading

import boto3
import pytest

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.s3 import S3Store
from sluicegate.storage.snapshot import store_for, take_snapshot
from sluicegate.storage.tables import read_table
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at, reset


@pytest.fixture(scope="module")
def server():
    """Run an S3 server on a free port for all tests of this file."""
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path):
    """Point the usual AWS configuration at the server, and at nothing else."""
    point_at(server, monkeypatch, tmp_path, service="S3")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture
def client(server, environment):
    """Return a client of the empty server, whose one bucket is ``data``."""
    made = boto3.client("s3")
    reset(server)
    made.create_bucket(Bucket="data")
    return made


@pytest.fixture
def fresh(client, monkeypatch):
    """Let boto3 look for credentials again, as a new process would."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def put(client, **objects):
    for key, content in objects.items():
        client.put_object(Bucket="data", Key=key, Body=content)


def snap(uri):
    return take_snapshot(SubjectUri.parse(uri))


def paths(uri):
    return [file.path for file in snap(uri).manifest.files]


def read(snapshot, path):
    with snapshot.open(path) as source:
        return source.read()


# ---------------------------------------------------------------- objects and prefixes


def test_a_prefix_is_a_folder_and_its_bytes_are_those_of_the_objects(client):
    put(client, **{"set/a.csv": b"a\n1\n", "set/sub/b.csv": b"a\n2\n", "other/c.csv": b"a\n3\n"})
    snapshot = snap("s3://data/set/")
    assert [file.path for file in snapshot.manifest.files] == ["a.csv", "sub/b.csv"]
    assert read(snapshot, "sub/b.csv") == b"a\n2\n"
    assert list(read_table(snapshot).frame["a"]) == [1, 2]


def test_the_same_files_have_the_same_digest_locally_and_on_s3(client, tmp_path):
    put(client, **{"set/a.csv": b"a\n1\n", "set/sub/b.csv": b"a\n2\n"})
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "sub" / "b.csv").write_bytes(b"a\n2\n")
    assert snap("s3://data/set").digest == snap(tmp_path).digest


def test_a_single_object_is_a_file_named_by_the_end_of_its_key(client):
    put(client, **{"set/deep/a.csv": b"a\n1\n"})
    snapshot = snap("s3://data/set/deep/a.csv")
    assert snapshot.is_single_file
    assert [file.path for file in snapshot.manifest.files] == ["a.csv"]
    assert read(snapshot, "a.csv") == b"a\n1\n"


def test_keys_that_only_begin_like_the_prefix_do_not_belong_to_it(client):
    put(client, **{"set/a.csv": b"1", "set2/b.csv": b"2", "set-old.csv": b"3", "se": b"4"})
    assert paths("s3://data/set") == ["a.csv"]


def test_an_object_with_the_name_of_a_folder_is_refused_and_hides_nothing(client):
    put(client, **{"set": b"the object", "set/a.csv": b"below"})
    with pytest.raises(SubjectError, match="there are objects below"):
        snap("s3://data/set")


def test_the_marker_of_a_folder_beside_an_object_hides_nothing(client):
    put(client, **{"set": b"the object", "set/": b""})
    assert read(snap("s3://data/set"), "set") == b"the object"


def test_a_file_below_a_prefix_that_is_named_like_it_is_read_from_below(client):
    put(client, **{"set/set": b"inner", "set/other": b"x"})
    snapshot = snap("s3://data/set")
    assert [file.path for file in snapshot.manifest.files] == ["other", "set"]
    assert read(snapshot, "set") == b"inner"


def test_an_object_that_appears_at_the_prefix_itself_cannot_replace_a_file_below(client):
    put(client, **{"set/set": b"inner", "set/other": b"x"})
    snapshot = snap("s3://data/set")
    put(client, set=b"outer")
    with pytest.raises(SubjectChangedError):
        snapshot.open("set")


def test_a_whole_bucket_can_be_a_subject(client):
    put(client, **{"a.csv": b"1", "b/c.csv": b"2", "data": b"named like the bucket"})
    snapshot = snap("s3://data")
    assert [file.path for file in snapshot.manifest.files] == ["a.csv", "b/c.csv", "data"]
    assert read(snapshot, "data") == b"named like the bucket"


def test_the_folder_markers_of_the_console_are_no_files(client):
    put(client, **{"set/": b"", "set/sub/": b"", "set/sub/a.csv": b"a\n1\n"})
    assert paths("s3://data/set") == ["sub/a.csv"]


def test_a_folder_that_holds_nothing_but_markers_is_empty(client):
    put(client, **{"set/": b"", "set/sub/": b""})
    with pytest.raises(SubjectError, match="holds no files"):
        snap("s3://data/set")


def test_a_folder_marker_that_holds_bytes_is_refused(client):
    put(client, **{"set/": b"hidden", "set/a.csv": b"a\n1\n"})
    with pytest.raises(SubjectError, match="plain relative path"):
        snap("s3://data/set")


@pytest.mark.parametrize(
    "key", ["set/../../etc/cron.d/x", "set/./x", "set//x", "set/sub//", "set/a\\b", "set/a\tb"]
)
def test_a_key_that_would_leave_a_folder_when_copied_is_refused(client, key):
    put(client, **{"set/a.csv": b"a\n1\n", key: b"a\n2\n"})
    with pytest.raises(SubjectError, match="plain relative path"):
        snap("s3://data/set")


def test_awkward_but_plain_keys_are_read(client):
    names = ["a b.csv", "é/ü.csv", "100%25.csv", "a+b.csv", "x=1/y=2.csv"]
    put(client, **{f"set/{name}": name.encode() for name in names})
    snapshot = snap("s3://data/set")
    assert {file.path for file in snapshot.manifest.files} == set(names)
    assert all(read(snapshot, name) == name.encode() for name in names)


def test_more_objects_than_one_page_lists_are_all_listed(client):
    store = S3Store(client)
    put(client, **{f"set/{number:03}.csv": b"x" for number in range(7)})
    original = client.get_paginator

    class Small:
        def __init__(self, name):
            self._inner = original(name)

        def paginate(self, **options):
            return self._inner.paginate(**options, PaginationConfig={"PageSize": 2})

    client.get_paginator = Small
    assert len(list(store.entries(SubjectUri.parse("s3://data/set")))) == 7


# ---------------------------------------------------------------- time


def test_an_object_that_is_overwritten_after_the_snapshot_is_never_handed_out(client):
    put(client, **{"set/a.csv": b"a\n1\n"})
    snapshot = snap("s3://data/set")
    put(client, **{"set/a.csv": b"a\n9\n"})
    with pytest.raises(SubjectChangedError):
        snapshot.open("a.csv")
    client.delete_object(Bucket="data", Key="set/a.csv")
    with pytest.raises(SubjectError, match="NoSuchKey"):
        snapshot.open("a.csv")


def test_versions_do_not_matter_only_what_is_current_counts(client):
    client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    put(client, **{"set/a.csv": b"a\n1\n"})
    first = snap("s3://data/set")
    put(client, **{"set/a.csv": b"a\n2\n", "set/gone.csv": b"a\n3\n"})
    client.delete_object(Bucket="data", Key="set/gone.csv")
    assert paths("s3://data/set") == ["a.csv"]
    assert read(snap("s3://data/set"), "a.csv") == b"a\n2\n"
    with pytest.raises(SubjectChangedError):
        first.open("a.csv")
    put(client, **{"set/a.csv": b"a\n1\n"})
    assert snap("s3://data/set").digest == first.digest


# ---------------------------------------------------------------- writing


def test_what_is_written_is_there_whole(client):
    content = bytes(range(256)) * 40_000  # more than one part of a multipart upload
    uri = SubjectUri.parse("s3://data/out/x.bin")
    store_for(uri).write(uri, io.BytesIO(content))
    assert client.get_object(Bucket="data", Key="out/x.bin")["Body"].read() == content
    assert read(snap("s3://data/out"), "x.bin") == content


def test_a_target_that_cannot_be_written_is_an_error_about_the_subject(client):
    uri = SubjectUri.parse("s3://no-such-bucket/x")
    with pytest.raises(SubjectError, match="s3://no-such-bucket/x"):
        store_for(uri).write(uri, io.BytesIO(b"x"))


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("uri", ["s3://data/missing", "s3://data/missing.csv"])
def test_a_key_that_is_not_there_does_not_exist(client, uri):
    with pytest.raises(SubjectError, match="does not exist: no object of that key"):
        snap(uri)


@pytest.mark.parametrize("uri", ["s3://no-such-bucket", "s3://no-such-bucket/key"])
def test_a_missing_bucket_is_named_as_such(client, uri):
    with pytest.raises(SubjectError, match="NoSuchBucket"):
        snap(uri)


def test_a_name_that_no_bucket_can_have_is_an_error_about_the_subject(client):
    with pytest.raises(SubjectError, match="ParamValidationError"):
        snap("s3://not a bucket/key")


def test_without_credentials_nothing_is_read_not_even_what_is_public(client, fresh, monkeypatch):
    put(client, **{"set/a.csv": b"a\n1\n"})
    client.put_object_acl(Bucket="data", Key="set/a.csv", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for uri in ("s3://data/set", "s3://data/set/a.csv"):
        with pytest.raises(SubjectError, match="no AWS credentials") as caught:
            snap(uri)
        assert "anonymous access is never tried" in caught.value.next_step
    with pytest.raises(SubjectError, match="no AWS credentials"):
        S3Store().write(SubjectUri.parse("s3://data/x"), io.BytesIO(b"x"))


def test_half_a_set_of_credentials_is_no_credentials(client, fresh, monkeypatch):
    put(client, **{"set/a.csv": b"a\n1\n"})
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SubjectError, match="s3://data/set"):
        snap("s3://data/set")


def test_no_secret_appears_in_an_error(fresh, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(SubjectError) as caught:
        snap("s3://no-such-bucket/key")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_PROFILE", "no-such-profile"), ("AWS_ENDPOINT_URL_S3", "not a url")],
)
def test_configuration_that_is_unusable_is_an_error_about_the_subject(
    fresh, monkeypatch, name, value
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SubjectError, match="cannot reach s3://data/set"):
        snap("s3://data/set")


def test_a_server_that_is_not_there_is_an_error_about_the_subject(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    with pytest.raises(SubjectError, match="cannot reach s3://data/set: EndpointConnectionError"):
        snap("s3://data/set")


def test_a_connection_that_breaks_in_the_middle_of_an_object_gives_no_snapshot(monkeypatch):
    """A server that promises 1000 bytes, sends 10 and hangs up."""
    listing = b'<?xml version="1.0"?><ListBucketResult><Name>data</Name></ListBucketResult>'
    nothing = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    nothing %= (len(listing), listing)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)

        def serve():
            while not stop.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    request = connection.recv(65536)
                    if b"list-type" in request:
                        connection.sendall(nothing)
                    elif request.startswith(b"HEAD"):
                        connection.sendall(head)
                    else:
                        connection.sendall(head + b"a\n1\n2\n3\n4\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            port = listening.getsockname()[1]
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
            with pytest.raises(SubjectError, match=r"cannot reach s3://data/a\.csv"):
                snap("s3://data/a.csv")
        finally:
            stop.set()
            thread.join()
