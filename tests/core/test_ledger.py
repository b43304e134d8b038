"""The ledger: what was acknowledged is there, in order and unchanged, or it says that it is not."""

from __future__ import annotations

import os
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest
from sluicegate.errors import LedgerError, ReceiptError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.ledger.file import MAX_ENTRY_BYTES, FileLedger
from sluicegate.merkle import leaf_hash, merkle_root

HEADER = struct.calcsize("<4sQII32s")
ENTRIES = [b"first", b"second entry", b"3"]

WRITER = """
import sys
from pathlib import Path
from sluicegate.ledger.file import FileLedger
ledger, name, count = FileLedger(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for number in range(count):
    entry = f"{name}:{number}:".encode() + b"x" * (number * 37 % 3000)
    print(ledger.append(entry), name, number, flush=True)
"""


@pytest.fixture
def ledger(tmp_path):
    """Return a ledger of three entries."""
    made = FileLedger(tmp_path / "ledger")
    for entry in ENTRIES:
        made.append(entry)
    return made


def log_of(ledger):
    return ledger.folder / "log"


def index_of(ledger):
    return ledger.folder / "index"


def frame_starts(entries):
    starts = [0]
    for entry in entries:
        starts.append(starts[-1] + HEADER + len(entry))
    return starts


def torn_files(ledger):
    return sorted(ledger.folder.glob("torn-*"))


# ---------------------------------------------------------------- entries


def test_entries_come_back_as_they_were_in_order(ledger):
    assert list(ledger.entries()) == list(enumerate(ENTRIES))
    assert list(ledger.entries(1)) == [(1, b"second entry"), (2, b"3")]
    assert list(ledger.entries(3)) == []
    assert [ledger.get(number) for number in range(3)] == ENTRIES
    assert ledger.append(b"fourth") == 3
    assert ledger.get(3) == b"fourth"


@settings(deadline=None, max_examples=15)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=12))
def test_any_entries_come_back_and_the_root_is_theirs(tmp_path_factory, entries):
    ledger = FileLedger(tmp_path_factory.mktemp("ledger"))
    assert [ledger.append(entry) for entry in entries] == list(range(len(entries)))
    assert [entry for _, entry in FileLedger(ledger.folder).entries()] == entries
    state = ledger.verify()
    assert (state.size, state.torn_bytes) == (len(entries), 0)
    assert state.root == merkle_root(map(leaf_hash, entries))


def test_a_ledger_that_nobody_wrote_to_is_empty_and_reading_does_not_make_it(tmp_path):
    ledger = FileLedger(tmp_path / "none")
    assert list(ledger.entries()) == []
    assert ledger.verify().size == 0
    with pytest.raises(LedgerError, match="has no entry 0"):
        ledger.get(0)
    assert not ledger.folder.exists()


@pytest.mark.parametrize("number", [3, 4, 10**6, -1, -3])
def test_an_entry_that_is_not_there_is_not_made_up(ledger, number):
    with pytest.raises(LedgerError, match=f"has no entry {number}"):
        ledger.get(number)


def test_counting_from_below_zero_is_a_mistake_of_the_caller(ledger):
    with pytest.raises(ValueError, match="counted from 0"):
        next(ledger.entries(-1))


def test_the_largest_entry_fits_and_empty_or_larger_ones_are_refused(ledger):
    assert ledger.append(b"x" * MAX_ENTRY_BYTES) == 3
    for entry in (b"", b"x" * (MAX_ENTRY_BYTES + 1)):
        with pytest.raises(LedgerError, match="1 to 65535 bytes"):
            ledger.append(entry)
    assert ledger.verify().size == 4


def test_an_entry_that_looks_like_a_frame_is_only_an_entry(ledger):
    inner = log_of(ledger).read_bytes()
    assert ledger.append(inner) == 3
    assert ledger.get(3) == inner
    assert ledger.append(b"after") == 4
    assert ledger.verify().size == 5


