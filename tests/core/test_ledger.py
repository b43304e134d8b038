"""The ledger: what was acknowledged is there, in order and unchanged, or it says that it is not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError, LedgerError, ReceiptError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.ledger import folder_writer
from sluicegate.ledger.base import MAX_ENTRY_BYTES
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.note import (
    COSIGNATURE,
    Checkpoint,
    NoteSigner,
    SignedCheckpoint,
    cosign,
    sign_checkpoint,
)
from sluicegate.ledger.static_copy import copy_ledger
from sluicegate.ledger.tiles import TileTree
from sluicegate.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from tests.core.ledger_world import ORIGIN, SIGNER, open_ledger

ENTRIES = [b"first", b"second entry", b"3"]
FRAME = 52


@pytest.fixture
def ledger(tmp_path):
    """Return a signed ledger with three entries."""
    made = open_ledger(tmp_path / "ledger")
    for number, entry in enumerate(ENTRIES):
        assert made.append(entry) == number
    return made


def read_all(ledger):
    return [entry for _, entry in ledger.entries()]


def torn_files(ledger):
    return sorted(ledger.folder.glob("torn-*"))


def journal_of(ledger):
    return ledger.folder / "journal"


def append_to(path, tail):
    with path.open("ab") as file:
        file.write(tail)


def frame_starts(ledger, entries):
    length = journal_of(ledger).stat().st_size
    starts = [length]
    for entry in reversed(entries):
        starts.insert(0, starts[0] - FRAME - len(entry))
    return starts


# ---------------------------------------------------------------- what was put in comes out


def test_entries_come_back_in_order_and_the_root_is_theirs(ledger):
    assert read_all(ledger) == ENTRIES
    assert [ledger.get(number) for number in range(3)] == ENTRIES
    state = ledger.verify()
    assert (state.size, state.torn_bytes) == (3, 0)
    assert state.root == merkle_root(map(leaf_hash, ENTRIES))
    checkpoint = ledger.checkpoint().verify(SIGNER.verifier)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (ORIGIN, 3, state.root)


def test_batches_stand_next_to_each_other_and_cross_tiles(tmp_path):
    ledger = open_ledger(tmp_path)
    assert ledger.append_many([]) == range(0)
    assert ledger.append_many([b"%d" % number for number in range(600)]) == range(600)
    assert ledger.append_many([b"x" * MAX_ENTRY_BYTES, b"y"]) == range(600, 602)
    assert ledger.append_many([]) == range(602, 602)
    assert ledger.get(599) == b"599"
    assert list(ledger.entries(600)) == [(600, b"x" * MAX_ENTRY_BYTES), (601, b"y")]
    assert ledger.verify().size == 602


def test_what_is_no_entry_is_refused_before_anything_is_touched(tmp_path):
    ledger = open_ledger(tmp_path / "none")
    for entry in (b"", b"x" * (MAX_ENTRY_BYTES + 1)):
        with pytest.raises(LedgerError, match="1 to 65535 bytes"):
            ledger.append(entry)
        with pytest.raises(LedgerError, match="1 to 65535 bytes"):
            ledger.append_many([b"fine", entry])
    assert not (tmp_path / "none").exists()


def test_a_ledger_that_was_never_written_is_empty(tmp_path):
    ledger = open_ledger(tmp_path / "none")
    assert (ledger.size, ledger.checkpoint(), list(ledger.entries())) == (0, None, [])
    assert ledger.verify().root == EMPTY_ROOT
    ledger.repair()
    assert not (tmp_path / "none").exists()
    with pytest.raises(LedgerError, match="has no entry 0"):
        ledger.get(0)


def test_entries_that_are_not_there_are_an_error(ledger):
    for index in (-1, 3):
        with pytest.raises(LedgerError, match=f"has no entry {index}"):
            ledger.get(index)
    assert list(ledger.entries(3)) == []
    with pytest.raises(ValueError, match="counted from 0"):
        list(ledger.entries(-1))


def test_the_journal_rotates_and_nothing_changes_for_readers(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_writer, "_JOURNAL_ENTRIES", 256)
    ledger, entries = open_ledger(tmp_path), []
    chance = random.Random(5)
    while len(entries) < 1500:
        batch = [b"entry %d" % (len(entries) + at) for at in range(chance.choice([1, 7, 100]))]
        ledger.append_many(batch)
        entries += batch
        assert ledger.verify().size == len(entries)
    assert journal_of(ledger).stat().st_size < 300 * 80
    assert read_all(open_ledger(tmp_path)) == entries
    assert len(list((tmp_path / "tile/entries").glob("*.p"))) <= 2  # old partial tiles are gone
    assert open_ledger(tmp_path).append(b"by another process") == len(entries)


def test_files_are_readable_for_others_and_names_are_portable(ledger, monkeypatch):
    previous = os.umask(0o077)
    try:
        ledger.append_many([b"x"] * 300)
    finally:
        os.umask(previous)
    for path in ledger.folder.rglob("*"):
        if path.name != "commit":
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
        name = path.relative_to(ledger.folder).as_posix()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789/.-"), name


def test_old_partial_tiles_are_cut_from_newer_ones(ledger):
    tiles = ledger.tiles
    assert not (ledger.folder / "tile/entries/000.p/1").exists()
    assert tiles.read("tile/entries/000.p/1") == b"\x00\x05first"
    assert tiles.read("tile/0/000.p/1") == leaf_hash(b"first")
    assert tiles.read("tile/0/000.p/4") is None
    assert tiles.read("tile/entries/000") is None
    for size in (1, 2, 3):
        assert TileTree(tiles, size).check() == merkle_root(map(leaf_hash, ENTRIES[:size]))
    for name in ("../ledger/checkpoint", "/etc/hostname", "journal", "tile/0/000.p/300", ""):
        with pytest.raises(LedgerError, match="no file of a ledger"):
            tiles.read(name)


# ---------------------------------------------------------------- damage


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "commit")


def test_a_flipped_bit_in_any_file_is_found_and_located(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_writer, "_JOURNAL_ENTRIES", 256)
    ledger = open_ledger(tmp_path)
    for at in range(5):
        ledger.append_many([b"entry %d %d" % (at, number) for number in range(60)])
    append_to(tmp_path / "journal", b"torn")
    ledger.append(b"x")
    assert torn_files(ledger)
    chance = random.Random(6)
    for path in files_of(tmp_path):
        good = path.read_bytes()
        bits = {chance.randrange(len(good) * 8) for _ in range(25)} | {0, len(good) * 8 - 1}
        for bit in sorted(bits):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bad)
            with pytest.raises(LedgerError) as caught:
                open_ledger(tmp_path).verify()
            name = path.relative_to(tmp_path).as_posix().split(".p/")[0]
            told = str(caught.value)
            assert name in told or (name == "checkpoint" and "signature" in told), (name, told)
        path.write_bytes(good)
    assert ledger.verify().size == 301


def test_every_byte_of_the_last_frames_cut_off_or_changed_is_damage(ledger):
    journal = journal_of(ledger)
    content, starts = journal.read_bytes(), frame_starts(ledger, ENTRIES)
    for at in range(starts[0], starts[-1]):
        number = max(number for number in range(3) if starts[number] <= at)
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        for bad in (content[:at], bytes(changed)):
            journal.write_bytes(bad)
            for act in (ledger.verify, open_ledger(ledger.folder).verify):
                with pytest.raises(
                    LedgerError, match=f"damaged at entry {number}, byte {starts[number]}"
                ):
                    act()
        journal.write_bytes(content[:at])
        with pytest.raises(LedgerError, match="damaged at entry"):
            open_ledger(ledger.folder).append(b"more")
        assert journal.read_bytes() == content[:at]
    journal.write_bytes(content)
    assert ledger.append(b"more") == 3


def test_a_damaged_header_of_the_journal_is_damage(ledger):
    journal = journal_of(ledger)
    content = journal.read_bytes()
    for at in range(frame_starts(ledger, ENTRIES)[0]):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        for bad in (content[:at], bytes(changed)):
            journal.write_bytes(bad)
            with pytest.raises(LedgerError, match=r"damaged in its header|does not read"):
                ledger.append(b"more")
            with pytest.raises(LedgerError, match=r"damaged in its header|does not read"):
                ledger.verify()


def test_a_torn_tail_of_every_length_is_moved_aside_and_kept(tmp_path):
    whole = open_ledger(tmp_path / "whole")
    whole.append_many([*ENTRIES, b"never acknowledged"])
    content = journal_of(whole).read_bytes()
    start = frame_starts(whole, [b"never acknowledged"])[0]
    for length in range(1, len(content) - start, 3):
        ledger = open_ledger(tmp_path / str(length))
        ledger.append_many(ENTRIES)
        tail = content[start : start + length]
        append_to(journal_of(ledger), tail)
        state = ledger.verify()
        assert (state.size, state.torn_bytes) == (3, length)
        assert read_all(ledger) == ENTRIES
        assert ledger.append(b"next") == 3
        assert read_all(ledger) == [*ENTRIES, b"next"]
        assert ledger.verify().torn_bytes == 0
        (aside,) = torn_files(ledger)
        assert aside.read_bytes() == tail


def test_whole_frames_that_nobody_published_are_published_by_the_next_writer(ledger, monkeypatch):
    monkeypatch.setattr(ledger._writer, "commit", lambda mine: None)
    ledger.append(b"written, and then the writer died")
    assert ledger.verify().size == 3
    other = open_ledger(ledger.folder)
    assert other.append(b"next") == 4
    assert other.get(3) == b"written, and then the writer died"
    assert other.verify().size == 5


def test_evidence_of_an_earlier_torn_tail_is_kept_and_guarded(ledger):
    for tail in (b"one", b"another"):
        append_to(journal_of(ledger), tail)
        ledger.append(b"next")
    assert {path.read_bytes() for path in torn_files(ledger)} == {b"one", b"another"}
    torn_files(ledger)[0].write_bytes(b"nothing happened here")
    with pytest.raises(LedgerError, match="is not what was moved aside"):
        ledger.verify()


def test_what_does_not_belong_into_a_ledger_is_named(ledger):
    (ledger.folder / "tile/0/extra").write_bytes(b"")
    with pytest.raises(LedgerError, match="tile/0/extra does not belong"):
        ledger.verify()


# ---------------------------------------------------------------- forged and rolled back


@pytest.mark.parametrize("name", ["checkpoint", "journal"])
def test_a_missing_file_is_damage_and_not_an_empty_ledger(ledger, name):
    (ledger.folder / name).unlink()
    for act in (ledger.verify, lambda: open_ledger(ledger.folder).append(b"more")):
        with pytest.raises(LedgerError, match=f"its {name} is (missing|there)|{name} is missing"):
            act()
    assert not (ledger.folder / name).exists()
    (ledger.folder / ("journal" if name == "checkpoint" else "checkpoint")).unlink()
    for act in (ledger.verify, lambda: open_ledger(ledger.folder).append(b"more")):
        with pytest.raises(LedgerError, match="is missing"):
            act()


def test_a_checkpoint_that_is_newer_than_journal_and_tiles_is_refused(ledger):
    old = ledger.folder.with_name("old")
    shutil.copytree(ledger.folder, old)
    ledger.append(b"fourth")
    shutil.copy(ledger.folder / "checkpoint", old / "checkpoint")
    cut = open_ledger(old)
    for act in (cut.verify, lambda: cut.append(b"more"), cut.repair):
        with pytest.raises(LedgerError):
            act()
    with pytest.raises(LedgerError):
        read_all(cut)
    assert SignedCheckpoint.parse((old / "checkpoint").read_bytes()).checkpoint.size == 4


def test_a_checkpoint_older_than_the_start_of_the_journal_was_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_writer, "_JOURNAL_ENTRIES", 256)
    ledger = open_ledger(tmp_path)
    ledger.append(b"first")
    old = (tmp_path / "checkpoint").read_bytes()
    ledger.append_many([b"x"] * 400)
    (tmp_path / "checkpoint").write_bytes(old)
    for writer in (ledger, open_ledger(tmp_path)):
        with pytest.raises(LedgerError, match="somebody put an old checkpoint back"):
            writer.append(b"more")
    assert (tmp_path / "checkpoint").read_bytes() == old


def rewrite(ledger, at, entry):
    """Replace an entry in the journal as somebody would who knows its format."""
    forged = FolderLedger(ledger.folder.with_name("forged"), origin=ORIGIN, signer=SIGNER)
    entries = read_all(ledger)
    entries[at] = entry
    forged.append_many(entries)
    return forged


def test_a_rewritten_journal_is_not_signed(ledger):
    forged = rewrite(ledger, 1, b"a lie")
    shutil.copy(journal_of(forged), journal_of(ledger))
    (ledger.folder / "commit").write_bytes(b"")  # so that the next writer looks again
    with pytest.raises(LedgerError, match="do not have the root of its last checkpoint"):
        open_ledger(ledger.folder).append(b"more")
    assert ledger.size == 3
    with pytest.raises(LedgerError, match="another one than in the tiles"):
        ledger.verify()


def test_rewritten_tiles_are_not_built_upon(ledger):
    forged = rewrite(ledger, 1, b"a lie")
    shutil.rmtree(ledger.folder / "tile")
    shutil.copytree(forged.folder / "tile", ledger.folder / "tile")
    with pytest.raises(LedgerError, match="do not have the root of its checkpoint"):
        ledger.verify()
    assert open_ledger(ledger.folder).append(b"more") == 3  # made again from the journal
    assert read_all(ledger) == [*ENTRIES, b"more"]
    assert ledger.verify().size == 4
    assert any(b"a lie" in path.read_bytes() for path in torn_files(ledger))


def test_a_wholly_rewritten_ledger_is_refused_for_its_signature(ledger, tmp_path):
    other = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
    forged = FolderLedger(tmp_path / "forged", origin=ORIGIN, signer=other)
    forged.append_many(ENTRIES)
    mine = open_ledger(forged.folder)
    for act in (mine.verify, lambda: mine.append(b"more")):
        with pytest.raises(LedgerError, match="not signed by the log's key"):
            act()
    note = (forged.folder / "checkpoint").read_bytes()
    (forged.folder / "checkpoint").write_bytes(note.replace(other.verifier.id, SIGNER.verifier.id))
    with pytest.raises(LedgerError):
        mine.append(b"more")


def test_another_origin_and_a_missing_key_are_refused(ledger):
    stranger = FolderLedger(ledger.folder, origin="another.example/log")
    for act in (stranger.verify, lambda: stranger.append(b"more")):
        with pytest.raises(LedgerError, match=r"holds the ledger '.*', expected 'another"):
            act()
    keyless = FolderLedger(ledger.folder, origin=ORIGIN)
    assert keyless.verify().size == 3
    with pytest.raises(LedgerError, match="this writer has no key for it"):
        keyless.append(b"more")
    assert ledger.size == 3
    for signer in (
        NoteSigner("another.example/log", SIGNER.key),
        NoteSigner(ORIGIN, SIGNER.key, COSIGNATURE),
    ):
        with pytest.raises(ConfigurationError, match="does not sign for the ledger"):
            FolderLedger(ledger.folder, origin=ORIGIN, signer=signer)


def test_an_unsigned_ledger_cannot_be_taken_over_by_a_key(tmp_path):
    FolderLedger(tmp_path, origin=ORIGIN).append(b"x")
    with pytest.raises(LedgerError, match="not signed by the log's key"):
        open_ledger(tmp_path).append(b"y")


# ---------------------------------------------------------------- cosignatures


def test_cosignatures_are_attached_to_the_newest_checkpoint_only(ledger):
    witness = NoteSigner("witness.example", Ed25519PrivateKey.generate(), COSIGNATURE)
    signed = ledger.checkpoint()
    assert ledger.witnessed() is None
    note = signed.note + cosign(signed, witness).encode()
    assert ledger.attach(note)
    found = ledger.checkpoint()
    assert found.verify(SIGNER.verifier).size == 3
    assert len(found.cosignatures([witness.verifier])) == 1
    assert ledger.verify().size == 3
    assert ledger.append(b"fourth") == 3
    assert not ledger.attach(note)
    assert ledger.checkpoint().cosignatures([witness.verifier]) == ()
    assert len(ledger.witnessed().cosignatures([witness.verifier])) == 1
    ledger.repair()
    with pytest.raises(LedgerError):
        ledger.attach(b"no checkpoint")


# ---------------------------------------------------------------- readers and writers at once


def test_threads_and_processes_share_a_ledger(tmp_path):
    ledger = open_ledger(tmp_path / "ledger")
    told, faults = {}, []

    def write(name):
        for number in range(15):
            batch = [b"%s %d %d" % (name, number, at) for at in range(number % 3 + 1)]
            for index, entry in zip(ledger.append_many(batch), batch, strict=True):
                told[index] = entry

    stop = threading.Event()

    def read():
        reader, last = open_ledger(ledger.folder), 0
        while not stop.is_set():
            try:
                entries = read_all(reader)
                state = reader.verify()
                assert last <= len(entries) <= state.size
                last = len(entries)
            except (LedgerError, AssertionError) as error:
                faults.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(b"thread%d" % at,)) for at in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    reader.join()
    assert faults == []
    assert dict(ledger.entries()) == told
    assert sorted(told) == list(range(180))


def test_writers_at_once_share_syncs(tmp_path, monkeypatch):
    ledger = open_ledger(tmp_path)
    ledger.append(b"first")
    syncs, real, gate = [], os.fdatasync, threading.Barrier(17)

    def fdatasync(descriptor):
        syncs.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)

    def write(number):
        gate.wait()
        ledger.append(b"%d" % number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    with ledger._writer.lock():  # somebody publishes while all of them arrive
        for writer in writers:
            writer.start()
        gate.wait()
        length = journal_of(ledger).stat().st_size
        while journal_of(ledger).stat().st_size < length + 16 * (FRAME + 1):
            pass
    for writer in writers:
        writer.join()
    assert len(syncs) <= 2
    assert ledger.verify().size == 17


def test_readers_beside_a_first_writer_never_see_damage(tmp_path):
    faults, stop = [], threading.Event()
    folders = [tmp_path / str(at) for at in range(15)]
    current = [folders[0]]

    def read():
        while not stop.is_set():
            try:
                reader = open_ledger(current[0])
                read_all(reader)
                reader.verify()
            except LedgerError as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for folder in folders:
        current[0] = folder
        open_ledger(folder).append(b"first")
    stop.set()
    reader.join()
    assert faults == []


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user to lose its rights")
def test_a_folder_that_may_only_be_read_is_read_and_not_written(ledger):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.core.ledger_world import open_ledger\n"
        "from sluicegate.errors import LedgerError\n"
        "os.setuid(65534)\n"
        "ledger = open_ledger(Path(sys.argv[1]))\n"
        "assert ledger.verify().size == 3 and ledger.get(2) == b'3'\n"
        "for act in (lambda: ledger.append(b'x'), ledger.repair):\n"
        "    try:\n"
        "        act()\n"
        "    except LedgerError as error:\n"
        "        assert 'Permission denied' in str(error), error\n"
        "    else:\n"
        "        sys.exit('written')\n"
    )
    for path in (ledger.folder, *ledger.folder.parents):
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp") and path != path.parent:
            path.chmod(path.stat().st_mode | 0o055)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(ledger.folder)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert ran.returncode == 0, ran.stderr.decode()


def test_files_in_the_way_are_an_error_of_the_ledger(ledger, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LedgerError, match=r"cannot append|cannot read"):
        open_ledger(tmp_path / "file" / "ledger").append(b"y")
    journal_of(ledger).rename(tmp_path / "aside")
    journal_of(ledger).mkdir()
    with pytest.raises(LedgerError, match="cannot append"):
        ledger.append(b"y")
    with pytest.raises(LedgerError, match="cannot read"):
        ledger.verify()


# ---------------------------------------------------------------- copies


def test_a_copy_holds_what_any_client_needs_and_is_checked_while_it_is_made(tmp_path):
    ledger = open_ledger(tmp_path / "ledger")
    ledger.append_many([b"entry %d" % number for number in range(300)])
    signed = ledger.checkpoint()
    count = copy_ledger(ledger.tiles, signed, tmp_path / "copy")
    names = sorted(
        path.relative_to(tmp_path / "copy").as_posix() for path in files_of(tmp_path / "copy")
    )
    assert names == ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1",
                     "tile/entries/000", "tile/entries/001.p/44"]  # fmt: skip
    assert count == len(names)
    assert TileTree(FolderLedger(tmp_path / "copy").tiles, 300).check() == signed.checkpoint.root
    with pytest.raises(LedgerError, match="is not empty"):
        copy_ledger(ledger.tiles, signed, tmp_path / "copy")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LedgerError, match="cannot export"):
        copy_ledger(ledger.tiles, signed, tmp_path / "file")
    lie = Checkpoint(origin=ORIGIN, size=300, root=bytes(32))
    with pytest.raises(LedgerError, match="do not have the root"):
        copy_ledger(
            ledger.tiles, SignedCheckpoint.parse(sign_checkpoint(lie, SIGNER)), tmp_path / "bad"
        )
    assert not (tmp_path / "bad/checkpoint").exists()
    with pytest.raises(LedgerError, match="journal is missing"):
        open_ledger(tmp_path / "copy").append(b"copies do not grow")


def test_checksums_are_those_of_zip(ledger):
    """The journal's format is documented; this pins it."""
    content, start = journal_of(ledger).read_bytes(), frame_starts(ledger, ENTRIES)[0]
    assert content[:4] == b"slj1"
    assert content[start : start + 4] == b"slg1"
    assert content[start + 16 : start + 20] == zlib.crc32(b"first").to_bytes(4, "little")
    assert content[start - 4 : start] == zlib.crc32(content[: start - 4]).to_bytes(4, "little")


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
