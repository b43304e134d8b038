"""Buckets and accounts: what holds for everything in a bucket, asked of a server.

The honest path runs against moto. Where moto does not tell what AWS would (its front says
so), the answer has the shape that AWS documents.
"""

from __future__ import annotations

import json
import time
from itertools import count
from types import SimpleNamespace

import boto3
import pytest

from sluicegate.model import Outcome, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.s3 import calls as calls_module
from sluicegate.stages.encryption.s3.bucket import AREA, QUESTIONS
from sluicegate.stages.encryption.s3.calls import Calls
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri
from tests.core.aws_front import ACCOUNT, OTHER, scope_of, serve, xml

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
OTHER_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/99999999-2222-3333-4444-555555555555"
ALL_ON = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
ARNS = ["arn:aws:s3:::dataset", "arn:aws:s3:::dataset/*"]
EVERYONE = "http://acs.amazonaws.com/groups/global/AllUsers"
AWS_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"


def deny(conditions, action="s3:*"):
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": ARNS,
        "Condition": conditions,
    }


def allow(principal, action="s3:GetObject", conditions=None):
    made = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": ARNS}
    return made | ({"Condition": conditions} if conditions else {})


SOUND = [
    deny({"Bool": {"aws:SecureTransport": "false"}}),
    deny({"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
    deny({"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}}),
    deny({"NumericGreaterThan": {"s3:signatureAge": 600_000}}),
]
"""A policy that refuses plain HTTP, old TLS, keys of clients and old signatures."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="module")
def clients(running):
    return boto3.client("s3"), boto3.client("s3control")


@pytest.fixture
def front(running):
    running.forget()
    yield running
    running.forget()


@pytest.fixture
def s3(front, clients):
    """Return a client of a server whose bucket ``dataset`` has nothing wrong."""
    made, control = clients
    made.create_bucket(Bucket="dataset", ObjectLockEnabledForBucket=True)
    made.create_bucket(Bucket="access-logs")
    made.put_bucket_versioning(Bucket="dataset", VersioningConfiguration={"Status": "Enabled"})
    made.put_object_lock_configuration(
        Bucket="dataset",
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}},
        },
    )
    made.put_public_access_block(Bucket="dataset", PublicAccessBlockConfiguration=ALL_ON)
    own_everything(made)
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=ALL_ON)
    front.answers["s3.get_bucket_encryption"] = encryption()
    front.answers["s3.get_bucket_logging"] = logging_to("access-logs")
    put_policy(front, *SOUND)
    front.calls.clear()
    return made


def own_everything(client, ownership="BucketOwnerEnforced"):
    client.put_bucket_ownership_controls(
        Bucket="dataset", OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]}
    )


def encryption(algorithm="aws:kms", key=KEY, blocked=("SSE-C",)):
    """Return an answer of get_bucket_encryption: moto drops BlockedEncryptionTypes."""
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}
        | ({"KMSMasterKeyID": key} if key else {}),
        "BucketKeyEnabled": True,
    }
    if blocked is not None:
        rule["BlockedEncryptionTypes"] = {"EncryptionType": list(blocked)}
    return xml("ServerSideEncryptionConfiguration", {"Rule": rule})


def logging_to(bucket):
    """Return an answer of get_bucket_logging: moto demands grants before it stores one."""
    enabled = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "dataset/"}}
    return xml("BucketLoggingStatus", enabled)


def put_policy(front, *statements):
    """Answer with a policy: under moto a Deny also hits HTTPS, it ignores conditions."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    front.answers["s3.get_bucket_policy"] = json.dumps(document)
    front.answers["s3.get_bucket_policy_status"] = status_public(value=False)


def status_public(*, value):
    return xml("PolicyStatus", {"IsPublic": value})


def access_list(*grants):
    owner = {"ID": "a" * 64, "@type": "CanonicalUser"}
    all_grants = [{"Grantee": owner, "Permission": "FULL_CONTROL"}, *grants]
    return xml(
        "AccessControlPolicy",
        {"Owner": {"ID": "a" * 64}, "AccessControlList": {"Grant": all_grants}},
    )


def to_group(uri, permission="READ"):
    return {"Grantee": {"URI": uri, "@type": "Group"}, "Permission": permission}


def to_user(identity, permission="READ"):
    return {"Grantee": {"ID": identity, "@type": "CanonicalUser"}, "Permission": permission}


def block_nothing():
    boto3.client("s3").delete_public_access_block(Bucket="dataset")
    boto3.client("s3control").delete_public_access_block(AccountId=ACCOUNT)


def ask(name, **settings):
    """Return the one check of a question; names go without their common beginning."""
    found = everything(checks=(f"encryption.{name}",), **settings)
    assert len(found) == 1
    return found[0]


def everything(**settings):
    return list(AREA.examine(scope_of(settings=Settings(**settings))))


def texts(check):
    return " ".join(finding.message for finding in check.findings)


# ------------------------------------------------------------- all questions, one table


def worse_default(front):
    front.answers["s3.get_bucket_encryption"] = encryption("aws:fsx", None)


def worse_blocked(front):
    front.answers["s3.get_bucket_encryption"] = encryption(blocked=("NONE",))


def worse_replication(front):
    front.answers["s3.get_bucket_replication"] = replication(account=OTHER)


def worse_inventory(front):
    front.answers["s3.list_bucket_inventory_configurations"] = inventory(account=OTHER)


def worse_policy(front):
    put_policy(front, allow({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    front.answers["s3.get_bucket_encryption"] = encryption(blocked=())


def worse_public(front):
    block_nothing()
    put_policy(front, *SOUND, allow("*"))
    front.answers["s3.get_bucket_policy_status"] = status_public(value=True)


def worse_block(front):
    block_nothing()


def worse_others(front):
    put_policy(front, *SOUND, allow({"AWS": f"arn:aws:iam::{OTHER}:root"}))


def worse_ownership(front):
    own_everything(boto3.client("s3"), "ObjectWriter")


def worse_owner(front):
    front.owner = OTHER


def worse_versioning(front):
    front.answers["s3.get_bucket_versioning"] = xml(
        "VersioningConfiguration", {"Status": "Suspended"}
    )


def worse_lock(front):
    front.refuse(
        "s3.get_object_lock_configuration", code="ObjectLockConfigurationNotFoundError", status=404
    )


def worse_logging(front):
    front.answers["s3.get_bucket_logging"] = xml("BucketLoggingStatus", {})


WORSE = {
    "encryption.s3_bucket_default": worse_default,
    "encryption.s3_bucket_sse_c_blocked": worse_blocked,
    "encryption.s3_bucket_replication": worse_replication,
    "encryption.s3_bucket_inventory_destinations": worse_inventory,
    "encryption.s3_bucket_plain_http": worse_policy,
    "encryption.s3_bucket_below_tls12": worse_policy,
    "encryption.s3_bucket_unencrypted_put": worse_policy,
    "encryption.s3_presigned": worse_policy,
    "encryption.s3_bucket_public": worse_public,
    "encryption.s3_bucket_public_access_block": worse_block,
    "encryption.s3_account_public_access_block": worse_block,
    "encryption.s3_bucket_other_accounts": worse_others,
    "encryption.s3_bucket_ownership": worse_ownership,
    "encryption.s3_bucket_owner": worse_owner,
    "encryption.s3_bucket_versioning": worse_versioning,
    "encryption.s3_bucket_object_lock": worse_lock,
    "encryption.s3_bucket_logging": worse_logging,
}
"""What makes each question fail."""

EACH = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)


def only(question, **settings):
    found = everything(checks=(question.id,), owner=ACCOUNT, **settings)
    assert [check.id for check in found] == [question.id]
    assert found[0].severity is question.severity
    assert found[0].target in ("dataset", ACCOUNT)
    return found[0]


def replication(account=None, key=None, status="Enabled"):
    """Return an answer of get_bucket_replication."""
    destination = {"Bucket": "arn:aws:s3:::copies"}
    if account:
        destination["Account"] = account
    if key:
        destination["EncryptionConfiguration"] = {"ReplicaKmsKeyID": key}
    rule = {"ID": "r", "Status": status, "Destination": destination}
    return xml("ReplicationConfiguration", {"Role": "r", "Rule": rule})


def inventory(account=None, encryption=None, enabled=True):
    destination = {"Bucket": "arn:aws:s3:::reports", "Format": "Parquet"}
    if account:
        destination["AccountId"] = account
    if encryption is not None:
        destination["Encryption"] = encryption
    one = {"Destination": {"S3BucketDestination": destination}, "IsEnabled": enabled, "Id": "i"}
    return xml(
        "ListInventoryConfigurationsResult",
        {"InventoryConfiguration": one, "IsTruncated": False},
    )


def test_every_question_has_a_case_that_fails():
    assert set(WORSE) == {question.id for question in QUESTIONS}


@EACH
def test_a_sound_bucket_passes(s3, question):
    assert only(question).outcome is Outcome.PASSED


@EACH
def test_the_fault_is_found(front, s3, question):
    WORSE[question.id](front)
    check = only(question)
    assert check.outcome is Outcome.FAILED
    assert all("expected" in one.message or ":" in one.message for one in check.findings)
    json.dumps(check.to_json())


@EACH
def test_access_denied_is_unknown_and_says_what_is_needed(front, s3, question):
    front.refuse(*question.calls)
    check = only(question)
    assert check.outcome is Outcome.UNKNOWN
    assert "access denied" in check.reason
    assert any(permission.action in check.reason for permission in question.permissions)


@EACH
def test_a_missing_api_is_unknown(front, s3, question):
    front.refuse(*question.calls, code="NotImplemented", status=501)
    check = only(question)
    assert check.outcome is Outcome.UNKNOWN
    assert any(call in check.reason for call in question.calls)


@EACH
def test_no_single_refusal_turns_a_fault_into_a_pass(front, s3, question):
    for call in question.calls:
        WORSE[question.id](front)
        front.refuse(call)
        assert only(question).outcome is not Outcome.PASSED, call
        front.answers.pop(call)


@EACH
def test_only_the_declared_calls_are_made_and_each_once(front, s3, question):
    for worse in (None, WORSE[question.id]):
        if worse:
            worse(front)
        front.calls.clear()
        found = everything(checks=(question.id,))
        assert found or question.id == "encryption.s3_bucket_owner"
        made = [call for call in front.calls if call]
        assert set(made) <= set(question.calls)
        assert len(made) == len(set(made))


def test_all_together_make_each_call_once(front, s3):
    assert len(everything()) == len(QUESTIONS) - 1  # nobody said who the owner should be
    assert len(front.calls) == len(set(front.calls))


def test_a_server_that_knows_nothing_is_never_passed(front, s3):
    front.refuse(*{call for question in QUESTIONS for call in question.calls}, status=503)
    assert {check.outcome for check in everything(owner=ACCOUNT)} == {Outcome.UNKNOWN}


def test_a_bucket_that_is_not_there_is_never_passed(front, s3):
    found = list(AREA.examine(scope_of("s3://no-such-bucket/x", owner=ACCOUNT)))
    told = {check.id: check.outcome for check in found if "account" not in check.id}
    front.calls.clear()
    assert told.pop("encryption.s3_bucket_default") is Outcome.PASSED  # the front's answer
    assert Outcome.PASSED not in {
        outcome
        for name, outcome in told.items()
        if not any(part in name for part in ("sse_c", "http", "tls12", "put", "logging", "public"))
    }


def test_questions_are_asked_only_if_wanted(front, s3):
    assert everything(checks=("encryption.kms*",)) == []
    assert front.calls == []


def test_the_same_world_gives_the_same_report(s3):
    assert everything() == everything()


@EACH
def test_questions_are_complete(question):
    assert question.asks.endswith("?")
    assert question.remedy
    assert question.permissions
    assert {permission.on for permission in question.permissions} <= {"bucket", "account"}


def test_resources_are_those_of_the_bucket_and_nothing_elsewhere():
    named = AREA.resources(Settings(), SubjectUri.parse("s3://dataset/deep/set"))
    assert named == {"bucket": ("arn:aws:s3:::dataset",), "account": ("*",)}
    assert AREA.resources(Settings(), SubjectUri.parse("/tmp/x")) == {}


# ------------------------------------------------------------- default encryption


@pytest.mark.parametrize(
    ("algorithm", "key", "settings", "outcome"),
    [
        ("AES256", None, {}, Outcome.PASSED),
        ("aws:kms", None, {}, Outcome.PASSED),
        ("aws:kms:dsse", KEY, {}, Outcome.PASSED),
        ("AES256", None, {"modes": ("SSE-KMS",)}, Outcome.FAILED),
        ("aws:kms", KEY, {"modes": ("DSSE-KMS",)}, Outcome.FAILED),
        ("aws:kms", KEY, {"kms_keys": (KEY,)}, Outcome.PASSED),
        ("aws:kms", OTHER_KEY, {"kms_keys": (KEY,)}, Outcome.FAILED),
        ("aws:kms", None, {"kms_keys": (KEY,)}, Outcome.FAILED),
        ("aws:kms", KEY.rpartition("/")[2], {"kms_keys": (KEY,)}, Outcome.FAILED),
        ("aws:kms", "alias/mine", {"kms_keys": (KEY,)}, Outcome.FAILED),
        ("AES256", None, {"kms_keys": (KEY,)}, Outcome.PASSED),
        ("aws:backup", None, {}, Outcome.FAILED),
        ("aws:fsx", KEY, {"kms_keys": (KEY,)}, Outcome.FAILED),
    ],
)
def test_default_encryption_is_judged_by_mode_and_full_key(
    front, s3, algorithm, key, settings, outcome
):
    front.answers["s3.get_bucket_encryption"] = encryption(algorithm, key)
    assert ask("s3_bucket_default", **settings).outcome is outcome


def test_no_default_encryption_fails(front, s3):
    del front.answers["s3.get_bucket_encryption"]
    check = ask("s3_bucket_default")
    assert check.outcome is Outcome.FAILED
    assert "none" in texts(check)


def test_a_default_that_moto_stored_itself_is_read(front, s3):
    del front.answers["s3.get_bucket_encryption"]
    applied = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    s3.put_bucket_encryption(
        Bucket="dataset",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": applied}]
        },
    )
    assert ask("s3_bucket_default", kms_keys=(KEY,)).outcome is Outcome.PASSED
    assert ask("s3_bucket_default", kms_keys=(OTHER_KEY,)).outcome is Outcome.FAILED


def test_an_answer_without_a_rule_is_no_default(front, s3):
    front.answers["s3.get_bucket_encryption"] = xml("ServerSideEncryptionConfiguration", {})
    assert ask("s3_bucket_default").outcome is Outcome.FAILED
    assert ask("s3_bucket_sse_c_blocked").outcome is Outcome.FAILED


def test_sse_c_is_not_asked_about_where_it_is_wanted(front, s3):
    wanted = {"checks": ("encryption.s3_bucket_sse_c_blocked",), "modes": ("SSE-S3", "SSE-C")}
    assert everything(**wanted) == []


def test_a_boto3_that_cannot_read_the_setting_makes_it_unknown(front, s3, monkeypatch):
    front.answers["s3.get_bucket_encryption"] = encryption(blocked=None)
    scope = scope_of(checks=("encryption.s3_bucket_sse_c_blocked",))
    older = SimpleNamespace(members={"ApplyServerSideEncryptionByDefault": None})
    model = scope.aws.client("s3").meta.service_model
    monkeypatch.setattr(model, "shape_for", lambda name: older)
    (check,) = AREA.examine(scope)
    assert check.outcome is Outcome.UNKNOWN
    assert "boto3" in check.reason


# ------------------------------------------------------------- replication, inventory


@pytest.mark.parametrize(
    ("told", "settings", "outcome"),
    [
        (replication(), {}, Outcome.PASSED),
        (replication(), {"modes": ("SSE-KMS",)}, Outcome.UNKNOWN),
        (replication(key=KEY), {"modes": ("SSE-KMS",)}, Outcome.PASSED),
        (replication(key=KEY), {"modes": ("DSSE-KMS",)}, Outcome.PASSED),
        (replication(key=KEY), {"modes": ("SSE-S3",)}, Outcome.FAILED),
        (replication(key=OTHER_KEY), {"kms_keys": (KEY,)}, Outcome.FAILED),
        (replication(key=KEY), {"kms_keys": (KEY,)}, Outcome.PASSED),
        (replication(account=ACCOUNT), {}, Outcome.PASSED),
        (replication(account=OTHER), {}, Outcome.FAILED),
        (replication(account=OTHER, status="Disabled"), {}, Outcome.PASSED),
    ],
)
def test_replicas_are_judged_like_the_bucket(front, s3, told, settings, outcome):
    front.answers["s3.get_bucket_replication"] = told
    assert ask("s3_bucket_replication", **settings).outcome is outcome


def test_a_destination_in_an_account_is_unknown_while_our_own_is_not_known(front, s3):
    front.answers["s3.get_bucket_replication"] = replication(account=OTHER)
    front.refuse("sts.get_caller_identity")
    assert ask("s3_bucket_replication").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("told", "settings", "outcome"),
    [
        (inventory(), {}, Outcome.PASSED),
        (inventory(), {"modes": ("SSE-KMS",)}, Outcome.UNKNOWN),
        (inventory(encryption={"SSE-S3": {}}), {}, Outcome.PASSED),
        (inventory(encryption={"SSE-S3": {}}), {"modes": ("SSE-KMS",)}, Outcome.FAILED),
        (inventory(encryption={"SSE-KMS": {"KeyId": KEY}}), {"kms_keys": (KEY,)}, Outcome.PASSED),
        (
            inventory(encryption={"SSE-KMS": {"KeyId": OTHER_KEY}}),
            {"kms_keys": (KEY,)},
            Outcome.FAILED,
        ),
        (
            inventory(encryption={"SSE-KMS": {"KeyId": KEY}}),
            {"modes": ("DSSE-KMS",)},
            Outcome.FAILED,
        ),
        (inventory(account=OTHER), {}, Outcome.FAILED),
        (inventory(account=OTHER, enabled=False), {}, Outcome.PASSED),
    ],
)
def test_inventory_reports_are_judged_like_the_bucket(front, s3, told, settings, outcome):
    front.answers["s3.list_bucket_inventory_configurations"] = told
    assert ask("s3_bucket_inventory_destinations", **settings).outcome is outcome


def test_more_inventories_than_one_answer_holds_are_unknown(front, s3):
    front.answers["s3.list_bucket_inventory_configurations"] = xml(
        "ListInventoryConfigurationsResult", {"IsTruncated": True, "NextContinuationToken": "t"}
    )
    assert ask("s3_bucket_inventory_destinations").outcome is Outcome.UNKNOWN


# ------------------------------------------------------------- the policy


def test_without_a_policy_plain_http_is_open_and_the_evidence_is_a_request(front, s3):
    del front.answers["s3.get_bucket_policy"]
    check = ask("s3_bucket_plain_http")
    assert check.outcome is Outcome.FAILED
    assert check.severity is Severity.CRITICAL
    request = check.findings[0].evidence["request"]
    assert request["context"]["aws:SecureTransport"] == "false"
    assert request["resource"].startswith("arn:aws:s3:::dataset")


def test_a_policy_that_cannot_be_judged_is_unknown(front, s3):
    front.answers["s3.get_bucket_policy"] = '{"Version": "2012-10-17", "Statement": 7}'
    for name in ("s3_bucket_plain_http", "s3_bucket_below_tls12", "s3_bucket_unencrypted_put"):
        check = ask(name)
        assert check.outcome is Outcome.UNKNOWN
        assert "Statement" in check.reason


def test_a_hole_for_one_prefix_is_found(front, s3):
    statement = deny({"Bool": {"aws:SecureTransport": "false"}})
    statement["Resource"] = ["arn:aws:s3:::dataset", "arn:aws:s3:::dataset/raw/*"]
    put_policy(front, statement)
    assert ask("s3_bucket_plain_http").outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"StringNotEquals": {"s3:authType": "REST-HEADER"}}, Outcome.PASSED),
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, Outcome.PASSED),
        ({"NumericGreaterThan": {"s3:signatureAge": 3_600_000}}, Outcome.PASSED),
        ({"NumericGreaterThan": {"s3:signatureAge": 604_800_000}}, Outcome.FAILED),
        ({"StringEquals": {"s3:authType": "POST"}}, Outcome.FAILED),
    ],
)
def test_presigned_urls_are_refused_or_end_early(front, s3, conditions, expected):
    put_policy(front, deny(conditions))
    assert ask("s3_presigned").outcome is expected


