"""The questions that checks ask of a policy, and their answers.

An answer is ``open`` with a request that gets through, ``refused`` if there is none, and
``unknown`` if something had to be left out of the search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.encryption.iam.context import ABSENT, Value
from sluicegate.stages.encryption.iam.document import PolicyDocument, Principals
from sluicegate.stages.encryption.iam.glob import Glob, cells, literal
from sluicegate.stages.encryption.iam.operators import Family, pattern_of
from sluicegate.stages.encryption.iam.principals import Caller, callers
from sluicegate.stages.encryption.iam.s3_actions import ELSEWHERE, ON_BUCKETS, ON_OBJECTS
from sluicegate.stages.encryption.iam.search import (
    Goal,
    NothingFound,
    Request,
    Scenario,
    Target,
    find_request,
)
from sluicegate.stages.encryption.iam.variables import variables_of

__all__ = ["MODES", "Answer", "BucketAnswers", "Exposure", "bucket_exposure", "outside_access"]


class Exposure(StrEnum):
    """What the search came to."""

    REFUSED = "refused"
    """No such request gets through."""
    OPEN = "open"
    """One does."""
    UNKNOWN = "unknown"
    """None was found, and not everything was tried."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about a policy."""

    exposure: Exposure
    counterexample: Mapping[str, Json] | None = None
    """A request that gets through: ``principal``, ``action``, ``resource``, ``context``. Keys
    that are not in its context are absent. Present exactly when open."""
    reason: str = ""
    """Why it is unknown; present exactly then."""


@dataclass(frozen=True, slots=True)
class BucketAnswers:
    """What a bucket policy lets through."""

    plain_http: Answer
    """A request over plain HTTP."""
    below_tls12: Answer
    """A request over TLS 1.0 or 1.1."""
    unencrypted_put: Answer
    """A write of an object that is not stored with a wanted encryption."""
    old_presigned: Answer
    """A presigned URL that is as old as they get: seven days (S3 refuses older ones)."""


_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_HEADER: Final = "s3:x-amz-server-side-encryption"
_KEY_ID: Final = "s3:x-amz-server-side-encryption-aws-kms-key-id"
_CUSTOMER: Final = "s3:x-amz-server-side-encryption-customer-algorithm"

MODES: Final[Mapping[str, str]] = {
    "SSE-S3": "AES256",
    "SSE-KMS": "aws:kms",
    "DSSE-KMS": "aws:kms:dsse",
}
"""Values of the header ``x-amz-server-side-encryption`` by what they are called. SSE-C has a
header of its own, ``x-amz-server-side-encryption-customer-algorithm``."""
_WITH_KEYS: Final = ("SSE-KMS", "DSSE-KMS")

_HTTP: Final[Mapping[str, Value]] = {
    "aws:securetransport": ("false",),
    "s3:tlsversion": ABSENT,
}


_PRESIGNED: Final[Mapping[str, Value]] = {
    "s3:authtype": ("REST-QUERY-STRING",),
    "s3:signatureage": (str(7 * 24 * 3600 * 1000),),
    "s3:signatureversion": ("AWS4-HMAC-SHA256",),
}
"""What a presigned URL carries; its age is in milliseconds."""


def _tls(version: str) -> Mapping[str, Value]:
    return {"aws:securetransport": ("true",), "s3:tlsversion": (version,)}


def bucket_exposure(
    document: PolicyDocument | None,
    *,
    bucket: str,
    now: datetime,
    owner: str | None = None,
    partition: str = "aws",
    modes: tuple[str, ...] = (*MODES, "SSE-C"),
    kms_keys: tuple[str, ...] = (),
    default_mode: str | None = None,
    default_key: str | None = None,
) -> BucketAnswers:
    """Look for requests that a bucket policy lets through.

    Args:
        document: the policy; None for a bucket without one.
        bucket: the bucket's name.
        now: conditions on the time are judged from this moment on.
        owner: account that owns the bucket, twelve digits. Without it every account that
            the policy tells apart may be the owner.
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.
        modes: encryption that is wanted for new objects, of ``SSE-S3``, ``SSE-KMS``,
            ``DSSE-KMS`` and ``SSE-C``.
        kms_keys: keys that will do where a KMS mode is wanted; empty for any.
        default_mode: the bucket's default encryption, where it is known: what a write without
            a header gets. If it is not known, such a write counts as unencrypted.
        default_key: the key of the default encryption.

    Raises:
        ConfigurationError: the owner is not an account number.
    """
    _check_account(owner)
    document = document or PolicyDocument((), variables=True)
    arn = f"arn:{partition}:s3:::{bucket}"
    invented, every = _invented(document)
    on_objects = Target((*ON_OBJECTS, *invented), Glob.of(f"{arn}/?*"))
    on_bucket = Target((*ON_BUCKETS, *invented), literal(arn))
    everyone, gap = _callers(document, owner, partition)
    gap = gap if every else "the policy tells too many actions apart"
    home: dict[str, Value] = {}
    if owner is not None:
        home = dict.fromkeys(_OWNER_KEYS, (owner,))

    def ask(targets: tuple[Target, ...], scenarios: Iterable[Scenario]) -> Answer:
        scenarios = [replace(one, fixed={**one.fixed, **home}) for one in scenarios]
        goal = Goal(targets=targets, callers=everyone, scenarios=tuple(scenarios), now=now, gap=gap)
        return _answer(find_request(document, goal))

    unwanted = _unwanted_writes(modes, kms_keys, default_mode, default_key)
    return BucketAnswers(
        plain_http=ask((on_objects, on_bucket), [Scenario(_HTTP)]),
        below_tls12=ask(
            (on_objects, on_bucket), [Scenario(_tls(version)) for version in ("1.0", "1.1")]
        ),
        unencrypted_put=ask(
            (Target(("s3:PutObject",), Glob.of(f"{arn}/?*")),),
            [
                Scenario({**transport, **write.fixed}, write.barred)
                for write in unwanted
                for transport in (_tls("1.3"), _tls("1.2"), _tls("1.1"), _tls("1.0"), _HTTP)
            ],
        ),
        old_presigned=ask(
            (Target(("s3:GetObject", "s3:GetObjectVersion"), Glob.of(f"{arn}/?*")),),
            [Scenario({**_tls("1.3"), **_PRESIGNED})],
        ),
    )