def test_a_reader_sees_what_was_there_when_it_started_and_no_half_entries(ledger):
    reading = ledger.entries()
    assert next(reading) == (0, ENTRIES[0])
    ledger.append(b"later")
    assert [entry for _, entry in reading] == ENTRIES[1:]


# ---------------------------------------------------------------- damage


def damaged_at(ledger, act):
    with pytest.raises(LedgerError, match="is damaged at entry") as caught:
        act()
    assert "restore" in caught.value.next_step
    return tuple(map(int, re.search(r"entry (\d+), byte (\d+)", caught.value.what).groups()))


def test_a_flipped_bit_anywhere_is_found_located_and_never_repaired(ledger):
    sound = log_of(ledger).read_bytes()
    starts = frame_starts(ENTRIES)
    for at in range(len(sound)):
        number = max(n for n, start in enumerate(starts[:-1]) if start <= at)
        broken = bytearray(sound)
        broken[at] ^= 1 << at % 8
        log_of(ledger).write_bytes(broken)
        assert damaged_at(ledger, ledger.verify) == (number, starts[number]), at
        # Entries before the damage can be read; nobody gets the damaged one.
        assert [ledger.get(n) for n in range(number)] == ENTRIES[:number], at
        damaged_at(ledger, lambda number=number: ledger.get(number))
        damaged_at(ledger, lambda: list(ledger.entries()))
        assert log_of(ledger).read_bytes() == bytes(broken)
    assert not torn_files(ledger)


def test_nothing_is_appended_to_a_ledger_whose_last_entry_is_damaged(ledger):
    sound = log_of(ledger).read_bytes()
    start = frame_starts(ENTRIES)[2]
    for at in range(start, len(sound)):
        broken = bytearray(sound)
        broken[at] ^= 0x10
        log_of(ledger).write_bytes(broken)
        assert damaged_at(ledger, lambda: ledger.append(b"more")) == (2, start), at
        assert log_of(ledger).read_bytes() == bytes(broken)
    assert not torn_files(ledger)


@pytest.mark.parametrize("change", ["swap", "remove", "repeat", "replace"])
def test_entries_cannot_be_reordered_removed_repeated_or_exchanged(tmp_path, change):
    ledger, other = FileLedger(tmp_path / "a"), FileLedger(tmp_path / "b")
    for number in range(3):
        ledger.append(b"entry %d" % number)
        other.append(b"other %d" % number)
    size = HEADER + len(b"entry 0")
    one, two, three = (log_of(ledger).read_bytes()[at * size : (at + 1) * size] for at in range(3))
    foreign = log_of(other).read_bytes()[size : 2 * size]
    log_of(ledger).write_bytes(
        {
            "swap": two + one + three,
            "remove": one + three,
            "repeat": one + one + two,
            "replace": one + foreign + three,
        }[change]
    )
    number, _ = damaged_at(ledger, ledger.verify)
    assert number == (0 if change == "swap" else 1)


@pytest.mark.parametrize("kept", range(3))
def test_a_log_that_was_cut_short_is_damaged_and_says_where(ledger, kept):
    starts = frame_starts(ENTRIES)
    for cut in (starts[kept], starts[kept] + 1, starts[kept] + HEADER, starts[kept + 1] - 1):
        content = log_of(ledger).read_bytes()
        log_of(ledger).write_bytes(content[:cut])
        for act in (ledger.verify, lambda: ledger.append(b"more"), lambda: ledger.get(kept)):
            assert damaged_at(ledger, act) == (kept, starts[kept])
        assert log_of(ledger).read_bytes() == content[:cut]
        log_of(ledger).write_bytes(content)
    assert ledger.verify().size == 3


def test_a_log_that_is_gone_is_damage_and_not_an_empty_ledger(ledger):
    log_of(ledger).unlink()
    for act in (ledger.verify, lambda: list(ledger.entries()), lambda: ledger.get(0)):
        assert damaged_at(ledger, act) == (0, 0)
    with pytest.raises(LedgerError, match="cannot append"):
        ledger.append(b"more")
    assert not log_of(ledger).exists()


