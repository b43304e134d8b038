"""Subjects by name and by bytes: URIs, manifests, and the only way to read what was hashed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.merkle import leaf_hash, merkle_root
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import SPOOL_BYTES, take_snapshot
from sluicegate.storage.uri import SubjectUri, check_member_path

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


def record(path, content=b"x"):
    return FileRecord(path=path, size=len(content), sha256=Digest.of(content))


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three files."""
    root = tmp_path / "data"
    for name, content in {"b.csv": b"a\n1\n", "a.csv": b"a\n2\n", "sub/c.csv": b"a\n3\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def snap(path):
    return take_snapshot(SubjectUri.parse(path))


def read(snapshot, path):
    with snapshot.open(path) as source:
        return source.read()


# ---------------------------------------------------------------- URIs


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=3))
def test_the_uri_of_a_local_path_leads_back_to_the_same_path(parts):
    path = "/" + "/".join(parts)
    assume(not path.startswith("//"))
    uri = SubjectUri.parse(path)
    assert uri.path == os.path.abspath(path)
    assert SubjectUri.parse(str(uri)) == uri


@pytest.mark.parametrize("name", ["100%25.csv", "a%20b", "what?.csv", "part#1.csv", "a b", "é"])
def test_a_file_with_an_awkward_name_is_found_again_through_its_uri(tmp_path, name):
    (tmp_path / name).write_bytes(b"a\n1\n")
    found = snap(str(SubjectUri.parse(tmp_path / name)))
    assert found.manifest.files[0].path == name


def test_the_spellings_of_one_local_place_are_one_uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    here = SubjectUri("file", f"{tmp_path}/x y")
    spellings = [
        "x y",
        "./x y/",
        "sub/../x y",
        "~/x y",
        f"{tmp_path}/x y",
        f"file://{tmp_path}/x%20y",
        f"file://localhost{tmp_path}/x y",
        f"FILE://{tmp_path}/x y",
        Path("x y"),
    ]
    assert {SubjectUri.parse(spelling) for spelling in spellings} == {here}
    assert here.local == tmp_path / "x y"
    assert here.name == "x y"


def test_a_remote_uri_keeps_its_path_and_loses_a_trailing_slash():
    uri = SubjectUri.parse("S3://bucket/some/prefix/")
    assert (uri.scheme, uri.path, uri.name) == ("s3", "bucket/some/prefix", "prefix")
    assert str(uri) == "s3://bucket/some/prefix"
    with pytest.raises(SubjectError, match="not a local path"):
        _ = uri.local


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("s3://", "no path"),
        ("s3:///", "no path"),
        ("s3://bucket/key?versionId=1", "query or fragment"),
        ("s3://bucket/key#part", "query or fragment"),
        ("file:///data?x=1", "query or fragment"),
        ("file:///data#1", "query or fragment"),
        ("file://elsewhere/data", "another host"),
        ("file://[broken/data", "another host"),
        ("/data\x00.csv", "NUL"),
        ("file:///data%00.csv", "NUL"),
        ("/tmp/\ud800", "no valid Unicode"),
        ("s3://bucket/\udcff", "no valid Unicode"),
        ("http://host/clean/../dirty/a.csv", "holds '.' or '..'"),
        ("http://host/clean/%2e%2E/dirty/a.csv", "holds '.' or '..'"),
        ("gs://bucket/clean/.%2e/dirty", "holds '.' or '..'"),
        ("s3://bucket/./a", "holds '.' or '..'"),
        ("memory://bucket/a/..", "holds '.' or '..'"),
    ],
)
def test_a_uri_that_does_not_say_one_thing_is_refused(text, why):
    with pytest.raises(SubjectError, match=why):
        SubjectUri.parse(text)


@pytest.mark.parametrize("path", ["bucket/..a/b..", "bucket/.../c", "bucket/.hidden/%2ea", "b.c/d"])
def test_dots_in_a_name_are_no_way_out(path):
    assert str(SubjectUri.parse(f"gs://{path}")) == f"gs://{path}"


def test_the_local_scheme_of_fsspec_is_another_name_for_the_same_place():
    assert str(SubjectUri.parse("local:///lake/clean/../dirty%20x")) == "file:///lake/dirty x"


@pytest.mark.parametrize(
    "text", ["s3://AKIA:hunter2@bucket/key", "gs://hunter2@b", "file://me:hunter2@host/data"]
)
def test_credentials_in_a_uri_are_refused_and_never_repeated(text):
    with pytest.raises(SubjectError) as caught:
        SubjectUri.parse(text)
    assert "hunter2" not in str(caught.value)


