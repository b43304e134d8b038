"""JSON Schema, compiled once.

Great Expectations checks the schema and builds a validator for every cell. Here it happens
once, and each different text is judged once. Where a schema holds only keywords that mean the
same to both, the validator in Rust judges; numbers that JSON libraries read differently, and
all other schemas, are for the one that GX uses, ``jsonschema``.

Source: JSON Schema drafts 6, 7, 2019-09 and 2020-12; ``format`` is not asserted, as by
``jsonschema.validate``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from sluicegate.stages.validation.scan.base import Unclaimed
from sluicegate.stages.validation.scan.claims.regular import translate

__all__ = ["compiled"]

_SCHEMAS: Final = frozenset(
    {"not", "if", "then", "else", "items", "additionalProperties", "contains", "propertyNames"}
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPPINGS: Final = frozenset({"properties"})
_PLAIN: Final = frozenset(
    {
        "$schema",
        "title",
        "description",
        "type",
        "required",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
    }
)
"""Keywords that mean the same to both validators."""

_ONE_DIALECT: Final = re.compile(
    r"https?://json-schema\.org/(?:draft-0[67]/schema|draft/20(?:19-09|20-12)/schema)#?"
)
_UNCERTAIN: Final = re.compile(r"[0-9]{16}|[0-9][eE]|NaN|Infinity|\\u|[0-9.]{20}")
"""Texts whose numbers or surrogates JSON libraries may read differently."""

_SHORT: Final = 1 << 20
_DEEPEST: Final = 100
_EXACT: Final = 1 << 53


def compiled(schema: Any) -> Callable[[str], bool]:
    """Return a function that says whether a text is JSON that follows a schema.

    The function raises ``ValueError`` for what is no JSON: GX then fails as a whole.

    Raises:
        Unclaimed: the schema is none, or refers to something else.
    """
    import jsonschema  # type: ignore[import-untyped]

    if not isinstance(schema, dict):
        raise Unclaimed("json_schema is not an object")
    kind = jsonschema.validators.validator_for(schema)
    try:
        kind.check_schema(schema)
    except (jsonschema.SchemaError, RecursionError):
        raise Unclaimed("json_schema is not a JSON schema") from None
    slow = kind(schema)
    if not _same_meaning(schema, 0, top=True):
        return lambda text: bool(slow.is_valid(_loaded(text)))
    return _fast(schema, slow)


def _fast(schema: dict[str, Any], slow: Any) -> Callable[[str], bool]:
    try:
        import jsonschema_rs
    except ImportError:
        return lambda text: bool(slow.is_valid(_loaded(text)))
    fast = jsonschema_rs.validator_for(schema, validate_formats=False)

    def valid(text: str) -> bool:
        value = _loaded(text)
        judge = slow if _UNCERTAIN.search(text) else fast
        return bool(judge.is_valid(value))

    return valid


def _loaded(text: str) -> Any:
    if len(text) > _SHORT:
        raise ValueError("a text of many characters")
    return json.loads(text)


def _same_meaning(schema: Any, depth: int, *, top: bool = False) -> bool:
    """Whether a schema holds only what both validators understand alike."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False
    return all(_same_keyword(key, value, depth, top=top) for key, value in schema.items())


def _same_keyword(key: str, value: Any, depth: int, *, top: bool) -> bool:
    if key == "$schema":
        return top and isinstance(value, str) and bool(_ONE_DIALECT.fullmatch(value))
    if key in _SCHEMAS:
        return _same_meaning(value, depth + 1)
    if key in _LISTS:
        return isinstance(value, list) and all(_same_meaning(one, depth + 1) for one in value)
    if key in _MAPPINGS:
        return all(_same_meaning(one, depth + 1) for one in value.values())
    if key == "enum":
        return all(_is_scalar(one) for one in value)
    if key == "const":
        return _is_scalar(value)
    if key == "pattern":
        return _same_pattern(value)
    return key in _PLAIN and not (isinstance(value, int | float) and abs(value) >= _EXACT)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _EXACT
    return value is None or isinstance(value, str | bool)


def _same_pattern(pattern: str) -> bool:
    """Whether ECMA regular expressions and Python's say the same here."""
    try:
        plain = translate(pattern)
    except Unclaimed:
        return False
    return not plain.ascii_only and plain.strict == plain.loose and "\\" not in pattern