def outside_access(
    document: PolicyDocument | None,
    *,
    resource: str,
    actions: tuple[str, ...],
    owner: str | None,
    now: datetime,
    trusted: tuple[str, ...] = (),
    anonymous_only: bool = False,
    partition: str = "aws",
) -> Answer:
    """Ask whether a policy lets somebody in from outside of the account.

    Services of AWS do not count: they act for somebody, and conditions on that are theirs.

    Args:
        document: the policy; None for a resource without one.
        resource: its ARN; ``*`` and ``?`` are wild, as in ``arn:aws:s3:::bucket/*``.
        actions: ``kms:Decrypt``, also with wildcards.
        owner: account that owns the resource. None: whom the policy names by account may be
            at home, so the answer is at best unknown for those.
        now: conditions on the time are judged from this moment on.
        trusted: accounts that may get in.
        anonymous_only: only ask for everyone: callers whom no value of the policy describes
            (network, organisation, account), and callers without a signature.
        partition: as in :func:`bucket_exposure`.

    Raises:
        ConfigurationError: an account is not twelve digits.
    """
    if document is None:
        return Answer(Exposure.REFUSED)
    for account in (owner, *trusted):
        _check_account(account)
    home = {account for account in (owner, *trusted) if account}
    everyone, gap = _callers(document, owner, partition, extra=trusted)
    outsiders = tuple(
        (caller, True)
        for caller, _ in everyone
        if caller.kind != "Service" and caller.account not in home
    )
    names, complete = _covering(document, actions)
    gap = gap if complete else "the policy tells too many actions apart"
    targets = (Target(names, Glob.of(resource)),)
    scenarios = tuple(Scenario(one) for one in (_tls("1.3"), _tls("1.1"), _HTTP))
    named = {value for one in document.statements for _, value in one.principals.members}

    def ask(group: tuple[tuple[Caller, bool], ...], *, strangers: bool) -> Answer:
        goal = Goal(
            targets=targets,
            callers=group,
            scenarios=scenarios,
            now=now,
            strangers=strangers,
            gap=gap,
        )
        return _answer(find_request(document, goal))

    known = _known_accounts(document)
    nobody = tuple(
        pair
        for pair in outsiders
        if pair[0].kind == "anonymous"
        or (pair[0].kind == "AWS" and pair[0].account not in known and pair[0].label not in named)
    )
    public = ask(nobody, strangers=True)
    if anonymous_only or public.exposure is Exposure.OPEN:
        return public
    answer = ask(outsiders, strangers=False)
    if answer.exposure is Exposure.OPEN and owner is None:
        return Answer(
            Exposure.UNKNOWN,
            reason="the policy lets others in, and the account that owns this is not known",
        )
    return answer


def _check_account(account: str | None) -> None:
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise ConfigurationError(f"an account is twelve digits, not {account!r}")


# Callers, actions, writes.


def _callers(
    document: PolicyDocument, owner: str | None, partition: str, extra: Iterable[str] = ()
) -> tuple[tuple[tuple[Caller, bool], ...], str]:
    """Return callers, each with whether it needs an Allow of this policy, and what is left out."""
    found: dict[str, list[Glob]] = {"aws:principalarn": [], "aws:principalservicename": []}
    accounts, gap = {account for account in (owner, *extra) if account}, ""
    for condition in (one for each in document.statements for one in each.conditions):
        if condition.key not in (*found, *_ACCOUNT_KEYS):
            continue
        text_of_it = condition.operator.family is Family.TEXT
        variables = {key for text in condition.values for key in variables_of(text)}
        if (document.variables and variables) or not text_of_it:
            if condition.operator.family is not Family.PRESENCE:
                gap = f"{condition.written} is compared with more than texts"
        elif condition.key in _ACCOUNT_KEYS:
            accounts.update(condition.values)
        else:
            patterns = [pattern_of(condition.operator, text) for text in condition.values]
            found[condition.key] += [one for one in patterns if isinstance(one, Glob)]
    elements: list[Principals] = [one.principals for one in document.statements]
    made, complete = callers(
        elements,
        found["aws:principalarn"],
        found["aws:principalservicename"],
        accounts,
        partition=partition,
    )
    if owner is None:  # whoever needs no Allow is at home, wherever that is
        made = [_at_home(caller) for caller in made]
    if not complete:
        gap = "the policy tells too many callers apart"
    return tuple((caller, _needs_allow(caller, owner)) for caller in made), gap


