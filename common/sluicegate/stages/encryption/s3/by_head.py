"""Answer questions about objects by asking for each of them, or for a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sluicegate.model import Check, Finding, Outcome
from sluicegate.stages.encryption.aws import Unknown, ask
from sluicegate.stages.encryption.s3 import object_questions as questions
from sluicegate.stages.encryption.s3.head import Head, Miss
from sluicegate.stages.encryption.s3.heads import Heads
from sluicegate.stages.encryption.s3.judge import (
    Seen,
    bucket_key_fault,
    checksum_fault,
    judge,
    key_fault,
    lock_fault,
    mode_fault,
    of_modes,
    version_fault,
)
from sluicegate.stages.encryption.s3.object_table import named_files, tell
from sluicegate.stages.encryption.s3.parallel import Limits, bounded, gather
from sluicegate.stages.encryption.s3.place import Place
from sluicegate.stages.encryption.s3.sampling import draw, sample_size
from sluicegate.stages.encryption.s3.wanted_keys import WantedKeys, wanted_keys
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.manifest import FileRecord

__all__ = ["ASKED", "by_head"]

ASKED: Final = (
    questions.MODE,
    questions.KEY,
    questions.SAMPLE,
    questions.BUCKET_KEY,
    questions.VERSION,
    questions.CHECKSUM,
    questions.LOCK,
)
"""Questions that HEAD answers."""
_RETENTION_SECONDS: Final = 120.0
"""For one call with its retries."""


def by_head(scope: Scope, place: Place, heads: Heads) -> Iterator[Check]:
    """Answer the wanted ones of :data:`ASKED`.

    Raises:
        SubjectChangedError: an object is not the one of the snapshot any more.
        ConfigurationError: the share to rule out by a sample is none.
    """
    settings, target = scope.settings, place.target
    files, limit = _chosen(scope)
    seen = _ask_all(scope, place, heads, files)
    mode = judge(questions.MODE, target, seen, mode_fault(settings), limit=limit)
    wanted = wanted_keys(scope.aws, settings.kms_keys)
    key = _key_checks(wanted, target, seen, limit)
    if scope.wants(questions.MODE):
        yield from mode
    if scope.wants(questions.KEY):
        yield from key
    if settings.sample is not None and scope.wants(questions.SAMPLE):
        yield _sample(settings, wanted, target, seen)
    if scope.wants(questions.BUCKET_KEY):
        under = of_modes(seen, "SSE-KMS")
        yield from judge(questions.BUCKET_KEY, target, under, bucket_key_fault, limit=limit)
    if scope.wants(questions.VERSION):
        yield from judge(questions.VERSION, target, seen, version_fault, limit=limit)
    if scope.wants(questions.CHECKSUM):
        yield from judge(questions.CHECKSUM, target, seen, checksum_fault, limit=limit)
    if scope.wants(questions.LOCK):
        fault = lock_fault(scope.now, _hidden_locks(scope, place, heads, seen))
        yield from judge(questions.LOCK, target, seen, fault, limit=limit)
    tell(scope, seen, [*mode, *key])


def _chosen(scope: Scope) -> tuple[Sequence[FileRecord], str]:
    """Return the files to ask for, and what not asking for the others leaves open."""
    share, manifest = scope.settings.sample, scope.snapshot.manifest
    if share is None:
        return manifest.files, ""
    count, total = sample_size(len(manifest.files), share), len(manifest.files)
    if count >= total:
        return manifest.files, ""
    limit = (
        f"only {count} of {total} objects were asked, drawn by a hash of their names: if nothing "
        f"is wrong with these, a share of {share} is ruled out at 99 %, but not each object"
    )
    return draw(manifest, count), limit


def _ask_all(scope: Scope, place: Place, heads: Heads, files: Sequence[FileRecord]) -> list[Seen]:
    """Ask for objects and make sure that they are still those of the snapshot."""
    checksum = scope.wants(questions.CHECKSUM)

    def one(at: int) -> Head | Miss:
        first: Miss | None = None
        for key in place.keys_of(files[at].path):
            answer = heads.ask(key, checksum=checksum)
            if isinstance(answer, Head) or answer.dead:
                return answer
            first = first or answer
        return first or Miss("s3.head_object: not asked")

    answers, why = gather(
        one,
        len(files),
        dead=lambda answer: isinstance(answer, Miss) and answer.dead,
        limits=Limits(threads=scope.aws.connections),
        progress=scope.context.progress,
    )
    seen = []
    for file, answer in zip(files, answers, strict=True):
        if isinstance(answer, Head):
            place.must_be(file, answer)
        seen.append(Seen(file.path, answer or Miss(f"s3.head_object: {why}")))
    return seen


def _key_checks(wanted: WantedKeys, target: str, seen: list[Seen], limit: str) -> list[Check]:
    if not wanted.arns:
        return []
    under = of_modes(seen, "SSE-KMS", "DSSE-KMS")
    if not under:
        reason = (
            "none of the objects is under a KMS key; to demand one, leave only SSE-KMS and "
            "DSSE-KMS in modes"
        )
        return [questions.KEY.unknown(reason, target)]
    return judge(questions.KEY, target, under, key_fault(wanted), limit=limit)


def _sample(settings: Settings, wanted: WantedKeys, target: str, seen: list[Seen]) -> Check:
    """Answer whether the objects asked rule out a share of bad ones."""
    checks = judge(questions.MODE, target, seen, mode_fault(settings))
    if wanted.arns:
        under = of_modes(seen, "SSE-KMS", "DSSE-KMS")
        checks += judge(questions.KEY, target, under, key_fault(wanted))
    bad = named_files(checks)
    if bad:
        finding = Finding(
            message=f"{len(bad)} of {len(seen)} objects asked are stored in another mode or "
            f"under another key: a share of {settings.sample} is not ruled out",
            files=tuple(sorted(bad)),
            evidence={"asked": len(seen), "bad": len(bad), "share": settings.sample},
        )
        return questions.SAMPLE.failed([finding], target)
    unknown = [check.reason for check in checks if check.outcome is Outcome.UNKNOWN]
    if unknown:
        return questions.SAMPLE.unknown(unknown[0], target)
    return questions.SAMPLE.passed(target)


def _hidden_locks(scope: Scope, place: Place, heads: Heads, seen: list[Seen]) -> Miss | None:
    """Return why answers without a lock say nothing; None if they do.

    S3 leaves the lock out of a HEAD answer for those who may not ask for it. So one of
    these objects is asked for it by the call that says so.
    """
    from botocore.exceptions import ClientError

    answered = ((one.path, one.answer) for one in seen if isinstance(one.answer, Head))
    without = next((path for path, head in answered if head.lock_mode is None), None)
    if without is None:
        return None
    key = place.keys_of(without)[0]
    codes: list[str] = []

    def call() -> Any:
        client = scope.aws.client("s3", heads.region)
        try:
            return client.get_object_retention(**place.bucket.arguments(), Key=key)
        except ClientError as error:
            codes.append(str(error.response.get("Error", {}).get("Code")))
            raise

    answer = bounded(lambda: ask("s3.get_object_retention", call), _RETENTION_SECONDS)
    # "Bucket is missing Object Lock Configuration" comes as an InvalidRequest.
    if isinstance(answer, Unknown) and codes[-1:] != ["InvalidRequest"]:
        needs = "; it takes s3:GetObjectRetention" if "denied" in answer.reason else ""
        return Miss(f"{answer.reason}{needs}")
    return None
