"""Buckets and accounts on S3: what holds for everything in them.

Each question is answered once, about the bucket of the subject, or about its account. Every
API call is made at most once, and only if a wanted question needs it.

Whether anybody hands out presigned URLs is known to nobody but the signers; what can be told
is for how long such a URL would work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sluicegate.model import Check
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.s3 import at_rest, exposure, transport, upkeep
from sluicegate.stages.encryption.s3.subject import bucket_of
from sluicegate.stages.encryption.scope import Area, Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS"]

_ANSWERS: Final = (*at_rest.ANSWERS, *transport.ANSWERS, *exposure.ANSWERS, *upkeep.ANSWERS)

QUESTIONS: Final[tuple[Question, ...]] = tuple(question for question, _ in _ANSWERS)
"""In the order of the report."""


def _resources(_: Settings, uri: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    if uri.scheme != "s3":
        return {}
    name = uri.path.partition("/")[0]
    return {"bucket": (f"arn:aws:s3:::{name}",), "account": ("*",)}


def _examine(scope: Scope) -> Iterator[Check]:
    bucket = bucket_of(scope)
    for question, answer in _ANSWERS:
        if scope.wants(question) and (check := answer(bucket)) is not None:
            yield check


AREA: Final = Area(name="buckets", questions=QUESTIONS, resources=_resources, examine=_examine)
"""Buckets and accounts."""