_ACCOUNT_KEYS: Final = ("aws:principalaccount", "kms:calleraccount")


def _at_home(caller: Caller) -> Caller:
    if caller.account is None:
        return caller
    home: dict[str, Value] = dict.fromkeys(_OWNER_KEYS, (caller.account,))
    return replace(caller, carries={**caller.carries, **home})


_OWNER_KEYS: Final = ("aws:resourceaccount", "s3:resourceaccount")


_UNIQUE_ID: Final = re.compile(r"A[A-Z]{3}[A-Z0-9]{12,}")
"""What stands for a user or role that was deleted since, or is written so: ``AROA…``."""


def _needs_allow(caller: Caller, owner: str | None) -> bool:
    """Return whether a caller gets in only by this policy; others may by their own one."""
    if caller.kind in ("CanonicalUser", "Federated") or _UNIQUE_ID.fullmatch(caller.label):
        return False  # of which account, a policy does not say
    return caller.kind != "AWS" or (owner is not None and caller.account != owner)


def _known_accounts(document: PolicyDocument) -> set[str]:
    accounts = set()
    for statement in document.statements:
        for kind, value in statement.principals.members:
            if kind == "AWS":
                accounts.add(value.split(":")[4] if value.count(":") >= 5 else value)
        for condition in statement.conditions:
            if condition.key in _ACCOUNT_KEYS:
                accounts.update(condition.values)
            elif condition.key == "aws:principalarn":
                accounts.update(
                    text.split(":")[4] for text in condition.values if text.count(":") >= 5
                )
    return accounts


def _invented(document: PolicyDocument) -> tuple[tuple[str, ...], bool]:
    """Return actions inside of patterns that no real one matches, and whether of all sorts.

    AWS may add such actions.
    """
    patterns = {text for one in document.statements for text in one.actions.patterns}
    real = (*ON_BUCKETS, *ON_OBJECTS, *ELSEWHERE)
    unmatched = []
    for text in sorted(patterns):
        glob = Glob.of(text, fold=True)
        if not any(glob.matches(name) for name in real):
            unmatched.append(glob)
    if not unmatched:
        return (), True
    found = cells(unmatched, Glob.of("s3:?*", fold=True))
    names = tuple(example for signature, example in found.examples.items() if signature)
    return names, found.complete


def _covering(document: PolicyDocument, actions: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Return one action of each sort among the given ones, and whether they are all."""
    written = sorted({text for one in document.statements for text in one.actions.patterns})
    spelling = {text.lower(): text for text in (*written, *actions)}
    patterns = [Glob.of(text, fold=True) for text in written]
    found: dict[str, None] = {}
    complete = True
    for action in actions:
        parts = cells(patterns, Glob.of(action, fold=True))
        complete = complete and parts.complete
        for example in parts.examples.values():
            found[spelling.get(example.lower(), example)] = None
    return tuple(found), complete


def _unwanted_writes(
    modes: tuple[str, ...],
    kms_keys: tuple[str, ...],
    default_mode: str | None,
    default_key: str | None,
) -> list[Scenario]:
    """Return the ways to write an object that is not encrypted as wanted."""
    writes = []
    plain: dict[str, Value] = {_HEADER: ABSENT, _KEY_ID: ABSENT, _CUSTOMER: ABSENT}
    wrong_key = default_mode in _WITH_KEYS and bool(kms_keys) and default_key not in kms_keys
    if default_mode not in modes or wrong_key:
        writes.append(Scenario(plain))
    for mode, header in MODES.items():
        fixed: dict[str, Value] = {_HEADER: (header,), _CUSTOMER: ABSENT}
        if mode not in _WITH_KEYS:
            fixed[_KEY_ID] = ABSENT
        if mode not in modes:
            writes.append(Scenario(fixed))
        elif mode in _WITH_KEYS and kms_keys:
            writes.append(Scenario(fixed, {_KEY_ID: frozenset(kms_keys)}))
    if "SSE-C" not in modes:
        writes.append(Scenario({**plain, _CUSTOMER: ("AES256",)}))
    return writes


def _answer(found: Request | NothingFound) -> Answer:
    if isinstance(found, NothingFound):
        if found.gap:
            return Answer(Exposure.UNKNOWN, reason=found.gap)
        return Answer(Exposure.REFUSED)
    context: dict[str, Json] = {
        key: value[0] if len(value) == 1 else list(value)
        for key, value in found.context.items()
        if value is not None
    }
    return Answer(
        Exposure.OPEN,
        {
            "principal": found.caller.label,
            "action": found.action,
            "resource": found.resource,
            "context": context,
        },
    )
