"""Receipts: what was signed is what is read, and nothing else is believed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import subprocess
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest, canonical_json
from sluicegate.errors import ClearanceRefused, KeyFileError, ReceiptError
from sluicegate.model import Check, Finding, Outcome, Report, RunIdentity, Verdict
from sluicegate.receipts.bundle import (
    MAX_BUNDLE_BYTES,
    MEDIA_TYPE,
    Bundle,
    pre_authentication_encoding,
    seal,
)
from sluicegate.receipts.keys import FileSigner, PublicKey, new_key_pair
from sluicegate.receipts.statement import (
    DerivationStatement,
    Subject,
    VerdictStatement,
    WaiverUse,
    parse_statement,
    write_statement,
)
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

SIGNER = FileSigner(ec.generate_private_key(ec.SECP256R1()))
OTHER = FileSigner(ec.generate_private_key(ec.SECP256R1()))
NOW = datetime(2026, 6, 15, 12, 30, 45, tzinfo=UTC)
RUN = RunIdentity(orchestrator="airflow", labels={"dag_id": "nightly", "run_id": "r1"})


def subject(name="train.csv"):
    return Subject(
        name=name,
        uri=f"s3://lake/{name}",
        digest=Digest.of(name.encode()),
        sha256=Digest.of(b"bytes of " + name.encode()),
        dir_hash=Digest.of(b"dir of " + name.encode()).hex,
    )


def verdict(verdict=Verdict.WARN, **changes):
    values = {
        "subject": subject(),
        "stage": "scan-for-poisoning",
        "configuration": Digest.of(b"configuration"),
        "policy": Digest.of(b"policy"),
        "report": Digest.of(b"report"),
        "verdict": verdict,
        "checks": {
            "area.good": Outcome.PASSED,
            "area.bad": Outcome.FAILED,
            "area.dark": Outcome.UNKNOWN,
        },
        "waivers": (
            WaiverUse(check="area.dark", owner="ana", expires=date.fromisoformat("2026-12-31")),
        ),
        "issued": NOW,
        "run": RUN,
    }
    return VerdictStatement(**values | changes)


DERIVATION = DerivationStatement(
    subject=subject("remainder.csv"),
    parent=subject(),
    verdict_receipt=Digest.of(b"receipt"),
    set_aside=subject("aside.csv"),
    rows=12,
    files=1,
    issued=NOW,
    run=RUN,
)
PAYLOAD = write_statement(verdict())
SEALED = seal(PAYLOAD, SIGNER)


def trust(*signers):
    """Return a key finder that trusts these signers, as a policy does."""
    keys = {signer.public_key.id: signer.public_key for signer in signers}

    def find(hint):
        if hint not in keys:
            raise ClearanceRefused("not trusted")
        return keys[hint]

    return find


def opened(data, *signers):
    return Bundle.parse(data).verify(trust(*(signers or (SIGNER,))))


def edited(change, data=SEALED):
    """Return the bundle after ``change`` edited its parsed form."""
    value = json.loads(data)
    change(value)
    return canonical_json(value)


# ---------------------------------------------------------------- bundles


def test_what_was_signed_is_what_is_handed_out():
    bundle = Bundle.parse(SEALED)
    assert bundle.digest == Digest.of(SEALED)
    assert bundle.hint == SIGNER.public_key.id
    assert bundle.verify(trust(SIGNER)) == PAYLOAD


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_any_payload_comes_back_byte_for_byte(payload):
    assert opened(seal(payload, SIGNER)) == payload


def test_what_is_signed_is_the_encoding_of_the_standard():
    # DSSE 1.0.2: lengths in decimal, one space between the parts.
    kind = "application/vnd.in-toto+json"
    assert pre_authentication_encoding(b"hello") == f"DSSEv1 {len(kind)} {kind} 5 hello".encode()


def test_openssl_verifies_what_we_sign(tmp_path):
    (tmp_path / "key.pem").write_bytes(SIGNER.public_key.pem)
    envelope = json.loads(SEALED)["dsseEnvelope"]
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    signed = pre_authentication_encoding(base64.b64decode(envelope["payload"]))
    ran = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig"],
        cwd=tmp_path,
        input=signed,
        capture_output=True,
        check=False,
    )
    assert b"Verified OK" in ran.stdout


def test_no_edit_of_a_single_byte_gets_another_payload_through():
    for at in range(len(SEALED)):
        for flip in (0x01, 0x20, 0x80):
            broken = bytearray(SEALED)
            broken[at] ^= flip
            try:
                bundle = Bundle.parse(bytes(broken))
                payload = bundle.verify(trust(SIGNER, OTHER))
            except (ReceiptError, ClearanceRefused):
                continue
            # Only bytes that carry no meaning are left, and the digest shows them all the same.
            assert payload == PAYLOAD, at
            assert bundle.digest != Digest.of(SEALED)


def region(name):
    value = json.loads(SEALED)
    envelope = value["dsseEnvelope"]
    text = {
        "payload": envelope["payload"],
        "signature": envelope["signatures"][0]["sig"],
        "key id": value["verificationMaterial"]["publicKey"]["hint"],
        "media type": value["mediaType"],
        "payload type": envelope["payloadType"],
    }[name].encode()
    start = SEALED.index(text)
    return range(start, start + len(text))


@pytest.mark.parametrize("name", ["payload", "signature", "key id", "media type", "payload type"])
def test_every_byte_of_what_is_signed_or_names_the_key_matters(name):
    span = region(name)
    # The last characters of a base64 text may hold bits that belong to no byte.
    padding = 3 if name in ("payload", "signature") else 0
    for at in span[: len(span) - padding]:
        broken = bytearray(SEALED)
        broken[at] = ord("A") if broken[at] != ord("A") else ord("B")
        with pytest.raises((ReceiptError, ClearanceRefused)):
            opened(bytes(broken))


@pytest.mark.parametrize("cut", [0, 1, 10, len(SEALED) // 2, len(SEALED) - 1])
def test_a_bundle_that_was_cut_short_is_refused(cut):
    with pytest.raises(ReceiptError, match="the receipt is not JSON"):
        Bundle.parse(SEALED[:cut])


def test_a_payload_under_the_signature_of_another_payload_is_refused():
    def swap(value):
        other = json.loads(seal(write_statement(verdict(Verdict.ALLOW)), SIGNER))
        value["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]

    with pytest.raises(ReceiptError, match="the signature is not by key"):
        opened(edited(swap))


def test_a_signature_by_another_key_is_refused_whatever_key_it_names():
    foreign = seal(PAYLOAD, OTHER)
    with pytest.raises(ClearanceRefused):
        opened(foreign)

    def rename(value):
        value["verificationMaterial"]["publicKey"]["hint"] = SIGNER.public_key.id

    with pytest.raises(ReceiptError, match="the signature is not by key"):
        opened(edited(rename, foreign), SIGNER, OTHER)


def test_a_signature_over_the_bare_payload_is_refused():
    def bare(value):
        raw = SIGNER.sign(PAYLOAD)
        value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(raw).decode()

    with pytest.raises(ReceiptError, match="the signature is not by key"):
        opened(edited(bare))


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_receipt_carries_exactly_one_signature(count):
    def repeat(value):
        envelope = value["dsseEnvelope"]
        envelope["signatures"] = [envelope["signatures"][0]] * count

    with pytest.raises(ReceiptError, match="exactly one signature"):
        opened(edited(repeat))


def test_a_good_signature_beside_a_bad_one_does_not_help():
    def both(value):
        envelope = value["dsseEnvelope"]
        bad = {"sig": base64.b64encode(b"bad").decode(), "keyid": ""}
        envelope["signatures"] = [bad, envelope["signatures"][0]]

    with pytest.raises(ReceiptError, match="exactly one signature"):
        opened(edited(both))


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/json", "application/vnd.in-toto+json "]
)
def test_another_payload_type_is_refused(kind):
    with pytest.raises(ReceiptError, match="payload is not"):
        opened(edited(lambda value: value["dsseEnvelope"].update(payloadType=kind)))


@pytest.mark.parametrize("kind", ["", MEDIA_TYPE.replace("0.3", "0.2"), MEDIA_TYPE.upper(), None])
def test_another_media_type_is_refused(kind):
    with pytest.raises(ReceiptError, match="the receipt"):
        opened(edited(lambda value: value.update(mediaType=kind)))


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("mediaType"),
        lambda value: value.pop("dsseEnvelope"),
        lambda value: value.pop("verificationMaterial"),
        lambda value: value["verificationMaterial"].pop("publicKey"),
        lambda value: value["verificationMaterial"]["publicKey"].pop("hint"),
        lambda value: value["verificationMaterial"].update(publicKey=[]),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint=7),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint="a" * 63),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint="A" * 64),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint="a" * 64 + "\n"),
        lambda value: value["verificationMaterial"]["publicKey"].update(hint="\x1b[2J"),
        lambda value: value["dsseEnvelope"].pop("payload"),
        lambda value: value["dsseEnvelope"].pop("signatures"),
        lambda value: value["dsseEnvelope"].update(signatures="one"),
        lambda value: value["dsseEnvelope"].update(signatures=[None]),
        lambda value: value["dsseEnvelope"].update(signatures=["one"]),
        lambda value: value["dsseEnvelope"]["signatures"][0].pop("sig"),
        lambda value: value["dsseEnvelope"].update(payload="not base64"),
        lambda value: value["dsseEnvelope"].update(payload="AAA"),
        lambda value: value["dsseEnvelope"].update(payload=None),
        lambda value: value["dsseEnvelope"]["signatures"][0].update(sig=""),
        lambda value: value["dsseEnvelope"]["signatures"][0].update(sig="AAAA"),
    ],
)
def test_a_bundle_of_another_shape_is_refused(change):
    with pytest.raises(ReceiptError):
        opened(edited(change))


def test_a_refusal_quotes_little_of_a_strangers_text():
    kind = "\x1b[2J\u202e\udfff" + "A" * 50_000
    value = json.loads(SEALED) | {"mediaType": kind}
    with pytest.raises(ReceiptError, match="of type") as refused:
        Bundle.parse(json.dumps(value).encode())
    statement = json.loads(write_statement(verdict())) | {"predicateType": kind}
    with pytest.raises(ReceiptError, match="predicate") as also:
        parse_statement(json.dumps(statement).encode())
    for error in (refused, also):
        assert str(error.value).isascii()
        assert "\x1b" not in str(error.value)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["é", "AAA\N{FULLWIDTH EQUALS SIGN}", "\ud800"])
def test_base64_with_characters_beyond_ascii_is_refused(text):
    value = json.loads(SEALED)
    value["dsseEnvelope"]["payload"] = text
    with pytest.raises(ReceiptError):
        opened(json.dumps(value).encode())


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"3", b'"x"', b"\xff", b"[" * 50_000, b'{"a":1,"a":2}']
)
def test_what_is_no_bundle_at_all_is_refused(data):
    with pytest.raises(ReceiptError):
        Bundle.parse(data)


def test_a_member_that_occurs_twice_is_refused_because_readers_would_differ():
    twice = SEALED.replace(b'{"dsseEnvelope":', b'{"dsseEnvelope":{},"dsseEnvelope":', 1)
    with pytest.raises(ReceiptError, match="occurs twice"):
        Bundle.parse(twice)


def test_a_receipt_larger_than_a_ledger_entry_is_neither_made_nor_read():
    with pytest.raises(ReceiptError, match="does not fit"):
        seal(b"x" * MAX_BUNDLE_BYTES, SIGNER)
    with pytest.raises(ReceiptError, match="at most 65535 bytes, not 65536"):
        Bundle.parse(SEALED + b" " * (MAX_BUNDLE_BYTES + 1 - len(SEALED)))
    assert opened(SEALED + b" " * (MAX_BUNDLE_BYTES - len(SEALED))) == PAYLOAD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places(value, path=()):
    """Yield the path of every value inside a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = json.loads(json.dumps(value))
    at = copy
    for step in path[:-1]:
        at = at[step]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return copy


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_whatever_stands_in_a_bundle_only_a_receipt_error_escapes(data):
    value = json.loads(SEALED)
    path = data.draw(st.sampled_from(list(places(value))))
    new = data.draw(JSON.filter(lambda one: not isinstance(one, str) or one.isascii()))
    try:
        payload = opened(json.dumps(replaced(value, path, new)).encode())
    except (ReceiptError, ClearanceRefused):
        return
    assert payload == PAYLOAD


