"""Whose key encrypts a store: the provider's, the customer's, one of those allowed.

Services name keys in five ways: by ARN, id, alias, ARN of an alias, or not at all, which
means a key of AWS's own. Aliases can be moved, so they are looked up.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sluicegate.model import Finding
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Permission
from sluicegate.stages.encryption.stores.base import Further, Judgement, Keys, Store, wrong

__all__ = ["FURTHER", "judge_listed", "judge_manager"]

FURTHER: Final = Further(
    calls=("kms.describe_key",), permissions=(Permission("kms:DescribeKey", "key"),)
)
"""What looking a key up takes."""

_KEY_ARN: Final = re.compile(r"arn:[^:]+:kms:([^:]+):[0-9]{12}:(?:key|alias)/.+")
_AWS_ALIAS: Final = re.compile(r"(?:arn:[^:]+:kms:[^:]+:[0-9]{12}:)?alias/aws/.+")
"""Aliases of this form belong to AWS; nobody else can make one."""


def judge_listed(store: Store, keys: Keys) -> Judgement:
    """Judge whether each part is encrypted with one of the keys in ``kms_keys``."""
    allowed, doubt = _allowed(store)
    findings: list[Finding] = []
    unknown: Unknown | None = None
    for part, key in keys:
        used = _arn(store, key)
        if isinstance(used, Unknown):
            unknown = used
        elif used in allowed:
            continue
        elif doubt and used and not _AWS_ALIAS.fullmatch(used):
            unknown = doubt
        else:
            findings += wrong(
                f"{part}: expected one of the keys in kms_keys, found {used or 'no key named'}",
                part=part,
                key=used,
            )
    return tuple(findings) or unknown or ()


def judge_manager(store: Store, keys: Keys) -> Judgement:
    """Judge whether the customer manages the key of each part."""
    findings: list[Finding] = []
    unknown: Unknown | None = None
    for part, key in keys:
        manager = _manager(store, key)
        if isinstance(manager, Unknown):
            unknown = manager
        elif manager != "CUSTOMER":
            findings += wrong(
                f"{part}: expected a key that the customer manages, found {key or 'none named'}",
                part=part,
                key=key,
                manager=manager,
            )
    return tuple(findings) or unknown or ()


def _allowed(store: Store) -> tuple[frozenset[str], Unknown | None]:
    """Return the ARNs of the allowed keys, and why one is missing: aliases are looked up."""
    found: set[str] = set()
    unknown: Unknown | None = None
    for name in store.scope.settings.kms_keys:
        arn = _arn(store, name)
        if isinstance(arn, Unknown):
            unknown = arn
        elif arn:
            found.add(arn)
    return frozenset(found), unknown


def _arn(store: Store, key: str | None) -> str | Unknown | None:
    """Return the ARN of a key, however it is named; aliases of AWS stay as they are."""
    if not key or _AWS_ALIAS.fullmatch(key) or (_KEY_ARN.fullmatch(key) and ":key/" in key):
        return key or None
    described = _describe(store, key)
    if isinstance(described, Unknown):
        return described
    found = described.get("Arn")
    return str(found) if found else Unknown("kms.describe_key: the answer holds no ARN")


def _manager(store: Store, key: str | None) -> str | Unknown:
    if not key or _AWS_ALIAS.fullmatch(key):
        return "AWS"
    described = _describe(store, key)
    if isinstance(described, Unknown):
        return described
    return str(described.get("KeyManager", ""))


def _describe(store: Store, key: str) -> dict[str, Any] | Unknown:
    match = _KEY_ARN.fullmatch(key)
    region = match.group(1) if match else store.arn.region
    answer = store.calls.make(region, "kms.describe_key", "kms:DescribeKey", KeyId=key)
    return answer if isinstance(answer, Unknown) else dict(answer.get("KeyMetadata") or {})
