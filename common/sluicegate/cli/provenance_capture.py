"""``sluicegate provenance capture``, ``mark`` and ``summary``: what adds to the ledger."""

from __future__ import annotations

import argparse
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json, canonical_json
from sluicegate.clearance import open_cleared
from sluicegate.cli.provenance_walk import find_subject, open_policy, read_records, snapshot_of
from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ClearanceRefused, ConfigurationError, ReceiptError
from sluicegate.evidence import ReceiptRef
from sluicegate.model import RunIdentity
from sluicegate.policy.model import Policy
from sluicegate.receipts.lineage import HELD, RELEASED, SEEN
from sluicegate.receipts.published import compare
from sluicegate.receipts.published.model import MAX_LIST_BYTES
from sluicegate.receipts.signers import load
from sluicegate.receipts.statement import (
    EVENT,
    PRODUCTION,
    SUMMARY,
    EventStatement,
    ProductionStatement,
    Statement,
    Subject,
    SummaryStatement,
)
from sluicegate.signing import attest, check_signer, key_password, load_signer, open_evidence
from sluicegate.stages.provenance.publisher import read_published
from sluicegate.storage.snapshot import Snapshot

__all__ = ["MARKINGS", "capture", "mark", "summarise"]

MARKINGS: Final = {"seen": SEEN, "held": HELD, "released": RELEASED}
"""What ``mark`` can say, and the kind of event that says it."""
_MAX_REASON: Final = 500
_MAX_INPUTS: Final = 64
"""Most inputs of one statement: each takes some 400 of the bytes that a receipt may have."""
_RUN: Final = RunIdentity(orchestrator="cli")


def capture(args: argparse.Namespace) -> int:
    """Sign that a subject was made from others, or that it was imported."""
    policy = open_policy(args)
    started = datetime.now(UTC)
    snapshot = snapshot_of(args.subject)
    sources = _sources(args, policy)
    _must_agree(policy, Subject.of(snapshot), sources)
    record: dict[str, Json] = {
        "schema": "sluicegate-capture/v1",
        "activity": args.activity or ("transform" if sources else "import"),
        "subject": Subject.of(snapshot).to_json(),
        "files": len(snapshot.manifest.files),
        "bytes": snapshot.manifest.size,
        "published": _vouched(args, snapshot),
    }
    content = canonical_json(record)
    now = datetime.now(UTC)
    statement = ProductionStatement(
        subject=Subject.of(snapshot),
        activity=str(record["activity"]),
        made_from=sources,
        cleared_by=(),
        record=Digest.of(content),
        started=started,
        issued=now,
        run=_RUN,
        invocation=secrets.token_hex(8),
    )
    evidence = open_evidence(policy)
    evidence.write(evidence.report_path(statement.record), content)
    return _log(args, policy, statement, PRODUCTION, now, f"{statement.activity} captured")


def _sources(args: argparse.Namespace, policy: Policy) -> tuple[Subject, ...]:
    if len(args.made_from) > _MAX_INPUTS:
        raise ConfigurationError(f"at most {_MAX_INPUTS} inputs fit one statement")
    if not args.made_from:
        return ()
    records = read_records(policy)
    return tuple(dict.fromkeys(find_subject(text, records) for text in args.made_from))


def _must_agree(policy: Policy, subject: Subject, sources: tuple[Subject, ...]) -> None:
    """Refuse to say what contradicts the ledger: nothing there can be taken back.

    Raises:
        ClearanceRefused: the subject would be made from itself, or was said to be made from
            something else.
    """
    inputs = {source.digest for source in sources}
    if subject.digest in inputs:
        raise ClearanceRefused(
            f"{subject.uri} would be made from itself", next_step="name what it was made from"
        )
    for record in read_records(policy):
        said = record.statement
        if not isinstance(said, ProductionStatement) or said.subject.digest != subject.digest:
            continue
        if {source.digest for source in said.made_from} != inputs and not record.objection:
            raise ClearanceRefused(
                f"ledger entry {record.index} says that {subject.uri} was made from "
                f"{len(said.made_from)} other inputs: both could not be believed",
                next_step="if that entry is wrong, revoke the key that signed it at that entry, "
                "or change the subject and record it anew",
            )


