"""The room of single objects: how is each object of the subject stored?

Limits. A receipt binds bytes, not how they are stored: the same bytes, written again without
encryption, keep their digest. So each object's version id and ETag are kept in the report,
and a bucket without versions is a finding. Stores that speak S3's protocol may name no mode
at all, although they encrypt below it; nobody can tell from outside, so it is a finding, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from sluicegate.model import Check, Outcome
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.s3 import object_questions as questions
from sluicegate.stages.encryption.s3.anonymous import public_read
from sluicegate.stages.encryption.s3.by_head import ASKED, by_head
from sluicegate.stages.encryption.s3.by_inventory import by_inventory
from sluicegate.stages.encryption.s3.heads import Heads
from sluicegate.stages.encryption.s3.history import incomplete_uploads, old_versions
from sluicegate.stages.encryption.s3.judge import mode_fault
from sluicegate.stages.encryption.s3.parallel import Limits, bounded
from sluicegate.stages.encryption.s3.place import Place, place_of, resources
from sluicegate.stages.encryption.scope import Area, Scope

__all__ = ["AREA", "QUESTIONS"]

QUESTIONS: Final = questions.QUESTIONS

_SECONDS: Final = 900.0
"""For a listing with all its pages and retries, and for what is then asked one by one: 10,000
old versions take less than 400 s, or are given up."""


def _examine(scope: Scope) -> Iterator[Check]:
    if scope.snapshot.uri.scheme != "s3":
        return
    place = place_of(scope)
    heads = Heads(scope.aws, place.bucket)
    if scope.settings.inventory is not None:
        yield from by_inventory(scope, place)
    elif any(scope.wants(question) for question in ASKED):
        yield from by_head(scope, place, heads)
    for question, answer in (
        (questions.OLD_VERSIONS, lambda: _old_versions(scope, place, heads)),
        (questions.INCOMPLETE_UPLOADS, lambda: _incomplete_uploads(scope, place)),
        (questions.PUBLIC_READ, lambda: _public_read(scope, place)),
    ):
        if scope.wants(question):
            yield from _in_time(answer, question, place.target)


def _in_time(answer: Callable[[], list[Check]], question: Question, target: str) -> Iterable[Check]:
    """Answer a question, or say that it took too long."""
    checks = bounded(answer, _SECONDS)
    if checks is None:
        return [question.unknown(f"{question.calls[0]}: no answer in {_SECONDS:.0f} s", target)]
    return checks


def _old_versions(scope: Scope, place: Place, heads: Heads) -> list[Check]:
    fault, limits = mode_fault(scope.settings), Limits(threads=scope.aws.connections)
    return old_versions(heads, place.prefix, place.target, fault, limits)


def _incomplete_uploads(scope: Scope, place: Place) -> list[Check]:
    bucket, prefix = place.bucket, place.prefix
    return [incomplete_uploads(scope.aws, bucket, prefix, place.target, scope.now)]


def _public_read(scope: Scope, place: Place) -> list[Check]:
    """Ask for some objects, those that are not empty first: each may have its own list."""
    files = sorted(scope.snapshot.manifest.files, key=lambda one: not one.size)[:_READ_AT_MOST]
    checks: list[Check] = []
    for file in files:
        checks += [
            public_read(scope.aws, place.bucket.name, key, file.path)
            for key in place.keys_of(file.path)
        ]
        if any(check.outcome is Outcome.FAILED for check in checks):
            break
    worst = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.PASSED)
    return sorted(checks, key=lambda check: worst.index(check.outcome))[:1]


_READ_AT_MOST: Final = 25
"""Objects that are asked for without credentials; the bucket's own checks cover the others,
unless a single object beyond these was opened by an access list of its own."""


AREA: Final = Area(name="s3 objects", questions=QUESTIONS, resources=resources, examine=_examine)
