"""``sluicegate keys``: keys are made, listed, rotated and revoked; the policy says so."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import boto3
import pytest

from sluicegate.canonical import Digest
from sluicegate.cli.keys import add_keys
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    KeyFileError,
    LedgerError,
    PolicyError,
)
from sluicegate.gate import run_gate
from sluicegate.ledger.keys import load_note_signer
from sluicegate.ledger.note import COSIGNATURE, ED25519, NoteVerifier
from sluicegate.policy.load import load_policy
from sluicegate.receipts.bundle import Bundle, seal
from sluicegate.receipts.keys import FileSigner, PublicKey, new_key_pair
from sluicegate.receipts.statement import EventStatement, parse_statement
from sluicegate.signing import open_evidence
from tests.aws import moto_server, point_at

CLEAN = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def keys(scene, capsys, monkeypatch):
    """Run ``sluicegate keys``; return what it printed as JSON."""
    for name in ("SLUICEGATE_KEY_PASSWORD_FILE", "SLUICEGATE_LEDGER_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICEGATE_POLICY", str(scene.policy))

    def run(*arguments, as_json=True):
        parser = argparse.ArgumentParser()
        add_keys(parser.add_subparsers())
        args = parser.parse_args(["keys", *arguments, *(["--json"] if as_json else [])])
        assert args.run(args) == 0
        printed = capsys.readouterr().out
        return json.loads(printed) if as_json else printed

    return run


@pytest.fixture
def trusting(scene):
    """Let the scene's key sign everything, events too."""
    text = scene.policy.read_text()
    scene.write_policy(
        text.replace("stages: [flag-negatives, count-rows, quarantine]", "stages: ['*']")
    )
    return scene


def last_statement(scene):
    policy = load_policy(scene.policy)
    *_, (_, bundle) = open_evidence(policy).receipts()
    parsed = Bundle.parse(bundle)
    return parse_statement(parsed.verify(lambda hint: policy.key(hint).key))


def ledger_size(scene):
    return sum(1 for _ in open_evidence(load_policy(scene.policy)).receipts())


def test_a_new_key_is_made_and_its_entry_printed(scene, keys):
    before = scene.policy.read_text()
    said = keys("new", "people", "--for", "flag-negatives", "--subjects", "s3://lake/*")
    private = scene.evidence / "keys/people.key.pem"
    assert said["private_key"] == str(private)
    assert private.stat().st_mode & 0o777 == 0o600
    assert (scene.evidence / ".gitignore").read_text() == "*\n"
    public = PublicKey.load(scene.folder / "keys/people.pub.pem")
    assert public == FileSigner.load(private).public_key
    assert said["id"] == public.id
    assert scene.policy.read_text() == before
    scene.write_policy(before + said["entry"])
    assert load_policy(scene.policy).keys[1].subjects == ("s3://lake/*",)


def test_a_new_key_is_trusted_at_once_if_asked(trusting, keys):
    said = keys("new", "people", "--for", "*", "--trust", "--not-after", "2099-01-01")
    key = load_policy(trusting.policy).key(said["id"])
    assert (key.name, key.stages) == ("people", ("*",))
    assert said["logged_at"] == 0
    event = last_statement(trusting)
    assert isinstance(event, EventStatement)
    assert (event.kind, event.details["key"], event.details["id"]) == (
        "key.trusted",
        "people",
        said["id"],
    )
    assert event.subject.sha256 == Digest.of(trusting.policy.read_bytes())


