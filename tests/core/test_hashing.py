"""Hashing files: several at once, in one order, and nothing that changes meanwhile."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.storage.hashing import CHUNK, hash_all
from sluicegate.storage.local_reader import LocalReader
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri


@pytest.fixture
def folder(tmp_path):
    """Return a folder with small and large files."""
    root = tmp_path / "data"
    for name, size in {"a": 3, "empty": 0, "sub/large": CHUNK * 3 + 1, "sub/edge": CHUNK}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(size))
    return root


def reader_of(path, threads=0):
    return LocalReader(SubjectUri.parse(path), threads=threads)


def hashed(reader, rows):
    try:
        return [row for row, _ in hash_all(reader, ((row, "") for row in rows))]
    finally:
        reader.close()


def listed(path):
    return sorted(reader_of(path).rows())


# ---------------------------------------------------------------- what is hashed


@pytest.mark.parametrize("threads", [0, 2, 5])
def test_digests_are_those_of_the_bytes_however_many_threads(folder, threads):
    reader = reader_of(folder, threads)
    reader.alone_below = 100
    expected = [
        (path, size, hashlib.sha256((folder / path).read_bytes()).hexdigest())
        for path, size, *_ in listed(folder)
    ]
    assert hashed(reader, listed(folder)) == expected
    assert len(expected) == 4


def test_the_snapshot_is_the_same_with_one_thread_and_with_many(tmp_path):
    for number in range(300):
        path = tmp_path / f"{number % 7}" / f"{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d" % number * (200_000 if number % 50 == 0 else 3))
    subject = SubjectUri.parse(tmp_path)
    digests = {take_snapshot(subject, threads=threads).digest for threads in (1, 2, 8)}
    assert len(digests) == 1


def test_a_single_file_and_one_behind_a_link_that_a_person_made_are_hashed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder / "a")
    for path in (folder / "a", tmp_path / "link"):
        [(name, size, digest)] = hashed(reader_of(path, 2), listed(path))
        assert (name, size) == (path.name, 3)
        assert digest == hashlib.sha256((folder / "a").read_bytes()).hexdigest()


def test_no_descriptor_stays_open(folder):
    before = len(os.listdir("/proc/self/fd"))
    take_snapshot(SubjectUri.parse(folder), threads=3)
    (folder / "link").symlink_to("a")
    with pytest.raises(SubjectError):
        take_snapshot(SubjectUri.parse(folder), threads=3)
    assert len(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------- several at once


class Scripted:
    """A reader whose files do what a test says."""

    threads = 2
    alone_below = 10

    def __init__(self, act):
        self.act = act

    def hash(self, row, stop):
        return (row[0], row[1], self.act(row, stop) or "0" * 64), None


def rows_of(*sizes):
    return [((f"{at:05}", size, 0, 0, 0, 0), "") for at, size in enumerate(sizes)]


def test_two_large_files_are_under_way_together():
    together = threading.Barrier(2, timeout=20)
    found = hash_all(Scripted(lambda row, stop: together.wait() and None), rows_of(100, 100))
    assert [row[0] for row, _ in found] == ["00000", "00001"]


def test_results_come_in_order_though_a_later_file_is_done_first():
    done = threading.Event()

    def act(row, stop):
        if row[0] == "00000":
            assert done.wait(20)
        elif row[0] == "00003":
            done.set()

    found = hash_all(Scripted(act), rows_of(100, 1, 1, 100, 1))
    assert [row[0] for row, _ in found] == ["00000", "00001", "00002", "00003", "00004"]


def test_only_a_few_files_are_taken_ahead_of_what_is_used():
    taken = []

    def rows():
        for row in rows_of(*[100] * 500):
            taken.append(row)
            yield row

    found = hash_all(Scripted(lambda row, stop: None), rows())
    next(found)
    assert len(taken) <= 6
    found.close()


def test_small_files_wait_for_a_slow_large_one_only_up_to_a_bound():
    go, taken = threading.Event(), []

    def rows():
        for row in rows_of(100, *[1] * 20_000):
            taken.append(row)
            if len(taken) > 5000:
                go.set()
            yield row

    threading.Timer(0.5, go.set).start()
    found = hash_all(Scripted(lambda row, stop: row[1] > 10 and go.wait(20) and None), rows())
    next(found)
    assert len(taken) <= 4100
    found.close()


def test_a_failure_stops_what_is_under_way():
    stopped, started = threading.Event(), threading.Event()

    def act(row, stop):
        if row[0] == "00000":
            assert started.wait(20)
            raise SubjectError("broken")
        started.set()
        if stop.wait(20):
            stopped.set()

    with pytest.raises(SubjectError, match="broken"):
        list(hash_all(Scripted(act), rows_of(100, 100)))
    assert stopped.is_set()


def test_a_known_digest_is_taken_and_nothing_is_read():
    known = [(row, "a" * 64) for row, _ in rows_of(1, 100)]
    for reader in (Scripted(lambda row, stop: pytest.fail("read")), reader_of("/nowhere")):
        found = [row for row, _ in hash_all(reader, known)]
        assert found == [("00000", 1, "a" * 64), ("00001", 100, "a" * 64)]


# ---------------------------------------------------------------- what changes meanwhile


def swap(folder, name, content=None):
    """Put another file of the same size and mtime in the place of one."""
    path = folder / name
    before = path.stat()
    other = folder.parent / "other"
    other.write_bytes(os.urandom(before.st_size) if content is None else content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("name", ["a", "sub/large"])
def test_a_file_swapped_between_listing_and_reading_is_seen_by_its_inode(folder, name):
    rows = listed(folder)
    swap(folder, name)
    with pytest.raises(SubjectChangedError, match=f"{name} of .* changed .*inode"):
        hashed(reader_of(folder), rows)


def test_a_hard_link_in_the_place_of_a_file_is_seen(folder, tmp_path):
    rows = listed(folder)
    before = (folder / "a").stat()
    (tmp_path / "poison").write_bytes(b"bad")
    os.utime(tmp_path / "poison", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "a").unlink()
    os.link(tmp_path / "poison", folder / "a")
    with pytest.raises(SubjectChangedError, match="inode"):
        hashed(reader_of(folder), rows)


def test_bytes_written_in_place_with_the_old_mtime_are_seen_by_the_change_time(folder):
    rows = listed(folder)
    before = (folder / "a").stat()
    time.sleep(0.02)
    (folder / "a").write_bytes(b"bad")
    os.utime(folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SubjectChangedError, match="another change time than"):
        hashed(reader_of(folder), rows)


@pytest.mark.parametrize(("name", "size"), [("a", 3), ("empty", 0), ("sub/edge", CHUNK)])
def test_a_file_that_grew_or_shrank_is_told_with_both_lengths(folder, name, size):
    rows = listed(folder)
    with (folder / name).open("ab") as out:
        out.write(b"more")
    with pytest.raises(SubjectChangedError, match=rf"listed with {size} bytes, read"):
        hashed(reader_of(folder), rows)
    (folder / name).write_bytes(b"")
    if size:
        with pytest.raises(SubjectChangedError, match=rf"listed with {size} bytes, read 0"):
            hashed(reader_of(folder), rows)


def test_a_file_that_never_ends_is_not_followed(folder):
    rows = [row for row in listed(folder) if row[0] == "sub/large"]
    stop, grown = threading.Event(), threading.Event()

    def grow():
        with (folder / "sub/large").open("ab", buffering=0) as out:
            while not stop.is_set() and out.tell() < 1 << 28:
                out.write(b"x" * (1 << 20))
                grown.set()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert grown.wait(20)
        with pytest.raises(SubjectChangedError):
            hashed(reader_of(folder), rows)
    finally:
        stop.set()
        writer.join()


def test_a_link_in_the_place_of_a_file_is_not_followed(folder, tmp_path):
    rows = listed(folder)
    (folder / "a").rename(tmp_path / "moved")
    (folder / "a").symlink_to(tmp_path / "moved")
    with pytest.raises(SubjectError, match=r"a of .* became a symbolic link"):
        hashed(reader_of(folder), rows)


def test_a_link_in_the_place_of_a_folder_is_not_followed(folder, tmp_path):
    rows = listed(folder)
    (folder / "sub").rename(tmp_path / "moved")
    (folder / "sub").symlink_to(tmp_path / "moved")
    with pytest.raises(SubjectError, match=r"sub/edge of .* became a symbolic link"):
        hashed(reader_of(folder), rows)


@pytest.mark.parametrize("writer", [False, True])
def test_a_pipe_in_the_place_of_a_file_is_never_waited_for(folder, writer):
    rows = listed(folder)
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    end = os.open(folder / "a", os.O_RDWR) if writer else -1
    try:
        with pytest.raises(SubjectError, match="no plain file any more"):
            hashed(reader_of(folder), rows)
    finally:
        if writer:
            os.close(end)


def test_a_file_that_is_removed_meanwhile_is_a_change(folder):
    rows = listed(folder)
    (folder / "sub/large").unlink()
    with pytest.raises(SubjectChangedError, match=r"sub/large of .* was removed"):
        hashed(reader_of(folder, 2), rows)


def test_a_file_that_nobody_touches_is_no_change_though_it_was_read(folder):
    rows = listed(folder)
    (folder / "a").read_bytes()
    (folder / "beside").write_bytes(b"x")
    assert len(hashed(reader_of(folder), rows)) == 4
