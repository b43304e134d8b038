"""What a data contract comes to: entries of a suite, and what nobody can ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.entries import Entry
from sluicegate.stages.validation.suites.model import Unasked

__all__ = ["Rules", "severity_of"]

_SEVERITIES: Final[Mapping[str, Severity]] = {
    "info": Severity.INFO,
    "information": Severity.INFO,
    "low": Severity.INFO,
    "warning": Severity.WARNING,
    "warn": Severity.WARNING,
    "medium": Severity.WARNING,
}
"""The standard leaves the word free, with info, warning and error as examples. What is not
here is critical: an unknown word must not make a rule weaker."""


def severity_of(rule: Mapping[str, Json]) -> Severity:
    """Return how bad it is that a rule is broken."""
    word = rule.get("severity")
    known = _SEVERITIES.get(word.lower()) if isinstance(word, str) else None
    return known or Severity.CRITICAL


class Rules:
    """Collects what a contract comes to.

    Args:
        sql: the policy allows SQL that a contract holds.
    """

    def __init__(self, *, sql: bool) -> None:
        """Begin with nothing."""
        self.sql = sql
        self.entries: list[Entry] = []
        self.unasked: list[Unasked] = []
        self.refused: list[ConfigurationError] = []

    def ask(
        self, path: str, kind: str, severity: Severity = Severity.CRITICAL, **kwargs: Any
    ) -> None:
        """Add an expectation.

        Args:
            path: what in the contract it stands for.
            kind: its GX type.
            severity: how bad it is that it fails.
            kwargs: its arguments.
        """
        value = {"type": kind, "kwargs": kwargs, "severity": severity.value}
        self.entries.append(Entry(value=value, path=path))

    def leave(self, path: str, what: str, severity: Severity) -> None:
        """Note a rule that no expectation stands for."""
        self.unasked.append(Unasked(path=path, what=what, severity=severity))

    def refuse(self, error: ConfigurationError) -> None:
        """Note a rule that may not be asked."""
        self.refused.append(error)