def test_a_password_protects_the_private_file(scene, keys, monkeypatch):
    monkeypatch.setenv("SLUICEGATE_KEY_PASSWORD", "secret")
    printed = keys("new", "people", as_json=False)
    assert "no password" not in printed
    path = scene.evidence / "keys/people.key.pem"
    assert b"ENCRYPTED" in path.read_bytes()
    assert FileSigner.load(path, b"secret")
    monkeypatch.delenv("SLUICEGATE_KEY_PASSWORD")
    assert "no password" in keys("new", "others", as_json=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new", "../evil"], "name has letters"),
        (["new", "gates"], "lists a key named"),
        (["new", "people", "--trust"], "needs --for"),
        (["new", "people", "--for", "flag-negative"], "did you mean 'flag-negatives'"),
        (["new", "people", "--for", "approval"], "--approver"),
        (["new", "people", "--approver", "ann"], "--approver"),
        (["new", "people", "--not-before", "2030-01-02", "--not-after", "2030-01-01"], "before"),
        (["new", "people", "--kms", "awskms:///alias/a", "--private", "k.pem"], "no private file"),
        (["new", "ledger", "--ledger", "example.org/log", "--trust"], "no rights"),
        (["new", "ledger", "--ledger", "example.org/log", "--for", "*"], "no rights"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_key_is_made(scene, keys, arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        keys(*arguments)
    assert len(list(scene.folder.rglob("*.pem"))) == 2


def test_keys_are_never_overwritten(scene, keys):
    (scene.folder / "keys/people.pub.pem").write_text("mine")
    with pytest.raises(KeyFileError, match="exists"):
        keys("new", "people")
    assert not (scene.evidence / "keys/people.key.pem").exists()


def test_keys_of_a_ledger_and_of_a_witness(scene, keys, tmp_path):
    log = keys("new", "ledger", "--ledger", "example.org/log")
    witness = keys("new", "w1", "--witness", "w.example", "--private", str(tmp_path / "w.pem"))
    for said, name, kind in (
        (log, "example.org/log", ED25519),
        (witness, "w.example", COSIGNATURE),
    ):
        verifier = NoteVerifier.parse(Path(said["public_key"]).read_text())
        assert (str(verifier), verifier.name, verifier.kind) == (said["vkey"], name, kind)
    private = scene.evidence / "keys/ledger.key.pem"  # where signing looks for it
    assert load_note_signer(private, name="example.org/log").verifier.name == "example.org/log"
    scene.write_policy(
        scene.policy.read_text()
        + "ledger:\n  key: keys/ledger.vkey\n  witnesses:\n    - keys/w1.vkey\n"
    )
    assert load_policy(scene.policy).ledger.witnessed_by == 1
    assert log["entry"] == "ledger:\n  key: keys/ledger.vkey\n"


def test_without_a_policy_the_private_file_is_named(tmp_path, keys, monkeypatch):
    monkeypatch.delenv("SLUICEGATE_POLICY")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="give --private"):
        keys("new", "w", "--witness", "w.example")
    keys("new", "w", "--witness", "w.example", "--private", "w.pem")
    assert (tmp_path / "elsewhere/keys/w.vkey").exists()
    with pytest.raises(PolicyError, match="no policy"):
        keys("new", "g", "--for", "*", "--trust", "--private", "g.pem")


def test_a_key_in_a_kms_is_listed_by_its_public_half(trusting, keys, monkeypatch, tmp_path):
    with moto_server() as address:
        point_at(address, monkeypatch, tmp_path, service="KMS")
        arn = boto3.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        uri = f"awskms:///{arn['KeyMetadata']['Arn']}"
        said = keys("new", "cloud", "--kms", uri, "--for", "*", "--trust")
        assert said["private_key"] is None
        monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", uri)
        trusting.write_data(CLEAN)
        for stage in trusting.stages:
            run_gate(stage, trusting.data, trusting.policy).clear_or_raise()
    assert trusting.open(trusting.data)
    listed = {row["name"]: row["signed"] for row in keys("list")["keys"]}
    assert listed["gates"] == 1
    assert listed["cloud"] == ledger_size(trusting) - 1


def test_a_list_counts_what_each_key_signed(scene, keys):
    scene.write_data(CLEAN)
    scene.run(scene.data)
    stranger = scene.other_key("stranger")
    evidence = open_evidence(load_policy(scene.policy), write=True)
    evidence.log(seal(b'{"a": 1}', stranger))
    evidence.log(b"no receipt")
    forged = json.loads(seal(b'{"a": 2}', stranger))
    forged["verificationMaterial"]["publicKey"]["hint"] = scene.signer.public_key.id
    evidence.log(json.dumps(forged).encode())
    said = keys("list")
    for index, late in ((0, 2), (1, 1), (2, 0)):
        scene.write_policy(scene.policy.read_text().partition("    revoked")[0])
        keys("revoke", "gates", "--at", str(index))
        assert keys("list")["keys"][0]["after_revocation"] == late
    scene.write_policy(scene.policy.read_text().partition("    revoked")[0])
    (row,) = said["keys"]
    assert (row["name"], row["state"], row["signed"]) == ("gates", "valid", 2)
    assert (row["does_not_verify"], row["after_revocation"]) == (1, 0)
    assert said["untrusted"] == [{"id": stranger.public_key.id, "claims": 1}]
    assert said["unreadable_entries"] == 1
    printed = keys("list", as_json=False)
    assert f"not trusted: key {stranger.public_key.id[:12]}" in printed
    assert "it did not sign them" in printed


def test_states_of_keys(scene, keys):
    for name, more in (
        ("expired", "not_after: 2001-01-01"),
        ("early", "not_before: 2999-01-01"),
        ("revoked", "revoked_at: 0"),
    ):
        scene.other_key(name)
        entry = f"  - name: {name}\n    file: keys/{name}.pub.pem\n    stages: ['*']\n    {more}\n"
        scene.write_policy(scene.policy.read_text() + entry)
    rows = {row["name"]: row["state"] for row in keys("list")["keys"]}
    assert rows == {
        "gates": "valid",
        "expired": "expired",
        "early": "not valid yet",
        "revoked": "revoked",
    }
    assert "valid always to 2001-01-01" in keys("list", as_json=False)


def test_trust_lists_a_key_that_somebody_sent(trusting, keys, tmp_path):
    sender = new_key_pair(tmp_path / "mail/a.pem", tmp_path.parent / f"{tmp_path.name}.pub.pem")
    file = tmp_path.parent / f"{tmp_path.name}.pub.pem"
    said = keys("trust", "people", "--file", str(file), "--for", "flag-negatives", "quarantine")
    key = load_policy(trusting.policy).key(sender.public_key.id)
    assert key.stages == ("flag-negatives", "quarantine")
    assert (trusting.folder / "keys/people.pub.pem").read_bytes() == sender.public_key.pem
    assert said["logged_at"] == 0
    trusting.other_key("inside")
    keys("trust", "inside", "--file", str(trusting.folder / "keys/inside.pub.pem"), "--for", "*")
    assert "file: keys/inside.pub.pem" in trusting.policy.read_text()


def test_revoked_from_now_on_means_from_the_next_entry(trusting, keys):
    trusting.write_data(CLEAN)
    trusting.run(trusting.data)
    size = ledger_size(trusting)
    said = keys("revoke", "gates")
    assert said["revoked_at"] == size
    assert load_policy(trusting.policy).keys[0].revoked_at == size
    # The only key cannot sign that it was revoked.
    assert said["logged_at"] is None
    assert trusting.open(trusting.data)
    with pytest.raises(PolicyError, match=f"revoked at ledger entry {size} already"):
        keys("revoke", "gates", "--at", str(size))
    assert "not logged" in keys("revoke", "gates", "--at", "0", as_json=False)


def test_a_revocation_is_logged_by_another_key(trusting, keys, monkeypatch):
    keys("new", "auditor", "--for", "event", "--trust")
    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(trusting.evidence / "keys/auditor.key.pem"))
    said = keys("revoke", "gates", "--at", "0")
    event = last_statement(trusting)
    assert (event.kind, event.details["revoked_at"]) == ("key.revoked", "0")
    assert said["logged_at"] == 1


def test_a_damaged_ledger_does_not_stop_a_revocation_that_names_its_entry(trusting, keys):
    trusting.write_data(CLEAN)
    trusting.run(trusting.data)
    before = trusting.policy.read_text()
    for path in (trusting.evidence / "ledger").rglob("*"):
        if path.is_file() and path.stat().st_size > 100:
            path.write_bytes(path.read_bytes()[:50] + b"X" + path.read_bytes()[51:])
    with pytest.raises(LedgerError, match="--at INDEX"):
        keys("revoke", "gates")
    assert trusting.policy.read_text() == before
    assert keys("revoke", "gates", "--at", "0")["revoked_at"] == 0


def test_a_ledger_that_somebody_else_signed_gives_no_index(trusting, keys, monkeypatch, tmp_path):
    keys("new", "ledger", "--ledger", "example.org/log")
    text = trusting.policy.read_text()
    trusting.write_policy(f"{text}ledger:\n  key: keys/ledger.vkey\n")
    trusting.write_data(CLEAN)
    trusting.run(trusting.data)
    assert keys("revoke", "gates")["revoked_at"] == ledger_size(trusting)
    keys("new", "other", "--ledger", "example.org/log")
    forged = trusting.folder / "forged.yaml"
    forged.write_text(f"{text}ledger:\n  key: keys/other.vkey\n")
    before = forged.read_text()
    with pytest.raises(LedgerError, match="cannot tell how long"):
        keys("revoke", "gates", "--policy", str(forged))
    assert forged.read_text() == before


def test_a_rotation_keeps_the_rights_and_the_past(trusting, keys, monkeypatch):
    trusting.write_data(CLEAN)
    trusting.run(trusting.data)
    before, size = trusting.policy.read_text(), ledger_size(trusting)
    said = keys("rotate", "gates")
    policy = load_policy(trusting.policy)
    old, new = policy.keys
    assert (new.name, new.stages, new.subjects) == ("gates-2", old.stages, old.subjects)
    assert (old.revoked_at, new.revoked_at) == (size, None)
    assert (said["logged_at"], said["revoked_at"]) == (size, size)
    event = last_statement(trusting)
    assert (event.kind, event.details["replaces"]) == ("key.rotated", "gates")
    assert policy.key(new.key.id).name == event.details["key"]
    # What was signed before counts; the old key does not any more, the new one does.
    assert trusting.open(trusting.data)
    other = trusting.write_data([*CLEAN, 5.0], "other.parquet")
    with pytest.raises((ConfigurationError, ClearanceRefused), match="revoked"):
        trusting.run(other)
    trusting.run(other, signer=FileSigner.load(trusting.evidence / "keys/gates-2.key.pem"))
    assert trusting.open(other)
    assert trusting.policy.read_text().startswith(before.rstrip("\n"))
    assert keys("rotate", "gates-2")["name"] == "gates-3"
    with pytest.raises(PolicyError, match="revoked already"):
        keys("rotate", "gates")


def test_a_rotation_of_a_key_without_the_right_to_log_events_is_told(scene, keys):
    said = keys("rotate", "gates", "--as", "fresh")
    assert (said["name"], said["logged_at"]) == ("fresh", None)
    assert "not trusted for event" in said["not_logged"]


def test_an_expired_key_is_rotated_only_with_a_new_end(scene, keys):
    scene.write_policy(scene.policy.read_text() + "    not_after: 2001-01-01\n")
    with pytest.raises(ConfigurationError, match="give --not-after"):
        keys("rotate", "gates")
    keys("rotate", "gates", "--not-after", "2999-12-31")
    old, new = load_policy(scene.policy).keys
    assert (old.not_after.year, new.not_after.year) == (2001, 2999)


def test_a_policy_that_cannot_be_edited_says_what_to_paste(scene, keys):
    text = scene.policy.read_text().partition("keys:")[0]
    stages = "stages: [flag-negatives, count-rows, quarantine]"
    scene.write_policy(text + f"keys:\n  - {{name: gates, file: keys/gates.pub.pem, {stages}}}\n")
    before = scene.policy.read_text()
    with pytest.raises(PolicyError, match="cannot be edited safely") as caught:
        keys("rotate", "gates")
    assert "revoked_at: 0" in str(caught.value)
    assert scene.policy.read_text() == before


@pytest.mark.parametrize("text", ["-1", "x", "٣", "1.5"])
def test_an_entry_is_a_number(keys, text):
    with pytest.raises(SystemExit):
        keys("revoke", "gates", f"--at={text}")


def test_a_revocation_far_in_the_future_is_refused(trusting, keys):
    with pytest.raises(ConfigurationError, match="nothing was signed at entry 1000000"):
        keys("revoke", "gates", "--at", "1000000")
