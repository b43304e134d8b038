"""Bucket policies: the evaluator against an independent oracle, and the oracle against hand."""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.iam import (
    Exposure,
    bucket_exposure,
    outside_access,
    parse_policy,
)
from tests.core.policy_grid import (
    SSE,
    SSE_C,
    SSE_KEY,
    Ask,
    Grid,
    Label,
    Puts,
    find,
    label,
    read_request,
    replays,
)
from tests.core.policy_idioms import (
    BOB,
    BOTH,
    BUCKET,
    CORNERS,
    HTTP,
    IDIOMS,
    KEY,
    LOOK_ALIKES,
    OBJECTS,
    OTHER,
    OWNER,
    ROLE,
    B,
    allow,
    no_http,
    no_plain_put,
    policy,
    say,
)
from tests.core.policy_oracle import Request, holds, succeeds
from tests.core.policy_zoo import disguised, policies, random_policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KNOWN = [
    pytest.param(known, owner, id=f"{known.name}-{owner or 'any owner'}")
    for known in (*IDIOMS, *LOOK_ALIKES, *CORNERS)
    for owner in (OWNER, None)
]


def ask(document, owner=OWNER, **rest):
    parsed = None if document is None else parse_policy(document)
    return bucket_exposure(parsed, bucket=BUCKET, owner=owner, now=NOW, **rest)


def judge(document, question, owner=OWNER, **rest):
    return label(document, question, bucket=BUCKET, owner=owner, now=NOW, **rest)


def letters(answers):
    exposures = [getattr(answers, question).exposure for question in Ask]
    return "".join(str(exposure)[0].upper() for exposure in exposures)


def disagreements(documents, tally):
    """Yield what is wrong with the evaluator's answers; count them all."""
    for document, owner in documents:
        answers = ask(document, owner)
        for question in Ask:
            answer = getattr(answers, question)
            right = judge(document, question, owner)
            tally[right, answer.exposure] += 1
            case = f"{question}, owner {owner}: {json.dumps(document)}"
            if answer.exposure is Exposure.OPEN:
                request = read_request(answer.counterexample)
                why = replays(document, question, request, bucket=BUCKET, owner=owner, now=NOW)
                if why:
                    yield f"counterexample is {why}: {request} of {case}"
                elif right is Label.SOUND:
                    yield f"the oracle overlooked {request} of {case}"
            elif answer.exposure is Exposure.REFUSED and right is Label.HOLE:
                hole = find(document, question, bucket=BUCKET, owner=owner, now=NOW, strict=True)
                yield f"{hole} gets through {case}"


def check_random(seed, count):
    rng = random.Random(seed)
    documents = [(random_policy(rng), rng.choice([OWNER, None])) for _ in range(count)]
    tally = Counter()
    assert list(disagreements(documents, tally)) == []
    sound = sum(number for (right, _), number in tally.items() if right is Label.SOUND)
    false_alarms = tally[Label.SOUND, Exposure.OPEN]
    given_up = tally[Label.SOUND, Exposure.UNKNOWN]
    assert 0.3 * 3 * count < sound < 0.75 * 3 * count
    assert sum(n for (right, _), n in tally.items() if right is Label.DEBATABLE) < 0.1 * 3 * count
    assert false_alarms == 0
    assert given_up <= 0.02 * sound


# --- The evaluator ------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "owner"), KNOWN)
def test_known_policies_get_the_right_answers(known, owner):
    answers = ask(known.policy, owner)
    assert letters(answers) == known.answers, known.why
    for question in Ask:
        answer = getattr(answers, question)
        assert (answer.counterexample is not None) == (answer.exposure is Exposure.OPEN)
        assert bool(answer.reason) == (answer.exposure is Exposure.UNKNOWN)
        if answer.counterexample is not None:
            json.dumps(answer.counterexample)
            request = read_request(answer.counterexample)
            assert not replays(known.policy, question, request, bucket=BUCKET, owner=owner, now=NOW)


