"""What an expectation type takes: names, kinds, defaults, and what is wrong with a value.

A misspelt or malformed argument is refused where the suite is read, with its place and the
nearest name that exists: an expectation that is dropped, or asked differently than its owner
meant, is a hole that nobody sees.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError

__all__ = [
    "AROUND",
    "BOOLEAN",
    "CATEGORY",
    "COLUMN",
    "CONFIDENCE",
    "MOSTLY",
    "MOST_LISTED",
    "NOT_NEGATIVE",
    "NUMBER",
    "POSITIVE",
    "SHARE",
    "SHARES_BY_LABEL",
    "TEXT",
    "Argument",
    "Fault",
    "Form",
    "check",
    "chosen",
    "complete",
    "is_number",
    "listed",
    "near",
    "refuse",
    "repeated",
]

AROUND: Final = frozenset(
    {"row_condition", "condition_parser", "batch_id", "catch_exceptions", "result_format"}
)
"""Arguments that GX has for every expectation on columns. They say which rows are meant and
how to report, and are read elsewhere."""

MOST_LISTED: Final = 100_000
"""Most items of one list: a longer list of categories is no category any more."""

_SHOWN: Final = 80
"""Most characters of a wrong value that a message repeats."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the arguments."""

    at: str
    """Where, below the arguments: ``.shares[2]``."""
    expected: str
    """What would do."""
    found: Json
    """What is there."""
    next_step: str = ""
    """What its owner can do, where that is not obvious."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A kind of value."""

    name: str
    """In words: "a number"."""
    holds: str
    """What JSON has for it: ``text``, ``number``, ``boolean``, ``scalar``, ``object``, or
    ``list of`` one of these."""
    fault: Callable[[Json], Fault | None]
    """What is wrong with a value, by its place in the value; None for a right one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of an expectation type."""

    name: str
    form: Form
    explanation: str
    """One phrase, for people."""
    required: bool = True
    default: Json = None
    """What holds if it is left out."""

    @property
    def kind(self) -> str:
        """What it must be, in words."""
        return self.form.name


def complete(arguments: Collection[Argument], kwargs: Mapping[str, Json]) -> dict[str, Json]:
    """Return all arguments with their defaults, without what is the same for every type."""
    given = {key: value for key, value in kwargs.items() if value is not None}
    return {one.name: given.get(one.name, one.default) for one in arguments}


def check(
    kind: str, arguments: Collection[Argument], kwargs: Mapping[str, Json], *, table: bool
) -> Fault | None:
    """Return what is wrong with arguments, one by one, or None.

    Args:
        kind: the expectation type.
        arguments: what it takes.
        kwargs: what it was given.
        table: whether it asks about a whole table, which takes no row condition.
    """
    known = {one.name: one for one in arguments}
    for name in kwargs:
        if name not in known and (table or name not in AROUND):
            hint = near(name, known) or f"{kind} takes {', '.join(known)}"
            return Fault(f".{name}", "absent", kwargs[name], hint)
    for one in arguments:
        value = kwargs.get(one.name)
        if value is None:
            if one.required:
                return Fault(f".{one.name}", f"{one.kind}: {one.explanation}", None)
            continue
        fault = one.form.fault(value)
        if fault:
            return Fault(f".{one.name}{fault.at}", fault.expected, fault.found, fault.next_step)
    return None


def refuse(kind: str, path: str, fault: Fault) -> ConfigurationError:
    """Return the error for a fault.

    Args:
        kind: the expectation type.
        path: where its arguments are in the suite file.
        fault: what is wrong with them.
    """
    found = "nothing" if fault.found is None else json.dumps(fault.found, default=repr)
    shown = found if len(found) <= _SHOWN else f"{found[: _SHOWN - 3]}..."
    return ConfigurationError(
        f"validation suite, {kind}: {path}{fault.at} must be {fault.expected}; found {shown}",
        next_step=fault.next_step or "correct the arguments in the suite file",
    )


def near(name: str, known: Collection[str]) -> str:
    """Return ``did you mean …?`` for a misspelt name, or nothing."""
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {found[0]!r}?" if found else ""


def is_number(value: Json) -> bool:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def repeated(values: Collection[Json]) -> bool:
    """Whether a value is listed twice. 1 and 1.0 are one value; true is another."""
    return len({(isinstance(one, bool), one) for one in values}) < len(values)


def _plain(name: str, holds: str, accepts: Callable[[Json], bool]) -> Form:
    return Form(name, holds, lambda value: None if accepts(value) else Fault("", name, value))


def listed(form: Form, *, least: int = 1, name: str = "") -> Form:
    """Return the kind of lists of values of another kind.

    Args:
        form: of each item.
        least: fewest items.
        name: what to call it.
    """
    called = name or f"a list, each item {form.name}"

    def fault(value: Json) -> Fault | None:
        if not isinstance(value, list) or len(value) < least:
            return Fault("", f"{called}, of at least {least}", value)
        if len(value) > MOST_LISTED:
            return Fault("", f"{called}, of at most {MOST_LISTED}", f"{len(value)} items")
        for index, item in enumerate(value):
            wrong = form.fault(item)
            if wrong:
                return Fault(f"[{index}]{wrong.at}", wrong.expected, wrong.found, wrong.next_step)
        return None

    return Form(called, f"list of {form.holds}", fault)


def chosen(words: Collection[str], what: str) -> Form:
    """Return the kind of texts that are one of some words."""

    def fault(value: Json) -> Fault | None:
        if isinstance(value, str) and value in words:
            return None
        hint = near(value, words) if isinstance(value, str) else ""
        return Fault("", f"{what}: one of {', '.join(sorted(words))}", value, hint)

    return Form(what, "text", fault)


def _scalar(value: Json) -> bool:
    return isinstance(value, str | bool) or is_number(value)


def _shares(value: Json) -> Fault | None:
    name = SHARES_BY_LABEL.name
    if not isinstance(value, dict) or not value:
        return Fault("", name, value)
    if len(value) > MOST_LISTED:
        return Fault("", f"{name}, of at most {MOST_LISTED} labels", f"{len(value)} labels")
    for label, share in value.items():
        if not (is_number(share) and 0 <= share <= 1):
            return Fault(f".{label[:_SHOWN]}", SHARE.name, share)
    return None


TEXT: Final = _plain(
    "text that is not empty", "text", lambda one: isinstance(one, str) and bool(one)
)
BOOLEAN: Final = _plain("true or false", "boolean", lambda one: isinstance(one, bool))
NUMBER: Final = _plain("a number", "number", is_number)
NOT_NEGATIVE: Final = _plain(
    "a number, not negative", "number", lambda one: is_number(one) and one >= 0
)
POSITIVE: Final = _plain("a number above 0", "number", lambda one: is_number(one) and one > 0)
SHARE: Final = _plain(
    "a number from 0 to 1", "number", lambda one: is_number(one) and 0 <= one <= 1
)
PART: Final = _plain(
    "a number above 0 and at most 1", "number", lambda one: is_number(one) and 0 < one <= 1
)
CONFIDENCE: Final = _plain(
    "a number above 0 and below 1", "number", lambda one: is_number(one) and 0 < one < 1
)
CATEGORY: Final = _plain("text, a number, true or false", "scalar", _scalar)
SHARES_BY_LABEL: Final = Form("an object of shares by label, each from 0 to 1", "object", _shares)

COLUMN: Final = Argument(name="column", form=TEXT, explanation="the column to examine")
MOSTLY: Final = Argument(
    name="mostly",
    form=PART,
    required=False,
    default=1.0,
    explanation="share of the present values that must be as expected",
)