def test_a_policy_without_a_tls_version_only_fails_that_question(front, s3):
    put_policy(front, SOUND[0])
    assert ask("s3_bucket_plain_http").outcome is Outcome.PASSED
    assert ask("s3_bucket_below_tls12").outcome is Outcome.FAILED


def test_uploads_with_keys_of_clients_are_refused_by_the_bucket_or_by_its_policy(front, s3):
    put_policy(front, SOUND[0])
    assert ask("s3_bucket_unencrypted_put").outcome is Outcome.PASSED  # the bucket blocks them
    front.answers["s3.get_bucket_encryption"] = encryption(blocked=())
    assert ask("s3_bucket_unencrypted_put").outcome is Outcome.FAILED
    put_policy(front, *SOUND)
    assert ask("s3_bucket_unencrypted_put").outcome is Outcome.PASSED


def test_uploads_with_another_key_are_open_unless_the_policy_refuses_them(front, s3):
    assert ask("s3_bucket_unencrypted_put", kms_keys=(KEY,)).outcome is Outcome.FAILED
    name = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    algorithm = "s3:x-amz-server-side-encryption"
    put_policy(
        front,
        *SOUND,
        deny({"ArnNotEqualsIfExists": {name: KEY}}, "s3:PutObject"),
        deny({"StringEquals": {algorithm: "AES256"}}, "s3:PutObject"),
        deny({"StringEquals": {algorithm: "aws:kms"}, "Null": {name: "true"}}, "s3:PutObject"),
    )
    wanted = {"kms_keys": (KEY,), "modes": ("SSE-KMS", "DSSE-KMS")}
    check = ask("s3_bucket_unencrypted_put", **wanted)
    request = check.findings[0].evidence["request"] if check.findings else {}
    # What remains open, if anything, is DSSE-KMS without a key id.
    assert check.outcome is Outcome.PASSED or request["context"][algorithm] == "aws:kms:dsse"


