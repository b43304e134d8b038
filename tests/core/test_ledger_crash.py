"""Writers that are killed, disks that are full, power that fails: what was acknowledged stays."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sluicegate.errors import LedgerError
from sluicegate.ledger import folder_writer
from sluicegate.ledger.journal import open_journal
from sluicegate.ledger.note import SignedCheckpoint
from sluicegate.ledger.tiles import TileTree
from tests.core.ledger_world import (
    SIGNER,
    acknowledged,
    die_at_step,
    entry_of,
    open_ledger,
    unsynced,
)

WORLD = Path(__file__).parent / "ledger_world.py"


def run_world(folder, *, writers, count, kills, seed, timeout):
    """Let writers append while they are killed; return what the world says at its end."""
    world = subprocess.run(
        [sys.executable, WORLD, *map(str, (folder, writers, count, kills, seed))],
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(WORLD.parents[2])},
    )
    assert world.returncode == 0, world.stderr.decode()
    return json.loads(world.stdout)


def check_world(folder, told, *, writers, count, kills):
    ledger = open_ledger(folder / "ledger")
    ledger.repair()
    state = ledger.verify()
    assert state.torn_bytes == 0
    entries = [entry for _, entry in ledger.entries()]
    assert len(entries) == state.size
    promised = acknowledged(folder)
    assert {(writer, number) for writer, number, _ in promised.values()} == {
        (writer, number) for writer in range(writers) for number in range(count)
    }
    for index, key in promised.items():
        assert entries[index] == entry_of(*key), index
    # An entry of which nobody was told may be there; one of which somebody was is there once.
    assert len(set(entries)) == len(entries)
    unpromised = len(entries) - len(promised)
    assert told["kills"] >= kills
    assert 0 <= unpromised <= told["kills"] * told["batch"]
    heads = [SignedCheckpoint.parse(note.encode()) for note in told["checkpoints"]]
    assert len(heads) > 10
    tree = TileTree(ledger.tiles, state.size)
    for head in heads:
        found = head.verify(SIGNER.verifier)
        assert tree.root(found.size) == found.root


def test_writers_that_are_killed_lose_no_acknowledged_entry(tmp_path):
    told = run_world(tmp_path, writers=4, count=200, kills=25, seed=1, timeout=60)
    check_world(tmp_path, told, writers=4, count=200, kills=25)


@pytest.mark.slow
def test_eight_writers_of_two_thousand_entries_killed_two_hundred_times(tmp_path):
    told = run_world(tmp_path, writers=8, count=2000, kills=200, seed=2, timeout=400)
    check_world(tmp_path, told, writers=8, count=2000, kills=200)


# ---------------------------------------------------------------- every single step


def grown(folder, entries):
    ledger = open_ledger(folder)
    for entry in entries:
        ledger.append(entry)
    return ledger


@pytest.mark.parametrize(
    ("before", "batch", "rotates", "half"),
    [(0, 300, False, True), (3, 2, False, False), (255, 1, False, True), (520, 3, True, True)],
)
def test_a_writer_that_dies_at_any_step_leaves_a_ledger_that_goes_on(
    tmp_path, monkeypatch, before, batch, rotates, half
):
    if rotates:
        monkeypatch.setattr(folder_writer, "_JOURNAL_ENTRIES", 256)
    old = [b"old %d" % number for number in range(before)]
    new = [b"new %d" % number for number in range(batch)]
    if old:
        limit, folder_writer._JOURNAL_ENTRIES = folder_writer._JOURNAL_ENTRIES, 1 << 20
        open_ledger(tmp_path / "start").append_many(old)
        folder_writer._JOURNAL_ENTRIES = limit
    step, finished = 0, False
    while not finished:
        folder = tmp_path / f"step{step}"
        if old:
            shutil.copytree(tmp_path / "start", folder)
        told = die_at_step(folder, new, step, half=half)
        finished = told is not None
        ledger = open_ledger(folder)
        if old:  # readers go on, whatever the writer was doing
            assert [entry for _, entry in ledger.entries()][:before] == old
        index = ledger.append(b"afterwards")
        entries = [entry for _, entry in ledger.entries()]
        assert entries[index] == b"afterwards"
        assert entries[:before] == old
        assert entries[before:index] == new[: index - before]
        if finished:
            assert entries == [*old, *new, b"afterwards"]
        state = ledger.verify()
        assert (state.size, state.torn_bytes) == (index + 1, 0)
        shutil.rmtree(folder)
        step += 1
    assert step > (12 if rotates else 6)


# ---------------------------------------------------------------- power failures


TORN = {
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "garbage": lambda content: bytes(byte ^ 0x5A for byte in content),
    "half": lambda content: content[: len(content) // 2],
    "gone": None,
}


def power_fails(folder, how, *, checkpoint):
    """Ruin every file that was not synced, as a power failure may, and start the machine anew."""
    names = unsynced(folder, checkpoint=checkpoint)
    assert names
    for name in names:
        path = folder / name
        if TORN[how] is None:
            path.unlink()
        else:
            path.write_bytes(TORN[how](path.read_bytes()))
    (folder / "commit").write_bytes(b"another boot\n")


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("how", TORN)
@pytest.mark.parametrize("size", [1, 256, 1300])
def test_files_that_a_power_failure_tore_are_made_again_from_the_journal(
    tmp_path, monkeypatch, size, how, checkpoint
):
    if checkpoint and how == "gone":
        pytest.skip("a checkpoint is renamed over the one before: it may be torn, never gone")
    monkeypatch.setattr(folder_writer, "_JOURNAL_ENTRIES", 768)
    entries = [b"entry %d" % number for number in range(size)]
    ledger = open_ledger(tmp_path)
    for at in range(0, size, 100):
        ledger.append_many(entries[at : at + 100])
    power_fails(tmp_path, how, checkpoint=checkpoint)
    if how != "zeros" or checkpoint:
        with pytest.raises(LedgerError):
            open_ledger(tmp_path).verify()
    again = open_ledger(tmp_path)
    assert again.append(b"afterwards") == size
    assert [entry for _, entry in again.entries()] == [*entries, b"afterwards"]
    assert again.verify().size == size + 1
    kept = [path.name for path in tmp_path.glob("torn-*")]
    assert bool(kept) == (how != "gone")
    if checkpoint:
        assert any(name.startswith("torn-checkpoint-") for name in kept)


def test_what_power_tore_can_be_repaired_without_appending(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.append_many([b"one", b"two"])
    power_fails(tmp_path, "half", checkpoint=True)
    with pytest.raises(LedgerError, match=r"unreadable.*\n.*next append repairs it"):
        ledger.verify()
    open_ledger(tmp_path).repair()
    assert ledger.verify().size == 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    open_ledger(tmp_path).repair()  # nothing to do, nothing written
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_checkpoint_that_a_power_failure_took_back_is_overtaken_by_the_same_tree(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.append(b"one")
    old = (tmp_path / "checkpoint").read_bytes()
    ledger.append(b"two")
    new = (tmp_path / "checkpoint").read_bytes()
    (tmp_path / "checkpoint").write_bytes(old)
    (tmp_path / "commit").write_bytes(b"")
    open_ledger(tmp_path).repair()
    assert (tmp_path / "checkpoint").read_bytes() == new  # never two heads of one size


def test_torn_tiles_without_a_new_start_of_the_machine_are_seen_when_they_are_needed(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.append_many([b"one", b"two"])
    for name in ("tile/entries/000.p/2", "tile/0/000.p/2"):
        (tmp_path / name).write_bytes(b"")
        assert open_ledger(tmp_path).append(b"more")
        assert ledger.verify().size
        shutil.rmtree(tmp_path)
        ledger = open_ledger(tmp_path)
        ledger.append_many([b"one", b"two"])


# ---------------------------------------------------------------- the disk


def test_a_full_disk_is_an_error_nothing_is_acknowledged_and_the_ledger_goes_on(tmp_path):
    ledger = grown(tmp_path / "ledger", [b"one", b"two"])
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.core.ledger_world import open_ledger\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "open_ledger(Path(sys.argv[1])).append(b'x' * 3000)\n"
    )
    length = (tmp_path / "ledger" / "journal").stat().st_size
    # Too small for the frame; for half of it; for the frame, and the bundle not.
    for limit in (length, length + 1000, 3010):
        ran = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "ledger"), str(limit)],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(WORLD.parents[2])},
        )
        assert ran.returncode == 1
        assert b"cannot append to the ledger" in ran.stderr
        assert b"nothing was acknowledged" in ran.stderr
        assert ledger.verify().size == 2
        assert ledger.verify().torn_bytes == 0
    assert ledger.append(b"three") >= 2
    assert ledger.verify().size >= 3
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_entries_that_could_not_be_synced_are_taken_out_again(tmp_path, monkeypatch):
    ledger = grown(tmp_path, [b"one"])
    journal = (tmp_path / "journal").read_bytes()

    def fails(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(LedgerError, match=r"cannot append.*Input/output error"):
        ledger.append(b"never")
    monkeypatch.undo()
    assert (tmp_path / "journal").read_bytes() == journal
    assert ledger.append(b"two") == 1
    assert [entry for _, entry in ledger.entries()] == [b"one", b"two"]


def test_a_writer_whose_entries_were_taken_out_by_another_is_told_so(tmp_path, monkeypatch):
    ledger, other = grown(tmp_path, [b"one"]), open_ledger(tmp_path)
    journal = tmp_path / "journal"
    length = journal.stat().st_size
    real = ledger._writer.commit

    def overtaken(mine):
        os.truncate(journal, length)  # a leader could not sync
        other.append(b"other")
        return real(mine)

    monkeypatch.setattr(ledger._writer, "commit", overtaken)
    with pytest.raises(LedgerError, match="taken out of the journal"):
        ledger.append(b"mine")

    length = journal.stat().st_size

    def vanished(mine):
        os.truncate(journal, length)
        return real(mine)

    monkeypatch.setattr(ledger._writer, "commit", vanished)
    with pytest.raises(LedgerError, match="taken out of the journal"):
        ledger.append(b"mine")
    assert [entry for _, entry in other.entries()] == [b"one", b"other"]


def test_a_writer_that_waited_while_the_journal_rotated_writes_to_the_new_one(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.append_many([b"x"] * 300)
    path, told = tmp_path / "journal", []
    with open_journal(path) as journal:
        writer = threading.Thread(target=lambda: told.append(ledger.append(b"waited")))
        writer.start()
        time.sleep(0.2)  # it waits for the lock of the journal that is replaced now
        first = journal.skip(journal.start, 256)
        journal.rotate(first, (tmp_path / "checkpoint").read_bytes())
    writer.join()
    assert told == [300]
    assert ledger.get(300) == b"waited"
    assert ledger.verify().size == 301
    with open_journal(path) as journal:
        assert (journal.base, journal.tail(journal.start).number) == (256, 301)


def test_the_journal_is_synced_before_the_checkpoint_and_tiles_before_the_journal_drops_entries(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(folder_writer, "_JOURNAL_ENTRIES", 256)
    done, sync, datasync, replace = [], os.fsync, os.fdatasync, os.replace

    def name_of(descriptor):
        return os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path)

    monkeypatch.setattr(
        os, "fdatasync", lambda fd: (done.append(("sync", name_of(fd))), datasync(fd))
    )
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(("sync", name_of(fd))), sync(fd)))

    def renamed(source, target, **_):
        done.append(("rename", os.path.relpath(target, tmp_path)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", renamed)
    ledger = open_ledger(tmp_path)
    ledger.append(b"x")
    del done[:]
    ledger.append_many([b"y"] * 300)
    order = {step: at for at, step in reversed(list(enumerate(done)))}
    assert done[0] == ("sync", "journal")
    assert order["rename", "checkpoint"] < order["sync", "checkpoint"]
    dropped = order["sync", ".journal.new"]
    for name in ("checkpoint", "tile/entries/000", "tile/0/000", "tile/1/000.p/1", ".", "tile",
                 "tile/entries", "tile/0", "tile/1", "tile/1/000.p"):  # fmt: skip
        assert order["sync", name] < dropped, name
    assert ledger.verify().size == 301
