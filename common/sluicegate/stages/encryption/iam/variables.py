"""Policy variables: ``${aws:username}``, ``${key, 'default'}`` and the escapes of wildcards.

Source: AWS IAM User Guide, "IAM policy elements: Variables and tags".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sluicegate.stages.encryption.iam.context import Value
from sluicegate.stages.encryption.iam.glob import escaped

__all__ = ["FRESH", "resolve", "variables_of"]

FRESH: Final = "zq7"
"""A value that no policy is likely to name."""

_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_NAMED: Final = re.compile(r"\s*([^,'\s]+)\s*(?:,\s*'([^']*)'\s*)?")
_ESCAPES: Final = ("*", "?", "$")


def variables_of(text: str) -> set[str]:
    """Return the keys of the variables in a text, in lower case."""
    found = (_NAMED.fullmatch(inner) for inner in _VARIABLE.findall(text) if inner not in _ESCAPES)
    return {match.group(1).lower() for match in found if match}


def resolve(text: str, values: Mapping[str, Value]) -> str | None:
    """Put the values of variables into a text.

    Returns:
        The text, in which what came from a variable is not wild; None if a variable has no
        value, no default, or several values: then nothing matches it.
    """
    unresolved = False

    def replace(match: re.Match[str]) -> str:
        nonlocal unresolved
        inner = match.group(1)
        if inner in _ESCAPES:
            return escaped(inner)
        named = _NAMED.fullmatch(inner)
        value = values.get(named.group(1).lower()) if named else None
        if value is not None and len(value) == 1:
            return escaped(value[0])
        if named and value is None and named.group(2) is not None:
            return escaped(named.group(2))
        unresolved = True
        return ""

    result = _VARIABLE.sub(replace, text)
    return None if unresolved else result