def test_the_default_decides_over_uploads_that_ask_for_nothing(front, s3):
    front.answers["s3.get_bucket_encryption"] = encryption("AES256", None)
    check = ask("s3_bucket_unencrypted_put", modes=("SSE-KMS",))
    assert check.outcome is Outcome.FAILED


# ------------------------------------------------------------- the public


def test_a_public_policy_under_a_restriction_of_either_level_is_not_public(front, s3):
    put_policy(front, *SOUND, allow("*"))
    front.answers["s3.get_bucket_policy_status"] = status_public(value=True)
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    s3.delete_public_access_block(Bucket="dataset")
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    boto3.client("s3control").delete_public_access_block(AccountId=ACCOUNT)
    check = ask("s3_bucket_public")
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].evidence["called_public_by_aws"] is True


def test_blocking_future_policies_does_not_take_back_the_present_one(front, s3):
    block_nothing()
    s3.put_public_access_block(
        Bucket="dataset",
        PublicAccessBlockConfiguration=ALL_ON | {"RestrictPublicBuckets": False},
    )
    put_policy(front, *SOUND, allow("*"))
    assert ask("s3_bucket_public").outcome is Outcome.FAILED


def test_the_word_of_aws_counts_where_the_search_finds_nothing(front, s3):
    block_nothing()
    front.answers["s3.get_bucket_policy_status"] = status_public(value=True)
    assert ask("s3_bucket_public").outcome is Outcome.FAILED


