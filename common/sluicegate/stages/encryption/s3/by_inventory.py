"""Answer the question for the mode of objects by a report of S3 Inventory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sluicegate.model import Check
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.s3 import object_questions as questions
from sluicegate.stages.encryption.s3.head import Head
from sluicegate.stages.encryption.s3.inventory import open_report, source_of
from sluicegate.stages.encryption.s3.inventory_rows import modes_in
from sluicegate.stages.encryption.s3.judge import Seen, judge, mode_fault
from sluicegate.stages.encryption.s3.listing import list_now
from sluicegate.stages.encryption.s3.object_table import tell
from sluicegate.stages.encryption.s3.parallel import bounded
from sluicegate.stages.encryption.s3.place import Place
from sluicegate.stages.encryption.scope import Scope

__all__ = ["by_inventory"]

_SECONDS: Final = 3600.0
"""For reading the report and listing the prefix; 10**6 objects take about a minute."""
_SILENT: Final = (
    questions.KEY,
    questions.BUCKET_KEY,
    questions.VERSION,
    questions.CHECKSUM,
    questions.LOCK,
)
"""Questions that a report does not answer."""


def by_inventory(scope: Scope, place: Place) -> Iterator[Check]:
    """Answer the wanted questions about objects.

    Raises:
        SubjectChangedError: an object is not the one of the snapshot any more.
        SubjectError: the setting names no place that a report can lie in.
        MissingExtraError: pyarrow is not installed.
    """
    if scope.wants(questions.MODE):
        yield from _modes(scope, place)
    for question in _SILENT:
        applies = question is not questions.KEY or scope.settings.kms_keys
        if applies and scope.wants(question):
            yield question.unknown(
                "an S3 Inventory does not tell; leave the setting inventory out to ask the "
                "objects, or skip this check",
                place.target,
            )


def _modes(scope: Scope, place: Place) -> Iterator[Check]:
    seen = bounded(lambda: _reported(scope, place), _SECONDS)
    if seen is None:
        seen = Unknown(f"reading the inventory took longer than {_SECONDS:.0f} s")
    if isinstance(seen, Unknown):
        yield questions.MODE.unknown(seen.reason, place.target)
        return
    checks = judge(questions.MODE, place.target, seen, mode_fault(scope.settings))
    yield from checks
    tell(scope, seen, checks)


def _reported(scope: Scope, place: Place) -> list[Seen] | Unknown:
    """Return what the report says of each object."""
    source = source_of(scope.settings.inventory or "", scope.aws)
    report = open_report(source, bucket=place.bucket.name, now=scope.now)
    if isinstance(report, Unknown):
        return report
    files = scope.snapshot.manifest.files
    keys = [place.keys_of(file.path)[0] for file in files]
    listing = list_now(scope.aws, place.bucket, place.prefix, keys)
    if place.single and not isinstance(listing, Unknown) and listing.sizes[0] < 0:
        keys = [place.keys_of(files[0].path)[1]]
        listing = list_now(scope.aws, place.bucket, keys[0], keys)
    if isinstance(listing, Unknown):
        return listing
    for file, size in zip(files, listing.sizes.tolist(), strict=True):
        if size >= 0 and size != file.size:
            place.must_be(file, Head(mode="", size=size))
    answers = modes_in(report, source, keys, [file.size for file in files], listing)
    if isinstance(answers, Unknown):
        return answers
    return [Seen(file.path, answer) for file, answer in zip(files, answers, strict=True)]
