"""What the actions of ``sluicegate provenance`` share: subject, stage, ledger, chain."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sluicegate.canonical import Digest
from sluicegate.cli.options import use_endpoint
from sluicegate.cli.terminal import Progress
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.lineage import Chain, History, trace
from sluicegate.receipts.statement import Subject
from sluicegate.signing import open_evidence
from sluicegate.stages.base import stage_fields
from sluicegate.stages.provenance import VerifyProvenance
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import LedgerRecords

__all__ = ["Walk", "find_subject", "open_policy", "read_records", "snapshot_of", "stage_of", "walk"]

_DIGEST: Final = "sha256:"
"""How a subject that is named by its digest begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A chain, and what it was walked with."""

    policy: Policy
    chain: Chain
    history: History
    snapshot: Snapshot | None
    """The subject's bytes; None where it was named by its digest."""


def open_policy(args: argparse.Namespace) -> Policy:
    """Load the policy that is named or configured, after pointing clients at their endpoint.

    Raises:
        PolicyError: there is none, or it is unusable.
    """
    use_endpoint(args)
    return load_policy(args.policy)


def read_records(policy: Policy) -> LedgerRecords:
    """Read the policy's ledger, for the instant of the call.

    Raises:
        LedgerError: it is damaged, or not the one that the policy means.
    """
    return LedgerRecords(open_evidence(policy), policy, datetime.now(UTC))


def snapshot_of(text: str) -> Snapshot:
    """Hash the subject that a path or URI names.

    Raises:
        SubjectError: it cannot be read.
    """
    progress = Progress()
    try:
        return take_snapshot(SubjectUri.parse(text), progress=progress)
    finally:
        progress.clear()


def find_subject(text: str, records: LedgerRecords) -> Subject:
    """Return a subject by path, URI, or digest; by digest it must be one of the ledger.

    Raises:
        SubjectError: no such subject.
    """
    if not text.startswith(_DIGEST):
        return Subject.of(snapshot_of(text))
    try:
        digest = Digest.parse(text)
    except ValueError as error:
        raise SubjectError(f"{text[:80]!r} is no digest: {error}") from error
    for record in records:
        if record.statement.subject.digest == digest and not record.objection:
            return record.statement.subject
    raise SubjectError(
        f"no trusted statement of the ledger is about {digest}",
        next_step="name the subject by its path or URI",
    )


def stage_of(args: argparse.Namespace, policy: Policy) -> VerifyProvenance:
    """Return the stage: from flags, from a purpose, or the only one that the policy has.

    Raises:
        ConfigurationError: flags and a purpose, a purpose without the stage, or several
            purposes that ask differently.
    """
    given: dict[str, Any] = {
        field.name: tuple(value) if field.many else value
        for field in stage_fields(VerifyProvenance)
        if (value := getattr(args, field.name, None)) is not None
    }
    named = getattr(args, "purpose", None)
    if given and named:
        raise ConfigurationError("give --purpose or the stage's own options, not both")
    if given:
        return VerifyProvenance(**given)
    purposes = [policy.purpose(named)] if named else list(policy.purposes.values())
    stages = {
        need.configuration: need.stage
        for purpose in purposes
        for need in purpose.requirements
        if isinstance(need.stage, VerifyProvenance)
    }
    if len(stages) > 1:
        raise ConfigurationError(
            "the purposes of the policy ask verify-provenance different questions",
            next_step="choose one with --purpose",
        )
    if named and not stages:
        raise ConfigurationError(f"the purpose {named!r} does not need verify-provenance")
    return next(iter(stages.values())) if stages else VerifyProvenance()


def walk(args: argparse.Namespace) -> Walk:
    """Walk from the subject that the command names.

    Raises:
        SluicegateError: policy, ledger or subject cannot be read.
    """
    policy = open_policy(args)
    stage = stage_of(args, policy)
    by_digest = args.subject.startswith(_DIGEST)
    snapshot = None if by_digest else snapshot_of(args.subject)
    records = read_records(policy)
    subject = Subject.of(snapshot) if snapshot else find_subject(args.subject, records)
    history = History(records)
    chain = trace(subject, history, admitting=stage.admitting(), max_depth=stage.max_depth)
    return Walk(policy=policy, chain=chain, history=history, snapshot=snapshot)
