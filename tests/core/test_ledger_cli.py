"""`sluicegate ledger verify | prove | export`, as an auditor runs them."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.errors import LedgerError
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.note import COSIGNATURE, NoteSigner, cosign
from sluicegate.ledger.proofs import verify_consistency
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.tlog_proof import TlogProof, check_signatures, encode_consistency
from sluicegate.storage.uri import SubjectUri
from tests.core.ledger_world import ORIGIN, SIGNER, open_ledger

WITNESS = NoteSigner("witness.example", Ed25519PrivateKey.generate(), COSIGNATURE)


@pytest.fixture
def ledger(tmp_path):
    """Return a signed ledger of 300 entries."""
    made = open_ledger(tmp_path / "ledger")
    made.append_many([b"entry %d" % number for number in range(300)])
    return made


def settings_of(ledger, **more):
    location = SubjectUri.parse(ledger.folder)
    return LedgerSettings(location=location, key=SIGNER.verifier, **more)


def test_a_proof_is_the_text_that_the_specification_names(ledger):
    proof = TlogProof.of(ledger, ledger.checkpoint(), 7)
    lines = proof.encode().decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "index 7"
    assert lines[lines.index("") + 1 :][:2] == [ORIGIN, "300"]
    assert proof.encode().endswith(ledger.checkpoint().note)
    again = TlogProof.parse(proof.encode())
    assert again == proof
    assert again.verify(b"entry 7", settings_of(ledger)).size == 300


def test_a_proof_with_extra_data_reads_back(ledger):
    proof = TlogProof.of(ledger, ledger.checkpoint(), 0)
    given = TlogProof(index=0, path=proof.path, signed=proof.signed, extra=b"\x00more")
    assert TlogProof.parse(given.encode()) == given
    assert b"\nextra AG1vcmU=\nindex 0\n" in given.encode()


def test_a_proof_of_a_ledger_of_one_entry_has_no_nodes(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.append(b"only")
    proof = TlogProof.of(ledger, ledger.checkpoint(), 0)
    assert proof.path == ()
    assert TlogProof.parse(proof.encode()).verify(b"only", settings_of(ledger)).size == 1


def test_a_proof_for_another_entry_key_or_checkpoint_is_refused(ledger):
    proof = TlogProof.of(ledger, ledger.checkpoint(), 7)
    with pytest.raises(LedgerError, match="leads to another root"):
        proof.verify(b"entry 8", settings_of(ledger))
    other = NoteSigner(ORIGIN, Ed25519PrivateKey.generate()).verifier
    location = SubjectUri.parse(ledger.folder)
    with pytest.raises(LedgerError, match="not signed by the log's key"):
        proof.verify(b"entry 7", LedgerSettings(location=location, key=other))
    with pytest.raises(LedgerError, match="names no key"):
        proof.verify(b"entry 7", LedgerSettings(location=location))
    with pytest.raises(LedgerError, match="has no entry 300"):
        TlogProof.of(ledger, ledger.checkpoint(), 300)


def test_every_byte_of_a_proof_counts(ledger):
    encoded = TlogProof.of(ledger, ledger.checkpoint(), 7).encode()
    settings = settings_of(ledger)
    for at in range(len(encoded)):
        for bad in (encoded[:at], encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :]):
            with pytest.raises(LedgerError):
                TlogProof.parse(bad).verify(b"entry 7", settings)


@pytest.mark.parametrize(
    "change",
    [
        (b"@v1", b"@v2"),
        (b"index 7", b"index 07"),
        (b"index 7", b"index -7"),
        (b"index 7\n", b""),
        (b"index 7", b"index 7\nindex 7"),
        (b"index 7", b"extra !\nindex 7"),
        (b"index 7", b"extra QQ==\nextra QQ==\nindex 7"),
        (b"index 7\n", b"index 7\nQQ==\n"),
        (b"index 7\n", b"index 7\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 63),
        (b"index 7", b"index \xd9\xa7"),
    ],
)
def test_what_is_no_proof_is_refused(ledger, change):
    encoded = TlogProof.of(ledger, ledger.checkpoint(), 7).encode()
    with pytest.raises(LedgerError):
        TlogProof.parse(encoded.replace(*change))
    with pytest.raises(LedgerError, match="has more than"):
        TlogProof.parse(encoded + b"x" * (1 << 20))


def test_cosignatures_are_counted_where_the_policy_asks_for_them(ledger):
    wanted = settings_of(ledger, witnesses=(WITNESS.verifier,), witnessed_by=1)
    with pytest.raises(LedgerError, match="0 trusted witnesses cosigned"):
        check_signatures(ledger.checkpoint(), wanted)
    signed = ledger.checkpoint()
    assert ledger.attach(signed.note + cosign(signed, WITNESS).encode())
    proof = TlogProof.of(ledger, ledger.checkpoint(), 7).encode()
    assert TlogProof.parse(proof).verify(b"entry 7", wanted).size == 300


def test_a_consistency_proof_is_what_a_witness_is_sent(ledger):
    old = FolderLedger(ledger.folder.with_name("old"), origin=ORIGIN, signer=SIGNER)
    old.append_many([b"entry %d" % number for number in range(100)])
    text = encode_consistency(ledger, ledger.checkpoint(), 100)
    head, _, note = text.partition(b"\n\n")
    first, *nodes = head.decode().split("\n")
    assert (first, note) == ("old 100", ledger.checkpoint().note)

    verify_consistency(
        size1=100,
        size2=300,
        root1=old.checkpoint().checkpoint.root,
        root2=ledger.checkpoint().checkpoint.root,
        proof=[base64.b64decode(node) for node in nodes],
    )
    with pytest.raises(LedgerError, match="nothing proves"):
        encode_consistency(ledger, ledger.checkpoint(), 0)


# ---------------------------------------------------------------- the command


@pytest.fixture
def project(scene, monkeypatch):
    """Return a project with one receipt in a signed ledger, and what runs commands in it."""
    from sluicegate.cli.main import main
    from sluicegate.policy.load import load_policy
    from sluicegate.signing import open_evidence

    assert scene.run(scene.write_data([1, 2, 3])) is not None
    policy = load_policy(scene.policy)
    ledger = open_evidence(policy).ledger
    return (
        scene,
        policy,
        ledger,
        lambda *words: main(["ledger", *words, "--policy", str(scene.policy)]),
    )


def test_verify_says_what_was_checked(project, capsys):
    _, _, ledger, run = project
    capsys.readouterr()
    assert run("verify", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["entries"], told["torn_bytes"]) == (ledger.size, 0)


def test_prove_and_check(project, tmp_path, capsys):
    _, policy, ledger, run = project
    out, receipt = tmp_path / "x.tlog-proof", tmp_path / "receipt"
    receipt.write_bytes(ledger.get(0))
    assert run("prove", "0", "--out", str(out)) == 0
    TlogProof.parse(out.read_bytes()).verify_path(ledger.get(0))
    signed = policy.ledger_settings.key is not None
    assert run("prove", "--check", str(out), "--receipt", str(receipt)) == (0 if signed else 2)
    receipt.write_bytes(b"another")
    assert run("prove", "--check", str(out), "--receipt", str(receipt)) == (1 if signed else 2)
    assert run("prove", "--check", str(out)) == 2
    assert run("prove", "x") == 2
    assert run("prove", "9" * 30) == 2
    assert run("prove", "--check", str(tmp_path / "none"), "--receipt", str(receipt)) == 2
    capsys.readouterr()
    assert run("prove", "--from", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["from"] == 1


def test_export_writes_a_copy(project, tmp_path, capsys):
    _, _, ledger, run = project
    assert run("export", "--to", str(tmp_path / "copy")) == 0
    assert (tmp_path / "copy/checkpoint").read_bytes() == ledger.checkpoint().note
    assert run("export", "--to", str(tmp_path / "copy")) == 2
    assert "is not empty" in capsys.readouterr().err