def test_a_link_is_refused_under_the_local_scheme_of_fsspec_too(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(SubjectError, match="symbolic link"):
        snap(f"local://{tmp_path}/data")


def test_joining_only_ever_goes_down():
    uri = SubjectUri.parse("s3://bucket/a")
    assert str(uri.join("b", "c.csv")) == "s3://bucket/a/b/c.csv"
    assert str(SubjectUri("file", "/").join("b")) == "file:///b"
    for member in ("..", "/etc", "a/../../b", "", "a//b", "."):
        with pytest.raises(SubjectError, match="plain relative path"):
            uri.join("b", member)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../x",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "a\\..\\b",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a\x1b[2Jb",
        "\udc80",
    ],
    ids=ascii,
)
def test_a_member_name_that_could_leave_its_folder_or_fool_a_terminal_is_refused(path):
    with pytest.raises(SubjectError, match="plain relative path") as caught:
        check_member_path(path, where="s3://bucket")
    assert str(caught.value).isascii()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("path", ["a", "a/b.csv", "..a", "a..", "...", "a b", "é/ü", ".hidden"])
def test_an_ordinary_member_name_is_left_alone(path):
    assert check_member_path(path, where="here") == path


# ---------------------------------------------------------------- manifests

RECORDS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\."), min_size=1),
    st.binary(max_size=5),
    min_size=1,
    max_size=8,
).map(lambda files: [record(path, content) for path, content in files.items()])


@settings(deadline=None, max_examples=60)
@given(RECORDS, st.randoms())
def test_a_manifest_does_not_depend_on_the_order_of_listing(records, random):
    shuffled = list(records)
    random.shuffle(shuffled)
    one, other = Manifest.of(records), Manifest.of(shuffled)
    assert one.digest == other.digest
    assert one.ndjson() == other.ndjson()
    assert [file.path.encode() for file in one.files] == sorted(
        file.path.encode() for file in records
    )
    for one_record in records:
        assert one.find(one_record.path) == one_record


@settings(deadline=None, max_examples=60)
@given(RECORDS, st.data())
def test_renaming_editing_adding_or_removing_a_file_gives_another_digest(records, data):
    before = Manifest.of(records)
    changed = list(records)
    at = data.draw(st.integers(0, len(records) - 1))
    old = records[at]
    match data.draw(st.sampled_from(["path", "content", "size", "add", "remove"])):
        case "path":
            changed[at] = FileRecord(path=f"{old.path}/x", size=old.size, sha256=old.sha256)
        case "content":
            changed[at] = record(old.path, b"another content")
        case "size":
            changed[at] = FileRecord(path=old.path, size=old.size + 1, sha256=old.sha256)
        case "add":
            changed.append(record("new/file"))
        case "remove":
            changed.pop(at)
    if changed:
        assert Manifest.of(changed).digest != before.digest


def test_swapping_the_contents_of_two_files_gives_another_digest():
    one = Manifest.of([record("a", b"1"), record("b", b"2")])
    other = Manifest.of([record("a", b"2"), record("b", b"1")])
    assert one.digest != other.digest


def test_the_digest_is_the_merkle_root_of_the_stored_lines():
    manifest = Manifest.of([record("b"), record("a", b"yy")])
    lines = manifest.ndjson().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a", "b"]
    assert manifest.digest.hex == merkle_root(map(leaf_hash, lines)).hex()
    assert manifest.size == 3


def test_the_dir_hash_can_be_recomputed_with_sha256sum(folder):
    names = ["a.csv", "b.csv", "sub/c.csv"]
    printed = subprocess.run(
        ["sha256sum", *names], cwd=folder, check=True, capture_output=True
    ).stdout
    assert snap(folder).manifest.dir_hash() == hashlib.sha256(printed).hexdigest()


def test_a_subject_without_files_is_no_subject(tmp_path):
    with pytest.raises(SubjectError, match="holds no files"):
        Manifest.of([])
    with pytest.raises(SubjectError, match="holds no files"):
        snap(tmp_path)
    (tmp_path / "empty" / "folders").mkdir(parents=True)
    with pytest.raises(SubjectError, match="holds no files"):
        snap(tmp_path)


def test_one_path_listed_twice_is_refused():
    with pytest.raises(SubjectError, match="lists 'a' twice"):
        Manifest.of([record("a", b"1"), record("b"), record("a", b"2")])


def test_a_file_that_the_manifest_does_not_list_is_not_found():
    manifest = Manifest.of([record("b"), record("d")])
    for path in ("a", "c", "e", "B"):
        with pytest.raises(SubjectError, match="not in the manifest"):
            manifest.find(path)


# ---------------------------------------------------------------- snapshots


def test_a_snapshot_lists_every_file_with_size_and_digest(folder):
    files = snap(folder).manifest.files
    assert [(file.path, file.size) for file in files] == [
        ("a.csv", 4),
        ("b.csv", 4),
        ("sub/c.csv", 4),
    ]
    assert files[2].sha256 == Digest.of(b"a\n3\n")


