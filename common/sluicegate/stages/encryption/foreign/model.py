"""What all reports of other tools are turned into, and how their text is read.

Everything in such a report is text from outside: types are checked before use, what is
quoted is cut and rid of characters that hide or move others, and no message repeats a value
that did not fit. A tool's own words for severities and states are read by meaning; a word
that nobody listed counts as the worst.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from sluicegate.canonical import Json
from sluicegate.model import Severity

__all__ = [
    "Reported",
    "State",
    "ToolReport",
    "UnreadableError",
    "entries",
    "members",
    "moment",
    "newest",
    "plain",
    "resource_name",
    "severity_of",
    "text",
    "value_of",
]

T = TypeVar("T")

TITLE_LENGTH: Final = 200
"""Characters of a title that are quoted: one line of a report."""
NAME_LENGTH: Final = 512
"""Characters of a rule's or resource's name: longer than any ARN (at most 2,048 in theory,
below 300 in practice)."""

_SEVERITIES: Final = {
    "fatal": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "high": Severity.CRITICAL,
    "medium": Severity.WARNING,
    "moderate": Severity.WARNING,
    "unknown": Severity.WARNING,
    "low": Severity.INFO,
    "negligible": Severity.INFO,
    "informational": Severity.INFO,
    "info": Severity.INFO,
    "none": Severity.INFO,
}
"""Words of the tools for severities. ``unknown`` means that nobody has rated it yet: somebody
must look."""


class UnreadableError(ValueError):
    """A report is not what it claims to be. The message says where and never quotes a value."""


class State(StrEnum):
    """What a result means now, whatever the tool calls it."""

    FAILED = "failed"
    PASSED = "passed"
    SUPPRESSED = "suppressed"
    """Failed, and somebody decided that it does not count."""
    RESOLVED = "resolved"
    """Failed earlier; somebody, or the tool, says that it no longer does."""
    UNDECIDED = "undecided"
    """The tool could not tell, or leaves it to a person."""
    NOT_APPLICABLE = "not applicable"
    """There was nothing to ask, or the result is no longer there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One result of another tool."""

    rule: str
    """The tool's name of what it asked."""
    title: str = ""
    """What the rule says in the tool's words; never what it found."""
    severity: Severity
    state: State
    resources: tuple[str, ...] = ()
    """What it concerns: ARNs, names, packages."""
    files: tuple[str, ...] = ()
    """Files that it concerns, as paths or URIs."""
    by: str = ""
    """Who or what suppressed or resolved it, or why it is undecided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReport:
    """What one run of another tool said."""

    tool: str
    version: str = ""
    results: tuple[Reported, ...] = ()
    passed: int = 0
    """Passes, and things examined without a finding, that have no result of their own."""
    looked: bool = False
    """The format itself says that the tool looked, even where it found nothing."""
    written: datetime | None = None
    """When the tool last looked; aware."""
    gaps: tuple[str, ...] = ()
    """Why it does not tell everything."""
    counts: Mapping[State, int] = field(init=False)
    """Results by state."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(State, 0)
        for result in self.results:
            counts[result.state] += 1
        counts[State.PASSED] += self.passed
        object.__setattr__(self, "counts", counts)

    @property
    def empty(self) -> bool:
        """Whether the tool looked at nothing, as far as the report shows."""
        return not (self.results or self.passed or self.looked)

    @property
    def label(self) -> str:
        """``tool@version``."""
        return f"{self.tool}@{self.version}" if self.version else self.tool


def severity_of(word: str) -> Severity:
    """Return what a tool's word for a severity means here; unlisted words are critical."""
    return _SEVERITIES.get(word.strip().lower(), Severity.CRITICAL)


def plain(value: str, length: int = TITLE_LENGTH) -> str:
    """Return text from outside as one line that can be quoted.

    Control characters, direction overrides, surrogates and unassigned characters become
    spaces (all Unicode categories C, Zl and Zp), spaces are joined, the rest is cut.
    """
    cut = value[: 4 * length]  # bounds the work on one long value
    if len(value) <= length and value.isascii() and value.isprintable():
        return value.strip()
    shown = "".join(
        " " if (kind := unicodedata.category(char))[0] == "C" or kind in ("Zl", "Zp") else char
        for char in cut
    )
    line = " ".join(shown.split())
    return line if len(line) <= length and len(cut) == len(value) else line[: length - 1] + "…"


def resource_name(value: str) -> str:
    """Return a resource's name as it can be quoted: URIs without user, query and fragment."""
    words = value[: 4 * NAME_LENGTH].split()
    return plain(" ".join(_bare(word) for word in words), NAME_LENGTH)


def _bare(word: str) -> str:
    scheme, separator, rest = word.partition("://")
    if not separator:
        return word
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def value_of(where: Mapping[str, Json], key: str, kind: type[T], path: str) -> T | None:
    """Return a member of a JSON object; None where it is absent or null.

    Raises:
        UnreadableError: it has another type.
    """
    value = where.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnreadableError(f"{path}.{key}: expected {_name(kind)}, found {_name(type(value))}")
    return value


def text(where: Mapping[str, Json], key: str, path: str) -> str:
    """Return a member that is text; empty where it is absent.

    Raises:
        UnreadableError: it is not text.
    """
    return value_of(where, key, str, path) or ""


def members(where: Mapping[str, Json], key: str, path: str) -> Mapping[str, Json]:
    """Return a member that is an object; empty where it is absent.

    Raises:
        UnreadableError: it is not an object.
    """
    return value_of(where, key, dict, path) or {}


def entries(where: Mapping[str, Json], key: str, path: str) -> list[tuple[str, Mapping[str, Json]]]:
    """Return the objects of a member that is a list, each with its path; empty where absent.

    Raises:
        UnreadableError: it is not a list, or an element is not an object.
    """
    items = value_of(where, key, list, path) or []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise UnreadableError(
                f"{path}.{key}[{index}]: expected an object, found {_name(type(item))}"
            )
    return [(f"{path}.{key}[{index}]", item) for index, item in enumerate(items)]


def moment(value: str, path: str) -> datetime | None:
    """Read a time as ISO 8601 writes it; without a zone it is UTC. None where it is empty.

    Raises:
        UnreadableError: it is no time.
    """
    if not value:
        return None
    try:
        read = datetime.fromisoformat(value)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"{path}: expected a time as in ISO 8601") from error


def newest(moments: list[datetime | None]) -> datetime | None:
    """Return the latest of some times; None if there are none."""
    return max((one for one in moments if one is not None), default=None)


def _name(kind: type[object]) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return names.get(kind, "a number" if kind in (int, float) else "something else")
