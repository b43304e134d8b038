"""Holes that a policy can have without looking like it: each was overlooked once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.iam import Exposure, bucket_exposure, parse_policy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = "111122223333"
EVERYTHING = ["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"]
HTTP = {"Bool": {"aws:SecureTransport": "false"}}


def deny(conditions=HTTP, **other):
    """Return a statement that refuses everybody."""
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": EVERYTHING}
    return statement | {"Condition": conditions} | other


def narrowed(**conditions):
    return deny(HTTP | conditions)


def http(*statements, owner=None):
    document = parse_policy({"Version": "2012-10-17", "Statement": list(statements)})
    return bucket_exposure(document, bucket="lake", owner=owner, now=NOW).plain_http.exposure


@pytest.mark.parametrize("owner", [None, OWNER])
@pytest.mark.parametrize(
    "conditions",
    [
        {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:*"}},
        {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:sts::{OWNER}:federated-user/*"}},
        {"StringNotEquals": {"aws:PrincipalType": "FederatedUser"}},
        {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/admin"}},
        {"StringNotEquals": {"aws:PrincipalAccount": "${aws:ResourceAccount}"}},
        {"StringNotEquals": {"aws:PrincipalAccount": "${aws:PrincipalTag/home, 'none'}"}},
        {"NumericNotEquals": {"aws:PrincipalAccount": "999988887777"}},
        {"ArnNotLike": {"aws:PrincipalArn": "arn:*"}},
        {"NumericNotEquals": {"aws:PrincipalTag/level": "1_2"}},
    ],
)
def test_callers_that_a_narrowed_ban_spares(conditions, owner):
    assert http(narrowed(**conditions), owner=owner) is not Exposure.REFUSED


def test_a_variable_in_a_boolean_is_text_and_equals_nothing():
    statement = deny({"Bool": {"aws:SecureTransport": "${aws:SecureTransport}"}})
    assert http(statement) is Exposure.OPEN


def test_a_variable_may_equal_what_it_is_compared_with():
    conditions = {
        "StringNotEquals": {"aws:SecureTransport": "${aws:PrincipalTag/transport, 'true'}"}
    }
    assert http(deny(conditions)) is not Exposure.REFUSED


def test_a_folder_of_a_user_may_have_any_name():
    own = deny(NotResource=["arn:aws:s3:::lake", "arn:aws:s3:::lake/${aws:username}/*"])
    own.pop("Resource")
    other = deny(Resource="arn:aws:s3:::lake/zq7/*")
    assert http(own, other, deny(Resource=EVERYTHING[0])) is not Exposure.REFUSED


@pytest.mark.parametrize("owner", [None, OWNER])
def test_an_identity_of_cloudfront_has_no_account(owner):
    reader = "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"
    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": reader},
        "Action": "s3:GetObject",
        "Resource": EVERYTHING[1],
    }
    spared = deny(NotPrincipal={"AWS": reader})
    spared.pop("Principal")
    assert http(allow, spared, owner=owner) is Exposure.OPEN


def test_a_service_that_a_ban_spares_by_name():
    allow = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": EVERYTHING[1],
        "Condition": {"Null": {"aws:PrincipalServiceName": "false"}},
    }
    ban = narrowed(StringNotEquals={"aws:PrincipalServiceName": "cloudtrail.amazonaws.com"})
    home = deny(Principal={"AWS": OWNER})
    assert http(allow, ban, home, owner=OWNER) is Exposure.OPEN


def test_the_neighbour_of_a_key_that_will_do_is_tried():
    wanted = "arn:aws:kms:eu-west-1:111122223333:alias/dataz"
    header = "s3:x-amz-server-side-encryption"
    pattern = {"StringNotLike": {f"{header}-aws-kms-key-id": wanted[:-1] + "?"}}
    document = parse_policy(
        {
            "Version": "2012-10-17",
            "Statement": [
                deny({"StringNotEquals": {header: "aws:kms"}}, Action="s3:PutObject"),
                deny(pattern, Action="s3:PutObject"),
            ],
        }
    )
    answers = bucket_exposure(
        document, bucket="lake", now=NOW, modes=("SSE-KMS",), kms_keys=(wanted,)
    )
    assert answers.unencrypted_put.exposure is Exposure.OPEN
    key = answers.unencrypted_put.counterexample["context"][f"{header}-aws-kms-key-id"]
    assert key != wanted


def test_a_tag_need_not_be_a_boolean():
    tag = "aws:PrincipalTag/t"
    split = [
        narrowed(Bool=HTTP["Bool"] | {tag: "true"}),
        narrowed(Bool=HTTP["Bool"] | {tag: "false"}),
        narrowed(Null={tag: "true"}),
    ]
    assert http(*split) is Exposure.OPEN


@pytest.mark.parametrize(
    "owner", ["", "1111-2222-3333", "arn:aws:iam::111122223333:root", "\uff11" * 12]
)
def test_an_owner_is_twelve_digits(owner):
    with pytest.raises(ConfigurationError, match="twelve digits"):
        http(deny(), owner=owner)


def test_actions_that_no_bucket_policy_is_asked_about_leave_no_hole():
    statement = deny(NotAction=["s3:ListAllMyBuckets", "s3:CreateBucket"])
    statement.pop("Action")
    assert http(statement) is Exposure.REFUSED


@pytest.mark.slow
def test_the_plain_statement_settles_it_however_entangled_the_rest_is():
    entangled = [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::lake/*x*{n}*${{aws:PrincipalTag/{n % 5}, 'x'}}*",
        }
        for n in range(60)
    ]
    assert http(deny(), *entangled) is Exposure.REFUSED


@pytest.mark.slow
def test_many_statements_are_not_too_deep():
    many = [narrowed(StringEquals={f"aws:PrincipalTag/{n}": "x"}) for n in range(1050)]
    assert http(*many) in (Exposure.OPEN, Exposure.UNKNOWN)
