"""What a consumer and a monitor believe of a ledger, and every way to lie to them."""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.cli import ledger_watch, terminal
from sluicegate.errors import ConfigurationError, LedgerError, SluicegateError
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.link_objects import LinkObjects
from sluicegate.ledger.memory import LedgerRewrittenError, Memory
from sluicegate.ledger.note import (
    COSIGNATURE,
    Checkpoint,
    NoteSigner,
    SignedCheckpoint,
    cosign,
    sign_checkpoint,
)
from sluicegate.ledger.objects import ObjectLedger
from sluicegate.ledger.proofs import verify_inclusion
from sluicegate.ledger.settings import DEFAULT_ORIGIN, LedgerSettings
from sluicegate.ledger.trust import (
    believe,
    believed_entries,
    check_entry,
    prove_entry,
    proven_entries,
)
from sluicegate.ledger.watch import Watch
from sluicegate.merkle import leaf_hash
from sluicegate.storage.uri import SubjectUri

ORIGIN = "log.example/trust"
KEY = Ed25519PrivateKey.generate()


def key(origin=ORIGIN):
    return NoteSigner(origin, Ed25519PrivateKey.generate())


def witness_key(name="witness.example/w1"):
    return NoteSigner(name, Ed25519PrivateKey.generate(), COSIGNATURE)


class World:
    """A signed ledger in a folder, and a consumer with settings of its own."""

    def __init__(self, folder, kind):
        self.folder = folder / "ledger"
        self.kind = kind
        self.signer = NoteSigner(ORIGIN, KEY)
        self.consumer = folder / "consumer" / "seen"
        self.witnesses = ()
        self.needed = 0
        self.log = self.open(self.signer)

    def open(self, signer=None, folder=None):
        folder = folder or self.folder
        if self.kind == "links":
            return ObjectLedger(LinkObjects(folder), origin=ORIGIN, signer=signer, patience=10)
        return FolderLedger(folder, origin=ORIGIN, signer=signer)

    def fork(self, *entries):
        """Put another ledger by the same key in place of this one."""
        shutil.rmtree(self.folder)
        self.log = self.open(self.signer)
        self.log.append_many(list(entries))

    @property
    def settings(self):
        return LedgerSettings(
            location=SubjectUri.parse(self.folder),
            key=self.signer.verifier,
            witnesses=tuple(one.verifier for one in self.witnesses),
            witnessed_by=self.needed,
            remember=self.consumer,
        )

    def believe(self, **options):
        return believe(self.open(), self.settings, **options)

    def entries(self):
        log = self.open()
        return [entry for _, entry in believed_entries(log, believe(log, self.settings))]

    def evidence(self):
        return sorted(
            path.name.rpartition("-")[2]
            for path in self.consumer.parent.iterdir()
            if "-" in path.name
        )


@pytest.fixture(params=["folder", "links"])
def world(tmp_path, request):
    return World(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path):
    return World(tmp_path, "folder")


# ---------------------------------------------------------------- growing


def test_a_ledger_that_grows_is_believed_and_remembered(world):
    assert world.believe() is None
    assert world.entries() == []
    for size in (1, 3, 260, 300):
        world.log.append_many([b"entry %d" % n for n in range(world.log.size, size)])
        found = world.believe()
        assert (found.size, found.origin) == (size, ORIGIN)
        assert len(world.entries()) == size
        assert world.believe() == found
    remembered = SignedCheckpoint.parse(world.consumer.read_bytes())
    assert remembered.checkpoint == found
    assert world.consumer.stat().st_mode & 0o777 == 0o600
    assert world.evidence() == []


def test_a_consumer_without_a_memory_believes_the_signature_only(world):
    world.log.append(b"a")
    settings = LedgerSettings(location=SubjectUri.parse(world.folder), key=world.signer.verifier)
    assert believe(world.open(), settings).size == 1
    assert not world.consumer.exists()


def test_an_unsigned_ledger_is_believed_where_no_key_is_asked_for(tmp_path):
    log = FolderLedger(tmp_path / "log")
    log.append(b"a")
    settings = LedgerSettings(
        location=SubjectUri.parse(tmp_path / "log"), remember=tmp_path / "seen"
    )
    assert believe(log, settings).origin == DEFAULT_ORIGIN
    shutil.rmtree(tmp_path / "log")
    log = FolderLedger(tmp_path / "log")
    log.append(b"b")
    with pytest.raises(LedgerRewrittenError, match="forked"):
        believe(log, settings)


def test_a_signed_ledger_needs_its_key_in_the_policy(world):
    world.log.append(b"a")
    settings = LedgerSettings(location=SubjectUri.parse(world.folder))
    with pytest.raises(LedgerError, match="names no key"):
        believe(world.open(), settings)