# ---------------------------------------------------------------- statements


@pytest.mark.parametrize("word", Verdict)
def test_a_verdict_says_afterwards_what_it_said_before(word):
    passed = verdict(word, waivers=(), checks={"a.b": Outcome.PASSED})
    for statement in (passed, *([] if word is Verdict.ALLOW else [verdict(word)])):
        assert parse_statement(write_statement(statement)) == statement


def test_a_verdict_that_allows_what_did_not_pass_is_refused():
    with pytest.raises(ReceiptError, match="not all passed"):
        parse_statement(write_statement(verdict(Verdict.ALLOW)))


@pytest.mark.parametrize("count", ["12", 1.5, True, -1, None])
def test_a_count_that_is_none_is_refused(count):
    value = json.loads(write_statement(DERIVATION))
    value["predicate"]["buildDefinition"]["externalParameters"]["rows"] = count
    with pytest.raises(ReceiptError, match="expected shape"):
        parse_statement(canonical_json(value))


def test_a_derivation_says_afterwards_what_it_said_before():
    assert parse_statement(write_statement(DERIVATION)) == DERIVATION


def test_times_are_written_in_utc_to_the_second():
    local = NOW.astimezone(timezone(timedelta(hours=5))).replace(microsecond=9)
    assert parse_statement(write_statement(verdict(issued=local))).issued == NOW
    assert b'"issuedAt":"2026-06-15T12:30:45Z"' in write_statement(verdict(issued=local))


