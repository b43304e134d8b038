"""What a type of store at AWS is: how it is described, and who judges the answer.

A store is described with one call; every question about it is judged on that answer, some
with one more call. An answer that is about another account, or does not say, is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.model import Finding
from sluicegate.stages.encryption.aws import Unknown, ask
from sluicegate.stages.encryption.question import Permission
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.stores.names import Arn

__all__ = [
    "NOT_THERE",
    "Asks",
    "Calls",
    "Further",
    "Judgement",
    "Keys",
    "Reply",
    "Store",
    "StoreType",
    "first",
    "must",
    "wrong",
]

Reply = Mapping[str, Any]
"""What AWS answered."""

Judgement = Unknown | tuple[Finding, ...]
"""What came of one question: cannot tell; or what is wrong, empty if nothing is."""

Keys = tuple[tuple[str, str | None], ...]
"""What a store encrypts, each with its KMS key as AWS names it; None where it names none."""


class Asks(StrEnum):
    """Ids of the questions about stores."""

    AT_REST = "encryption.store_at_rest"
    KEY = "encryption.store_key"
    KEY_MANAGER = "encryption.store_key_manager"
    OBJECT_MODE = "encryption.store_object_mode"
    TLS = "encryption.store_tls"
    INTER_NODE = "encryption.store_inter_node"
    PUBLIC = "encryption.store_public"
    ISOLATED = "encryption.store_isolated"
    VERSIONED = "encryption.store_versioned"


@dataclass(slots=True)
class Calls:
    """The calls of one run: each is made once."""

    scope: Scope
    _made: dict[tuple[str, ...], Reply | Unknown] = field(default_factory=dict, repr=False)

    def make(
        self,
        region: str,
        name: str,
        action: str,
        *,
        absent: tuple[str, ...] = (),
        **arguments: Any,
    ) -> Reply | Unknown:
        """Make one call, or return what it answered before.

        Args:
            region: where.
            name: boto3's names of service and call: ``rds.describe_db_instances``.
            action: the IAM action it takes; empty if none.
            absent: error codes that mean "there is none": then the answer is empty.
            arguments: of the call.
        """
        key = (region, name, repr(sorted(arguments.items())))
        if key not in self._made:
            answer = ask(name, lambda: self._call(region, name, absent, arguments))
            if isinstance(answer, Unknown) and action and "access denied" in answer.reason:
                answer = Unknown(f"{answer.reason}; it takes {action}")
            self._made[key] = {} if answer is None else answer
        return self._made[key]

    def _call(
        self, region: str, name: str, absent: tuple[str, ...], arguments: dict[str, Any]
    ) -> Reply:
        from botocore.exceptions import ClientError

        service, _, call = name.partition(".")
        client = self.scope.aws.client(service, region)
        try:
            answer: Reply = getattr(client, call)(**arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in absent:
                return {}
            raise
        return answer


@dataclass(frozen=True, slots=True)
class Store:
    """One store, during one run."""

    arn: Arn
    name: str
    """What AWS calls it in its own calls."""
    calls: Calls

    @property
    def scope(self) -> Scope:
        """The run."""
        return self.calls.scope

    def call(
        self, name: str, action: str, *, absent: tuple[str, ...] = (), **arguments: Any
    ) -> Reply | Unknown:
        """Make one call in the store's region; see :meth:`Calls.make`."""
        return self.calls.make(self.arn.region, name, action, absent=absent, **arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """What one question takes besides the call that describes the store."""

    calls: tuple[str, ...]
    permissions: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreType:
    """One type of store at AWS."""

    on: str
    """Name of its ARNs in permissions: ``rds-db``."""
    service: str
    """As in its ARNs."""
    path: str
    """What stands before its name in ARNs: ``db:``, ``table/``."""
    describe: Callable[[Store], Reply | Unknown]
    """Return the part of the answer that is about this store; empty if it is not there."""
    calls: tuple[str, ...]
    """What ``describe`` calls."""
    permissions: tuple[Permission, ...]
    """What these calls take."""
    arn_in: Callable[[Reply], str | None] = lambda _: None
    """Find the store's ARN in the answer; None where AWS does not say it, and the caller's
    account is compared instead."""
    judges: Mapping[Asks, Callable[[Store, Reply], Judgement]] = field(default_factory=dict)
    keys: Callable[[Reply], Keys] | None = None
    """What it encrypts with which keys, where it can be told."""
    further: Mapping[Asks, Further] = field(default_factory=dict)
    has_arn: bool = True
    """Whether its permissions may name its ARN; else they take ``*``."""
    also: Mapping[str, str] = field(default_factory=dict)
    """What its other permissions are on, by name: resource parts of ARNs of its own service,
    or ``*`` where they take no ARN."""


def wrong(message: str, **evidence: Json) -> tuple[Finding, ...]:
    """Return the one finding of a judgement."""
    return (Finding(message=message, evidence=evidence),)


def must(value: object, message: str, **evidence: Json) -> Judgement:
    """Judge a boolean member of an answer: it must be true, and it must be there."""
    if value is True:
        return ()
    if value is False:
        return wrong(message, **evidence)
    return Unknown("the answer does not say; simulators leave it out")


def first(answer: Reply | Unknown, member: str) -> Reply | Unknown:
    """Return the only element of a list in an answer; empty if there is none."""
    if isinstance(answer, Unknown):
        return answer
    elements: Sequence[Reply] = answer.get(member) or ()
    return elements[0] if len(elements) == 1 else {}


NOT_THERE: Final = "AWS answered, but not about this store: it may not exist"
"""Reason where a description is empty."""
