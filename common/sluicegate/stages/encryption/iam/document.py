"""Reading a policy: the full grammar of resource policies, and nothing that is not in it.

Scalars and lists, a statement as an object, values that are JSON booleans or numbers: all
are read into one form. What AWS would refuse is refused here too, with the place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.canonical import parse_json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.iam.operators import Operator, parse_operator

__all__ = ["Condition", "PolicyDocument", "Principals", "Selection", "Statement", "parse_policy"]

_STATEMENT_KEYS: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_PRINCIPAL_KINDS: Final = ("AWS", "Service", "Federated", "CanonicalUser")
_WITH_VARIABLES: Final = "2012-10-17"
"""The only version in which ``${…}`` is a variable; before, it is text."""
_VERSIONS: Final = (_WITH_VARIABLES, "2008-10-17")
_MAX_STATEMENTS: Final = 2_000
"""A bucket policy has 20 KB, a key policy 32 KB: no real one comes near."""


@dataclass(frozen=True, slots=True)
class Selection:
    """``Action`` or ``Resource``, or the ``Not`` form of it."""

    patterns: tuple[str, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Principals:
    """``Principal`` or ``NotPrincipal``."""

    everyone: bool
    """It holds ``*``, which also includes anonymous callers."""
    members: frozenset[tuple[str, str]]
    """Pairs of kind (``AWS``, ``Service``, ``Federated``, ``CanonicalUser``) and value."""
    negated: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One key under one operator; all conditions of a statement must hold."""

    operator: Operator
    key: str
    """In lower case: keys ignore it."""
    written: str
    """The key as the policy writes it."""
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement."""

    place: str
    """Where it stands, for messages: ``Statement[0]``."""
    allows: bool
    principals: Principals
    actions: Selection
    resources: Selection
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy that is attached to a resource."""

    statements: tuple[Statement, ...]
    variables: bool
    """Whether ``${…}`` is a variable in it."""


def parse_policy(source: str | bytes | Mapping[str, Any]) -> PolicyDocument:
    """Read a resource policy.

    Args:
        source: the JSON text, or the object that it stands for.

    Raises:
        ConfigurationError: not JSON, or not in the grammar of a resource policy; says where.
    """
    value = source if isinstance(source, Mapping) else _json(source)
    if not isinstance(value, Mapping):
        raise _wrong("the document", "an object", value)
    _check_keys(value, ("Version", "Id", "Statement"), "the document")
    version = value.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise _wrong("Version", f"{' or '.join(_VERSIONS)}", version)
    statements = value.get("Statement")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, Sequence) or isinstance(statements, str) or not statements:
        raise _wrong("Statement", "an object or a list of objects", statements)
    if len(statements) > _MAX_STATEMENTS:
        raise ConfigurationError(f"the policy has {len(statements):,} statements: too many")
    return PolicyDocument(
        tuple(_statement(one, f"Statement[{index}]") for index, one in enumerate(statements)),
        version == _WITH_VARIABLES,
    )


def _json(source: str | bytes) -> Any:
    try:
        return parse_json(source)
    except ValueError as error:
        raise ConfigurationError(
            f"the policy cannot be read: {error}",
            next_step="give the JSON that `aws s3api get-bucket-policy --query Policy "
            "--output text` prints",
        ) from error


def _statement(value: Any, place: str) -> Statement:
    if not isinstance(value, Mapping):
        raise _wrong(place, "an object", value)
    _check_keys(value, _STATEMENT_KEYS, place)
    effect = value.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise _wrong(f"{place}.Effect", "Allow or Deny", effect)
    return Statement(
        place=place,
        allows=effect == "Allow",
        principals=_principals(value, place),
        actions=_selection(value, "Action", place),
        resources=_selection(value, "Resource", place),
        conditions=_conditions(value.get("Condition", {}), f"{place}.Condition"),
    )


def _one_of(value: Mapping[str, Any], name: str, place: str) -> tuple[Any, bool]:
    """Return an element or its ``Not`` form, and whether it is that."""
    present = [key for key in (name, f"Not{name}") if key in value]
    if len(present) != 1:
        found = "both" if present else "neither"
        raise ConfigurationError(
            f"{place}: expected either {name} or Not{name}, found {found}",
            next_step="a resource policy names principal, action and resource",
        )
    return value[present[0]], present[0] != name


def _selection(value: Mapping[str, Any], name: str, place: str) -> Selection:
    found, negated = _one_of(value, name, place)
    return Selection(_texts(found, f"{place}.{'Not' if negated else ''}{name}"), negated)


def _principals(value: Mapping[str, Any], place: str) -> Principals:
    found, negated = _one_of(value, "Principal", place)
    place = f"{place}.{'NotPrincipal' if negated else 'Principal'}"
    if found == "*":
        return Principals(everyone=True, members=frozenset(), negated=negated)
    if not isinstance(found, Mapping) or not found:
        raise _wrong(place, '"*" or an object', found)
    _check_keys(found, _PRINCIPAL_KINDS, place)
    members = {(kind, text) for kind in found for text in _texts(found[kind], f"{place}.{kind}")}
    everyone = ("AWS", "*") in members
    for kind, text in sorted(members):
        if text != "*" and re.search(r"[*?]", text):
            raise ConfigurationError(
                f"{place}.{kind}: only a lone * is allowed as a wildcard in a principal",
                next_step="use a condition on aws:PrincipalArn",
            )
    return Principals(everyone=everyone, members=frozenset(members), negated=negated)


def _conditions(value: Any, place: str) -> tuple[Condition, ...]:
    if not isinstance(value, Mapping):
        raise _wrong(place, "an object", value)
    found = []
    for written, keys in value.items():
        operator = parse_operator(written)
        if operator is None:
            raise _wrong(place, "a condition operator", written)
        if not isinstance(keys, Mapping) or not keys:
            raise _wrong(f"{place}.{written}", "an object of keys", keys)
        for key, values in keys.items():
            where = f"{place}.{written}.{key}"
            found.append(Condition(operator, key.lower(), key, _texts(values, where, scalars=True)))
    return tuple(found)


def _texts(value: Any, place: str, *, scalars: bool = False) -> tuple[str, ...]:
    """Return a text or a list of texts as a tuple; with ``scalars``, also JSON scalars."""
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise _wrong(place, "at least one value", value)
    texts = []
    for item in items:
        if isinstance(item, str):
            texts.append(item)
        elif scalars and isinstance(item, bool):
            texts.append("true" if item else "false")
        elif scalars and isinstance(item, int | float):
            texts.append(repr(item))
        else:
            raise _wrong(place, "text", item)
    return tuple(texts)


def _check_keys(
    value: Mapping[str, Any], known: Sequence[str] | frozenset[str], place: str
) -> None:
    for key in value:
        if key not in known:
            raise ConfigurationError(
                f"{place}: unknown element {str(key)[:80]!r}",
                next_step=f"known are: {', '.join(sorted(known))}; names are case-sensitive",
            )


def _wrong(place: str, expected: str, found: Any) -> ConfigurationError:
    shown = f"{found!r}"[:80] if isinstance(found, str) else type(found).__name__
    return ConfigurationError(f"{place}: expected {expected}, found {shown}")