@pytest.mark.parametrize(
    ("further", "owner", "expected"),
    [
        ((), OWNER, "RRR"),
        ((), None, "OOO"),
        ((), OTHER, "OOO"),
        ((allow(),), OWNER, "OOO"),
        ((allow(who="*", do="s3:GetObject", on=OBJECTS),), OWNER, "OOR"),
        ((allow(who={"AWS": ROLE}),), OWNER, "RRR"),
    ],
)
def test_a_deny_for_the_account_of_the_bucket(further, owner, expected):
    document = policy(say(who={"AWS": OWNER}), *further)
    right = {Label.HOLE: "O", Label.SOUND: "R", Label.DEBATABLE: "D"}
    assert "".join(right[judge(document, question, owner)] for question in Ask) == expected
    assert letters(ask(document, owner)) == expected


@pytest.mark.slow
def test_random_policies():
    check_random(seed=20261, count=70)


@pytest.mark.slow
def test_a_thousand_random_policies():
    check_random(seed=20262, count=1000)


SLOW_EXAMPLES = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@SLOW_EXAMPLES
@given(policies(), st.sampled_from([OWNER, None]))
@pytest.mark.slow
def test_no_policy_with_a_hole_is_refused(document, owner):
    assert list(disagreements([(document, owner)], Counter())) == []


@SLOW_EXAMPLES
@given(policies(), policies())
def test_a_further_deny_opens_nothing(document, other):
    before = letters(ask(document))
    statements = [
        statement
        for one in (document, other)
        for statement in (
            one["Statement"] if isinstance(one["Statement"], list) else [one["Statement"]]
        )
        if one is document or statement["Effect"] == "Deny"
    ]
    after = letters(ask(document | {"Statement": statements}))
    assert all(new != "O" for old, new in zip(before, after, strict=True) if old == "R")


@SLOW_EXAMPLES
@given(policies(), st.randoms(use_true_random=False))
def test_another_spelling_changes_nothing(document, rng):
    if not isinstance(document["Statement"], list) or "Version" not in document:
        return
    other = disguised(rng, copy.deepcopy(document))
    if "Version" in other or "${" not in json.dumps(document):
        assert letters(ask(other)) == letters(ask(document))


def test_the_same_policy_gets_the_same_counterexample():
    rng = random.Random(5)
    for _ in range(5):
        document = random_policy(rng)
        assert ask(document) == ask(copy.deepcopy(document)) == ask(json.dumps(document))


def test_many_principals_take_seconds():
    accounts = [f"{number:012d}" for number in range(200)]
    start = time.process_time()
    assert letters(ask(policy(no_http(who={"AWS": accounts})))) == "OOO"
    assert time.process_time() - start < 4


def test_what_is_too_much_to_try_is_unknown():
    spared = [no_http(NotResource=f"{B}/*a{number}*b*") for number in range(12)]
    answer = ask(policy(*spared)).plain_http
    assert answer.exposure is not Exposure.REFUSED  # All of "a0b", "a1b" … may be in one name.


