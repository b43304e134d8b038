"""The questions about stores: the same for every service and cloud, where the meaning is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluicegate.model import Severity
from sluicegate.stages.encryption.question import Controls, Kind, Permission, Question
from sluicegate.stages.encryption.stores.base import Asks, StoreType
from sluicegate.stages.encryption.stores.catalog import TYPES, further_of

__all__ = ["QUESTION", "QUESTIONS"]

_CLOUD_CALLS: Final[Mapping[Asks, tuple[str, ...]]] = {
    Asks.AT_REST: ("storage.buckets.get", "Get Container Properties"),
    Asks.KEY_MANAGER: ("storage.buckets.get",),
    Asks.OBJECT_MODE: ("storage.objects.list", "List Blobs"),
    Asks.TLS: ("storage.buckets.get", "orgpolicy.policies.getEffectivePolicy", "HTTP on port 80"),
    Asks.PUBLIC: (
        "storage.buckets.get",
        "storage.buckets.getIamPolicy",
        "Get Container Properties",
    ),
    Asks.VERSIONED: ("storage.buckets.get",),
}
"""Calls to Google and Azure by question; their permissions are named in the reasons."""


def _answers(kind: StoreType, asks: Asks) -> bool:
    keyed = kind.keys is not None and asks in (Asks.KEY, Asks.KEY_MANAGER)
    return keyed or asks in kind.judges


def _calls(asks: Asks) -> tuple[str, ...]:
    aws = {
        call
        for kind in TYPES
        if _answers(kind, asks)
        for call in (*kind.calls, *further_of(kind, asks).calls)
    }
    return (*sorted(aws), *_CLOUD_CALLS.get(asks, ()))


def _permissions(asks: Asks) -> tuple[Permission, ...]:
    found = {
        permission
        for kind in TYPES
        if _answers(kind, asks)
        for permission in (*kind.permissions, *further_of(kind, asks).permissions)
    }
    return tuple(sorted(found, key=lambda one: (one.action, one.on)))


def _question(
    id: Asks,
    asks: str,
    kind: Kind,
    severity: Severity,
    remedy: str,
    controls: Controls,
    simulator: str = "",
) -> Question:
    return Question(
        id=id.value,
        asks=asks,
        kind=kind,
        severity=severity,
        calls=_calls(id),
        permissions=_permissions(id),
        remedy=remedy,
        controls=controls,
        simulator=simulator,
    )


QUESTION: Final[Mapping[Asks, Question]] = {
    Asks.AT_REST: _question(
        Asks.AT_REST,
        "Is the store encrypted at rest?",
        Kind.AT_REST,
        Severity.CRITICAL,
        "RDS, EBS, EFS, ElastiCache: copy it into an encrypted one (aws rds copy-db-snapshot "
        "--kms-key-id KEY); Kinesis: aws kinesis start-stream-encryption --encryption-type KMS "
        "--key-id KEY; SQS: sqs_managed_sse_enabled = true; Redshift: aws redshift modify-cluster "
        "--encrypted; Glue: aws glue put-data-catalog-encryption-settings; Athena: "
        "enforce_workgroup_configuration = true with encryption_configuration",
        Controls(
            fsbp=("EC2.3", "EFS.1", "ElastiCache.4", "RDS.3", "RDS.27", "SQS.1"),
            cis=("2.3.1", "2.4.1"),
            nist=("SC-28(1)",),
            csf=("PR.DS-01",),
        ),
    ),
    Asks.KEY: _question(
        Asks.KEY,
        "Is the store at AWS encrypted with one of the keys in kms_keys?",
        Kind.AT_REST,
        Severity.CRITICAL,
        "name the key where the store is made (kms_key_id in Terraform), or add its ARN to "
        "kms_keys",
        Controls(nist=("SC-12",), csf=("PR.DS-01",)),
        "volumes of SageMaker processing jobs",
    ),
    Asks.KEY_MANAGER: _question(
        Asks.KEY_MANAGER,
        "Does the customer manage the key, rather than the provider?",
        Kind.AT_REST,
        Severity.INFO,
        "name a key of your own where the store is made: kms_key_id in Terraform; gcloud storage "
        "buckets update gs://BUCKET --default-encryption-key=KEY",
        Controls(nist=("SC-12",), csf=("PR.DS-01",)),
        "volumes of SageMaker processing jobs",
    ),
    Asks.OBJECT_MODE: _question(
        Asks.OBJECT_MODE,
        "Is every object at Google or Azure encrypted in an allowed way?",
        Kind.AT_REST,
        Severity.CRITICAL,
        "rewrite the object with the right key: gcloud storage objects update gs://BUCKET/OBJECT "
        "--encryption-key=KEY; az storage blob copy start with --encryption-scope",
        Controls(nist=("SC-28(1)",), csf=("PR.DS-01",)),
        "moto simulates AWS only",
    ),
    Asks.TLS: _question(
        Asks.TLS,
        "Does the store refuse plain connections?",
        Kind.IN_TRANSIT,
        Severity.CRITICAL,
        "RDS PostgreSQL: rds.force_ssl=1, MySQL: require_secure_transport=1, Redshift: "
        "require_ssl=true in the parameter group, then reboot; ElastiCache: transit_encryption_"
        'mode = "required"; OpenSearch: enforce_https = true; MSK: client_broker = "TLS"; Glue: '
        "JDBC_ENFORCE_SSL = true; Google: enforce constraints/storage.secureHttpTransport; "
        "Azure: az storage account update --https-only true",
        Controls(fsbp=("ElastiCache.5", "RDS.38"), nist=("AC-17(2)", "SC-8(1)"), csf=("PR.DS-02",)),
        "the mode of ElastiCache, the type of Glue connections, parameters of Redshift",
    ),
    Asks.INTER_NODE: _question(
        Asks.INTER_NODE,
        "Is the traffic between the nodes encrypted?",
        Kind.IN_TRANSIT,
        Severity.WARNING,
        "SageMaker: EnableInterContainerTrafficEncryption=true for the job; OpenSearch: "
        "node_to_node_encryption { enabled = true }; MSK: in_cluster = true",
        Controls(nist=("SC-8(1)",), csf=("PR.DS-02",)),
        "the instances of SageMaker processing jobs",
    ),
    Asks.PUBLIC: _question(
        Asks.PUBLIC,
        "Is the store closed to everybody who is not named?",
        Kind.AT_REST,
        Severity.CRITICAL,
        "RDS, Redshift: publicly_accessible = false; SageMaker notebook: direct_internet_access "
        '= "Disabled"; policies: name accounts instead of *; Google: gcloud storage buckets '
        "update gs://BUCKET --public-access-prevention; Azure: az storage container "
        "set-permission --public-access off",
        Controls(
            fsbp=("RDS.2", "Redshift.1", "SageMaker.1"),
            cis=("2.3.3",),
            nist=("AC-3",),
            csf=("PR.AA-05",),
        ),
        "PubliclyAccessible of RDS, which moto drops",
    ),
    Asks.ISOLATED: _question(
        Asks.ISOLATED,
        "Are the containers of the job or model kept from calling out?",
        Kind.AT_REST,
        Severity.WARNING,
        "EnableNetworkIsolation=true for the job; enable_network_isolation = true for the model",
        Controls(fsbp=("SageMaker.5",), nist=("SC-7",)),
        "isolation of SageMaker models",
    ),
    Asks.VERSIONED: _question(
        Asks.VERSIONED,
        "Can objects at Google that are overwritten or deleted be had back?",
        Kind.AT_REST,
        Severity.INFO,
        "gcloud storage buckets update gs://BUCKET --versioning",
        Controls(nist=("CP-9",)),
        "moto simulates AWS only",
    ),
}
"""Each question by its id."""

QUESTIONS: Final[tuple[Question, ...]] = tuple(QUESTION[one] for one in Asks)
"""The questions in the order of the report."""
