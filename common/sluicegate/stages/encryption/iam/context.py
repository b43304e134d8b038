"""Condition keys: which values a request could carry.

The values that a policy compares a key with cut all possible values into parts; one example
of each is tried, and absence where the key may be absent. Keys that hang together (the
caller's ARN and account, the transport) are fixed by the caller and the question.

Source: AWS IAM User Guide, "AWS global condition context keys"; Amazon S3 User Guide,
"Condition keys".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations, pairwise
from typing import Final

from sluicegate.stages.encryption.iam.glob import Glob, cells, escaped, literal
from sluicegate.stages.encryption.iam.operators import (
    Family,
    Operator,
    Quantifier,
    as_date,
    as_network,
    as_number,
)

__all__ = ["ABSENT", "Test", "Value", "always_present", "can_carry", "possible_values", "stranger"]

Value = tuple[str, ...] | None
"""Values of a key in a request; None where it is absent."""

ABSENT: Final[Value] = None

_ALWAYS: Final = frozenset(
    {
        "aws:securetransport",
        "aws:currenttime",
        "aws:epochtime",
        "aws:requestedregion",
        "aws:resourceaccount",
        "s3:resourceaccount",
        "aws:viaawsservice",
    }
)
"""Keys that every request carries."""

_ONLY_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "s3:x-amz-server-side-encryption": ("putobject", "replicateobject"),
    "s3:x-amz-copy-source": ("putobject",),
    "s3:x-amz-metadata-directive": ("putobject",),
    "s3:prefix": ("listbucket", "listbucketversions", "listbucketmultipartuploads"),
    "s3:delimiter": ("listbucket", "listbucketversions"),
    "s3:max-keys": ("listbucket", "listbucketversions"),
}
"""Keys, by how they begin, that only requests for these actions carry."""

_STRANGER: Final[Mapping[str, str]] = {
    "aws:sourceip": "198.51.100.7",
    "aws:vpcsourceip": "198.51.100.7",
    "aws:sourcevpc": "vpc-0",
    "aws:sourcevpce": "vpce-0",
    "aws:sourcearn": "arn:aws:sns:us-east-1:000000000000:z",
    "aws:sourceaccount": "000000000000",
    "aws:sourceowner": "000000000000",
    "aws:sourceorgid": "o-0000000000",
    "aws:principalorgid": "o-0000000000",
    "aws:principalorgpaths": "o-0000000000/r-0/ou-0/",
    "aws:userid": "AROA00000000000000000:z",
    "s3:dataaccesspointarn": "arn:aws:s3:us-east-1:000000000000:accesspoint/z",
    "s3:dataaccesspointaccount": "000000000000",
}
"""Keys that say where a caller belongs, with the value of one who belongs nowhere."""

_FREE_TEXT: Final = (
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
    "s3:existingobjecttag/",
    "s3:requestobjecttag/",
)
"""Keys, by how they begin, whose values somebody chose: they need not be of any type."""

_MOMENTS: Final = ("aws:currenttime", "aws:epochtime")
"""Keys that are the time of the request: never before now."""

_MOST_COMBINED: Final = 3
"""Values tried together for a key with several values."""
_MOST_SINGLES: Final = 40


@dataclass(frozen=True, slots=True)
class Test:
    """What a condition compares a key with, its variables put in."""

    operator: Operator
    wanted: tuple[Glob | str | None, ...]


def always_present(key: str) -> bool:
    """Return whether every request carries a key (in lower case)."""
    return key in _ALWAYS


def can_carry(action: str, key: str) -> bool:
    """Return whether a request for an action can carry a key; both in lower case."""
    for start, actions in _ONLY_WITH.items():
        if key.startswith(start):
            return action.partition(":")[2] in actions
    return True


def stranger(key: str) -> str | None:
    """Return the value that a key has for one who belongs nowhere; None if it has no such."""
    return _STRANGER.get(key)


def possible_values(
    key: str, tests: Sequence[Test], *, now: datetime, barred: frozenset[str]
) -> tuple[list[Value], bool]:
    """Return an example of each part of the values of a key.

    Args:
        key: in lower case.
        tests: everything that the policy compares it with.
        now: no moment before this one is tried.
        barred: values not to use.

    Returns:
        The examples, absence first where it is possible, and whether they are all that the
        policy can tell apart.
    """
    singles, complete = _singles(key, tests, now, barred)
    singles = [value for value in dict.fromkeys(singles) if value not in barred]
    values: list[Value] = [] if always_present(key) else [ABSENT]
    values += [(value,) for value in singles]
    if any(test.operator.quantifier is not Quantifier.ONE for test in tests):
        sets = sum(test.operator.quantifier is not Quantifier.ONE for test in tests)
        complete = complete and len(singles) <= _MOST_SINGLES and sets <= _MOST_COMBINED
        for size in range(2, min(sets, _MOST_COMBINED) + 1):
            values += combinations(singles[:_MOST_SINGLES], size)
    return values, complete


def _singles(
    key: str, tests: Sequence[Test], now: datetime, barred: frozenset[str]
) -> tuple[list[str], bool]:
    families = {test.operator.family for test in tests} - {Family.PRESENCE}
    values: list[str] = []
    complete = len(families - {Family.BOOLEAN}) <= 1
    if Family.BOOLEAN in families:
        values += ["true", "false"]
    if Family.TEXT in families:
        patterns = [wanted for test in tests for wanted in test.wanted if isinstance(wanted, Glob)]
        if Family.BOOLEAN in families:
            patterns += [literal("true"), literal("false")]
        # Each value that may not be used is a part of its own, so that its neighbours remain.
        patterns += [literal(escaped(value)) for value in sorted(barred)]
        found = cells(dict.fromkeys(patterns))
        values += found.examples.values()
        complete = complete and found.complete
    if key in _MOMENTS:
        bounds = (*_texts(tests, Family.NUMBER), *_texts(tests, Family.DATE))
        values += _moments(bounds, now, epoch=key == "aws:epochtime")
        complete = not families - {Family.NUMBER, Family.DATE}
    elif Family.DATE in families:
        values += _moments(_texts(tests, Family.DATE), None, epoch=False)
    if Family.NUMBER in families and key not in _MOMENTS:
        values += _numbers(_texts(tests, Family.NUMBER))
    if Family.ADDRESS in families:
        values += _addresses(_texts(tests, Family.ADDRESS))
    if any(key.startswith(start) for start in _FREE_TEXT):
        values.append("z")  # neither a number nor a boolean, where those are asked for
    return values or ["z"], complete


def _texts(tests: Sequence[Test], family: Family) -> list[str]:
    return [
        wanted
        for test in tests
        if test.operator.family is family
        for wanted in test.wanted
        if isinstance(wanted, str)
    ]


def _numbers(texts: Iterable[str]) -> list[str]:
    bounds = sorted({number for text in texts if (number := as_number(text)) is not None})
    if not bounds:
        return ["0"]
    between = [(low + high) / 2 for low, high in pairwise(bounds)]
    tried = sorted({*bounds, *between, bounds[0] - 1, bounds[-1] + 1})
    return [format(number, "f") for number in tried]


def _moments(texts: Iterable[str], now: datetime | None, *, epoch: bool) -> list[str]:
    """Return moments around some bounds, none before now if that is given."""
    start = Decimal(int(now.timestamp()) if now else 0)
    bounds = {int(moment) for text in texts if (moment := as_date(text)) is not None}
    tried = {start} | {Decimal(moment + step) for moment in bounds for step in (-1, 0, 1)}
    kept = sorted(moment for moment in tried if moment >= start)
    return [str(int(moment)) if epoch else _iso(moment) for moment in kept]


def _iso(moment: Decimal) -> str:
    latest = Decimal(253402300799)  # the last second of the year 9999
    return datetime.fromtimestamp(int(min(moment, latest)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _addresses(texts: Iterable[str]) -> list[str]:
    tried: dict[str, None] = {}
    for text in texts:
        network = as_network(text)
        if network is None:
            continue
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
        highest = 2**network.max_prefixlen - 1
        for number in (first, last, first - 1, last + 1):
            if 0 <= number <= highest:
                tried[str(kind(number))] = None
    return [*tried, "198.51.100.7", "2001:db8::7"]
