"""From what was seen of objects to checks.

Objects with the same fault share one finding, which names them all, so that policy can set
them aside. What could not be told is a second answer to the same question: a fault in one
object does not hide that another was never seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Check, Finding
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.s3.head import NO_MODE, Head, Miss
from sluicegate.stages.encryption.s3.wanted_keys import WantedKeys
from sluicegate.stages.encryption.settings import Settings

__all__ = [
    "Fault",
    "Seen",
    "bucket_key_fault",
    "checksum_fault",
    "judge",
    "key_fault",
    "lock_fault",
    "mode_fault",
    "of_modes",
    "version_fault",
]

_REASONS: Final = 3
"""Different reasons told in one sentence; the others are counted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One object and what is known of it."""

    path: str
    """Path inside the subject; of an old version its key."""
    answer: Head | Miss


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an object; equal ones are told together."""

    words: str
    """Continues "3 objects: "."""
    facts: tuple[tuple[str, str | None], ...] = ()
    """Evidence."""


Judge = Callable[[Head], Fault | Miss | None]
"""Says what is wrong with an object, that it cannot tell, or nothing."""


def judge(
    question: Question,
    target: str,
    seen: Sequence[Seen],
    fault: Judge,
    *,
    limit: str = "",
    name_files: bool = True,
) -> list[Check]:
    """Answer a question about objects.

    Args:
        question: what is asked.
        target: what it is asked of.
        seen: the objects.
        fault: says what is wrong with one.
        limit: what remains open however ``seen`` looks: there are others; empty if not.
        name_files: whether findings name the objects as files of the subject.

    Returns:
        Failed, unknown or both; or passed. Nothing if there are no objects.
    """
    groups: dict[Fault, list[str]] = {}
    misses: list[Miss] = []
    for one in seen:
        found = one.answer if isinstance(one.answer, Miss) else fault(one.answer)
        if isinstance(found, Miss):
            misses.append(found)
        elif found is not None:
            groups.setdefault(found, []).append(one.path)
    checks = []
    if groups:
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0].words))
        findings = [_finding(one, paths, name_files=name_files) for one, paths in ordered]
        checks.append(question.failed(findings, target))
    open_ones = [_why_unknown(misses, len(seen))] if misses else []
    if limit and seen:
        open_ones.append(limit)
    if open_ones:
        checks.append(question.unknown("; ".join(open_ones), target))
    if seen and not checks:
        checks.append(question.passed(target))
    return checks


def _why_unknown(misses: Sequence[Miss], total: int) -> str:
    """Return one sentence for many reasons, the most frequent first."""
    counted = sorted(Counter(one.reason for one in misses).items(), key=lambda x: (-x[1], x[0]))
    told = [f"{count} of {total} objects: {reason}" for reason, count in counted[:_REASONS]]
    if len(counted) > _REASONS:
        told.append(f"and {len(counted) - _REASONS} other reasons")
    return "; ".join(told)


def mode_fault(settings: Settings) -> Judge:
    """Return who says whether an object's mode of encryption is a wanted one."""
    wanted = " or ".join(settings.modes) or "none at all"

    def fault(head: Head) -> Fault | None:
        if head.mode in settings.modes and head.mode != NO_MODE:
            return None
        how = (
            "the store names no encryption"
            if head.mode == NO_MODE
            else f"stored with {head.mode[:64]}"
        )
        facts = (("mode", head.mode[:64]), ("kms_key", head.key))
        return Fault(f"{how}{_under(head.key)}, expected {wanted}", facts)

    return fault


def key_fault(wanted: WantedKeys) -> Judge:
    """Return who says whether an object is under a wanted key; for those under KMS keys."""
    ids = frozenset(arn.rpartition(":key/")[2] for arn in wanted.arns if ":key/" in arn)

    def fault(head: Head) -> Fault | Miss | None:
        if not head.uses_kms:
            return None
        if head.key is None:
            return Miss("s3.head_object: the answer does not name the KMS key")
        if head.key in wanted.arns or head.key in ids:
            return None
        if head.key.startswith("alias/") or ":alias/" in head.key:
            return Miss("s3.head_object: the answer names an alias, which may point to any key")
        if wanted.unresolved:
            return Miss(wanted.unresolved)
        return Fault(
            f"encrypted under {head.key}, which is not one of the wanted keys",
            (("mode", head.mode), ("kms_key", head.key)),
        )

    return fault


def bucket_key_fault(head: Head) -> Fault | None:
    """Say whether an object under SSE-KMS does without a bucket key."""
    if head.mode != "SSE-KMS" or head.bucket_key:
        return None
    return Fault("encrypted without a bucket key: each read asks KMS", (("kms_key", head.key),))


def version_fault(head: Head) -> Fault | Miss | None:
    """Say whether an object has no version id of its own."""
    if head.size is None:
        return Miss("s3.head_object: tells nothing but the mode of an object under SSE-C")
    if head.version in (None, "null"):
        return Fault(
            "no version id: the same bytes can be written again without encryption, and "
            "nothing would show it",
            (("version", head.version),),
        )
    return None


def checksum_fault(head: Head) -> Fault | Miss | None:
    """Say whether S3 keeps no SHA-256 of a whole object (whether it is right: elsewhere)."""
    if head.size is None:
        return Miss("s3.head_object: tells nothing but the mode of an object under SSE-C")
    if head.checksum_denied:
        return Miss(
            "s3.head_object with ChecksumMode: access denied; for an object under a KMS key it "
            "takes kms:Decrypt"
        )
    if head.sha256 is not None:
        return None
    return Fault(
        f"checksum kept by S3: {head.checksum}, expected SHA256 FULL_OBJECT",
        (("checksum", head.checksum),),
    )


def lock_fault(now: datetime, hidden: Miss | None) -> Judge:
    """Return who says whether an object is not locked.

    Args:
        now: the moment at which the lock must hold.
        hidden: why the absence of a lock in answers says nothing; None if it does.
    """

    def fault(head: Head) -> Fault | Miss | None:
        if head.size is None:
            return Miss("s3.head_object: tells nothing but the mode of an object under SSE-C")
        if head.legal_hold:
            return None
        if head.lock_mode is None:
            return hidden or Fault("not locked", (("lock_mode", None),))
        facts = (("lock_mode", head.lock_mode),)
        if head.lock_mode not in ("COMPLIANCE", "GOVERNANCE"):
            return Fault(f"locked in a mode that is not known: {head.lock_mode[:64]}", facts)
        until = _moment(head.lock_until)
        if until is None:
            return Miss("s3.head_object: the answer does not say until when the object is locked")
        return None if until > now else Fault("the lock has ended", facts)

    return fault


def of_modes(seen: Iterable[Seen], *modes: str) -> list[Seen]:
    """Return the objects that are stored in one of these modes, or may be."""
    return [one for one in seen if isinstance(one.answer, Miss) or one.answer.mode in modes]


def _finding(fault: Fault, paths: list[str], *, name_files: bool) -> Finding:
    count = len(paths)
    evidence: dict[str, Json] = {"objects": count, **dict(fault.facts)}
    return Finding(
        message=f"{count} object{'s' if count > 1 else ''}: {fault.words}",
        files=tuple(sorted(paths)) if name_files else (),
        evidence=evidence,
    )


def _under(key: str | None) -> str:
    return f" under {key}" if key else ""


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
