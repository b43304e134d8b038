"""Keys of AWS KMS, asked of a server: moto, and what AWS documents where moto differs."""

from __future__ import annotations

import json

import boto3
import pytest

from sluicegate.model import Outcome
from sluicegate.stages.encryption.kms import AREA, QUESTIONS
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri
from tests.core.aws_front import ACCOUNT, OTHER, scope_of, serve, xml

ALIAS = f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/data"
LOCAL = "/tmp/set"
ROOT = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
EACH = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="module")
def clients(running):
    return boto3.client("kms"), boto3.client("s3")


@pytest.fixture
def front(running):
    running.forget()
    yield running
    running.forget()


@pytest.fixture
def kms(front, clients):
    return clients[0]


@pytest.fixture
def key(front, kms):
    """Return the ARN of a key that has nothing wrong, and that ``alias/data`` leads to."""
    made = kms.create_key()["KeyMetadata"]
    kms.enable_key_rotation(KeyId=made["KeyId"], RotationPeriodInDays=365)
    kms.create_alias(AliasName="alias/data", TargetKeyId=made["KeyId"])
    front.calls.clear()
    return made["Arn"]


def ask(name, *keys, subject=LOCAL, **settings):
    found = everything(*keys, subject=subject, checks=(f"encryption.{name}",), **settings)
    assert len(found) == 1
    return found[0]


def everything(*keys, subject=LOCAL, **settings):
    return list(AREA.examine(scope_of(subject, kms_keys=keys, **settings)))


def metadata(front, key, **changes):
    """Let KMS describe a key in the way that AWS documents."""
    told = {
        "AWSAccountId": key.split(":")[4],
        "KeyId": key.rpartition("/")[2],
        "Arn": key,
        "KeyState": "Enabled",
        "Enabled": True,
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Origin": "AWS_KMS",
        "MultiRegion": False,
    }
    told |= changes
    front.answers["kms.describe_key"] = json.dumps({"KeyMetadata": told})


def rotation(front, **told):
    front.answers["kms.get_key_rotation_status"] = json.dumps(told)


def policy(front, *statements):
    document = json.dumps({"Version": "2012-10-17", "Statement": [ROOT, *statements]})
    front.answers["kms.get_key_policy"] = json.dumps({"Policy": document})


def allow(principal, action="kms:Decrypt", conditions=None):
    made = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"}
    return made | ({"Condition": conditions} if conditions else {})


def grants(front, *told, truncated=False):
    page = {"Grants": list(told), "Truncated": truncated}
    if truncated:
        page["NextMarker"] = "more"
    front.answers["kms.list_grants"] = json.dumps(page)


def grant(grantee, *operations, **more):
    named = {"GrantId": "g1", "GranteePrincipal": grantee, "Operations": operations or ["Decrypt"]}
    return named | more


def default(front, algorithm="aws:kms", key=None):
    """Let the subject's bucket have a default encryption."""
    applied = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    front.answers["s3.get_bucket_encryption"] = xml(
        "ServerSideEncryptionConfiguration",
        {"Rule": {"ApplyServerSideEncryptionByDefault": applied}},
    )


def texts(check):
    return " ".join(finding.message for finding in check.findings)


# ------------------------------------------------------------- all questions, one table


WORSE = {
    "encryption.kms_key_state": lambda front, key: metadata(front, key, KeyState="Disabled"),
    "encryption.kms_key_manager": lambda front, key: metadata(front, key, KeyManager="AWS"),
    "encryption.kms_key_origin": lambda front, key: metadata(front, key, Origin="EXTERNAL"),
    "encryption.kms_key_rotation": lambda front, key: rotation(front, KeyRotationEnabled=False),
    "encryption.kms_key_deletion": lambda front, key: metadata(
        front, key, KeyState="PendingDeletion", DeletionDate=1_800_000_000
    ),
    "encryption.kms_key_multi_region": lambda front, key: metadata(front, key, MultiRegion=True),
    "encryption.kms_key_public": lambda front, key: policy(front, allow("*")),
    "encryption.kms_key_policy": lambda front, key: policy(
        front, allow({"AWS": f"arn:aws:iam::{OTHER}:root"})
    ),
    "encryption.kms_key_grants": lambda front, key: grants(
        front, grant(f"arn:aws:iam::{OTHER}:role/x")
    ),
    "encryption.kms_alias": lambda front, key: metadata(front, key[:-1] + "x"),
}
"""What makes each question fail."""


