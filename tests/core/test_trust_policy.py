"""Who may sign what, where, when: attacks on the trusted keys of a policy.

The attacker of these tests has a key that the policy trusts for something, and runs gates
under a policy of his own that trusts it for everything (the digest of a policy does not cover
its keys). What decides is the policy of whoever opens the data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from sluicegate.errors import ClearanceRefused, ConfigurationError, GateBlocked, PolicyError
from sluicegate.gate import run_gate
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import PublicKey
from sluicegate.receipts.statement import WORDS
from sluicegate.signing import open_evidence
from tests.scenes import POLICY

RULES = POLICY.partition("keys:")[0]
CLEAN = [1.0, 2.0, 3.0, 4.0]
ALL = ["*"]


def entry(name, **fields):
    fields = {"name": name, "file": f"keys/{name}.pub.pem", "stages": ALL} | fields
    return "  - {" + ", ".join(f"{key}: {value!r}" for key, value in fields.items()) + "}\n"


def policy(*entries, rules=RULES):
    return rules + "keys:\n" + "".join(entries)


@pytest.fixture
def world(scene):
    """A project with two more keys, and the attacker's policy beside the real one."""
    scene.write_data(CLEAN)
    scene.keys = {"gates": scene.signer, "b": scene.other_key("b"), "c": scene.other_key("c")}
    lax = scene.folder / "lax.yaml"
    lax.write_text(policy(*(entry(name) for name in scene.keys)))

    def sign(name, *, stages=scene.stages, data=scene.data):
        for stage in stages:
            run_gate(stage, data, lax, signer=scene.keys[name]).clear_or_raise()

    def trust(*entries, rules=RULES):
        scene.write_policy(policy(*entries, rules=rules))
        lax.write_text(policy(*(entry(name) for name in scene.keys), rules=rules))

    scene.sign, scene.trust = sign, trust
    return scene


def size(world):
    return open_evidence(load_policy(world.policy)).ledger.verify().size


def refused(world, words, data=None, **options):
    with pytest.raises(ClearanceRefused, match=words):
        world.open(data or world.data, **options)


# Stages.


def test_a_key_counts_for_its_own_stages_alone(world):
    world.trust(entry("gates", stages=["flag-negatives"]), entry("b", stages=["count-rows"]))
    world.sign("gates")
    refused(world, "not trusted for count-rows, only for flag-negatives")
    world.sign("b", stages=world.stages[1:])
    assert world.open(world.data)


def test_a_gate_does_not_sign_with_a_key_that_nobody_would_believe(world):
    world.trust(entry("gates", stages=["count-rows"]))
    with pytest.raises(ConfigurationError, match="cannot be used"):
        world.run(world.data)
    assert size(world) == 0


def test_a_key_that_is_not_listed_counts_for_nothing(world):
    world.trust(entry("b"))
    world.sign("gates")
    refused(world, "does not trust")


def test_everything_does_not_cover_what_takes_a_person(world):
    world.trust(entry("gates"))
    (key,) = load_policy(world.policy).keys
    assert {word for word in WORDS if not key.may_sign(word)} == {"approval", "head"}


# Subjects.


def test_a_key_speaks_only_about_its_subjects(world):
    for folder in ("ours", "theirs"):
        world.write_data(CLEAN, f"{folder}/data.parquet")
    ours, theirs = world.folder / "ours/data.parquet", world.folder / "theirs/data.parquet"
    world.trust(entry("gates", subjects=[f"file://{world.folder}/ours/*"]))
    world.sign("gates", data=ours)
    assert world.open(ours)
    # The same bytes elsewhere: the receipt is about them, the key not about that place.
    refused(world, "not trusted for", data=theirs)
    world.sign("gates", data=theirs)
    refused(world, "not trusted for", data=theirs)


@pytest.mark.parametrize("pattern", ["*data", "data.parquet", "*/dat?.parquet", "*[d]ata.parquet"])
def test_a_pattern_covers_the_whole_uri_and_only_the_star_is_special(world, pattern):
    world.trust(entry("gates", subjects=[pattern]))
    world.sign("gates")
    refused(world, "not trusted for")


