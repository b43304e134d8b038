"""Whether a bucket keeps what it holds and remembers who came: versions, locks, logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question
from sluicegate.stages.encryption.s3.subject import Bucket

__all__ = ["ANSWERS"]

_LOCK_MODES: Final = ("COMPLIANCE", "GOVERNANCE")
"""Retention modes. Source: Amazon S3 API, DefaultRetention."""

_VERSIONING: Final = Question(
    id="encryption.s3_bucket_versioning",
    asks="Does the bucket keep every version of an object?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_bucket_versioning",),
    permissions=(Permission("s3:GetBucketVersioning", "bucket"),),
    remedy="aws s3api put-bucket-versioning --bucket BUCKET "
    "--versioning-configuration Status=Enabled",
    controls=Controls(fsbp=("S3.14",), nist=("CP-9",)),
    simulator="moto drops MFADelete, which is only told as evidence.",
)
_LOCK: Final = Question(
    id="encryption.s3_bucket_object_lock",
    asks="Are new objects locked against overwriting and deletion for some time?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_object_lock_configuration",),
    permissions=(Permission("s3:GetBucketObjectLockConfiguration", "bucket"),),
    remedy="aws s3api put-object-lock-configuration --bucket BUCKET --object-lock-configuration "
    '\'{"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", '
    '"Days": 30}}}\'',
    controls=Controls(fsbp=("S3.15",), nist=("CP-9",)),
)
_LOGGING: Final = Question(
    id="encryption.s3_bucket_logging",
    asks="Does the bucket log who accesses it, into another bucket?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_bucket_logging",),
    permissions=(Permission("s3:GetBucketLogging", "bucket"),),
    remedy="aws s3api put-bucket-logging --bucket BUCKET --bucket-logging-status "
    '\'{"LoggingEnabled": {"TargetBucket": "LOG-BUCKET", "TargetPrefix": "BUCKET/"}}\'',
    controls=Controls(fsbp=("S3.9",), csf=("PR.PS-04",)),
)


def _versioning(bucket: Bucket) -> Check:
    answer = bucket.ask("get_bucket_versioning", "s3:GetBucketVersioning")
    if isinstance(answer, Unknown):
        return _VERSIONING.unknown(answer.reason, bucket.name)
    status = (answer or {}).get("Status")
    if status == "Enabled":
        return _VERSIONING.passed(bucket.name)
    finding = Finding(
        message=f"expected versioning to be enabled, found {status or 'that it never was'}: what "
        "is overwritten or deleted is lost",
        evidence={"status": status, "mfa_delete": (answer or {}).get("MFADelete")},
    )
    return _VERSIONING.failed([finding], bucket.name)


def _lock(bucket: Bucket) -> Check:
    answer = bucket.ask("get_object_lock_configuration", "s3:GetBucketObjectLockConfiguration")
    if isinstance(answer, Unknown):
        return _LOCK.unknown(answer.reason, bucket.name)
    found = (answer or {}).get("ObjectLockConfiguration", {})
    retention = found.get("Rule", {}).get("DefaultRetention", {})
    enabled = found.get("ObjectLockEnabled") == "Enabled"
    lasts = retention.get("Days") or retention.get("Years")
    if enabled and retention.get("Mode") in _LOCK_MODES and lasts:
        return _LOCK.passed(bucket.name)
    problem = "without a default retention, so that writers decide" if enabled else "switched off"
    finding = Finding(
        message=f"expected an object lock with a default retention, found it {problem}",
        evidence={
            "enabled": enabled,
            "mode": retention.get("Mode"),
            "days": retention.get("Days"),
            "years": retention.get("Years"),
        },
    )
    return _LOCK.failed([finding], bucket.name)


def _logging(bucket: Bucket) -> Check:
    answer = bucket.ask("get_bucket_logging", "s3:GetBucketLogging")
    if isinstance(answer, Unknown):
        return _LOGGING.unknown(answer.reason, bucket.name)
    target = (answer or {}).get("LoggingEnabled", {}).get("TargetBucket")
    if target and target != bucket.name:
        return _LOGGING.passed(bucket.name)
    found = "into the bucket itself" if target else "none; CloudTrail was not asked"
    message = f"expected access logs in another bucket, found {found}"
    return _LOGGING.failed([Finding(message=message, evidence={"target": target})], bucket.name)


ANSWERS: Final[tuple[tuple[Question, Callable[[Bucket], Check | None]], ...]] = (
    (_VERSIONING, _versioning),
    (_LOCK, _lock),
    (_LOGGING, _logging),
)
"""Each question with who answers it."""
