"""Row conditions as suites hold them: the structured form of GX 1, and text.

What GX itself refuses in the structured form (an "or" inside of an "and") is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.suites.condition_text import parse_text
from sluicegate.stages.validation.suites.conditions import (
    OPERATORS,
    Comparison,
    Condition,
    Every,
    Nullity,
    Some,
)
from sluicegate.stages.validation.suites.model import SuiteError

__all__ = ["parse_condition"]

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]*")
"""Names that no evaluator of expressions could take for more than a name."""

_MAX_NESTED: Final = 3
"""GX nests conditions at most this deep: or, and, comparison."""

_MAX_CONDITIONS: Final = 100
"""Source: ``MAX_CONDITIONS`` of GX 1.24.1."""

_FORM: Final = (
    'write {"type": "comparison", "column": {"name": …}, "operator": "==", "parameter": …}, '
    '{"type": "nullity", "column": {"name": …}, "is_null": true}, or "and"/"or" with '
    '"conditions"'
)


def parse_condition(value: Json, path: str, parser: str | None = None) -> Condition | None:
    """Read a row condition.

    Args:
        value: the JSON value, ``None`` for no condition.
        path: where it is in the file, for the message.
        parser: the suite's ``condition_parser``, for a condition that is text.

    Raises:
        ConfigurationError: text outside of the grammar, a filter to pass through, an unknown
            structure, or a column name that could be read as an expression. The message does
            not say which expectation it was.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return parse_text(value, path, parser)
    return _parse(value, path, 1)


def _parse(value: Json, path: str, depth: int) -> Condition:
    if not isinstance(value, dict):
        found = "text inside of a structure" if isinstance(value, str) else "another value"
        raise _refused(path, "a structured condition", found)
    if depth > _MAX_NESTED:
        raise _refused(path, f"nested at most {_MAX_NESTED} deep", "deeper nesting")
    kind = value.get("type")
    if kind == "comparison":
        return _comparison(value, path)
    if kind == "nullity":
        _keys(value, {"type", "column", "is_null"}, path)
        if not isinstance(value["is_null"], bool):
            raise _refused(f"{path}.is_null", "true or false", "something else")
        return Nullity(_column(value["column"], f"{path}.column"), value["is_null"])
    if kind in ("and", "or"):
        return _group(value, kind, path, depth)
    if kind == "pass_through":
        raise _refused(path, "a structured condition", "a filter that GX would execute as code")
    raise _refused(f"{path}.type", "comparison, nullity, and, or", "something else")


def _group(value: Mapping[str, Json], kind: str, path: str, depth: int) -> Condition:
    _keys(value, {"type", "conditions"}, path)
    parts = value["conditions"]
    if not isinstance(parts, list) or not 1 <= len(parts) <= _MAX_CONDITIONS:
        raise _refused(
            f"{path}.conditions", f"a list of at least 1 and at most {_MAX_CONDITIONS} conditions",
            "another value",
        )  # fmt: skip
    parsed = tuple(
        _parse(part, f"{path}.conditions[{index}]", depth + 1) for index, part in enumerate(parts)
    )
    group = Every(parsed) if kind == "and" else Some(parsed)
    if any(_has_or(part) for part in parsed):
        raise _refused(path, 'free of "or" inside of "and" or "or"', "one, which GX refuses")
    if len(group.columns) > _MAX_CONDITIONS:
        raise _refused(path, f"made of at most {_MAX_CONDITIONS} conditions", "more")
    return group


def _has_or(condition: Condition) -> bool:
    inner = condition.conditions if isinstance(condition, Every) else ()
    return isinstance(condition, Some) or any(_has_or(one) for one in inner)


def _comparison(value: Mapping[str, Json], path: str) -> Comparison:
    _keys(value, {"type", "column", "operator", "parameter"}, path)
    column = _column(value["column"], f"{path}.column")
    sign, parameter = value["operator"], value["parameter"]
    if not isinstance(sign, str) or sign not in OPERATORS:
        raise _refused(f"{path}.operator", ", ".join(OPERATORS), "something else")
    if sign in ("IN", "NOT_IN"):
        # One kind of constant only: pandas would compare numbers with their text.
        texts = isinstance(parameter, list) and all(isinstance(one, str) for one in parameter)
        numbers = isinstance(parameter, list) and all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in parameter
        )
        if not parameter or not (texts or numbers):
            raise _refused(f"{path}.parameter", "a list of texts, or of numbers", "another value")
        return Comparison(column, sign, tuple(parameter))
    if not isinstance(parameter, str | int | float):
        raise _refused(f"{path}.parameter", "text, a number, true or false", "another value")
    return Comparison(column, sign, parameter)


def _column(value: Json, path: str) -> str:
    if not isinstance(value, dict) or set(value) != {"name"}:
        raise _refused(path, 'an object {"name": …}', "another value")
    name = value["name"]
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        # GX pastes the name between backticks: one inside of it ends the name, code follows.
        raise _refused(
            f"{path}.name", "a plain column name (letters, digits, space, . _ -)", "another name"
        )
    return name


def _keys(value: Mapping[str, Json], keys: set[str], path: str) -> None:
    if set(value) != keys:
        raise _refused(path, f"an object with {', '.join(sorted(keys))}", "other keys")


def _refused(path: str, expected: str, found: str) -> SuiteError:
    error = SuiteError(f"{path} must be {expected}; found {found}", next_step=_FORM)
    error.path = path
    return error
