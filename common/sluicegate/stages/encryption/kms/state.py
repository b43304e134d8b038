"""What KMS says of a key itself: its state, who manages it, where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.kms.keys import AWS_S3, Key
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question
from sluicegate.stages.encryption.s3.calls import Reply

__all__ = ["ANSWERS", "BY_DEFAULT", "DESCRIBE", "is_rotated_by_customer", "managed_by_aws"]

ROTATION_DAYS: Final = 365
"""A key must be rotated at least this often: KMS's own default, and what the AWS
Foundational Security Best Practices (KMS.4) are satisfied by."""

BY_DEFAULT: Final = Permission("s3:GetEncryptionConfiguration", "bucket")
"""Learns which key the subject's bucket uses by default; only asked for subjects on S3."""
DESCRIBE: Final = Permission("kms:DescribeKey", "key")

_CALLS: Final = ("s3.get_bucket_encryption", "kms.describe_key")

_STATE: Final = Question(
    id="encryption.kms_key_state",
    asks="Can the key be used?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=_CALLS,
    permissions=(BY_DEFAULT, DESCRIBE),
    remedy="aws kms enable-key --key-id KEY; before that aws kms cancel-key-deletion --key-id KEY "
    "where it is pending deletion, aws kms import-key-material where it is pending import",
    controls=Controls(nist=("SC-12",)),
)
_MANAGER: Final = Question(
    id="encryption.kms_key_manager",
    asks="Is the key managed by you rather than by AWS?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=_CALLS,
    permissions=(BY_DEFAULT, DESCRIBE),
    remedy="aws kms create-key, then name its ARN in aws s3api put-bucket-encryption: the policy "
    "of a key that AWS manages cannot be changed",
    controls=Controls(nist=("SC-12",)),
    simulator="moto reports the key aws/s3 as managed by the customer.",
)
_ORIGIN: Final = Question(
    id="encryption.kms_key_origin",
    asks="Was the key's material made inside of KMS?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=_CALLS,
    permissions=(BY_DEFAULT, DESCRIBE),
    remedy="aws kms create-key --origin AWS_KMS, unless regulation demands material of your own",
    controls=Controls(nist=("SC-12",)),
)
_ROTATION: Final = Question(
    id="encryption.kms_key_rotation",
    asks="Is the key rotated at least once a year?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=(*_CALLS, "kms.get_key_rotation_status"),
    permissions=(BY_DEFAULT, DESCRIBE, Permission("kms:GetKeyRotationStatus", "key")),
    remedy="aws kms enable-key-rotation --key-id KEY --rotation-period-in-days 365",
    controls=Controls(fsbp=("KMS.4",), cis=("3.6",), nist=("SC-12",)),
    simulator="moto drops RotationPeriodInDays; KMS's default of 365 days is assumed then.",
)
_DELETION: Final = Question(
    id="encryption.kms_key_deletion",
    asks="Will the key remain: is neither its deletion scheduled nor the end of its material?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=_CALLS,
    permissions=(BY_DEFAULT, DESCRIBE),
    remedy="aws kms cancel-key-deletion --key-id KEY; aws kms import-key-material "
    "--expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE",
    controls=Controls(fsbp=("KMS.3",), nist=("SC-12",)),
)
_REGIONS: Final = Question(
    id="encryption.kms_key_multi_region",
    asks="Does the key's material stay in one region?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=_CALLS,
    permissions=(BY_DEFAULT, DESCRIBE),
    remedy="A key cannot be made single-region again: aws kms create-key --no-multi-region, and "
    "encrypt anew; or aws kms schedule-key-deletion for the replicas that are not needed",
    controls=Controls(nist=("SC-12",)),
)


def managed_by_aws(key: Key) -> bool | Unknown:
    """Return whether AWS manages the key: its policy, grants and rotation are AWS's then."""
    if key.name == AWS_S3:
        return True
    metadata = key.describe()
    return metadata if isinstance(metadata, Unknown) else metadata.get("KeyManager") == "AWS"


def is_rotated_by_customer(metadata: Reply) -> bool:
    """Return whether automatic rotation is for its owner to switch on.

    Not for keys that AWS manages (rotated every year), for imported material and custom key
    stores, for asymmetric and HMAC keys. Source: AWS KMS Developer Guide, "Rotating keys".
    """
    return (
        metadata.get("KeyManager") != "AWS"
        and metadata.get("Origin") == "AWS_KMS"
        and metadata.get("KeySpec", metadata.get("CustomerMasterKeySpec")) == "SYMMETRIC_DEFAULT"
    )