def test_other_people_read_a_verdict_as_an_in_toto_test_result():
    value = json.loads(PAYLOAD)
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    predicate = value["predicate"]
    assert predicate["result"] == "WARNED"
    assert (predicate["passedTests"], predicate["failedTests"]) == (["area.good"], ["area.bad"])
    for word, result in {
        Verdict.ALLOW: "PASSED",
        Verdict.QUARANTINE: "FAILED",
        Verdict.INCONCLUSIVE: "FAILED",
        Verdict.BLOCK: "FAILED",
    }.items():
        assert json.loads(write_statement(verdict(word)))["predicate"]["result"] == result


def test_a_statement_names_the_bytes_of_its_subject(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "b.csv").write_bytes(b"a\n2\n")
    single = Subject.of(take_snapshot(SubjectUri.parse(tmp_path / "a.csv")))
    assert single.sha256 == Digest.of(b"a\n1\n")  # what sha256sum prints for the file
    snapshot = take_snapshot(SubjectUri.parse(tmp_path))
    folder = Subject.of(snapshot)
    assert folder.digest == snapshot.digest
    assert folder.sha256 == Digest.of(snapshot.manifest.ndjson())
    assert folder.dir_hash == snapshot.manifest.dir_hash()


def test_the_worst_outcome_of_a_check_that_was_asked_several_times_counts():
    failed = Check.failed("a.x", [Finding(message="bad")], target="two")
    unknown = Check.unknown("a.x", "too little", target="three")
    passed = Check.passed("a.x", target="one")
    worst = VerdictStatement.worst_outcomes
    assert worst(Report(checks=(passed, failed, unknown))) == {"a.x": Outcome.FAILED}
    assert worst(Report(checks=(unknown, passed))) == {"a.x": Outcome.UNKNOWN}
    assert worst(Report(checks=(passed, passed))) == {"a.x": Outcome.PASSED}