def test_the_search_counts_where_aws_says_nothing(front, s3):
    block_nothing()
    front.refuse("s3.get_bucket_policy_status", code="NotImplemented", status=501)
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    put_policy(front, *SOUND, allow("*"))
    front.refuse("s3.get_bucket_policy_status", code="NotImplemented", status=501)
    assert ask("s3_bucket_public").outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "conditions",
    [
        {"StringEquals": {"aws:SourceVpce": "vpce-0123456789abcdef0"}},
        {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
    ],
    ids=["endpoint", "addresses", "organisation", "account"],
)
def test_a_grant_to_everybody_that_is_narrowed_is_not_public(front, s3, conditions):
    block_nothing()
    put_policy(front, *SOUND, allow("*", conditions=conditions))
    assert ask("s3_bucket_public").outcome is Outcome.PASSED


def test_a_public_policy_is_unknown_while_nobody_knows_whether_it_is_restricted(front, s3):
    s3.delete_public_access_block(Bucket="dataset")
    put_policy(front, *SOUND, allow("*"))
    front.refuse("s3control.get_public_access_block")
    check = ask("s3_bucket_public")
    assert check.outcome is Outcome.UNKNOWN
    assert "s3:GetAccountPublicAccessBlock" in check.reason


@pytest.mark.parametrize("group", [EVERYONE, AWS_USERS])
def test_a_grant_to_a_public_group_is_public_unless_lists_are_ignored_or_off(front, s3, group):
    front.answers["s3.get_bucket_acl"] = access_list(to_group(group))
    assert ask("s3_bucket_public").outcome is Outcome.PASSED  # lists are off
    own_everything(s3, "ObjectWriter")
    assert ask("s3_bucket_public").outcome is Outcome.PASSED  # public ones are ignored
    block_nothing()
    check = ask("s3_bucket_public")
    assert check.outcome is Outcome.FAILED
    assert "READ" in texts(check)
    boto3.client("s3control").put_public_access_block(
        AccountId=ACCOUNT, PublicAccessBlockConfiguration=ALL_ON
    )
    assert ask("s3_bucket_public").outcome is Outcome.PASSED