def _read_often(world, count):
    for _ in range(count):
        world.believe()


def test_many_readers_of_a_growing_ledger_raise_no_false_alarm(plain):
    """A reader that is overtaken must not take the older checkpoint for a rollback."""
    plain.log.append(b"first")
    fork = multiprocessing.get_context("fork")
    readers = [fork.Process(target=_read_often, args=(plain, 40)) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(150):
        plain.log.append(b"%d" % number)
    for reader in readers:
        reader.join(60)
    assert [reader.exitcode for reader in readers] == [0, 0, 0]
    assert plain.evidence() == []


# ---------------------------------------------------------------- attacks on the checkpoint


def test_a_checkpoint_by_another_key_is_refused(world):
    world.log.append(b"a")
    checkpoint = world.log.checkpoint().checkpoint
    for note in (sign_checkpoint(checkpoint, key()), sign_checkpoint(checkpoint, None)):
        publish(world, note)
        with pytest.raises(LedgerError, match="not signed by the log's key"):
            world.believe()


def test_a_checkpoint_of_another_log_by_the_same_key_is_refused(world):
    world.log.append(b"a")
    other = NoteSigner("log.example/other", KEY)
    checkpoint = world.log.checkpoint().checkpoint
    moved = Checkpoint(origin=other.name, size=1, root=checkpoint.root)
    publish(world, sign_checkpoint(moved, other))
    with pytest.raises(LedgerError, match=r"is of the log 'log\.example/other'"):
        world.believe()


def publish(world, note):
    if world.kind == "links":
        store = LinkObjects(world.folder)
        assert store.replace("checkpoint", note, store.read("checkpoint")[1])
    else:
        (world.folder / "checkpoint").write_bytes(note)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([b"a", b"b"], "truncated or rolled back"),
        ([b"a", b"b", b"C"], "forked: one size, two roots"),
        ([b"a", b"B", b"c", b"d", b"e"], "rewritten: it does not continue"),
        ([b"A"] * 400, "rewritten: it does not continue"),
    ],
)
def test_a_ledger_that_was_rewritten_is_refused_and_both_checkpoints_are_kept(
    world, entries, message
):
    """The attacker has the ledger's key, and may write all of its files."""
    world.log.append_many([b"a", b"b", b"c"])
    world.believe()
    before = world.consumer.read_bytes()
    world.fork(*entries)
    assert world.log.verify().size == len(entries)  # sound in itself
    for _ in range(2):
        with pytest.raises(LedgerRewrittenError, match=message) as caught:
            world.believe()
    assert world.consumer.read_bytes() == before
    assert world.evidence() == ["found", "remembered"]
    remembered, found = caught.value.evidence
    assert Path(remembered).read_bytes() == before
    SignedCheckpoint.parse(Path(found).read_bytes()).verify(world.signer.verifier)


def test_a_ledger_that_is_gone_is_not_an_empty_one(world):
    world.log.append(b"a")
    world.believe()
    shutil.rmtree(world.folder)
    with pytest.raises(LedgerRewrittenError, match="the ledger is gone"):
        world.believe()
    assert world.evidence() == ["remembered"]


def test_an_older_checkpoint_that_was_put_back_is_refused(world):
    world.log.append(b"a")
    old = world.log.checkpoint().note
    world.log.append(b"b")
    world.believe()
    publish(world, old)
    with pytest.raises(LedgerRewrittenError, match="rolled back"):
        world.believe()


def test_another_log_in_the_place_of_this_one_is_refused(plain):
    """Even if the policy was changed to its key: a consumer's memory belongs to one log."""
    plain.log.append(b"a")
    plain.believe()
    other = key("log.example/other")
    shutil.rmtree(plain.folder)
    FolderLedger(plain.folder, origin=other.name, signer=other).append(b"a")
    plain.signer = other
    settings = plain.settings
    with pytest.raises(LedgerRewrittenError, match=r"replaced by 'log\.example/other'"):
        believe(FolderLedger(plain.folder, origin=other.name), settings)


def test_tiles_that_do_not_belong_to_the_checkpoint_prove_nothing(plain):
    plain.log.append_many([b"a", b"b"])
    plain.believe()
    plain.log.append(b"c")
    for path in (plain.folder / "tile" / "0").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(LedgerError, match="tiles") as caught:
        plain.believe()
    assert not isinstance(caught.value, LedgerRewrittenError)


def test_a_damaged_memory_is_not_a_fresh_one(plain):
    plain.log.append(b"a")
    plain.believe()
    for damage in (b"", b"garbage", b"x" * 100_000):
        plain.consumer.write_bytes(damage)
        with pytest.raises(LedgerError, match="remembers of the ledger is damaged"):
            plain.believe()