def only(question, key):
    named = (key, ALIAS) if question.id == "encryption.kms_alias" else (key,)
    found = everything(*named, checks=(question.id,))
    assert [check.id for check in found] == [question.id]
    assert found[0].severity is question.severity
    assert found[0].target in named
    return found[0]


def test_every_question_has_a_case_that_fails():
    assert set(WORSE) == {question.id for question in QUESTIONS}


@EACH
def test_a_sound_key_passes(key, question):
    assert only(question, key).outcome is Outcome.PASSED


@EACH
def test_the_fault_is_found(front, key, question):
    WORSE[question.id](front, key)
    check = only(question, key)
    assert check.outcome is Outcome.FAILED
    json.dumps(check.to_json())


@EACH
def test_access_denied_is_unknown_and_says_what_is_needed(front, key, question):
    for call in question.calls:
        if not call.startswith("kms."):
            continue
        front.refuse(call, code="AccessDeniedException", status=400)
        check = only(question, key)
        assert check.outcome is Outcome.UNKNOWN
        assert "access denied" in check.reason
        assert any(permission.action in check.reason for permission in question.permissions)
        front.answers.clear()


@EACH
def test_a_missing_api_is_unknown(front, key, question):
    for call in question.calls:
        if not call.startswith("kms."):
            continue
        front.refuse(call, code="UnknownOperationException", status=400)
        check = only(question, key)
        assert check.outcome is Outcome.UNKNOWN
        assert call in check.reason
        front.answers.clear()


@EACH
def test_only_the_declared_calls_are_made_and_each_once(front, key, question):
    default(front, key=key)
    front.calls.clear()
    everything(ALIAS, key, subject="s3://dataset/set", checks=(question.id,))
    made = set(front.calls)
    assert made <= set(question.calls)
    # Two names of one key are described one after the other; nothing else is asked twice.
    names = 1 if question.id == "encryption.kms_alias" else 2
    assert len(front.calls) == len(made) + names - 1


@EACH
def test_questions_are_complete(question):
    assert question.asks.endswith("?")
    assert question.remedy
    assert {permission.on for permission in question.permissions} <= {"bucket", "key"}
    assert any(permission.on == "key" for permission in question.permissions)


def test_the_same_world_gives_the_same_report(key):
    assert everything(key, ALIAS) == everything(ALIAS, key, key)


def test_a_throttled_service_is_never_passed(front, key):
    calls = {call for question in QUESTIONS for call in question.calls}
    front.refuse(*calls, code="ThrottlingException", status=400)
    found = everything(key, ALIAS, subject="s3://dataset/set")
    assert {check.outcome for check in found} == {Outcome.UNKNOWN}
    assert {check.id for check in found} == {question.id for question in QUESTIONS}


# ------------------------------------------------------------- which keys


def test_the_key_of_the_bucket_is_asked_about_beside_those_of_the_settings(front, kms, key):
    second = kms.create_key()["KeyMetadata"]["Arn"]
    default(front, key=second)
    found = everything(key, subject="s3://dataset/x", checks=("encryption.kms_key_rotation",))
    assert {check.target: check.outcome for check in found} == {
        key: Outcome.PASSED,
        second: Outcome.FAILED,
    }


def test_a_key_that_is_named_twice_is_asked_about_once(front, key):
    default(front, key=key.rpartition("/")[2])
    found = everything(key, ALIAS, subject="s3://dataset/x", checks=("encryption.kms_key_state",))
    assert [check.target for check in found] == [key]


def test_a_bucket_that_uses_no_key_has_none_to_ask_about(front, key):
    default(front, "AES256")
    assert everything(subject="s3://dataset/x") == []
    front.refuse(
        "s3.get_bucket_encryption",
        code="ServerSideEncryptionConfigurationNotFoundError",
        status=404,
    )
    assert everything(subject="s3://dataset/x") == []


