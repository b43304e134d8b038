"""Frozen schema: names, order, types and nullability of all columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import OWN, SCAN, Answer
from sluicegate.stages.validation.expectations.arguments import (
    BOOLEAN,
    MOST_LISTED,
    TEXT,
    Argument,
    Fault,
    Form,
    near,
)
from sluicegate.stages.validation.expectations.measures import Height
from sluicegate.stages.validation.expectations.questions import NO_ROWS, count
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec

if TYPE_CHECKING:
    from sluicegate.stages.validation.scan.base import Measure

__all__ = ["SPECS", "same_type"]

MOST_PROBLEMS: Final = 20
"""Most differences that are named one by one; the rest is counted."""

_ALIASES: Final = MappingProxyType(
    {
        "boolean": "bool",
        "date32": "date32[day]",
        "date64": "date64[ms]",
        "float16": "halffloat",
        "float32": "float",
        "float64": "double",
        "half_float": "halffloat",
        "str": "string",
        "utf8": "string",
    }
)
"""Other names of Arrow types. Source: Apache Arrow, type factories of pyarrow."""

_INTEGERS: Final = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_SIMPLE: Final = _INTEGERS | frozenset(
    {
        "binary",
        "bool",
        "date32[day]",
        "date64[ms]",
        "double",
        "float",
        "halffloat",
        "month_day_nano_interval",
        "null",
        "string",
    }
)
_COMPOSED: Final = re.compile(
    r"(timestamp|time32|time64|duration|fixed_size_binary)\[.+\]"
    r"|decimal(32|64|128|256)\(-?\d+, -?\d+\)"
    r"|(list|fixed_size_list|struct|map|dictionary|extension|dense_union|sparse_union"
    r"|run_end_encoded)<.*",
    re.DOTALL,
)
_NESTED: Final = ("list<", "fixed_size_list<", "struct<", "map<")
_LAYOUT: Final = re.compile(r"\blarge_(?=string|binary|list)|(?<=string|binary)_view\b")
_LIST_VIEW: Final = re.compile(r"\blist_view(?=<)")
_ITEM: Final = re.compile(r"\blist<[^:<>]+: ")
"""The name of the items of a list, which writers choose as they like."""
_CODES: Final = re.compile(r"\bindices=u?int[0-9]+")


def _normal(name: str) -> str:
    """Return a type without what is layout only: widths of offsets and codes, list items."""
    name = _LIST_VIEW.sub("list", _LAYOUT.sub("", name.strip()))
    name = _ITEM.sub("list<", name)
    return _ALIASES.get(name, _CODES.sub("indices=int", name))


def same_type(expected: str, column: Column) -> bool:
    """Return whether a column has an Arrow type, as far as its source tells.

    A pandas frame tells less than a file: integers with gaps are floats there, a column
    without any value has no type, decimals have no precision, and nested values no types.

    Args:
        expected: the Arrow type.
        column: of a file, or of a data frame.
    """
    wanted, found = _normal(expected), _normal(column.arrow)
    if wanted == found:
        return True
    if not getattr(column, "from_pandas", False):
        return False
    if found == "null":
        return True
    if wanted in _INTEGERS and found == "double":
        return column.nullable
    if wanted.startswith("decimal"):
        return found.startswith("decimal")
    return wanted.startswith(_NESTED) and found.startswith(_NESTED)


@dataclass(frozen=True, slots=True, eq=False)
class _Schema:
    height: Height
    problems: tuple[str, ...]

    @property
    def measures(self) -> Mapping[str, Measure]:
        return MappingProxyType({"height": self.height})

    def conclude(self, found: Mapping[str, Any]) -> Answer:
        (total,) = found["height"]
        if not self.problems and not total:
            return Answer.unknown(NO_ROWS, engine=OWN)
        success = not self.problems
        return Answer(engine=SCAN, success=success, problems=self.problems, elements=total)

    def failing(self, _found: Mapping[str, Any]) -> None:
        return


def _ask(kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows) -> Question:
    problems = list(_differences(kwargs["columns"], columns, ordered=kwargs["ordered"]))
    more = len(problems) - MOST_PROBLEMS
    if more > 0:
        problems[MOST_PROBLEMS:] = [f"and {count(more, 'more difference')}"]
    return _Schema(Height(rows), tuple(problems))


def _differences(
    entries: Sequence[Mapping[str, Json]], columns: Mapping[str, Column], *, ordered: bool
) -> Iterator[str]:
    """Say how columns differ. A name that is not in the suite is a data value: its place."""
    expected = {entry["name"]: entry for entry in entries}
    for name in expected:
        if name not in columns:
            yield f"column {name!r} is missing"
    added = [place for place, name in enumerate(columns, 1) if name not in expected]
    if added:
        places = ", ".join(map(str, added[:MOST_PROBLEMS]))
        yield f"{count(len(added), 'column')} not in the baseline, at position {places}"
    common = [name for name in columns if name in expected]
    if ordered and common != [name for name in expected if name in columns]:
        yield "the columns are in another order"
    for name, entry in expected.items():
        if name in columns:
            yield from _changes(entry, columns[name])


def _changes(entry: Mapping[str, Json], column: Column) -> Iterator[str]:
    name = entry["name"]
    if not same_type(entry["type"], column):
        yield f"column {name!r} is of type {_word(column.arrow)}, not {_word(entry['type'])}"
    nullable = entry.get("nullable")
    if nullable is None:
        return
    if getattr(column, "from_pandas", False):
        if not nullable and column.nullable:
            yield f"column {name!r} has missing values"
    elif nullable != column.nullable:
        can = "allows" if column.nullable else "does not allow"
        yield f"column {name!r} {can} missing values, other than in the baseline"


def _word(kind: str) -> str:
    """Return an Arrow type without what is inside of it: names of fields are data values."""
    head, bracket, _ = _normal(kind).partition("<")
    return f"{head}<…>" if bracket else head


def _columns_fault(value: Json) -> Fault | None:
    if not isinstance(value, list) or not value or len(value) > MOST_LISTED:
        return Fault("", _COLUMNS.name, value)
    seen: set[str] = set()
    for index, entry in enumerate(value):
        fault = _entry_fault(entry)
        if fault:
            return Fault(f"[{index}]{fault.at}", fault.expected, fault.found, fault.next_step)
        if entry["name"] in seen:
            return Fault(f"[{index}].name", "a name of its own", entry["name"])
        seen.add(entry["name"])
    return None


def _entry_fault(entry: Json) -> Fault | None:
    if not isinstance(entry, dict):
        return Fault("", "an object with name, type and nullable", entry)
    for key in entry:
        if key not in ("name", "type", "nullable"):
            return Fault(f".{key}", "absent", entry[key], near(key, ("name", "type", "nullable")))
    for key in ("name", "type"):
        fault = TEXT.fault(entry.get(key))
        if fault:
            return Fault(f".{key}", fault.expected, fault.found)
    nullable = entry.get("nullable")
    if nullable is not None and BOOLEAN.fault(nullable):
        return Fault(".nullable", BOOLEAN.name, nullable)
    return _type_fault(entry["type"])


def _type_fault(kind: str) -> Fault | None:
    normal = _normal(kind)
    if normal in _SIMPLE or _COMPOSED.fullmatch(normal):
        return None
    hint = near(normal, _SIMPLE | {"timestamp[us]", "timestamp[us, tz=UTC]"})
    return Fault(".type", "an Arrow type, such as int64, double or timestamp[us]", kind, hint)


_COLUMNS: Final = Form(
    "a list of columns, each with name, type and nullable", "list of object", _columns_fault
)


def _line(kwargs: Mapping[str, Json]) -> str:
    order = "in this order" if kwargs["ordered"] else "in any order"
    number = count(len(kwargs["columns"]), "column")
    return f"the table has exactly {number}, {order}, of the types and nullability given"


SPECS: Final = (
    Spec(
        type="expect_table_schema_to_equal",
        shape=Shape.TABLE,
        summary="""The table has exactly these columns, by name, order, Arrow type and
nullability.

Files are judged by their own schema, or by the types that were inferred where they have
none. Widths of offsets and of dictionary codes are no part of a type (large_string is
string). nullable, where given, must be what the file's schema says. With ordered false the
order is free. In a pandas frame, less can be seen: integers with gaps may be floats, a column
without values may be of any type, precision of decimals and types inside of nested values are
not compared, and nullable false only means that no value is missing. A difference fails also
in a table without rows; without a difference such a table is unknown.""",
        arguments=(
            Argument(
                name="columns",
                form=_COLUMNS,
                explanation="name, type (Arrow), nullable of each column",
            ),
            Argument(
                name="ordered",
                form=BOOLEAN,
                required=False,
                default=True,
                explanation="whether the order matters",
            ),
        ),
        ask=_ask,
        line=_line,
    ),
)
"""The types of this family."""
