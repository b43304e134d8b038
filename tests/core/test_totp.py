"""One-time codes: the RFC's vectors, another implementation, and what an attempt comes to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.approving.attempts import Approver, Factor, check_attempt, use_code
from sluicegate.approving.totp import TotpSecret, step_of
from sluicegate.errors import ClearanceRefused, ConfigurationError

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STEP = step_of(NOW.timestamp())

# RFC 6238, appendix B: eight digits there, of which a code of six is the end.
SHA1 = {59: 94287082, 1111111109: 7081804, 1111111111: 14050471, 1234567890: 89005924}
SHA1 |= {2000000000: 69279037, 20000000000: 65353130}
SHA256 = {59: 46119246, 1111111109: 68084774, 1111111111: 67062674, 1234567890: 91819424}
SHA256 |= {2000000000: 90698825, 20000000000: 77737706}
SEEDS = {
    "SHA1": b"12345678901234567890",
    "SHA256": b"12345678901234567890123456789012",
}


@pytest.mark.parametrize(
    ("algorithm", "seconds", "expected"),
    [("SHA1", *item) for item in SHA1.items()] + [("SHA256", *item) for item in SHA256.items()],
)
def test_vectors_of_the_rfc(algorithm, seconds, expected):
    secret = TotpSecret(id="x", secret=SEEDS[algorithm], algorithm=algorithm)
    assert secret.code(step_of(seconds)) == f"{expected % 10**6:06d}"


@given(
    st.binary(min_size=20, max_size=20), st.integers(0, 2**37), st.sampled_from(["SHA1", "SHA256"])
)
def test_agrees_with_another_implementation(key, seconds, algorithm):
    secret = TotpSecret(id="x", secret=key, algorithm=algorithm)
    other = pyotp.parse_uri(secret.uri("ana@example.org"))
    assert other.at(seconds) == secret.code(step_of(seconds))


def test_the_uri_is_what_apps_read():
    secret = TotpSecret.new()
    uri = urlsplit(secret.uri("ana b@example.org"))
    assert (uri.scheme, uri.netloc, uri.path) == (
        "otpauth",
        "totp",
        "/sluicegate:ana%20b%40example.org",
    )
    query = parse_qs(uri.query)
    assert len(query["secret"][0]) == 32, "160 bits in base 32"
    assert query["algorithm"] == ["SHA1"]
    assert query["digits"] == ["6"]
    assert query["period"] == ["30"]
    assert pyotp.parse_uri(secret.uri("ana")).verify(secret.code(STEP), for_time=NOW)


def test_secrets_are_not_shown():
    secret = TotpSecret.new()
    assert str(secret.secret) not in repr(secret)
    assert str(secret.secret) not in repr(Approver(name="ana", totp=secret))
    assert TotpSecret.new().secret != secret.secret


def test_poor_secrets_are_refused():
    with pytest.raises(ConfigurationError, match="no TOTP algorithm"):
        TotpSecret.new("MD5")
    with pytest.raises(ConfigurationError, match="128 bits"):
        TotpSecret(id="x", secret=bytes(15))


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_one_step_either_way_is_accepted(offset):
    secret = TotpSecret.new()
    assert secret.match(secret.code(STEP + offset), STEP) == STEP + offset


@pytest.mark.parametrize("offset", [-2, 2, -2880, 2880])
def test_other_steps_are_not(offset):
    secret = TotpSecret(id="x", secret=SEEDS["SHA1"])
    assert secret.match(secret.code(STEP + offset), STEP) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "٠١٢٣٤٥", "-12345", "\ud800"])
def test_other_texts_are_no_codes(code):
    secret = TotpSecret(id="x", secret=SEEDS["SHA1"])
    assert secret.match(code, STEP) is None


def test_blanks_in_a_code_do_not_matter():
    secret = TotpSecret.new()
    code = secret.code(STEP)
    assert secret.match(f" {code[:3]} {code[3:]}\n", STEP) == STEP


def ana(**state) -> Approver:
    return Approver(name="ana", totp=TotpSecret(id="x", secret=SEEDS["SHA1"]), **state)


def attempt(approver: Approver, code: str, now: datetime = NOW):
    check_attempt(approver, now)
    return use_code(approver, code, now)


def test_a_code_is_good_once():
    code = ana().totp.code(STEP)
    after, factor = attempt(ana(), code)
    assert isinstance(factor, Factor)
    assert after.last_step == STEP
    _, answer = attempt(after, code)
    assert answer == "the code of ana was used before"


def test_the_code_before_a_used_one_is_not_good_any_more():
    after, _ = attempt(ana(), ana().totp.code(STEP))
    assert attempt(after, ana().totp.code(STEP - 1))[1] == "the code of ana was used before"
    assert isinstance(attempt(after, ana().totp.code(STEP + 1))[1], Factor)


def test_the_same_code_has_the_same_digest_and_another_has_another():
    one = attempt(ana(), ana().totp.code(STEP))[1]
    again = attempt(ana(), ana().totp.code(STEP), NOW + timedelta(seconds=30))[1]
    other = attempt(ana(), ana().totp.code(STEP + 1))[1]
    bo = attempt(replace(ana(), name="bo"), ana().totp.code(STEP))[1]
    assert one == again
    assert len({one.digest, other.digest, bo.digest}) == 3


def test_five_wrong_codes_close_the_door_for_five_minutes():
    approver = ana()
    good = approver.totp.code(STEP)
    wrong = f"{(int(good) + 1) % 10**6:06d}"
    for _ in range(5):
        approver, answer = attempt(approver, wrong)
        assert answer == "the code of ana is wrong"
    with pytest.raises(ClearanceRefused, match="5 wrong attempts"):
        attempt(approver, good)
    with pytest.raises(ClearanceRefused, match="5 wrong attempts"):
        check_attempt(approver, NOW + timedelta(seconds=299))
    later = NOW + timedelta(seconds=300)
    after, factor = attempt(approver, approver.totp.code(STEP + 10), later)
    assert isinstance(factor, Factor)
    assert after.in_a_row == 0


def test_four_wrong_codes_do_not():
    approver = ana()
    for _ in range(4):
        approver, _ = attempt(approver, "000000x")
    assert isinstance(attempt(approver, approver.totp.code(STEP))[1], Factor)


def test_a_right_code_does_not_forget_the_wrong_ones_before():
    approver = ana()
    for _ in range(4):
        approver, _ = attempt(approver, "wrong")
    approver, _ = attempt(approver, approver.totp.code(STEP))
    approver, _ = attempt(approver, "wrong")
    with pytest.raises(ClearanceRefused, match="5 wrong"):
        check_attempt(approver, NOW)


def test_patient_guessing_ends_after_a_hundred():
    approver, now = ana(), NOW
    for _ in range(100):
        approver, _ = attempt(approver, "wrong", now)
        now += timedelta(minutes=2)
    with pytest.raises(ClearanceRefused, match="locked after 100"):
        check_attempt(approver, now + timedelta(days=30))


@pytest.mark.parametrize("back", [timedelta(minutes=2), timedelta(days=400)])
def test_a_clock_that_was_set_back_decides_nothing(back):
    approver, _ = attempt(ana(), "wrong")
    with pytest.raises(ClearanceRefused, match="set back"):
        check_attempt(approver, NOW - back)
    with pytest.raises(ClearanceRefused, match="set back"):
        check_attempt(ana(last_step=STEP + 4), NOW)


def test_clocks_may_differ_a_little():
    approver, _ = attempt(ana(), ana().totp.code(STEP + 1))
    check_attempt(approver, NOW - timedelta(seconds=45))


def test_state_survives_as_json():
    approver = ana(last_step=7, seen=9, wrong=(1, 2), in_a_row=2, answered={"a": 3})
    assert Approver.from_json(approver.to_json()) == approver
