"""A ledger without locks: the chain of batches, killed writers, damage and attacks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger import batches
from sluicegate.ledger.batches import Batch, batch_name, open_batch, seal_batch
from sluicegate.ledger.link_objects import MAX_OBJECT_BYTES, LinkObjects
from sluicegate.ledger.note import (
    COSIGNATURE,
    Checkpoint,
    NoteSigner,
    SignedCheckpoint,
    cosign,
    sign_checkpoint,
)
from sluicegate.ledger.objects import ObjectLedger
from sluicegate.ledger.open import open_ledger
from sluicegate.ledger.proofs import verify_consistency
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.signatures import merge_signatures
from sluicegate.ledger.tiles import TileTree
from sluicegate.merkle import leaf_hash, merkle_root
from sluicegate.storage.uri import SubjectUri

ORIGIN = "log.example/objects"


class Memory:
    """Objects in a dictionary, with a hook that can lose answers or let others go first."""

    where = "memory"

    def __init__(self):
        self.kept = {}
        self.count = 0
        self.lock = threading.Lock()
        self.before = lambda what, name: None
        self.after = lambda what, name, won: won

    def read(self, name):
        self.before("read", name)
        return self.kept.get(name)

    def create(self, name, data):
        self.before("create", name)
        with self.lock:
            won = name not in self.kept
            if won:
                self._keep(name, data)
        return self.after("create", name, won)

    def replace(self, name, data, tag):
        self.before("replace", name)
        with self.lock:
            found = self.kept.get(name)
            won = (found[1] if found else None) == tag
            if won:
                self._keep(name, data)
        return self.after("replace", name, won)

    def list(self, prefix):
        yield from [name for name in list(self.kept) if name.startswith(prefix)]

    def remove(self, names):
        for name in names:
            self.kept.pop(name, None)

    def _keep(self, name, data):
        self.count += 1
        self.kept[name] = (data, str(self.count))


def key(origin=ORIGIN):
    return NoteSigner(origin, Ed25519PrivateKey.generate())


@pytest.fixture
def signer():
    return key()


@pytest.fixture
def store():
    return Memory()


def ledger(store, signer=None, **options):
    return ObjectLedger(store, origin=ORIGIN, signer=signer, **{"patience": 5} | options)


def entry(number):
    return b"entry %d" % number


def content(log):
    return [data for _, data in log.entries()]


# ---------------------------------------------------------------- one writer


def test_what_is_appended_is_read_back_and_covered_by_a_signed_checkpoint(store, signer):
    log = ledger(store, signer)
    assert (log.size, log.checkpoint(), log.verify().size) == (0, None, 0)
    assert log.append(b"a") == 0
    assert log.append_many([b"b", b"c"]) == range(1, 3)
    assert log.append_many([]) == range(3, 3)
    assert content(log) == [b"a", b"b", b"c"]
    assert [log.get(2), list(log.entries(1))] == [b"c", [(1, b"b"), (2, b"c")]]
    checkpoint = log.checkpoint().verify(signer.verifier)
    assert checkpoint.root == log.verify().root == merkle_root(map(leaf_hash, content(log)))
    with pytest.raises(LedgerError, match="no entry 3"):
        log.get(3)


@pytest.mark.parametrize("sizes", [(255, 1, 1), (256, 256), (1, 600, 3), (70_000, 1)])
def test_full_tiles_are_kept_and_partial_ones_removed(store, signer, sizes):
    log, count = ledger(store, signer), 0
    for size in sizes:
        log.append_many([entry(count + number) for number in range(size)])
        count += size
    assert log.verify().size == count
    assert log.checkpoint().checkpoint.root == merkle_root(
        leaf_hash(entry(number)) for number in range(count)
    )
    partial = [name for name in store.kept if ".p/" in name]
    edges = {name.partition(".p/")[0] for name in partial}
    assert not edges & set(store.kept)


def test_an_unsigned_ledger_is_not_taken_for_a_signed_one(store, signer):
    ledger(store).append(b"a")
    with pytest.raises(LedgerError, match="not signed by the log's key"):
        ledger(store, signer).append(b"b")


def test_a_writer_without_the_key_cannot_add_to_a_signed_ledger(store, signer):
    ledger(store, signer).append(b"a")
    with pytest.raises(LedgerError, match="has no key"):
        ledger(store).append(b"b")
    assert ledger(store).verify().size == 1  # reading and checking takes none


def test_the_ledger_of_another_origin_is_refused(store, signer):
    ledger(store, signer).append(b"a")
    other = ObjectLedger(store, origin="log.example/other")
    with pytest.raises(LedgerError, match=r"is 'log\.example/objects', not"):
        other.verify()
    with pytest.raises(LedgerError, match="cannot sign"):
        ObjectLedger(store, origin="log.example/other", signer=signer)


@pytest.mark.parametrize("bad", [b"", b"x" * 65_536])
def test_an_entry_that_does_not_fit_is_refused_before_anything_is_written(store, bad):
    with pytest.raises(LedgerError, match="1 to 65535"):
        ledger(store).append_many([b"good", bad])
    assert store.kept == {}


def test_an_append_that_is_too_large_for_a_batch_is_refused(store, monkeypatch):
    monkeypatch.setattr("sluicegate.ledger.objects.MAX_BATCH_ENTRIES", 3)
    log = ledger(store)
    log.append_many([b"1", b"2", b"3"])
    with pytest.raises(LedgerError, match="too much for one append"):
        log.append_many([b"1", b"2", b"3", b"4"])


# ---------------------------------------------------------------- batches


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_batch_reads_back_and_no_flipped_bit_is_overlooked(entries, signed):
    signer = key() if signed else None
    batch = Batch(first=7, nonce=bytes(range(16)), entries=tuple(entries))
    data = seal_batch(batch, origin=ORIGIN, signer=signer)
    verifier = signer.verifier if signer else None
    assert open_batch(data, 7, origin=ORIGIN, verifier=verifier) == batch
    assert batch.end == 7 + len(entries)
    for at in random.Random(1).sample(range(len(data) * 8), 12):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << at % 8
        try:
            found = open_batch(bytes(broken), 7, origin=ORIGIN, verifier=verifier)
        except LedgerError:
            continue
        assert not signed  # only the nonce, or the flag, of an unsigned one can go unseen
        assert found.entries == batch.entries


@given(st.binary(max_size=200))
def test_anything_else_is_no_batch(data):
    with pytest.raises(LedgerError):
        open_batch(data, 0, origin=ORIGIN, verifier=None)


def test_a_signed_batch_holds_at_its_place_in_its_log_only(signer):
    batch = Batch(first=7, nonce=bytes(16), entries=(b"a",))
    data = seal_batch(batch, origin=ORIGIN, signer=signer)
    for first, origin, verifier in (
        (8, ORIGIN, signer.verifier),
        (7, "log.example/other", signer.verifier),
        (7, ORIGIN, key().verifier),
    ):
        with pytest.raises(LedgerError, match="did not sign it"):
            open_batch(data, first, origin=origin, verifier=verifier)
    unsigned = seal_batch(batch, origin=ORIGIN, signer=None)
    with pytest.raises(LedgerError, match="did not sign it"):
        open_batch(unsigned, 7, origin=ORIGIN, verifier=signer.verifier)


def test_entries_that_somebody_without_the_key_put_down_are_not_signed(store, signer):
    log = ledger(store, signer)
    log.append(b"a")
    forged = Batch(first=1, nonce=bytes(16), entries=(b"forged",))
    store.create(batch_name(1), seal_batch(forged, origin=ORIGIN, signer=key()))
    with pytest.raises(LedgerError, match="key did not sign it"):
        log.append(b"b")
    assert content(log) == [b"a"]


# ---------------------------------------------------------------- killed writers


class KilledError(BaseException):
    pass


def killed_at(store, signer, step, entries):
    """Append with a writer that dies before its write number ``step``; say whether it did."""
    left = [step]

    def before(what, name):
        if what != "read":
            if left[0] == 0:
                raise KilledError
            left[0] -= 1

    store.before = before
    try:
        ledger(store, signer).append_many(entries)
    except KilledError:
        return True
    finally:
        store.before = lambda what, name: None
    return False


@pytest.mark.parametrize("start", [0, 3, 255])
def test_whatever_a_killed_writer_left_the_next_one_finishes(signer, start):
    for step in range(20):
        store = Memory()
        if start:
            ledger(store, signer).append_many([entry(number) for number in range(start)])
        died = killed_at(store, signer, step, [b"x", b"y"])
        log = ledger(store, signer)
        before = content(log)
        at = log.append(b"z")
        found = content(log)
        assert found[start:] in ([b"z"], [b"x", b"y", b"z"])
        assert found[: len(before)] == before
        assert at == len(found) - 1
        assert log.verify().root == merkle_root(map(leaf_hash, found))
        if not died:
            break
    assert not died, "the writer was killed at every one of its steps"


def test_two_writers_that_finish_the_same_batch_write_the_same_bytes(signer):
    made = []
    batch = Batch(first=0, nonce=bytes(16), entries=tuple(map(entry, range(300))))
    for _ in range(2):
        store = Memory()
        store.create(batch_name(0), seal_batch(batch, origin=ORIGIN, signer=signer))
        ledger(store, signer).append(b"last")
        made.append({name: data for name, (data, _) in store.kept.items()})
        made[-1].pop(batch_name(300))
    assert made[0] == made[1]


def test_a_writer_whose_answer_was_lost_finds_its_own_batch(store, signer):
    lost = []

    def after(what, name, won):
        if what == "create" and name.startswith("batch/") and not lost:
            lost.append(name)
            return False
        return won

    store.after = after
    log = ledger(store, signer)
    assert log.append(b"once") == 0
    assert (lost, content(log)) == ([batch_name(0)], [b"once"])


def test_a_writer_that_slept_finds_its_place_taken(store, signer):
    """Another one fills several places between its look at the checkpoint and its write."""
    other, woken = ledger(store, signer), []

    def before(what, name):
        if what == "create" and name == batch_name(0) and not woken:
            woken.append(name)
            for number in range(5):
                other.append(entry(number))

    store.before = before
    log = ledger(store, signer)
    assert log.append(b"late") == 5
    assert content(log) == [*map(entry, range(5)), b"late"]


def test_a_checkpoint_that_was_put_back_is_told_and_rolled_forward(store, signer):
    log = ledger(store, signer)
    log.append(b"a")
    old = store.kept["checkpoint"]
    for data in (b"b", b"c", b"d"):
        log.append(data)
    store.kept["checkpoint"] = old
    with pytest.raises(LedgerError, match="put back"):
        ledger(store, signer).verify()
    with pytest.raises(LedgerError, match="had 4 entries and has 1"):
        log.append(b"e")  # the process that saw the newer one
    assert ledger(store, signer).append(b"e") == 4
    assert content(log) == [b"a", b"b", b"c", b"d", b"e"]


def test_a_deleted_checkpoint_is_damage(store, signer):
    log = ledger(store, signer)
    log.append(b"a")
    log.append(b"b")
    del store.kept["checkpoint"]
    with pytest.raises(LedgerError, match="missing"):
        ledger(store, signer).append(b"c")
    with pytest.raises(LedgerError, match="put back or deleted"):
        ledger(store, signer).verify()


def test_history_that_was_removed_is_not_written_anew_beside_its_tiles(store, signer):
    ledger(store, signer).append_many([b"a", b"b"])
    for name in ("checkpoint", batch_name(0)):
        del store.kept[name]
    with pytest.raises(LedgerError, match="is not what the batches"):
        ledger(store, signer).append_many([b"A", b"b"])
    assert "checkpoint" not in store.kept


def test_a_tile_that_was_changed_is_not_signed_over(store, signer):
    ledger(store, signer).append_many([b"a", b"b", b"c"])
    name = "tile/0/000.p/3"
    data, tag = store.kept[name]
    store.kept[name] = (data[:-1] + bytes([data[-1] ^ 1]), tag)
    before = store.kept["checkpoint"]
    with pytest.raises(LedgerError, match=r"entry 2 in tile/entries/000.p/3|expected root"):
        ledger(store, signer).append(b"d")
    with pytest.raises(LedgerError, match="entry 2"):
        ledger(store, signer).verify()
    assert store.kept["checkpoint"] == before


def test_a_whole_forged_edge_is_not_signed_over(store, signer):
    """Bundle and tile agree with each other, and not with the checkpoint."""
    ledger(store, signer).append_many([b"a", b"b"])
    other = Memory()
    ledger(other, signer).append_many([b"a", b"B"])
    for name in ("tile/0/000.p/2", "tile/entries/000.p/2"):
        store.kept[name] = other.kept[name]
    with pytest.raises(LedgerError, match="expected root"):
        ledger(store, signer).append(b"c")
    with pytest.raises(LedgerError, match="expected root"):
        ledger(store, signer).verify()


def test_a_checkpoint_by_another_key_or_of_a_fork_is_not_extended(store, signer):
    log = ledger(store, signer)
    log.append_many([b"a", b"b"])
    good = store.kept["checkpoint"]
    fork = Checkpoint(origin=ORIGIN, size=2, root=merkle_root([leaf_hash(b"x")] * 2))
    store.kept["checkpoint"] = (sign_checkpoint(fork, key()), "9")
    with pytest.raises(LedgerError, match="not signed by"):
        log.append(b"c")
    store.kept["checkpoint"] = (sign_checkpoint(fork, signer), "10")
    with pytest.raises(LedgerError, match="different roots"):
        log.append(b"c")  # the process that knows the other one
    with pytest.raises(LedgerError, match="expected root"):
        ledger(store, signer).append(b"c")
    store.kept["checkpoint"] = good
    assert ledger(store, signer).append(b"c") == 2


def test_a_foreign_name_among_the_batches_is_told(store):
    ledger(store).append(b"a")
    store.kept["batch/7"] = (b"", "1")
    with pytest.raises(LedgerError, match="'batch/7', which is no batch"):
        ledger(store).verify()


# ---------------------------------------------------------------- many at once


def test_threads_share_batches_and_lose_nothing(store, signer):
    log, places = ledger(store, signer, patience=30), {}

    def write(writer):
        for number in range(25):
            data = b"%d-%d" % (writer, number)
            places[data] = log.append(data)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = content(log)
    assert len(found) == 200
    assert all(found[place] == data for data, place in places.items())
    assert len(list(store.list("batch/"))) < 200
    assert log.verify().size == 200


def test_what_waits_is_divided_into_batches_that_fit(store, monkeypatch):
    monkeypatch.setattr("sluicegate.ledger.objects.MAX_BATCH_ENTRIES", 4)
    log, hold, places = ledger(store, patience=30), threading.Event(), []
    store.before = lambda what, name: hold.wait(10)
    threads = [
        threading.Thread(target=lambda: places.append(log.append_many([b"a", b"b", b"c"])))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    while len(log._queue) < 5:
        time.sleep(0.01)
    hold.set()
    for thread in threads:
        thread.join()
    assert sorted(place.start for place in places) == [0, 3, 6, 9, 12, 15]
    assert sorted(store.list("batch/")) == [batch_name(at) for at in (0, 3, 6, 9, 12, 15)]


def test_ledger_objects_that_compete_share_one_chain(store, signer):
    """As if on several machines: each has its own view, and nobody a lock."""
    sent, errors = Counter(), []

    def write(writer):
        log = ledger(store, signer, patience=60)
        for number in range(12):
            data = b"%d-%d" % (writer, number)
            try:
                at = log.append(data)
            except LedgerError as error:
                errors.append(error)
            else:
                sent[data] += 1
                assert log.get(at) == data

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    log = ledger(store, signer)
    assert Counter(content(log)) == sent
    assert log.verify().size == 72


def test_a_failure_is_told_to_all_who_waited_and_the_ledger_goes_on(store, signer):
    log, hold, told = ledger(store, signer), threading.Event(), []

    def fail(what, name):
        hold.wait(10)
        raise LedgerError("the store is away")

    def write(number):
        try:
            log.append(entry(number))
        except LedgerError as error:
            told.append(error.what)

    store.before = fail
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while len(log._queue) < 3:
        time.sleep(0.01)
    hold.set()
    for thread in threads:
        thread.join()
    assert told == ["the store is away"] * 4
    store.before = lambda what, name: None
    assert log.append(b"later") == 0


def test_a_writer_that_never_wins_gives_up_after_a_while(store, signer):
    other = ledger(store, signer)
    busy = []

    def before(what, name):
        if what == "create" and name.startswith("batch/") and not busy:
            busy.append(name)
            other.append(b"first")
            busy.clear()

    store.before = before
    with pytest.raises(LedgerError, match=r"gave up after 0.2 s: other writers were always"):
        ledger(store, signer, patience=0.2).append(b"never")
    store.before = lambda what, name: None
    assert set(content(other)) == {b"first"}


# ---------------------------------------------------------------- cosignatures


def cosigned(log, *witnesses):
    signed = log.checkpoint()
    return signed.note + "".join(cosign(signed, witness) for witness in witnesses).encode()


def witness(name):
    return NoteSigner(name, Ed25519PrivateKey.generate(), COSIGNATURE)


def test_cosignatures_are_attached_to_the_text_that_was_cosigned_only(store, signer):
    log, first, second = ledger(store, signer), witness("w.example/1"), witness("w.example/2")
    log.append(b"a")
    old = cosigned(log, first)
    log.append(b"b")
    assert log.attach(old) is False
    assert log.attach(cosigned(log, first)) is True
    assert log.attach(cosigned(log, second)) is True
    found = log.checkpoint().cosignatures([first.verifier, second.verifier])
    assert len(found) == 2
    assert log.witnessed().note == log.checkpoint().note
    assert log.append(b"c") == 2  # cosignatures do not disturb writers
    assert log.checkpoint().signatures[1:] == ()
    assert log.witnessed().checkpoint.size == 2
    log.attach(cosigned(log, first))
    assert log.witnessed().checkpoint.size == 3


def test_merging_loses_no_line_and_stays_bounded(signer):
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=leaf_hash(b"a")), signer)
    signed = SignedCheckpoint.parse(note)
    keys = [witness(f"w.example/{number}") for number in range(120)]
    lines = "".join(cosign(signed, one) for one in keys).encode()
    many = SignedCheckpoint.parse(note + b"".join(lines.splitlines(keepends=True)[:99]))
    again = SignedCheckpoint.parse(note + b"".join(lines.splitlines(keepends=True)[90:120]))
    merged = SignedCheckpoint.parse(merge_signatures(many, again))
    assert merged.signatures == many.signatures
    few = SignedCheckpoint.parse(note + lines.splitlines(keepends=True)[0])
    assert len(SignedCheckpoint.parse(merge_signatures(few, again)).signatures) == 32
    other = sign_checkpoint(Checkpoint(origin=ORIGIN, size=2, root=leaf_hash(b"a")), signer)
    assert merge_signatures(few, SignedCheckpoint.parse(other)) is None


# ---------------------------------------------------------------- a shared folder


def links(folder, signer=None, **options):
    return ledger(LinkObjects(folder), signer, **options)


def test_a_folder_of_links_is_a_ledger_that_other_tools_can_read(tmp_path, signer):
    log = links(tmp_path / "log", signer)
    log.append_many(list(map(entry, range(260))))
    log.append(b"last")
    assert links(tmp_path / "log").verify().size == 261
    plain = (tmp_path / "log/checkpoint").read_bytes()
    assert plain == log.checkpoint().note
    assert (tmp_path / "log/tile/0/000").stat().st_size == 256 * 32
    assert (tmp_path / "log/tile/0/000").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "log/tile/0/001.p/5").stat().st_nlink == 1
    assert list((tmp_path / "log/.new").iterdir()) == []


def test_generations_are_replaced_only_by_who_read_the_last_one(tmp_path):
    store = LinkObjects(tmp_path)
    assert store.read("checkpoint") is None
    assert store.replace("checkpoint", b"1", None)
    assert not store.replace("checkpoint", b"other", None)
    content, tag = store.read("checkpoint")
    assert (content, store.replace("checkpoint", b"2", tag)) == (b"1", True)
    assert not store.replace("checkpoint", b"other", tag)
    assert store.read("checkpoint")[0] == (tmp_path / "checkpoint").read_bytes() == b"2"
    for number in range(3, 150):
        assert store.replace("checkpoint", b"%d" % number, store.read("checkpoint")[1])
    assert len(list((tmp_path / "checkpoint.g").iterdir())) <= 65
    assert not store.replace("checkpoint", b"other", tag)  # its place was cleared long ago
    assert store.read("checkpoint")[0] == (tmp_path / "checkpoint").read_bytes() == b"149"


def test_a_created_file_is_created_once(tmp_path):
    store = LinkObjects(tmp_path)
    assert store.create("batch/1", b"a")
    assert not store.create("batch/1", b"a")
    assert store.read("batch/1")[0] == b"a"
    assert sorted(store.list("batch/")) == ["batch/1"]
    store.remove(["batch/1", "batch/2"])
    assert list(store.list("")) == []


def test_a_link_whose_answer_was_lost_was_made_all_the_same(tmp_path, monkeypatch):
    """NFS may carry out a request, lose the answer, and answer the repeated one with EEXIST."""
    link = os.link

    def lossy(source, target):
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", lossy)
    assert LinkObjects(tmp_path).create("batch/1", b"a")


def test_a_file_system_without_links_is_told(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(LedgerError, match="no hard links"):
        LinkObjects(tmp_path).create("batch/1", b"a")
    assert list((tmp_path / ".new").iterdir()) == []


def test_what_killed_writers_left_is_cleared_after_an_hour(tmp_path):
    store = LinkObjects(tmp_path)
    store.create("a", b"a")
    for name, age in (("tmpold", 7200), ("tmpnew", 60)):
        (tmp_path / ".new" / name).write_bytes(b"torn")
        moment = time.time() - age
        os.utime(tmp_path / ".new" / name, (moment, moment))
    store.create("b", b"b")
    assert [path.name for path in (tmp_path / ".new").iterdir()] == ["tmpnew"]


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("sluicegate.ledger.link_objects.MAX_OBJECT_BYTES", 10)
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch/1").write_bytes(b"x" * 11)
    with pytest.raises(LedgerError, match="larger than 10 bytes"):
        LinkObjects(tmp_path).read("batch/1")


WRITER = """
import sys
from pathlib import Path
from sluicegate.ledger.keys import load_note_signer
from sluicegate.ledger.link_objects import MAX_OBJECT_BYTES, LinkObjects
from sluicegate.ledger.objects import ObjectLedger