@pytest.mark.parametrize("result", ["PASSED", "FAILED", "ALLOWED", "", None, ["WARNED"]])
def test_a_result_that_contradicts_the_verdict_is_refused(result):
    value = json.loads(PAYLOAD)
    value["predicate"]["result"] = result
    with pytest.raises(ReceiptError, match="contradicts itself"):
        parse_statement(canonical_json(value))


@pytest.mark.parametrize("word", ["allow", "block", "pass", "", None, 1, ["allow"]])
def test_a_verdict_that_contradicts_the_result_is_refused(word):
    value = json.loads(PAYLOAD)
    value["predicate"]["configuration"][0]["annotations"]["verdict"] = word
    with pytest.raises(ReceiptError):
        parse_statement(canonical_json(value))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not an in-toto statement v1"),
        ({"_type": None}, "not an in-toto statement v1"),
        ({"predicateType": "https://slsa.dev/verification_summary/v1"}, "no summary of the"),
        ({"predicateType": "pkg:pypi/sluicegate#approval-v1"}, "no approval of the expected"),
        ({"predicateType": "pkg:pypi/sluicegate#head-v1"}, "no head of the expected shape"),
        ({"predicateType": "pkg:pypi/sluicegate#event-v1"}, "no event of the expected shape"),
        ({"predicateType": "https://in-toto.io/attestation/test-result/v0.2"}, "not one that"),
        ({"predicateType": None}, "not one that sluicegate reads"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "another kind of build"),
        ({"subject": []}, "exactly one subject"),
        ({"subject": [{}, {}]}, "exactly one subject"),
        ({"subject": {}}, "exactly one subject"),
        ({"subject": [{}]}, "does not identify its subject"),
        ({"subject": [None]}, "does not identify its subject"),
        ({"predicate": None}, "no verdict of the expected shape"),
        ({"predicate": []}, "no verdict of the expected shape"),
        ({"predicate": {}}, "no verdict of the expected shape"),
    ],
)
def test_a_statement_about_something_else_is_refused(change, why):
    with pytest.raises(ReceiptError, match=why):
        parse_statement(canonical_json(json.loads(PAYLOAD) | change))


