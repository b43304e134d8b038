"""Patterns of policies: what they match, and the parts into which they cut all texts."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.iam import parse_policy
from sluicegate.stages.encryption.iam.glob import Glob, cells, escaped, literal
from sluicegate.stages.encryption.iam.operators import as_date, parse_operator, pattern_of
from sluicegate.stages.encryption.iam.variables import resolve, variables_of

PATTERNS = st.lists(st.text("abC*?[", max_size=5), min_size=1, max_size=4)


def expression(pattern, *, fold=False):
    """Return the regular expression of a pattern: only ``*`` and ``?`` are wild."""
    parts = [{"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern]
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if fold else 0))


@given(st.text("abC*?[", max_size=6), st.text("abc[*C\n", max_size=8), st.booleans())
def test_a_pattern_matches_what_its_regular_expression_matches(pattern, text, fold):
    expected = expression(pattern, fold=fold).fullmatch(text) is not None
    assert Glob.of(pattern, fold=fold).matches(text) is expected


@given(st.text("ab*?", max_size=5), st.text("ab*?", max_size=5))
def test_escaped_text_stands_for_itself(text, other):
    assert Glob.of(escaped(text)).matches(other) is (text == other)
    assert literal(escaped(text)).matches(other) is (text == other)


@settings(deadline=None, max_examples=60)
@given(PATTERNS)
def test_the_cells_are_all_combinations_that_texts_have(patterns):
    expressions = [expression(one) for one in patterns]

    def signature(text):
        return sum(
            1 << index for index, one in enumerate(expressions) if one.fullmatch(text) is not None
        )

    parts = cells([Glob.of(one) for one in patterns])
    found = parts.examples
    assert parts.complete
    assert all(signature(example) == combination for combination, example in found.items())
    short = itertools.chain.from_iterable(
        itertools.product("abC[z", repeat=length) for length in range(6)
    )
    assert {signature("".join(chars)) for chars in short} <= set(found)


def test_the_cells_of_a_domain_stay_in_it():
    found = cells([Glob.of("*/secret/*")], Glob.of("arn:aws:s3:::b/?*")).examples
    assert set(found) == {0, 1}
    assert found[1] == "arn:aws:s3:::b//secret/" or found[1].endswith("/secret/")
    assert all(re.fullmatch(r"arn:aws:s3:::b/.+", example) for example in found.values())


def test_patterns_that_cut_too_fine_are_said_to():
    letters = "abcdefghijklmnopqrstuvwx"
    fine = [Glob.of(f"*{one}*{two}*{one}*") for one, two in itertools.pairwise(letters)]
    parts = cells(fine)
    assert not parts.complete
    assert parts.examples[0] == ""


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/a", True),
        ("arn:aws:iam::*:role/*", "arn:aws:iam::1:x:role/a", False),  # a wildcard ends at a colon
        ("arn:aws:sns:*:1:topic:*", "arn:aws:sns:eu:1:topic:a:b", True),
        ("arn:aws:iam::111122223333:*", "arn:aws:iam::111122223333:user/a:b", True),
        ("arn:*", "arn:aws:iam::1:root", False),  # six parts, or it is no ARN
    ],
)
def test_wildcards_of_arn_operators_stay_within_their_part(pattern, text, expected):
    assert Glob.arn(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("operator", "values", "absent"),
    [
        ("StringEquals", ["a"], False),
        ("StringNotEquals", ["a"], True),
        ("StringEqualsIfExists", ["a"], True),
        ("ForAllValues:StringEquals", ["a"], True),
        ("ForAnyValue:StringEquals", ["a"], False),
        ("ForAnyValue:StringNotEquals", ["a"], False),
        ("ArnNotLike", ["a"], True),
        ("NumericLessThan", ["1.2"], False),
        ("numericlessthanifexists", ["1.2"], True),
        ("NotIpAddress", ["10.0.0.0/8"], True),
        ("Null", ["true"], True),
        ("Null", ["false"], False),
        ("Bool", ["false"], False),
    ],
)
def test_what_an_operator_says_of_an_absent_key(operator, values, absent):
    parsed = parse_operator(operator)
    assert parsed.holds(None, [pattern_of(parsed, value) for value in values]) is absent


@pytest.mark.parametrize(
    ("operator", "wanted", "holding", "not_holding"),
    [
        ("StringEquals", ["a", "b"], ["b"], ["A"]),
        ("StringEqualsIgnoreCase", ["aB"], ["Ab"], ["a"]),
        ("StringLike", ["a*[x]"], ["a123[x]"], ["ax"]),
        ("StringNotLike", ["a*", "b*"], ["c"], ["b1"]),
        ("NumericLessThan", ["1.2"], ["1.1"], ["1.20"]),
        ("NumericGreaterThanEquals", ["1.2"], ["1.2"], ["1.19"]),
        ("DateGreaterThan", ["2026-01-01T00:00:00Z"], ["2026-01-01T00:00:01Z"], ["1767225600"]),
        ("Bool", ["False"], ["false"], ["true"]),
        ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], ["2001:db8::1"], ["11.0.0.0"]),
        ("NotIpAddress", ["10.0.0.0/8"], ["2001:db8::1"], ["10.255.255.255"]),
        ("BinaryEquals", ["QQ=="], ["QQ=="], ["qq=="]),
    ],
)
def test_what_an_operator_compares(operator, wanted, holding, not_holding):
    parsed = parse_operator(operator)
    patterns = [pattern_of(parsed, value) for value in wanted]
    assert parsed.holds(holding, patterns)
    assert not parsed.holds(not_holding, patterns)


def test_set_operators_ask_every_or_some_value():
    every, some = (
        parse_operator(f"{name}:StringEquals") for name in ("ForAllValues", "ForAnyValue")
    )
    wanted = [pattern_of(every, "a"), pattern_of(every, "b")]
    assert every.holds(["a", "b"], wanted)
    assert not every.holds(["a", "c"], wanted)
    assert some.holds(["c", "b"], wanted)
    assert not some.holds(["c"], wanted)


@pytest.mark.parametrize(
    "name", ["StringMatches", "NullIfExists", "ForAllValues:Null", "", "Bools"]
)
def test_there_is_no_such_operator(name):
    assert parse_operator(name) is None


def test_variables_and_their_defaults_and_escapes():
    text = "home/${aws:username}/${aws:PrincipalTag/team, 'none'}/${*}"
    assert variables_of(text) == {"aws:username", "aws:principaltag/team"}
    assert resolve(text, {}) is None
    resolved = resolve(text, {"aws:username": ("a*b",)})
    assert Glob.of(resolved).matches("home/a*b/none/*")
    assert not Glob.of(resolved).matches("home/axb/none/x")


def test_dates_may_be_seconds_and_lack_a_zone():
    assert as_date("1970-01-01T00:01:00") == as_date("60") == as_date("1970-01-01T01:01:00+01:00")
    assert as_date("yesterday") is None


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "the document: expected an object"),
        ('{"Statement": []}', "Statement: expected"),
        ('{"Statement": {"Effect": "deny"}}', r"Statement\[0\].Effect"),
        ('{"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}', "neither"),
        (
            (
                '{"Statement": {"Effect": "Deny", "Principal": "*", "NotPrincipal": "*",'
                ' "Action": "s3:*", "Resource": "*"}}'
            ),
            "both",
        ),
        (
            (
                '{"Statement": {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::1:role/*"},'
                ' "Action": "s3:*", "Resource": "*"}}'
            ),
            "only a lone",
        ),
        (
            (
                '{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*",'
                ' "Resource": "*", "Conditions": {}}}'
            ),
            "unknown element 'Conditions'",
        ),
        (
            (
                '{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*",'
                ' "Resource": "*", "Condition": {"Boolean": {"a": "b"}}}}'
            ),
            "a condition operator",
        ),
        (
            '{"Statement": {"Effect": "Deny", "Principal": "*", "Action": [], "Resource": "*"}}',
            "at least one value",
        ),
        (
            (
                '{"Statement": {"Effect": "Deny", "Effect": "Allow", "Principal": "*",'
                ' "Action": "s3:*", "Resource": "*"}}'
            ),
            "twice",
        ),
    ],
)
def test_what_is_no_policy_is_refused_with_its_place(document, says):
    with pytest.raises(ConfigurationError, match=says):
        parse_policy(document)
