"""The catalogue of Great Expectations' types, made of the installed library itself.

python scripts/gx_catalogue.py            print it
python scripts/gx_catalogue.py --write    put it into the package

Run it after an update of Great Expectations; a test says when the file is out of date.
"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

from sluicegate.stages.validation.suites.parse import MISPLACED_KWARGS, RUNTIME_KWARGS

MODULE = (
    Path(__file__).resolve().parents[1] / "common/sluicegate/stages/validation/suites/gx_types.py"
)
INHERITED = {*MISPLACED_KWARGS, *RUNTIME_KWARGS, "windows", "library_metadata"}

HEADER = '''\
"""Types of Great Expectations {version} and their arguments: written by scripts/gx_catalogue.py.

Each argument is ``name kind``, separated by ``; ``. A name that ends in ``!`` is required, one
that ends in ``?`` takes null. ``catalogue.py`` reads this and says what the kinds mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["GX_TYPES", "GX_VERSION"]

GX_VERSION: Final = "{version}"
"""The release that was asked."""

GX_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {{
{entries}
    }}
)
"""Arguments by type."""
'''


def module() -> str:
    """Return the text of the module for the installed release."""
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL + 1)
    import great_expectations

    entries = "\n".join(_entry(name, kind) for name, kind in sorted(_types().items()))
    return HEADER.format(version=great_expectations.__version__, entries=entries)


def _types() -> dict[str, Any]:
    from great_expectations.expectations import core
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    names = list_registered_expectation_implementations()
    types = {name: get_expectation_impl(name) for name in names}
    # Those of GX itself, and none that something else in this process has registered.
    return {name: kind for name, kind in types.items() if kind.__module__.startswith(core.__name__)}


def _entry(name: str, kind: Any) -> str:
    arguments = [
        f"{argument}{'!' if field.required else '?' if field.allow_none else ''} "
        f"{_kind(argument, field)}{_default(field)}"
        for argument, field in kind.__fields__.items()
        if argument not in INHERITED
    ]
    whole = "; ".join(arguments)
    # As the formatter of this project leaves it: one line where it fits.
    fits = len(whole) <= 86
    lines = [whole] if fits else textwrap.wrap(whole, 85, break_on_hyphens=False)
    texts = [f"{line} " for line in lines[:-1]] + lines[-1:]
    if len(name) + len(texts[0]) < 85 and len(texts) == 1:
        return f'        "{name}": {_quoted(texts[0])},'
    body = "\n".join(f"            {_quoted(text)}" for text in texts)
    return f'        "{name}": (\n{body}\n        ),'


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text else f'"{text}"'


def _default(field: Any) -> str:
    if field.required or field.default is None:
        return ""
    return f" = {json.dumps(field.default)}"


def _kind(argument: str, field: Any) -> str:
    """Return the word of this project for what a field takes."""
    if argument in _NAMED:
        return _NAMED[argument]
    for number in _numbers(field):
        return number
    choices = [one for part in _parts(field) for one in typing.get_args(part) if _literal(part)]
    if choices:
        return "|".join(choices)
    if argument in ("column_list", "column_set"):
        # Two columns at least where rows are compared across them.
        return "columns" if argument == "column_list" and field.required else "names"
    written = " ".join(str(part) for part in _parts(field))
    for pattern, word in _WORDS.items():
        if pattern in written:
            return word
    raise SystemExit(f"{argument}: no word for {written}")


_NAMED = {
    "row_condition": "condition",
    "condition_parser": "parser",
    "regex": "regex",
    "regex_list": "regexes",
    "strftime_format": "strftime",
    "escape": "character",
    "unexpected_rows_query": "query",
}
"""Arguments whose meaning is narrower than their type."""

_WORDS = {
    "QuantileRange": "quantiles",
    "typing.Tuple": "pairs",
    "List[str]": "texts",
    "typing.List": "values",
    "datetime.date'": "bound",
    "datetime.date ": "bound",
    "'bool'> <class 'str'>": "flag_or_text",
    "'float'": "number",
    "'int'": "integer",
    "'bool'": "flag",
    "StrictStr": "column",
    "'str'": "text",
    "'dict'": "object",
}
"""What a field's types are written with, and the word: the first that occurs decides."""


def _numbers(field: Any) -> list[str]:
    """Return the word for a number with limits."""
    limited = [one for one in _parts(field) if getattr(one, "ge", None) is not None]
    return ["share" if one.le == 1 else "not_negative" for one in limited]


def _parts(field: Any) -> list[Any]:
    """Return the alternatives of a field, without annotations."""
    outer = field.outer_type_
    if typing.get_origin(outer) is typing.Annotated:
        outer = typing.get_args(outer)[0]
    union = typing.get_origin(outer) is typing.Union
    return list(typing.get_args(outer)) if union else [outer]


def _literal(part: Any) -> bool:
    return typing.get_origin(part) is typing.Literal


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        MODULE.write_text(module())
    else:
        sys.stdout.write(module())
