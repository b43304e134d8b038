"""Keys of AWS KMS: those that the settings name, and the one that the bucket uses by default.

Each question is answered for each key, by its ARN. Keys that AWS manages have a policy,
grants and a rotation that nobody can change: those questions do not apply to them, which
``kms_key_manager`` and the table ``keys`` say. Nor does rotation apply to imported material,
custom key stores, asymmetric and HMAC keys.

An alias may be moved to another key at any time, and nothing else changes. So an alias among
the allowed keys is only as good as its target: that must be allowed by its own ARN as well,
and then a moved alias is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.kms import access, state
from sluicegate.stages.encryption.kms.keys import (
    AWS_S3,
    Key,
    aliases_in,
    default_keys,
    described,
)
from sluicegate.stages.encryption.question import Controls, Kind, Question
from sluicegate.stages.encryption.s3.calls import Calls
from sluicegate.stages.encryption.scope import Area, Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS"]

_ALIAS: Final = Question(
    id="encryption.kms_alias",
    asks="Does each allowed alias still lead to an allowed key?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=("kms.describe_key",),
    permissions=(state.DESCRIBE,),
    remedy="Name keys by their own ARN, beside the alias or instead of it; "
    "aws kms update-alias moves an alias back",
    controls=Controls(nist=("SC-12",)),
)

_ANSWERS: Final = (*state.ANSWERS, *access.ANSWERS)

QUESTIONS: Final[tuple[Question, ...]] = (*(question for question, _ in _ANSWERS), _ALIAS)
"""In the order of the report."""


def _resources(settings: Settings, uri: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    # IAM knows no permission on an alias: it is given on the key behind it, which may change.
    keys = tuple(
        dict.fromkeys(re.sub(":alias/.*", ":key/*", arn) for arn in sorted(settings.kms_keys))
    )
    if uri.scheme == "s3":
        bucket = f"arn:aws:s3:::{uri.path.partition('/')[0]}"
        return {"bucket": (bucket,), "key": keys or ("*",)}
    return {"key": keys} if keys else {}


def _examine(scope: Scope) -> Iterator[Check]:
    wanted = [(question, answer) for question, answer in _ANSWERS if scope.wants(question)]
    calls = Calls(scope.aws)
    arns = tuple(sorted(set(scope.settings.kms_keys)))
    if wanted:
        by_default = default_keys(scope, calls)
        names = arns if isinstance(by_default, Unknown) else (*arns, *by_default)
        keys = described(tuple(_key(name, scope, calls) for name in dict.fromkeys(names)))
        scope.tables.setdefault("keys", []).extend(_row(arn, key) for arn, key in keys)
        for question, answer in wanted:
            for arn, key in keys:
                if (check := answer(key, arn)) is not None:
                    yield check
            if isinstance(by_default, Unknown):
                reason = f"the key that the bucket uses by default: {by_default.reason}"
                yield question.unknown(reason, scope.snapshot.uri.path.partition("/")[0])
    if scope.wants(_ALIAS):
        for alias in aliases_in(arns):
            yield _alias(_key(alias, scope, calls), arns)


def _key(name: str, scope: Scope, calls: Calls) -> Key:
    return Key(name, scope.settings, scope.now, calls)


def _alias(key: Key, allowed: tuple[str, ...]) -> Check:
    metadata = key.describe()
    if isinstance(metadata, Unknown):
        return _ALIAS.unknown(metadata.reason, key.name)
    target = str(metadata.get("Arn", ""))
    if target in allowed:
        return _ALIAS.passed(key.name)
    finding = Finding(
        message=f"expected the alias to lead to an allowed key, found {target or 'no key'}: it was "
        "moved, or its key is not allowed by its own ARN",
        evidence={"alias": key.name, "key": target},
    )
    return _ALIAS.failed([finding], key.name)


def _row(arn: str, key: Key) -> dict[str, str | int | float | bool | None]:
    """Return the row of a key, with the questions that do not apply to it."""
    metadata = {"KeyManager": "AWS"} if key.name == AWS_S3 else key.describe()
    if isinstance(metadata, Unknown):
        return {"key": arn, "not_applicable": "", "not_known": metadata.reason}
    skipped = []
    if metadata.get("KeyManager") == "AWS":
        skipped = ["policy", "grants", "rotation"]
    elif not state.is_rotated_by_customer(metadata):
        skipped = ["rotation"]
    return {
        "key": arn,
        "state": metadata.get("KeyState"),
        "manager": metadata.get("KeyManager"),
        "origin": metadata.get("Origin"),
        "spec": metadata.get("KeySpec"),
        "multi_region": metadata.get("MultiRegion"),
        "not_applicable": ", ".join(skipped),
    }


AREA: Final = Area(name="keys", questions=QUESTIONS, resources=_resources, examine=_examine)
"""Keys of AWS KMS."""
