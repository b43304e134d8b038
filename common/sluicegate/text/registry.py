"""Rules by name: the words that configuration, suites and check ids use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.text.base import TextRule

__all__ = ["DEFAULT_RULES", "RULES", "kinds_of", "rule"]

_CLASSES: Final[Mapping[str, str]] = {
    "hidden_characters": "sluicegate.text.hidden:HiddenCharacters",
    "mixed_scripts": "sluicegate.text.scripts:MixedScripts",
    "spreadsheet_formulas": "sluicegate.text.formulas:SpreadsheetFormulas",
    "active_markup": "sluicegate.text.markup:ActiveMarkup",
    "secrets": "sluicegate.text.secrets:Secrets",
    "prompt_injection": "sluicegate.text.prompts:PromptInjection",
    "personal_data": "sluicegate.text.personal:PersonalData",
    "urls": "sluicegate.text.urls:Urls",
}
RULES: Final[tuple[str, ...]] = tuple(_CLASSES)
"""Names of all rules."""

DEFAULT_RULES: Final[tuple[str, ...]] = RULES[:5]
"""Those that are asked where none is named. Not the last three: orders to a model matter where
text goes to one, and take a while to look for; personal data is what many a data set is about;
which addresses are welcome only the owner of the data knows."""


def rule(name: str, **options: Any) -> TextRule:
    """Return a rule.

    Args:
        name: one of :data:`RULES`.
        **options: fields of its class. Every rule has ``kinds``, those of its kinds that are
            asked about (all, if empty); ``urls`` has ``domains`` and ``schemes``. Lists become
            tuples, so that options can come from JSON.

    Raises:
        ConfigurationError: no such rule or option, or a value that it cannot have.
    """
    kind = _class(name)
    known = [field.name for field in fields(kind)]
    for option in options:
        if option not in known:
            raise ConfigurationError(
                f"the rule {name} has no option {option!r}",
                next_step=f"options: {', '.join(known)}",
            )
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.items()
    }
    for key, value in values.items():
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(f"the rule {name}: {key} is a list of texts")
    try:
        made: TextRule = kind(**values)
    except TypeError as error:
        raise ConfigurationError(f"the rule {name} lacks an option: {error}") from error
    return made


def kinds_of(name: str) -> tuple[str, ...]:
    """Return all kinds of marks that a rule can make.

    Raises:
        ConfigurationError: no such rule.
    """
    found: tuple[str, ...] = _class(name).known_kinds
    return found


@cache
def _class(name: str) -> Any:
    target = _CLASSES.get(name)
    if target is None:
        raise ConfigurationError(
            f"there is no rule {name!r} about texts", next_step=f"rules: {', '.join(RULES)}"
        )
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
