"""Suite files: Great Expectations JSON, read strictly and without Great Expectations.

GX drops an expectation that it does not understand and validates the rest. Here a suite is
understood completely or refused: every key is known, every value is of its type, and every
refusal says where, what was expected, what was found, and what to do.
"""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sluicegate.canonical import Json, parse_json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity
from sluicegate.stages.validation.conditions import Condition, parse_condition
from sluicegate.stages.validation.forbidden import find_forbidden

__all__ = ["Expectation", "Suite", "closest", "parse_suite", "refusal"]

SUITE_KEYS: Final = ("name", "id", "expectations", "suite_parameters", "meta", "notes")
"""What GX writes at the top. Source: ``ExpectationSuiteSchema`` of GX 1.24.1."""

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

_OLD_KEYS: Final = MappingProxyType(
    {
        "expectation_type": "type",
        "expectation_suite_name": "name",
        "ge_cloud_id": "id",
        "evaluation_parameters": "suite_parameters",
    }
)
"""Names before GX 1.0, which GX 1 refuses too."""

_MIGRATE: Final = (
    "GX before 1.0 wrote such files, and GX 1 does not read them: save the suite again with GX 1"
)
_AS_GX_WRITES: Final = "correct the suite file; GX writes the form that is expected"
_SHOWN: Final = 80
_CONDITION_KWARGS: Final = ("row_condition", "condition_parser")
_NUMERIC: Final = ("min_value", "max_value", "value", "threshold", "sum_total", "multiplier")
_MAX_DEPTH: Final = 100
"""Deepest nesting of kwargs: far more than any expectation uses, far less than would
overflow the stack of a library that walks them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expectation:
    """One question, as its owner wrote it."""

    index: int
    """Position in the suite file, from 0."""
    type: str
    """GX type, such as ``expect_column_values_to_not_be_null``."""
    kwargs: Mapping[str, Json]
    """Arguments as in the file, without :data:`RUNTIME_KWARGS`."""
    condition: Condition | None
    """Which rows it is about; all when ``None``."""
    severity: Severity
    id: str
    """The suite's own id of it, or nothing."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values it examines; none for a question about the table."""
        if self.type == "expect_column_to_exist" or self.type.startswith("expect_table_"):
            return ()
        named = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        many = self.kwargs.get("column_list")
        if isinstance(many, list):
            named += many
        return tuple(column for column in named if isinstance(column, str))

    @property
    def target(self) -> str:
        """What it is about: its columns, or ``table``."""
        if self.type == "expect_column_to_exist":
            return str(self.kwargs.get("column"))
        return ",".join(self.columns) or "table"

    @property
    def counts_rows(self) -> bool:
        """Whether no rows at all is an answer rather than the lack of one."""
        return self.type.startswith("expect_table_row_count_")

    @property
    def mostly(self) -> float:
        """Share of the present values that must be as expected."""
        return float(self.kwargs.get("mostly", 1.0))

    @property
    def own_kwargs(self) -> dict[str, Json]:
        """The arguments without the row condition, which the engines never see."""
        return {key: value for key, value in self.kwargs.items() if key not in _CONDITION_KWARGS}

    @property
    def where(self) -> str:
        """Its place in the file, for messages."""
        return f"expectations[{self.index}] ({self.type})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suite:
    """All expectations of one file, in file order; there is at least one."""

    name: str
    expectations: tuple[Expectation, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """What each expectation is about, told apart by its index where that is needed."""
        asked = Counter((one.type, one.target) for one in self.expectations)
        return tuple(
            f"{one.target}#{one.index}"
            if asked[one.type, one.target] > 1 or "#" in one.target
            else one.target
            for one in self.expectations
        )


def refusal(
    where: str, path: str, expected: str, found: str, *, next_step: str = _AS_GX_WRITES
) -> ConfigurationError:
    """Return the error for a suite that cannot be used.

    Args:
        where: which expectation, or ``the suite``.
        path: JSON path of what is wrong.
        expected: what would do.
        found: what is there.
        next_step: what its owner can do.
    """
    return ConfigurationError(
        f"validation suite, {where}: {path} must be {expected}; found {found}",
        next_step=next_step,
    )


def closest(name: str, known: Collection[str]) -> str:
    """Return ``did you mean …?`` for a misspelt name, or nothing."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def parse_suite(data: bytes) -> Suite:
    """Read a suite file.

    Args:
        data: the file's bytes, UTF-8 encoded JSON.

    Raises:
        ConfigurationError: not JSON, not the shape that GX writes, nothing asked, something
            asked in vain, or something that would execute code, SQL or network access.
    """
    try:
        value = parse_json(data)
    except ValueError as error:
        raise ConfigurationError(
            f"the validation suite is {error}",
            next_step="check the file with a JSON validator; it must be UTF-8, without "
            "duplicate keys",
        ) from error
    top = _object(value, "the suite", "$")
    _known_keys(top, SUITE_KEYS, "the suite", "$")
    _common(top, "the suite", "$")
    name = top.get("name")
    if not isinstance(name, str) or not name:
        raise _wrong("the suite", "$.name", "text that is not empty", name)
    if top.get("suite_parameters"):
        raise _wrong(
            "the suite",
            "$.suite_parameters",
            "absent or empty",
            top["suite_parameters"],
            "write the values into the expectations: parameters would let a run change the "
            "questions that a receipt vouches for",
        )
    return Suite(name=name, expectations=_expectations(top.get("expectations")))


def _expectations(value: Json) -> tuple[Expectation, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(
            "the suite",
            "$.expectations",
            "a list of at least one expectation",
            value,
            "an empty suite asks nothing: add expectations, or remove the stage",
        )
    parsed = tuple(_expectation(index, entry) for index, entry in enumerate(value))
    ids: dict[str, int] = {}
    for one in parsed:
        if one.id and ids.setdefault(one.id, one.index) != one.index:
            raise refusal(
                one.where,
                f"$.expectations[{one.index}].id",
                "an id of its own",
                f"the id of expectations[{ids[one.id]}]",
                next_step="remove the id, or give another",
            )
    return parsed


def _expectation(index: int, value: Json) -> Expectation:
    path = f"$.expectations[{index}]"
    entry = _object(value, f"expectations[{index}]", path)
    kind = entry.get("type")
    where = f"expectations[{index}] ({kind if isinstance(kind, str) else 'no type'})"
    _known_keys(entry, EXPECTATION_KEYS, where, path)
    if not isinstance(kind, str) or not kind:
        raise _wrong(where, f"{path}.type", "the name of an expectation type", kind)
    _common(entry, where, path)
    kwargs = _kwargs(entry, where, f"{path}.kwargs")
    try:
        condition = parse_condition(kwargs.get("row_condition"), f"{path}.kwargs.row_condition")
        find_forbidden(kind, kwargs, f"{path}.kwargs")
    except ConfigurationError as error:
        raise ConfigurationError(
            f"validation suite, {where}: {error.what}", next_step=error.next_step
        ) from error
    return Expectation(
        index=index,
        type=kind,
        kwargs=MappingProxyType(kwargs),
        condition=condition,
        severity=_severity(entry, where, path),
        id=entry.get("id") or "",
    )


def _common(entry: Mapping[str, Json], where: str, path: str) -> None:
    """Check what a suite and an expectation both have; none of it changes the questions."""
    if not isinstance(entry.get("id"), str | None):
        raise _wrong(where, f"{path}.id", "text or null", entry["id"])
    if not isinstance(entry.get("meta"), dict | None):
        raise _wrong(where, f"{path}.meta", "an object or null", entry["meta"])


def _severity(entry: Mapping[str, Json], where: str, path: str) -> Severity:
    value = entry.get("severity", Severity.CRITICAL.value)
    known = [severity.value for severity in Severity]
    if value not in known:
        # GX drops the whole expectation for this, and says so only in a log line.
        near = closest(value.lower(), known) if isinstance(value, str) else ""
        raise _wrong(
            where,
            f"{path}.severity",
            "critical, warning or info",
            value,
            near or "leave severity out for critical",
        )
    return Severity(value)


def _kwargs(entry: Mapping[str, Json], where: str, path: str) -> dict[str, Json]:
    value = _object(entry.get("kwargs"), where, path)
    _plain_values(value, where, path)
    for key in MISPLACED_KWARGS:
        if key in value:
            raise _wrong(
                where, f"{path}.{key}", "absent", value[key], f"move {key!r} beside kwargs"
            )
    if value.get("windows"):
        raise _wrong(
            where,
            f"{path}.windows",
            "absent",
            value["windows"],
            "windows compare with earlier runs, which a verdict on these bytes cannot depend on",
        )
    if not isinstance(value.get("condition_parser"), str | None):
        raise _wrong(where, f"{path}.condition_parser", "text or null", value["condition_parser"])
    _mostly(value, where, path)
    for key in _NUMERIC:
        if isinstance(value.get(key), str) and _reads_as_number(value[key]):
            # GX reads "inf" and "NaN" as bounds that everything meets, and rounds the rest.
            raise _wrong(where, f"{path}.{key}", "a number, not text", value[key])
    return {key: item for key, item in value.items() if key not in RUNTIME_KWARGS}


def _mostly(kwargs: Mapping[str, Json], where: str, path: str) -> None:
    if "mostly" not in kwargs:
        return
    value = kwargs["mostly"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        # GX takes 0, and then every data set passes; it also converts text.
        raise _wrong(
            where,
            f"{path}.mostly",
            "a number above 0 and at most 1",
            value,
            "say which share of the values must be as expected, or leave mostly out for all",
        )


def _plain_values(value: Json, where: str, path: str) -> None:
    """Refuse values that mean more than they say, wherever they are in the arguments."""
    pending: list[tuple[Json, str, int]] = [(value, path, 0)]
    while pending:
        item, at, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise refusal(where, path, f"nested at most {_MAX_DEPTH} deep", "deeper nesting")
        if isinstance(item, float) and not math.isfinite(item):
            raise refusal(where, at, "a finite number", "one beyond the range of floats")
        if isinstance(item, dict):
            if "$PARAMETER" in item:
                raise refusal(
                    where,
                    at,
                    "a value",
                    "a suite parameter",
                    next_step="write the value into the suite: parameters would let a run, or "
                    "the clock, change the questions that a receipt vouches for",
                )
            pending += [(one, f"{at}.{key}", depth + 1) for key, one in item.items()]
        elif isinstance(item, list):
            pending += [(one, f"{at}[{i}]", depth + 1) for i, one in enumerate(item)]


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _object(value: Json, where: str, path: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _wrong(where, path, "an object", value)
    return value


def _known_keys(value: Mapping[str, Json], known: Collection[str], where: str, path: str) -> None:
    for key in value:
        if key in known:
            continue
        hint = closest(key, known)
        if _OLD_KEYS.get(key) in known:
            hint = f"the key is now {_OLD_KEYS[key]!r}. {_MIGRATE}"
        raise refusal(
            where,
            path,
            "an object with known keys only",
            f"the key {key!r}",
            next_step=hint or f"known keys are {', '.join(known)}",
        )


def _wrong(
    where: str, path: str, expected: str, value: Json, next_step: str = ""
) -> ConfigurationError:
    found = "nothing" if value is None else json.dumps(value)
    shown = found if len(found) <= _SHOWN else f"{found[: _SHOWN - 3]}..."
    return refusal(where, path, expected, shown, next_step=next_step or _AS_GX_WRITES)
