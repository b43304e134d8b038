"""The types that Great Expectations knows, and what each takes, without importing it.

Importing Great Expectations costs seconds and hundreds of megabytes, and it says what is
wrong with a suite only one expectation at a time. The table in ``gx_types.py`` was written
from the library itself, so that a suite is checked completely before anything is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.suites.gx_types import GX_TYPES

__all__ = ["CATALOGUE", "PARSERS", "Argument", "arguments_of"]

PARSERS: Final = ("great_expectations", "great_expectations__experimental__", "pandas", "spark")
"""Dialects of row conditions that are text. Source: ``condition_parser`` of GX 1.24.1."""

CATALOGUE: Final = frozenset(GX_TYPES)
"""All types of GX itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a type."""

    name: str
    kind: str
    """What it takes: a word that :mod:`~sluicegate.stages.validation.suites.arguments` knows,
    or choices separated by ``|``."""
    required: bool
    nullable: bool
    """Whether null may stand for it."""
    default: Json = None


@cache
def arguments_of(kind: str) -> Mapping[str, Argument]:
    """Return the arguments of a type of GX, by name.

    Raises:
        KeyError: not a type of GX itself.
    """
    parsed = [_argument(text) for text in GX_TYPES[kind].split("; ")]
    return {one.name: one for one in parsed}


def _argument(text: str) -> Argument:
    declared, _, default = text.partition(" = ")
    name, kind = declared.split(" ")
    return Argument(
        name=name.rstrip("!?"),
        kind=kind,
        required=name.endswith("!"),
        nullable=name.endswith("?"),
        default=json.loads(default) if default else None,
    )
