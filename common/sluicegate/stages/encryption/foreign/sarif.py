"""Reports in SARIF 2.1.0, of any tool; each run in a file is a report of its own.

Read by meaning:

* ``kind`` decides before ``level``: pass, notApplicable and informational are no failures,
  open and review are undecided, everything else failed;
* ``level`` is the result's, else its rule's, else warning; a ``security-severity`` (the CVSS
  score that code hosts read) counts where it is worse;
* ``baselineState`` only says whether a result is new: an unchanged one is still there, an
  absent one is not;
* a result is suppressed only if each of its ``suppressions`` was accepted. Viewers that show
  one accepted suppression beside a rejected one as suppressed are more lenient;
* an empty list of ``results`` says that the tool looked and found nothing (section 3.14.23);
  it is believed of a run that also tells of its invocation;
* a run whose invocation did not succeed, that reported errors of its own, that has no
  ``results`` or keeps them in another file does not tell everything.

What a message says about a place in the code may quote that code, so only the rule's own
description is quoted.

Source: SARIF 2.1.0 (OASIS Standard), sections 3.14, 3.20, 3.27, 3.35, 3.49.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.encryption.foreign.model import (
    NAME_LENGTH,
    Reported,
    State,
    ToolReport,
    UnreadableError,
    entries,
    members,
    moment,
    newest,
    plain,
    resource_name,
    text,
    value_of,
)

__all__ = ["VERSION", "read_sarif"]

T = TypeVar("T")

VERSION: Final = "2.1.0"
"""The only version that is read: earlier ones were drafts with other members."""

_KINDS: Final = {
    "pass": State.PASSED,
    "notApplicable": State.NOT_APPLICABLE,
    "informational": State.NOT_APPLICABLE,
    "open": State.UNDECIDED,
    "review": State.UNDECIDED,
}
"""``kind``: others, which are ``fail`` and what nobody listed, count as failed."""

_LEVELS: Final = {
    "error": Severity.CRITICAL,
    "warning": Severity.WARNING,
    "note": Severity.INFO,
    "none": Severity.INFO,
}
"""``level``: others count as critical."""

_HIGH_SCORE: Final = 7.0
_MEDIUM_SCORE: Final = 4.0
"""From where a CVSS score is called high or medium (CVSS 3.1, section 5)."""


def read_sarif(document: Mapping[str, Json]) -> tuple[ToolReport, ...]:
    """Read a log: one report for each run.

    Raises:
        UnreadableError: another version, no run, or a member of another type.
    """
    if text(document, "version", "$") != VERSION:
        raise UnreadableError(f"$.version: expected {VERSION}, found another or none")
    runs = entries(document, "runs", "$")
    if not runs:
        raise UnreadableError("$.runs: expected at least one run")
    return tuple(_run(path, run) for path, run in runs)


@dataclass(frozen=True, slots=True)
class _Component:
    """A part of the tool, and its rules."""

    rules: list[Mapping[str, Json]]
    by_id: Mapping[str, Mapping[str, Json]]
    names: tuple[str, str]
    """Its GUID and name."""

    @classmethod
    def of(cls, path: str, part: Mapping[str, Json]) -> _Component:
        found = entries(part, "rules", path)
        return cls(
            rules=[rule for _, rule in found],
            by_id={text(rule, "id", where): rule for where, rule in found},
            names=(text(part, "guid", path), text(part, "name", path)),
        )


@dataclass(frozen=True, slots=True)
class _Rules:
    """Where results find their rules, and artifacts."""

    components: tuple[_Component, ...]
    """The driver's, then those of the extensions."""
    artifacts: list[Mapping[str, Json]]

    @classmethod
    def of(cls, path: str, run: Mapping[str, Json]) -> _Rules:
        tool = members(run, "tool", path)
        parts = [(f"{path}.tool.driver", members(tool, "driver", f"{path}.tool"))]
        parts += entries(tool, "extensions", f"{path}.tool")
        return cls(
            components=tuple(_Component.of(*part) for part in parts),
            artifacts=[artifact for _, artifact in entries(run, "artifacts", path)],
        )

    def find(self, path: str, result: Mapping[str, Json]) -> tuple[str, Mapping[str, Json]]:
        """Return the id and the rule of a result; no rule if it names none of the tool's."""
        named = members(result, "rule", path)
        component = self._component(path, members(named, "toolComponent", path))
        index = value_of(named, "index", int, path)
        index = value_of(result, "ruleIndex", int, path) if index is None else index
        name = text(result, "ruleId", path) or text(named, "id", path)
        rule: Mapping[str, Json] = {}
        if index is not None and index >= 0:
            rule = _at(component.rules, index, path)
        elif name:
            by_id = component.by_id
            rule = by_id.get(name) or by_id.get(name.rpartition("/")[0]) or {}
        return name or text(rule, "id", path), rule

    def _component(self, path: str, named: Mapping[str, Json]) -> _Component:
        """Return the part of the tool that a reference names: the driver if it names none."""
        index = value_of(named, "index", int, path)
        if index is not None and index >= 0:
            return _at(self.components[1:], index, path)
        guid, name = text(named, "guid", path), text(named, "name", path)
        if not guid and not name:
            return self.components[0]
        for component in self.components:
            if (guid and component.names[0] == guid) or (not guid and component.names[1] == name):
                return component
        raise UnreadableError(f"{path}: a reference to a part of the tool that is not there")

    def uri(self, path: str, location: Mapping[str, Json]) -> str:
        """Return the URI of an artifact location, directly or by its index."""
        index = value_of(location, "index", int, path)
        if uri := text(location, "uri", path):
            return uri
        if index is None or index < 0:
            return ""
        return text(members(_at(self.artifacts, index, path), "location", path), "uri", path)


