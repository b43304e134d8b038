"""Clearances, and what a consumer verifies before it opens a subject.

A clearance is a small handle that travels between tasks. It is worth nothing by itself:
anybody who can write a task result can write one. :func:`open_cleared` therefore believes
nothing in it and works through this list, under the consumer's own policy:

1. the policy knows the purpose, and says which stages it takes, configured how;
2. the ledger is the one that the policy means: its newest checkpoint is signed, cosigned and
   no step back, as far as the policy asks, and its root is the root of the entries;
3. every receipt it refers to is in the ledger, where the reference says, and unedited;
4. each is signed by a key that this policy trusts for that stage and that subject, now and
   when it was issued, not revoked before it was logged, under these very rules, not in the
   future, and no waiver behind it has run out;
5. every stage the purpose needs has a verdict that speaks for the subject, fresh enough, by
   as many keys as it takes, and no newer verdict takes it back
   (:mod:`sluicegate.testimony` says how); people approved, if the purpose asks for that;
6. the bytes that are there now are the bytes the receipts are about, and stay so while
   they are read.

It returns the data or raises; there is no boolean to forget.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ClearanceRefused, ConfigurationError, ReceiptError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.signing import open_evidence
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.tables import read_table
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import Testimony, admit

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Clearance",
    "Cleared",
    "PolicySource",
    "SubjectSource",
    "as_subject",
    "open_cleared",
    "requires_clearance",
]

_KIND: Final = "sluicegate-clearance/v1"
_MAX_RECEIPTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """A subject by digest, and references to the receipts that speak for it.

    Safe to pass through task state: it holds no data, no secret and no authority.
    """

    uri: str
    """Where the subject lies."""
    digest: Digest
    """Merkle root of its manifest."""
    receipts: tuple[ReceiptRef, ...]
    """In the order in which they were issued."""

    def open(self, purpose: str, policy: PolicySource = None) -> Cleared:
        """Verify everything and return the subject; see :func:`open_cleared`."""
        return open_cleared(self, purpose=purpose, policy=policy)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, for XCom and other task results."""
        return {
            "kind": _KIND,
            "uri": self.uri,
            "digest": str(self.digest),
            "receipts": [[ref.index, str(ref.digest)] for ref in self.receipts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Clearance:
        """Read the JSON form. That it parses means nothing.

        Raises:
            ClearanceRefused: it is not one.
        """
        try:
            if set(value) != {"kind", "uri", "digest", "receipts"} or value["kind"] != _KIND:
                raise ValueError("other members")
            if len(value["receipts"]) > _MAX_RECEIPTS or not isinstance(value["uri"], str):
                raise ValueError("too large")
            return cls(
                uri=value["uri"],
                digest=Digest.parse(value["digest"]),
                receipts=tuple(_reference(item) for item in value["receipts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ClearanceRefused(
                "this is no clearance: it does not have the form that a gate returns",
                next_step="pass on exactly what the gate returned",
            ) from error


def _reference(value: Json) -> ReceiptRef:
    index, digest = value
    if type(index) is not int or index < 0:
        raise ValueError("an index is a number from 0")
    return ReceiptRef(index, Digest.parse(digest))


SubjectSource = str | os.PathLike[str] | SubjectUri | Clearance | Mapping[str, Json]
"""What names a subject: a path, a URI, or what an earlier gate returned."""
PolicySource = Policy | str | os.PathLike[str] | None
"""A policy, its file, or None for the one that ``SLUICEGATE_POLICY`` names."""


def as_subject(value: SubjectSource) -> Clearance | SubjectUri:
    """Read what names a subject.

    Raises:
        ClearanceRefused: something that cannot name one.
        SubjectError: a malformed path or URI.
    """
    if isinstance(value, Clearance | SubjectUri):
        return value
    if isinstance(value, Mapping):
        return Clearance.from_json(value)
    if isinstance(value, str | os.PathLike):
        return SubjectUri.parse(value)
    raise ClearanceRefused(
        f"expected a clearance or the URI of a subject, found {type(value).__name__}",
        next_step="pass on what the gate returned, not the data itself",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """A subject that was verified for a purpose. Reading goes on verifying."""

    purpose: str
    snapshot: Snapshot
    receipts: tuple[ReceiptRef, ...]
    """The receipts that the purpose rests on."""

    @property
    def uri(self) -> str:
        """Where the subject lies. Do not open it yourself: read through this object."""
        return str(self.snapshot.uri)

    @property
    def digest(self) -> Digest:
        """Merkle root of the manifest."""
        return self.snapshot.digest

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files inside the subject."""
        return tuple(file.path for file in self.snapshot.manifest.files)

    def open(self, path: str | None = None) -> IO[bytes]:
        """Return the verified bytes of one file; of a single-file subject without ``path``.

        Raises:
            SubjectChangedError: the bytes are not the cleared ones.
        """
        if path is None:
            if len(self.files) != 1:
                raise ConfigurationError(
                    f"{self.uri} has {len(self.files)} files: name one", next_step="see .files"
                )
            path = self.files[0]
        return self.snapshot.open(path)

    def read_frame(self) -> pandas.DataFrame:
        """Return all rows as a pandas data frame, from verified bytes.

        Raises:
            SubjectError: the subject is not tabular.
            SubjectChangedError: the bytes are not the cleared ones.
        """
        return read_table(self.snapshot).frame

    def copy_to(self, folder: str | os.PathLike[str]) -> Path:
        """Write verified copies below ``folder``, for libraries that want a path.

        The folder must be private to the consumer: what others can write to, they can
        change after the check.

        Raises:
            ConfigurationError: the folder holds something already, which would pass as part
                of the data.
            SubjectChangedError: the bytes are not the cleared ones.
        """
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise ConfigurationError(
                f"{target} is not empty", next_step="copy into a new folder of your own"
            )
        return self.snapshot.copy_to(target)


def open_cleared(
    subject: SubjectSource,
    *,
    purpose: str,
    policy: PolicySource = None,
    run: str | None = None,
    now: datetime | None = None,
    progress: Progress = no_progress,
) -> Cleared:
    """Verify that a subject may be used for a purpose, and open it.

    Args:
        subject: a clearance, or a path or URI; then the ledger is searched for receipts
            about the bytes that lie there.
        purpose: what it is to be used for, as the policy names it.
        policy: the consumer's own policy.
        run: which run this is, where approvals are bound to one.
        now: the instant to judge by; the clock is read once otherwise.
        progress: told how many bytes are hashed.

    Raises:
        ClearanceRefused: the subject may not be used; says what is wrong and what to do.
        SluicegateError: could not tell (subject, policy or ledger unreadable).
    """
    rules = load_policy(policy)
    need = rules.purpose(purpose)
    now = now or datetime.now(UTC)
    evidence = open_evidence(rules)
    source = as_subject(subject)
    if isinstance(source, Clearance):
        only = frozenset(_admit(ref, evidence, rules, now) for ref in source.receipts)
        uri = SubjectUri.parse(source.uri)
        receipts = Testimony(evidence, rules, now).require(
            need, source.digest, uri=str(uri.resolved()), run=run, only=only
        )
        snapshot = take_snapshot(uri, progress=progress)
        if snapshot.digest != source.digest:
            raise ClearanceRefused(
                f"{source.uri} is not what was cleared: expected {source.digest}, "
                f"found {snapshot.digest}",
                next_step="find out who changed it, then run the gates again",
            )
    else:
        snapshot = take_snapshot(source, progress=progress)
        receipts = Testimony(evidence, rules, now).require(
            need, snapshot.digest, uri=str(snapshot.uri.resolved()), run=run
        )
    return Cleared(
        purpose=purpose, snapshot=snapshot, receipts=tuple(item.ref for item in receipts)
    )


def _admit(ref: ReceiptRef, evidence: Evidence, policy: Policy, now: datetime) -> Digest:
    """Return the payload of a referenced receipt; one that is not good refuses everything."""
    try:
        return admit(ref, evidence.receipt(ref), policy, now=now).payload
    except ReceiptError as error:
        raise ClearanceRefused(
            f"receipt {ref.digest.short} (ledger entry {ref.index}): {error.what}",
            next_step=error.next_step or "the receipt was forged or damaged",
        ) from error


def requires_clearance(
    purpose: str, *, policy: PolicySource = None, argument: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a consumer: it receives a verified :class:`Cleared`, or does not run.

    Works for functions, generators and coroutine functions. Every way to call the function
    passes here.

    Args:
        purpose: what the function does with the subject, as the policy names it.
        policy: the consumer's own policy.
        argument: name of the parameter that takes the subject; by default the first one.

    Raises:
        ConfigurationError: when decorating, if the function has no such parameter.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        name = _subject_parameter(function, signature, argument)

        def verify(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
            bound = signature.bind(*args, **kwargs)
            if name not in bound.arguments:
                raise ClearanceRefused(f"{function.__name__}() was called without {name!r}")
            bound.arguments[name] = open_cleared(
                bound.arguments[name], purpose=purpose, policy=policy
            )
            return bound

        if inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"{function.__name__}() is an asynchronous generator, which cannot be guarded",
                next_step="return the result, or put the guard on a function it calls",
            )
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def consume_and_yield(*args: Any, **kwargs: Any) -> Any:
                bound = verify(args, kwargs)
                return (yield from function(*bound.args, **bound.kwargs))

            return consume_and_yield

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def consume_async(*args: Any, **kwargs: Any) -> Any:
                bound = verify(args, kwargs)
                return await function(*bound.args, **bound.kwargs)

            return consume_async

        @functools.wraps(function)
        def consume(*args: Any, **kwargs: Any) -> Any:
            bound = verify(args, kwargs)
            return function(*bound.args, **bound.kwargs)

        return consume

    return decorate


def _subject_parameter(
    function: Callable[..., Any], signature: inspect.Signature, argument: str | None
) -> str:
    positional = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if argument is None and positional:
        return positional[0]
    if argument is not None and argument in positional:
        return argument
    raise ConfigurationError(
        f"{function.__name__}() has no parameter {argument or 'to take the subject'!r}"
    )
