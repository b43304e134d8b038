"""Expectations about texts: the rules of :mod:`sluicegate.text`, one type each.

An expectation of this family finds exactly what the rule of its name finds, so what is caught
and what is left alone is said there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.expectations.arguments import (
    COLUMN,
    MOSTLY,
    TEXT,
    Argument,
    Fault,
    Form,
    chosen,
    listed,
)
from sluicegate.stages.validation.expectations.literals import comparable, is_text
from sluicegate.stages.validation.expectations.measures import Marked
from sluicegate.stages.validation.expectations.questions import Untold, ValuesQuestion
from sluicegate.stages.validation.expectations.spec import Column, Question, Rows, Shape, Spec
from sluicegate.text import kinds_of, rule

if TYPE_CHECKING:
    from sluicegate.text.base import TextRule

__all__ = ["SPECS"]

_COMMON: Final = """ A value with any such mark counts once; the answer counts rows by kind
of mark. Missing values are left out. Unknown if the column holds no text, every value is
missing, or there is no row."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What the types have in common: all but the name of the rule and its options."""

    rule: str
    options: tuple[str, ...]

    def made(self, kwargs: Mapping[str, Json]) -> TextRule:
        """Return the rule that arguments ask for."""
        given = {key: kwargs[key] for key in self.options if kwargs[key] is not None}
        return rule(self.rule, **given)

    def ask(
        self, kwargs: Mapping[str, Json], columns: Mapping[str, Column], rows: Rows
    ) -> Question:
        """Return the question about a column."""
        column = columns[kwargs["column"]]
        if not is_text(column):
            return Untold.of(column, rows, "the column holds no text")
        marked = Marked(column.name, comparable(column), self.made(kwargs), rows)
        return ValuesQuestion(marked, kwargs["mostly"])

    def fault(self, kwargs: Mapping[str, Json]) -> Fault | None:
        """Return what the rule itself refuses, or None."""
        try:
            self.made(kwargs)
        except ConfigurationError as error:
            return Fault("", f"what the rule {self.rule} takes", error.what, error.next_step)
        return None


def _kinds(name: str) -> Form:
    """Return the kind of lists of kinds of marks; which there are, the rule knows."""

    def fault(value: Json) -> Fault | None:
        return listed(chosen(kinds_of(name), "a kind of mark")).fault(value)

    return Form("a list of kinds of marks", "list of text", fault)


def _spec(kind: str, name: str, about: str, what: str, *options: Argument) -> Spec:
    arguments = (
        COLUMN,
        *options,
        Argument(
            name="kinds",
            form=_kinds(name),
            required=False,
            explanation="kinds of marks to look for, instead of all",
        ),
        MOSTLY,
    )
    family = _Family(name, (*(option.name for option in options), "kinds"))

    def line(kwargs: Mapping[str, Json]) -> str:
        part = "no" if kwargs["mostly"] == 1 else f"at most {1 - kwargs['mostly']:.10g} of the"
        only = f" ({', '.join(kwargs['kinds'])})" if kwargs["kinds"] else ""
        allowed = f" outside of {', '.join(kwargs['domains'])}" if "domains" in kwargs else ""
        return f"{part} values of {kwargs['column']!r} hold {about}{allowed}{only}"

    return Spec(
        type=kind,
        shape=Shape.ROWS,
        summary=f"{what}{_COMMON}",
        arguments=arguments,
        ask=family.ask,
        line=line,
        fault=family.fault,
    )


SPECS: Final = (
    _spec(
        "expect_column_values_to_have_no_hidden_characters",
        "hidden_characters",
        "characters that are not shown",
        """No text holds characters that are not shown: zero-width, bidirectional controls,
tags, other controls.""",
    ),
    _spec(
        "expect_column_values_to_have_no_mixed_scripts",
        "mixed_scripts",
        "words that mix alphabets",
        "No text holds a word that mixes alphabets whose letters look alike.",
    ),
    _spec(
        "expect_column_values_to_have_no_spreadsheet_formulas",
        "spreadsheet_formulas",
        "spreadsheet formulas",
        "No text is a formula to a spreadsheet that opens it.",
    ),
    _spec(
        "expect_column_values_to_have_no_active_markup",
        "active_markup",
        "active markup",
        "No text holds markup that a browser would execute.",
    ),
    _spec(
        "expect_column_values_to_have_no_secrets",
        "secrets",
        "keys, tokens or passwords",
        "No text holds a key, token or password.",
    ),
    _spec(
        "expect_column_values_to_have_no_personal_data",
        "personal_data",
        "personal data",
        "No text holds an address or a number of a person.",
    ),
    _spec(
        "expect_column_values_to_have_no_prompt_injection",
        "prompt_injection",
        "orders to a language model",
        """No text gives orders to a language model, in the open or in disguise. A tripwire:
what it does not find is not clean.""",
    ),
    _spec(
        "expect_column_urls_to_be_allowed",
        "urls",
        "addresses",
        """Every address (URL) in a text has a scheme and a domain of the allow-lists, and none
pretends to. A domain stands for itself and all below it.""",
        Argument(
            name="domains",
            form=listed(TEXT),
            explanation="domains that are allowed",
        ),
        Argument(
            name="schemes",
            form=listed(TEXT),
            required=False,
            default=["https"],
            explanation="schemes that are allowed",
        ),
    ),
)
"""The types of this family."""
