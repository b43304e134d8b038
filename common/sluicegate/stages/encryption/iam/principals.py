"""Callers, as far as a policy can tell them apart.

A policy names some principals and compares the ARNs and accounts of callers with patterns.
One caller for each combination of answers is enough, and they are made here: anonymous ones,
roles, users and roots of accounts, sessions, services, federated and canonical identities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sluicegate.stages.encryption.iam.context import ABSENT, Value
from sluicegate.stages.encryption.iam.document import Principals
from sluicegate.stages.encryption.iam.glob import Glob, cells, literal

__all__ = ["Caller", "callers"]

_ACCOUNT: Final = re.compile(r"\d{12}")
_ROOT: Final = re.compile(r"arn:[^:]+:iam::(\d{12}):root")
_IDENTITY: Final = re.compile(r"arn:[^:]+:(?:iam|sts)::(\d{12}):(.+)")
_SESSION: Final = re.compile(r"(arn:[^:]+):sts::(\d{12}):assumed-role/([^/]+)/.+")

_OF_SIGNED_CALLS: Final = (
    "aws:principaltag/",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:multifactorauthpresent",
    "aws:multifactorauthage",
    "aws:tokenissuetime",
    "aws:federatedprovider",
    "aws:username",
    "s3:authtype",
    "s3:signatureversion",
    "s3:signatureage",
)
"""Keys, by how they begin, that a call without a signature does not carry."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who makes a request."""

    label: str
    """``anonymous``, an ARN, or the name of a service."""
    kind: str
    """``anonymous``, ``AWS``, ``Service``, ``Federated`` or ``CanonicalUser``."""
    account: str | None = None
    identities: frozenset[tuple[str, str]] = frozenset()
    """Pairs of kind and value that a policy can name this caller by."""
    carries: Mapping[str, Value] = field(default_factory=dict)
    """Keys in lower case that this caller fixes."""
    lacks: tuple[str, ...] = ()
    """How keys begin that this caller's requests never carry."""

    def fixes(self, key: str) -> tuple[Value, ...] | None:
        """Return the only values that a key can have for this caller; None for any."""
        if key in self.carries:
            return (self.carries[key],)
        return (ABSENT,) if key.startswith(self.lacks) else None

    def is_among(self, principals: Principals) -> bool:
        """Return whether an element ``Principal`` or ``NotPrincipal`` selects this caller."""
        named = principals.everyone or not self.identities.isdisjoint(principals.members)
        return named is not principals.negated


def callers(
    elements: Iterable[Principals],
    arns: Sequence[Glob],
    services: Sequence[Glob],
    accounts: Iterable[str],
    *,
    partition: str,
) -> tuple[list[Caller], bool]:
    """Return one caller of each sort that a policy can tell apart.

    Args:
        elements: ``Principal`` and ``NotPrincipal`` of all statements.
        arns: patterns that the policy compares ``aws:PrincipalArn`` with.
        services: patterns that it compares ``aws:PrincipalServiceName`` with.
        accounts: account numbers, or patterns of them, that matter besides.
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.

    Returns:
        The callers, and whether they are of all sorts.
    """
    named = sorted({member for element in elements for member in element.members})
    found: dict[str, Caller] = {"anonymous": _anonymous()}
    patterns = list(arns)
    seen = set(accounts)
    for kind, value in named:
        if kind == "AWS" and (match := _IDENTITY.fullmatch(value)):
            seen.add(match.group(1))
            patterns.append(literal(value))
        elif kind == "AWS" and _ACCOUNT.fullmatch(value):
            seen.add(value)
    patterns += [Glob.of(f"arn:{partition}:???::{account}:*") for account in sorted(seen)]
    complete = True
    for service, shape in (
        ("iam", ":role/?*"),
        ("iam", ":user/?*"),
        ("iam", ":root"),
        ("sts", ":federated-user/?*"),
    ):
        within = Glob.account(f"arn:{partition}:{service}::", shape)
        parts = cells(dict.fromkeys(patterns), within)
        complete = complete and parts.complete
        for arn in parts.examples.values():
            found.setdefault(arn, _identity(arn, arn))
    for kind, value in named:
        if kind == "AWS" and (match := _SESSION.fullmatch(value)):
            role = f"{match.group(1)}:iam::{match.group(2)}:role/{match.group(3)}"
            found.setdefault(value, _identity(value, role))
        elif kind == "AWS" and ":sts:" in value and _IDENTITY.fullmatch(value):
            found.setdefault(value, _identity(value, value))
        elif kind == "Service" and value != "*":
            found.setdefault(value, _service(value))
        elif kind in ("Federated", "CanonicalUser") or value not in ("*", *seen):
            # Of an account that the policy does not tell: an identity of CloudFront, a unique id.
            found.setdefault(value, Caller(value, kind, identities=frozenset({(kind, value)})))
    names = cells(dict.fromkeys(services), Glob.of("?*.amazonaws.com"))
    complete = complete and names.complete
    for name in names.examples.values():
        found.setdefault(name, _service(name))
    return list(found.values()), complete


def _anonymous() -> Caller:
    absent: dict[str, Value] = dict.fromkeys(
        (
            "aws:principalarn",
            "aws:principalaccount",
            "aws:principalisawsservice",
            "aws:principalservicename",
            "kms:calleraccount",
        ),
        ABSENT,
    )
    return Caller(
        "anonymous",
        "anonymous",
        carries={**absent, "aws:principaltype": ("Anonymous",)},
        lacks=_OF_SIGNED_CALLS,
    )


def _service(name: str) -> Caller:
    return Caller(
        name,
        "Service",
        identities=frozenset({("Service", name), ("Service", "*")}),
        carries={
            "aws:principalarn": ABSENT,
            "aws:principalaccount": ABSENT,
            "kms:calleraccount": ABSENT,
            "aws:principalisawsservice": ("true",),
            "aws:principalservicename": (name,),
        },
        lacks=("aws:principaltag/", "aws:principalorg", "aws:multifactorauth", "aws:username"),
    )


def _identity(label: str, arn: str) -> Caller:
    """Return an identity of an account: a role, a user, a root, or a session of a role."""
    match = _IDENTITY.fullmatch(arn)
    assert match is not None  # noqa: S101  callers() makes only such ARNs
    account, name = match.groups()
    kind = name.partition("/")[0]
    partition = arn.split(":")[1]
    identities = {label, arn, account, f"arn:{partition}:iam::{account}:root"}
    # A root is named as its account is.
    types = {"user": "User", "root": "Account", "federated-user": "FederatedUser"}
    carries: dict[str, Value] = {
        "aws:principalarn": (arn,),
        "aws:principalaccount": (account,),
        "aws:principaltype": (types.get(kind, "AssumedRole"),),
        "aws:principalisawsservice": ("false",),
        "aws:principalservicename": ABSENT,
        "kms:calleraccount": (account,),
    }
    if kind != "user":
        carries["aws:username"] = ABSENT
    return Caller(
        label,
        "AWS",
        account,
        frozenset(("AWS", one) for one in identities),
        carries,
    )