UPLOADS = (
    Puts(default_mode="SSE-S3"),
    Puts(modes=("SSE-S3", "SSE-KMS", "DSSE-KMS"), default_mode="SSE-S3"),
    Puts(modes=("SSE-KMS", "DSSE-KMS"), default_mode="SSE-S3"),
    Puts(modes=("SSE-KMS",), default_mode="SSE-KMS", default_key=KEY),
    Puts(modes=("SSE-KMS",), keys=(KEY,), default_mode="SSE-KMS", default_key=KEY),
    Puts(modes=("SSE-KMS", "SSE-S3"), keys=(KEY,), default_mode="SSE-KMS", default_key=KEY + "0"),
    Puts(modes=("DSSE-KMS",)),
)
NO_OTHER = {"StringNotEqualsIfExists": {SSE: "aws:kms"}}
PUT_POLICIES = (
    None,
    policy(no_plain_put({"Null": {SSE_C: "false"}})),
    policy(no_plain_put({"StringNotEquals": {SSE: "aws:kms"}})),
    policy(no_plain_put({"StringNotEquals": {SSE: ["aws:kms", "aws:kms:dsse"]}})),
    policy(no_plain_put({"StringNotEquals": {SSE: "aws:kms:dsse"}})),
    policy(no_plain_put({"StringNotEquals": {SSE_KEY: KEY}})),
    policy(no_plain_put({"StringNotEqualsIfExists": {SSE_KEY: KEY}})),
    policy(no_plain_put({"ArnNotEquals": {SSE_KEY: KEY}}), no_plain_put(NO_OTHER)),
    policy(no_plain_put({"StringNotLike": {SSE_KEY: KEY[:-2] + "*"}}), no_plain_put(NO_OTHER)),
    policy(no_plain_put({"Null": {SSE: "true"}}), no_plain_put({"StringEquals": {SSE: "AES256"}})),
    policy(no_plain_put({"Null": {SSE: "true"}}), no_plain_put({"Null": {SSE_KEY: "true"}})),
    policy(
        no_plain_put({"StringEquals": {SSE: ["AES256", "aws:kms:dsse"]}}),
        no_plain_put({"Null": {SSE_C: "false"}}),
        no_plain_put({"Null": {SSE: "false", SSE_KEY: "true"}}),
        no_plain_put({"Null": {SSE_KEY: "false"}, "StringNotEquals": {SSE_KEY: KEY}}),
    ),
)


@pytest.mark.parametrize("puts", UPLOADS, ids=str)
def test_wanted_modes_and_keys(puts):
    for document in PUT_POLICIES:
        answer = ask(
            document,
            modes=puts.modes,
            kms_keys=puts.keys,
            default_mode=puts.default_mode,
            default_key=puts.default_key,
        ).unencrypted_put
        right = judge(document, Ask.UNENCRYPTED_PUT, puts=puts)
        assert right is not Label.DEBATABLE
        expected = Exposure.OPEN if right is Label.HOLE else Exposure.REFUSED
        assert answer.exposure is expected, f"{json.dumps(document)} {answer}"
        if answer.counterexample is not None:
            request = read_request(answer.counterexample)
            assert puts.offended(request.context)
            assert not replays(
                document, Ask.UNENCRYPTED_PUT, request, bucket=BUCKET, owner=OWNER, now=NOW
            )


def test_other_partitions():
    china = [one.replace(":aws:", ":aws-cn:") for one in BOTH]
    assert letters(ask(policy(no_http(on=china)), partition="aws-cn")) == "ROO"
    assert letters(ask(policy(no_http()), partition="aws-cn")) == "OOO"
    assert letters(ask(policy(no_http(on=china)))) == "OOO"


K = f"arn:aws:kms:eu-west-1:{OWNER}:key/1"
CALLER = {"StringEquals": {"kms:CallerAccount": OWNER}}


def to(who, do="kms:Decrypt", on="*", **rest):
    return policy(say("Allow", who, do, on, **rest))


