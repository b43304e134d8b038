"""Random bucket policies, about half of them sound; see :mod:`tests.core.policy_idioms`."""

from __future__ import annotations

import copy
import random
from typing import Any

from hypothesis import strategies as st

from tests.core.policy_grid import SSE, SSE_C, SSE_KEY
from tests.core.policy_idioms import (
    BOB,
    BOTH,
    HTTP,
    KEY,
    OBJECTS,
    OTHER,
    OWNER,
    ROLE,
    TLS,
    B,
    allow,
    no_plain_put,
    policy,
    say,
)

NAMES = ("a*", "*b", "a*b", "?", "??*", "*/x*", "raw/*", "*.csv", "[a-z]*", "*a*")
"""Patterns of object names, to split by; some overlap."""
DEEDS = ("s3:Get*", "s3:*Object", "s3:Put*", "s3:?et*", "s3:G*t*", "S3:LIST*", "s3:PutObject")
PEOPLE: tuple[Any, ...] = (OTHER, BOB, ROLE, [BOB, ROLE], f"arn:aws:iam::{OWNER}:root")

HALVES: tuple[tuple[Any, Any], ...] = (
    (
        {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    ),
    ({"Null": {"aws:SourceVpce": "true"}}, {"Null": {"aws:SourceVpce": "false"}}),
    (
        {"StringEquals": {"aws:PrincipalAccount": OWNER}},
        {"StringNotEquals": {"aws:PrincipalAccount": OWNER}},
    ),
    (
        {"StringLike": {"aws:PrincipalTag/team": "ml*"}},
        {"StringNotLike": {"aws:PrincipalTag/team": "ml*"}},
    ),
    (
        {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
    ),
    (
        {"NumericLessThan": {"aws:MultiFactorAuthAge": 3600}},
        {"NumericGreaterThanEqualsIfExists": {"aws:MultiFactorAuthAge": "3600"}},
    ),
    (
        {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}},
        {"DateGreaterThanEquals": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}},
    ),
)
"""Pairs of conditions of which one holds on every request."""
for _operator, _opposite, _key, _value in (
    ("ArnLike", "ArnNotLike", "aws:PrincipalArn", f"arn:aws:iam::{OWNER}:role/admin*"),
    ("ArnEquals", "ArnNotEqualsIfExists", "aws:PrincipalArn", BOB),
    ("StringEquals", "StringNotEqualsIfExists", "aws:PrincipalOrgID", ["o-1", "o-2"]),
    ("ForAnyValue:StringEquals", "ForAllValues:StringNotEquals", "aws:TagKeys", ["team", "cost"]),
    ("ForAnyValue:StringNotLike", "ForAllValues:StringLike", "aws:TagKeys", ["t*", "c*"]),
    ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "aws:Referer", "https://a.example/"),
    ("NumericLessThan", "NumericGreaterThanEqualsIfExists", "s3:max-keys", 10),
    ("NumericEqualsIfExists", "NumericNotEquals", "s3:max-keys", [10, "20"]),
    ("StringLike", "StringNotLike", "aws:UserAgent", ["*curl*", "aws-?li/*"]),
    ("StringEquals", "StringNotEquals", "s3:x-amz-acl", "private"),
    ("Bool", "BoolIfExists", "aws:ViaAWSService", ["true", "false"]),
):
    HALVES += (({_operator: {_key: _value}}, {_opposite: {_key: _value}}),)
