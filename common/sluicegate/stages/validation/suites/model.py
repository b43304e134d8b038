"""What a suite is once it is read: questions, with their rows and severities."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.model import Severity
from sluicegate.stages.validation.suites.conditions import Condition

__all__ = [
    "Expectation",
    "Link",
    "Suite",
    "SuiteError",
    "Unasked",
    "closest",
    "refusal",
    "shown",
    "spell",
]

AS_GX_WRITES: Final = "correct the suite file; GX writes the form that is expected"
_CONDITION_KWARGS: Final = ("row_condition", "condition_parser")
_SHOWN: Final = 80
_LONGEST_NAME: Final = 200
"""Beyond it a name is not misspelt; comparing words costs the product of their lengths."""

Link = tuple["Link | None", str]
"""A path that grows at its end without copying its beginning."""


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
    sql: bool = False
    """Only a data source that speaks SQL can answer it; a file never can."""

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
    def counts_different_values(self) -> bool:
        """Whether what is unexpected is counted in different values, and not in rows."""
        return self.type.startswith("expect_column_distinct_values_to_")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unasked:
    """A rule of a data contract that no expectation stands for: nobody knows whether it holds."""

    path: str
    """Where it is in the contract."""
    what: str
    """What it says, as a phrase."""
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suite:
    """All expectations of one file, in file order; there is at least one."""

    name: str
    expectations: tuple[Expectation, ...]
    unasked: tuple[Unasked, ...] = ()
    """What the file demands and nobody checks; only data contracts have such rules."""

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


class SuiteError(ConfigurationError):
    """A suite cannot be used.

    Attributes:
        path: JSON path of what is wrong.
    """

    path: str = ""


def refusal(
    where: str, path: str, expected: str, found: str, *, next_step: str = AS_GX_WRITES
) -> SuiteError:
    """Return the error for a suite that cannot be used.

    Args:
        where: which expectation, or ``the suite``.
        path: JSON path of what is wrong.
        expected: what would do.
        found: what is there.
        next_step: what its owner can do.
    """
    error = SuiteError(
        f"validation suite, {where}: {path} must be {expected}; found {found}",
        next_step=next_step,
    )
    error.path = path
    return error


def spell(link: Link | None) -> str:
    """Return a path as text, not longer than a line or two."""
    parts: list[str] = []
    while link is not None:
        link, part = link
        parts.append(part)
    path = "".join(reversed(parts))
    return path if len(path) <= _LONGEST_NAME else f"{path[: _LONGEST_NAME - 3]}..."


def shown(value: Json) -> str:
    """Return a value of the suite for a message, not longer than a line."""
    found = "nothing" if value is None else json.dumps(value)
    return found if len(found) <= _SHOWN else f"{found[: _SHOWN - 3]}..."


def closest(name: str, known: Collection[str]) -> str:
    """Return ``did you mean …?`` for a misspelt name, or nothing."""
    if len(name) > _LONGEST_NAME:
        return ""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
