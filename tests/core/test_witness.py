"""Witnesses: what they sign, what they refuse, over the function and over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.cli import ledger_watch
from sluicegate.cli import witness as witness_command
from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger import cosigning, witness_server
from sluicegate.ledger.cosigning import collect_cosignatures
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.keys import load_note_signer
from sluicegate.ledger.link_objects import LinkObjects
from sluicegate.ledger.note import (
    COSIGNATURE,
    Checkpoint,
    NoteSigner,
    NoteVerifier,
    SignedCheckpoint,
    cosign,
    sign_checkpoint,
)
from sluicegate.ledger.objects import ObjectLedger
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.trust import believe
from sluicegate.ledger.witness import MAX_REQUEST_BYTES, Witness, write_request
from sluicegate.ledger.witness_server import WitnessServer
from sluicegate.merkle import consistency_proof, leaf_hash, merkle_root
from sluicegate.storage.uri import SubjectUri

ORIGIN = "log.example/watched"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
OTHER_LOG = NoteSigner("log.example/other", Ed25519PrivateKey.generate())
WITNESS = NoteSigner("witness.example/w1", Ed25519PrivateKey.generate(), COSIGNATURE)
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(40)]
FORK = [*LEAVES[:5], leaf_hash(b"forged"), *LEAVES[6:]]


def note(size, leaves=LEAVES, signer=LOG, origin=None):
    checkpoint = Checkpoint(
        origin=origin or signer.name, size=size, root=merkle_root(leaves[:size])
    )
    return sign_checkpoint(checkpoint, signer)


def request(old, size, leaves=LEAVES, **options):
    proof = consistency_proof(leaves[:size], old) if 0 < old < size else ()
    return write_request(old, proof, note(size, leaves, **options))


@pytest.fixture
def make(tmp_path):
    def made(**options):
        options = {"logs": [LOG.verifier, OTHER_LOG.verifier], "admit": True} | options
        return Witness(tmp_path / "state", WITNESS, options.pop("logs"), **options)

    return made


def cosigned(answer, size, leaves=LEAVES):
    assert answer.status == 200
    signed = SignedCheckpoint.parse(note(size, leaves) + answer.body.encode())
    return signed.cosignatures([WITNESS.verifier])


# ---------------------------------------------------------------- the protocol


def test_a_log_that_grows_is_cosigned(make):
    witness = make()
    for old, size in ((0, 1), (1, 7), (7, 7), (7, 40)):
        (found,) = cosigned(witness.add_checkpoint(request(old, size)), size)
        assert abs(found.time - datetime.now(UTC)) < timedelta(seconds=5)
    other = write_request(0, (), note(3, signer=OTHER_LOG))
    assert witness.add_checkpoint(other).status == 200  # each log has a state of its own
    assert make().add_checkpoint(request(39, 40)).body == "40\n"  # and it outlives the process


def test_an_empty_log_can_be_cosigned(make):
    empty = sign_checkpoint(Checkpoint(origin=ORIGIN, size=0, root=merkle_root([])), LOG)
    assert make().add_checkpoint(write_request(0, (), empty)).status == 200


def test_a_wrong_old_size_is_answered_with_the_right_one(make):
    witness = make()
    witness.add_checkpoint(request(0, 7))
    for old in (0, 3, 8):
        answer = witness.add_checkpoint(request(old, 20))
        assert (answer.status, answer.body, answer.media_type) == (409, "7\n", "text/x.tlog.size")


def test_a_fork_is_not_cosigned_and_kept_as_evidence(make, tmp_path):
    witness = make()
    witness.add_checkpoint(request(0, 10))
    assert witness.add_checkpoint(request(10, 10, FORK)).status == 409
    proof = consistency_proof(FORK[:20], 10)
    assert witness.add_checkpoint(write_request(10, proof, note(20, FORK))).status == 422
    assert witness.add_checkpoint(write_request(10, proof, note(20))).status == 422
    kept = sorted(path.name.rpartition("-")[2] for path in (tmp_path / "state").glob("*-*"))
    assert kept == ["found", "remembered"]
    assert witness.add_checkpoint(request(10, 20)).status == 200


def test_evidence_does_not_fill_the_disk(make, tmp_path):
    witness = make()
    witness.add_checkpoint(request(0, 10))
    for number in range(40):
        leaves = [leaf_hash(b"fork %d" % number), *LEAVES[1:]]
        assert witness.add_checkpoint(request(10, 10, leaves)).status == 409
    assert len(list((tmp_path / "state").glob("*-found"))) == 16


def test_an_older_checkpoint_is_not_cosigned_again(make):
    witness = make()
    witness.add_checkpoint(request(0, 10))
    assert witness.add_checkpoint(request(0, 5)).status == 409
    assert witness.add_checkpoint(request(5, 5)).status == 409
    assert witness.add_checkpoint(write_request(10, (), note(5))).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (lambda: write_request(0, (), note(3, signer=NoteSigner("log.example/new", LOG.key))), 404),
        (lambda: write_request(0, (), note(3, signer=NoteSigner(ORIGIN, OTHER_LOG.key))), 403),
        (lambda: write_request(0, (), note(3).partition(b"\n\n")[0] + b"\n\n"), 403),
        (lambda: write_request(0, (), note(3).replace(b"\n3\n", b"\n4\n")), 403),
        (lambda: write_request(4, (), note(3)), 400),
        (lambda: write_request(0, (bytes(32),), note(3)), 422),
        (lambda: b"", 400),
        (lambda: b"old 0\n\n", 400),
        (lambda: b"old 00\n\n" + note(3), 400),
        (lambda: b"old -1\n\n" + note(3), 400),
        (lambda: b"old 0 \n\n" + note(3), 400),
        (lambda: b"size 0\n\n" + note(3), 400),
        (lambda: b"old 0\nAAAA\n\n" + note(3), 400),
        (lambda: b"old 0\n?\n\n" + note(3), 400),
        (lambda: b"old 0\n" + note(3), 400),
        (lambda: write_request(0, [bytes(32)] * 64, note(3)), 400),
        (lambda: b"old 0\n\xff\n\n" + note(3), 400),
        (lambda: b"old 0\n\n" + note(3)[:-1], 400),
    ],
)
def test_every_other_request_gets_the_status_of_the_specification(make, body, status):
    witness = make()
    answer = witness.add_checkpoint(body())
    assert answer.status == status
    assert answer.body.count("\n") == 1
    assert witness.add_checkpoint(request(0, 1)).status == 200  # nothing was remembered


@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_it_sign(tmp_path_factory, body):
    witness = Witness(tmp_path_factory.mktemp("w") / "state", WITNESS, [LOG.verifier], admit=True)
    assert witness.add_checkpoint(body).status == 400
    assert witness.add_checkpoint(b"old 0\n\n" + body).status == 400


def test_a_signature_by_an_unknown_key_beside_the_logs_does_not_matter(make):
    extra = OTHER_LOG.line(bytes(64)).encode()
    witness = make()
    assert witness.add_checkpoint(write_request(0, (), note(3) + extra)).status == 200
    # A log may sign with two keys while it changes them; either is enough.
    second = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
    rotated = make(logs=[second.verifier, LOG.verifier])
    assert rotated.add_checkpoint(request(3, 5)).status == 200


def test_two_requests_at_the_same_time_are_answered_one_after_the_other(make):
    witness, answers = make(), []
    witness.add_checkpoint(request(0, 5))

    def ask(size):
        answers.append(make().add_checkpoint(request(5, size)).status)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(6, 26)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 19


def test_a_clock_that_went_back_signs_nothing(make):
    now = datetime.now(UTC)
    make(clock=lambda: now).add_checkpoint(request(0, 5))
    behind = make(clock=lambda: now - timedelta(minutes=1))
    with pytest.raises(LedgerError, match="signed at"):
        behind.add_checkpoint(request(5, 6))
    assert make(clock=lambda: now).add_checkpoint(request(5, 6)).status == 200


def test_a_lost_state_does_not_begin_anew(make, tmp_path):
    witness = make()
    witness.add_checkpoint(request(0, 5))
    (record,) = [
        path for path in (tmp_path / "state").glob("*.note") if b"\n5\n" in path.read_bytes()
    ]
    record.unlink()
    with pytest.raises(LedgerError, match="is gone"):
        witness.add_checkpoint(request(0, 5, FORK))
    with pytest.raises(ConfigurationError, match="knows nothing of the log"):
        make(admit=False)
    assert make(admit=True).add_checkpoint(request(0, 5)).status == 200


def test_a_folder_that_is_missing_is_no_first_start(make, tmp_path):
    make().add_checkpoint(request(0, 5))
    assert make(admit=False).add_checkpoint(request(5, 6)).status == 200
    (tmp_path / "state").rename(tmp_path / "lost")
    with pytest.raises(ConfigurationError, match="start once with --admit"):
        make(admit=False)
    assert not (tmp_path / "state").exists()  # nor is it one the next time


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_state_signs_nothing(make, tmp_path, damage):
    witness = make()
    for record in (tmp_path / "state").glob("*.note"):
        record.write_bytes(damage)
    with pytest.raises(LedgerError, match="is damaged"):
        witness.add_checkpoint(request(0, 5))


def test_keys_of_the_wrong_kind_make_no_witness(tmp_path):
    own = NoteVerifier(ORIGIN, WITNESS.verifier.public)
    for signer, logs in (
        (LOG, [OTHER_LOG.verifier]),
        (WITNESS, []),
        (WITNESS, [WITNESS.verifier]),
        (WITNESS, [own]),
    ):
        with pytest.raises(ConfigurationError):
            Witness(tmp_path / "state", signer, logs)


# ---------------------------------------------------------------- over HTTP


@contextmanager
def serving(witness):
    with WitnessServer(witness, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(make):
    with serving(make()) as running:
        yield running


def connect(server):
    return http.client.HTTPConnection(*server.server_address[:2], timeout=10)


def test_answers_over_http_keep_the_connection(server):
    connection = connect(server)
    for old, size, status, kind in (
        (0, 5, 200, "text/plain; charset=utf-8"),
        (3, 9, 409, "text/x.tlog.size"),
        (5, 9, 200, "text/plain; charset=utf-8"),
    ):
        connection.request("POST", "/add-checkpoint", request(old, size))
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
        answer.read()
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/add-checkpoint", {}, 501),
        ("POST", "/other", {"Content-Length": "0"}, 404),
        ("POST", "/add-checkpoint", {}, 411),
        ("POST", "/add-checkpoint", {"Content-Length": "-1"}, 411),
        ("POST", "/add-checkpoint", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/add-checkpoint", {"Content-Length": str(MAX_REQUEST_BYTES + 1)}, 413),
        ("POST", "/add-checkpoint", {"Content-Length": "9" * 30}, 413),
    ],
)
def test_other_requests_are_refused_before_they_are_read(server, method, path, headers, status):
    connection = connect(server)
    connection.putrequest(method, path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_a_client_that_is_slow_is_hung_up_on(make, monkeypatch):
    monkeypatch.setattr(witness_server, "_CONNECTION_SECONDS", 0.5)
    with serving(make()) as server, socket.create_connection(server.server_address[:2]) as slow:
        slow.settimeout(10)
        started = time.monotonic()
        slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 100\r\n\r\nold")
        assert slow.recv(1) == b""
        assert time.monotonic() - started < 5


def test_more_connections_than_places_are_closed(make, monkeypatch):
    monkeypatch.setattr(witness_server, "_CONNECTIONS", 2)
    with serving(make()) as server:
        held = [socket.create_connection(server.server_address[:2]) for _ in range(2)]
        time.sleep(0.3)
        with socket.create_connection(server.server_address[:2]) as third:
            third.settimeout(10)
            assert third.recv(1) == b""
        for one in held:
            one.close()
        time.sleep(0.3)
        connection = connect(server)
        connection.request("POST", "/add-checkpoint", request(0, 5))
        assert connection.getresponse().status == 200
        connection.close()


def test_a_witness_that_cannot_sign_says_500_and_no_more(make, tmp_path):
    with serving(make()) as server:
        for record in (tmp_path / "state").glob("*.note"):
            record.write_bytes(b"")
        connection = connect(server)
        connection.request("POST", "/add-checkpoint", request(0, 5))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (500, b"the witness cannot sign now\n")
        connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_a_witness_listens_on_this_machine_only(make, host):
    with pytest.raises(ConfigurationError, match="listens on this machine"):
        WitnessServer(make(), host, 0)


# ---------------------------------------------------------------- collecting


@pytest.fixture(params=["folder", "links"])
def ledger(request, tmp_path):
    if request.param == "links":
        return ObjectLedger(LinkObjects(tmp_path / "log"), origin=ORIGIN, signer=LOG, patience=10)
    return FolderLedger(tmp_path / "log", origin=ORIGIN, signer=LOG)


def collect(ledger, server, witness=WITNESS, **options):
    return collect_cosignatures(ledger, {server.url: witness.verifier}, log=LOG.verifier, **options)


def test_cosignatures_are_collected_verified_and_published(ledger, server):
    for size in (1, 3, 300):
        ledger.append_many([b"entry %d" % n for n in range(ledger.size, size)])
        found = collect(ledger, server)
        assert (dict(found.failures), found.attached, found.contradicted) == ({}, True, False)
        assert [one.witness for one in found.cosignatures] == [WITNESS.verifier]
        assert ledger.checkpoint().cosignatures([WITNESS.verifier])
        assert collect(ledger, server).attached  # again: nothing more to do
    settings = LedgerSettings(
        location=SubjectUri.parse("/unused"),
        key=LOG.verifier,
        witnesses=(WITNESS.verifier,),
        witnessed_by=1,
    )
    assert believe(ledger, settings).size == 300
    ledger.append(b"more")  # writers are not disturbed by what was attached
    assert ledger.verify().size == 301


def test_several_witnesses_and_one_that_is_away(ledger, make, tmp_path):
    second = NoteSigner("witness.example/w2", Ed25519PrivateKey.generate(), COSIGNATURE)
    ledger.append(b"a")
    with (
        serving(make()) as one,
        serving(Witness(tmp_path / "2", second, [LOG.verifier], admit=True)) as two,
    ):
        away = NoteSigner("witness.example/w3", Ed25519PrivateKey.generate(), COSIGNATURE)
        keys = {
            one.url: WITNESS.verifier,
            f"{two.url}/": second.verifier,
            "http://127.0.0.1:1": away.verifier,
        }
        found = collect_cosignatures(ledger, keys, log=LOG.verifier)
    assert {cosignature.witness for cosignature in found.cosignatures} == {
        WITNESS.verifier,
        second.verifier,
    }
    assert list(found.failures) == ["http://127.0.0.1:1"]
    assert found.attached


def test_a_fork_and_a_truncated_ledger_are_told_by_the_witness(ledger, server, tmp_path):
    ledger.append_many([b"a", b"b", b"c"])
    collect(ledger, server)
    for entries, message in (([b"a", b"B", b"c"], "forked"), ([b"a"], "saw 3 entries")):
        other = FolderLedger(tmp_path / message[:3], origin=ORIGIN, signer=LOG)
        other.append_many(entries)
        found = collect(other, server)
        assert found.contradicted
        assert not found.attached
        assert message in found.failures[server.url]
    longer = FolderLedger(tmp_path / "longer", origin=ORIGIN, signer=LOG)
    longer.append_many([b"a", b"B", b"c", b"d"])
    assert "answered 422" in collect(longer, server).failures[server.url]


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/plain", lambda signed: b""),
        (200, "text/plain", lambda signed: b"garbage"),
        (200, "text/plain", lambda signed: LOG.line(bytes(64)).encode()),
        (200, "text/plain", lambda signed: line_of(signed, name="witness.example/w2")),
        (200, "text/plain", lambda signed: line_of(signed, key=LOG.key)),
        (200, "text/plain", lambda signed: line_of(SignedCheckpoint.parse(note(2, FORK)))),
        (200, "text/plain", lambda signed: b"x" * 20_000),
        (409, "text/plain", lambda signed: b"1\n"),
        (409, "text/x.tlog.size", lambda signed: b"01\n"),
        (409, "text/x.tlog.size", lambda signed: b"0\n"),
        (302, "text/plain", lambda signed: b""),
        (500, "text/plain", lambda signed: b""),
    ],
)
def test_what_a_witness_makes_up_is_not_published(ledger, monkeypatch, status, kind, body):
    ledger.append_many([b"a", b"b"])
    before = ledger.checkpoint().note
    monkeypatch.setattr(
        witness_server._Handler,
        "_ask",
        lambda self, content: SimpleNamespace(
            status=status, media_type=kind, body=body(ledger.checkpoint()).decode()
        ),
    )
    with serving(SimpleNamespace()) as server:
        found = collect(ledger, server)
    assert not found.cosignatures
    assert list(found.failures) == [server.url]
    assert not found.attached
    assert ledger.checkpoint().note == before


def line_of(signed, name=WITNESS.name, key=WITNESS.key):
    return cosign(signed, NoteSigner(name, key, COSIGNATURE)).encode()


def test_further_lines_of_an_answer_are_left_out(ledger, monkeypatch):
    ledger.append(b"a")
    stranger = NoteSigner("witness.example/w2", Ed25519PrivateKey.generate(), COSIGNATURE)

    def ask(self, content):
        signed = ledger.checkpoint()
        lines = cosign(signed, stranger) + cosign(signed, WITNESS)
        return SimpleNamespace(status=200, media_type="text/plain", body=lines)

    monkeypatch.setattr(witness_server._Handler, "_ask", ask)
    with serving(SimpleNamespace()) as server:
        assert collect(ledger, server).attached
    assert {name for name, _, _ in ledger.checkpoint().signatures} == {ORIGIN, WITNESS.name}


def test_a_ledger_that_grew_meanwhile_keeps_its_newer_checkpoint(ledger, server, monkeypatch):
    ledger.append(b"a")
    post = cosigning._post

    def grow(*arguments):
        answer = post(*arguments)
        ledger.append(b"b")
        return answer

    monkeypatch.setattr(cosigning, "_post", grow)
    found = collect(ledger, server)
    assert (len(found.cosignatures), found.attached) == (1, False)
    assert ledger.checkpoint().signatures[1:] == ()


def test_a_witness_that_never_answers_costs_a_limited_time(ledger):
    ledger.append(b"a")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        found = collect_cosignatures(ledger, {url: WITNESS.verifier}, log=LOG.verifier, seconds=0.3)
        assert time.monotonic() - started < 5
    assert "gave no answer" in found.failures[url]


def test_a_checkpoint_that_is_not_the_logs_is_not_sent_out(ledger, server):
    with pytest.raises(LedgerError, match="empty ledger"):
        collect(ledger, server)
    ledger.append(b"a")
    with pytest.raises(LedgerError, match="is of the log"):
        collect_cosignatures(ledger, {}, log=OTHER_LOG.verifier)


@pytest.mark.parametrize(
    "url",
    [
        "http://witness.example/w",
        "http://127.0.0.1.example/w",
        "https://user:secret@witness.example",
        "https://witness.example/?a=b",
        "https://witness.example:99999",
        "https:///w",
        "ftp://127.0.0.1/w",
        "witness.example",
        "",
    ],
)
def test_addresses_that_are_not_safe_are_refused(ledger, url):
    ledger.append(b"a")
    with pytest.raises(ConfigurationError) as caught:
        collect_cosignatures(ledger, {url: WITNESS.verifier}, log=LOG.verifier)
    assert "secret" not in str(caught.value)


def test_https_is_verified(ledger):
    """A server without a certificate that the machine trusts gets nothing."""
    ledger.append(b"a")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        found = collect_cosignatures(ledger, {url: WITNESS.verifier}, log=LOG.verifier, seconds=3)
    assert "gave no answer" in found.failures[url]


# ---------------------------------------------------------------- commands


def test_the_commands_make_a_witness_that_cosigns(tmp_path, monkeypatch, capsys):
    import argparse

    def run(add, *words):
        parser = argparse.ArgumentParser()
        add(parser.add_subparsers())
        args = parser.parse_args([str(word) for word in words])
        return args.run(args)

    name, private = "witness.example/cli", tmp_path / "w.key"
    make_key = ("witness", "new", name, "--key", private, "--vkey", tmp_path / "w.vkey")
    assert run(witness_command.add_witness, *make_key) == 0
    verifier = NoteVerifier.parse(capsys.readouterr().out)
    assert load_note_signer(private, name=name, kind=COSIGNATURE).verifier == verifier
    script = (
        "import argparse, sys; from sluicegate.cli.witness import add_witness\n"
        "parser = argparse.ArgumentParser(); add_witness(parser.add_subparsers())\n"
        "args = parser.parse_args(sys.argv[1:]); sys.exit(args.run(args))"
    )
    command = [sys.executable, "-c", script, "witness", "serve", "--state", tmp_path / "state"]
    command += ["--key", private, "--name", name, "--log", str(LOG.verifier), "--json", "--admit"]
    log = FolderLedger(tmp_path / "log", origin=ORIGIN, signer=LOG)
    log.append(b"a")
    settings = LedgerSettings(
        location=SubjectUri.parse(tmp_path / "log"),
        key=LOG.verifier,
        witnesses=(verifier,),
        witnessed_by=1,
    )
    policy = SimpleNamespace(ledger_settings=settings)
    monkeypatch.setattr(ledger_watch, "load_policy", lambda path: policy)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = "".join(process.stdout.readline() for _ in range(4))
        url = json.loads(told)["url"]
        cosign_it = ("cosign", "--witness", f"{name}={url}", "--json")
        assert run(ledger_watch.add_cosign, *cosign_it) == 0
        assert json.loads(capsys.readouterr().out)["cosigned_by"] == [name]
        assert believe(log, settings).size == 1
        fork = FolderLedger(tmp_path / "fork", origin=ORIGIN, signer=LOG)
        fork.append(b"A")
        monkeypatch.setattr(ledger_watch, "open_ledger", lambda settings: fork)
        assert run(ledger_watch.add_cosign, *cosign_it) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    monkeypatch.setattr(ledger_watch, "open_ledger", lambda settings: log)
    log.append(b"b")
    assert run(ledger_watch.add_cosign, *cosign_it) == 2  # nobody answers any more
    with pytest.raises(ConfigurationError, match="lists no witness"):
        run(ledger_watch.add_cosign, "cosign", "--witness", f"other={url}")


def test_requests_are_written_as_the_specification_shows():
    body = write_request(20852014, [bytes(32)], b"NOTE").decode()
    assert body == f"old 20852014\n{base64.b64encode(bytes(32)).decode()}\n\nNOTE"
