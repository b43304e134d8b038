"""The stage: every room is asked what applies, and the answers make one report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError, StageError
from sluicegate.model import Check, Outcome, Report
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.areas import all_questions, areas_for, check_names
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.scope import Scope, matches
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.snapshot import Snapshot

__all__ = ["CheckEncryption"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEncryption(Settings):
    """Ask whether what the pipeline reads and writes is encrypted, at rest and in transit.

    What is asked follows from the subject (objects and bucket on S3, volume and files
    locally, a connection of the orchestrator) and from what the options name besides.
    Whatever cannot be learnt is unknown, and never passed.

    The receipt binds the bytes of the subject. How they are stored can change without
    them: give purposes that need this stage a short ``max_age``.
    """

    name: ClassVar[str] = "check-encryption"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False
    # What remains after a quarantine is written anew, perhaps to another place.
    check_ids: ClassVar[tuple[str, ...]] = tuple(question.id for question in all_questions())

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Ask what applies; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            ConfigurationError: an option makes no sense, or there is nothing to ask.
            SubjectChangedError: an object is not the one that was hashed.
            MissingExtraError: a library for a named resource is missing.
        """
        check_names(self)
        scope = Scope(
            settings=self,
            snapshot=snapshot,
            context=context,
            aws=Aws(),
            now=datetime.now(UTC),
        )
        checks: list[Check] = []
        areas = areas_for(self, snapshot.uri)
        for done, area in enumerate(areas):
            context.progress(f"asking about {area.name}", done, len(areas))
            if any(scope.wants(question) for question in area.questions):
                checks += area.examine(scope)
        if not checks:
            raise ConfigurationError(
                f"check-encryption has nothing to ask about {snapshot.uri}",
                next_step="name endpoints, resources or connections, or choose other checks",
            )
        self._see_that_all_was_asked(checks)
        questions = {question.id: question for question in all_questions()}
        if strays := sorted({check.id for check in checks} - questions.keys()):
            raise StageError(f"check-encryption answered what nobody asked: {strays}")
        tables = {name: tuple(rows) for name, rows in scope.tables.items() if rows}
        return Report(
            checks=tuple(checks),
            metrics=_metrics(checks) | scope.metrics,
            tables={"questions": _explained(checks, questions)} | tables,
        )

    def _see_that_all_was_asked(self, checks: list[Check]) -> None:
        """Refuse to leave out silently what somebody named.

        Raises:
            ConfigurationError: a check that is named applies to nothing here, or no chosen
                check looks at what an option names.
        """
        asked = {check.id for check in checks}
        for name in self.checks:
            exact = not set(name) & set("*?")
            if exact and not any(matches(name, one) for one in asked):
                raise ConfigurationError(
                    f"check-encryption: checks: {name} applies to nothing here",
                    next_step="leave it out, or give the option that it is about",
                )
        for option, begin in _LOOKED_AT.items():
            if getattr(self, option) and not any(one.startswith(begin) for one in asked):
                raise ConfigurationError(
                    f"check-encryption: {option} is given, and no chosen check looks at it",
                    next_step=f"add {begin}* to checks, or leave {option} out",
                )


_LOOKED_AT: Final = {
    "endpoints": "encryption.tls_",
    "resources": "encryption.store_",
    "connections": "encryption.connection_",
    "reports": "encryption.foreign_",
    "client_side": "encryption.file_client_side",
    "sample": "encryption.s3_object_",
    "inventory": "encryption.s3_object_",
}
"""How the ids of the checks begin that look at an option."""


def _metrics(checks: list[Check]) -> dict[str, float | int]:
    counts = {"passed": 0, "failed": 0, "unknown": 0}
    for check in checks:
        counts[check.outcome.value] += 1
    return {f"checks_{outcome}": count for outcome, count in counts.items()}


def _explained(
    checks: list[Check], questions: Mapping[str, Question]
) -> tuple[Mapping[str, Json], ...]:
    """Return a table of what was asked: its worst answer, its remedy, and its controls."""
    worst: dict[str, Outcome] = {}
    for check in checks:
        worst[check.id] = max(worst.get(check.id, check.outcome), check.outcome, key=_RANK.index)
    return tuple(
        {
            "id": name,
            "asks": questions[name].asks,
            "outcome": outcome.value,
            "remedy": "" if outcome is Outcome.PASSED else questions[name].remedy,
            "controls": ", ".join(questions[name].control_ids),
        }
        for name, outcome in worst.items()
    )


_RANK: Final = (Outcome.PASSED, Outcome.UNKNOWN, Outcome.FAILED)
