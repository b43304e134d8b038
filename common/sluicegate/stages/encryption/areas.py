"""The rooms of this stage, in the order of the report."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.scope import Area, matches
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["all_areas", "all_questions", "areas_for", "check_names"]

_AREAS: Final = (
    "sluicegate.stages.encryption.s3.objects:AREA",
    "sluicegate.stages.encryption.s3.bucket:AREA",
    "sluicegate.stages.encryption.kms:AREA",
    "sluicegate.stages.encryption.stores:AREA",
    "sluicegate.stages.encryption.transit:AREA",
    "sluicegate.stages.encryption.connections:AREA",
    "sluicegate.stages.encryption.files:AREA",
    "sluicegate.stages.encryption.foreign:AREA",
)


def all_areas() -> tuple[Area, ...]:
    """Return every room."""
    return tuple(_load(name) for name in _AREAS)


def all_questions() -> tuple[Question, ...]:
    """Return every question that this stage can ask, in the order of the report."""
    return tuple(question for area in all_areas() for question in area.questions)


def areas_for(settings: Settings, subject: SubjectUri) -> tuple[Area, ...]:
    """Return the rooms that have something to ask about in this configuration."""
    return tuple(area for area in all_areas() if area.resources(settings, subject))


def check_names(settings: Settings) -> None:
    """See that every pattern of ``checks`` and ``skip`` is about some question.

    Raises:
        ConfigurationError: one is not.
    """
    known = [question.id for question in all_questions()]
    for field, patterns in (("checks", settings.checks), ("skip", settings.skip)):
        for pattern in patterns:
            if not any(matches(pattern, name) for name in known):
                near = get_close_matches(pattern, known, 1)
                raise ConfigurationError(
                    f"check-encryption: {field}: no check is called {pattern!r}",
                    next_step=f"did you mean {near[0]}?" if near else "docs/encryption.md has all",
                )


def _load(name: str) -> Area:
    module, _, attribute = name.partition(":")
    area = getattr(import_module(module), attribute)
    assert isinstance(area, Area)  # noqa: S101  a mistake in the table above
    return area
