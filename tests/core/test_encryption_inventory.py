"""Reports of S3 Inventory: read, matched with what S3 lists now, and never believed too much.

The simulator writes no reports, so they are made here in the published form: Parquet with
the column names of S3, or gzipped CSV with URL-encoded keys.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.model import Outcome
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws, Unknown
from sluicegate.stages.encryption.s3 import by_inventory as by_inventory_module
from sluicegate.stages.encryption.s3 import inventory as inventory_module
from sluicegate.stages.encryption.s3 import inventory_rows as rows_module
from sluicegate.stages.encryption.s3 import listing as listing_module
from sluicegate.stages.encryption.s3.head import Head, Miss
from sluicegate.stages.encryption.s3.inventory import DataFile, Report, open_report, source_of
from sluicegate.stages.encryption.s3.inventory_rows import modes_in
from sluicegate.stages.encryption.s3.listing import Listing
from sluicegate.stages.encryption.s3.objects import AREA
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.local import LocalStore
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at, reset

COLUMNS = {
    "bucket": "Bucket",
    "key": "Key",
    "version_id": "VersionId",
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
    "storage_class": "StorageClass",
    "encryption_status": "EncryptionStatus",
}
ODD = ("plain", "a b", "c+d", "e%20f", "g%2Fh", "ü/日本", "x,y\"z'", "q#?&=", "~_-.!*()")


@pytest.fixture(scope="module")
def server():
    """Run a simulated S3 for all tests of this file."""
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path):
    """Point the usual AWS configuration at the server, and at nothing else."""
    point_at(server, monkeypatch, tmp_path, service="S3")


@pytest.fixture
def client(server, environment):
    """Return a client of the simulator, with empty buckets ``data`` and ``reports``."""
    made = boto3.client("s3")
    reset(server)
    made.create_bucket(Bucket="data")
    made.create_bucket(Bucket="reports")
    return made


def listed(client, prefix="", status="SSE-S3", bucket="data"):
    """Return rows as S3 would report them, of the objects that are there."""
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return [
        {
            "bucket": bucket,
            "key": one["Key"],
            "version_id": "v",
            "is_latest": True,
            "is_delete_marker": False,
            "size": one["Size"],
            "last_modified_date": one["LastModified"],
            "e_tag": one["ETag"].strip('"'),
            "storage_class": "STANDARD",
            "encryption_status": status,
        }
        for one in found
    ]


def parquet(rows, columns=tuple(COLUMNS)):
    types = {
        "is_latest": pa.bool_(),
        "is_delete_marker": pa.bool_(),
        "size": pa.int64(),
        "last_modified_date": pa.timestamp("ms", "UTC"),
    }
    table = pa.table(
        {
            name: pa.array([row[name] for row in rows], types.get(name, pa.string()))
            for name in columns
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=4)
    return sink.getvalue().to_pybytes()


def csv(rows, columns=tuple(COLUMNS)):
    def cell(name, value):
        if value is None:
            return '""'
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, datetime):
            value = value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        elif name == "key":
            value = quote_plus(value, safe="/")
        return f'"{value}"'

    lines = [",".join(cell(name, row[name]) for name in columns) for row in rows]
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


def now():
    return datetime.now(UTC)


def report(rows, *, kind="Parquet", columns=tuple(COLUMNS), parts=1, **changes):
    """Return the files of a report by their names, and change its manifest."""
    write, ending = (parquet, "parquet") if kind == "Parquet" else (csv, "csv.gz")
    made, listing = {}, []
    for part in range(parts):
        content = write(rows[part::parts], columns)
        name = f"part-{part}.{ending}"
        made[name] = content
        listing.append(
            {
                "key": f"x/data/all/data/{name}",
                "size": len(content),
                "MD5checksum": hashlib.md5(content).hexdigest(),
            }
        )
    if kind == "Parquet":
        fields = " ".join(f"optional binary {name} (STRING);" for name in columns)
        schema = f"message s3.inventory {{ {fields} }}"
    else:
        schema = ", ".join(COLUMNS[name] for name in columns)
    manifest = {
        "sourceBucket": "data",
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": str(int(now().timestamp() * 1000)),
        "fileFormat": kind,
        "fileSchema": schema,
        "files": listing,
    } | changes
    raw = json.dumps(manifest).encode()
    made["manifest.json"] = raw
    made["manifest.checksum"] = hashlib.md5(raw).hexdigest().encode()
    return made


def put(folder, made):
    """Write a report as a copy of S3's folders has it."""
    home = folder / "2026-11-22T01-00Z"
    home.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    for name, content in made.items():
        (home if name.startswith("manifest") else folder / "data").joinpath(name).write_bytes(
            content
        )
    return str(home)