def test_blocking_future_lists_does_not_take_back_the_present_one(front, s3):
    block_nothing()
    own_everything(s3, "ObjectWriter")
    front.answers["s3.get_bucket_acl"] = access_list(to_group(EVERYONE))
    for name, outcome in (
        ("BlockPublicAcls", Outcome.FAILED),
        ("RestrictPublicBuckets", Outcome.FAILED),
        ("IgnorePublicAcls", Outcome.PASSED),
    ):
        s3.put_public_access_block(Bucket="dataset", PublicAccessBlockConfiguration={name: True})
        assert ask("s3_bucket_public").outcome is outcome


@pytest.mark.parametrize(
    ("action", "resource"), [("s3:ListBucket", ARNS[0]), ("s3:GetObject", f"{ARNS[0]}/raw/*")]
)
def test_a_way_into_the_bucket_or_into_some_objects_is_enough(front, s3, action, resource):
    block_nothing()
    put_policy(front, *SOUND, allow("*", action) | {"Resource": resource})
    assert ask("s3_bucket_public").outcome is Outcome.FAILED
    put_policy(front, *SOUND, allow({"AWS": OTHER}, action) | {"Resource": resource})
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    assert ask("s3_bucket_other_accounts").outcome is Outcome.FAILED


def test_a_public_list_that_moto_stored_itself_is_read(front, s3):
    block_nothing()
    s3.delete_bucket_ownership_controls(Bucket="dataset")
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    s3.put_bucket_acl(Bucket="dataset", ACL="public-read")
    assert ask("s3_bucket_public").outcome is Outcome.FAILED


