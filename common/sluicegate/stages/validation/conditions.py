"""Row conditions: which rows an expectation is about.

GX turns a condition into text for ``DataFrame.query``, which evaluates expressions: a
condition that is text, or a column name with a backtick in it, runs any code. So conditions
are parsed here into a closed set of comparisons and applied here, and GX gets the selected
rows without a condition.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Condition", "Every", "Nullity", "Some", "parse_condition"]

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]*")
"""Names that no evaluator of expressions could take for more than a name."""

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "IN": lambda column, values: column.isin(list(values)),
        "NOT_IN": lambda column, values: ~column.isin(list(values)),
    }
)

_MAX_NESTED: Final = 3
"""GX nests conditions at most this deep: or, and, comparison."""

_FORM: Final = (
    'write {"type": "comparison", "column": {"name": …}, "operator": "==", "parameter": …}, '
    '{"type": "nullity", "column": {"name": …}, "is_null": true}, or "and"/"or" with '
    '"conditions"'
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows whose value in one column compares so with a constant."""

    column: str
    operator: str
    parameter: str | int | float | bool | tuple[str | int | float, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series.

        Raises:
            TypeError: the column holds values that do not compare with the constant.
        """
        return _boolean(_COMPARISONS[self.operator](frame[self.column], self.parameter))


@dataclass(frozen=True, slots=True)
class Nullity:
    """Rows that have, or lack, a value in one column."""

    column: str
    is_null: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series."""
        values = frame[self.column]
        return values.isna() if self.is_null else values.notna()


@dataclass(frozen=True, slots=True)
class Every:
    """Rows that all of several conditions select."""

    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(column for one in self.conditions for column in one.columns)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series; see :class:`Comparison`."""
        selected = self.conditions[0].selects(frame)
        for one in self.conditions[1:]:
            selected = selected & one.selects(frame)
        return selected


@dataclass(frozen=True, slots=True)
class Some:
    """Rows that at least one of several conditions selects."""

    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(column for one in self.conditions for column in one.columns)

    def selects(self, frame: pd.DataFrame) -> pd.Series:
        """Return which rows it selects, as a boolean series; see :class:`Comparison`."""
        selected = self.conditions[0].selects(frame)
        for one in self.conditions[1:]:
            selected = selected | one.selects(frame)
        return selected


Condition = Comparison | Nullity | Every | Some


def _boolean(selected: Any) -> Any:
    """Read "no value" as not selected, as comparisons with NaN do."""
    return selected.fillna(value=False).astype(bool)


def parse_condition(value: Json, path: str) -> Condition | None:
    """Read a row condition in the structured form of GX 1.

    Args:
        value: the JSON value, ``None`` for no condition.
        path: where it is in the file, for the message.

    Raises:
        ConfigurationError: text, a filter to pass through, an unknown structure, or a
            column name that could be read as an expression.
    """
    return None if value is None else _parse(value, path, 1)


def _parse(value: Json, path: str, depth: int) -> Condition:
    if isinstance(value, str):
        raise _refused(path, "a structured condition", "text, which GX would execute as code")
    if not isinstance(value, dict):
        raise _refused(path, "a structured condition", f"a JSON {type(value).__name__}")
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
        _keys(value, {"type", "conditions"}, path)
        parts = value["conditions"]
        if not isinstance(parts, list) or not parts:
            raise _refused(f"{path}.conditions", "a list of conditions", "none")
        parsed = tuple(
            _parse(part, f"{path}.conditions[{index}]", depth + 1)
            for index, part in enumerate(parts)
        )
        return Every(parsed) if kind == "and" else Some(parsed)
    if kind == "pass_through":
        raise _refused(path, "a structured condition", "a filter that GX would execute as code")
    raise _refused(f"{path}.type", "comparison, nullity, and, or", "something else")


def _comparison(value: Mapping[str, Json], path: str) -> Comparison:
    _keys(value, {"type", "column", "operator", "parameter"}, path)
    column = _column(value["column"], f"{path}.column")
    sign, parameter = value["operator"], value["parameter"]
    if not isinstance(sign, str) or sign not in _COMPARISONS:
        raise _refused(f"{path}.operator", ", ".join(_COMPARISONS), "something else")
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


def _refused(path: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(f"{path} must be {expected}; found {found}", next_step=_FORM)