def scope_of(uri, inventory, manifest=None, **settings):
    subject = SubjectUri.parse(uri)
    snapshot = Snapshot(subject, manifest, LocalStore()) if manifest else take_snapshot(subject)
    return Scope(
        settings=Settings(inventory=inventory, **settings),
        snapshot=snapshot,
        context=Context(),
        aws=Aws(attempts=1, seconds=5.0),
        now=now(),
    )


def mode(scope):
    settings = dataclasses.replace(scope.settings, checks=("encryption.s3_object_mode",))
    return list(AREA.examine(dataclasses.replace(scope, settings=settings)))


def reason(scope):
    (check,) = mode(scope)
    assert check.outcome is Outcome.UNKNOWN, check
    return check.reason


def three(client):
    for name in ("a", "b", "sub/c"):
        client.put_object(Bucket="data", Key=f"set/{name}", Body=b"abc")
    client.put_object(Bucket="data", Key="other/d", Body=b"abc")
    return listed(client)


# ---------------------------------------------------------------- what a report says


@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_report_in_which_all_is_encrypted_passes(client, tmp_path, kind, parts):
    where = put(tmp_path, report(three(client), kind=kind, parts=parts))
    scope = scope_of("s3://data/set", where)
    (check,) = mode(scope)
    assert check.outcome is Outcome.PASSED
    assert scope.metrics["objects"] == 3
    assert {row["mode"] for row in scope.tables["objects"]} == {"SSE-S3"}


@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
@pytest.mark.parametrize("status", ["NOT-SSE", "SSE-C", "SSE-FSX", "", None, "sse-s3", "none"])
def test_any_other_status_fails(client, tmp_path, kind, status):
    rows = three(client)
    rows[2]["encryption_status"] = status  # set/a comes after other/d
    where = put(tmp_path, report(rows, kind=kind))
    (check,) = mode(scope_of("s3://data/set", where))
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].files == (rows[2]["key"].removeprefix("set/"),)


def test_what_is_outside_the_subject_does_not_count(client, tmp_path):
    rows = three(client)
    next(row for row in rows if row["key"] == "other/d")["encryption_status"] = "NOT-SSE"
    where = put(tmp_path, report(rows))
    assert mode(scope_of("s3://data/set", where))[0].outcome is Outcome.PASSED


@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
def test_keys_with_any_character_are_found(client, tmp_path, kind):
    for name in ODD:
        client.put_object(Bucket="data", Key=f"set/{name}", Body=b"abc")
    where = put(tmp_path, report(listed(client), kind=kind))
    assert mode(scope_of("s3://data/set", where))[0].outcome is Outcome.PASSED


@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
def test_only_current_versions_of_this_bucket_count(client, tmp_path, kind):
    rows = three(client)
    first = next(row for row in rows if row["key"] == "set/a")
    old = first | {"is_latest": False, "encryption_status": "NOT-SSE"}
    marker = first | {"is_delete_marker": True, "size": None, "encryption_status": None}
    foreign = first | {"bucket": "elsewhere", "encryption_status": "NOT-SSE"}
    where = put(tmp_path, report([*rows, old, marker, foreign], kind=kind))
    assert mode(scope_of("s3://data/set", where))[0].outcome is Outcome.PASSED


def test_reports_on_s3_and_single_objects_are_read(client):
    rows = three(client)
    for name, content in report(rows).items():
        folder = "2026-11-22T01-00Z" if name.startswith("manifest") else "data"
        client.put_object(Bucket="reports", Key=f"x/data/all/{folder}/{name}", Body=content)
    where = "s3://reports/x/data/all/2026-11-22T01-00Z"
    for uri in ("s3://data/set", "s3://data/set/a", "s3://data/set/sub", "s3://data"):
        for place in (where, f"{where}/manifest.json"):
            assert mode(scope_of(uri, place))[0].outcome is Outcome.PASSED
    client.put_object(Bucket="data", Key="lone/lone", Body=b"abc")
    assert "does not list" in reason(scope_of("s3://data/lone", where))


