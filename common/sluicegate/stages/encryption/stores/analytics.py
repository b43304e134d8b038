"""Glue and Athena: catalogues, jobs and query results."""

from __future__ import annotations

from typing import Final

from sluicegate.model import Finding
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
    wrong,
)
from sluicegate.stages.encryption.stores.exposed import judge_policy

__all__ = ["TYPES"]

_CATALOG_MODES: Final = frozenset({"SSE-KMS", "SSE-KMS-WITH-SERVICE-ROLE"})
"""Modes in which the metadata of the Data Catalog are encrypted."""
_S3_MODES: Final = frozenset({"SSE-KMS", "SSE-S3"})
"""Modes in which a Glue job encrypts what it writes to S3."""
_RESULT_MODES: Final = frozenset({"SSE_S3", "SSE_KMS", "CSE_KMS"})
"""Modes in which Athena encrypts query results."""


def _catalog(store: Store) -> Reply | Unknown:
    answer = store.call(
        "glue.get_data_catalog_encryption_settings",
        "glue:GetDataCatalogEncryptionSettings",
        CatalogId=store.arn.account,
    )
    if isinstance(answer, Unknown):
        return answer
    return answer.get("DataCatalogEncryptionSettings") or {}


def _catalog_at_rest(_: Store, reply: Reply) -> Judgement:
    mode = (reply.get("EncryptionAtRest") or {}).get("CatalogEncryptionMode", "DISABLED")
    passwords = reply.get("ConnectionPasswordEncryption") or {}
    findings: tuple[Finding, ...] = ()
    if mode not in _CATALOG_MODES:
        findings += wrong(f"metadata: expected SSE-KMS, found {mode}", mode=str(mode))
    if passwords.get("ReturnConnectionPasswordEncrypted") is not True:
        findings += wrong("passwords of connections: expected to be encrypted, found plain")
    return findings


def _catalog_keys(reply: Reply) -> Keys:
    return (
        ("metadata", (reply.get("EncryptionAtRest") or {}).get("SseAwsKmsKeyId")),
        ("passwords", (reply.get("ConnectionPasswordEncryption") or {}).get("AwsKmsKeyId")),
    )


def _catalog_public(store: Store, _: Reply) -> Judgement:
    answer = store.call(
        "glue.get_resource_policy", "glue:GetResourcePolicy", absent=("EntityNotFoundException",)
    )
    if isinstance(answer, Unknown):
        return answer
    parts = [store.arn.beside("glue", part) for part in ("catalog", "database/*", "table/*")]
    return judge_policy(store, answer.get("PolicyInJson"), ("glue:*",), *parts)


def _security(store: Store) -> Reply | Unknown:
    return _security_named(store, store.name)


def _security_named(store: Store, name: str) -> Reply | Unknown:
    answer = store.call(
        "glue.get_security_configuration", "glue:GetSecurityConfiguration", Name=name
    )
    return answer if isinstance(answer, Unknown) else answer.get("SecurityConfiguration") or {}


def _security_at_rest(_: Store, reply: Reply) -> Judgement:
    settings = reply.get("EncryptionConfiguration") or {}
    modes = [("S3", one.get("S3EncryptionMode")) for one in settings.get("S3Encryption") or ()]
    logs = (settings.get("CloudWatchEncryption") or {}).get("CloudWatchEncryptionMode")
    marks = (settings.get("JobBookmarksEncryption") or {}).get("JobBookmarksEncryptionMode")
    allowed = {"S3": _S3_MODES, "logs": {"SSE-KMS"}, "bookmarks": {"CSE-KMS"}}
    findings: tuple[Finding, ...] = ()
    for part, mode in (*(modes or [("S3", None)]), ("logs", logs), ("bookmarks", marks)):
        if mode not in allowed[part]:
            expected = " or ".join(sorted(allowed[part]))
            message = f"{part}: expected {expected}, found {mode or 'not set'}"
            findings += wrong(message, part=part, mode=mode)
    return findings


def _security_keys(reply: Reply) -> Keys:
    settings = reply.get("EncryptionConfiguration") or {}
    logs = settings.get("CloudWatchEncryption") or {}
    marks = settings.get("JobBookmarksEncryption") or {}
    objects: list[Reply] = settings.get("S3Encryption") or [{}]
    return (
        *(("S3", one.get("KmsKeyArn")) for one in objects),
        ("logs", logs.get("KmsKeyArn")),
        ("bookmarks", marks.get("KmsKeyArn")),
    )


def _job(store: Store) -> Reply | Unknown:
    """Describe a job by the security configuration under which it runs."""
    answer = store.call("glue.get_job", "glue:GetJob", JobName=store.name)
    if isinstance(answer, Unknown):
        return answer
    job: Reply = answer.get("Job") or {}
    name = job.get("SecurityConfiguration")
    if not name:
        return job
    described = _security_named(store, str(name))
    if isinstance(described, Unknown):
        return described
    return described or Unknown("the security configuration of the job does not exist")


