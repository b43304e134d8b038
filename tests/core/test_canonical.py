"""Canonical JSON and digests: one value, one form; and a parser that two readers agree with."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest, canonical_json, parse_json, sha256_hex
from sluicegate.errors import SluicegateError

BIGGEST = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers(-BIGGEST, BIGGEST) | st.floats(-BIGGEST, BIGGEST) | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


# ---------------------------------------------------------------- writing


@settings(deadline=None, max_examples=80)
@given(VALUES)
def test_what_is_written_parses_to_the_same_value(value):
    assert parse_json(canonical_json(value)) == value


@settings(deadline=None, max_examples=80)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_comes_back_as_the_same_double(value):
    # Beyond 2**53 the standard may write a double as whole digits, which Python reads as int.
    assert float(parse_json(canonical_json(value))) == value


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(TEXT, SCALARS, max_size=6), st.randoms())
def test_the_order_in_which_a_mapping_was_filled_leaves_no_trace(value, random):
    names = list(value)
    random.shuffle(names)
    assert canonical_json({name: value[name] for name in names}) == canonical_json(value)


def test_the_example_of_the_standard_comes_out_byte_for_byte():
    # RFC 8785, section 3.2.2 and 3.2.4.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(value) == expected.encode()


def test_keys_are_sorted_by_utf16_code_units_as_the_standard_says():
    # RFC 8785, section 3.2.3: an emoji (a surrogate pair) sorts before U+FB33.
    written = canonical_json({"\ufb33": 1, "\U0001f600": 2, "1": 3}).decode()
    assert written == '{"1":3,"\U0001f600":2,"\ufb33":1}'


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**60),
        {1: "a key that is a number"},
        {None: 1},
        b"bytes",
        {1, 2},
        "\ud800",
        {"\udfff": 1},
    ],
    ids=repr,
)
def test_a_value_without_a_canonical_form_is_refused(value):
    with pytest.raises(SluicegateError, match="no canonical JSON form"):
        canonical_json({"inside": [value]})


def test_a_value_that_is_nested_too_deeply_is_refused_like_any_other():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SluicegateError, match="no canonical JSON form"):
        canonical_json(value)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "a": 1}', "occurs twice"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "occurs twice"),
        ('{"a": 1, "\\u0061": 2}', "occurs twice"),
        ('[{"x": 0}, {"y": 1, "z": 2, "y": 3}]', "occurs twice"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "beyond the range"),
        ("-1e400", "beyond the range"),
        ('{"a": 1', "line 1, column 8"),
        ("[1,\n2,\n x]", "line 3, column 2"),
        ("", "line 1, column 1"),
        ("\ufeff{}", "not JSON"),
        ("{} {}", "Extra data"),
        ("{'a': 1}", "not JSON"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(text, why):
    for form in (text, text.encode()):
        with pytest.raises(ValueError, match=why):
            parse_json(form)


def test_bytes_that_are_not_utf8_are_refused_with_their_position():
    with pytest.raises(ValueError, match="not UTF-8 at byte 2"):
        parse_json(b'["\xff"]')


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_a_refusal_and_not_a_crash(opening):
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(opening * 100_000)


def test_an_absurdly_long_number_is_a_refusal_and_not_a_stall():
    with pytest.raises(ValueError, match="digits"):
        parse_json("9" * 1_000_000)


def test_the_message_about_broken_json_does_not_repeat_the_data():
    with pytest.raises(ValueError, match="not JSON") as caught:
        parse_json('{"password": "hunter2" oops}')
    assert "hunter2" not in str(caught.value)


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_arbitrary_bytes_give_a_value_or_a_value_error(data):
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert value == json.loads(data)


# ---------------------------------------------------------------- digests


def test_a_digest_survives_being_written_and_read():
    digest = Digest.of(b"data")
    assert digest.hex == hashlib.sha256(b"data").hexdigest() == sha256_hex(b"data")
    assert Digest.parse(str(digest)) == digest
    assert str(digest) == f"sha256:{digest.hex}"
    assert digest.hex.startswith(digest.short)
    assert len(digest.short) == 12


def test_the_digest_of_a_value_is_that_of_its_canonical_form():
    assert Digest.of_json({"b": 1.0, "a": 2}) == Digest.of(b'{"a":2,"b":1}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 63,
        "a" * 65,
        "A" * 64,
        "g" * 64,
        "a" * 64 + "\n",
        " " + "a" * 63,
        "\N{ARABIC-INDIC DIGIT ONE}" * 64,
    ],
)
def test_what_is_no_sha256_in_lower_case_hexadecimal_is_no_digest(text):
    with pytest.raises(ValueError, match="64 lower-case"):
        Digest(text)
    with pytest.raises(ValueError, match="64"):
        Digest.parse(f"sha256:{text}")


@pytest.mark.parametrize("text", ["a" * 64, "sha512:" + "a" * 64, "SHA256:" + "a" * 64, ":", ""])
def test_another_algorithm_is_never_taken_for_sha256(text):
    with pytest.raises(ValueError, match="written sha256:"):
        Digest.parse(text)


def test_a_digest_is_made_of_text_only():
    with pytest.raises(ValueError, match="64 lower-case"):
        Digest(b"a" * 64)  # type: ignore[arg-type]
