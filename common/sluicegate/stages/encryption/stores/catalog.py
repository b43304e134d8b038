"""All types of stores at AWS, and how one of them answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.stores import (
    analytics,
    databases,
    keys,
    nosql,
    sagemaker,
    streams,
    volumes,
)
from sluicegate.stages.encryption.stores.base import (
    NOT_THERE,
    Asks,
    Calls,
    Further,
    Judgement,
    Reply,
    Store,
    StoreType,
)
from sluicegate.stages.encryption.stores.names import Arn

__all__ = ["TYPES", "further_of", "judges_of", "type_of"]

TYPES: Final[tuple[StoreType, ...]] = (
    *databases.TYPES,
    *nosql.TYPES,
    *analytics.TYPES,
    *streams.TYPES,
    *volumes.TYPES,
    *sagemaker.TYPES,
)
"""Every type, in the order of the documentation."""

_NAMES_CALL: Final = re.compile(r"[a-z0-9]+\.[a-z0-9_]+: ")
"""How a reason begins that says which call it is about."""

_WITHOUT_NAME: Final = frozenset({"glue-catalog"})
"""Types of which an account has one, whose ARN ends with the type."""


def type_of(arn: Arn) -> tuple[StoreType, str]:
    """Return the type of a store and its name.

    Raises:
        ConfigurationError: no such type is known.
    """
    for kind in TYPES:
        name = arn.resource.removeprefix(kind.path)
        if arn.service != kind.service or not arn.resource.startswith(kind.path):
            continue
        nested = not kind.path and (":" in name or "/" in name)
        if not nested and bool(name) != (kind.on in _WITHOUT_NAME) and _single(kind, name):
            return kind, name
    known = ", ".join(sorted(f"{kind.service}:...:{kind.path}" for kind in TYPES))
    raise ConfigurationError(
        f"{arn.text!a} is of no type of store that is examined",
        next_step=f"known are gs://, azure:// and ARNs of {known}",
    )


def _single(kind: StoreType, name: str) -> bool:
    """Return whether a name is one part; repositories, secrets and brokers have more."""
    return kind.service in ("ecr", "secretsmanager", "kafka") or "/" not in name


def further_of(kind: StoreType, asks: Asks) -> Further:
    """Return what a question takes of a type besides its description."""
    if asks in (Asks.KEY, Asks.KEY_MANAGER):
        return keys.FURTHER
    return kind.further.get(asks, Further(calls=()))


def judges_of(calls: Calls, arn: Arn) -> Mapping[Asks, Callable[[], Judgement]]:
    """Return who answers which question about one store; nothing is asked before they are."""
    kind, name = type_of(arn)
    store = Store(arn, name, calls)
    judges = dict(kind.judges)
    if kind.keys is not None:
        listed = bool(calls.scope.settings.kms_keys)
        judge = keys.judge_listed if listed else keys.judge_manager
        asks, find = (Asks.KEY if listed else Asks.KEY_MANAGER), kind.keys
        judges[asks] = lambda store, reply: judge(store, find(reply))
    return {asks: partial(_judge, kind, store, judge) for asks, judge in judges.items()}


def _judge(kind: StoreType, store: Store, judge: Callable[[Store, Reply], Judgement]) -> Judgement:
    reply = kind.describe(store)
    if isinstance(reply, Unknown):
        return reply
    if not reply:
        return Unknown(f"{kind.calls[-1]}: {NOT_THERE}")
    other = _not_about(kind, store, reply)
    judged = other or judge(store, reply)
    if isinstance(judged, Unknown) and not _NAMES_CALL.match(judged.reason):
        return Unknown(f"{kind.calls[-1]}: {judged.reason}")
    return judged


def _not_about(kind: StoreType, store: Store, reply: Reply) -> Unknown | None:
    """Return why an answer is about something else: credentials of another account."""
    found = kind.arn_in(reply)
    if found is not None:
        same = found == store.arn.text or (
            kind.on == "secret" and found[:-7] == store.arn.text and found[-7] == "-"
        )
        return None if same else Unknown(f"the answer of AWS is about another store: {found}")
    caller = store.call("sts.get_caller_identity", "")
    if isinstance(caller, Unknown):
        return Unknown(f"cannot tell whose store AWS described: {caller.reason}")
    account = str(caller.get("Account", ""))
    if account != store.arn.account:
        return Unknown(f"the credentials are of account {account}, not of {store.arn.account}")
    return None