def test_files_that_cannot_be_read_or_written_are_an_error_of_the_ledger(tmp_path):
    ledger = FileLedger(tmp_path / "ledger")
    ledger.append(b"x")
    log_of(ledger).rename(tmp_path / "aside")
    log_of(ledger).mkdir()
    (log_of(ledger) / "x").write_bytes(b"")
    for act in (ledger.verify, lambda: list(ledger.entries()), lambda: ledger.get(0)):
        with pytest.raises(LedgerError, match="cannot read the ledger"):
            act()
    with pytest.raises(LedgerError, match="cannot append"):
        ledger.append(b"y")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LedgerError, match="cannot append"):
        FileLedger(tmp_path / "file" / "ledger").append(b"y")


# ---------------------------------------------------------------- the index


def ruin(index, how):
    content = index.read_bytes()
    index.write_bytes(
        {
            "zero-filled": bytes(len(content)),
            "far away": b"\xff" * len(content),
            "off by one": b"".join(
                struct.pack("<Q", offset + 1) for (offset,) in struct.iter_unpack("<Q", content)
            ),
            "shifted": content[8:] + content[:8],
            "one entry behind": content[:-8],
            "half an offset behind": content[:-3],
            "empty": b"",
        }[how]
    )


@pytest.mark.parametrize("how", ["zero-filled", "far away", "off by one", "shifted"])
def test_offsets_that_lead_nowhere_cost_time_and_nothing_else(ledger, how):
    ruin(index_of(ledger), how)
    assert [ledger.get(number) for number in range(3)] == ENTRIES
    assert list(ledger.entries(1)) == list(enumerate(ENTRIES))[1:]
    assert ledger.verify().size == 3
    assert ledger.append(b"fourth") == 3
    assert [entry for _, entry in ledger.entries()] == [*ENTRIES, b"fourth"]


@pytest.mark.parametrize("how", ["one entry behind", "half an offset behind", "empty"])
def test_whole_entries_behind_a_short_index_are_indexed_again_by_the_next_writer(ledger, how):
    ruin(index_of(ledger), how)
    assert ledger.verify().size == 3
    assert ledger.append(b"fourth") == 3
    assert [entry for _, entry in ledger.entries()] == [*ENTRIES, b"fourth"]
    assert not torn_files(ledger)


def test_a_lost_index_is_no_empty_ledger_and_is_made_again_by_the_next_writer(ledger):
    index_of(ledger).unlink()
    for act in (ledger.verify, lambda: list(ledger.entries()), lambda: ledger.get(0)):
        damaged_at(ledger, act)
    assert ledger.append(b"fourth") == 3
    assert [entry for _, entry in ledger.entries()] == [*ENTRIES, b"fourth"]


def test_an_index_that_knows_more_than_the_log_holds_is_damage(ledger):
    with index_of(ledger).open("ab") as index:
        index.write(bytes(8))
    for act in (ledger.verify, lambda: ledger.append(b"more"), lambda: ledger.get(3)):
        assert damaged_at(ledger, act) == (3, frame_starts(ENTRIES)[3])


def test_a_ledger_that_its_first_writer_is_just_making_is_empty_and_not_damaged(tmp_path):
    ledger = FileLedger(tmp_path)
    log_of(ledger).touch()  # and the index is not there yet
    assert list(ledger.entries()) == []
    assert ledger.verify().size == 0


# ---------------------------------------------------------------- torn tails


def test_a_torn_tail_of_every_length_is_moved_aside_and_kept(tmp_path):
    whole = FileLedger(tmp_path / "whole")
    for entry in (*ENTRIES, b"never acknowledged"):
        whole.append(entry)
    content, start = log_of(whole).read_bytes(), frame_starts(ENTRIES)[3]
    for length in range(1, len(content) - start):
        ledger = FileLedger(tmp_path / str(length))
        for entry in ENTRIES:
            ledger.append(entry)
        tail = content[start : start + length]
        with log_of(ledger).open("ab") as log:
            log.write(tail)
        state = ledger.verify()
        assert (state.size, state.torn_bytes) == (3, length)
        assert [entry for _, entry in ledger.entries()] == ENTRIES
        assert ledger.append(b"next") == 3
        assert [entry for _, entry in ledger.entries()] == [*ENTRIES, b"next"]
        assert ledger.verify().torn_bytes == 0
        (aside,) = torn_files(ledger)
        assert aside.read_bytes() == tail