folder, key, origin, name, count = sys.argv[1:]
signer = load_note_signer(Path(key), name=origin)
log = ObjectLedger(LinkObjects(Path(folder)), origin=origin, signer=signer)
for number in range(int(count)):
    data = f"{name}-{number}".encode()
    print(log.append(data), data.decode(), flush=True)
"""


def start_writer(folder, key_path, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, key_path, ORIGIN, name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def run_and_kill(tmp_path, *, writers, count, kills, seed):
    """Run writers, kill some at random moments, restart them; return what was acknowledged."""
    from sluicegate.ledger.keys import new_note_key

    rng, folder = random.Random(seed), tmp_path / "log"
    signer = new_note_key(tmp_path / "log.key", tmp_path / "log.vkey", name=ORIGIN)
    roots, stop = {}, threading.Event()

    def poll():
        log = links(folder)
        while not stop.is_set():
            signed = log.checkpoint()
            if signed:
                checkpoint = signed.verify(signer.verifier)
                assert roots.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
            time.sleep(0.005)

    watching = threading.Thread(target=poll)
    watching.start()
    acknowledged, running, number, left = {}, [], 0, kills

    def collect(process):
        for line in process.stdout.read().splitlines(keepends=True):
            place, _, data = line.partition(" ")
            if data.endswith("\n"):
                acknowledged[data.strip().encode()] = int(place)

    while left or running:
        while len(running) < writers and (left or number < writers):
            running.append(start_writer(folder, tmp_path / "log.key", f"w{number}", count))
            number += 1
        time.sleep(rng.uniform(0.05, 0.4))
        if left:
            victim = running.pop(rng.randrange(len(running)))
            victim.send_signal(signal.SIGKILL)
            left -= 1
        else:
            victim = running.pop()
        with victim:
            collect(victim)
    stop.set()
    watching.join()
    return signer, roots, acknowledged


def check_survivors(tmp_path, signer, roots, acknowledged):
    log = links(tmp_path / "log", signer)
    log.append(b"the end")
    found = content(log)
    assert acknowledged
    assert all(found[place] == data for data, place in acknowledged.items())
    assert max(Counter(found).values()) == 1
    state = log.verify()
    tree = TileTree(log.tiles, state.size)
    for size, root in roots.items():
        assert tree.root(size) == root
        if size:
            verify_consistency(
                size1=size,
                size2=state.size,
                root1=root,
                root2=state.root,
                proof=tree.consistency_proof(size),
            )


def test_processes_that_are_killed_lose_nothing_that_was_acknowledged(tmp_path):
    check_survivors(tmp_path, *run_and_kill(tmp_path, writers=3, count=40, kills=6, seed=1))


@pytest.mark.slow
def test_eight_writers_and_two_hundred_kills(tmp_path):
    check_survivors(tmp_path, *run_and_kill(tmp_path, writers=8, count=100, kills=200, seed=2))


# ---------------------------------------------------------------- opening


def where(uri, **options):
    return LedgerSettings(location=SubjectUri.parse(uri), **options)


def test_settings_open_the_kind_of_ledger_they_mean(tmp_path, signer):
    shared = open_ledger(where(tmp_path / "s", links=True, key=signer.verifier), signer)
    assert isinstance(shared, ObjectLedger)
    assert shared.append(b"a") == 0
    local = open_ledger(where(tmp_path / "l", key=signer.verifier), signer)
    assert local.append(b"a") == 0
    assert (tmp_path / "s/checkpoint").read_bytes() == (tmp_path / "l/checkpoint").read_bytes()


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("gs://b/k", {}, "cannot lie in gs://"),
        ("/tmp/x", {"object_lock": "COMPLIANCE", "retain_days": 1}, "only a ledger on s3"),
        ("s3://b/k", {"object_lock": "FOREVER", "retain_days": 1}, "FOREVER|modes"),
        ("s3://b/k", {"object_lock": "COMPLIANCE"}, "a number of days"),
        ("s3://b/k", {"retain_days": 3}, "a number of days"),
    ],
)
def test_settings_that_make_no_ledger_are_refused(uri, options, message):
    with pytest.raises(ConfigurationError, match=message):
        open_ledger(where(uri, **options))


def test_a_signing_key_that_is_not_the_policys_is_refused(tmp_path, signer):
    with pytest.raises(ConfigurationError, match="not the ledger's"):
        open_ledger(where(tmp_path, key=key().verifier), signer)


def test_opening_a_ledger_loads_no_client(tmp_path):
    script = (
        "import sys; import sluicegate.ledger.open, sluicegate.ledger.s3_objects\n"
        "print([n for n in ('boto3', 'botocore', 'pandas', 'numpy') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_the_largest_batch_can_be_read_again():
    assert batches.MAX_BATCH_BYTES + 1000 < MAX_OBJECT_BYTES


def test_two_kinds_of_ledger_do_not_share_a_folder(tmp_path, signer):
    for first, second in ((True, False), (False, True)):
        folder = tmp_path / f"{first}"
        open_ledger(where(folder, links=first), signer).append(b"a")
        with pytest.raises(ConfigurationError, match="holds another kind of ledger"):
            open_ledger(where(folder, links=second), signer)


def test_a_batch_that_was_deleted_is_reported(tmp_path):
    log = links(tmp_path)
    for entry in (b"a", b"b", b"c"):
        log.append(entry)
    assert log.verify().size == 3
    (tmp_path / "batch" / f"{1:020}").unlink()
    with pytest.raises(LedgerError, match="no batch at 1"):
        links(tmp_path).verify()
