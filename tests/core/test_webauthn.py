"""Security keys: real registrations and assertions, and every way to bend one."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.approving import security_key
from sluicegate.approving.attempts import Approver, Factor, use_assertion
from sluicegate.approving.webauthn import (
    WebAuthnCredential,
    assertion_options,
    challenge_of,
    register,
    registration_options,
    verify_assertion,
)
from sluicegate.canonical import Digest, canonical_json, parse_json
from sluicegate.errors import ClearanceRefused, ConfigurationError
from tests.core.authenticator import ATTESTED, PRESENT, SoftClient, SoftKey, b64url, unb64url

RP, ORIGIN = "approvals.example.org", "https://approvals.example.org"
CHALLENGE = bytes(range(32))
QUESTION = {"binding": "ab" * 32, "nonce": "1"}


def enrolled(key: SoftKey) -> WebAuthnCredential:
    options = registration_options("ana", rp_id=RP, challenge=CHALLENGE)
    return register(key.create(options, ORIGIN), challenge=CHALLENGE, rp_id=RP, origin=ORIGIN)


def asked(credential: WebAuthnCredential, question=QUESTION) -> dict:
    return assertion_options([credential], question=question)


@pytest.mark.parametrize("algorithm", [-7, -8])
def test_a_key_registers_and_answers(algorithm):
    key = SoftKey(algorithm=algorithm)
    credential = enrolled(key)
    assert credential.verified
    assert WebAuthnCredential.from_json(credential.to_json()) == credential
    options = asked(credential)
    assert unb64url(options["challenge"]) == challenge_of(QUESTION)
    assert options["allowCredentials"] == [{"type": "public-key", "id": b64url(key.id)}]
    found = verify_assertion(key.get(options, ORIGIN), [credential], question=QUESTION)
    assert found.credential.sign_count == credential.sign_count + 1


def test_what_is_kept_can_be_verified_by_others():
    key = SoftKey()
    credential = enrolled(key)
    answer = key.get(asked(credential), ORIGIN)
    document = parse_json(verify_assertion(answer, [credential], question=QUESTION).document)
    client = base64.b64decode(document["clientDataJSON"])
    challenge = hashlib.sha256(canonical_json(document["question"])).digest()
    assert unb64url(json.loads(client)["challenge"]) == challenge
    signed = base64.b64decode(document["authenticatorData"]) + hashlib.sha256(client).digest()
    key.key.public_key().verify(
        base64.b64decode(document["signature"]), signed, ec.ECDSA(hashes.SHA256())
    )


def test_a_registration_must_be_for_this_page_and_challenge():
    options = registration_options("ana", rp_id=RP, challenge=CHALLENGE)
    given_out = {"challenge": CHALLENGE, "rp_id": RP, "origin": ORIGIN}
    for answer, changed in [
        (SoftKey().create(options, "https://evil.example.org"), {}),
        (SoftKey().create(options, ORIGIN), {"challenge": bytes(32)}),
        (SoftKey().create(options, ORIGIN), {"rp_id": "example.org"}),
        (SoftKey().create(options, ORIGIN, kind="webauthn.get"), {}),
        (SoftKey(algorithm=-257).create(options, ORIGIN), {}),
        ({}, {}),
        ([], {}),
        ({"id": "x"}, {}),
    ]:
        with pytest.raises(ClearanceRefused):
            register(answer, **(given_out | changed))


def test_an_answer_to_another_question_is_refused():
    key = SoftKey()
    credential = enrolled(key)
    answer = key.get(asked(credential), ORIGIN)
    with pytest.raises(ClearanceRefused, match="Wrong challenge"):
        verify_assertion(answer, [credential], question=QUESTION | {"nonce": "2"})


@pytest.mark.parametrize(
    ("bend", "why"),
    [
        ({"origin": "https://evil.example.org"}, "origin"),
        ({"kind": "webauthn.create"}, "type"),
        ({"rp_id": "example.org"}, "RP ID"),
        ({"flags": 0}, "Present"),
        ({"flags": PRESENT}, "Verified|verified"),
        ({"crossOrigin": True}, "somebody else"),
        ({"crossOrigin": "no"}, "somebody else"),
    ],
)
def test_other_circumstances_are_refused(bend, why):
    key = SoftKey()
    credential = enrolled(key)
    origin = bend.pop("origin", ORIGIN)
    with pytest.raises(ClearanceRefused, match=why):
        verify_assertion(
            key.get(asked(credential), origin, **bend), [credential], question=QUESTION
        )


def test_a_key_without_a_pin_needs_none():
    key = SoftKey(verifies=False)
    credential = enrolled(key)
    assert not credential.verified
    verify_assertion(key.get(asked(credential), ORIGIN), [credential], question=QUESTION)


def test_another_key_is_refused():
    key, other = SoftKey(), SoftKey()
    credential = enrolled(key)
    with pytest.raises(ClearanceRefused, match="no security key of this approver"):
        verify_assertion(other.get(asked(credential), ORIGIN), [credential], question=QUESTION)
    other.id = key.id
    with pytest.raises(ClearanceRefused, match="signature"):
        verify_assertion(other.get(asked(credential), ORIGIN), [credential], question=QUESTION)


def test_a_counter_that_does_not_grow_is_refused():
    key = SoftKey()
    credential = enrolled(key)
    answer = key.get(asked(credential), ORIGIN)
    moved = verify_assertion(answer, [credential], question=QUESTION).credential
    with pytest.raises(ClearanceRefused, match="counter"):
        verify_assertion(answer, [moved], question=QUESTION)
    key.count = -1
    with pytest.raises(ClearanceRefused, match="counter"):  # falls to 0, as a copy's might
        verify_assertion(key.get(asked(credential), ORIGIN), [moved], question=QUESTION)


def test_keys_without_a_counter_are_taken():
    key = SoftKey(counts=False)
    credential = enrolled(key)
    for _ in range(2):
        answer = key.get(asked(credential), ORIGIN)
        verify_assertion(answer, [credential], question=QUESTION)


@given(data=st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_bent_answer_is_refused_and_never_an_error(data):
    key = SoftKey()
    credential = enrolled(key)
    answer = key.get(asked(credential), ORIGIN)
    part = data.draw(st.sampled_from(["clientDataJSON", "authenticatorData", "signature"]))
    raw = bytearray(unb64url(answer["response"][part]))
    match data.draw(st.sampled_from(["flip", "cut", "add", "other", "drop"])):
        case "flip":
            raw[data.draw(st.integers(0, 10_000)) % len(raw)] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del raw[data.draw(st.integers(0, 10_000)) % len(raw) :]
        case "add":
            raw += data.draw(st.binary(min_size=1, max_size=9))
        case "other":
            answer["response"][part] = data.draw(
                st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()))
            )
            raw = None
        case "drop":
            del answer["response"][part]
            raw = None
    if raw is not None:
        answer["response"][part] = b64url(bytes(raw))
    with pytest.raises(ClearanceRefused):
        verify_assertion(answer, [credential], question=QUESTION)


@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature", "userHandle"])
@pytest.mark.parametrize("value", [10**11, [1], {"length": 10**12}, True])
def test_a_number_in_place_of_text_takes_no_memory(part, value):
    # The library turns 10**11 into that many zero bytes.
    key = SoftKey()
    credential = enrolled(key)
    answer = key.get(asked(credential), ORIGIN)
    answer["response"][part] = value
    with pytest.raises(ClearanceRefused, match="Base64url"):
        verify_assertion(answer, [credential], question=QUESTION)


@pytest.mark.parametrize("where", ["id", "rawId"])
def test_a_number_in_place_of_an_id_takes_no_memory(where):
    key = SoftKey()
    credential = enrolled(key)
    answer = {**key.get(asked(credential), ORIGIN), where: 10**11}
    with pytest.raises(ClearanceRefused, match="Base64url"):
        verify_assertion(answer, [credential], question=QUESTION)


def test_a_number_inside_of_an_attestation_takes_no_memory():
    from fido2 import cbor

    hostile = cbor.encode({"fmt": "none", "authData": 1 << 40, "attStmt": {}})
    options = registration_options("ada", rp_id=RP, challenge=CHALLENGE)
    response = SoftKey().create(options, ORIGIN)
    response["response"]["attestationObject"] = b64url(hostile)
    with pytest.raises(ClearanceRefused, match="malformed"):
        register(response, challenge=CHALLENGE, rp_id=RP, origin=ORIGIN)


def test_what_is_too_large_is_not_parsed():
    credential = enrolled(SoftKey())
    with pytest.raises(ClearanceRefused, match="no JSON object"):
        verify_assertion({"id": 10**18}, [credential], question=QUESTION)
    with pytest.raises(ClearanceRefused, match="too large"):
        verify_assertion({"id": "x" * (1 << 17)}, [credential], question=QUESTION)


def test_credentials_are_of_one_relying_party():
    one = enrolled(SoftKey())
    with pytest.raises(ConfigurationError):
        assertion_options([one, replace(one, rp_id="other.example.org")], question=QUESTION)
    with pytest.raises(ConfigurationError):
        assertion_options([], question=QUESTION)


def test_a_question_is_answered_once_even_without_a_counter():
    key = SoftKey(counts=False)
    now = datetime(2030, 1, 1, tzinfo=UTC)
    ana = Approver(name="ana", keys=(enrolled(key),))
    answer = key.get(asked(ana.keys[0]), ORIGIN)
    after, factor = use_assertion(ana, answer, QUESTION, now)
    assert isinstance(factor, Factor)
    assert factor.digest == Digest.of(factor.document)
    again = key.get(asked(ana.keys[0]), ORIGIN)
    for one in (answer, again):
        assert use_assertion(after, one, QUESTION, now)[1] == "this request was answered before"
    assert Approver.from_json(after.to_json()) == after


def test_a_key_in_a_terminal():
    client = SoftClient()
    credential = security_key.enrol("ana", client)
    answer = security_key.answer(client, asked(credential))
    verify_assertion(answer, [credential], question=QUESTION)


def test_no_key_is_plugged_in():
    try:
        from fido2.hid import CtapHidDevice

        found = list(CtapHidDevice.list_devices())
    except OSError:
        found = []
    if found:
        pytest.skip("a security key is plugged in")
    with pytest.raises(ConfigurationError, match="security keys"):
        security_key.open_key(ORIGIN, say=print, ask_pin=str)


def test_flags_of_the_soft_key_are_those_of_the_specification():
    assert (PRESENT, ATTESTED) == (1, 64)