# ---------------------------------------------------------------- objects that are not those


def test_an_object_that_the_report_lacks_is_unknown(client, tmp_path):
    rows = three(client)
    where = put(tmp_path, report([row for row in rows if row["key"] != "set/a"]))
    assert reason(scope_of("s3://data/set", where)) == (
        "1 of 3 objects: the inventory does not list the object"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"e_tag": "0" * 32},
        {"e_tag": None},
        {"size": 4},
        {"size": None},
        {"last_modified_date": datetime(2026, 1, 1, tzinfo=UTC)},
        {"last_modified_date": None},
    ],
)
@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
def test_an_object_that_is_not_the_one_reported_is_unknown(client, tmp_path, change, kind):
    rows = three(client)
    next(row for row in rows if row["key"] == "set/b").update(change)
    where = put(tmp_path, report(rows, kind=kind))
    assert "written again after the inventory" in reason(scope_of("s3://data/set", where))


def test_the_same_bytes_written_again_are_unknown(client, tmp_path):
    rows = three(client)
    row = next(row for row in rows if row["key"] == "set/b")
    row["last_modified_date"] -= timedelta(seconds=1)
    where = put(tmp_path, report(rows))
    assert reason(scope_of("s3://data/set", where)).startswith("1 of 3 objects: ")


def test_an_object_reported_twice_is_unknown(client, tmp_path):
    rows = three(client)
    twice = next(row for row in rows if row["key"] == "set/b")
    where = put(tmp_path, report([*rows, twice | {"encryption_status": "NOT-SSE"}], parts=2))
    assert "more than once" in reason(scope_of("s3://data/set", where))


def test_an_object_that_is_gone_is_unknown(client, tmp_path):
    where = put(tmp_path, report(three(client)))
    scope = scope_of("s3://data/set", where)
    client.delete_object(Bucket="data", Key="set/b")
    assert "not there any more" in reason(scope)


def test_an_object_of_another_size_stops_the_run(client, tmp_path):
    where = put(tmp_path, report(three(client)))
    scope = scope_of("s3://data/set", where)
    client.put_object(Bucket="data", Key="set/b", Body=b"abcd")
    with pytest.raises(SubjectChangedError, match="expected 3 bytes, S3 says 4"):
        mode(scope)


def test_a_bucket_that_cannot_be_listed_is_unknown(client, tmp_path, monkeypatch):
    where = put(tmp_path, report(three(client)))
    scope = scope_of("s3://data/set", where)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert "s3.list_objects_v2" in reason(scope)
    denied = lambda *_: Unknown("s3.list_objects_v2: access denied (403)")  # noqa: E731
    monkeypatch.setattr(listing_module, "ask", denied)
    assert "s3:ListBucket" in reason(scope)


def test_a_listing_of_many_pages_is_put_together(client, tmp_path, monkeypatch):
    monkeypatch.setattr(listing_module, "_FLUSH", 2)
    where = put(tmp_path, report(three(client)))
    assert mode(scope_of("s3://data", where))[0].outcome is Outcome.PASSED


def test_a_longer_listing_than_is_read_is_unknown(client, tmp_path, monkeypatch):
    monkeypatch.setattr(listing_module, "_MOST_PAGES", 0)
    where = put(tmp_path, report(three(client)))
    assert "not there any more" in reason(scope_of("s3://data/set", where))