def _vouched(args: argparse.Namespace, snapshot: Snapshot) -> Json:
    """Return what the publisher says, for the record.

    Raises:
        ClearanceRefused: the publisher does not vouch for every file.
    """
    if args.published is None:
        if args.published_key or args.published_signature:
            raise ConfigurationError("--published-key and --published-signature need --published")
        return None
    content = _read(args.published)
    signature = _read(args.published_signature) if args.published_signature else None
    key = _read(args.published_key) if args.published_key else None
    try:
        published = read_published(
            content, key=key, signature=signature, name=Path(args.published).name
        )
    except ReceiptError as error:
        raise ClearanceRefused(
            f"{args.published} cannot be used: {error.what}", next_step=error.next_step
        ) from error
    own = {Digest.of(content), *([Digest.of(signature)] if signature else [])}
    lists = [file.path for file in snapshot.manifest.files if file.sha256 in own]
    found = compare(snapshot, published, lists=lists)
    if not found.vouched:
        groups = {name: paths for name, paths in found.to_json().items() if name != "matching"}
        what = ", ".join(f"{len(paths)} {name}" for name, paths in groups.items() if paths)
        example = next((paths[0] for paths in groups.values() if paths), "")
        raise ClearanceRefused(
            f"the publisher does not vouch for {snapshot.uri}: {what} (such as {example!a})",
            next_step="fetch the data again, and compare with the publisher's page",
        )
    return {
        "list": {"sha256": Digest.of(content).hex},
        "signer": published.signer,
        "files": len(found.matching),
    }


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as source:
            content = source.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_LIST_BYTES:
        raise ConfigurationError(f"{path} is larger than {MAX_LIST_BYTES} bytes")
    return content


def mark(args: argparse.Namespace) -> int:
    """Sign that data was seen, is on hold, or was released."""
    policy = open_policy(args)
    subject = find_subject(args.subject, read_records(policy))
    if len(args.reason) > _MAX_REASON:
        raise ConfigurationError(f"a reason has at most {_MAX_REASON} characters")
    now = datetime.now(UTC)
    statement = EventStatement(
        subject=subject,
        kind=MARKINGS[args.marking],
        details={"reason": args.reason} if args.reason else {},
        issued=now,
        run=_RUN,
        invocation=secrets.token_hex(8),
    )
    return _log(args, policy, statement, EVENT, now, f"marked as {args.marking}")


def summarise(args: argparse.Namespace) -> int:
    """Verify a subject for a purpose, and sign a summary for tools that only read those."""
    policy = open_policy(args)
    cleared = open_cleared(args.subject, purpose=args.purpose, policy=policy)
    now = datetime.now(UTC)
    statement = SummaryStatement(
        subject=Subject.of(cleared.snapshot),
        purpose=args.purpose,
        policy=policy.digest,
        receipts=tuple(ref.digest for ref in cleared.receipts),
        issued=now,
    )
    return _log(args, policy, statement, SUMMARY, now, f"found fit for {args.purpose}")


def _log(
    args: argparse.Namespace,
    policy: Policy,
    statement: Statement,
    right: str,
    now: datetime,
    what: str,
) -> int:
    signer = load(args.key, key_password()) if args.key else load_signer(policy)
    check_signer(policy, signer, right, uri=statement.subject.uri, now=now)
    evidence = open_evidence(policy, write=True)
    ref: ReceiptRef = attest(statement, evidence, signer)
    path = evidence.receipt_path(ref.digest)
    if args.json:
        emit(
            {
                "subject": str(statement.subject.digest),
                "uri": statement.subject.uri,
                "ledger_index": ref.index,
                "receipt": str(path),
                "receipt_digest": str(ref.digest),
            }
        )
    else:
        print(f"{what}: {statement.subject.uri}")
        print(f"  {statement.subject.digest}")
        print(f"  receipt  {path} (ledger entry {ref.index})")
    return PASSED