def test_log_delivery_is_neither_the_public_nor_another_account(front, s3):
    block_nothing()
    own_everything(s3, "ObjectWriter")
    front.answers["s3.get_bucket_acl"] = access_list(to_group(LOG_DELIVERY, "WRITE"))
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    assert ask("s3_bucket_other_accounts").outcome is Outcome.PASSED


def test_a_list_that_cannot_be_read_matters_only_where_lists_count(front, s3):
    front.refuse("s3.get_bucket_acl")
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    own_everything(s3, "ObjectWriter")
    assert ask("s3_bucket_other_accounts").outcome is Outcome.UNKNOWN
    block_nothing()
    assert ask("s3_bucket_public").outcome is Outcome.UNKNOWN


def test_what_an_account_blocks_counts_only_if_the_bucket_is_its_own(front, s3):
    s3.delete_public_access_block(Bucket="dataset")
    put_policy(front, *SOUND, allow("*"))
    assert ask("s3_bucket_public").outcome is Outcome.PASSED
    front.answers["s3.get_bucket_policy_status"] = status_public(value=True)
    front.refuse("s3.get_bucket_policy", code="MethodNotAllowed", status=405)
    assert ask("s3_bucket_public").outcome is Outcome.UNKNOWN
    assert ask("s3_bucket_public", owner=ACCOUNT).outcome is Outcome.PASSED


