"""One expectation of a suite file: every key known, every value of its type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.arguments import argument_problems
from sluicegate.stages.validation.suites.catalogue import CATALOGUE, PARSERS
from sluicegate.stages.validation.suites.condition_forms import parse_condition
from sluicegate.stages.validation.suites.forbidden import ONLY_SQL, find_forbidden
from sluicegate.stages.validation.suites.model import (
    Expectation,
    SuiteError,
    closest,
    refusal,
    shown,
)
from sluicegate.stages.validation.suites.problems import Problems
from sluicegate.stages.validation.suites.shape import known_keys, plain_values
from sluicegate.stages.validation.suites.types import check_custom, find_type

__all__ = [
    "MISPLACED_KWARGS",
    "RUNTIME_KWARGS",
    "Entry",
    "read_entry",
]

EXPECTATION_KEYS: Final = (
    "type",
    "kwargs",
    "meta",
    "notes",
    "id",
    "expectation_context",
    "rendered_content",
    "description",
    "severity",
)
"""What GX writes for one. Source: ``ExpectationConfigurationSchema`` of GX 1.24.1."""

RUNTIME_KWARGS: Final = ("batch_id", "catch_exceptions", "result_format")
"""How to report, not what to ask. This stage sets them itself and ignores the file's.
``catch_exceptions`` and ``result_format`` would let a suite file hide or spill values."""

MISPLACED_KWARGS: Final = (
    "meta",
    "notes",
    "id",
    "description",
    "severity",
    "rendered_content",
)

_RESULT_FORMATS: Final = ("BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE")
_NUMERIC: Final = ("min_value", "max_value", "value", "threshold", "sum_total", "multiplier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One expectation as it stands in a file, and where."""

    value: Json
    path: str
    """JSON path in the file that people see."""


def read_entry(
    index: int, entry: Entry, problems: Problems, *, sql: bool, plugins: bool
) -> Expectation | None:
    """Read one expectation; what is wrong with it is noted, and then there is none.

    Args:
        index: its position in the suite.
        entry: what the file holds.
        problems: takes what is wrong.
        sql: the policy allows SQL that a suite holds.
        plugins: types that nobody here knows are those of plug-ins.
    """
    before = len(problems.found)
    path, value = entry.path, entry.value
    kind = value.get("type") if isinstance(value, dict) else None
    named = shown(kind)[1:-1] if isinstance(kind, str) else "no type"
    where = f"expectations[{index}] ({named})"
    if not isinstance(value, dict):
        problems.add(refusal(f"expectations[{index}]", path, "an object", shown(value)))
        return None
    known_keys(value, EXPECTATION_KEYS, where, path, problems)
    if not isinstance(kind, str) or not kind:
        expected = "the name of an expectation type"
        problems.add(refusal(where, f"{path}.type", expected, shown(kind)))
        return None
    _common(value, where, path, problems)
    severity = problems.attempt(_severity, value, where, path)
    kwargs = problems.attempt(_kwargs, value, where, f"{path}.kwargs")
    if kwargs is None:
        return None
    condition = problems.attempt(
        _named, where, parse_condition, kwargs.get("row_condition"),
        f"{path}.kwargs.row_condition", _parser(kwargs),
    )  # fmt: skip
    for problem in _asked(kind, kwargs, where, path, sql=sql, plugins=plugins):
        problems.add(problem)
    if severity is None or len(problems.found) > before:
        return None
    return Expectation(
        index=index,
        type=kind,
        kwargs=MappingProxyType(kwargs),
        condition=condition,
        severity=severity,
        id=value.get("id") or "",
        sql=kind in ONLY_SQL,
    )


def _asked(
    kind: str, kwargs: Mapping[str, Json], where: str, path: str, *, sql: bool, plugins: bool
) -> Iterator[ConfigurationError]:
    """Yield what is wrong with what an expectation asks."""
    unknown = None if plugins else find_type(kind, where, f"{path}.type")
    if unknown:
        yield unknown
        return
    try:
        _named(where, find_forbidden, kind, kwargs, f"{path}.kwargs", sql=sql)
        _named(where, check_custom, kind, kwargs, f"{path}.kwargs")
    except ConfigurationError as error:
        yield error
        return
    if kind in CATALOGUE:
        yield from argument_problems(kind, kwargs, where, f"{path}.kwargs", sql=sql)


