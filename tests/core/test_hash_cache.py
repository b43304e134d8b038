"""The cache of digests: what it must see, what it must never believe, and what it saves."""

from __future__ import annotations

import os
import stat
import time

import pytest

from sluicegate.errors import ConfigurationError, SubjectChangedError
from sluicegate.storage import hash_cache
from sluicegate.storage.hash_cache import CacheUse, HashCache
from sluicegate.storage.local_reader import LocalReader
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

NAMES = ("a", "b", 'c "quoted"', "sub/d", "sub/é")


@pytest.fixture
def told():
    return []


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch):
    """Files count as settled after 50 ms, so that tests need not wait for two seconds."""
    monkeypatch.setattr(hash_cache, "RACY_NS", 50_000_000)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    for name in NAMES:
        (root / name).write_bytes(name.encode())
    time.sleep(0.1)
    return root


@pytest.fixture
def cache(tmp_path, told):
    return HashCache(tmp_path / "cache", tell=told.append)


@pytest.fixture
def read(monkeypatch):
    """Return the names of the files whose bytes are read."""
    names = []
    original = LocalReader.hash

    def hash_(self, row, stop):
        names.append(row[0])
        return original(self, row, stop)

    monkeypatch.setattr(LocalReader, "hash", hash_)
    return names


def snap(folder, cache):
    return take_snapshot(SubjectUri.parse(folder), cache=cache)


def overwrite_keeping_mtime(path, content):
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


# ---------------------------------------------------------------- what it saves


def test_unchanged_files_are_not_read_again_and_the_manifest_is_the_same(folder, cache, read):
    first = snap(folder, cache)
    assert cache.use == CacheUse(hashed=5)
    read.clear()
    second = snap(folder, cache)
    assert read == []
    assert cache.use == CacheUse(known=5)
    assert second.manifest == first.manifest == take_snapshot(SubjectUri.parse(folder)).manifest
    assert second.manifest.files == first.manifest.files
    assert second.manifest.summary() == first.manifest.summary()


def test_only_what_changed_came_or_went_is_read(folder, cache, read):
    snap(folder, cache)
    (folder / "b").write_bytes(b"changed")
    (folder / "new").write_bytes(b"new")
    (folder / "a").unlink()
    read.clear()
    found = snap(folder, cache)
    assert read == ["b", "new"]
    assert cache.use == CacheUse(known=3, hashed=2)
    assert found.manifest == take_snapshot(SubjectUri.parse(folder)).manifest
    time.sleep(0.1)
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert read == []


def test_a_single_file_is_remembered_too(folder, cache, read):
    snap(folder / "a", cache)
    read.clear()
    assert snap(folder / "a", cache).is_single_file
    assert read == []


def test_the_bytes_that_are_opened_are_always_read(folder, cache):
    snap(folder, cache)
    snapshot = snap(folder, cache)
    (folder / "a").write_bytes(b"x")
    with pytest.raises(SubjectChangedError):
        snapshot.open("a")


def test_a_large_cache_is_read_from_a_mapped_file(folder, cache, read, monkeypatch, told):
    first = snap(folder, cache)
    monkeypatch.setattr(hash_cache, "MAPPED_ABOVE", 10)
    read.clear()
    assert snap(folder, cache).manifest == first.manifest
    (folder / "a").write_bytes(b"z")
    assert snap(folder, cache).manifest == take_snapshot(SubjectUri.parse(folder)).manifest
    assert read[0] == "a"
    assert told == []


# ---------------------------------------------------------------- what it must see


def test_changed_bytes_with_the_old_mtime_are_seen_by_the_change_time(folder, cache):
    first = snap(folder, cache)
    overwrite_keeping_mtime(folder / "a", b"A")
    second = snap(folder, cache)
    assert second.digest != first.digest
    assert second.digest == take_snapshot(SubjectUri.parse(folder)).digest


