"""Suites as subjects: who may change the questions is a question itself.

A receipt binds the suite that was asked, and does not say that anybody agreed to it. A policy
can ask for that: with ``configuration: PURPOSE``, the files that configure the stages of a
purpose must themselves be cleared for another purpose, and this stage is what such a purpose
asks for, with signatures and approvals as for any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.model import Check, Finding, Report
from sluicegate.stages.base import Context, Option
from sluicegate.stages.validation.comparing import weakenings
from sluicegate.stages.validation.suites.model import Suite
from sluicegate.stages.validation.suites.parse import examine_suite, parse_suite
from sluicegate.storage.snapshot import Snapshot

__all__ = ["CheckSuite"]

_MOST_BYTES: Final = 16 << 20
"""Far more than any suite that people review."""
_UNDERSTOOD: Final = "suite.understood"
_NO_WEAKER: Final = "suite.no_weaker"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSuite:
    """Read a suite strictly, and hold it against the one that was agreed before.

    Its receipt says that these very bytes are a suite whose every question is understood, and
    that none of them asks less than the baseline does.
    """

    name: ClassVar[str] = "check-suite"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False
    check_ids: ClassVar[tuple[str, ...]] = (_UNDERSTOOD, _NO_WEAKER)

    baseline: Annotated[
        str | Path | None, Option("suite that the new one must not be weaker than", file=True)
    ] = None
    """An earlier suite; without one, only whether the suite is understood is asked."""

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Examine one suite file; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            SubjectError: the subject is a folder, or too large to be a suite.
            ConfigurationError: the baseline is no suite.
        """
        earlier = parse_suite(context.file("baseline")) if self.baseline is not None else None
        examined = examine_suite(_content(snapshot), name=snapshot.uri.name)
        if examined.suite is None:
            findings = [_problem(error, snapshot) for error in examined.problems]
            return Report(checks=(Check.failed(_UNDERSTOOD, findings, target="suite"),))
        suite = examined.suite
        checks = [Check.passed(_UNDERSTOOD, target="suite")]
        if earlier is not None:
            checks.append(_compare(earlier, suite, snapshot))
        return Report(checks=tuple(checks), metrics={"expectations": len(suite.expectations)})


def _problem(error: ConfigurationError, snapshot: Snapshot) -> Finding:
    message = f"{error.what}; {error.next_step}" if error.next_step else error.what
    return Finding(message=message, files=_files(snapshot))


def _compare(earlier: Suite, suite: Suite, snapshot: Snapshot) -> Check:
    findings = [
        Finding(message=said, files=_files(snapshot)) for said in weakenings(earlier, suite)
    ]
    if findings:
        return Check.failed(_NO_WEAKER, findings, target="suite")
    return Check.passed(_NO_WEAKER, target="suite")


def _content(snapshot: Snapshot) -> bytes:
    if not snapshot.is_single_file:
        raise SubjectError(
            f"{snapshot.uri} is no single file", next_step="check each suite as its own subject"
        )
    file = snapshot.manifest.files[0]
    if file.size > _MOST_BYTES:
        raise SubjectError(f"{snapshot.uri} has {file.size:,} bytes: too many for a suite")
    with snapshot.open(file.path) as source:
        return source.read()


def _files(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(file.path for file in snapshot.manifest.files)