def test_a_whole_frame_that_was_not_indexed_is_kept_as_an_entry(ledger):
    index = index_of(ledger).read_bytes()
    ledger.append(b"written, and then the writer died")
    index_of(ledger).write_bytes(index)
    assert ledger.verify().size == 4
    assert ledger.append(b"next") == 4
    assert ledger.get(3) == b"written, and then the writer died"


def test_blocks_of_zeros_that_a_power_failure_left_are_a_torn_tail(ledger):
    with log_of(ledger).open("ab") as log:
        log.write(bytes(4096))
    assert ledger.verify().torn_bytes == 4096
    assert ledger.append(b"next") == 3
    assert torn_files(ledger)[0].read_bytes() == bytes(4096)


def test_evidence_of_an_earlier_torn_tail_at_the_same_place_is_not_overwritten(ledger):
    for tail in (b"one", b"another"):
        with log_of(ledger).open("ab") as log:
            log.write(tail)
        with pytest.raises(LedgerError):
            ledger.append(b"")  # refused before anything is touched
        index, log = index_of(ledger).read_bytes(), log_of(ledger).read_bytes()
        ledger.append(b"next")
        index_of(ledger).write_bytes(index)
        log_of(ledger).write_bytes(log[: -len(tail)])
    assert {path.read_bytes() for path in torn_files(ledger)} == {b"one", b"another"}


def test_more_than_one_frame_behind_the_last_sound_one_is_damage_and_no_torn_tail(ledger):
    end = frame_starts(ENTRIES)[3]
    with log_of(ledger).open("ab") as log:
        log.write(bytes(HEADER + MAX_ENTRY_BYTES + 1))
    for act in (ledger.verify, lambda: ledger.append(b"more")):
        assert damaged_at(ledger, act) == (3, end)
    assert not torn_files(ledger)


def test_damage_among_entries_that_a_lost_index_no_longer_knows_is_not_taken_for_torn(ledger):
    content = bytearray(log_of(ledger).read_bytes())
    content[frame_starts(ENTRIES)[1] + HEADER] ^= 1
    log_of(ledger).write_bytes(content)
    index_of(ledger).write_bytes(b"")
    # A whole third entry stands behind the second: no single killed writer leaves that.
    for act in (ledger.verify, lambda: ledger.append(b"more")):
        assert damaged_at(ledger, act) == (1, frame_starts(ENTRIES)[1])
    assert log_of(ledger).read_bytes() == bytes(content)
    assert not torn_files(ledger)


# ---------------------------------------------------------------- many writers


def start_writer(folder, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)], stdout=subprocess.PIPE
    )


def acknowledged(output):
    """Return ``{index: entry}`` of the whole lines that a writer printed."""
    found = {}
    for line in output.decode().splitlines(keepends=True):
        if line.endswith("\n"):
            index, name, number = line.split()
            size = int(number) * 37 % 3000
            found[int(index)] = f"{name}:{number}:".encode() + b"x" * size
    return found