def test_provenance_of_another_kind_of_build_is_no_derivation():
    value = DERIVATION.to_json()
    value["predicate"]["buildDefinition"]["buildType"] = "https://example.org/build/v1"
    with pytest.raises(ReceiptError, match="another kind of build"):
        parse_statement(canonical_json(value))


@pytest.mark.parametrize(
    "digest", ["", "sha256:" + "a" * 64, "A" * 64, "a" * 63, None, 5, ["a" * 64]]
)
@pytest.mark.parametrize("name", ["sha256", "merkleRoot", "dirHash1"])
def test_a_subject_without_a_whole_digest_is_refused(name, digest):
    value = json.loads(PAYLOAD)
    value["subject"][0]["digest"][name] = digest
    with pytest.raises(ReceiptError, match="does not identify its subject"):
        parse_statement(canonical_json(value))


@pytest.mark.parametrize(
    "moment",
    [
        "2026-06-15",
        "2026-06-15T12:30:45",
        "2026-06-15T12:30:45+00:00",
        "2026-13-01T00:00:00Z",
        "",
        None,
        1781526645,
    ],
)
def test_a_time_in_another_form_is_refused(moment):
    value = json.loads(PAYLOAD)
    value["predicate"]["configuration"][0]["annotations"]["issuedAt"] = moment
    with pytest.raises(ReceiptError, match="no verdict of the expected shape"):
        parse_statement(canonical_json(value))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":1e999}']
)
def test_what_is_no_statement_at_all_is_refused(data):
    with pytest.raises(ReceiptError):
        parse_statement(data)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_whatever_stands_in_a_statement_only_a_receipt_error_escapes(data):
    value = data.draw(st.sampled_from([verdict(), DERIVATION])).to_json()
    path = data.draw(st.sampled_from(list(places(value))))
    new = data.draw(JSON | st.just(1e400) | st.sampled_from([*Verdict, "PASSED", "9" * 5000]))
    if path and data.draw(st.booleans()):
        new = ...
    with contextlib.suppress(ReceiptError):
        parse_statement(json.dumps(replaced(value, path, new)).encode())


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_statement(data):
    with pytest.raises(ReceiptError):
        parse_statement(data)


# ---------------------------------------------------------------- keys


def pem_of(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ), key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.fixture
def pair(tmp_path):
    """Return where a new key pair goes."""
    return tmp_path / "keys" / "k.key.pem", tmp_path / "keys" / "k.pub.pem"


