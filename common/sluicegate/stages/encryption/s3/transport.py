"""What the bucket policy lets through: plain HTTP, old TLS, objects without encryption.

The policy is evaluated, not searched: the evidence of a failure is a request that succeeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.iam import Answer, BucketAnswers, Exposure, bucket_exposure
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question
from sluicegate.stages.encryption.s3.subject import Bucket

__all__ = ["ANSWERS"]

_POLICY: Final = Permission("s3:GetBucketPolicy", "bucket")

_PLAIN_HTTP: Final = Question(
    id="encryption.s3_bucket_plain_http",
    asks="Does the bucket refuse every request over plain HTTP?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("s3.get_bucket_policy", "sts.get_caller_identity"),
    permissions=(_POLICY,),
    remedy='Add to the bucket policy: {"Effect": "Deny", "Principal": "*", "Action": "s3:*", '
    '"Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"], '
    '"Condition": {"Bool": {"aws:SecureTransport": "false"}}}',
    controls=Controls(fsbp=("S3.5",), cis=("2.1.1",), nist=("AC-17(2)",), csf=("PR.DS-02",)),
    simulator="moto ignores the conditions of bucket policies; the policy is evaluated here.",
)
_OLD_TLS: Final = Question(
    id="encryption.s3_bucket_below_tls12",
    asks="Does the bucket refuse every request over TLS below 1.2?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.INFO,
    calls=("s3.get_bucket_policy", "sts.get_caller_identity"),
    permissions=(_POLICY,),
    remedy='Add to the bucket policy: {"Effect": "Deny", "Principal": "*", "Action": "s3:*", '
    '"Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"], '
    '"Condition": {"NumericLessThan": {"s3:TlsVersion": 1.2}}}',
    controls=Controls(csf=("PR.DS-02",)),
    simulator="moto ignores the conditions of bucket policies; the policy is evaluated here.",
)
_UNENCRYPTED: Final = Question(
    id="encryption.s3_bucket_unencrypted_put",
    asks="Does the bucket refuse every upload that would be stored in a mode or with a key that "
    "will not do?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=("s3.get_bucket_policy", "s3.get_bucket_encryption", "sts.get_caller_identity"),
    permissions=(_POLICY, Permission("s3:GetEncryptionConfiguration", "bucket")),
    remedy='Add to the bucket policy: {"Effect": "Deny", "Principal": "*", "Action": '
    '"s3:PutObject", "Resource": "arn:aws:s3:::BUCKET/*", "Condition": {"StringNotEquals": '
    '{"s3:x-amz-server-side-encryption": "aws:kms"}, "Null": '
    '{"s3:x-amz-server-side-encryption": "false"}}}, the same with "Null": '
    '{"s3:x-amz-server-side-encryption-customer-algorithm": "false"} alone, and the same mode as '
    "default encryption",
    controls=Controls(nist=("SC-28(1)",), csf=("PR.DS-01",)),
    simulator="moto ignores the conditions of bucket policies; the policy is evaluated here.",
)
_PRESIGNED: Final = Question(
    id="encryption.s3_presigned",
    asks="Does the bucket refuse presigned URLs, or at least old ones?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_bucket_policy", "sts.get_caller_identity"),
    permissions=(_POLICY,),
    remedy='Add to the bucket policy: {"Effect": "Deny", "Principal": "*", "Action": "s3:*", '
    '"Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"], "Condition": '
    '{"NumericGreaterThan": {"s3:signatureAge": 600000}}} (milliseconds), or deny '
    '"StringNotEquals": {"s3:authType": "REST-HEADER"}',
    controls=Controls(csf=("PR.AA-05",)),
    simulator="moto ignores the conditions of bucket policies; the policy is evaluated here.",
)


def _plain_http(bucket: Bucket) -> Check:
    return _judge(
        _PLAIN_HTTP,
        bucket,
        lambda answers: answers.plain_http,
        "expected plain HTTP to be refused, found a request over it that the policy lets through",
    )


def _old_tls(bucket: Bucket) -> Check:
    return _judge(
        _OLD_TLS,
        bucket,
        lambda answers: answers.below_tls12,
        "expected TLS below 1.2 to be refused, found a request over it that the policy lets "
        "through",
    )


def _presigned(bucket: Bucket) -> Check:
    return _judge(
        _PRESIGNED,
        bucket,
        lambda answers: answers.old_presigned,
        "expected presigned URLs to end early, found that one which is seven days old still reads: "
        "whoever sees it has the object",
    )


def _unencrypted(bucket: Bucket) -> Check:
    return _judge(
        _UNENCRYPTED,
        bucket,
        lambda answers: answers.unencrypted_put,
        f"expected uploads to be stored as {', '.join(bucket.settings.modes)}"
        f"{' with an allowed key' if bucket.settings.kms_keys else ''}, found one that is not",
        with_default=True,
    )


def _judge(
    question: Question,
    bucket: Bucket,
    choose: Callable[[BucketAnswers], Answer],
    message: str,
    *,
    with_default: bool = False,
) -> Check:
    answers = _evaluate(bucket, with_default=with_default)
    if isinstance(answers, Unknown):
        return question.unknown(answers.reason, bucket.name)
    answer = choose(answers)
    if answer.exposure is Exposure.REFUSED:
        return question.passed(bucket.name)
    if answer.exposure is not Exposure.OPEN:
        return question.unknown(answer.reason, bucket.name)
    evidence = {"request": dict(answer.counterexample or {})}
    return question.failed([Finding(message=message, evidence=evidence)], bucket.name)


def _evaluate(bucket: Bucket, *, with_default: bool) -> BucketAnswers | Unknown:
    policy = bucket.policy()
    if isinstance(policy, Unknown):
        return policy
    rules = bucket.defaults() if with_default else None
    if isinstance(rules, Unknown):
        return rules
    rule = rules[0] if rules else None
    owner = bucket.account()
    # What the bucket refuses of itself, its policy need not refuse.
    blocked = [mode for mode in rule.blocked if mode == "SSE-C"] if rule else []
    return bucket_exposure(
        policy,
        bucket=bucket.name,
        now=bucket.now,
        owner=None if isinstance(owner, Unknown) else owner,
        partition=bucket.partition(),
        modes=tuple(dict.fromkeys((*bucket.settings.modes, *blocked))),
        kms_keys=bucket.settings.kms_keys,
        default_mode=rule.mode if rule else None,
        default_key=rule.key if rule else None,
    )


ANSWERS: Final[tuple[tuple[Question, Callable[[Bucket], Check | None]], ...]] = (
    (_PLAIN_HTTP, _plain_http),
    (_OLD_TLS, _old_tls),
    (_UNENCRYPTED, _unencrypted),
    (_PRESIGNED, _presigned),
)
"""Each question with who answers it."""