def test_three_of_four_blocks_are_not_all(s3):
    for name in ALL_ON:
        s3.put_public_access_block(
            Bucket="dataset", PublicAccessBlockConfiguration=ALL_ON | {name: False}
        )
        check = ask("s3_bucket_public_access_block")
        assert check.outcome is Outcome.FAILED
        assert texts(check).endswith(f"found off: {name}")


def test_the_account_is_that_of_the_caller_unless_an_owner_is_named(front, s3):
    assert ask("s3_account_public_access_block").target == ACCOUNT
    assert ask("s3_account_public_access_block", owner=OTHER).target == OTHER
    front.refuse("sts.get_caller_identity")
    check = ask("s3_account_public_access_block")
    assert check.outcome is Outcome.UNKNOWN
    assert "owner of the bucket is not known" in check.reason


# ------------------------------------------------------------- other accounts


def test_principals_of_the_own_account_and_services_are_no_strangers(front, s3):
    put_policy(
        front,
        *SOUND,
        allow({"AWS": f"arn:aws:iam::{ACCOUNT}:role/train"}),
        allow({"Service": "logging.s3.amazonaws.com"}, "s3:PutObject"),
    )
    assert ask("s3_bucket_other_accounts").outcome is Outcome.PASSED


def test_a_role_of_another_account_is_found(front, s3):
    put_policy(front, *SOUND, allow({"AWS": f"arn:aws:iam::{OTHER}:role/x"}, "s3:ListBucket"))
    check = ask("s3_bucket_other_accounts")
    assert check.outcome is Outcome.FAILED
    assert OTHER in check.findings[0].evidence["request"]["principal"]


def test_a_restricted_public_policy_lets_no_other_account_in(front, s3):
    put_policy(front, *SOUND, allow("*"))
    front.answers["s3.get_bucket_policy_status"] = status_public(value=True)
    assert ask("s3_bucket_other_accounts").outcome is Outcome.PASSED
    block_nothing()
    assert ask("s3_bucket_other_accounts").outcome is Outcome.FAILED


def test_a_restriction_does_not_touch_a_policy_that_is_not_public(front, s3):
    put_policy(front, *SOUND, allow({"AWS": f"arn:aws:iam::{OTHER}:root"}))
    assert ask("s3_bucket_other_accounts").outcome is Outcome.FAILED


def test_grants_to_other_users_count_while_lists_do(front, s3):
    front.answers["s3.get_bucket_acl"] = access_list(to_user("b" * 64, "WRITE_ACP"))
    assert ask("s3_bucket_other_accounts").outcome is Outcome.PASSED
    own_everything(s3, "BucketOwnerPreferred")
    check = ask("s3_bucket_other_accounts")
    assert check.outcome is Outcome.FAILED
    assert "WRITE_ACP" in check.findings[0].evidence["grants"][0]


@pytest.mark.parametrize("ownership", ["ObjectWriter", "BucketOwnerPreferred", "SomethingNew"])
def test_any_other_ownership_fails(front, s3, ownership):
    front.answers["s3.get_bucket_ownership_controls"] = xml(
        "OwnershipControls", {"Rule": {"ObjectOwnership": ownership}}
    )
    check = ask("s3_bucket_ownership")
    assert check.outcome is Outcome.FAILED
    assert ownership in texts(check)