@pytest.mark.parametrize(
    ("document", "everyone", "anyone"),
    [
        (None, "refused", "refused"),
        (to("*"), "open", "open"),
        (to({"AWS": "*"}, do="kms:*"), "open", "open"),
        (to("*", do="KMS:DECRYPT"), "open", "open"),
        (to("*", do="kms:Encrypt"), "refused", "refused"),
        (to("*", on=K + "0"), "refused", "refused"),
        (to({"AWS": OWNER}, do="kms:*"), "refused", "refused"),
        (to({"AWS": f"arn:aws:iam::{OWNER}:root"}, do="kms:*"), "refused", "refused"),
        (to({"AWS": ROLE}), "refused", "refused"),
        (to({"AWS": OTHER}), "refused", "open"),
        (to({"AWS": [ROLE, BOB]}), "refused", "open"),
        (to({"Service": "logs.amazonaws.com"}), "refused", "refused"),
        (to("*", when={"StringEquals": {"aws:PrincipalAccount": OWNER}}), "refused", "refused"),
        (to("*", when={"StringEquals": {"aws:PrincipalAccount": OTHER}}), "refused", "open"),
        (to("*", when={"ArnEquals": {"aws:PrincipalArn": ROLE}}), "refused", "refused"),
        (to("*", when={"Bool": {HTTP: "true"}}), "open", "open"),
        (to("*", when={"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}), "refused", "refused"),
        (to("*", when={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}), "refused", "open"),
        (
            policy(
                say("Allow", "*", "kms:*", "*"),
                say(do="kms:*", on="*", when={"StringNotEquals": {"aws:PrincipalAccount": OWNER}}),
            ),
            "refused",
            "refused",
        ),
        (
            policy(
                say("Allow", "*", "kms:*", "*"),
                say(do="kms:*", on="*", when={"StringEquals": {"aws:PrincipalAccount": OTHER}}),
            ),
            "open",
            "open",
        ),
    ],
)
def test_access_from_outside(document, everyone, anyone):
    parsed = None if document is None else parse_policy(document)
    asked = {"resource": K, "actions": ("kms:Decrypt",), "owner": OWNER, "now": NOW}
    public = outside_access(parsed, anonymous_only=True, **asked)
    outside = outside_access(parsed, **asked)
    assert (public.exposure, outside.exposure) == (everyone, anyone)
    for answer in (public, outside):
        if answer.counterexample is not None:
            request = read_request(answer.counterexample)
            assert succeeds(document, request, OWNER)
            assert OWNER not in request.principal


def test_trusted_accounts_are_no_outsiders():
    asked = {"resource": f"{B}/*", "actions": ("s3:Get*",), "owner": OWNER, "now": NOW}
    named = parse_policy(policy(allow(do="s3:GetObject", on=OBJECTS)))
    assert outside_access(named, **asked).exposure is Exposure.OPEN
    assert outside_access(named, **asked, trusted=(OTHER,)).exposure is Exposure.REFUSED
    public = parse_policy(policy(allow(who="*", do="s3:GetObject", on=OBJECTS)))
    assert outside_access(public, **asked, trusted=(OTHER,)).exposure is Exposure.OPEN
    assert outside_access(named, **asked | {"owner": None}).exposure is not Exposure.REFUSED


WRONG = {
    "not JSON": ("{", "JSON"),
    "no JSON at all": ("", "JSON"),
    "not UTF-8": (b"\xff\xfe{}", "JSON|UTF"),
    "a list": ("[]", "object"),
    "no statement": ({"Version": "2012-10-17"}, "Statement"),
    "a text for a statement": (policy("Deny"), r"Statement\[0\]"),
    "effect in small letters": (policy(no_http(), no_http() | {"Effect": "deny"}), r"\[1\].*ffect"),
    "no effect": (policy({k: v for k, v in no_http().items() if k != "Effect"}), r"\[0\].*ffect"),
    "two actions": (policy(no_http() | {"NotAction": "s3:*"}), r"\[0\].*ction"),
    "no action": (policy({k: v for k, v in no_http().items() if k != "Action"}), r"\[0\].*ction"),
    "no principal": (
        policy({k: v for k, v in no_http().items() if k != "Principal"}),
        r"\[0\].*rincipal",
    ),
    "a number for an action": (policy(no_http(do=7)), r"\[0\].*ction"),
    "a text for a condition": (policy(say(when="false")), r"\[0\].*ondition"),
    "a text for an operator": (policy(say(when={"Bool": "false"})), r"\[0\].*ondition"),
    "an object for a value": (policy(say(when={"Bool": {HTTP: {"a": 1}}})), r"\[0\].*ondition"),
    "unknown version": (policy(no_http(), version="2026-01-01"), "ersion"),
    "a text for a principal": (policy(no_http(who="everyone")), r"\[0\].*rincipal"),
    "unknown kind of principal": (policy(no_http(who={"Aws": "*"})), r"\[0\].*rincipal"),
}


@pytest.mark.parametrize("name", WRONG)
def test_malformed_documents(name):
    document, where = WRONG[name]
    with pytest.raises(ConfigurationError, match=where):
        parse_policy(document)


def test_an_unknown_operator_never_counts_as_a_deny():
    try:
        answers = ask(policy(say(when={"Boolean": {HTTP: "false"}})))
    except ConfigurationError:
        return
    assert "R" not in letters(answers)


# --- The oracle ---------------------------------------------------------------------------

GIVEN = {
    "a:x": ("b",),
    "a:n": ("5",),
    "a:t": ("2026-06-01T00:00:00Z",),
    "a:ip": ("10.1.2.3",),
    "a:ip6": ("2001:db8::1",),
    "a:arn": ("arn:aws:s3:::data/x:y",),
    "a:set": ("r", "s"),
    "a:star": ("b*",),
}


@pytest.mark.parametrize(
    ("operator", "key", "values", "expected"),
    [
        ("StringEquals", "A:X", "b", True),
        ("stringequals", "a:x", ["c", "b"], True),
        ("StringEquals", "a:x", "B", False),
        ("StringEquals", "a:x", "?", False),
        ("StringEqualsIgnoreCase", "a:x", "B", True),
        ("StringNotEquals", "a:x", ["b", "c"], False),
        ("StringNotEquals", "a:x", ["d", "c"], True),
        ("StringLike", "a:x", "?", True),
        ("StringLike", "a:x", "[b]", False),
        ("StringLike", "a:star", "b${*}", True),
        ("StringLike", "a:x", "b${*}", False),
        ("StringNotLike", "a:x", "*", False),
        ("NumericLessThan", "a:n", 6, True),
        ("NumericLessThan", "a:n", "5", False),
        ("NumericLessThanEquals", "a:n", 5.0, True),
        ("NumericGreaterThan", "a:x", 5, False),
        ("NumericNotEquals", "a:n", [4, 6], True),
        ("DateLessThan", "a:t", "2026-06-01T00:00:01Z", True),
        ("DateGreaterThan", "a:t", "1780271999", True),
        ("DateEquals", "a:t", "2026-06-01", True),
        ("IpAddress", "a:ip", "10.0.0.0/8", True),
        ("IpAddress", "a:ip", "10.1.2.3", True),
        ("IpAddress", "a:ip", "2001:db8::/32", False),
        ("IpAddress", "a:ip6", "2001:DB8::/32", True),
        ("NotIpAddress", "a:ip", ["192.0.2.0/24", "10.0.0.0/8"], False),
        ("ArnEquals", "a:arn", "arn:*:s3:::data/*", True),
        ("ArnLike", "a:arn", "arn:*:data/*", False),
        ("ArnNotLike", "a:arn", "arn:aws:s3:::date/*", True),
        ("BinaryEquals", "a:x", "b", True),
        ("Bool", "a:x", True, False),
        ("Null", "a:x", "false", True),
        ("Null", "a:x", True, False),
        ("Null", "a:gone", True, True),
        ("Null", "a:gone", ["true", "false"], True),
        ("StringEquals", "a:gone", "b", False),
        ("StringNotEquals", "a:gone", "b", True),
        ("StringEqualsIfExists", "a:gone", "b", True),
        ("StringNotEqualsIfExists", "a:gone", "b", True),
        ("NumericLessThan", "a:gone", 5, False),
        ("NotIpAddress", "a:gone", "10.0.0.0/8", True),
        ("ForAllValues:StringEquals", "a:gone", "b", True),
        ("ForAnyValue:StringEquals", "a:gone", "b", False),
        ("ForAnyValue:StringNotEquals", "a:gone", "b", False),
        ("ForAnyValue:StringEqualsIfExists", "a:gone", "b", True),
        ("ForAllValues:StringEquals", "a:set", ["r", "s", "t"], True),
        ("ForAllValues:StringEquals", "a:set", ["r"], False),
        ("ForAnyValue:StringEquals", "a:set", ["r"], True),
        ("ForAllValues:StringNotEquals", "a:set", ["r"], False),
        ("ForAnyValue:StringNotEquals", "a:set", ["r"], True),
        ("StringEquals", "a:x", "${a:x}", True),
        ("StringEquals", "a:x", "${A:GONE, 'b'}", True),
        ("StringEquals", "a:x", "${a:gone}", False),
    ],
)
def test_oracle_conditions(operator, key, values, expected):
    assert holds(operator, key, values, GIVEN, "2012-10-17") is expected


def test_oracle_variables_are_text_in_old_policies():
    assert not holds("StringEquals", "a:x", "${a:x}", GIVEN, "2008-10-17")


SESSION = f"arn:aws:sts::{OWNER}:assumed-role/trainer/s"


@pytest.mark.parametrize(
    ("statement", "who", "expected"),
    [
        (None, ROLE, True),
        (None, BOB, False),
        (None, "anonymous", False),
        (allow(), BOB, True),
        (allow(who="*"), "anonymous", True),
        (allow(who={"AWS": "*"}), "anonymous", True),
        (allow(who={"CanonicalUser": "ab" * 32}), "cd" * 32, False),
        (allow(who={"Service": "*"}), "anonymous", False),
        (allow(who={"Service": "logs.amazonaws.com"}), "logs.amazonaws.com", True),
        (allow(who={"Service": "logs.amazonaws.com"}), "ec2.amazonaws.com", False),
        (allow(who={"CanonicalUser": "ab" * 32}), "ab" * 32, True),
        (say(), SESSION, False),
        (say(who={"AWS": ROLE}), SESSION, False),
        (say(who={"AWS": OWNER}), SESSION, False),
        (say(who={"AWS": ROLE}), f"arn:aws:iam::{OWNER}:user/trainer", True),
        (say(NotPrincipal={"AWS": ROLE}), SESSION, True),
        (say(NotPrincipal={"AWS": BOB}), SESSION, False),
        (say(NotPrincipal={"AWS": OWNER}), SESSION, False),
        (say(NotPrincipal={"AWS": OWNER}), f"arn:aws:iam::{OWNER}:root", True),
        (say(do="s3:get*"), ROLE, False),
        (say(NotAction="s3:get*"), ROLE, True),
        (say(on=B), ROLE, True),
        (say(on=f"{B}/?"), ROLE, False),
        (say(on=f"{B}/[x]"), ROLE, True),
        (say(NotResource=B), ROLE, False),
    ],
)
def test_oracle_statements(statement, who, expected):
    document = None if statement is None else policy(statement)
    request = Request(who, "s3:GetObject", f"{B}/x", {})
    assert succeeds(document, request, OWNER) is expected


def test_oracle_takes_any_account_for_the_owner_if_none_is_known():
    request = Request(BOB, "s3:GetObject", f"{B}/x", {})
    assert succeeds(None, request, None)
    assert not succeeds(None, request, OWNER)


@pytest.mark.parametrize(("known", "owner"), KNOWN)
def test_oracle_agrees_with_the_known_policies(known, owner):
    right = {"O": Label.HOLE, "R": Label.SOUND}
    answers = [judge(known.policy, question, owner) for question in Ask]
    assert answers == [right[letter] for letter in known.answers], known.why


def test_the_lenient_grid_holds_the_strict_one():
    rng = random.Random(77)
    for _ in range(15):
        document = random_policy(rng)
        for question in Ask:
            if judge(document, question) is Label.SOUND:
                asked = {"bucket": BUCKET, "owner": OWNER, "now": NOW}
                assert find(document, question, **asked, strict=True) is None


def test_leaving_out_statements_that_do_not_apply_changes_nothing():
    rng = random.Random(78)
    for _ in range(10):
        document = random_policy(rng)
        grid = Grid(document, Ask.PLAIN_HTTP, BUCKET, OWNER, NOW, strict=False, puts=Puts())
        for request, near in grid.requests():
            whole = succeeds(document, request, OWNER, wide=True)
            assert whole == succeeds(near, request, OWNER, wide=True)