# Validity.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"not_after": -1}, "expired"),
        ({"not_before": 2}, "not valid yet"),
        ({"not_before": -9, "not_after": -1}, "expired"),
    ],
)
def test_outside_of_its_days_a_key_counts_for_nothing(world, fields, words):
    world.sign("gates")
    world.trust(entry("gates", **{key: _day(offset) for key, offset in fields.items()}))
    refused(world, words)


def test_the_first_and_the_last_day_count(world):
    world.sign("gates")
    world.trust(entry("gates", not_before=_day(0), not_after=_day(0)))
    assert world.open(world.data)


def _day(offset):
    return (datetime.now(UTC) + timedelta(days=offset)).date().isoformat()


# Revocation.


def test_revocation_counts_from_its_entry_on(world):
    world.sign("gates")
    first, second = 0, 1
    assert size(world) >= 2
    for index, words in (
        (first, "revoked at ledger entry 0"),
        (second, "revoked at ledger entry 1"),
    ):
        world.trust(entry("gates", revoked_at=index))
        refused(world, words)
    world.trust(entry("gates", revoked_at=size(world)))
    assert world.open(world.data)


def test_a_stolen_key_cannot_sign_itself_back_before_its_revocation(world):
    world.trust(entry("gates", revoked_at=0))
    world.sign("gates")  # with whatever date he likes
    refused(world, "revoked at ledger entry 0")
    with pytest.raises(ConfigurationError, match="revoked"):
        world.run(world.data)


def test_a_receipt_from_before_is_no_newer_when_it_is_logged_again(world):
    world.sign("gates")
    index = size(world)
    evidence = open_evidence(load_policy(world.policy), write=True)
    for _, bundle in list(evidence.receipts()):
        evidence.ledger.append(bundle)
    world.trust(entry("gates", revoked_at=index))
    assert world.open(world.data)  # by the first copies
    world.trust(entry("gates", revoked_at=0))
    refused(world, "revoked")


def test_a_no_from_before_its_revocation_stands(world):
    bad = world.write_data([1.0, -999.0, 3.0], "bad.parquet")
    with pytest.raises(GateBlocked):
        world.sign("gates", stages=world.stages[:1], data=bad)
    world.trust(entry("gates", revoked_at=size(world)), entry("b"))
    world.sign("b", stages=world.stages[1:], data=bad)
    refused(world, "says block", data=bad)


def test_a_rotation_keeps_what_was_and_refuses_what_comes(world):
    world.sign("gates")
    index = size(world)
    world.trust(entry("gates", revoked_at=index), entry("b"))
    assert world.open(world.data)
    other = world.write_data([*CLEAN, 5.0], "other.parquet")
    world.sign("gates", data=other)
    refused(world, f"revoked at ledger entry {index}", data=other)
    world.sign("b", data=other)
    assert world.open(other)


# Thresholds.

TWO = RULES.replace("max_age: 7d", "max_age: 7d\n    signatures: 2")


def test_two_signatures_take_two_keys(world):
    world.trust(entry("gates"), entry("b"), rules=TWO)
    for _ in range(2):
        world.sign("gates")
    refused(world, "1 of 2 keys")
    world.sign("b")
    assert world.open(world.data)


def test_two_keys_must_sign_each_stage(world):
    world.trust(entry("gates"), entry("b"), rules=TWO)
    world.sign("gates")
    world.sign("b", stages=world.stages[:1])
    refused(world, "needs count-rows")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"stages": ["flag-negatives"]}, "needs count-rows"),
        ({"subjects": ["s3://elsewhere/*"]}, "1 of 2 keys"),
        ({"revoked_at": 0}, "1 of 2 keys"),
        ({"not_after": "2001-01-01"}, "1 of 2 keys"),
    ],
)
def test_a_second_key_without_the_right_is_no_second_key(world, second, words):
    world.trust(entry("gates"), entry("b"), rules=TWO)
    world.sign("gates")
    world.sign("b")
    assert world.open(world.data)
    world.trust(entry("gates"), entry("b", **second), rules=TWO)
    refused(world, words)