def test_another_inode_with_the_same_size_and_mtime_is_seen(folder, cache):
    first = snap(folder, cache)
    before = (folder / "a").stat()
    (folder / "x").write_bytes(b"X")
    os.utime(folder / "x", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "x").rename(folder / "a")
    assert snap(folder, cache).digest != first.digest


def test_two_files_that_change_names_are_seen(folder, cache):
    first = snap(folder, cache)
    (folder / "a").rename(folder / "x")
    (folder / "b").rename(folder / "a")
    (folder / "x").rename(folder / "b")
    second = snap(folder, cache)
    assert second.digest != first.digest
    assert second.digest == take_snapshot(SubjectUri.parse(folder)).digest


def test_what_changed_just_before_the_snapshot_is_not_remembered(folder, cache, read, monkeypatch):
    monkeypatch.setattr(hash_cache, "RACY_NS", 2_000_000_000)
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert len(read) == 5
    assert cache.use == CacheUse(hashed=5)


def test_a_time_in_the_future_is_never_settled(folder, cache, read):
    os.utime(folder / "a", ns=(0, time.time_ns() + 10**13))
    time.sleep(0.1)
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert read == ["a"]


def lie(cache, folder, name):
    """Let the cache hold a wrong digest of a file, as after a forged change time."""
    subject = SubjectUri.parse(folder)
    rows = sorted(LocalReader(subject).rows())
    real = (folder / name).read_bytes()
    (folder / name).write_bytes(real.swapcase())
    manifest = take_snapshot(subject).manifest
    (folder / name).write_bytes(real)
    rows = sorted(LocalReader(subject).rows())
    cache.write(subject, manifest, rows, began_ns=time.time_ns() + 10**12)


def test_a_wrong_digest_in_the_cache_is_found_by_reading_all_the_same(folder, cache, tmp_path):
    lie(cache, folder, "b")
    assert snap(folder, cache).manifest.find("b").sha256.hex != ""  # believed: nothing is read
    careful = HashCache(tmp_path / "cache", rehash=1.0)
    for change in (False, True):  # also when another file has to be read anyway
        lie(cache, folder, "b")
        if change:
            (folder / "a").write_bytes(b"zz")
        with pytest.raises(SubjectChangedError, match=r"the cached digest of b of .* was wrong"):
            snap(folder, careful)
        assert not careful.path(SubjectUri.parse(folder)).exists()
    assert snap(folder, careful).digest == take_snapshot(SubjectUri.parse(folder)).digest


def test_a_share_is_read_again_and_about_as_many_as_asked_for(tmp_path, folder, read):
    cache = HashCache(tmp_path / "cache", rehash=1.0)
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert sorted(read) == sorted(NAMES)
    assert cache.use == CacheUse(known=5, rehashed=5)
    half = HashCache(tmp_path / "cache", rehash=0.5)
    assert 9_500 < sum(half.draw(20_000)) < 10_500
    assert len(list(half.draw(20_000))) == 20_000
    assert not any(HashCache(tmp_path / "cache").draw(20_000))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(tmp_path, share):
    with pytest.raises(ConfigurationError, match="share"):
        HashCache(tmp_path, rehash=share)


# ---------------------------------------------------------------- what it must never believe


def tampered(cache, folder, change):
    path = cache.path(SubjectUri.parse(folder))
    path.write_bytes(change(path.read_bytes()))


CHANGES = {
    "a digest": lambda data: data.replace(b'"sha256":"', b'"sha256":"0', 1),
    "one bit": lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:],
    "the authentication": lambda data: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
    "cut off": lambda data: data[:-10],
    "a line more": lambda data: data + b"x\n",
    "empty": lambda data: b"",
    "noise": lambda data: b"\xff" * 200,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_cache_that_somebody_changed_is_ignored_and_told(folder, cache, read, told, change):
    first = snap(folder, cache)
    tampered(cache, folder, change)
    read.clear()
    assert snap(folder, cache).manifest == first.manifest
    assert len(read) == 5
    assert "authentication fails" in cache.use.ignored
    assert len(told) == 1
    assert "is ignored" in told[0]
    read.clear()
    snap(folder, cache)
    assert read == []  # written anew


