"""Condition operators: what they compare, and what they say of a key that is absent.

Source: AWS IAM User Guide, "IAM JSON policy elements: Condition operators" and "Single-valued
vs. multivalued context keys". A negated operator holds where the key is absent, any other
does not; ``IfExists`` holds there; ``ForAllValues`` holds where there is no value and
``ForAnyValue`` does not.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Final

from sluicegate.stages.encryption.iam.glob import Glob, literal

__all__ = [
    "Family",
    "Operator",
    "Quantifier",
    "as_date",
    "as_network",
    "as_number",
    "is_readable",
    "parse_operator",
    "pattern_of",
]


class Family(Enum):
    """What kind of values an operator compares."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    ADDRESS = "address"
    PRESENCE = "presence"


class Quantifier(Enum):
    """What a set operator asks of a key with several values."""

    ONE = "one"
    EVERY = "ForAllValues"
    SOME = "ForAnyValue"


@dataclass(frozen=True, slots=True)
class Operator:
    """A condition operator."""

    name: str
    """In lower case, without prefix, suffix and ``not``: ``stringlike``."""
    family: Family
    negated: bool = False
    if_exists: bool = False
    quantifier: Quantifier = Quantifier.ONE

    def holds(self, found: Sequence[str] | None, wanted: Sequence[Glob | str | None]) -> bool:
        """Return whether a condition holds.

        Args:
            found: values of the key in the request; None where it is absent.
            wanted: the policy's values: patterns for texts, text for the rest; None for one
                that no value can equal.
        """
        if self.family is Family.PRESENCE:
            return any((value == "true") == (found is None) for value in wanted)
        if found is None:
            if self.if_exists or self.quantifier is Quantifier.EVERY:
                return True
            return self.negated and self.quantifier is Quantifier.ONE
        each = [self._matches(value, wanted) is not self.negated for value in found]
        return any(each) if self.quantifier is Quantifier.SOME else all(each)

    def _matches(self, value: str, wanted: Sequence[Glob | str | None]) -> bool:
        return any(one is not None and self._compare(value, one) for one in wanted)

    def _compare(self, value: str, wanted: Glob | str) -> bool:
        if isinstance(wanted, Glob):
            return wanted.matches(value)
        if self.family is Family.BOOLEAN:
            return value.lower() == wanted.lower()
        if self.family is Family.ADDRESS:
            address, network = as_network(value), as_network(wanted)
            if address is None or network is None or address.version != network.version:
                return False
            return address.network_address in network
        number = as_date if self.family is Family.DATE else as_number
        left, right = number(value), number(wanted)
        if left is None or right is None:
            return False
        if self.name.endswith("lessthan"):
            return left < right
        if self.name.endswith("lessthanequals"):
            return left <= right
        if self.name.endswith("greaterthan"):
            return left > right
        if self.name.endswith("greaterthanequals"):
            return left >= right
        return left == right


_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
"""ISO 8601 in the forms that the W3C profile knows."""
_NETWORK: Final = re.compile(r"[0-9a-fA-F.:]{2,45}(/[0-9]{1,3})?")
"""Stricter than Python, which also reads other spellings: what is odd equals nothing."""

_NAMES: Final = {
    "stringequals": Family.TEXT,
    "stringequalsignorecase": Family.TEXT,
    "stringlike": Family.TEXT,
    "arnequals": Family.TEXT,
    "arnlike": Family.TEXT,
    "binaryequals": Family.TEXT,
    **{
        f"{family.value if family is Family.DATE else 'numeric'}{comparison}": family
        for family in (Family.NUMBER, Family.DATE)
        for comparison in (
            "equals",
            "lessthan",
            "lessthanequals",
            "greaterthan",
            "greaterthanequals",
        )
    },
    "bool": Family.BOOLEAN,
    "ipaddress": Family.ADDRESS,
    "null": Family.PRESENCE,
}

_NEGATED: Final = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
    "notipaddress": "ipaddress",
}


def parse_operator(written: str) -> Operator | None:
    """Return the operator of that name, in any case; None if there is none."""
    name = written.lower()
    quantifier = Quantifier.ONE
    for one in (Quantifier.EVERY, Quantifier.SOME):
        if name.startswith(f"{one.value.lower()}:"):
            name, quantifier = name.partition(":")[2], one
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    negated = name in _NEGATED
    name = _NEGATED.get(name, name)
    family = _NAMES.get(name)
    if family is None or (family is Family.PRESENCE and (if_exists or quantifier.name != "ONE")):
        return None
    return Operator(name, family, negated, if_exists, quantifier)


def pattern_of(operator: Operator, text: str) -> Glob | str:
    """Return a policy's value in the form that its operator compares with."""
    if operator.family is not Family.TEXT:
        return text.lower() if operator.family is Family.PRESENCE else text
    if operator.name == "stringlike":
        return Glob.of(text)
    if operator.name.startswith("arn"):
        return Glob.arn(text)
    return literal(text, fold=operator.name == "stringequalsignorecase")


def is_readable(operator: Operator, text: str) -> bool:
    """Return whether a policy's value is one that its operator can compare with."""
    if operator.name.startswith("arn"):
        return text.count(":") >= 5
    if operator.family in (Family.BOOLEAN, Family.PRESENCE):
        return text.lower() in ("true", "false")
    readers = {Family.NUMBER: as_number, Family.DATE: as_date, Family.ADDRESS: as_network}
    reader = readers.get(operator.family)
    return reader is None or reader(text) is not None


@lru_cache(maxsize=4096)
def as_number(text: str) -> Decimal | None:
    """Read a number; None if it is none."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=4096)
def as_date(text: str) -> Decimal | None:
    """Read a date (ISO 8601, or seconds since 1970) as seconds since 1970."""
    if (number := as_number(text)) is not None:
        return number
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Decimal(int(moment.timestamp()))


@lru_cache(maxsize=4096)
def as_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read an address or a range of them; None if it is neither."""
    if not _NETWORK.fullmatch(text):
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
