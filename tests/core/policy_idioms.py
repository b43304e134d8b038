"""Bucket policies that people write: idioms with their right answers, look-alikes with a hole.

Every policy is about the bucket ``data`` of account 111122223333. Answers are three letters,
``O`` for open and ``R`` for refused: plain HTTP, TLS below 1.2, a put without encryption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.core.policy_grid import SSE, SSE_C, SSE_KEY

BUCKET, OWNER, OTHER = "data", "111122223333", "444455556666"
B = "arn:aws:s3:::data"
BOTH = [B, f"{B}/*"]
OBJECTS = f"{B}/*"
HTTP, TLS = "aws:SecureTransport", "s3:TlsVersion"
KEY = f"arn:aws:kms:eu-west-1:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{OWNER}:role/trainer"
BOB = f"arn:aws:iam::{OTHER}:user/bob"


def say(effect: str = "Deny", who: Any = "*", do: Any = "s3:*", on: Any = None, **rest: Any) -> Any:
    """Return a statement; ``when`` is its condition."""
    made = {"Effect": effect, "Principal": who, "Action": do, "Resource": on or BOTH}
    if "when" in rest:
        made["Condition"] = rest.pop("when")
    made |= rest
    for positive in ("Principal", "Action", "Resource"):
        if f"Not{positive}" in made:
            del made[positive]
    return made


def policy(*statements: Any, version: str | None = "2012-10-17") -> Any:
    return ({"Version": version} if version else {}) | {"Statement": list(statements)}


def no_http(**rest: Any) -> Any:
    return say(**({"when": {"Bool": {HTTP: "false"}}} | rest))


def no_old_tls(**rest: Any) -> Any:
    return say(**({"when": {"NumericLessThan": {TLS: "1.2"}}} | rest))


def no_plain_put(when: Any, **rest: Any) -> Any:
    return say(**({"do": "s3:PutObject", "on": OBJECTS, "when": when} | rest))


def allow(**rest: Any) -> Any:
    return say(**({"effect": "Allow", "who": {"AWS": f"arn:aws:iam::{OTHER}:root"}} | rest))


@dataclass(frozen=True, slots=True)
class Known:
    """A policy, and what it leaves open."""

    name: str
    answers: str
    why: str
    policy: Any


def _http(name: str, why: str, *conditions: Any, answers: str = "ROO") -> Known:
    return Known(name, answers, why, policy(*(say(when=one) for one in conditions)))


def _put(name: str, why: str, *conditions: Any, answers: str = "OOR") -> Known:
    return Known(name, answers, why, policy(*(no_plain_put(one) for one in conditions)))


IDIOMS: tuple[Known, ...] = (
    Known("no policy", "OOO", "principals of the account need no policy of the bucket", None),
    _http("http: documented", "holds on every HTTP request", {"Bool": {HTTP: "false"}}),
    _http("http: JSON boolean", "false is the text false", {"Bool": {HTTP: False}}),
    _http("http: list", "a list of one value", {"Bool": {HTTP: ["false"]}}),
    Known(
        "http: both values",
        "RRR",
        "values are ORed, so this denies everything",
        policy(say(when={"Bool": {HTTP: ["false", "true"]}})),
    ),
    _http("http: IfExists", "the key is always there", {"BoolIfExists": {HTTP: "false"}}),
    _http("http: StringEquals", "the value is the text false", {"StringEquals": {HTTP: "false"}}),
    _http("http: ignore case", "case is ignored", {"StringEqualsIgnoreCase": {HTTP: "FALSE"}}),
    _http("http: StringNotEquals", "false is not true", {"StringNotEquals": {HTTP: "true"}}),
    _http("http: StringLike", "f* matches false", {"StringLike": {HTTP: "f*"}}),
    _http("http: StringNotLike", "false does not match t*", {"StringNotLike": {HTTP: "t*"}}),
    _http(
        "http: ForAllValues", "the one value is in the set", {"ForAllValues:Bool": {HTTP: "false"}}
    ),
    _http(
        "http: ForAnyValue", "the one value is in the set", {"ForAnyValue:Bool": {HTTP: "false"}}
    ),
    _http(
        "http: mixed case",
        "operators and keys ignore case",
        {"bOOL": {"AWS:securetransport": "false"}},
    ),
    _http("http: no TLS version", "absent exactly on HTTP", {"Null": {TLS: "true"}}),
    _http(
        "http: Null false",
        "the key is always there: denies all",
        {"Null": {HTTP: "false"}},
        answers="RRR",
    ),
    _http("http: no condition", "denies everything", {}, answers="RRR"),
    _http(
        "http: two keys that always hold",
        "ANDed, yet both hold on each HTTP request",
        {"Bool": {HTTP: "false"}, "Null": {TLS: "true"}},
    ),
    Known("http: AWS star", "ROO", "the same as *", policy(no_http(who={"AWS": "*"}))),
    Known("http: AWS list", "ROO", "contains *", policy(no_http(who={"AWS": [BOB, "*"]}))),
    Known("http: every action", "ROO", "* covers s3:*", policy(no_http(do="*"))),
    Known("http: S3 in capitals", "ROO", "actions ignore case", policy(no_http(do="S3:*"))),
    Known("http: every resource", "ROO", "* covers the bucket", policy(no_http(on="*"))),
    Known(
        "http: one pattern", "ROO", "data* matches bucket and objects", policy(no_http(on=f"{B}*"))
    ),
    Known(
        "http: any partition",
        "ROO",
        "a part of an ARN may be wild",
        policy(no_http(on="arn:*:s3:::data*")),
    ),
    Known(
        "http: question mark",
        "ROO",
        "? is one character",
        policy(no_http(on=["arn:aws:s3:::dat?", "arn:aws:s3:::dat?/*"])),
    ),
    Known(
        "http: one statement",
        "ROO",
        "Statement may be an object",
        {"Version": "2012-10-17", "Statement": no_http()},
    ),
    Known(
        "http: old version",
        "ROO",
        "nothing in it needs the new one",
        policy(no_http(), version="2008-10-17"),
    ),
    Known("http: no version", "ROO", "the same as the old one", policy(no_http(), version=None)),
    Known(
        "http: split by resource",
        "ROO",
        "two statements share the work",
        policy(no_http(on=B), no_http(on=OBJECTS)),
    ),
    Known(
        "http: split by prefix",
        "ROO",
        "what one leaves the other takes",
        policy(no_http(on=f"{B}/raw/*"), no_http(NotResource=f"{B}/raw/*")),
    ),
    Known(
        "http: split by action",
        "ROO",
        "what one leaves the other takes",
        policy(no_http(do="s3:Get*"), no_http(NotAction="s3:Get*")),
    ),
    Known(
        "http: split by address",
        "ROO",
        "inside or not inside; absent counts as not inside",
        policy(
            say(when={"Bool": {HTTP: "false"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
            say(when={"Bool": {HTTP: "false"}, "NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        ),
    ),
    Known(
        "http: other services excluded",
        "ROO",
        "no action of S3 is left out",
        policy(no_http(NotAction="sqs:*")),
    ),
    Known(
        "http: other bucket excluded",
        "ROO",
        "nothing of this bucket is left out",
        policy(no_http(NotResource="arn:aws:s3:::other/*")),
    ),
    Known("http: beside an Allow", "ROO", "a Deny wins", policy(allow(who="*"), no_http())),
    Known(
        "tls: two statements",
        "RRO",
        "one for HTTP, one for old TLS",
        policy(no_http(), no_old_tls()),
    ),
    Known(
        "tls: number",
        "RRO",
        "1.2 as a JSON number",
        policy(no_http(), no_old_tls(when={"NumericLessThan": {TLS: 1.2}})),
    ),
    _http(
        "tls: without HTTP",
        "the key is absent on HTTP",
        {"NumericLessThan": {TLS: "1.2"}},
        answers="ORO",
    ),
    _http(
        "tls: IfExists",
        "holds on HTTP too",
        {"NumericLessThanIfExists": {TLS: "1.2"}},
        answers="RRO",
    ),
    _http(
        "tls: 1.3",
        "1.0 and 1.1 are less than 1.3",
        {"NumericLessThanIfExists": {TLS: "1.3"}},
        answers="RRO",
    ),
    _http(
        "tls: at most 1.1", "1.1 included", {"NumericLessThanEquals": {TLS: "1.1"}}, answers="ORO"
    ),
    _http(
        "tls: not 1.2 or 1.3",
        "negated: holds when absent",
        {"NumericNotEquals": {TLS: ["1.2", "1.3"]}},
        answers="RRO",
    ),
    _http(
        "tls: as text",
        "negated: holds when absent",
        {"StringNotEquals": {TLS: ["1.2", "1.3"]}},
        answers="RRO",
    ),
    _http(
        "tls: old ones named",
        "both old versions",
        {"StringEquals": {TLS: ["1.0", "1.1"]}},
        answers="ORO",
    ),
    _http(
        "tls: ForAllValues",
        "true of an absent key",
        {"ForAllValues:NumericLessThan": {TLS: "1.2"}},
        answers="RRO",
    ),
    _put(
        "put: documented",
        "the second statement needs the header",
        {"StringNotEquals": {SSE: "AES256"}},
        {"Null": {SSE: "true"}},
    ),
    _put("put: Null", "denies an absent header", {"Null": {SSE: "true"}}),
    _put("put: Null, JSON boolean", "denies an absent header", {"Null": {SSE: True}}),
    _put("put: AES256", "negated: holds when absent", {"StringNotEquals": {SSE: "AES256"}}),
    _put("put: KMS", "negated: holds when absent", {"StringNotEquals": {SSE: "aws:kms"}}),
    _put(
        "put: KMS, IfExists",
        "IfExists holds when absent",
        {"StringNotEqualsIfExists": {SSE: "aws:kms"}},
    ),
    _put("put: any KMS", "negated: holds when absent", {"StringNotLike": {SSE: "aws:kms*"}}),
    _put("put: DSSE", "negated: holds when absent", {"StringNotEquals": {SSE: "aws:kms:dsse"}}),
    _put(
        "put: one key", "without a header there is no key id", {"StringNotEquals": {SSE_KEY: KEY}}
    ),
    _put(
        "put: one key, pattern",
        "the same",
        {"StringNotLike": {SSE_KEY: f"arn:aws:kms:*:{OWNER}:key/*"}},
    ),
    _put("put: one key, ARN", "the same", {"ArnNotEquals": {SSE_KEY: KEY}}),
    _put(
        "put: one key, IfExists",
        "IfExists holds when absent",
        {"ArnNotEqualsIfExists": {SSE_KEY: KEY}},
    ),
    _put(
        "put: ForAllValues",
        "true of an absent key",
        {"ForAllValues:StringNotEquals": {SSE: "AES256"}},
    ),
    _put("put: header, no SSE-C", "both are absent", {"Null": {SSE: "true", SSE_C: "true"}}),
    _put(
        "put: ANDed, both hold",
        "absent satisfies both",
        {"Null": {SSE: "true"}, "StringNotEquals": {SSE: "AES256"}},
    ),
    _put(
        "put: no SSE-C",
        "says nothing of puts without header",
        {"Null": {SSE_C: "false"}},
        answers="OOO",
    ),
    Known(
        "put: every put",
        "OOR",
        "s3:Put* covers it",
        policy(no_plain_put({"Null": {SSE: "true"}}, do="s3:Put*")),
    ),
    Known(
        "put: every object action",
        "OOR",
        "reads without header fail too",
        policy(no_plain_put({"Null": {SSE: "true"}}, do="s3:*Object")),
    ),
    Known(
        "everything",
        "RRR",
        "the three together",
        policy(no_http(), no_old_tls(), no_plain_put({"Null": {SSE: "true"}}), allow()),
    ),
    Known(
        "no objects may be put",
        "OOR",
        "nobody puts anything",
        policy(say(do="s3:PutObject", on=OBJECTS)),
    ),
    _http(
        "endpoint only",
        "HTTP through the endpoint",
        {"StringNotEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}},
        answers="OOO",
    ),
    _http(
        "organization only",
        "HTTP inside of it",
        {"StringNotEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
        answers="OOO",
    ),
    _http(
        "perimeter",
        "its own people may use HTTP",
        {
            "StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"},
            "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
        },
        answers="OOO",
    ),
    _http(
        "one role only",
        "that role may use HTTP",
        {"StringNotLike": {"aws:userId": ["AROAEXAMPLEID:*", OWNER]}},
        answers="OOO",
    ),
    Known(
        "CloudFront",
        "OOO",
        "an Allow takes nothing from the account's own principals",
        policy(
            say(
                "Allow",
                {"Service": "cloudfront.amazonaws.com"},
                "s3:GetObject",
                OBJECTS,
                when={
                    "StringEquals": {
                        "AWS:SourceArn": f"arn:aws:cloudfront::{OWNER}:distribution/E1"
                    }
                },
            )
        ),
    ),
    Known(
        "log delivery",
        "OOO",
        "an Allow takes nothing away",
        policy(
            say(
                "Allow",
                {"Service": "logging.s3.amazonaws.com"},
                "s3:PutObject",
                f"{B}/logs/*",
                when={"StringEquals": {"aws:SourceAccount": OWNER}},
            )
        ),
    ),
    Known("other account", "OOO", "an Allow takes nothing away", policy(allow())),
    Known(
        "other account, full control",
        "OOO",
        "only asks for an ACL",
        policy(
            allow(
                do="s3:PutObject",
                on=OBJECTS,
                when={"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
            )
        ),
    ),
    Known(
        "MFA to delete",
        "OOO",
        "only about deleting",
        policy(
            say(
                do="s3:DeleteObject*",
                on=OBJECTS,
                when={"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
            )
        ),
    ),
    Known(
        "public website",
        "OOO",
        "everyone may read over HTTP",
        policy(allow(who="*", do="s3:GetObject", on=OBJECTS)),
    ),
    Known(
        "old signatures",
        "OOO",
        "HTTP with a new one",
        policy(say(when={"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}})),
    ),
)


def _narrow(name: str, why: str, **more: Any) -> Known:
    """A TLS statement that a further key narrows."""
    when = {"Bool": {HTTP: "false"}}
    for operator, lines in more.items():
        when[operator] = when.get(operator, {}) | lines
    return Known(name, "OOO", why, policy(say(when=when)))


LOOK_ALIKES: tuple[Known, ...] = (
    Known(
        "Allow with TLS",
        "OOO",
        "takes nothing away",
        policy(say("Allow", when={"Bool": {HTTP: "true"}})),
    ),
    Known(
        "Allow on HTTP",
        "OOO",
        "Allow, not Deny",
        policy(say("Allow", when={"Bool": {HTTP: "false"}})),
    ),
    Known(
        "inverted",
        "ORO",
        "denies HTTPS, so only HTTP is left",
        policy(say(when={"Bool": {HTTP: "true"}})),
    ),
    _http("not false", "denies HTTPS", {"StringNotEquals": {HTTP: "false"}}, answers="ORO"),
    _http("absent", "never absent", {"Null": {HTTP: "true"}}, answers="OOO"),
    _http(
        "case of a text",
        "StringEquals minds case",
        {"StringEquals": {HTTP: "False"}},
        answers="OOO",
    ),
    _http("zero", "the text is false, not 0", {"StringEquals": {HTTP: "0"}}, answers="OOO"),
    _http("wrong key", "no such key", {"Bool": {"s3:SecureTransport": "false"}}, answers="OOO"),
    Known("puts only", "OOO", "reads stay open", policy(no_http(do="s3:PutObject"))),
    Known("reads only", "OOO", "writes stay open", policy(no_http(do="s3:Get*"))),
    Known(
        "reads and writes",
        "OOO",
        "ListBucket stays open",
        policy(no_http(do=["s3:Get*", "s3:Put*", "s3:Delete*"])),
    ),
    Known("objects only", "OOO", "the bucket stays open", policy(no_http(on=OBJECTS))),
    Known("bucket only", "OOO", "objects stay open", policy(no_http(on=B))),
    Known(
        "slash without star", "OOO", "no object is called that", policy(no_http(on=[B, f"{B}/"]))
    ),
    Known("one prefix", "OOO", "the rest stays open", policy(no_http(on=[B, f"{B}/secret/*"]))),
    Known(
        "some suffixes",
        "OOO",
        "others stay open",
        policy(no_http(on=[B, f"{B}/*.csv", f"{B}/*.parquet"])),
    ),
    Known("one level of names", "OOO", "? is one character", policy(no_http(on=[B, f"{B}/?"]))),
    Known(
        "other bucket",
        "OOO",
        "not this one",
        policy(no_http(on=["arn:aws:s3:::date", "arn:aws:s3:::date/*"])),
    ),
    Known(
        "longer name",
        "OOO",
        "not this one",
        policy(no_http(on=["arn:aws:s3:::data-eu", "arn:aws:s3:::data-eu/*"])),
    ),
    Known(
        "capital",
        "OOO",
        "resources mind case",
        policy(no_http(on=["arn:aws:s3:::Data", "arn:aws:s3:::Data/*"])),
    ),
    Known(
        "brackets",
        "OOO",
        "brackets are not wild",
        policy(no_http(on=["arn:aws:s3:::[d]ata", "arn:aws:s3:::[d]ata/*"])),
    ),
    Known("brackets in an action", "OOO", "brackets are not wild", policy(no_http(do="s3:[A-Z]*"))),
    Known("one user", "OOO", "others stay open", policy(no_http(who={"AWS": BOB}))),
    Known("one account", "OOO", "its own account stays open", policy(no_http(who={"AWS": OTHER}))),
    Known("all services", "OOO", "people stay open", policy(no_http(who={"Service": "*"}))),
    Known(
        "all but one", "OOO", "that one may use HTTP", policy(no_http(NotPrincipal={"AWS": ROLE}))
    ),
    Known("nobody", "OOO", "spares everyone", policy(no_http(NotPrincipal="*"))),
    Known(
        "all but a legal hold",
        "OOO",
        "that may use HTTP",
        policy(no_http(NotAction="s3:PutObjectLegalHold")),
    ),
    Known("all but S3", "OOO", "covers nothing of it", policy(no_http(NotAction="s3:*"))),
    Known(
        "all but secrets",
        "OOO",
        "these may be read over HTTP",
        policy(no_http(NotResource=f"{B}/secret/*")),
    ),
    Known("all but the bucket", "OOO", "listing stays open", policy(no_http(NotResource=B))),
    Known(
        "split with a gap",
        "OOO",
        "s3:ListBucket is in neither",
        policy(no_http(do="s3:*Object*"), no_http(do=["s3:*Bucket?*", "s3:*Configuration"])),
    ),
    Known(
        "split, one narrowed",
        "OOO",
        "the half that is left needs MFA",
        policy(
            no_http(do="s3:Get*"),
            no_http(
                NotAction="s3:Get*",
                when={"Bool": {HTTP: "false", "aws:MultiFactorAuthPresent": "false"}},
            ),
        ),
    ),
    Known(
        "split by address with a gap",
        "OOO",
        "172.16 is in neither",
        policy(
            *(
                say(when={"Bool": {HTTP: "false"}, op: {"aws:SourceIp": net}})
                for op, net in (
                    ("IpAddress", "10.0.0.0/8"),
                    ("NotIpAddress", ["10.0.0.0/8", "172.16.0.0/12"]),
                )
            )
        ),
    ),
    Known(
        "crossed splits",
        "OOO",
        "writes of the bucket are in neither",
        policy(no_http(do="s3:Get*", on=B), no_http(on=OBJECTS)),
    ),
    _narrow("and an address", "others use HTTP", IpAddress={"aws:SourceIp": "203.0.113.0/24"}),
    _narrow(
        "and not an address", "these use HTTP", NotIpAddress={"aws:SourceIp": "203.0.113.0/24"}
    ),
    _narrow(
        "and no MFA",
        "those with MFA use HTTP",
        BoolIfExists={"aws:MultiFactorAuthPresent": "false"},
    ),
    _narrow(
        "and not our account",
        "our account uses HTTP",
        StringNotEquals={"aws:PrincipalAccount": OWNER},
    ),
    _narrow(
        "and not our organization",
        "our people use HTTP",
        StringNotEquals={"aws:PrincipalOrgID": "o-a1b2c3d4e5"},
    ),
    _narrow(
        "and not an endpoint",
        "it may be used with HTTP",
        StringNotEquals={"aws:SourceVpce": "vpce-1a2b3c4d"},
    ),
    _narrow("and not a role", "that role uses HTTP", ArnNotLike={"aws:PrincipalArn": ROLE}),
    _narrow("and a tag", "the others use HTTP", StringEquals={"aws:PrincipalTag/team": "ml"}),
    _narrow(
        "and until 2030",
        "later it is open",
        DateLessThan={"aws:CurrentTime": "2030-01-01T00:00:00Z"},
    ),
    _narrow(
        "and a storage class",
        "the others stay open",
        StringEquals={"s3:x-amz-storage-class": "STANDARD"},
    ),
    _narrow("and TLS below 1.2", "no version on HTTP", NumericLessThan={TLS: "1.2"}),
    Known(
        "variable",
        "OOO",
        "only one's own folder",
        policy(no_http(on=[B, B + "/${aws:username}/*"])),
    ),
    Known(
        "variable, old version",
        "OOO",
        "ordinary text there",
        policy(no_http(on=[B, B + "/${*}*"]), version="2008-10-17"),
    ),
    Known("literal star", "OOO", "${*} is not wild", policy(no_http(on=[B, B + "/${*}"]))),
    Known(
        "TLS below 1.1",
        "ROO",
        "1.1 stays open",
        policy(no_http(), no_old_tls(when={"NumericLessThan": {TLS: "1.1"}})),
    ),
    Known("TLS 1.2 of puts", "ROO", "reads stay open", policy(no_http(), no_old_tls(do="s3:Put*"))),
    Known(
        "TLS at least 1.2 allowed",
        "OOO",
        "takes nothing away",
        policy(allow(when={"NumericGreaterThanEquals": {TLS: "1.2"}})),
    ),
    Known(
        "TLS above 1.2 denied",
        "OOO",
        "inverted",
        policy(no_old_tls(when={"NumericGreaterThan": {TLS: "1.2"}})),
    ),
    _put("put: header present", "inverted", {"Null": {SSE: "false"}}, answers="OOO"),
    _put("put: right header", "inverted", {"StringEquals": {SSE: "AES256"}}, answers="OOO"),
    _put(
        "put: only wrong ones",
        "an absent header passes",
        {"Null": {SSE: "false"}, "StringNotEquals": {SSE: "AES256"}},
        answers="OOO",
    ),
    _put(
        "put: ForAnyValue",
        "false of an absent key",
        {"ForAnyValue:StringNotEquals": {SSE: "AES256"}},
        answers="OOO",
    ),
    _put(
        "put: only with KMS",
        "an absent header passes",
        {"StringEquals": {SSE: "aws:kms"}, "StringNotEquals": {SSE_KEY: KEY}},
        answers="OOO",
    ),
    _put(
        "put: with another header",
        "those without an ACL pass",
        {"Null": {SSE: "true", "s3:x-amz-acl": "false"}},
        answers="OOO",
    ),
    _put(
        "put: over HTTP",
        "HTTPS passes",
        {"Null": {SSE: "true"}, "Bool": {HTTP: "false"}},
        answers="OOO",
    ),
    Known(
        "put: one folder",
        "OOO",
        "the rest stays open",
        policy(no_plain_put({"Null": {SSE: "true"}}, on=f"{B}/in/*")),
    ),
    Known(
        "put: ACL",
        "OOO",
        "another action",
        policy(no_plain_put({"Null": {SSE: "true"}}, do="s3:PutObjectAcl")),
    ),
    Known(
        "put: bucket",
        "OOO",
        "objects stay open",
        policy(no_plain_put({"Null": {SSE: "true"}}, on=B)),
    ),
    Known(
        "put: one user",
        "OOO",
        "others stay open",
        policy(no_plain_put({"Null": {SSE: "true"}}, who={"AWS": ROLE})),
    ),
    Known(
        "put: allowed with header",
        "OOO",
        "takes nothing away",
        policy(allow(do="s3:PutObject", on=OBJECTS, when={"StringEquals": {SSE: "AES256"}})),
    ),
)


def _both(*more: Any) -> Any:
    """Return a TLS statement for each further condition."""
    return policy(*(say(when={"Bool": {HTTP: "false"}} | one) for one in more))


SOURCE, TAGS, PATHS = "aws:SourceIp", "aws:TagKeys", "aws:PrincipalOrgPaths"
WORLD = {"IpAddress": {SOURCE: ["0.0.0.0/0", "::/0"]}}
DUSK = "2026-05-01T00:00:00Z"
"""Before the moment at which the tests judge, the first of June."""

CORNERS: tuple[Known, ...] = (
    Known(
        "in force",
        "ROO",
        "time does not go back",
        _both({"DateGreaterThan": {"aws:CurrentTime": DUSK}}),
    ),
    Known(
        "in force, seconds",
        "ROO",
        "the epoch time is always there",
        _both({"NumericGreaterThan": {"aws:EpochTime": "1577836800"}}),
    ),
    Known(
        "not yet in force",
        "OOO",
        "open until then",
        _both({"DateGreaterThan": {"aws:CurrentTime": "2031-05-01"}}),
    ),
    Known(
        "expired", "OOO", "no longer in force", _both({"DateLessThan": {"aws:CurrentTime": DUSK}})
    ),
    Known("every address", "OOO", "through an endpoint there is none", _both(WORLD)),
    Known(
        "every address and none", "ROO", "nothing is left", _both(WORLD, {"Null": {SOURCE: "true"}})
    ),
    Known(
        "old addresses and none",
        "OOO",
        "IPv6 is left",
        _both({"IpAddress": {SOURCE: "0.0.0.0/0"}}, {"Null": {SOURCE: "true"}}),
    ),
    Known(
        "addresses in halves",
        "ROO",
        "neither half: IPv6 and none; the old ones: the second",
        _both(
            {"NotIpAddress": {SOURCE: ["0.0.0.0/1", "128.0.0.0/1"]}},
            {"IpAddress": {SOURCE: "0.0.0.0/0"}},
        ),
    ),
    Known(
        "two spellings of a key",
        "OOO",
        "ANDed, so it never holds",
        policy(say(when={"Bool": {HTTP: "false", "AWS:SECURETRANSPORT": "true"}})),
    ),
    Known(
        "two spellings of an operator",
        "OOO",
        "the same",
        policy(say(when={"Bool": {HTTP: "false"}, "BOOL": {HTTP: "true"}})),
    ),
    Known(
        "one's own value",
        "RRR",
        "always equal",
        policy(say(when={"StringEquals": {HTTP: "${aws:SecureTransport}"}})),
    ),
    Known(
        "not one's own value",
        "OOO",
        "never unequal",
        policy(say(when={"StringNotEquals": {HTTP: "${aws:SecureTransport}"}})),
    ),
    Known(
        "a number with a zero",
        "RRO",
        "1.20 is 1.2",
        policy(say(when={"NumericLessThanIfExists": {TLS: "1.20"}})),
    ),
    Known(
        "every TLS", "ORO", "HTTP has no version", policy(say(when={"StringLike": {TLS: "1.*"}}))
    ),
    Known(
        "lengths of names",
        "ROO",
        "0, 1, 2 and more",
        policy(no_http(on=[B, f"{B}/?", f"{B}/??", f"{B}/???*"])),
    ),
    Known(
        "lengths of names, a gap",
        "OOO",
        "names of two letters",
        policy(no_http(on=[B, f"{B}/?", f"{B}/???*"])),
    ),
    Known(
        "spared names apart",
        "ROO",
        "none is in both",
        policy(no_http(NotResource=f"{B}/a*"), no_http(NotResource=f"{B}/b*")),
    ),
    Known(
        "spared names overlap",
        "OOO",
        "ab is in both",
        policy(no_http(NotResource=f"{B}/a*"), no_http(NotResource=f"{B}/*b")),
    ),
    Known(
        "spared actions overlap",
        "OOO",
        "s3:DeleteObjectTagging is in none",
        policy(
            no_http(NotAction=["s3:Get*", "s3:*Tagging"]), no_http(do=["s3:Get*", "s3:Put*Tagging"])
        ),
    ),
    Known(
        "sets that part",
        "ROO",
        "some other tag, or none",
        _both(
            {"ForAllValues:StringEquals": {TAGS: "a"}}, {"ForAnyValue:StringNotEquals": {TAGS: "a"}}
        ),
    ),
    Known(
        "paths that part",
        "ROO",
        "some path, or none",
        _both(
            {"ForAnyValue:StringLike": {PATHS: "o-1/*"}},
            {"ForAllValues:StringNotLike": {PATHS: "o-1/*"}},
        ),
    ),
    Known(
        "types that part",
        "ROO",
        "that type, or not",
        _both(
            {"StringEquals": {"aws:PrincipalType": "User"}},
            {"StringNotEquals": {"aws:PrincipalType": "User"}},
        ),
    ),
    Known(
        "one type spared",
        "OOO",
        "roles use HTTP",
        _both({"StringNotEquals": {"aws:PrincipalType": "AssumedRole"}}),
    ),
    Known(
        "any user agent", "OOO", "it may be absent", _both({"StringLike": {"aws:UserAgent": "*"}})
    ),
    Known(
        "a folder each",
        "OOO",
        "one's own is spared",
        policy(no_http(NotResource=B + "/${aws:username}/*")),
    ),
    Known("a space", "OOO", "no action is called that", policy(no_http(do="s3:* "))),
)
"""Rarely seen; the details that decide them are."""