# ---------------------------------------------------------------- reports that say nothing


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sourceBucket": "elsewhere"}, "describes the bucket elsewhere, not data"),
        ({"fileFormat": "ORC"}, "only Parquet and CSV"),
        ({"fileFormat": None}, "only Parquet and CSV"),
        ({"fileSchema": "message s3.inventory { required binary key (STRING); }"}, "has no Size"),
        ({"fileSchema": 7}, "has no Key"),
        ({"creationTimestamp": "soon"}, "is not one of S3 Inventory"),
        ({"creationTimestamp": "9" * 400}, "is not one of S3 Inventory"),
        ({"files": 7}, "is not one of S3 Inventory"),
        ({"files": [{"key": "k"}]}, "is not one of S3 Inventory"),
        ({"files": [{"key": "k", "size": -1, "MD5checksum": "0" * 32}]}, "cannot be right"),
        ({"files": [{"key": "k", "size": 1, "MD5checksum": "x"}]}, "cannot be right"),
        ({"files": [{"key": "../..", "size": 1, "MD5checksum": "0" * 32}]}, "without a name"),
        ({"files": [{"key": "a/gone", "size": 1, "MD5checksum": "0" * 32}]}, "cannot be opened"),
        ({"files": []}, "does not list the object"),
    ],
)
def test_manifests_that_are_wrong_say_nothing(client, tmp_path, changes, told):
    where = put(tmp_path, report(three(client), **changes))
    assert told in reason(scope_of("s3://data/set", where))


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (timedelta(days=8, seconds=60), "more than 8 days old"),
        (timedelta(days=7, hours=23), ""),
        (-timedelta(hours=2), "from the future"),
    ],
)
def test_reports_must_be_neither_old_nor_from_the_future(client, tmp_path, age, told):
    created = str(int((now() - age).timestamp() * 1000))
    where = put(tmp_path, report(three(client), creationTimestamp=created))
    (check,) = mode(scope_of("s3://data/set", where))
    assert told in check.reason
    assert (check.outcome is Outcome.PASSED) == (not told)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.checksum"])
def test_a_report_without_manifest_or_checksum_says_nothing(client, tmp_path, name):
    made = report(three(client))
    del made[name]
    told = reason(scope_of("s3://data/set", put(tmp_path, made)))
    assert f"{name} cannot be opened: FileNotFoundError" in told
    assert "s3.get_object" in reason(scope_of("s3://data/set", "s3://reports/nowhere"))


def test_damage_is_noticed(client, tmp_path):
    made = report(three(client))
    scope = scope_of("s3://data/set", put(tmp_path, made))
    put(tmp_path, made | {"manifest.checksum": b"0" * 32})
    assert "damaged" in reason(scope)
    put(tmp_path, made | {"part-0.parquet": made["part-0.parquet"][:-1] + b"x"})
    assert "not the file that its manifest lists" in reason(scope)
    put(tmp_path, made | {"part-0.parquet": made["part-0.parquet"] + b"x"})
    assert "not the file that its manifest lists" in reason(scope)
    put(
        tmp_path,
        made | {"manifest.json": b"[]", "manifest.checksum": b"d751713988987e9331980363e24189ce"},
    )
    assert "not one of S3 Inventory" in reason(scope)


@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
def test_data_files_that_cannot_be_parsed_say_nothing(client, tmp_path, kind, monkeypatch):
    rows = three(client)
    for content in (b"", b"rubbish" * 50, gzip.compress(b'"a","b"\n'), gzip.compress(b"a" * 10**7)):
        monkeypatch.setattr(f"{__name__}.{kind.lower()}", lambda *_, content=content: content)
        told = reason(scope_of("s3://data/set", put(tmp_path, report(rows, kind=kind))))
        assert "cannot be read" in told or "does not list" in told


def test_columns_may_be_missing_from_the_data_though_not_from_the_manifest(client, tmp_path):
    rows, fewer = three(client), ("key", "size")
    made = report(rows)
    content = parquet(rows, fewer)
    manifest = json.loads(made["manifest.json"])
    manifest["files"][0] |= {"size": len(content), "MD5checksum": hashlib.md5(content).hexdigest()}
    raw = json.dumps(manifest).encode()
    made |= {
        "part-0.parquet": content,
        "manifest.json": raw,
        "manifest.checksum": hashlib.md5(raw).hexdigest().encode(),
    }
    assert "cannot be read: KeyError" in reason(scope_of("s3://data/set", put(tmp_path, made)))


@pytest.mark.parametrize("name", ["size", "e_tag", "last_modified_date", "encryption_status"])
@pytest.mark.parametrize("kind", ["Parquet", "CSV"])
def test_needed_columns_are_named(client, tmp_path, kind, name):
    columns = tuple(one for one in COLUMNS if one != name)
    where = put(tmp_path, report(three(client), kind=kind, columns=columns))
    assert f"has no {COLUMNS[name]}" in reason(scope_of("s3://data/set", where))