def test_a_default_that_cannot_be_read_leaves_every_question_unknown(front, key):
    front.refuse("s3.get_bucket_encryption")
    found = everything(key, subject="s3://dataset/x", skip=("encryption.kms_alias",))
    unknown = {check.id for check in found if check.outcome is Outcome.UNKNOWN}
    assert unknown == {question.id for question in QUESTIONS} - {"encryption.kms_alias"}
    assert all("s3:GetEncryptionConfiguration" in one.reason for one in found if one.reason)


def test_the_key_that_aws_manages_only_answers_who_manages_it(front, key):
    default(front)
    scope = scope_of("s3://dataset/x")
    (check,) = AREA.examine(scope)
    assert check.id == "encryption.kms_key_manager"
    assert check.outcome is Outcome.FAILED
    assert check.target == "alias/aws/s3"
    assert scope.tables["keys"][0]["not_applicable"] == "policy, grants, rotation"
    assert not any(call.startswith("kms.") for call in front.calls)


def test_what_does_not_apply_to_a_key_of_aws_is_not_passed(front, key):
    metadata(front, key, KeyManager="AWS")
    scope = scope_of(LOCAL, kms_keys=(key,))
    asked = {check.id for check in AREA.examine(scope)}
    assert not asked & {
        "encryption.kms_key_policy",
        "encryption.kms_key_public",
        "encryption.kms_key_grants",
        "encryption.kms_key_rotation",
    }
    assert scope.tables["keys"][0]["not_applicable"] == "policy, grants, rotation"