def test_no_ownership_controls_fail(s3):
    s3.delete_bucket_ownership_controls(Bucket="dataset")
    assert ask("s3_bucket_ownership").outcome is Outcome.FAILED


def test_the_owner_is_demanded_with_every_call(front, s3):
    front.owner = OTHER
    found = {check.id: check for check in everything(owner=ACCOUNT)}
    assert found.pop("encryption.s3_bucket_owner").outcome is Outcome.FAILED
    found.pop("encryption.s3_account_public_access_block")
    assert {check.outcome for check in found.values()} == {Outcome.UNKNOWN}
    assert f"account {ACCOUNT} does not own" in found["encryption.s3_bucket_versioning"].reason


def test_a_refusal_that_is_not_about_the_owner_is_unknown(front, s3):
    front.refuse("s3.head_bucket", code="403")
    check = ask("s3_bucket_owner", owner=ACCOUNT)
    assert check.outcome is Outcome.UNKNOWN
    assert "s3:ListBucket" in check.reason


# ------------------------------------------------------------- versions, locks, logs


@pytest.mark.parametrize("status", ["Suspended", "SomethingNew"])
def test_versioning_in_any_other_state_fails(front, s3, status):
    front.answers["s3.get_bucket_versioning"] = xml("VersioningConfiguration", {"Status": status})
    assert status in texts(ask("s3_bucket_versioning"))


def test_a_bucket_that_never_kept_versions_fails(front, s3):
    front.answers["s3.get_bucket_versioning"] = xml("VersioningConfiguration", {})
    assert ask("s3_bucket_versioning").outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ({"Mode": "COMPLIANCE", "Years": 1}, Outcome.PASSED),
        ({"Mode": "GOVERNANCE", "Days": 1}, Outcome.PASSED),
        ({"Mode": "SOMETHING", "Days": 1}, Outcome.FAILED),
        ({"Mode": "GOVERNANCE"}, Outcome.FAILED),
        (None, Outcome.FAILED),
    ],
)
def test_a_lock_without_a_default_retention_protects_nothing_of_itself(front, s3, rule, outcome):
    found = {"ObjectLockEnabled": "Enabled"}
    if rule:
        found["Rule"] = {"DefaultRetention": rule}
    front.answers["s3.get_object_lock_configuration"] = xml("ObjectLockConfiguration", found)
    assert ask("s3_bucket_object_lock").outcome is outcome


def test_logs_into_the_bucket_itself_fail(front, s3):
    front.answers["s3.get_bucket_logging"] = logging_to("dataset")
    assert "itself" in texts(ask("s3_bucket_logging"))


# ------------------------------------------------------------- bounds


def test_a_bucket_of_another_region_is_followed(front, s3):
    def redirect(environ):
        right = "eu-west-1" in environ["HTTP_AUTHORIZATION"]
        return None if right else (301, "PermanentRedirect")

    eu = boto3.client("s3", region_name="eu-west-1")
    eu.create_bucket(
        Bucket="euro-data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    eu.put_bucket_versioning(Bucket="euro-data", VersioningConfiguration={"Status": "Enabled"})
    front.answers["s3.get_bucket_versioning"] = redirect
    wanted = {"checks": ("encryption.s3_bucket_versioning",)}
    (check,) = AREA.examine(scope_of("s3://euro-data/x", **wanted))
    assert check.outcome is Outcome.PASSED


def test_nothing_further_is_asked_once_it_took_too_long(front, s3, monkeypatch):
    clock = count(time.monotonic() + 100, 100)
    monkeypatch.setattr(calls_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    found = everything()
    late = [check for check in found if "took too long" in check.reason]
    assert len(late) > 10
    assert len(front.calls) == 1


def test_a_server_that_is_not_there_is_unknown(front, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    assert {check.outcome for check in everything(owner=ACCOUNT)} == {Outcome.UNKNOWN}


def test_without_credentials_nothing_is_passed(front, s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    found = everything(owner=ACCOUNT)
    assert {check.outcome for check in found} == {Outcome.UNKNOWN}
    assert all("not-a-secret" not in check.reason for check in found)


def test_an_answer_is_remembered_also_if_there_was_none():
    made = []
    calls = Calls(None)

    def call():
        made.append(1)
        return {}

    assert calls.once("s3.x", "", call) == calls.once("s3.x", "", call) == {}
    assert len(made) == 1
    assert isinstance(Calls(None, seconds=-1).once("s3.x", "", call), Unknown)