def test_bounds_hold(client, tmp_path, monkeypatch):
    where = put(tmp_path, report(three(client)))
    scope = scope_of("s3://data/set", where)
    with monkeypatch.context() as patch:
        patch.setattr(rows_module, "_MOST_ROWS", 3)
        assert "more than 3 rows" in reason(scope)
    with monkeypatch.context() as patch:
        patch.setattr(inventory_module, "_MOST_MANIFEST", 10)
        assert "larger than 10 bytes" in reason(scope)
    with monkeypatch.context() as patch:
        patch.setattr(by_inventory_module, "bounded", lambda *_: None)
        assert "took longer" in reason(scope)


def test_too_many_statuses_are_not_told_apart(client, tmp_path):
    for at in range(60):
        client.put_object(Bucket="data", Key=f"set/{at}", Body=b"abc")
    rows = listed(client)
    for at, row in enumerate(rows):
        row["encryption_status"] = f"S{at}"
    where = put(tmp_path, report(rows))
    assert "more than 50 different statuses" in reason(scope_of("s3://data/set", where))


def test_places_that_hold_no_reports_are_refused(client):
    three(client)
    with pytest.raises(SubjectError, match="an inventory lies in"):
        mode(scope_of("s3://data/set", "gs://bucket/folder"))


def test_the_manifest_is_read_from_its_folder_or_by_its_name(tmp_path):
    where = put(tmp_path, report([]))
    for place in (where, f"{where}/manifest.json"):
        found = open_report(source_of(place, Aws()), bucket="data", now=now())
        assert isinstance(found, Report)
        assert found.columns[-1] == "encryptionstatus"


def test_what_a_report_does_not_tell_is_unknown(client, tmp_path):
    where = put(tmp_path, report(three(client)))
    scope = scope_of("s3://data/set", where, checks=("encryption.s3_object_*",))
    answers = {
        check.id.removeprefix("encryption.s3_object_"): check for check in AREA.examine(scope)
    }
    assert {name: one.outcome.value for name, one in answers.items()} == {
        "mode": "passed",
        "bucket_key": "unknown",
        "version": "unknown",
        "checksum": "unknown",
        "lock": "unknown",
    }
    key = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-1111-2222-3333-444444444444"
    keyed = scope_of("s3://data/set", where, kms_keys=(key,), checks=("encryption.s3_object_key",))
    (check,) = AREA.examine(keyed)
    assert "does not tell" in check.reason


# ---------------------------------------------------------------- many


@pytest.mark.parametrize("together", [1, 5000, 1 << 19])
@pytest.mark.parametrize("count", [0, 1, 37])
def test_every_bad_one_among_many_is_found(tmp_path, monkeypatch, count, together):
    monkeypatch.setattr(rows_module, "_LOOKUP", together)
    rng = np.random.default_rng(7)
    total = 20_000
    bad = set(rng.choice(total, count, replace=False).tolist())
    keys = [f"set/{at:06}" for at in range(total)]
    modified = 1_700_000_000 + np.arange(total)
    etags = np.array([f"{at:032x}" for at in range(total)], object)
    status = ["NOT-SSE" if at in bad else "SSE-KMS" for at in range(total)]
    order = rng.permutation(total)
    table = pa.table(
        {
            "key": [keys[at] for at in order],
            "size": pa.array(order, pa.int64()),
            "last_modified_date": pa.array(modified[order] * 1000, pa.timestamp("ms")),
            "e_tag": [etags[at] for at in order],
            "encryption_status": [status[at] for at in order],
        }
    )
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=3000)
    content = (tmp_path / "p.parquet").read_bytes()
    file = DataFile("p.parquet", len(content), hashlib.md5(content).hexdigest())
    columns = tuple(name.replace("_", "") for name in table.column_names)
    found = modes_in(
        Report("data", now(), "Parquet", columns, (file,)),
        source_of(str(tmp_path), Aws()),
        keys,
        list(range(total)),
        Listing(np.arange(total), modified, etags),
    )
    assert not any(isinstance(one, Miss) for one in found)
    assert {at for at, one in enumerate(found) if one == Head(mode="none")} == bad


def test_a_manifest_of_many_files_is_matched_whatever_the_order(client, tmp_path):
    rows = three(client)[::-1]
    where = put(tmp_path, report(rows, parts=4))
    records = [FileRecord(path=p, size=3, sha256=Digest.of(b"abc")) for p in ("sub/c", "a", "b")]
    scope = scope_of("s3://data/set", where, Manifest.of(records))
    assert mode(scope)[0].outcome is Outcome.PASSED