def test_resources_are_the_named_keys_and_the_bucket():
    one = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1"
    local, remote = SubjectUri.parse(LOCAL), SubjectUri.parse("s3://dataset/x")
    assert AREA.resources(Settings(), local) == {}
    assert AREA.resources(Settings(kms_keys=(one, ALIAS)), local) == {
        "key": (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/*", one)
    }
    assert AREA.resources(Settings(), remote) == {
        "bucket": ("arn:aws:s3:::dataset",),
        "key": ("*",),
    }


def test_a_key_is_asked_about_in_its_own_region(front, key):
    regions = []

    def told(environ):
        regions.append(environ["HTTP_AUTHORIZATION"].split("/")[2])

    front.answers["kms.describe_key"] = told
    elsewhere = key.replace("us-east-1", "eu-west-1")
    assert ask("kms_key_state", elsewhere).outcome is Outcome.UNKNOWN  # there is none there
    assert regions == ["eu-west-1"]


# ------------------------------------------------------------- what a key is


@pytest.mark.parametrize(
    "state",
    [
        "Disabled",
        "PendingDeletion",
        "PendingImport",
        "PendingReplicaDeletion",
        "Unavailable",
        "Creating",
        "Updating",
        "SomethingNew",
        None,
    ],
)
def test_any_state_but_enabled_fails(front, key, state):
    metadata(front, key, KeyState=state)
    assert ask("kms_key_state", key).outcome is Outcome.FAILED


def test_a_key_that_moto_disabled_itself_fails(kms, key):
    kms.disable_key(KeyId=key.rpartition("/")[2])
    assert "Disabled" in texts(ask("kms_key_state", key))
    assert ask("kms_key_deletion", key).outcome is Outcome.PASSED


def test_a_deletion_that_moto_scheduled_itself_is_told_with_its_date(kms, key):
    kms.schedule_key_deletion(KeyId=key.rpartition("/")[2], PendingWindowInDays=7)
    check = ask("kms_key_deletion", key)
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].evidence["deletion"].endswith("+00:00")


def test_material_that_ends_is_a_deletion_too(front, key):
    metadata(front, key, Origin="EXTERNAL", ValidTo=1_800_000_000)
    check = ask("kms_key_deletion", key)
    assert check.findings[0].evidence["material_ends"] == "2027-01-15T08:00:00+00:00"


@pytest.mark.parametrize("manager", ["AWS", "SOMEBODY", None])
def test_any_manager_but_the_customer_fails(front, key, manager):
    metadata(front, key, KeyManager=manager)
    assert ask("kms_key_manager", key).outcome is Outcome.FAILED


@pytest.mark.parametrize("origin", ["EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE", "NEW"])
def test_material_from_elsewhere_is_told(front, key, origin):
    metadata(front, key, Origin=origin)
    assert origin in texts(ask("kms_key_origin", key))


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({"KeyRotationEnabled": True, "RotationPeriodInDays": 365}, Outcome.PASSED),
        ({"KeyRotationEnabled": True, "RotationPeriodInDays": 90}, Outcome.PASSED),
        ({"KeyRotationEnabled": True, "RotationPeriodInDays": 366}, Outcome.FAILED),
        ({"KeyRotationEnabled": True}, Outcome.PASSED),
        ({"KeyRotationEnabled": False, "RotationPeriodInDays": 365}, Outcome.FAILED),
        ({}, Outcome.FAILED),
    ],
)
def test_rotation_is_at_least_yearly(front, key, told, outcome):
    rotation(front, **told)
    assert ask("kms_key_rotation", key).outcome is outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": "EXTERNAL"},
        {"Origin": "AWS_CLOUDHSM"},
        {"KeySpec": "HMAC_256"},
        {"KeySpec": "RSA_4096"},
    ],
)
def test_rotation_does_not_apply_to_keys_that_cannot_rotate(front, key, changes):
    metadata(front, key, **changes)
    scope = scope_of(LOCAL, kms_keys=(key,), checks=("encryption.kms_key_rotation",))
    assert list(AREA.examine(scope)) == []
    assert scope.tables["keys"][0]["not_applicable"] == "rotation"


def test_the_regions_of_a_key_are_listed(front, key):
    regions = {
        "MultiRegionKeyType": "PRIMARY",
        "PrimaryKey": {"Arn": key, "Region": "us-east-1"},
        "ReplicaKeys": [{"Arn": key, "Region": "us-west-2"}, {"Arn": key, "Region": "eu-west-1"}],
    }
    metadata(front, key, MultiRegion=True, MultiRegionConfiguration=regions)
    check = ask("kms_key_multi_region", key)
    assert check.outcome is Outcome.FAILED
    assert texts(check).endswith("eu-west-1, us-east-1, us-west-2")


# ------------------------------------------------------------- who may use it


@pytest.mark.parametrize(
    ("statement", "public", "others"),
    [
        (allow("*"), Outcome.FAILED, Outcome.FAILED),
        (allow({"AWS": "*"}, "kms:*"), Outcome.FAILED, Outcome.FAILED),
        (
            allow(
                "*", conditions={"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
            ),
            Outcome.FAILED,
            Outcome.FAILED,
        ),
        (
            allow("*", conditions={"StringEquals": {"kms:CallerAccount": ACCOUNT}}),
            Outcome.PASSED,
            Outcome.PASSED,
        ),
        (
            allow("*", conditions={"StringEquals": {"kms:CallerAccount": OTHER}}),
            Outcome.PASSED,
            Outcome.FAILED,
        ),
        (allow({"AWS": f"arn:aws:iam::{OTHER}:role/x"}), Outcome.PASSED, Outcome.FAILED),
        (allow({"AWS": OTHER}, "kms:CreateGrant"), Outcome.PASSED, Outcome.FAILED),
        (allow({"AWS": OTHER}, "kms:GenerateDataKeyPair"), Outcome.PASSED, Outcome.FAILED),
        (allow({"AWS": OTHER}, "kms:DescribeKey"), Outcome.PASSED, Outcome.PASSED),
        (allow({"AWS": OTHER}, "kms:Encrypt"), Outcome.PASSED, Outcome.PASSED),
        (allow({"AWS": f"arn:aws:iam::{ACCOUNT}:role/x"}), Outcome.PASSED, Outcome.PASSED),
    ],
    ids=[
        "anybody",
        "anybody-all",
        "anybody-by-s3",
        "own-callers",
        "other-callers",
        "role",
        "grants",
        "data-keys",
        "describe",
        "encrypt",
        "own-role",
    ],
)
def test_the_key_policy_is_evaluated(front, key, statement, public, others):
    policy(front, statement)
    assert ask("kms_key_public", key).outcome is public
    assert ask("kms_key_policy", key).outcome is others


def test_an_organisation_is_not_the_public(front, key):
    policy(front, allow("*", conditions={"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}))
    assert ask("kms_key_public", key).outcome is Outcome.PASSED


def test_the_account_that_the_settings_name_is_no_stranger(front, key):
    policy(front, allow({"AWS": f"arn:aws:iam::{OTHER}:role/train"}))
    grants(front, grant(f"arn:aws:iam::{OTHER}:role/train"))
    assert ask("kms_key_policy", key).outcome is Outcome.FAILED
    assert ask("kms_key_policy", key, owner=OTHER).outcome is Outcome.PASSED
    assert ask("kms_key_grants", key, owner=OTHER).outcome is Outcome.PASSED


def test_the_evidence_is_a_request_that_the_policy_allows(front, key):
    policy(front, allow({"AWS": f"arn:aws:iam::{OTHER}:role/x"}))
    request = ask("kms_key_policy", key).findings[0].evidence["request"]
    assert request["action"].lower() == "kms:decrypt"
    assert request["resource"] == key
    assert OTHER in request["principal"]


def test_a_policy_that_cannot_be_judged_is_unknown(front, key):
    front.answers["kms.get_key_policy"] = json.dumps({"Policy": "{}"})
    check = ask("kms_key_policy", key)
    assert check.outcome is Outcome.UNKNOWN
    assert "cannot be judged" in check.reason


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (grant(f"arn:aws:iam::{ACCOUNT}:role/x", "Decrypt"), Outcome.PASSED),
        (grant(f"arn:aws:sts::{ACCOUNT}:assumed-role/x/y", "Decrypt"), Outcome.PASSED),
        (grant("dynamodb.us-east-1.amazonaws.com", "Decrypt"), Outcome.PASSED),
        (grant(f"arn:aws:iam::{OTHER}:root", "Decrypt"), Outcome.FAILED),
        (grant(OTHER, "Decrypt"), Outcome.FAILED),
        (grant(f"arn:aws:sts::{OTHER}:assumed-role/x/y", "GenerateDataKey"), Outcome.FAILED),
        (grant("AROAEXAMPLEEXAMPLE12", "Decrypt"), Outcome.FAILED),
        (grant("evil.amazonaws.com.example.org", "Decrypt"), Outcome.FAILED),
        (grant("", "Decrypt"), Outcome.FAILED),
        (grant(f"arn:aws:iam::{OTHER}:root", "CreateGrant"), Outcome.FAILED),
        (grant(f"arn:aws:iam::{OTHER}:root", "ReEncryptFrom"), Outcome.FAILED),
        (grant(f"arn:aws:iam::{OTHER}:root", "SomethingNew"), Outcome.FAILED),
        (grant(f"arn:aws:iam::{OTHER}:root", "Encrypt", "DescribeKey"), Outcome.PASSED),
    ],
)
def test_grants_are_judged_by_who_and_what(front, key, told, outcome):
    grants(front, told)
    assert ask("kms_key_grants", key).outcome is outcome


def test_a_grant_that_moto_stored_itself_is_read(kms, key):
    kms.create_grant(
        KeyId=key,
        GranteePrincipal=f"arn:aws:iam::{OTHER}:root",
        Operations=["Decrypt"],
        Constraints={"EncryptionContextEquals": {"patient": "someone"}},
    )
    check = ask("kms_key_grants", key)
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].evidence["constraints"] == ["EncryptionContextEquals"]
    assert "someone" not in json.dumps(check.to_json())


def test_grants_without_end_are_unknown_unless_a_bad_one_was_seen(front, key):
    grants(front, grant(f"arn:aws:iam::{ACCOUNT}:root"), truncated=True)
    check = ask("kms_key_grants", key)
    assert check.outcome is Outcome.UNKNOWN
    assert "100 grants" in check.reason
    assert front.calls.count("kms.list_grants") == 100
    grants(front, grant(f"arn:aws:iam::{OTHER}:root"), truncated=True)
    assert ask("kms_key_grants", key).outcome is Outcome.FAILED


# ------------------------------------------------------------- aliases


def test_an_alias_passes_if_its_key_is_allowed_by_its_own_arn(key):
    assert ask("kms_alias", ALIAS, key).outcome is Outcome.PASSED
    check = ask("kms_alias", ALIAS)
    assert check.outcome is Outcome.FAILED
    assert key in texts(check)


def test_an_alias_that_was_moved_is_seen(kms, key):
    second = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName="alias/data", TargetKeyId=second)
    check = ask("kms_alias", ALIAS, key)
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].evidence["key"].endswith(second)


def test_without_an_alias_there_is_nothing_to_say_about_any(key):
    assert everything(key, checks=("encryption.kms_alias",)) == []
