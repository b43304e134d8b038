"""How a bucket stores what is written to it, and what it writes elsewhere itself.

Replication and inventory reports put data, or the names of it, into other buckets. Where
they name no key, the default of the other bucket decides. On AWS that is at least SSE-S3;
the other bucket is not asked, because its policy is seldom the business of this pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.model import Check, Finding, Severity
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question
from sluicegate.stages.encryption.s3.calls import Reply
from sluicegate.stages.encryption.s3.default import KMS_MODES, Default, key_problem
from sluicegate.stages.encryption.s3.subject import Bucket

__all__ = ["ANSWERS"]

_ENCRYPTION: Final = Permission("s3:GetEncryptionConfiguration", "bucket")

_DEFAULT: Final = Question(
    id="encryption.s3_bucket_default",
    asks="Does the bucket encrypt what is written to it, in a mode and with a key that will do?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=("s3.get_bucket_encryption",),
    permissions=(_ENCRYPTION,),
    remedy="aws s3api put-bucket-encryption --bucket BUCKET --server-side-encryption-configuration "
    '\'{"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", '
    '"KMSMasterKeyID": "KEY-ARN"}, "BucketKeyEnabled": true}]}\'',
    controls=Controls(fsbp=("S3.17",), nist=("SC-28(1)",), csf=("PR.DS-01",)),
)
_SSE_C: Final = Question(
    id="encryption.s3_bucket_sse_c_blocked",
    asks="Does the bucket refuse objects encrypted with keys that only the client holds (SSE-C)?",
    kind=Kind.AT_REST,
    severity=Severity.INFO,
    calls=("s3.get_bucket_encryption",),
    permissions=(_ENCRYPTION,),
    remedy="Repeat the default encryption in aws s3api put-bucket-encryption with "
    '"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]} in the rule',
    simulator="The server of moto does not store BlockedEncryptionTypes.",
)
_REPLICATION: Final = Question(
    id="encryption.s3_bucket_replication",
    asks="Does what the bucket replicates stay in its account, in a mode and with a key that "
    "will do?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=("s3.get_bucket_replication", "sts.get_caller_identity"),
    permissions=(Permission("s3:GetReplicationConfiguration", "bucket"),),
    remedy="Name the key in the rule: Destination.EncryptionConfiguration.ReplicaKmsKeyID with "
    "SourceSelectionCriteria.SseKmsEncryptedObjects (aws s3api put-bucket-replication); remove "
    "rules to accounts that must not have the data",
)
_INVENTORY: Final = Question(
    id="encryption.s3_bucket_inventory_destinations",
    asks="Do the bucket's inventory reports stay in its account, in a mode and with a key that "
    "will do?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=("s3.list_bucket_inventory_configurations", "sts.get_caller_identity"),
    permissions=(Permission("s3:GetInventoryConfiguration", "bucket"),),
    remedy="Set Destination.S3BucketDestination.Encryption.SSEKMS.KeyId "
    "(aws s3api put-bucket-inventory-configuration)",
)


def _default(bucket: Bucket) -> Check:
    found = bucket.defaults()
    if isinstance(found, Unknown):
        return _DEFAULT.unknown(found.reason, bucket.name)
    if not found:
        finding = Finding(message="expected default encryption, found none")
        return _DEFAULT.failed([finding], bucket.name)
    findings = [
        Finding(
            message=f"default encryption {rule.mode or 'of no kind'}: {problem}",
            evidence={"algorithm": rule.algorithm, "key": rule.key, "blocked": list(rule.blocked)},
        )
        for rule in found
        if (problem := _problem(rule, bucket))
    ]
    if findings:
        return _DEFAULT.failed(findings, bucket.name)
    return _DEFAULT.passed(bucket.name)


def _problem(rule: Default, bucket: Bucket) -> str:
    if rule.mode not in bucket.settings.modes:
        return f"expected one of {', '.join(bucket.settings.modes)}"
    return key_problem(rule.key, bucket.settings.kms_keys) if rule.uses_kms else ""


def _sse_c(bucket: Bucket) -> Check | None:
    if "SSE-C" in bucket.settings.modes:
        return None
    answer, rules = bucket.ask_encryption(), bucket.defaults()
    if isinstance(answer, Unknown):
        return _SSE_C.unknown(answer.reason, bucket.name)
    if isinstance(rules, tuple) and rules and all("SSE-C" in rule.blocked for rule in rules):
        return _SSE_C.passed(bucket.name)
    if answer is not None and not answer["tells_blocked"]:
        reason = "the installed boto3 is too old to read BlockedEncryptionTypes"
        return _SSE_C.unknown(reason, bucket.name)
    finding = Finding(
        message="expected the bucket to block SSE-C, found that it does not; "
        "whether its policy refuses it was not looked at",
        evidence={"blocked": [list(rule.blocked) for rule in rules or ()]}
        if not isinstance(rules, Unknown)
        else {},
    )
    return _SSE_C.failed([finding], bucket.name)


def _replication(bucket: Bucket) -> Check:
    answer = bucket.ask("get_bucket_replication", "s3:GetReplicationConfiguration")
    if isinstance(answer, Unknown):
        return _REPLICATION.unknown(answer.reason, bucket.name)
    rules = (answer or {}).get("ReplicationConfiguration", {}).get("Rules", ())
    copies = []
    for rule in rules:
        if rule.get("Status") == "Disabled":
            continue
        destination = rule.get("Destination", {})
        key = destination.get("EncryptionConfiguration", {}).get("ReplicaKmsKeyID")
        copies.append(
            _Copy(
                f"rule {rule.get('ID', '')!r} to {destination.get('Bucket', '')}",
                destination.get("Account"),
                ("SSE-KMS", "DSSE-KMS") if key else (),  # as the source was
                key,
            )
        )
    return _judge(_REPLICATION, bucket, copies)


def _inventory(bucket: Bucket) -> Check:
    answer = bucket.ask("list_bucket_inventory_configurations", "s3:GetInventoryConfiguration")
    if isinstance(answer, Unknown):
        return _INVENTORY.unknown(answer.reason, bucket.name)
    copies = [
        _inventory_copy(one)
        for one in (answer or {}).get("InventoryConfigurationList", ())
        if one.get("IsEnabled") is not False
    ]
    check = _judge(_INVENTORY, bucket, copies)
    if (answer or {}).get("IsTruncated") and not check.findings:
        reason = "the bucket has more inventory configurations than one answer holds"
        return _INVENTORY.unknown(reason, bucket.name)
    return check


def _inventory_copy(configuration: Reply) -> _Copy:
    destination = configuration.get("Destination", {}).get("S3BucketDestination", {})
    encryption: Mapping[str, Any] = destination.get("Encryption", {})
    key = encryption.get("SSEKMS", {}).get("KeyId")
    named = {"SSEKMS": "SSE-KMS", "SSES3": "SSE-S3"}
    return _Copy(
        f"inventory {configuration.get('Id', '')!r} to {destination.get('Bucket', '')}",
        destination.get("AccountId"),
        tuple(mode for element, mode in named.items() if element in encryption),
        key,
    )


@dataclass(frozen=True, slots=True)
class _Copy:
    """Something that the bucket writes into another bucket."""

    name: str
    account: str | None
    """The account that is to own it, if the configuration names one."""
    modes: tuple[str, ...]
    """What it may be stored as; empty where the default of the other bucket decides."""
    key: str | None

    def problems(self, bucket: Bucket) -> Iterable[str | Unknown]:
        """Yield what is wrong, and what cannot be told."""
        wanted = bucket.settings.modes
        if self.account:
            owner = bucket.account()
            if isinstance(owner, Unknown):
                yield owner
            elif owner != self.account:
                yield f"leaves account {owner} for account {self.account}"
        if not self.modes:
            if "SSE-S3" not in wanted:
                yield Unknown(f"{self.name}: the default encryption of the destination decides")
        elif not set(self.modes) & set(wanted):
            yield f"is stored as {self.modes[0]}, expected one of {', '.join(wanted)}"
        elif self.key or self.modes[0] in KMS_MODES:
            problem = key_problem(self.key, bucket.settings.kms_keys)
            if problem:
                yield problem


def _judge(question: Question, bucket: Bucket, copies: Iterable[_Copy]) -> Check:
    findings, doubts = [], []
    for copy in sorted(copies, key=lambda one: one.name):
        for problem in copy.problems(bucket):
            if isinstance(problem, Unknown):
                doubts.append(problem.reason)
            else:
                findings.append(
                    Finding(
                        message=f"{copy.name}: {problem}",
                        evidence={
                            "modes": list(copy.modes),
                            "key": copy.key,
                            "account": copy.account,
                        },
                    )
                )
    if findings:
        return question.failed(findings, bucket.name)
    if doubts:
        return question.unknown("; ".join(dict.fromkeys(doubts)), bucket.name)
    return question.passed(bucket.name)


ANSWERS: Final[tuple[tuple[Question, Callable[[Bucket], Check | None]], ...]] = (
    (_DEFAULT, _default),
    (_SSE_C, _sse_c),
    (_REPLICATION, _replication),
    (_INVENTORY, _inventory),
)
"""Each question with who answers it; None where it does not apply."""
