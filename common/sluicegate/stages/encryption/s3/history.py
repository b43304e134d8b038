"""What lies behind the objects: old versions, and uploads that never ended.

A new default encryption and a rewritten object leave the old versions as they are, and they
stay readable by their version ids.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding
from sluicegate.stages.encryption.aws import Aws, Unknown, ask
from sluicegate.stages.encryption.s3.head import Head, Miss
from sluicegate.stages.encryption.s3.heads import Bucket, Heads
from sluicegate.stages.encryption.s3.judge import Judge, Seen, judge
from sluicegate.stages.encryption.s3.object_questions import INCOMPLETE_UPLOADS, OLD_VERSIONS
from sluicegate.stages.encryption.s3.parallel import Limits, gather

__all__ = ["incomplete_uploads", "old_versions"]

_MOST_HEADS: Final = 10_000
"""Old versions that are asked; at S3's rates less than a minute."""
_MOST_PAGES: Final = 200
"""Pages of a listing, of 1,000 entries each."""
_OLD: Final = timedelta(days=7)
"""Uploads younger than this may still be under way: S3 sets no limit; AWS recommends a
lifecycle rule of seven days."""
_NAMED: Final = 20
"""Old versions and uploads that evidence names."""


def old_versions(
    heads: Heads, prefix: str, target: str, fault: Judge, limits: Limits
) -> list[Check]:
    """Answer whether noncurrent versions are stored in a wanted mode.

    Args:
        heads: asks for one version.
        prefix: keys to look at: those that begin with it if it ends with ``/`` or is empty,
            else exactly this key.
        target: what the answer is about.
        fault: says what is wrong with a version.
        limits: when to stop.
    """
    listed = _listed(heads, prefix)
    if isinstance(listed, Unknown):
        return [OLD_VERSIONS.unknown(listed.reason, target)]
    found, whole = listed
    asked = found[:_MOST_HEADS]
    answers, why = gather(lambda at: heads.ask(*asked[at]), len(asked), dead=_dead, limits=limits)
    seen = [
        Seen(key, answer or Miss(f"s3.head_object: {why}"))
        for (key, _), answer in zip(asked, answers, strict=True)
    ]
    left = ""
    if not whole or len(found) > len(asked):
        more = "" if whole else "at least "
        left = f"asked {len(asked)} of {more}{len(found)} old versions, the most that are asked"
    checks = judge(OLD_VERSIONS, target, seen, fault, limit=left, name_files=False)
    if checks:
        return checks
    return [OLD_VERSIONS.unknown(left, target) if left else OLD_VERSIONS.passed(target)]


def incomplete_uploads(aws: Aws, bucket: Bucket, prefix: str, target: str, now: datetime) -> Check:
    """Answer whether uploads were begun more than seven days ago and never ended."""

    def call() -> tuple[list[tuple[str, datetime]], bool]:
        arguments = bucket.arguments() | {"Prefix": prefix}
        pages = aws.client("s3").get_paginator("list_multipart_uploads").paginate(**arguments)
        found: list[tuple[str, datetime]] = []
        for number, page in enumerate(pages):
            if number >= _MOST_PAGES:
                return found, False
            found += (
                (one["Key"], one["Initiated"])
                for one in page.get("Uploads", ())
                if _below(one["Key"], prefix)
            )
        return found, True

    answer = ask("s3.list_multipart_uploads", call)
    if answer is None or isinstance(answer, Unknown):
        reason = _needs(answer, "s3.list_multipart_uploads", "s3:ListBucketMultipartUploads")
        return INCOMPLETE_UPLOADS.unknown(reason, target)
    uploads, whole = answer
    old = sorted((when, key) for key, when in uploads if now - when > _OLD)
    if old:
        evidence: dict[str, Json] = {
            "uploads": len(old),
            "oldest": old[0][0].isoformat(),
            "keys": sorted({key for _, key in old})[:_NAMED],
        }
        plural = "s were" if len(old) > 1 else " was"
        finding = Finding(
            message=f"{len(old)} upload{plural} begun more than {_OLD.days} days ago and not "
            "ended: parts are kept that no listing of objects shows",
            evidence=evidence,
        )
        return INCOMPLETE_UPLOADS.failed([finding], target)
    if not whole:
        return INCOMPLETE_UPLOADS.unknown("more uploads are listed than are looked at", target)
    return INCOMPLETE_UPLOADS.passed(target)


def _listed(heads: Heads, prefix: str) -> tuple[list[tuple[str, str]], bool] | Unknown:
    """Return keys and ids of old versions, sorted, and whether these are all."""

    def call() -> tuple[list[tuple[str, str]], bool]:
        arguments = heads.bucket.arguments() | {"Prefix": prefix}
        client: Any = heads.aws.client("s3")
        found: list[tuple[str, str]] = []
        pages = client.get_paginator("list_object_versions").paginate(**arguments)
        for number, page in enumerate(pages):
            if number >= _MOST_PAGES:
                return found, False
            found += (
                (one["Key"], one["VersionId"])
                for one in page.get("Versions", ())
                if not one["IsLatest"] and _below(one["Key"], prefix)
            )
        return found, True

    answer = ask("s3.list_object_versions", call)
    if answer is None or isinstance(answer, Unknown):
        return Unknown(_needs(answer, "s3.list_object_versions", "s3:ListBucketVersions"))
    return sorted(answer[0]), answer[1]


def _below(key: str, prefix: str) -> bool:
    return key == prefix or prefix == "" or (prefix.endswith("/") and key.startswith(prefix))


def _dead(answer: Head | Miss) -> bool:
    return isinstance(answer, Miss) and answer.dead


def _needs(answer: Unknown | None, call: str, action: str) -> str:
    if answer is None:
        return f"{call}: no answer"
    return f"{answer.reason}; it takes {action}" if "denied" in answer.reason else answer.reason