def test_a_memory_that_cannot_be_written_is_told(plain, tmp_path):
    plain.log.append(b"a")
    plain.consumer = tmp_path / "file" / "seen"
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LedgerError, match="cannot lock"):
        plain.believe()


# ---------------------------------------------------------------- witnesses


def attach(world, *lines):
    note = world.log.checkpoint().note + "".join(lines).encode()
    assert world.log.attach(note)


def cosigned(world, witness, *, at=None):
    clock = (lambda: at) if at else None
    return cosign(world.log.checkpoint(), witness, clock=clock)


def test_as_many_witnesses_as_asked_for_must_have_signed(world):
    world.witnesses = tuple(witness_key(f"w.example/{n}") for n in range(3))
    world.needed = 2
    world.log.append(b"a")
    with pytest.raises(LedgerError, match="has 0 of 2 cosignatures"):
        world.believe()
    attach(world, cosigned(world, world.witnesses[0]), cosigned(world, witness_key()))
    with pytest.raises(LedgerError, match="has 1 of 2 cosignatures"):
        world.believe()
    assert not world.consumer.exists()
    attach(world, cosigned(world, world.witnesses[2]))
    assert world.believe().size == 1


def test_one_witness_twice_is_one(world):
    world.witnesses = (witness_key("w.example/1"), witness_key("w.example/2"))
    world.needed = 2
    world.log.append(b"a")
    later = datetime.now(UTC) - timedelta(seconds=5)
    one = world.witnesses[0]
    publish(
        world,
        world.log.checkpoint().note
        + (cosigned(world, one) + cosigned(world, one, at=later)).encode(),
    )
    with pytest.raises(LedgerError, match="has 1 of 2"):
        world.believe()


def test_a_cosignature_of_another_checkpoint_does_not_count(world):
    world.witnesses, world.needed = (witness_key(),), 1
    world.log.append(b"a")
    old = cosigned(world, world.witnesses[0])
    world.log.append(b"b")
    publish(world, world.log.checkpoint().note + old.encode())
    with pytest.raises(LedgerError, match="is not by the key"):
        world.believe()


def test_a_cosignature_by_another_key_of_the_same_name_does_not_count(world):
    world.witnesses, world.needed = (witness_key(),), 1
    world.log.append(b"a")
    attach(world, cosigned(world, witness_key(world.witnesses[0].name)))
    with pytest.raises(LedgerError, match="has 0 of 1"):
        world.believe()


def test_a_cosignature_from_the_future_does_not_count(world):
    world.witnesses, world.needed = (witness_key(),), 1
    world.log.append(b"a")
    now = datetime.now(UTC)
    attach(world, cosigned(world, world.witnesses[0], at=now + timedelta(hours=1)))
    with pytest.raises(LedgerError, match="has 0 of 1"):
        world.believe()
    assert world.believe(clock=lambda: now + timedelta(minutes=58)).size == 1


def test_a_log_is_not_its_own_witness(world):
    world.log.append(b"a")
    own = NoteSigner("witness.example/own", KEY, COSIGNATURE)
    world.witnesses, world.needed = (own,), 1
    attach(world, cosigned(world, own))
    with pytest.raises(ConfigurationError, match="own"):
        world.believe()


def test_while_cosignatures_are_collected_the_last_witnessed_checkpoint_holds(tmp_path):
    world = World(tmp_path, "links")
    world.witnesses, world.needed = (witness_key(),), 1
    world.log.append(b"a")
    attach(world, cosigned(world, world.witnesses[0]))
    world.log.append(b"b")
    assert world.believe().size == 1
    assert world.entries() == [b"a"]
    attach(world, cosigned(world, world.witnesses[0]))
    assert world.entries() == [b"a", b"b"]


# ---------------------------------------------------------------- entries


