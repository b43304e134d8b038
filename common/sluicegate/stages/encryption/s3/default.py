"""The default encryption of a bucket: what an object gets if its writer asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.stages.encryption.s3.calls import Answered, Calls, Reply

__all__ = ["KMS_MODES", "MODES", "Default", "ask_default", "defaults_in", "key_problem"]

MODES: Final[Mapping[str, str]] = {
    "AES256": "SSE-S3",
    "aws:kms": "SSE-KMS",
    "aws:kms:dsse": "DSSE-KMS",
}
"""Modes by the name that the API gives them. The API's list grows: what is not here is not
known to encrypt as anybody expects. Source: Amazon S3 API, ServerSideEncryptionByDefault."""

KMS_MODES: Final = frozenset({"SSE-KMS", "DSSE-KMS"})
"""Modes that take a key of AWS KMS."""


@dataclass(frozen=True, slots=True)
class Default:
    """One rule of a bucket's default encryption."""

    algorithm: str
    """As the API names it: ``aws:kms``."""
    key: str | None
    """The KMS key as the rule names it; None for SSE-S3 and for the key ``aws/s3``."""
    blocked: tuple[str, ...]
    """Modes that the bucket refuses, as the API names them: ``SSE-C``."""

    @property
    def mode(self) -> str:
        """The mode as users write it; an unlisted algorithm as the API names it."""
        return MODES.get(self.algorithm, self.algorithm)

    @property
    def uses_kms(self) -> bool:
        """Whether objects are encrypted with a key of AWS KMS."""
        return self.mode in KMS_MODES


def ask_default(calls: Calls, bucket: str, owner: Mapping[str, str]) -> Answered:
    """Ask for the default encryption of a bucket.

    Args:
        calls: remembers the answer.
        bucket: its name.
        owner: ``ExpectedBucketOwner``, or nothing.
    """

    def call() -> Reply:
        client = calls.aws.client("s3")
        answer: Reply = client.get_bucket_encryption(Bucket=bucket, **owner)
        rule = client.meta.service_model.shape_for("ServerSideEncryptionRule")
        # An older boto3 drops what it does not know, and silence is not "not blocked".
        return {**answer, "tells_blocked": "BlockedEncryptionTypes" in rule.members}

    return calls.once("s3.get_bucket_encryption", "s3:GetEncryptionConfiguration", call)


def defaults_in(answer: Reply) -> tuple[Default, ...]:
    """Return the rules of an answer; AWS allows one."""
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    return tuple(_default(rule) for rule in rules)


def _default(rule: Mapping[str, Any]) -> Default:
    applied = rule.get("ApplyServerSideEncryptionByDefault", {})
    blocked = rule.get("BlockedEncryptionTypes", {}).get("EncryptionType", ())
    return Default(
        algorithm=str(applied.get("SSEAlgorithm", "")),
        key=applied.get("KMSMasterKeyID") or None,
        blocked=tuple(sorted(map(str, blocked))),
    )


def key_problem(key: str | None, allowed: tuple[str, ...]) -> str:
    """Say what is wrong with a configured KMS key; empty if nothing is.

    Keys are compared by full ARN. A bare id or alias is refused even if it looks right: KMS
    looks it up in the account of whoever writes, not of the bucket. Source: Amazon S3 API,
    PutBucketEncryption, "KMSMasterKeyID".

    Args:
        key: as the configuration names it; None for AWS's own key.
        allowed: full ARNs; empty for any key.
    """
    if not allowed or key in allowed:
        return ""
    if key is None:
        return "it names no key, so the key aws/s3 that AWS manages is used"
    if not key.startswith("arn:"):
        return f"key {key!r} is no full ARN; KMS looks it up in the account of whoever writes"
    return f"key {key} is not one of the allowed keys"