def test_a_cache_written_with_another_key_is_ignored(folder, cache, read, tmp_path, told):
    snap(folder, cache)
    key = tmp_path / "cache" / ".sluicegate-cache.key"
    key.write_bytes(os.urandom(32))
    read.clear()
    snap(folder, cache)
    assert len(read) == 5
    assert len(told) == 1


def test_the_cache_of_another_subject_is_not_believed(folder, cache, read, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a").write_bytes(b"a")
    snap(folder, cache)
    mine, theirs = (cache.path(SubjectUri.parse(path)) for path in (folder, other))
    theirs.write_bytes(mine.read_bytes())
    read.clear()
    snap(other, cache)
    assert read == ["a"]
    assert "another version or subject" in cache.use.ignored


@pytest.mark.parametrize("damage", ["readable", "short", "link", "missing"])
def test_a_key_that_is_not_secret_or_damaged_is_not_used(folder, cache, tmp_path, damage, told):
    snap(folder, cache)
    key = tmp_path / "cache" / ".sluicegate-cache.key"
    if damage == "readable":
        key.chmod(0o640)
    elif damage == "short":
        key.write_bytes(b"x" * 31)
    else:
        content = key.read_bytes()
        key.unlink()
        if damage == "link":
            (tmp_path / "elsewhere").write_bytes(content)
            key.symlink_to(tmp_path / "elsewhere")
    first = take_snapshot(SubjectUri.parse(folder))
    assert snap(folder, cache).manifest == first.manifest
    assert cache.use.known == 0
    if damage != "missing":
        assert told


def test_the_key_and_the_cache_are_for_the_owner_alone(folder, cache, tmp_path):
    snap(folder, cache)
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_is_told_and_no_error(folder, tmp_path, told):
    (tmp_path / "file").write_bytes(b"")
    cache = HashCache(tmp_path / "file" / "cache", tell=told.append)
    assert snap(folder, cache).digest == take_snapshot(SubjectUri.parse(folder)).digest
    assert any("cannot be remembered" in one for one in told)


def test_an_old_mtime_does_not_settle_a_file_that_was_just_written(folder, cache, read):
    (folder / "a").write_bytes(b"N")
    os.utime(folder / "a", ns=(0, 10**18))
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert "a" in read


def test_the_last_file_that_is_gone_is_gone(folder, cache, read):
    snap(folder, cache)
    (folder / "sub" / "é").unlink()
    read.clear()
    found = snap(folder, cache)
    assert [file.path for file in found.manifest.files] == sorted(NAMES)[:-1]
    assert read == []


@pytest.mark.parametrize("name", ["cache", "key"])
def test_a_pipe_in_the_place_of_the_cache_or_its_key_is_not_waited_for(
    folder, cache, tmp_path, told, name
):
    snap(folder, cache)
    key = tmp_path / "cache" / ".sluicegate-cache.key"
    path = key if name == "key" else cache.path(SubjectUri.parse(folder))
    path.unlink()
    os.mkfifo(path, 0o600)
    assert snap(folder, cache).manifest == take_snapshot(SubjectUri.parse(folder)).manifest
    assert told
    assert cache.use.known == 0


def test_files_in_memory_are_not_remembered(folder, cache, read, monkeypatch):
    """A mapping that is kept open can change them without another time."""
    device = (folder / "a").stat().st_dev
    monkeypatch.setattr(hash_cache, "_in_memory", lambda: frozenset({device}))
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert sorted(read) == sorted(NAMES)
    monkeypatch.setattr(hash_cache, "_in_memory", lambda: frozenset({device + 1}))
    snap(folder, cache)
    read.clear()
    snap(folder, cache)
    assert not read


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="nothing is mounted there")
def test_the_mount_table_tells_which_files_are_in_memory(tmp_path):
    assert os.stat("/dev/shm").st_dev in hash_cache._in_memory()
    assert os.stat("/proc").st_dev not in hash_cache._in_memory()