def _named(where: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call what refuses without saying which expectation it was."""
    try:
        return function(*args, **kwargs)
    except ConfigurationError as error:
        named = SuiteError(f"validation suite, {where}: {error.what}", next_step=error.next_step)
        named.path = getattr(error, "path", "")
        raise named from error


def _parser(kwargs: Mapping[str, Json]) -> str | None:
    given = kwargs.get("condition_parser")
    return given if given in PARSERS else None


def _common(entry: Mapping[str, Json], where: str, path: str, problems: Problems) -> None:
    """Check what stands beside the question; none of it changes what is asked."""
    text = (("id", str, "text or null"), ("description", str, "text or null"))
    for key, kind, expected in (*text, ("meta", dict, "an object or null")):
        if not isinstance(entry.get(key), kind | None):
            problems.add(refusal(where, f"{path}.{key}", expected, shown(entry[key])))
    notes = entry.get("notes")
    texts = isinstance(notes, list) and all(isinstance(one, str) for one in notes)
    if not (texts or isinstance(notes, str | None)):
        problems.add(refusal(where, f"{path}.notes", "text, texts or null", shown(notes)))


def _severity(entry: Mapping[str, Json], where: str, path: str) -> Severity:
    value = entry.get("severity", Severity.CRITICAL.value)
    known = [severity.value for severity in Severity]
    if value not in known:
        # GX drops the whole expectation for this, and says so only in a log line.
        near = closest(value.lower(), known) if isinstance(value, str) else ""
        raise refusal(
            where,
            f"{path}.severity",
            "critical, warning or info",
            shown(value),
            next_step=near or "leave severity out for critical",
        )
    return Severity(value)


def _kwargs(entry: Mapping[str, Json], where: str, path: str) -> dict[str, Json]:
    value = entry.get("kwargs")
    if not isinstance(value, dict):
        raise refusal(where, path, "an object", shown(value))
    plain_values(value, where, path)
    for key in MISPLACED_KWARGS:
        if key in value:
            raise refusal(
                where, f"{path}.{key}", "absent", shown(value[key]),
                next_step=f"move {key!r} beside kwargs",
            )  # fmt: skip
    if value.get("windows") not in (None, []):
        raise refusal(
            where,
            f"{path}.windows",
            "absent",
            shown(value["windows"]),
            next_step="windows compare with earlier runs, which a verdict on these bytes cannot "
            "depend on",
        )
    _runtime(value, where, path)
    _mostly(value, where, path)
    for key in _NUMERIC:
        if isinstance(value.get(key), str) and _reads_as_number(value[key]):
            # GX reads "inf" and "NaN" as bounds that everything meets, and rounds the rest.
            raise refusal(where, f"{path}.{key}", "a number, not text", shown(value[key]))
    ignored = (*RUNTIME_KWARGS, "windows")
    return {key: item for key, item in value.items() if key not in ignored}


def _runtime(kwargs: Mapping[str, Json], where: str, path: str) -> None:
    """Check what is ignored: a suite that GX refuses is mistaken about something."""
    form = kwargs.get("result_format", "BASIC")
    named = form.get("result_format") if isinstance(form, dict) else form
    if named not in _RESULT_FORMATS:
        expected = " or ".join(_RESULT_FORMATS)
        raise refusal(where, f"{path}.result_format", expected, shown(form))
    caught = kwargs.get("catch_exceptions", True)
    if not isinstance(caught, bool):
        raise refusal(where, f"{path}.catch_exceptions", "true or false", shown(caught))
    if not isinstance(kwargs.get("batch_id"), str | None):
        raise refusal(where, f"{path}.batch_id", "text or null", shown(kwargs["batch_id"]))


def _mostly(kwargs: Mapping[str, Json], where: str, path: str) -> None:
    if "mostly" not in kwargs:
        return
    value = kwargs["mostly"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        # GX takes 0, and then every data set passes; it also converts text.
        raise refusal(
            where,
            f"{path}.mostly",
            "a number above 0 and at most 1",
            shown(value),
            next_step="say which share of the values must be as expected, or leave mostly out "
            "for all",
        )


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
