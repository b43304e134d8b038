"""Suite files: Great Expectations JSON or YAML, and data contracts, read strictly.

GX drops an expectation that it does not understand and validates the rest. Here a suite is
understood completely or refused, without importing GX: every key is known, every value is of
its type, and every refusal says where, what was expected, what was found, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.suites.contracts import is_contract, read_contract
from sluicegate.stages.validation.suites.documents import Document, read_document
from sluicegate.stages.validation.suites.entries import (
    MISPLACED_KWARGS,
    RUNTIME_KWARGS,
    Entry,
    read_entry,
)
from sluicegate.stages.validation.suites.model import (
    Expectation,
    Suite,
    SuiteError,
    Unasked,
    refusal,
    shown,
)
from sluicegate.stages.validation.suites.problems import Problems
from sluicegate.stages.validation.suites.shape import known_keys, plain_values

__all__ = ["MISPLACED_KWARGS", "RUNTIME_KWARGS", "Examined", "examine_suite", "parse_suite"]

SUITE_KEYS = ("name", "id", "expectations", "suite_parameters", "meta", "notes")
"""What GX writes at the top. Source: ``ExpectationSuiteSchema`` of GX 1.24.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was found in a suite file."""

    suite: Suite | None
    """The suite, if there are no problems."""
    problems: tuple[ConfigurationError, ...]
    """All that is wrong with it, in file order as far as possible; at most a hundred."""


def parse_suite(
    data: bytes, *, name: str = "", sql: bool = False, table: str = "", plugins: bool = False
) -> Suite:
    """Read a suite file.

    Args:
        data: the file's bytes, UTF-8 encoded: GX JSON, the same as YAML, or a data contract
            of the Open Data Contract Standard. Its content decides which.
        name: its file name, if there is one: ``.yaml`` and ``.yml`` say that it is YAML.
        sql: the policy allows SQL that a suite holds. Such expectations are marked, and only
            a data source that speaks SQL can answer them.
        table: which schema object of a data contract the data is; not needed if it has one.
        plugins: types that nobody here knows are those of plug-ins: GX, which imports them, is
            asked about them before anything else.

    Raises:
        ConfigurationError: neither JSON nor YAML, not the shape that GX writes, nothing
            asked, something asked in vain, or something that would execute code, SQL or
            network access.
    """
    examined = examine_suite(data, name=name, sql=sql, table=table, plugins=plugins)
    if examined.suite is None:
        raise examined.problems[0]
    return examined.suite


def examine_suite(
    data: bytes, *, name: str = "", sql: bool = False, table: str = "", plugins: bool = False
) -> Examined:
    """Read a suite file and return all that is wrong with it; see :func:`parse_suite`.

    Raises:
        MissingExtraError: it is a data contract, and the library for those is missing.
    """
    problems = Problems()
    document = problems.attempt(read_document, data, name=name)
    suite = (
        _suite(document, problems, sql=sql, table=table, plugins=plugins)
        if document is not None
        else None
    )
    found = [_placed(error, document) for error in problems.found]
    return Examined(suite=None if found else suite, problems=tuple(found))


def _placed(error: ConfigurationError, document: Document | None) -> ConfigurationError:
    """Say where in the file it is, where the file has lines that people count."""
    place = document.place(error.path) if document and isinstance(error, SuiteError) else ""
    if not place:
        return error
    return ConfigurationError(f"{error.what} ({place})", next_step=error.next_step)


def _suite(
    document: Document, problems: Problems, *, sql: bool, table: str, plugins: bool
) -> Suite | None:
    with problems.until_enough():
        value = document.value
        if not isinstance(value, dict):
            problems.add(refusal("the suite", "$", "an object", shown(value)))
            return None
        if is_contract(value):
            contract = read_contract(value, problems, sql=sql, table=table)
            asked = _expectations(contract.entries, problems, sql=sql, plugins=plugins)
            return _together(contract.name, asked, contract.unasked)
        name, entries = _gx(value, problems)
        if table:
            problems.add(refusal("the suite", "$", "a data contract, which has tables",
                                 "a GX suite", next_step="leave the table out"))  # fmt: skip
        return _together(name, _expectations(entries, problems, sql=sql, plugins=plugins), ())
    return None


def _together(
    name: str, asked: tuple[Expectation, ...], unasked: tuple[Unasked, ...]
) -> Suite | None:
    return Suite(name=name, expectations=asked, unasked=unasked) if asked else None


def _gx(top: Mapping[str, Json], problems: Problems) -> tuple[str, tuple[Entry, ...]]:
    known_keys(top, SUITE_KEYS, "the suite", "$", problems)
    problems.attempt(plain_values, {"meta": top.get("meta")}, "the suite", "$")
    for key, kind in (("id", str), ("meta", dict)):
        if not isinstance(top.get(key), kind | None):
            problems.add(refusal("the suite", f"$.{key}",
                                 "text or null" if kind is str else "an object or null",
                                 shown(top[key])))  # fmt: skip
    name = top.get("name")
    if not isinstance(name, str) or not name:
        problems.add(refusal("the suite", "$.name", "text that is not empty", shown(name)))
    if top.get("suite_parameters"):
        problems.add(
            refusal(
                "the suite",
                "$.suite_parameters",
                "absent or empty",
                shown(top["suite_parameters"]),
                next_step="write the values into the expectations: parameters would let a run "
                "change the questions that a receipt vouches for",
            )
        )
    listed = top.get("expectations")
    if not isinstance(listed, list) or not listed:
        problems.add(
            refusal(
                "the suite",
                "$.expectations",
                "a list of at least one expectation",
                shown(listed),
                next_step="an empty suite asks nothing: add expectations, or remove the stage",
            )
        )
        return str(name), ()
    return str(name), tuple(
        Entry(value=value, path=f"$.expectations[{index}]") for index, value in enumerate(listed)
    )


def _expectations(
    entries: tuple[Entry, ...], problems: Problems, *, sql: bool, plugins: bool
) -> tuple[Expectation, ...]:
    parsed: list[Expectation] = []
    ids: dict[str, int] = {}
    for index, entry in enumerate(entries):
        one = read_entry(index, entry, problems, sql=sql, plugins=plugins)
        if one is None:
            continue
        if one.id and ids.setdefault(one.id, one.index) != one.index:
            problems.add(
                refusal(
                    one.where,
                    f"{entry.path}.id",
                    "an id of its own",
                    f"the id of expectations[{ids[one.id]}]",
                    next_step="remove the id, or give another",
                )
            )
        parsed.append(one)
    return tuple(parsed)