def _job_at_rest(store: Store, reply: Reply) -> Judgement:
    if "EncryptionConfiguration" not in reply:
        return wrong("expected a security configuration, found a job that runs without one")
    return _security_at_rest(store, reply)


def _connection(store: Store) -> Reply | Unknown:
    answer = store.call(
        "glue.get_connection", "glue:GetConnection", Name=store.name, HidePassword=True
    )
    return answer if isinstance(answer, Unknown) else answer.get("Connection") or {}


def _connection_tls(_: Store, reply: Reply) -> Judgement:
    kind = str(reply.get("ConnectionType", ""))
    properties = reply.get("ConnectionProperties") or {}
    if kind == "KAFKA":
        on, name = str(properties.get("KAFKA_SSL_ENABLED", "true")), "KAFKA_SSL_ENABLED"
    elif kind == "JDBC" or "JDBC_ENFORCE_SSL" in properties:
        on, name = str(properties.get("JDBC_ENFORCE_SSL", "false")), "JDBC_ENFORCE_SSL"
    else:
        return Unknown(f"connections of type {kind or 'unknown'} do not say whether they use TLS")
    if on.lower() != "true":
        return wrong(f"expected {name} to be true, found that it is not", setting=name)
    return ()


def _workgroup(store: Store) -> Reply | Unknown:
    answer = store.call("athena.get_work_group", "athena:GetWorkGroup", WorkGroup=store.name)
    return answer if isinstance(answer, Unknown) else answer.get("WorkGroup") or {}


def _managed(settings: Reply) -> bool:
    return (settings.get("ManagedQueryResultsConfiguration") or {}).get("Enabled") is True


def _workgroup_at_rest(_: Store, reply: Reply) -> Judgement:
    settings: Reply = reply.get("Configuration") or {}
    if _managed(settings):  # Athena keeps the results itself, always encrypted
        return ()
    results = settings.get("ResultConfiguration") or {}
    option = (results.get("EncryptionConfiguration") or {}).get("EncryptionOption")
    if option not in _RESULT_MODES:
        found = option or "none: the bucket decides"
        return wrong(f"query results: expected encryption, found {found}", option=option)
    if settings.get("EnforceWorkGroupConfiguration") is not True:
        return wrong("expected that the workgroup decides, found that each client may override it")
    return ()


def _workgroup_keys(reply: Reply) -> Keys:
    settings: Reply = reply.get("Configuration") or {}
    if _managed(settings):
        managed = settings["ManagedQueryResultsConfiguration"].get("EncryptionConfiguration") or {}
        return (("query results", managed.get("KmsKey")),)
    results = settings.get("ResultConfiguration") or {}
    return (("query results", (results.get("EncryptionConfiguration") or {}).get("KmsKey")),)


TYPES: Final = (
    StoreType(
        on="glue-catalog",
        service="glue",
        path="catalog",
        describe=_catalog,
        calls=("glue.get_data_catalog_encryption_settings",),
        permissions=(Permission("glue:GetDataCatalogEncryptionSettings", "glue-catalog"),),
        judges={Asks.AT_REST: _catalog_at_rest, Asks.PUBLIC: _catalog_public},
        keys=_catalog_keys,
        further={
            Asks.PUBLIC: Further(
                calls=("glue.get_resource_policy",),
                permissions=(Permission("glue:GetResourcePolicy", "glue-catalog"),),
            )
        },
    ),
    StoreType(
        on="glue-security-configuration",
        service="glue",
        path="security-configuration/",
        describe=_security,
        calls=("glue.get_security_configuration",),
        permissions=(Permission("glue:GetSecurityConfiguration", "glue-security-configuration"),),
        has_arn=False,  # the form of the ARN is this project's own: AWS gives none
        judges={Asks.AT_REST: _security_at_rest},
        keys=_security_keys,
    ),
    StoreType(
        on="glue-job",
        service="glue",
        path="job/",
        describe=_job,
        calls=("glue.get_job", "glue.get_security_configuration"),
        permissions=(
            Permission("glue:GetJob", "glue-job"),
            Permission("glue:GetSecurityConfiguration", "glue-job-configuration"),
        ),
        also={"glue-job-configuration": "*"},
        judges={Asks.AT_REST: _job_at_rest},
        keys=_security_keys,
    ),
    StoreType(
        on="glue-connection",
        service="glue",
        path="connection/",
        describe=_connection,
        calls=("glue.get_connection",),
        permissions=(
            Permission("glue:GetConnection", "glue-connection"),
            Permission("glue:GetConnection", "glue-own-catalog"),
        ),
        judges={Asks.TLS: _connection_tls},
        also={"glue-own-catalog": "catalog"},
    ),
    StoreType(
        on="athena-workgroup",
        service="athena",
        path="workgroup/",
        describe=_workgroup,
        calls=("athena.get_work_group",),
        permissions=(Permission("athena:GetWorkGroup", "athena-workgroup"),),
        judges={Asks.AT_REST: _workgroup_at_rest},
        keys=_workgroup_keys,
    ),
)
"""Types of Glue and Athena."""
