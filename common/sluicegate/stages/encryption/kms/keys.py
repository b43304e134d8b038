"""Which keys of AWS KMS are asked about, and what can be asked about one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.s3.calls import Answered, Calls, Reply
from sluicegate.stages.encryption.s3.default import ask_default, defaults_in
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings

__all__ = ["AWS_S3", "Key", "aliases_in", "default_keys", "described"]

AWS_S3: Final = "alias/aws/s3"
"""The key that AWS makes in every account and uses where SSE-KMS names none."""

_REGION: Final = re.compile(r"arn:[^:]+:kms:([a-z0-9-]+):")
"""The beginning of an ARN. A key is only known in its own region."""

_PAGES: Final = 100
"""Answers to ``list_grants``, of 100 grants each, before giving up. Grants beyond make the
answer unknown; a key may have 50,000. Source: AWS KMS, "Resource quotas"."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key, asked lazily."""

    name: str
    """As it was named: an ARN, or an id or alias of the caller's account."""
    settings: Settings
    now: datetime
    """When policies are judged."""
    calls: Calls

    def describe(self) -> Reply | Unknown:
        """Return what KMS says of the key: ``KeyMetadata``."""
        answer = self._ask("describe_key", "kms:DescribeKey")
        if isinstance(answer, Unknown):
            return answer
        return (answer or {}).get("KeyMetadata") or Unknown("kms.describe_key: an empty answer")

    def rotation(self) -> Answered:
        """Return whether the key is rotated."""
        return self._ask("get_key_rotation_status", "kms:GetKeyRotationStatus")

    def policy(self) -> Answered:
        """Return the key policy; KMS knows one, named ``default``."""
        return self._ask("get_key_policy", "kms:GetKeyPolicy", PolicyName="default")

    def grants(self) -> Answered:
        """Return the grants of the key, and whether they are ``complete``."""

        def call() -> Reply:
            client = self._client()
            found: list[Mapping[str, Any]] = []
            more: dict[str, str] = {}
            for _ in range(_PAGES):
                page = client.list_grants(KeyId=self.name, Limit=100, **more)
                found += page.get("Grants", ())
                if not page.get("Truncated"):
                    return {"Grants": found, "complete": True}
                more = {"Marker": page["NextMarker"]}
            return {"Grants": found, "complete": False}

        return self.calls.once("kms.list_grants", "kms:ListGrants", call, about=self.name)

    def _ask(self, method: str, action: str, **more: str) -> Answered:
        def call() -> Reply:
            answer: Reply = getattr(self._client(), method)(KeyId=self.name, **more)
            return answer

        return self.calls.once(f"kms.{method}", action, call, about=self.name)

    def _client(self) -> Any:
        match = _REGION.match(self.name)
        return self.calls.aws.client("kms", match[1] if match else None)


def aliases_in(arns: tuple[str, ...]) -> tuple[str, ...]:
    """Return those ARNs that name an alias."""
    return tuple(arn for arn in arns if ":alias/" in arn)


def default_keys(scope: Scope, calls: Calls) -> tuple[str, ...] | Unknown:
    """Return the keys that the subject's bucket uses by default, as it names them.

    Nothing for subjects that are not on S3, or whose bucket uses none.
    """
    uri, owner = scope.snapshot.uri, scope.settings.owner
    if uri.scheme != "s3":
        return ()
    expected = {"ExpectedBucketOwner": owner} if owner else {}
    answer = ask_default(calls, uri.path.partition("/")[0], expected)
    if not isinstance(answer, Mapping):
        return answer or ()
    return tuple(rule.key or AWS_S3 for rule in defaults_in(answer) if rule.uses_kms)


def described(keys: tuple[Key, ...]) -> tuple[tuple[str, Key], ...]:
    """Return keys by their ARN, sorted, each once however it was named.

    A key that KMS does not describe goes by the name that it was given.
    """
    found: dict[str, Key] = {}
    for key in keys:
        metadata = key.describe() if key.name != AWS_S3 else {}
        arn = metadata.get("Arn") if isinstance(metadata, Mapping) else None
        found.setdefault(str(arn or key.name), key)
    return tuple(sorted(found.items()))
