"""Relational databases at AWS: RDS, Aurora, Redshift.

Whether they refuse plain connections is a parameter of the engine, not of the
store. A parameter that waits for a reboot is not in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Permission
from sluicegate.stages.encryption.stores.base import (
    Asks,
    Further,
    Judgement,
    Keys,
    Reply,
    Store,
    StoreType,
    first,
    must,
    wrong,
)

__all__ = ["TYPES"]

_TLS_PARAMETER: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "postgres": ("rds.force_ssl", frozenset({"1", "on", "true"})),
    "aurora-postgresql": ("rds.force_ssl", frozenset({"1", "on", "true"})),
    "mysql": ("require_secure_transport", frozenset({"1", "on", "true"})),
    "mariadb": ("require_secure_transport", frozenset({"1", "on", "true"})),
    "aurora-mysql": ("require_secure_transport", frozenset({"1", "on", "true"})),
    "sqlserver": ("rds.force_ssl", frozenset({"1", "on", "true"})),
}
"""Parameters with which an engine refuses plain connections, and their values that do it.
Amazon RDS User Guide, "Using SSL/TLS to encrypt a connection". Oracle and Db2 use option
groups and ports instead, which are not examined."""

_PAGES: Final = 20
"""Pages of 100 parameters read at most; the largest parameter groups have about 600."""


def _db(store: Store) -> Reply | Unknown:
    name, action = "rds.describe_db_instances", "rds:DescribeDBInstances"
    return first(store.call(name, action, DBInstanceIdentifier=store.name), "DBInstances")


def _db_cluster(store: Store) -> Reply | Unknown:
    return _cluster_named(store, store.name)


def _cluster_named(store: Store, name: str) -> Reply | Unknown:
    call, action = "rds.describe_db_clusters", "rds:DescribeDBClusters"
    return first(store.call(call, action, DBClusterIdentifier=name), "DBClusters")


def _db_tls(store: Store, reply: Reply) -> Judgement:
    cluster = reply.get("DBClusterIdentifier")
    if cluster:
        described = _cluster_named(store, str(cluster))
        if isinstance(described, Unknown):
            return described
        return _db_cluster_tls(store, described)
    groups: list[Reply] = reply.get("DBParameterGroups") or []
    if len(groups) != 1:
        return Unknown("rds.describe_db_instances: the answer names no parameter group")
    return _parameter_tls(
        store,
        str(reply.get("Engine", "")),
        "rds.describe_db_parameters",
        "rds:DescribeDBParameters",
        {"DBParameterGroupName": groups[0].get("DBParameterGroupName", "")},
        str(groups[0].get("ParameterApplyStatus", "")),
    )


def _db_cluster_tls(store: Store, reply: Reply) -> Judgement:
    group = reply.get("DBClusterParameterGroup")
    if not group:
        return Unknown("rds.describe_db_clusters: the answer names no parameter group")
    waiting = [
        member
        for member in reply.get("DBClusterMembers") or ()
        if member.get("DBClusterParameterGroupStatus", "in-sync") != "in-sync"
    ]
    return _parameter_tls(
        store,
        str(reply.get("Engine", "")),
        "rds.describe_db_cluster_parameters",
        "rds:DescribeDBClusterParameters",
        {"DBClusterParameterGroupName": group},
        "pending-reboot" if waiting else "in-sync",
    )


def _parameter_tls(
    store: Store, engine: str, call: str, action: str, group: dict[str, Any], status: str
) -> Judgement:
    kind = "sqlserver" if engine.startswith("sqlserver-") else engine
    if kind not in _TLS_PARAMETER:
        return Unknown(f"the engine {engine!a} is not examined for plain connections")
    name, enforcing = _TLS_PARAMETER[kind]
    value = _parameter(store, call, action, group, name)
    if isinstance(value, Unknown):
        return value
    if value is None or value.lower() not in enforcing:
        message = f"expected {name} to be on, found {value if value is not None else 'not set'}"
        return wrong(f"{message}: plain connections are accepted", parameter=name, value=value)
    if status not in ("", "in-sync"):
        return Unknown(f"{name} is on, and the parameter group is {status}: it may not be in force")
    return ()


def _parameter(
    store: Store, call: str, action: str, group: dict[str, Any], name: str
) -> str | Unknown | None:
    """Return the value of one parameter of a group; None if it is not set."""
    marker: dict[str, Any] = {}
    for _ in range(_PAGES):
        answer = store.call(call, action, **group, **marker)
        if isinstance(answer, Unknown):
            return answer
        for parameter in answer.get("Parameters") or ():
            if parameter.get("ParameterName") == name:
                value = parameter.get("ParameterValue")
                return None if value is None else str(value)
        if not answer.get("Marker"):
            return None
        marker = {"Marker": answer["Marker"]}
    return Unknown(f"{call}: more than {_PAGES} pages of parameters")


def _db_keys(reply: Reply) -> Keys:
    encrypted = reply.get("StorageEncrypted") is True
    return (("storage", reply.get("KmsKeyId") if encrypted else None),)


def _db_public(_: Store, reply: Reply) -> Judgement:
    value = reply.get("PubliclyAccessible")
    closed = not value if isinstance(value, bool) else value
    return must(closed, "expected a private address, found PubliclyAccessible", public=True)


def _db_cluster_public(store: Store, reply: Reply) -> Judgement:
    """Judge the instances of a cluster: they have the addresses, unless it is Multi-AZ."""
    if "PubliclyAccessible" in reply:
        return _db_public(store, reply)
    answer = store.call(
        "rds.describe_db_instances",
        "rds:DescribeDBInstances",
        Filters=[{"Name": "db-cluster-id", "Values": [store.name]}],
    )
    if isinstance(answer, Unknown):
        return answer
    if answer.get("Marker"):
        return Unknown("rds.describe_db_instances: more instances than one answer holds")
    instances = answer.get("DBInstances") or ()
    judged = [_db_public(store, instance) for instance in instances]
    findings = tuple(one for each in judged if not isinstance(each, Unknown) for one in each)
    unknown = next((each for each in judged if isinstance(each, Unknown)), None)
    if not instances:
        return Unknown("rds.describe_db_instances: the cluster has no instances to ask about")
    return findings[:1] or unknown or ()


def _redshift(store: Store) -> Reply | Unknown:
    name, action = "redshift.describe_clusters", "redshift:DescribeClusters"
    return first(store.call(name, action, ClusterIdentifier=store.name), "Clusters")


def _redshift_tls(store: Store, reply: Reply) -> Judgement:
    groups: list[Reply] = reply.get("ClusterParameterGroups") or []
    if len(groups) != 1:
        return Unknown("redshift.describe_clusters: the answer names no parameter group")
    value = _parameter(
        store,
        "redshift.describe_cluster_parameters",
        "redshift:DescribeClusterParameters",
        {"ParameterGroupName": groups[0].get("ParameterGroupName", "")},
        "require_ssl",
    )
    if isinstance(value, Unknown):
        return value
    if value != "true":
        return wrong(
            f"expected require_ssl to be true, found {value or 'not set'}: "
            "plain connections are accepted",
            parameter="require_ssl",
            value=value,
        )
    for status in groups[0].get("ClusterParameterStatusList") or ():
        name, state = status.get("ParameterName"), status.get("ParameterApplyStatus")
        if name == "require_ssl" and state != "in-sync":
            return wrong(f"require_ssl is true, and not in force: {state}", parameter=name)
    return ()


TYPES: Final = (
    StoreType(
        on="rds-db",
        service="rds",
        path="db:",
        describe=_db,
        calls=("rds.describe_db_instances",),
        permissions=(Permission("rds:DescribeDBInstances", "rds-db"),),
        arn_in=lambda reply: reply.get("DBInstanceArn"),
        judges={
            Asks.AT_REST: lambda _, reply: must(
                reply.get("StorageEncrypted"), "expected encrypted storage, found plain storage"
            ),
            Asks.TLS: _db_tls,
            Asks.PUBLIC: _db_public,
        },
        keys=_db_keys,
        further={
            Asks.TLS: Further(
                calls=(
                    "rds.describe_db_parameters",
                    "rds.describe_db_clusters",
                    "rds.describe_db_cluster_parameters",
                ),
                permissions=(
                    Permission("rds:DescribeDBParameters", "rds-parameter-group"),
                    Permission("rds:DescribeDBClusters", "rds-any-cluster"),
                    Permission("rds:DescribeDBClusterParameters", "rds-cluster-parameter-group"),
                ),
            )
        },
        also={
            "rds-parameter-group": "pg:*",
            "rds-cluster-parameter-group": "cluster-pg:*",
            "rds-any-cluster": "cluster:*",
        },
    ),
    StoreType(
        on="rds-cluster",
        service="rds",
        path="cluster:",
        describe=_db_cluster,
        calls=("rds.describe_db_clusters",),
        permissions=(Permission("rds:DescribeDBClusters", "rds-cluster"),),
        arn_in=lambda reply: reply.get("DBClusterArn"),
        judges={
            Asks.AT_REST: lambda _, reply: must(
                reply.get("StorageEncrypted"), "expected encrypted storage, found plain storage"
            ),
            Asks.TLS: _db_cluster_tls,
            Asks.PUBLIC: _db_cluster_public,
        },
        keys=_db_keys,
        further={
            Asks.TLS: Further(
                calls=("rds.describe_db_cluster_parameters",),
                permissions=(
                    Permission("rds:DescribeDBClusterParameters", "rds-cluster-parameter-group"),
                ),
            ),
            Asks.PUBLIC: Further(
                calls=("rds.describe_db_instances",),
                permissions=(Permission("rds:DescribeDBInstances", "rds-any-db"),),
            ),
        },
        also={"rds-cluster-parameter-group": "cluster-pg:*", "rds-any-db": "db:*"},
    ),
    StoreType(
        on="redshift-cluster",
        service="redshift",
        path="cluster:",
        describe=_redshift,
        calls=("redshift.describe_clusters",),
        permissions=(Permission("redshift:DescribeClusters", "redshift-cluster"),),
        judges={
            Asks.AT_REST: lambda _, reply: must(
                reply.get("Encrypted"), "expected an encrypted cluster, found a plain one"
            ),
            Asks.TLS: _redshift_tls,
            Asks.PUBLIC: _db_public,
        },
        keys=lambda reply: (("cluster", reply.get("KmsKeyId")),),
        further={
            Asks.TLS: Further(
                calls=("redshift.describe_cluster_parameters",),
                permissions=(
                    Permission("redshift:DescribeClusterParameters", "redshift-parameter-group"),
                ),
            )
        },
        also={"redshift-parameter-group": "parametergroup:*"},
    ),
)
"""RDS, Aurora and Redshift."""