def test_entries_that_do_not_make_the_root_are_refused_at_the_end(plain, tmp_path):
    """Entries, tiles and bundles agree with each other, and not with the checkpoint."""
    plain.log.append_many([b"a", b"b", b"c"])
    checkpoint = plain.believe()
    other = FolderLedger(tmp_path / "other", origin=ORIGIN)
    other.append_many([b"a", b"B", b"c"])
    told = believed_entries(other, checkpoint)
    assert [next(told), next(told), next(told)] == [(0, b"a"), (1, b"B"), (2, b"c")]
    with pytest.raises(LedgerError, match="are not those of its checkpoint"):
        next(told)
    with pytest.raises(LedgerError, match="leads to another root"):
        next(proven_entries(other, checkpoint, 1))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_entries_are_proven_before_they_are_given_out(plain, size):
    plain.log.append_many([b"entry %d" % number for number in range(size)])
    checkpoint, log = plain.believe(), plain.open()
    for start in {0, 1, size // 2, size - 1, size} - {size + 1}:
        found = list(proven_entries(log, checkpoint, start))
        assert found == [(n, b"entry %d" % n) for n in range(start, size)]


def test_one_entry_is_proven_and_another_one_at_its_place_refused(plain):
    plain.log.append_many([b"entry %d" % number for number in range(300)])
    checkpoint, log = plain.believe(), plain.open()
    check_entry(log, checkpoint, 270, b"entry 270")
    verify_inclusion(
        leaf_index=270,
        tree_size=300,
        leaf_hash=leaf_hash(b"entry 270"),
        proof=prove_entry(log, checkpoint, 270),
        root=checkpoint.root,
    )
    for index, entry in ((270, b"entry 271"), (271, b"entry 270"), (0, b"")):
        with pytest.raises(LedgerError, match="leads to another root"):
            check_entry(log, checkpoint, index, entry)
    with pytest.raises(LedgerError, match="has no entry 300"):
        check_entry(log, checkpoint, 300, b"entry 300")


# ---------------------------------------------------------------- watching


def watch(world, **options):
    state = world.consumer.with_name("watched")
    return Watch(ledger=world.open(), settings=world.settings, memory=Memory(state), **options)


def looked(world):
    told = []
    count = watch(world).look(lambda index, entry: told.append((index, entry)))
    assert count == len(told)
    return told


def test_a_monitor_tells_every_new_entry_once(world):
    assert looked(world) == []
    world.log.append_many([b"a", b"b"])
    assert looked(world) == [(0, b"a"), (1, b"b")]
    assert looked(world) == []
    world.log.append(b"c")
    assert looked(world) == [(2, b"c")]


def test_entries_that_could_not_be_told_are_told_again(world):
    world.log.append(b"a")

    def fail(index, entry):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        watch(world).look(fail)
    assert looked(world) == [(0, b"a")]


def test_a_monitor_sees_a_ledger_that_was_rewritten(world):
    world.log.append_many([b"a", b"b"])
    looked(world)
    world.fork(b"a", b"B", b"c")
    with pytest.raises(LedgerRewrittenError, match="rewritten"):
        looked(world)


def test_a_witness_whose_clock_went_back_is_seen(world):
    world.witnesses = (witness_key(),)
    now = datetime.now(UTC)
    world.log.append(b"a")
    attach(world, cosigned(world, world.witnesses[0], at=now))
    looked(world)
    world.log.append(b"b")
    attach(world, cosigned(world, world.witnesses[0], at=now - timedelta(hours=1)))
    with pytest.raises(LedgerRewrittenError, match="and before that 1 at"):
        looked(world)


def run_watch(world, monkeypatch, *options):
    policy = SimpleNamespace(ledger_settings=world.settings)
    monkeypatch.setattr(ledger_watch, "load_policy", lambda path: policy)
    monkeypatch.setattr(ledger_watch, "open_ledger", lambda settings: world.open())
    parser = argparse.ArgumentParser()
    ledger_watch.add_watch(parser.add_subparsers())
    state = str(world.consumer.with_name("watched"))
    args = parser.parse_args(["watch", "--once", "--state", state, *options])
    return args.run(args)


def test_the_command_says_what_is_new_and_what_is_unreadable(world, monkeypatch, capsys):
    world.log.append(b"no receipt")
    assert run_watch(world, monkeypatch) == 0
    assert "0  unreadable or not trusted: the receipt is" in capsys.readouterr().out
    world.log.append(b"none either")
    assert run_watch(world, monkeypatch, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["size"], len(told["entries"])) == ("passed", 2, 1)
    assert told["entries"][0]["index"] == 1
    world.fork(b"x", b"y")
    assert run_watch(world, monkeypatch, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "refused"
    assert len(told["evidence"]) == 2
    publish(world, b"garbage")
    with pytest.raises(SluicegateError):  # the command line makes exit code 2 of it
        run_watch(world, monkeypatch)


def test_what_a_stranger_wrote_does_not_reach_the_terminal(world, monkeypatch, capsys):
    hints = ("\x1b[2J", "a\nb", "\ud800", "\u202e")
    for hint in hints:
        bundle = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": "",
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": ""}],
            },
        }
        world.log.append(json.dumps(bundle).encode())
    assert run_watch(world, monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(hints)
    assert all("no id of a key" in line and line.isprintable() for line in lines)


def test_a_terminal_shows_what_it_cannot_encode(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    terminal.survive_any_text()
    terminal.emit({"name": "é\ud800"})
    print("é", terminal.visible("plain \x1b[2J\u202e\n"))
    sys.stdout.flush()
    shown = raw.getvalue().decode()
    assert json.loads(shown[: shown.index("}") + 1]) == {"name": "é\ud800"}
    assert shown.endswith("\\xe9 plain \\x1b[2J\\u202e\n\n")
