"""EBS, EFS, ECR and Secrets Manager: disks, images, secrets."""

from __future__ import annotations

from typing import Any, Final

from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Permission
from sluicegate.stages.encryption.stores.base import (
    Asks,
    Further,
    Judgement,
    Reply,
    Store,
    StoreType,
    first,
    must,
    wrong,
)
from sluicegate.stages.encryption.stores.exposed import judge_policy, with_resource

__all__ = ["TYPES"]

_IMAGE_MODES: Final = frozenset({"AES256", "KMS", "KMS_DSSE"})
"""How ECR can encrypt a repository; it always does."""


def _volume(store: Store) -> Reply | Unknown:
    name, action = "ec2.describe_volumes", "ec2:DescribeVolumes"
    return first(store.call(name, action, VolumeIds=[store.name]), "Volumes")


def _file_system(store: Store) -> Reply | Unknown:
    name, action = "efs.describe_file_systems", "elasticfilesystem:DescribeFileSystems"
    return first(store.call(name, action, FileSystemId=store.name), "FileSystems")


def _encrypted(_: Store, reply: Reply) -> Judgement:
    return must(reply.get("Encrypted"), "expected an encrypted volume, found a plain one")


def _key(part: str) -> Any:
    return lambda reply: ((part, reply.get("KmsKeyId")),)


def _repository(store: Store) -> Reply | Unknown:
    answer = store.call(
        "ecr.describe_repositories",
        "ecr:DescribeRepositories",
        registryId=store.arn.account,
        repositoryNames=[store.name],
    )
    return first(answer, "repositories")


def _repository_at_rest(_: Store, reply: Reply) -> Judgement:
    kind = (reply.get("encryptionConfiguration") or {}).get("encryptionType")
    if kind is None:
        return Unknown("the answer holds no encryptionConfiguration")
    if kind in _IMAGE_MODES:
        return ()
    return wrong(f"expected AES256, KMS or KMS_DSSE, found {kind}", type=str(kind))


def _repository_public(store: Store, _: Reply) -> Judgement:
    answer = store.call(
        "ecr.get_repository_policy",
        "ecr:GetRepositoryPolicy",
        absent=("RepositoryPolicyNotFoundException",),
        registryId=store.arn.account,
        repositoryName=store.name,
    )
    if isinstance(answer, Unknown):
        return answer
    policy = with_resource(answer.get("policyText"), store.arn.text)
    return judge_policy(store, policy, ("ecr:*",))


def _secret(store: Store) -> Reply | Unknown:
    name, action = "secretsmanager.describe_secret", "secretsmanager:DescribeSecret"
    return store.call(name, action, SecretId=store.arn.text)


def _secret_public(store: Store, _: Reply) -> Judgement:
    answer = store.call(
        "secretsmanager.get_resource_policy",
        "secretsmanager:GetResourcePolicy",
        SecretId=store.arn.text,
    )
    if isinstance(answer, Unknown):
        return answer
    return judge_policy(store, answer.get("ResourcePolicy"), ("secretsmanager:*",))


TYPES: Final = (
    StoreType(
        on="ebs-volume",
        service="ec2",
        path="volume/",
        describe=_volume,
        calls=("ec2.describe_volumes",),
        permissions=(Permission("ec2:DescribeVolumes", "ebs-volume"),),
        has_arn=False,
        judges={Asks.AT_REST: _encrypted},
        keys=_key("volume"),
    ),
    StoreType(
        on="efs-file-system",
        service="elasticfilesystem",
        path="file-system/",
        describe=_file_system,
        calls=("efs.describe_file_systems",),
        permissions=(Permission("elasticfilesystem:DescribeFileSystems", "efs-file-system"),),
        arn_in=lambda reply: reply.get("FileSystemArn"),
        judges={Asks.AT_REST: _encrypted},
        keys=_key("file system"),
    ),
    StoreType(
        on="ecr-repository",
        service="ecr",
        path="repository/",
        describe=_repository,
        calls=("ecr.describe_repositories",),
        permissions=(Permission("ecr:DescribeRepositories", "ecr-repository"),),
        arn_in=lambda reply: reply.get("repositoryArn"),
        judges={Asks.AT_REST: _repository_at_rest, Asks.PUBLIC: _repository_public},
        keys=lambda reply: (
            ("images", (reply.get("encryptionConfiguration") or {}).get("kmsKey")),
        ),
        further={
            Asks.PUBLIC: Further(
                calls=("ecr.get_repository_policy",),
                permissions=(Permission("ecr:GetRepositoryPolicy", "ecr-repository"),),
            )
        },
    ),
    StoreType(
        on="secret",
        service="secretsmanager",
        path="secret:",
        describe=_secret,
        calls=("secretsmanager.describe_secret",),
        permissions=(Permission("secretsmanager:DescribeSecret", "secret"),),
        arn_in=lambda reply: reply.get("ARN"),
        # Secrets Manager has no way to store a secret unencrypted; see its User Guide.
        judges={Asks.AT_REST: lambda _store, _reply: (), Asks.PUBLIC: _secret_public},
        keys=_key("secret"),
        further={
            Asks.PUBLIC: Further(
                calls=("secretsmanager.get_resource_policy",),
                permissions=(Permission("secretsmanager:GetResourcePolicy", "secret"),),
            )
        },
    ),
)
"""Disks, images and secrets."""