def _at(items: Sequence[T], index: int, path: str) -> T:
    if not 0 <= index < len(items):
        raise UnreadableError(f"{path}: an index leads beyond the end of its list")
    return items[index]


def _run(path: str, run: Mapping[str, Json]) -> ToolReport:
    driver = members(members(run, "tool", path), "driver", f"{path}.tool")
    name = plain(text(driver, "name", path))
    if not name:
        raise UnreadableError(f"{path}.tool.driver.name: expected the name of the tool")
    rules = _Rules.of(path, run)
    invocations = entries(run, "invocations", path)
    times = [
        moment(text(item, key, where), f"{where}.{key}")
        for where, item in invocations
        for key in ("startTimeUtc", "endTimeUtc")
    ]
    version = text(driver, "semanticVersion", path) or text(driver, "version", path)
    return ToolReport(
        tool=name,
        version=plain(version, 50),
        results=tuple(_result(*item, rules) for item in entries(run, "results", path)),
        looked=bool(invocations),
        written=newest(times),
        gaps=tuple(_gaps(path, run, invocations)),
    )


def _gaps(
    path: str, run: Mapping[str, Json], invocations: list[tuple[str, Mapping[str, Json]]]
) -> list[str]:
    gaps = []
    if value_of(run, "results", list, path) is None:
        gaps.append("the run has no results: the tool did not look for any")
    if members(run, "externalPropertyFileReferences", path).get("results"):
        gaps.append("results lie in other files (externalPropertyFileReferences)")
    if any(value_of(item, "executionSuccessful", bool, at) is False for at, item in invocations):
        gaps.append("the tool says that its run did not succeed")
    errors = sum(
        text(note, "level", where) == "error"
        for at, item in invocations
        for key in ("toolExecutionNotifications", "toolConfigurationNotifications")
        for where, note in entries(item, key, at)
    )
    if errors:
        gaps.append(f"the tool reported {errors} errors of its own")
    return gaps


def _result(path: str, result: Mapping[str, Json], rules: _Rules) -> Reported:
    name, rule = rules.find(path, result)
    state, by = _state(path, result)
    resources, files = _places(path, result, rules)
    described = text(members(rule, "shortDescription", path), "text", path)
    return Reported(
        rule=plain(name, NAME_LENGTH) or "unnamed rule",
        title=plain(described or text(rule, "name", path)),
        severity=_severity(path, result, rule),
        state=state,
        resources=resources,
        files=files,
        by=by,
    )


def _state(path: str, result: Mapping[str, Json]) -> tuple[State, str]:
    state = _KINDS.get(text(result, "kind", path), State.FAILED)
    if text(result, "baselineState", path) == "absent":
        return State.NOT_APPLICABLE, ""
    suppressions = entries(result, "suppressions", path)
    accepted = all(text(one, "status", at) in ("", "accepted") for at, one in suppressions)
    if state in (State.FAILED, State.UNDECIDED) and suppressions and accepted:
        return State.SUPPRESSED, _suppressor(*suppressions[0])
    if state is State.UNDECIDED:
        return state, "the tool could not decide or leaves it to a person"
    return state, ""


def _suppressor(path: str, suppression: Mapping[str, Json]) -> str:
    where = "in the source" if text(suppression, "kind", path) == "inSource" else "externally"
    why = plain(text(suppression, "justification", path), 100)
    return f"suppressed {where}: {why}" if why else f"suppressed {where}, no reason given"


def _severity(path: str, result: Mapping[str, Json], rule: Mapping[str, Json]) -> Severity:
    level = text(result, "level", path)
    if not level and text(result, "kind", path) in ("", "fail"):
        level = text(members(rule, "defaultConfiguration", path), "level", path) or "warning"
    said = _LEVELS.get(level or "none", Severity.CRITICAL)
    scored = [
        _scored(path, where["security-severity"])
        for where in (members(rule, "properties", path), members(result, "properties", path))
        if where.get("security-severity") is not None
    ]
    return min((said, *scored), key=list(Severity).index)


def _scored(path: str, value: Json) -> Severity:
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(f"{path}: security-severity is no number") from error
    if score >= _MEDIUM_SCORE:
        return Severity.CRITICAL if score >= _HIGH_SCORE else Severity.WARNING
    return Severity.INFO if score >= 0 else Severity.CRITICAL


def _places(
    path: str, result: Mapping[str, Json], rules: _Rules
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a result concerns: names of resources, and URIs of files."""
    resources, files = [], []
    for at, location in entries(result, "locations", path):
        for where, logical in entries(location, "logicalLocations", at):
            resources.append(
                text(logical, "fullyQualifiedName", where) or text(logical, "name", where)
            )
        physical = members(location, "physicalLocation", at)
        uri = rules.uri(at, members(physical, "artifactLocation", at))
        line = value_of(members(physical, "region", at), "startLine", int, at)
        if uri:
            files.append(uri)
            resources.append(f"{uri}:{line}" if line else uri)
    names = dict.fromkeys(resource_name(name) for name in resources if name)
    return tuple(names), tuple(dict.fromkeys(files))