NARROWING: tuple[Any, ...] = (
    *(half for pair in HALVES for half in pair),
    {"StringNotEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
    {"StringNotEqualsIfExists": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}},
    {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{OWNER}:role/admin*"}},
    {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{OTHER}:*"}},
    {"Null": {"aws:PrincipalTag/team": True}},
    {"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost"]}},
    {"ForAnyValue:StringLike": {"aws:TagKeys": "t*"}},
    {"StringLike": {"aws:UserAgent": "*curl*"}},
    {"StringEqualsIgnoreCase": {"aws:Referer": "https://example.org/"}},
    {"DateGreaterThan": {"aws:CurrentTime": "2031-05-01"}},
    {"NumericLessThanEquals": {"s3:max-keys": 100}},
    {"StringEquals": {"s3:prefix": ["", "home/"]}},
    {"StringEquals": {"aws:PrincipalTag/team": "${s3:ExistingObjectTag/team}"}},
    {"StringLike": {"s3:prefix": ["${aws:PrincipalTag/home, 'x'}/*", "y/*"]}},
    {"StringEquals": {"aws:ResourceAccount": OWNER}},
    {"Bool": {"aws:PrincipalIsAWSService": "false"}},
)
HARMLESS: tuple[Any, ...] = (
    {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    {"DateGreaterThan": {"aws:EpochTime": "1577836800"}},
    {"Null": {HTTP: "false"}},
    {"StringNotEquals": {HTTP: "maybe"}},
)
"""Conditions that hold on every request."""
HTTP_FORMS: tuple[Any, ...] = (
    {"Bool": {HTTP: "false"}},
    {"Bool": {HTTP: "false"}},
    {"BoolIfExists": {HTTP: False}},
    {"StringEquals": {HTTP: "false"}},
    {"StringEqualsIgnoreCaseIfExists": {HTTP: "False"}},
    {"StringNotEquals": {HTTP: "true"}},
    {"StringNotEqualsIgnoreCase": {HTTP: ["TRUE", "1"]}},
    {"StringLike": {HTTP: ["fals?", "no"]}},
    {"StringNotLikeIfExists": {HTTP: "t*"}},
    {"ForAllValues:Bool": {HTTP: "false"}},
    {"ForAnyValue:StringEquals": {HTTP: ["false"]}},
    {"Null": {TLS: "true"}},
    {"NumericLessThanIfExists": {TLS: "1.2"}},
    {"Bool": {HTTP: ["false", "true"]}},
    {"Null": {HTTP: False}},
)
TLS_FORMS: tuple[Any, ...] = (
    {"NumericLessThan": {TLS: "1.2"}},
    {"NumericLessThan": {TLS: 1.2}},
    {"NumericLessThanIfExists": {TLS: ["1.2"]}},
    {"NumericLessThanEquals": {TLS: "1.1"}},
    {"NumericNotEquals": {TLS: [1.2, 1.3]}},
    {"StringNotEquals": {TLS: ["1.2", "1.3"]}},
    {"StringEquals": {TLS: ["1.0", "1.1"]}},
    {"NumericLessThan": {TLS: "1.3"}},
    {"StringNotLike": {TLS: ["1.2", "1.3", "2.*"]}},
    {"StringLike": {TLS: "1.?", HTTP: "true"}},
    {"ForAnyValue:NumericLessThan": {TLS: ["1.15"]}},
)
PUT_FORMS: tuple[Any, ...] = (
    {"Null": {SSE: "true"}},
    {"Null": {SSE: True}},
    {"StringNotEquals": {SSE: "aws:kms"}},
    {"StringNotEquals": {SSE: ["AES256", "aws:kms"]}},
    {"StringNotLike": {SSE: "aws:kms*"}},
    {"StringNotEqualsIfExists": {SSE: "AES256"}},
    {"StringNotEquals": {SSE_KEY: KEY}},
    {"ArnNotEqualsIfExists": {SSE_KEY: KEY}},
    {"Null": {SSE: "true", SSE_C: "true"}},
    {"ForAllValues:StringNotEquals": {SSE: "AES256"}},
    {"StringNotLikeIfExists": {SSE: "*"}},
)
NOISE: tuple[Any, ...] = (
    allow(),
    allow(who="*", do="s3:GetObject", on=OBJECTS),
    allow(who={"AWS": OWNER}),
    allow(who={"AWS": [BOB, ROLE]}, do=["s3:Get*", "s3:List*"], on=["*"]),
    allow(who={"Service": "logging.s3.amazonaws.com"}, do="s3:PutObject", on=f"{B}/logs/*"),
    allow(when={"DateLessThan": {"aws:CurrentTime": "2019-01-01T00:00:00Z"}}),
    allow(who={"CanonicalUser": "ab" * 32}, do="s3:ListBucket", on=B),
    say(do="s3:DeleteBucket", on=B),
    say(who={"AWS": BOB}),
    say(when={"Bool": {HTTP: "true"}}, do="s3:PutBucketAcl", on=B),
    no_plain_put({"Null": {SSE_C: "false"}}),
    say(do="s3:DeleteObject*", on=OBJECTS, when={"Bool": {"aws:MultiFactorAuthPresent": "false"}}),
    say(when={"StringNotEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}),
    say(NotPrincipal={"AWS": [ROLE, OWNER]}, do="s3:PutBucketPolicy", on=B),
)


def narrowed(statement: Any, more: Any) -> Any:
    """Return a statement that asks for more."""
    made = copy.deepcopy(statement)
    when = made.setdefault("Condition", {})
    for operator, lines in more.items():
        when.setdefault(operator, {}).update(lines)
    return made


def halved(rng: random.Random, whole: Any) -> list[Any]:
    """Return two statements that deny what one denied."""
    one, other = copy.deepcopy(whole), copy.deepcopy(whole)
    what = rng.randrange(6)
    if what == 0 and whole.get("Action") == "s3:*":
        one["Action"] = rng.sample(DEEDS, rng.choice([1, 1, 2]))
        other.pop("Action")
        other["NotAction"] = one["Action"]
    elif what == 1 and whole.get("Resource") == BOTH:
        one["Resource"] = [f"{B}/{name}" for name in rng.sample(NAMES, rng.choice([1, 1, 2, 3]))]
        other.pop("Resource")
        other["NotResource"] = one["Resource"]
    elif what == 2 and whole.get("Resource") == BOTH:
        one["Resource"], other["Resource"] = rng.choice(
            [(B, OBJECTS), ([B, f"{B}/?"], f"{B}/??*"), (f"{B}*", OBJECTS)]
        )
    elif what == 3 and whole.get("Principal") == "*":
        one["Principal"] = {"AWS": rng.choice(PEOPLE)}
        other.pop("Principal")
        other["NotPrincipal"] = one["Principal"]
    else:
        pair = rng.choice(HALVES)
        used = {key for lines in whole.get("Condition", {}).values() for key in lines}
        if used.isdisjoint(key for half in pair for lines in half.values() for key in lines):
            return [narrowed(whole, half) for half in pair]
        return [whole]
    return [one, other]


def part(rng: random.Random, forms: tuple[Any, ...], **rest: Any) -> list[Any]:
    """Return Deny statements that, together, deny what a condition describes."""
    whole = say(when=rng.choice(forms), **rest)
    what = rng.random()
    if what < 0.1:
        return [narrowed(whole, rng.choice(HARMLESS))]
    if what < 0.2:
        return [narrowed(whole, rng.choice(NARROWING)), whole]
    found = [whole]
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        at = rng.randrange(len(found))
        found[at : at + 1] = halved(rng, found[at])
    return found


def damaged(rng: random.Random, statement: Any) -> Any:
    """Change a statement so that it says less, or nothing, or by luck the same."""
    made = copy.deepcopy(statement)
    target = made.get("Resource", made.get("NotResource"))
    what = rng.randrange(11)
    if what == 0:
        return narrowed(made, rng.choice(NARROWING))
    if what == 1:
        made.pop("NotAction", None)
        made["Action"] = rng.choice(["s3:Get*", "s3:*Object", ["s3:Put*", "s3:Get*"], "s3:[A-Z]*"])
    elif what == 2:
        made.pop("Action", None)
        made["NotAction"] = rng.choice(["s3:PutObjectLegalHold", "s3:List*", ["sqs:*", "s3:get*"]])
    elif what == 3:
        made.pop("NotResource", None)
        made["Resource"] = rng.choice(
            [B, OBJECTS, f"{B}/", [B, f"{B}/a*"], f"{B}?", [B, B + "/${aws:username}/*"], target]
        )
    elif what == 4:
        made.pop("Resource", None)
        made["NotResource"] = rng.choice([B, f"{B}/secret/*", [f"{B}/*.csv"], "arn:aws:s3:::z/*"])
    elif what == 5:
        made.pop("NotResource", None)
        made["Resource"] = rng.choice([f"{B}-eu*", [B + "x", B + "x/*"], "arn:aws:s3:::dat[a]*"])
    elif what == 6:
        made.pop("NotPrincipal", None)
        made["Principal"] = rng.choice([{"AWS": BOB}, {"AWS": [OTHER]}, {"Service": "*"}])
    elif what == 7:
        made.pop("Principal", None)
        made["NotPrincipal"] = {"AWS": rng.choice([ROLE, [BOB, OTHER]])}
    elif what == 8:
        made["Effect"] = "Allow"
    elif what == 9:
        made["Condition"] = flipped(rng, made.get("Condition", {}))
    else:
        made["Condition"] = {rng.choice(["Bool", "StringEquals"]): {HTTP: rng.choice(VALUES)}}
    return made


VALUES: tuple[Any, ...] = ("true", True, ["true"], "no", "0")
SWAPS = {
    "Bool": "ForAnyValue:Bool",
    "Null": "Null",
    "StringEquals": "StringNotEquals",
    "StringNotEquals": "ForAnyValue:StringNotEquals",
    "NumericLessThan": "NumericGreaterThan",
    "NumericLessThanIfExists": "NumericLessThan",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEqualsIfExists",
    "StringNotEqualsIfExists": "StringEqualsIfExists",
    "NumericLessThanEquals": "NumericLessThanEqualsIfExists",
}


def flipped(rng: random.Random, condition: Any) -> Any:
    """Turn operators of a condition round, or its values."""
    made = {}
    for operator, lines in condition.items():
        if operator == "Null":
            lines = {
                key: "false" if str(v).lower() == "true" else "true" for key, v in lines.items()
            }
        elif rng.random() < 0.5:
            operator = SWAPS.get(operator, operator)
        else:
            lines = {key: "1.1" if key == TLS else "true" for key in lines}
        made[operator] = lines
    return made


def disguised(rng: random.Random, made: Any) -> Any:
    """Write the same policy in another way."""
    for number, statement in enumerate(made["Statement"]):
        for name in ("Action", "NotAction", "Resource", "NotResource"):
            if isinstance(statement.get(name), str) and rng.random() < 0.4:
                statement[name] = [statement[name]]
        for name in ("Action", "NotAction"):
            if name in statement and rng.random() < 0.2:
                items = statement[name]
                items = items if isinstance(items, list) else [items]
                statement[name] = [rng.choice([str.upper, str.lower, str])(one) for one in items]
        if statement.get("Action") == ["s3:*"] and rng.random() < 0.3:
            statement["Action"] = rng.choice(["*", ["s3:*", "sqs:*"], "s3:**", ["s3:Get*", "s3:*"]])
        if statement.get("Resource") == BOTH and rng.random() < 0.4:
            statement["Resource"] = rng.choice(["*", f"{B}*", [OBJECTS, B], [f"{B}/*", "*"]])
        if statement.get("Principal") == "*" and rng.random() < 0.4:
            statement["Principal"] = rng.choice([{"AWS": "*"}, {"AWS": [BOB, "*"]}])
        if rng.random() < 0.3:
            statement["Sid"] = f"Statement{number}"
        if "Condition" in statement and rng.random() < 0.3:
            statement["Condition"] = {
                rng.choice([str.lower, str.upper, str])(operator): {
                    rng.choice([str.lower, str.upper, str])(key): values
                    for key, values in lines.items()
                }
                for operator, lines in statement["Condition"].items()
            }
    if len(made["Statement"]) == 1 and rng.random() < 0.5:
        made["Statement"] = made["Statement"][0]
    if rng.random() < 0.2:
        made.pop("Version")
    return made


def random_policy(rng: random.Random) -> Any:
    """Return a policy; what it leaves open is for the oracle to say."""
    found: list[Any] = []
    if rng.random() < 0.85:
        found += part(rng, HTTP_FORMS)
    if rng.random() < 0.7:
        found += part(rng, TLS_FORMS)
    if rng.random() < 0.7:
        action = rng.choice(["s3:PutObject", "s3:Put*", "s3:*Object", "s3:PutObject*"])
        found += part(rng, PUT_FORMS, do=action, on=OBJECTS)
    found = copy.deepcopy(found)
    for number in range(len(found)):
        if rng.random() < 0.3:
            found[number] = damaged(rng, found[number])
    found += copy.deepcopy(rng.sample(NOISE, rng.choice([0, 0, 1, 1, 2, 3])))
    if not found:
        found.append(copy.deepcopy(rng.choice(NOISE)))
    rng.shuffle(found)
    return disguised(rng, policy(*found))


@st.composite
def policies(draw: Any) -> Any:
    """Policies whose every choice hypothesis makes, so that it can shrink them."""
    return random_policy(draw(st.randoms(use_true_random=False)))