def test_of_three_keys_any_two_will_do(world):
    world.trust(entry("gates", revoked_at=0), entry("b"), entry("c"), rules=TWO)
    for name in ("gates", "b"):
        world.sign(name)
    refused(world, "1 of 2 keys")
    world.sign("c")
    assert world.open(world.data)


def test_fewer_signatures_are_other_rules(world):
    world.trust(entry("gates"), rules=RULES)
    one = load_policy(world.policy).digest
    world.trust(entry("gates"), entry("b"), rules=TWO)
    assert load_policy(world.policy).digest != one


# What a policy may say.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: []", "may sign nothing"),
        ("stages: [flag-negative]", "did you mean 'flag-negatives'"),
        ("stages: '*'", "expected a list"),
        ("stages: [approval]", "go together"),
        ("stages: ['*'], approvers: [ann]", "go together"),
        ("stages: ['*'], subjects: []", "no subject"),
        ("stages: ['*'], subjects: ['']", "must not be empty"),
        ("stages: ['*'], subjects: '*'", "expected a list"),
        ("stages: ['*'], revoked_at: -1", "at least 0"),
        ("stages: ['*'], revoked_at: '3'", "whole number"),
        ("stages: ['*'], revoked_at: 1.0", "whole number"),
        ("stages: ['*'], revoked_at: null", "whole number"),
        ("stages: ['*'], revoked: 3", "unknown key"),
        ("stages: ['*'], not_after: 2026-02-30", "expected a date"),
        ("stages: ['*'], not_after: tomorrow", "expected a date"),
        ("stages: ['*'], not_before: 2026-01-01T00:00:00Z", "expected a date"),
        ("file: keys/gates.pub.pem", "'stages' is missing"),
    ],
)
def test_rights_that_are_not_clear_are_refused(world, text, words):
    file = "" if "file" in text else "file: keys/gates.pub.pem, "
    world.write_policy(f"{RULES}keys:\n  - {{name: gates, {file}{text}}}\n")
    with pytest.raises(PolicyError, match=words):
        load_policy(world.policy)


def test_a_key_is_listed_once_under_whatever_name(world):
    copy = world.folder / "keys/copy.pub.pem"
    copy.write_bytes(b"# a copy\n" + (world.folder / "keys/gates.pub.pem").read_bytes())
    world.write_policy(policy(entry("gates"), entry("copy")))
    with pytest.raises(PolicyError, match="listed twice"):
        load_policy(world.policy)


def _pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        _pem(ed25519.Ed25519PrivateKey.generate()),
        _pem(ec.generate_private_key(ec.SECP384R1())),
        _pem(ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_a_key_of_another_kind_is_not_trusted(world, content):
    (world.folder / "keys/odd.pub.pem").write_bytes(content)
    world.write_policy(policy(entry("odd")))
    with pytest.raises(PolicyError, match=r"odd\.pub\.pem"):
        load_policy(world.policy)


def test_a_private_key_is_not_a_public_one(world):
    (world.folder / "keys/odd.pub.pem").write_bytes((world.folder / "b.key.pem").read_bytes())
    world.write_policy(policy(entry("odd")))
    with pytest.raises(PolicyError, match="not a public key"):
        load_policy(world.policy)


def test_a_key_file_that_was_exchanged_is_another_key(world):
    world.sign("gates")
    world.trust(entry("gates"))
    assert world.open(world.data)
    stolen = world.keys["b"].public_key.pem
    (world.folder / "keys/gates.pub.pem").write_bytes(stolen)
    assert load_policy(world.policy).keys[0].key == PublicKey(stolen)
    refused(world, "does not trust")


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "'2'", "all"])
def test_a_threshold_is_a_number_from_one(world, count):
    world.write_policy(
        policy(entry("gates"), rules=TWO.replace("signatures: 2", f"signatures: {count}"))
    )
    with pytest.raises(PolicyError):
        load_policy(world.policy)
