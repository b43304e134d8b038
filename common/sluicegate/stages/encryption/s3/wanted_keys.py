"""Which KMS keys will do: the configured ARNs, with aliases followed to their keys.

Objects name keys, never aliases. So an alias is followed once; where that is refused, an
object under a key that is not listed cannot be judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sluicegate.stages.encryption.aws import Aws, Unknown, ask
from sluicegate.stages.encryption.s3.parallel import bounded

__all__ = ["WantedKeys", "wanted_keys"]

_SECONDS: Final = 120.0
"""For one call with its retries."""


@dataclass(frozen=True, slots=True)
class WantedKeys:
    """Keys that will do."""

    arns: frozenset[str]
    """Full ARNs of keys, and of the aliases that were configured."""
    unresolved: str = ""
    """Why it is not known which key an alias points to; empty if all are known."""


def wanted_keys(aws: Aws, configured: tuple[str, ...]) -> WantedKeys:
    """Return the keys of a configuration."""
    arns, unresolved = set(configured), ""
    for alias in configured:
        if ":alias/" not in alias:
            continue
        found = _key_of(aws, alias)
        if isinstance(found, Unknown):
            unresolved = unresolved or f"{alias}: {found.reason}"
        else:
            arns.add(found)
    return WantedKeys(frozenset(arns), unresolved)


def _key_of(aws: Aws, alias: str) -> str | Unknown:
    def call() -> Any:
        # An ARN reads arn:partition:kms:region:account:alias/name.
        client = aws.client("kms", alias.split(":")[3])
        return client.describe_key(KeyId=alias)["KeyMetadata"]["Arn"]

    answer = bounded(lambda: ask("kms.describe_key", call), _SECONDS)
    if isinstance(answer, Unknown):
        needs = "; it takes kms:DescribeKey" if "denied" in answer.reason else ""
        return Unknown(f"{answer.reason}{needs}")
    return str(answer) if answer else Unknown("kms.describe_key: no answer")
