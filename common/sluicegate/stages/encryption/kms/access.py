"""Who may use a key: its policy and its grants.

The keys of AWS KMS answer to two kinds of permission besides identity policies: the key
policy, which is evaluated like a bucket policy, and grants, which hold until they are revoked
or retired and which no policy shows.

Insiders are principals of the account that owns the key, and of the configured ``owner``, so
that an account which keeps keys for others is no false alarm. AWS services that act under a
grant act for the account that made it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.iam import Answer, Exposure, outside_access, parse_policy
from sluicegate.stages.encryption.kms.keys import Key
from sluicegate.stages.encryption.kms.state import BY_DEFAULT, DESCRIBE, managed_by_aws
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question

__all__ = ["ANSWERS"]

_ACTIONS: Final = (
    "kms:Decrypt",
    "kms:GenerateDataKey*",
    "kms:ReEncryptFrom",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:DisableKey",
)
"""What reads data, hands the right to do so on, or makes data unreadable. Source: AWS KMS
Developer Guide, "AWS KMS permissions"."""

_HARMLESS: Final = frozenset(
    {
        "DescribeKey",
        "Encapsulate",
        "Encrypt",
        "GenerateDataKeyWithoutPlaintext",
        "GetPublicKey",
        "ReEncryptTo",
        "RetireGrant",
        "Verify",
        "VerifyMac",
    }
)
"""Operations of a grant that show nobody plain text and hand nothing on; all others count,
also those that do not exist yet. Source: AWS KMS API, GrantListEntry, "Operations"."""

_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
_ACCOUNT: Final = re.compile(r"(?:arn:aws[a-z-]*:(?:iam|sts)::)?(?P<account>\d{12})(?::.*)?")

_CALLS: Final = ("s3.get_bucket_encryption", "kms.describe_key")
_READ_POLICY: Final = Permission("kms:GetKeyPolicy", "key")

_PUBLIC: Final = Question(
    id="encryption.kms_key_public",
    asks="Does the key policy keep strangers out?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=(*_CALLS, "kms.get_key_policy"),
    permissions=(BY_DEFAULT, DESCRIBE, _READ_POLICY),
    remedy="Name principals instead of * in the key policy (aws kms put-key-policy), or demand "
    '"Condition": {"StringEquals": {"kms:CallerAccount": "ACCOUNT"}}',
    controls=Controls(fsbp=("KMS.5",), csf=("PR.AA-05",)),
)
_POLICY: Final = Question(
    id="encryption.kms_key_policy",
    asks="Does the key policy keep other accounts out?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=(*_CALLS, "kms.get_key_policy"),
    permissions=(BY_DEFAULT, DESCRIBE, _READ_POLICY),
    remedy="Take principals of other accounts out of the key policy (aws kms put-key-policy), or "
    "demand your organisation with aws:PrincipalOrgID",
    controls=Controls(csf=("PR.AA-05",)),
)
_GRANTS: Final = Question(
    id="encryption.kms_key_grants",
    asks="Do the key's grants keep other accounts and unknown principals out?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=(*_CALLS, "kms.list_grants"),
    permissions=(BY_DEFAULT, DESCRIBE, Permission("kms:ListGrants", "key")),
    remedy="aws kms revoke-grant --key-id KEY --grant-id GRANT",
    controls=Controls(csf=("PR.AA-05",)),
)


def _public(key: Key, target: str) -> Check | None:
    return _by_policy(
        _PUBLIC,
        key,
        target,
        "expected the key policy to keep strangers out, found a request of anybody that it allows",
    )


def _policy(key: Key, target: str) -> Check | None:
    return _by_policy(
        _POLICY,
        key,
        target,
        "expected the key policy to keep other accounts out, found a request of one that it allows",
    )


def _by_policy(question: Question, key: Key, target: str, message: str) -> Check | None:
    managed = managed_by_aws(key)
    if managed is True:
        return None
    answer = (
        managed
        if isinstance(managed, Unknown)
        else _evaluate(key, target, anonymous_only=question is _PUBLIC)
    )
    if isinstance(answer, Unknown):
        return question.unknown(answer.reason, target)
    if answer.exposure is Exposure.REFUSED:
        return question.passed(target)
    if answer.exposure is not Exposure.OPEN:
        return question.unknown(answer.reason, target)
    evidence = {"request": dict(answer.counterexample or {})}
    return question.failed([Finding(message=message, evidence=evidence)], target)


def _evaluate(key: Key, arn: str, *, anonymous_only: bool) -> Answer | Unknown:
    answer = key.policy()
    if not isinstance(answer, Mapping):
        return answer or Unknown("kms.get_key_policy: an empty answer")
    try:
        document = parse_policy(str(answer.get("Policy", "")))
    except ConfigurationError as error:
        return Unknown(f"the key policy cannot be judged: {error.what}")
    insiders = _insiders(key)
    return outside_access(
        document,
        resource=arn,
        actions=_ACTIONS,
        owner=insiders[0],
        now=key.now,
        trusted=insiders[1:],
        anonymous_only=anonymous_only,
        partition=arn.split(":")[1] if arn.startswith("arn:") else "aws",
    )


def _insiders(key: Key) -> tuple[str, ...]:
    """Return the account that owns the key, then the configured one."""
    metadata = key.describe()
    own = str(metadata.get("AWSAccountId", "")) if isinstance(metadata, Mapping) else ""
    return (own, *filter(None, (key.settings.owner,)))


def _grants(key: Key, target: str) -> Check | None:
    managed = managed_by_aws(key)
    if managed is True:
        return None
    answer = managed if isinstance(managed, Unknown) else key.grants()
    if not isinstance(answer, Mapping):
        reason = answer.reason if isinstance(answer, Unknown) else "kms.list_grants: empty answer"
        return _GRANTS.unknown(reason, target)
    insiders = _insiders(key)
    findings = [
        finding for grant in answer["Grants"] if (finding := _outsider(grant, insiders)) is not None
    ]
    if findings:
        return _GRANTS.failed(sorted(findings, key=lambda one: one.message), target)
    if not answer["complete"]:
        reason = f"kms.list_grants: only the first {len(answer['Grants']):,} grants were read"
        return _GRANTS.unknown(reason, target)
    return _GRANTS.passed(target)


def _outsider(grant: Mapping[str, Any], insiders: tuple[str, ...]) -> Finding | None:
    """Return a finding if a grant lets an outsider do what matters."""
    operations = sorted(set(map(str, grant.get("Operations", ()))) - _HARMLESS)
    if not operations:
        return None
    grantee = str(grant.get("GranteePrincipal") or grant.get("GranteeServicePrincipal") or "")
    if _SERVICE.fullmatch(grantee):
        return None
    match = _ACCOUNT.fullmatch(grantee)
    if match and match["account"] in insiders:
        return None
    who = f"account {match['account']}" if match else "a principal that cannot be placed"
    return Finding(
        message=f"grant {grant.get('GrantId', '')} lets {who} use {', '.join(operations)}",
        evidence={
            "grant": grant.get("GrantId"),
            "grantee": grantee,
            "operations": operations,
            # Only their kinds: an encryption context may name data.
            "constraints": sorted(grant.get("Constraints", {})),
        },
    )


ANSWERS: Final[tuple[tuple[Question, Callable[[Key, str], Check | None]], ...]] = (
    (_PUBLIC, _public),
    (_POLICY, _policy),
    (_GRANTS, _grants),
)
"""Each question with who answers it, about a key that goes by a name; None where it does not
apply."""
