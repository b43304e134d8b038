"""What a policy says about keys, the ledger, signatures and people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.errors import ClearanceRefused, ConfigurationError, PolicyError
from sluicegate.ledger.keys import load_note_signer, new_note_key
from sluicegate.ledger.note import COSIGNATURE, NoteSigner
from sluicegate.ledger.settings import DEFAULT_ORIGIN, LedgerSettings
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Approvals
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import check_signer, ledger_signer
from sluicegate.storage.uri import SubjectUri
from tests import toy_stages

WHOLE = """\
version: 1
evidence: evidence
hashing: {cache: cache, rehash: 5%}
ledger:
  location: s3://lake/ledger
  key: keys/log.vkey
  witnesses: [keys/w1.vkey, keys/w2.vkey]
  witnessed_by: 1
  witnessed_within: 12h
  remember: seen.checkpoint
purposes:
  deploy:
    stages: [check-encryption]
    signatures: 2
    approvals: {by: [ann, bob], count: 2, max_age: 1d}
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
    subjects: ["s3://lake/*"]
    revoked_at: 120
  - name: people
    file: keys/people.pub.pem
    stages: [approval]
    approvers: [ann, bob]
"""
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def witness(folder, name):
    key = NoteSigner(f"witness.example/{name}", Ed25519PrivateKey.generate(), COSIGNATURE)
    (folder / f"keys/{name}.vkey").write_text(f"{key.verifier}\n")
    return key


@pytest.fixture
def home(tmp_path):
    assert toy_stages
    for name in ("gates", "people"):
        new_key_pair(tmp_path / f"{name}.key.pem", tmp_path / f"keys/{name}.pub.pem")
    new_note_key(tmp_path / "log.key.pem", tmp_path / "keys/log.vkey", name="lake.example/log")
    for name in ("w1", "w2", "w3"):
        witness(tmp_path, name)
    return tmp_path


def load(home, text):
    (home / "policy.yaml").write_text(text)
    return load_policy(home / "policy.yaml")


def test_everything_is_read(home):
    policy = load(home, WHOLE)
    ledger = policy.ledger_settings
    assert str(ledger.location) == "s3://lake/ledger"
    assert ledger.key.name == ledger.origin == "lake.example/log"
    assert [item.name for item in ledger.witnesses] == ["witness.example/w1", "witness.example/w2"]
    assert (ledger.witnessed_by, ledger.remember, ledger.links) == (
        1,
        home / "seen.checkpoint",
        False,
    )
    assert (policy.hash_cache, policy.rehash) == (home / "cache", 0.05)
    deploy = policy.purpose("deploy")
    assert (deploy.signatures, deploy.approvals.count) == (2, 2)
    assert deploy.approvals.max_age == timedelta(days=1)
    gates, people = policy.keys
    assert (gates.subjects, gates.revoked_at, gates.approvers) == (("s3://lake/*",), 120, ())
    assert people.approvers == ("ann", "bob")


def test_a_ledger_that_is_not_mentioned_lies_unsigned_among_the_evidence(home):
    settings = load(home, "version: 1\nevidence: evidence\n").ledger_settings
    assert settings.location.local == home / "evidence/ledger"
    assert (settings.key, settings.origin) == (None, DEFAULT_ORIGIN)


def test_all_witnesses_are_needed_unless_a_number_is_given(home):
    assert load(home, WHOLE.replace("  witnessed_by: 1\n", "")).ledger.witnessed_by == 2


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("keys/log.vkey", "keys/none.vkey", "ledger.key", "cannot read"),
        ("keys/log.vkey", "keys/gates.pub.pem", "ledger.key", "no note key"),
        ("keys/log.vkey", "keys/w3.vkey", "ledger", "witness's key"),
        ("keys/w1.vkey", "keys/log.vkey", "ledger", "own key is listed"),
        (
            "remember: seen",
            "object_lock: COMPLIANCE\n  remember: seen",
            "ledger",
            "a mode and a number of days",
        ),
        (
            "s3://lake/ledger",
            "here\n  object_lock: GOVERNANCE\n  retain: 7d",
            "ledger",
            "only a ledger on s3",
        ),
        ("keys/w1.vkey", "keys/w2.vkey", "ledger", "listed twice"),
        ("witnessed_by: 1", "witnessed_by: 3", "ledger", "3 cosignatures are asked of 2"),
        ("  key: keys/log.vkey\n", "", "ledger", "no key of the log"),
        ("remember: seen", "sharing: lock\n  remember: seen", "ledger.sharing", "'locks'"),
        ("signatures: 2", "signatures: 0", "purposes.deploy.signatures", "from 1"),
        ("count: 2", "count: 3", "purposes.deploy.approvals", "3 approvals are asked of 2"),
        ("count: 2", "count: 0", "purposes.deploy.approvals.count", "from 1"),
        ("by: [ann, bob]", "by: [ann, ann]", "purposes.deploy.approvals", "asked of 1"),
        ("revoked_at: 120", "revoked_at: -1", "keys[0].revoked_at", "at least 0"),
        ('subjects: ["s3://lake/*"]', "subjects: []", "keys[0].subjects", "no subject"),
        ("    approvers: [ann, bob]\n", "", "keys[1]", "go together"),
        ("stages: [approval]", "stages: [event]", "keys[1]", "go together"),
        ("rehash: 5%", "rehash: 120%", "hashing.rehash", "between 0 and 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(home, old, new, key, says):
    assert old in WHOLE
    with pytest.raises(PolicyError) as caught:
        load(home, WHOLE.replace(old, new, 1))
    assert f": {key}: " in caught.value.what
    assert says in f"{caught.value.what} {caught.value.next_step}"


def test_what_decides_changes_the_digest_and_what_does_not_leaves_it(home):
    whole = load(home, WHOLE).digest
    for old, new in (("signatures: 2", "signatures: 1"), ("count: 2", "count: 1")):
        assert load(home, WHOLE.replace(old, new)).digest != whole
    for old, new in (("revoked_at: 120", "revoked_at: 3"), ("s3://lake/ledger", "s3://x/y")):
        assert load(home, WHOLE.replace(old, new)).digest == whole


def test_the_star_does_not_cover_what_takes_a_person(home):
    gates, people = load(home, WHOLE).keys
    for word in ("check-encryption", "quarantine", "production", "event", "summary"):
        assert gates.may_sign(word)
    assert not gates.may_sign("approval")
    assert not gates.may_sign("head")
    assert people.may_sign("approval")


def test_a_key_speaks_only_about_its_subjects_and_until_it_is_revoked(home):
    gates, _ = load(home, WHOLE).keys
    gates.check_place(uri="s3://lake/x", index=119)
    with pytest.raises(ClearanceRefused, match="was revoked at ledger entry 120"):
        gates.check_place(uri="s3://lake/x", index=120)
    for uri in ("s3://lakes/x", "file:///s3://lake/x", "s3://other/x"):
        with pytest.raises(ClearanceRefused, match="is not trusted for"):
            gates.check_place(uri=uri, index=0)


@pytest.mark.parametrize(
    ("change", "stage", "uri", "approver", "says"),
    [
        ({}, "check-encryption", "s3://lake/x", "", "was revoked"),
        ({"    revoked_at: 120\n": ""}, "check-encryption", "s3://other/x", "", "not trusted for"),
        ({"    revoked_at: 120\n": ""}, "approval", "s3://lake/x", "ann", "not trusted for"),
    ],
)
def test_a_gate_does_not_start_with_a_key_nobody_would_believe(
    home, change, stage, uri, approver, says
):
    from sluicegate.receipts.keys import FileSigner

    text = WHOLE
    for old, new in change.items():
        text = text.replace(old, new)
    policy, signer = load(home, text), FileSigner.load(home / "gates.key.pem")
    with pytest.raises(ConfigurationError, match=says):
        check_signer(policy, signer, stage, uri=uri, now=NOW, approver=approver)


def test_a_key_signs_approvals_only_of_its_people(home):
    from sluicegate.receipts.keys import FileSigner

    policy, signer = load(home, WHOLE), FileSigner.load(home / "people.key.pem")
    check_signer(policy, signer, "approval", uri="s3://any/where", now=NOW, approver="ann")
    with pytest.raises(ConfigurationError, match="may not sign approvals of eve"):
        check_signer(policy, signer, "approval", uri="s3://any/where", now=NOW, approver="eve")


def test_checkpoints_are_signed_by_the_key_that_the_policy_names(home, monkeypatch):
    policy = load(home, WHOLE)
    monkeypatch.setenv("SLUICEGATE_LEDGER_KEY", str(home / "log.key.pem"))
    assert ledger_signer(policy).verifier == policy.ledger.key
    new_note_key(home / "other.key.pem", home / "other.vkey", name="lake.example/log")
    monkeypatch.setenv("SLUICEGATE_LEDGER_KEY", str(home / "other.key.pem"))
    with pytest.raises(ConfigurationError, match="is not the key of the ledger"):
        ledger_signer(policy)


def test_key_files_of_logs_are_private_and_never_overwritten(home):
    private = home / "log.key.pem"
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError, match="exists"):
        new_note_key(private, home / "new.vkey", name="x")
    with pytest.raises(ConfigurationError, match="exists"):
        new_note_key(home / "new.key.pem", home / "keys/log.vkey", name="x")
    private.chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by others"):
        load_note_signer(private, name="x")
    with pytest.raises(ConfigurationError, match="not an Ed25519 key"):
        load_note_signer(home / "gates.key.pem", name="x")


def test_a_password_protects_the_key_of_a_log(home):
    private = home / "locked.key.pem"
    made = new_note_key(private, home / "locked.vkey", name="x", password=b"secret")
    assert load_note_signer(private, name="x", password=b"secret").verifier == made.verifier
    for wrong in (None, b"other"):
        with pytest.raises(ConfigurationError, match="password is wrong"):
            load_note_signer(private, name="x", password=wrong)


def test_settings_and_approvals_refuse_what_means_nothing():
    location = SubjectUri.parse("s3://lake/ledger")
    with pytest.raises(ConfigurationError, match="cosignatures are asked of 0"):
        LedgerSettings(location=location, witnessed_by=1)
    with pytest.raises(ConfigurationError, match="asked of 0"):
        Approvals(by=())
