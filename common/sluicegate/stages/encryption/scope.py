"""What a run of the stage knows, and what a room of it offers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sluicegate.model import Check
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.question import Question
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.uri import SubjectUri

__all__ = ["Area", "Scope", "Tables", "matches", "wanted"]

Tables = dict[str, list[Mapping[str, str | int | float | bool | None]]]
"""Tables for the report, by name: areas append rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One run: what is examined, how, and since when."""

    settings: Settings
    snapshot: Snapshot
    context: Context
    aws: Aws
    now: datetime
    """Aware; the moment at which certificates must be valid and policies are judged."""
    metrics: dict[str, float | int] = field(default_factory=dict)
    """Numbers for the report: areas add theirs."""
    tables: Tables = field(default_factory=dict)

    def wants(self, question: Question) -> bool:
        """Return whether the user asked for this check."""
        return wanted(self.settings, question)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One room: questions that belong together, and who answers them."""

    name: str
    questions: tuple[Question, ...]
    resources: Callable[[Settings, SubjectUri], Mapping[str, tuple[str, ...]]]
    """What it would ask about in this configuration: ARNs (``*`` where only that is possible)
    by the names that its permissions use. Empty if it has nothing to ask. Without any call."""
    examine: Callable[[Scope], Iterable[Check]]
    """Answer the wanted questions that apply; only called if ``resources`` is not empty. Each
    wanted question that applies is answered at least once, whatever the servers do."""


def wanted(settings: Settings, question: Question) -> bool:
    """Return whether a configuration asks for a check."""
    chosen = any(matches(pattern, question.id) for pattern in settings.checks)
    return chosen and not any(matches(one, question.id) for one in settings.skip)


def matches(pattern: str, text: str) -> bool:
    """Return whether an id matches a pattern; only ``*`` and ``?`` are wild.

    The pattern may leave out how all ids begin, ``encryption.``.
    """
    if not pattern.startswith(("encryption.", "*")):
        pattern = f"encryption.{pattern}"
    expression = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(expression, text) is not None