def test_a_new_key_pair_signs_and_verifies_and_only_its_owner_may_read_it(pair):
    made = new_key_pair(*pair)
    loaded, public = FileSigner.load(pair[0]), PublicKey.load(pair[1])
    assert made.public_key == loaded.public_key == public
    public.verify(loaded.sign(b"message"), b"message")
    with pytest.raises(ReceiptError, match="not by key"):
        public.verify(loaded.sign(b"message"), b"another message")
    assert stat.S_IMODE(pair[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(pair[0].parent.stat().st_mode) & 0o077 == 0


def test_a_key_under_a_password_opens_with_it_and_with_nothing_else(pair):
    made = new_key_pair(*pair, password=b"hunter2")
    assert b"ENCRYPTED" in pair[0].read_bytes()
    assert FileSigner.load(pair[0], b"hunter2").public_key == made.public_key
    for password in (None, b"", b"hunter3", b"hunter2 ", b"\xff"):
        with pytest.raises(KeyFileError, match="password is wrong") as caught:
            FileSigner.load(pair[0], password)
        assert "hunter" not in str(caught.value)
        assert "SLUICEGATE_KEY_PASSWORD_FILE" in caught.value.next_step


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610, 0o601, 0o777])
def test_a_private_key_that_others_can_touch_is_refused(pair, mode):
    new_key_pair(*pair)
    pair[0].chmod(mode)
    with pytest.raises(KeyFileError, match="can be read by others"):
        FileSigner.load(pair[0])


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_key_that_only_its_owner_can_touch_is_taken(pair, mode):
    new_key_pair(*pair)
    pair[0].chmod(mode)
    FileSigner.load(pair[0])


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "secp256k1", "RSA", "Ed25519"],
)
def test_keys_of_another_kind_are_refused(tmp_path, key):
    private, public = pem_of(key)
    (tmp_path / "k.pem").write_bytes(private)
    (tmp_path / "k.pem").chmod(0o600)
    (tmp_path / "k.pub.pem").write_bytes(public)
    with pytest.raises(KeyFileError, match=r"k\.pem is not an ECDSA P-256 key"):
        FileSigner.load(tmp_path / "k.pem")
    with pytest.raises(KeyFileError, match=r"k\.pub\.pem: .* of another kind"):
        PublicKey.load(tmp_path / "k.pub.pem")


def test_what_is_no_key_file_is_refused(pair, tmp_path):
    new_key_pair(*pair)
    for path, public in ((tmp_path / "missing", True), (tmp_path, True), (pair[0], True)):
        with pytest.raises(KeyFileError):
            PublicKey.load(path) if public else FileSigner.load(path)
    private = tmp_path / "x.pem"
    for content in (b"", b"no key", pair[1].read_bytes(), pair[0].read_bytes()[:-40]):
        private.write_bytes(content)
        private.chmod(0o600)
        with pytest.raises(KeyFileError, match="cannot open the signing key"):
            FileSigner.load(private)
    with pytest.raises(KeyFileError, match="cannot read the signing key") as caught:
        FileSigner.load(tmp_path / "missing")
    assert "SLUICEGATE_SIGNING_KEY" in caught.value.next_step


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", ["file", "dangling link", "folder"])
def test_a_key_is_never_overwritten(pair, which, kind):
    taken = pair[which]
    taken.parent.mkdir()
    if kind == "file":
        taken.write_bytes(b"precious")
    elif kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to("nowhere")
    with pytest.raises(KeyFileError, match="exists"):
        new_key_pair(*pair)
    assert os.listdir(taken.parent) == [taken.name]
    if kind == "file":
        assert taken.read_bytes() == b"precious"


def test_no_representation_of_a_key_shows_a_secret(pair):
    signer = new_key_pair(*pair, password=b"hunter2")
    number = signer._key.private_numbers().private_value
    for text in (repr(signer), str(signer), f"{signer}", repr(signer.public_key), repr([signer])):
        assert str(number) not in text
        assert "hunter2" not in text
        assert "PRIVATE" not in text
    assert signer.public_key.id[:12] in repr(signer)


def test_the_id_of_a_key_is_the_digest_of_its_public_pem_however_it_was_written(pair):
    signer = new_key_pair(*pair)
    pem = pair[1].read_bytes()
    assert signer.public_key.id == Digest.of(pem).hex
    windows = pem.replace(b"\n", b"\r\n")
    assert PublicKey(b"# a comment before\n" + windows) == signer.public_key
    assert PublicKey(pem).id != OTHER.public_key.id


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_signature(signature):
    with pytest.raises(ReceiptError):
        SIGNER.public_key.verify(signature, b"message")
