"""DynamoDB, ElastiCache and OpenSearch."""

from __future__ import annotations

from typing import Any, Final

from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Permission
from sluicegate.stages.encryption.stores.base import (
    Asks,
    Judgement,
    Reply,
    Store,
    StoreType,
    first,
    must,
    wrong,
)
from sluicegate.stages.encryption.stores.exposed import judge_policy

__all__ = ["TYPES"]

_OPENSEARCH_TLS12: Final = frozenset(
    {
        "Policy-Min-TLS-1-2-2019-07",
        "Policy-Min-TLS-1-2-PFS-2023-10",
        "Policy-Min-TLS-1-2-RFC9151-FIPS-2024-08",
        "Policy-Min-TLS-1-2-FIPS-PQ-2026-10",
    }
)
"""TLS policies of OpenSearch that refuse TLS 1.0 and 1.1; the API model of botocore 1.44."""


def _table(store: Store) -> Reply | Unknown:
    name, action = "dynamodb.describe_table", "dynamodb:DescribeTable"
    answer = store.call(name, action, TableName=store.name)
    return answer if isinstance(answer, Unknown) else answer.get("Table") or {}


def _table_key(reply: Reply) -> str | None:
    """Return the key of a table; None while AWS's own key is in use."""
    encryption = reply.get("SSEDescription") or {}
    if encryption.get("Status") not in ("ENABLED", "UPDATING"):
        return None
    key = encryption.get("KMSMasterKeyArn")
    return str(key) if key else None


def _cache(store: Store) -> Reply | Unknown:
    name, action = (
        "elasticache.describe_replication_groups",
        "elasticache:DescribeReplicationGroups",
    )
    return first(store.call(name, action, ReplicationGroupId=store.name), "ReplicationGroups")


def _cache_tls(_: Store, reply: Reply) -> Judgement:
    enabled, mode = reply.get("TransitEncryptionEnabled"), reply.get("TransitEncryptionMode")
    if enabled is True and mode is None:
        return Unknown("the answer holds no TransitEncryptionMode")
    if enabled is True and mode != "required":
        return wrong(
            f"expected TransitEncryptionMode required, found {mode}: "
            "plain connections are accepted besides",
            mode=str(mode),
        )
    return must(enabled, "expected encryption in transit, found none", enabled=False)


def _domain(store: Store) -> Reply | Unknown:
    answer = store.call("opensearch.describe_domain", "es:DescribeDomain", DomainName=store.name)
    return answer if isinstance(answer, Unknown) else answer.get("DomainStatus") or {}


def _domain_tls(_: Store, reply: Reply) -> Judgement:
    options = reply.get("DomainEndpointOptions") or {}
    policy = options.get("TLSSecurityPolicy")
    if options.get("EnforceHTTPS") is True and policy not in _OPENSEARCH_TLS12:
        return wrong(
            f"expected a policy that refuses TLS below 1.2, found {policy}", policy=str(policy)
        )
    return must(options.get("EnforceHTTPS"), "expected EnforceHTTPS, found HTTP allowed")


def _domain_public(store: Store, reply: Reply) -> Judgement:
    security = reply.get("AdvancedSecurityOptions") or {}
    asks_who = security.get("Enabled") is True and not security.get("AnonymousAuthEnabled")
    if (reply.get("VPCOptions") or {}).get("VPCId") or asks_who:
        return ()
    policy = str(reply.get("AccessPolicies") or "")
    return judge_policy(store, policy, ("es:ESHttp*",), f"{store.arn.text}/*")


def _option(member: str, message: str) -> Any:
    """Return a judge of the ``Enabled`` of one member."""
    return lambda _, reply: must((reply.get(member) or {}).get("Enabled"), message)


TYPES: Final = (
    StoreType(
        on="dynamodb-table",
        service="dynamodb",
        path="table/",
        describe=_table,
        calls=("dynamodb.describe_table",),
        permissions=(Permission("dynamodb:DescribeTable", "dynamodb-table"),),
        arn_in=lambda reply: reply.get("TableArn"),
        # DynamoDB has no way to store a table unencrypted; see the Developer Guide.
        judges={Asks.AT_REST: lambda _store, _reply: ()},
        keys=lambda reply: (("table", _table_key(reply)),),
    ),
    StoreType(
        on="elasticache-group",
        service="elasticache",
        path="replicationgroup:",
        describe=_cache,
        calls=("elasticache.describe_replication_groups",),
        permissions=(Permission("elasticache:DescribeReplicationGroups", "elasticache-group"),),
        arn_in=lambda reply: reply.get("ARN"),
        judges={
            Asks.AT_REST: lambda _, reply: must(
                reply.get("AtRestEncryptionEnabled"), "expected encryption at rest, found none"
            ),
            Asks.TLS: _cache_tls,
        },
        keys=lambda reply: (("cache", reply.get("KmsKeyId")),),
    ),
    StoreType(
        on="opensearch-domain",
        service="es",
        path="domain/",
        describe=_domain,
        calls=("opensearch.describe_domain",),
        permissions=(Permission("es:DescribeDomain", "opensearch-domain"),),
        arn_in=lambda reply: reply.get("ARN"),
        judges={
            Asks.AT_REST: _option(
                "EncryptionAtRestOptions", "expected encryption at rest, found none"
            ),
            Asks.TLS: _domain_tls,
            Asks.INTER_NODE: _option(
                "NodeToNodeEncryptionOptions", "expected encryption between nodes, found none"
            ),
            Asks.PUBLIC: _domain_public,
        },
        keys=lambda reply: (
            ("domain", (reply.get("EncryptionAtRestOptions") or {}).get("KmsKeyId")),
        ),
    ),
)
"""Tables, caches and indexes."""