def test_writers_in_many_processes_lose_and_mix_up_nothing(tmp_path):
    writers = [start_writer(tmp_path / "ledger", f"writer{at}", 60) for at in range(4)]
    told = [acknowledged(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    everything = {index: entry for one in told for index, entry in one.items()}
    assert sorted(everything) == list(range(240))
    ledger = FileLedger(tmp_path / "ledger")
    assert dict(ledger.entries()) == everything
    assert ledger.verify().size == 240
    for one in told:
        assert list(one) == sorted(one)  # each writer's own entries stand in its order


def test_readers_beside_a_first_writer_never_see_damage(tmp_path):
    faults, stop, folders = [], threading.Event(), [tmp_path / str(at) for at in range(40)]
    current = [folders[0]]

    def read():
        while not stop.is_set():
            ledger = FileLedger(current[0])
            try:
                list(ledger.entries())
                ledger.verify()
            except LedgerError as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for folder in folders:
        current[0] = folder
        time.sleep(0.002)
        FileLedger(folder).append(b"first")
    stop.set()
    reader.join()
    assert faults == []


def test_readers_beside_a_writer_never_see_damage_or_a_gap(tmp_path):
    ledger = FileLedger(tmp_path / "ledger")
    stop, seen, faults = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                numbers = [number for number, _ in ledger.entries()]
                ledger.verify()
            except LedgerError as error:
                faults.append(error)
                return
            assert numbers == list(range(len(numbers)))
            seen.append(len(numbers))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(80):
        ledger.append(b"entry %d" % number * 50)
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert seen
    assert max(seen) <= 80


def test_a_writer_that_is_killed_at_any_moment_loses_no_acknowledged_entry(tmp_path):
    ledger, promised, chance = FileLedger(tmp_path / "ledger"), {}, random.Random(7)
    for round_number in range(12):
        writer = start_writer(ledger.folder, f"round{round_number}", 100_000)
        first = writer.stdout.readline()  # it is at work
        time.sleep(chance.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        assert writer.returncode == -signal.SIGKILL
        promised.update(acknowledged(first + rest))
    number = ledger.append(b"afterwards")
    entries = dict(ledger.entries())
    assert promised
    assert all(entries[index] == entry for index, entry in promised.items())
    assert sorted(entries) == list(range(number + 1))
    assert ledger.verify().torn_bytes == 0


def test_the_disk_is_asked_to_keep_an_entry_before_it_is_acknowledged(ledger, monkeypatch):
    order, real = [], os.fsync

    def fsync(descriptor):
        order.append((os.fstat(descriptor).st_size, index_of(ledger).stat().st_size))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    before = index_of(ledger).stat().st_size
    ledger.append(b"x" * 100)
    # The whole frame was there before the index knew it, and then the index was kept as well.
    assert order == [(log_of(ledger).stat().st_size, before), (before + 8, before + 8)]
    assert index_of(ledger).stat().st_size == before + 8


# ---------------------------------------------------------------- receipts as files


@pytest.fixture
def evidence(tmp_path):
    """Return an evidence folder with two receipts."""
    made = Evidence(tmp_path / "evidence")
    assert made.log(b"one").index == 0
    assert made.log(b"two").index == 1
    return made


def test_a_logged_receipt_is_in_the_ledger_and_beside_it_as_a_file(evidence):
    ref = ReceiptRef(1, Digest.of(b"two"))
    assert evidence.receipt(ref) == b"two"
    assert evidence.receipt_path(ref.digest).read_bytes() == b"two"
    assert list(evidence.receipts()) == [
        (ReceiptRef(0, Digest.of(b"one")), b"one"),
        (ref, b"two"),
    ]


def test_a_reference_to_another_place_or_another_receipt_is_refused(evidence):
    with pytest.raises(ReceiptError, match="entry 0 of the ledger is not the receipt"):
        evidence.receipt(ReceiptRef(0, Digest.of(b"two")))
    with pytest.raises(LedgerError, match="has no entry 2"):
        evidence.receipt(ReceiptRef(2, Digest.of(b"two")))


def test_a_receipt_whose_file_was_edited_or_removed_is_refused(evidence):
    ref = ReceiptRef(0, Digest.of(b"one"))
    evidence.receipt_path(ref.digest).write_bytes(b"onE")
    with pytest.raises(ReceiptError, match="was edited"):
        evidence.receipt(ref)
    evidence.receipt_path(ref.digest).unlink()
    with pytest.raises(ReceiptError, match="is missing"):
        evidence.receipt(ref)


def test_evidence_that_cannot_be_written_is_an_error_and_nothing_is_acknowledged(tmp_path):
    (tmp_path / "evidence").write_bytes(b"a file stands in the way")
    with pytest.raises(LedgerError, match="cannot write evidence"):
        Evidence(tmp_path / "evidence").log(b"one")
