"""Local files and folders: links, devices, odd names, and writing whole or not at all."""

from __future__ import annotations

import io
import os
import socket
import stat
import threading

import pytest

from sluicegate.errors import SubjectError
from sluicegate.storage.base import Entry
from sluicegate.storage.local import LocalStore, write_atomically
from sluicegate.storage.snapshot import store_for, take_snapshot
from sluicegate.storage.uri import SubjectUri


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one file."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "a.csv").write_bytes(b"a\n1\n")
    return root


def entries(path):
    return sorted(LocalStore().entries(SubjectUri.parse(path)))


def read(path, member):
    with LocalStore().open(SubjectUri.parse(path), member) as source:
        return source.read()


# ---------------------------------------------------------------- listing


def test_all_files_are_listed_hidden_and_nested_ones_too(folder):
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "b.csv").write_bytes(b"22")
    (folder / "sub" / ".hidden").write_bytes(b"")
    (folder / "nothing").mkdir()
    assert entries(folder) == [
        Entry("a.csv", 4),
        Entry("sub/.hidden", 0),
        Entry("sub/deep/b.csv", 2),
    ]
    assert entries(folder / "a.csv") == [Entry("a.csv", 4)]


def test_a_path_that_is_not_there_does_not_exist(folder):
    for path in (folder / "missing", folder / "a.csv" / "below"):
        with pytest.raises(SubjectError, match="does not exist"):
            entries(path)
        with pytest.raises(SubjectError, match="does not exist"):
            read(path, path.name)


@pytest.mark.parametrize("target", ["a.csv", "sub", "/etc/hostname", "nowhere", "."])
def test_a_link_inside_a_subject_is_refused_wherever_it_leads(folder, target):
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(target)
    with pytest.raises(SubjectError, match="symbolic link: link"):
        entries(folder)


def test_a_link_deep_inside_a_subject_is_refused(folder):
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "link").symlink_to(folder / "a.csv")
    with pytest.raises(SubjectError, match="symbolic link: sub/deep/link"):
        entries(folder)


def test_a_pipe_is_refused_and_nobody_waits_for_it(folder):
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(SubjectError, match=r"no file: pipe\.csv"):
        entries(folder)
    with pytest.raises(SubjectError, match="neither a file nor a folder"):
        entries(folder / "pipe.csv")
    with pytest.raises(SubjectError, match="not a plain file"):
        read(folder, "pipe.csv")


def test_a_socket_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(SubjectError, match="no file: s"):
            entries(tmp_path)


@pytest.mark.parametrize("name", ["a\nb", "back\\slash", "bell\a", b"\xff\xfe"], ids=ascii)
def test_a_name_that_is_no_plain_text_is_refused(folder, name):
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    with open(path, "wb"):
        pass
    with pytest.raises(SubjectError, match="plain relative path"):
        entries(folder)


def test_the_subject_itself_may_be_a_link_that_a_person_made(folder, tmp_path):
    (tmp_path / "current").symlink_to(folder)
    (tmp_path / "file").symlink_to(folder / "a.csv")
    assert entries(tmp_path / "current") == [Entry("a.csv", 4)]
    assert read(tmp_path / "current", "a.csv") == b"a\n1\n"
    assert entries(tmp_path / "file") == [Entry("file", 4)]
    assert read(tmp_path / "file", "file") == b"a\n1\n"


def test_a_link_that_leads_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SubjectError, match="cannot read"):
        entries(tmp_path / "loop")
    with pytest.raises(SubjectError, match="symbolic link"):
        read(tmp_path / "loop", "loop")


def test_a_folder_whose_place_a_link_takes_after_the_listing_is_caught_by_its_bytes(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "b.csv").write_bytes(b"a\n2\n")
    snapshot = take_snapshot(SubjectUri.parse(folder))
    (folder / "sub").rename(folder.parent / "elsewhere")
    (folder.parent / "elsewhere" / "b.csv").write_bytes(b"a\n9\n")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(SubjectError, match="changed"):
        snapshot.open("sub/b.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop root")
def test_a_folder_that_may_not_be_read_is_an_error_about_the_subject(folder):
    (folder / "closed").mkdir(mode=0)
    try:
        with pytest.raises(SubjectError, match="cannot read"):
            entries(folder)
    finally:
        (folder / "closed").chmod(0o700)


# ---------------------------------------------------------------- writing


def test_what_is_written_can_be_read_and_parents_are_made(tmp_path):
    target = SubjectUri.parse(tmp_path / "new" / "deep" / "x.csv")
    LocalStore().write(target, io.BytesIO(b"content"))
    assert target.local.read_bytes() == b"content"
    assert stat.S_IMODE(target.local.stat().st_mode) == 0o644


def test_a_source_that_fails_halfway_leaves_the_old_file_and_no_scraps(tmp_path):
    target = tmp_path / "x.csv"
    target.write_bytes(b"old")

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError(28, "No space left on device")
            return super().read(3)

    with pytest.raises(SubjectError, match="No space left"):
        LocalStore().write(SubjectUri.parse(target), Failing(b"new content"))
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.csv"]


def test_a_target_that_cannot_be_written_is_an_error_about_the_subject(folder):
    for target in (folder / "a.csv" / "below", folder):
        with pytest.raises(SubjectError, match="cannot write"):
            LocalStore().write(SubjectUri.parse(target), io.BytesIO(b"x"))


def test_a_private_file_is_never_readable_by_others_not_even_while_it_is_written(tmp_path):
    seen = set()

    class Watching(io.BytesIO):
        def read(self, size=-1):
            seen.update(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())
            return super().read(size)

    write_atomically(tmp_path / "key", Watching(b"secret"), mode=0o600)
    assert seen == {0o600}
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_reader_sees_the_old_file_or_the_new_one_and_never_a_part(tmp_path):
    target = tmp_path / "x"
    versions = [bytes([65 + number]) * 300_000 for number in range(2)]
    write_atomically(target, versions[0])
    stop, seen = threading.Event(), set()

    def watch():
        while not stop.is_set():
            seen.add(target.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(60):
        write_atomically(target, io.BytesIO(versions[number % 2]))
    stop.set()
    watcher.join()
    assert seen <= set(versions)
    assert seen


def test_a_link_in_the_place_of_the_target_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "out").symlink_to(victim)
    write_atomically(tmp_path / "out", b"new")
    assert victim.read_bytes() == b"untouched"
    assert not (tmp_path / "out").is_symlink()


def test_a_local_uri_is_served_by_the_local_store():
    assert isinstance(store_for(SubjectUri.parse("/data")), LocalStore)
