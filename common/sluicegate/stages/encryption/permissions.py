"""The IAM policy that a configuration needs, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluicegate.stages.encryption.areas import areas_for
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
    """
    allowed: dict[tuple[str, ...], set[str]] = {}

    def allow(action: str, on: tuple[str, ...]) -> None:
        if on:
            allowed.setdefault(tuple(sorted(map(_authorised, on))), set()).add(action)

    if subject.scheme == "s3":
        bucket, objects = _arns(subject)
        allow("s3:ListBucket", (bucket,))
        allow("s3:GetObject", objects)
        if settings.kms_keys:
            allow("kms:Decrypt", settings.kms_keys)
    for area in areas_for(settings, subject):
        resources: Mapping[str, tuple[str, ...]] = {
            **area.resources(settings, subject),
            "*": ("*",),
        }
        for question in area.questions:
            for permission in question.permissions if wanted(settings, question) else ():
                if permission.on in resources:
                    allow(permission.action, resources[permission.on])
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": sorted(actions),
                "Resource": on[0] if len(on) == 1 else list(on),
            }
            for on, actions in sorted(allowed.items())
        ],
    }


def _authorised(arn: str) -> str:
    """Return what stands for a resource in a policy: KMS does not look at ARNs of aliases."""
    before, alias, _ = arn.partition(":alias/")
    return f"{before}:key/*" if alias and ":kms:" in before else arn


def _arns(subject: SubjectUri) -> tuple[str, tuple[str, ...]]:
    """Return the ARN of the bucket, and what stands for the subject's objects in it."""
    bucket, _, key = subject.path.partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    return arn, (f"{arn}/{key}", f"{arn}/{key}/*") if key else (f"{arn}/*",)