def test_moving_a_subject_does_not_change_its_digest(folder, tmp_path):
    before = snap(folder)
    folder.rename(tmp_path / "moved")
    assert snap(tmp_path / "moved").digest == before.digest


def test_a_single_file_is_named_itself_wherever_it_lies(folder):
    snapshot = snap(folder / "a.csv")
    assert snapshot.is_single_file
    assert [file.path for file in snapshot.manifest.files] == ["a.csv"]
    assert read(snapshot, "a.csv") == b"a\n2\n"
    assert not snap(folder).is_single_file


@pytest.mark.parametrize(
    "content",
    [b"a\n9\n", b"a\n22\n", b"a\n2", b"", b"a\n2\n" * 1000],
    ids=["same length", "longer", "shorter", "empty", "much longer"],
)
def test_bytes_that_changed_after_the_snapshot_are_never_handed_out(folder, content):
    snapshot = snap(folder)
    (folder / "a.csv").write_bytes(content)
    with pytest.raises(SubjectChangedError, match=r"a\.csv of file://.* changed"):
        snapshot.open("a.csv")
    assert read(snapshot, "b.csv") == b"a\n1\n"


def test_what_was_opened_stays_what_it_was_when_the_file_changes_afterwards(folder):
    with snap(folder).open("a.csv") as source:
        first = source.read(1)
        (folder / "a.csv").write_bytes(b"poison")
        assert first + source.read() == b"a\n2\n"
        assert source.seek(0) == 0
        assert source.read() == b"a\n2\n"


def test_a_file_that_is_removed_or_turned_into_a_link_is_never_handed_out(folder):
    snapshot = snap(folder)
    (folder / "b.csv").unlink()
    with pytest.raises(SubjectError, match="does not exist"):
        snapshot.open("b.csv")
    (folder / "a.csv").rename(folder / "other.csv")
    (folder / "a.csv").symlink_to("other.csv")
    with pytest.raises(SubjectError, match="became a symbolic link"):
        snapshot.open("a.csv")


def test_a_file_outside_of_the_snapshot_cannot_be_opened_through_it(folder, tmp_path):
    (tmp_path / "secret.csv").write_bytes(b"a\n1\n")
    snapshot = snap(folder)
    (folder / "late.csv").write_bytes(b"a\n1\n")
    for path in ("late.csv", "../secret.csv", str(tmp_path / "secret.csv")):
        with pytest.raises(SubjectError, match="not in the manifest"):
            snapshot.open(path)


def test_a_file_that_grows_while_it_is_hashed_gives_no_snapshot(folder):
    class Growing(type(snap(folder).store)):
        def open(self, subject, path):
            with (folder / path).open("ab") as out:
                out.write(b"4\n")
            return super().open(subject, path)

    with pytest.raises(SubjectChangedError, match="listed with 4 bytes, read 6"):
        take_snapshot(SubjectUri.parse(folder), store=Growing())


def test_a_read_that_fails_halfway_is_an_error_about_the_subject(folder):
    class Broken:
        def __init__(self, source):
            self.source = source

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.source.close()

        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    class BrokenInto(Broken):
        def readinto(self, buffer):
            return self.read()

    store = type(snap(folder).store)
    for kind in (Broken, BrokenInto):

        class Failing(store):
            def open(self, subject, path, kind=kind):
                return kind(super().open(subject, path))

        with pytest.raises(SubjectError, match=r"reading file://.* failed: OSError"):
            take_snapshot(SubjectUri.parse(folder), store=Failing())


def test_a_file_larger_than_the_memory_for_copies_is_read_whole(tmp_path):
    path = tmp_path / "large.bin"
    with path.open("wb") as out:
        out.truncate(SPOOL_BYTES + 3)
    snapshot = snap(path)
    with snapshot.open("large.bin") as source:
        assert source.seek(0, os.SEEK_END) == SPOOL_BYTES + 3
    assert snapshot.manifest.size == SPOOL_BYTES + 3


def test_copies_are_verified_and_keep_the_folder_structure(folder, tmp_path):
    snapshot = snap(folder)
    target = snapshot.copy_to(tmp_path / "copy")
    assert target == tmp_path / "copy"
    assert snap(target).digest == snapshot.digest
    single = snap(folder / "a.csv").copy_to(tmp_path / "one")
    assert single == tmp_path / "one" / "a.csv"
    assert single.read_bytes() == b"a\n2\n"
    (folder / "sub" / "c.csv").write_bytes(b"a\n4\n")
    with pytest.raises(SubjectChangedError):
        snapshot.copy_to(tmp_path / "late")
    assert not (tmp_path / "late" / "sub" / "c.csv").exists()


def test_progress_is_told_in_bytes_up_to_the_whole(folder):
    told = []
    take_snapshot(SubjectUri.parse(folder), progress=lambda *args: told.append(args))
    assert told == [("hashing", 4, 12), ("hashing", 8, 12), ("hashing", 12, 12)]
