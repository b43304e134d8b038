"""Storage through fsspec, with its in-memory file system as the real thing."""

from __future__ import annotations

import io

import fsspec
import pytest

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.fsspec_store import FsspecStore
from sluicegate.storage.snapshot import store_for, take_snapshot
from sluicegate.storage.tables import read_table
from sluicegate.storage.uri import SubjectUri


@pytest.fixture
def memory():
    """Return the in-memory file system, emptied before and after."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


def snap(uri):
    return take_snapshot(SubjectUri.parse(uri))


def paths(uri):
    return [file.path for file in snap(uri).manifest.files]


def read(snapshot, path):
    with snapshot.open(path) as source:
        return source.read()


def test_a_folder_has_the_same_digest_as_its_local_copy(memory, tmp_path):
    (tmp_path / "sub").mkdir()
    for name, content in {"a.csv": b"a\n1\n", "sub/b.csv": b"a\n2\n"}.items():
        memory.pipe(f"/bucket/set/{name}", content)
        (tmp_path / name).write_bytes(content)
    snapshot = snap("memory://bucket/set/")
    assert snapshot.digest == snap(tmp_path).digest
    assert list(read_table(snapshot).frame["a"]) == [1, 2]


def test_a_single_file_is_named_by_itself(memory):
    memory.pipe("/bucket/set/a.csv", b"a\n1\n")
    snapshot = snap("memory://bucket/set/a.csv")
    assert snapshot.is_single_file
    assert [file.path for file in snapshot.manifest.files] == ["a.csv"]
    assert read(snapshot, "a.csv") == b"a\n1\n"


def test_names_that_only_begin_like_the_folder_do_not_belong_to_it(memory):
    for name in ("set/a.csv", "set2/b.csv", "set.csv"):
        memory.pipe(f"/bucket/{name}", b"x")
    assert paths("memory://bucket/set") == ["a.csv"]


def test_what_is_not_there_does_not_exist(memory):
    memory.pipe("/bucket/a.csv", b"x")
    for uri in ("memory://bucket/b", "memory://elsewhere", "memory://bucket/a.csv/below"):
        with pytest.raises(SubjectError, match="does not exist"):
            snap(uri)


def test_an_empty_folder_is_no_subject(memory):
    memory.makedirs("/bucket/empty")
    with pytest.raises(SubjectError):
        snap("memory://bucket/empty")


@pytest.mark.parametrize("name", ["../x.csv", "a/../../x.csv", "a\\b.csv", "a\nb.csv"])
def test_a_name_that_would_leave_a_folder_when_copied_is_refused(memory, name):
    memory.pipe("/bucket/set/a.csv", b"x")
    memory.store[f"/bucket/set/{name}"] = memory.store["/bucket/set/a.csv"]
    with pytest.raises(SubjectError, match="plain relative path"):
        snap("memory://bucket/set")


def test_bytes_that_changed_after_the_snapshot_are_never_handed_out(memory):
    memory.pipe("/bucket/set/a.csv", b"a\n1\n")
    snapshot = snap("memory://bucket/set")
    memory.pipe("/bucket/set/a.csv", b"a\n9\n")
    with pytest.raises(SubjectChangedError):
        snapshot.open("a.csv")
    memory.rm("/bucket/set/a.csv")
    with pytest.raises(SubjectError, match="does not exist"):
        snapshot.open("a.csv")


def test_what_is_written_can_be_read_and_folders_are_made(memory):
    target = SubjectUri.parse("memory://bucket/out/deep/x.bin")
    store_for(target).write(target, io.BytesIO(b"x" * 3_000_000))
    assert memory.cat("/bucket/out/deep/x.bin") == b"x" * 3_000_000
    assert paths("memory://bucket/out") == ["deep/x.bin"]


def test_a_source_that_fails_halfway_leaves_nothing_to_be_read(memory):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError("the disk is gone")
            return super().read(3)

    target = SubjectUri.parse("memory://bucket/out/x.bin")
    with pytest.raises(SubjectError, match=r"cannot write memory://bucket/out/x\.bin"):
        store_for(target).write(target, Failing(b"content"))
    assert not memory.exists("/bucket/out/x.bin")


@pytest.mark.parametrize("uri", ["nosuchscheme://bucket/key", "gdrive2://x/y"])
def test_a_scheme_that_nobody_serves_is_an_error_about_the_subject(uri):
    with pytest.raises(SubjectError, match="no storage is installed") as caught:
        snap(uri)
    assert "fsspec implementation" in caught.value.next_step


def test_a_storage_that_cannot_be_reached_is_an_error_about_the_subject(monkeypatch):
    def unreachable(_: str) -> None:
        raise PermissionError("token hunter2")

    monkeypatch.setattr("fsspec.core.url_to_fs", unreachable)
    with pytest.raises(SubjectError, match="cannot connect") as caught:
        snap("gs://bucket/key")
    assert "hunter2" not in str(caught.value)


def test_a_link_that_the_storage_reports_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "link.csv").symlink_to("a.csv")

    # fsspec's own local file system, which this store never serves under its usual names.
    subject = SubjectUri("local", str(tmp_path))
    with pytest.raises(SubjectError, match="symbolic link"):
        list(FsspecStore().entries(subject))