def _state(key: Key, target: str) -> Check | None:
    def judge(metadata: Reply) -> Finding | None:
        state = metadata.get("KeyState")
        if state == "Enabled":
            return None
        return Finding(
            message=f"expected the key to be Enabled, found {state or 'no state'}",
            evidence={"state": state},
        )

    return _of_metadata(_STATE, key, target, judge)


def _manager(key: Key, target: str) -> Check | None:
    def judge(metadata: Reply) -> Finding | None:
        manager = metadata.get("KeyManager")
        if manager == "CUSTOMER":
            return None
        return Finding(
            message=f"expected a key of your own, found one managed by {manager or 'nobody known'}"
            ": its policy, grants and rotation cannot be chosen and are not checked",
            evidence={"manager": manager},
        )

    if key.name == AWS_S3:
        finding = judge({"KeyManager": "AWS"})
        return _MANAGER.failed([finding] if finding else [], target)
    return _of_metadata(_MANAGER, key, target, judge)


def _origin(key: Key, target: str) -> Check | None:
    def judge(metadata: Reply) -> Finding | None:
        origin = metadata.get("Origin")
        if origin == "AWS_KMS":
            return None
        return Finding(
            message=f"expected key material made by AWS_KMS, found {origin or 'no origin'}",
            evidence={"origin": origin},
        )

    return _of_metadata(_ORIGIN, key, target, judge)


def _deletion(key: Key, target: str) -> Check | None:
    def judge(metadata: Reply) -> Finding | None:
        state = str(metadata.get("KeyState", ""))
        deletion, end = metadata.get("DeletionDate"), metadata.get("ValidTo")
        if not (deletion or end or "Deletion" in state):
            return None
        what = "the end of its material" if end else "a deletion"
        return Finding(
            message=f"expected the key to remain, found {what} scheduled: what it encrypts "
            "cannot be read then",
            evidence={
                "state": state,
                "deletion": _moment(deletion),
                "material_ends": _moment(end),
                "waiting_days": metadata.get("PendingDeletionWindowInDays"),
            },
        )

    return _of_metadata(_DELETION, key, target, judge)


def _regions(key: Key, target: str) -> Check | None:
    def judge(metadata: Reply) -> Finding | None:
        if metadata.get("MultiRegion") is not True:
            return None
        configuration: Mapping[str, Any] = metadata.get("MultiRegionConfiguration", {})
        replicas = [one.get("Region", "") for one in configuration.get("ReplicaKeys", ())]
        primary = configuration.get("PrimaryKey", {}).get("Region", "")
        regions = sorted({*replicas, primary} - {""})
        return Finding(
            message="expected key material in one region, found a multi-region key in "
            f"{', '.join(regions) or 'regions not told'}",
            evidence={"primary": primary, "replicas": sorted(replicas)},
        )

    return _of_metadata(_REGIONS, key, target, judge)


def _of_metadata(
    question: Question, key: Key, target: str, judge: Callable[[Reply], Finding | None]
) -> Check | None:
    """Answer from the description of a key; not at all for a key that nobody can choose."""
    if key.name == AWS_S3:
        return None
    metadata = key.describe()
    if isinstance(metadata, Unknown):
        return question.unknown(metadata.reason, target)
    finding = judge(metadata)
    return question.failed([finding], target) if finding else question.passed(target)


def _rotation(key: Key, target: str) -> Check | None:
    if key.name == AWS_S3:
        return None
    metadata = key.describe()
    if isinstance(metadata, Unknown):
        return _ROTATION.unknown(metadata.reason, target)
    if not is_rotated_by_customer(metadata):
        return None
    answer = key.rotation()
    if not isinstance(answer, Mapping):
        reason = answer.reason if answer else "kms.get_key_rotation_status: an empty answer"
        return _ROTATION.unknown(reason, target)
    enabled = answer.get("KeyRotationEnabled") is True
    days = answer.get("RotationPeriodInDays", ROTATION_DAYS)
    if enabled and days <= ROTATION_DAYS:
        return _ROTATION.passed(target)
    found = f"every {days} days" if enabled else "none"
    finding = Finding(
        message=f"expected rotation at least every {ROTATION_DAYS} days, found {found}",
        evidence={"enabled": enabled, "days": days if enabled else None},
    )
    return _ROTATION.failed([finding], target)


def _moment(value: object) -> Json:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else None


ANSWERS: Final[tuple[tuple[Question, Callable[[Key, str], Check | None]], ...]] = (
    (_STATE, _state),
    (_MANAGER, _manager),
    (_ORIGIN, _origin),
    (_ROTATION, _rotation),
    (_DELETION, _deletion),
    (_REGIONS, _regions),
)
"""Each question with who answers it, about a key that goes by a name; None where it does not
apply."""
