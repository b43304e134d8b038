"""The IAM policy that a configuration needs, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.areas import areas_for, check_names
from sluicegate.stages.encryption.scope import wanted
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["least_privilege"]


def least_privilege(settings: Settings, subject: SubjectUri) -> dict[str, Any]:
    """Return the identity policy that the gate needs on AWS: to read, and to ask.

    Every action is on the resources that it can be restricted to. Makes no call.

    Args:
        settings: the stage's options.
        subject: what it would examine.

    Raises:
        ConfigurationError: a check has no such name, or nothing is asked of AWS.
    """
    check_names(settings)
    allowed: dict[tuple[str, ...], set[str]] = {}

    def allow(action: str, on: tuple[str, ...]) -> None:
        if on:
            allowed.setdefault(tuple(sorted(map(_authorised, on))), set()).add(action)

    if subject.scheme == "s3":
        bucket, objects = _arns(subject)
        allow("s3:ListBucket", (bucket,))
        allow("s3:GetObject", objects)
        if any(mode.endswith("-KMS") for mode in settings.modes):
            allow("kms:Decrypt", settings.kms_keys or (_THROUGH_S3,))
    for area in areas_for(settings, subject):
        resources: Mapping[str, tuple[str, ...]] = {
            **area.resources(settings, subject),
            "*": ("*",),
        }
        for question in area.questions:
            for permission in question.permissions if wanted(settings, question) else ():
                if permission.on in resources and permission.action != "kms:Decrypt":
                    allow(permission.action, resources[permission.on])
    if not allowed:
        raise ConfigurationError(
            f"check-encryption asks AWS nothing about {subject}: it needs no permission"
        )
    return {
        "Version": "2012-10-17",
        "Statement": [_statement(on, actions) for on, actions in sorted(allowed.items())],
    }


_THROUGH_S3: Final = "*, through S3"
"""Stands for every key, where S3 is the one that uses it."""


def _statement(on: tuple[str, ...], actions: set[str]) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": on[0] if len(on) == 1 else list(on),
    }
    if on == (_THROUGH_S3,):
        condition = {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}
        statement |= {"Resource": "*", "Condition": condition}
    return statement


def _authorised(arn: str) -> str:
    """Return what stands for a resource in a policy: KMS does not look at ARNs of aliases."""
    before, alias, _ = arn.partition(":alias/")
    return f"{before}:key/*" if alias and ":kms:" in before else arn


def _arns(subject: SubjectUri) -> tuple[str, tuple[str, ...]]:
    """Return the ARN of the bucket, and what stands for the subject's objects in it."""
    bucket, _, key = subject.path.partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    return arn, (f"{arn}/{key}", f"{arn}/{key}/*") if key else (f"{arn}/*",)
