"""Data sets that only grow: each version is the one before and more, and that can be proven.

A manifest is sorted by path, so two of them cannot be compared by a short proof. Here the
records of the files stand in the order in which they *arrived*: what came with version 1
sorted by path, then what version 2 added, and so on. Over this list there is a tree whose
consistency proofs (RFC 6962, section 2.1.2) say that nothing was changed, removed or put in
between. Each version is a signed statement in the ledger with such a proof, and names the
receipt of the version before; the list itself lies among the evidence, under the tree's root.

Keys expire, and versions stay. What has an objection, such as a key that has expired, is a
version all the same where it follows the one before, by its place in the ledger, and is passed
over where it does not. But what lies there is judged by the newest version, and that must be
without objection: after a key has expired, the next version under a current key settles it.

Limit: nothing in the ledger tells when an entry was made. So whoever holds an expired key can
still put a version behind the newest one, and it stands until the policy says from which entry
on that key is not heard (``revoked_at``).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.clearance import PolicySource
from sluicegate.errors import ClearanceRefused, LedgerError, ReceiptError, SubjectError
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.merkle import consistency_proof, leaf_hash, merkle_root
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.records import Record, Records
from sluicegate.receipts.statement import GROWTH, GrowthStatement, Subject
from sluicegate.receipts.statements.growth import Tree
from sluicegate.signing import attest, check_signer, load_signer, open_evidence
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import LedgerRecords

__all__ = ["Version", "append_version", "history", "verify_growth"]

_NAMED: Final = 3
"""How many files a refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a data set, as the ledger has it."""

    ref: ReceiptRef
    says: GrowthStatement
    objection: str = ""
    """Why it cannot speak for the data (any more), e.g. that its key has expired."""


def history(records: Records, dataset: str) -> list[Version]:
    """Return the versions of a data set, oldest first.

    Every proof was checked when its statement was read; here the versions are checked to be
    one chain. Where two writers recorded the same version, the one that was logged first
    counts, and the other is as if it was not there. So is a statement with an objection that
    does not follow; one that does is a version.

    Raises:
        ClearanceRefused: a version is missing.
    """
    versions: list[Version] = []
    for record in records:
        says = record.statement
        if not isinstance(says, GrowthStatement) or says.dataset != dataset:
            continue
        last = versions[-1] if versions else None
        if last is not None and says.version <= last.says.version:
            continue
        if _follows(last, record, says):
            ref = ReceiptRef(record.index, record.digest)
            versions.append(Version(ref=ref, says=says, objection=record.objection))
    return versions


def _follows(last: Version | None, record: Record, says: GrowthStatement) -> bool:
    """Return whether a statement is the next version; one that counts must be."""
    expected = (last.says.version + 1, last.says.tree, last.ref.digest) if last else (1, None, None)
    if (says.version, says.before, says.previous) == expected:
        return True
    if record.objection:
        return False
    raise ClearanceRefused(
        f"ledger entry {record.index} is no version {expected[0]} of {says.dataset} that "
        f"follows the one before: it says version {says.version}",
        next_step="a version is missing from the ledger, or this one was forged",
    )


def append_version(
    subject: str | SubjectUri,
    *,
    dataset: str,
    policy: PolicySource = None,
    signer: Signer | None = None,
    run: RunIdentity | None = None,
) -> Version:
    """Record what lies there now as the next version of a data set.

    It must hold new files, unless the newest version does not count (any more): then the same
    files under a current key are a version as well.

    Raises:
        SubjectError: a file of the version before is gone or changed, or nothing is new.
        ClearanceRefused: the versions in the ledger are no chain.
        ConfigurationError: no key that may sign this.
        LedgerError: it cannot be logged, or somebody else was first.
    """
    rules = load_policy(policy)
    snapshot = take_snapshot(SubjectUri.parse(str(subject)))
    holder, now = signer or load_signer(rules), datetime.now(UTC)
    check_signer(rules, holder, GROWTH, uri=str(snapshot.uri), now=now)
    evidence = open_evidence(rules, write=True)
    versions = history(LedgerRecords(evidence, rules, now), dataset)
    last = versions[-1] if versions else None
    before = _arrivals(evidence, last.says.tree) if last else []
    new = _new_lines(snapshot, before)
    if not new and not (last and last.objection):
        raise SubjectError(f"{snapshot.uri} has no new files: it is the version before")
    lines = [*before, *new]
    leaves = [leaf_hash(line) for line in lines]
    tree = Tree(size=len(lines), root=Digest(merkle_root(leaves).hex()))
    statement = GrowthStatement(
        subject=Subject.of(snapshot),
        dataset=dataset,
        version=last.says.version + 1 if last else 1,
        tree=tree,
        before=last.says.tree if last else None,
        previous=last.ref.digest if last else None,
        proof=consistency_proof(leaves, len(before)) if before else (),
        issued=now,
        run=run or RunIdentity(orchestrator="cli"),
        invocation=secrets.token_hex(8),
    )
    evidence.write(evidence.arrivals_path(tree.root), b"".join(line + b"\n" for line in lines))
    ref = attest(statement, evidence, holder)
    # Behind ours there may be the next one already.
    if all(item.ref != ref for item in history(LedgerRecords(evidence, rules, now), dataset)):
        raise LedgerError(
            f"somebody else recorded version {statement.version} of {dataset} first",
            next_step="record the next version again: the one just written does not count",
        )
    return Version(ref=ref, says=statement)


def verify_growth(
    subject: str | SubjectUri, *, dataset: str, policy: PolicySource = None
) -> list[Version]:
    """Return the versions of a data set after checking them, and what lies there, in full.

    Raises:
        ClearanceRefused: the versions are no chain, the newest one does not count (any more), or
            what lies there is not the newest one.
        SubjectError: the subject cannot be read.
        LedgerError: the ledger is damaged.
    """
    rules = load_policy(policy)
    evidence = open_evidence(rules)
    versions = history(LedgerRecords(evidence, rules, datetime.now(UTC)), dataset)
    if not versions:
        raise ClearanceRefused(f"the ledger has no version of {dataset!r}")
    newest = versions[-1].says
    if versions[-1].objection:
        raise ClearanceRefused(
            f"version {newest.version} of {dataset}, the newest, does not count: "
            f"{versions[-1].objection}",
            next_step="record the next version under a current key; if this one was forged with "
            f"an expired key, set its `revoked_at` to {versions[-1].ref.index} or before",
        )
    snapshot = take_snapshot(SubjectUri.parse(str(subject)))
    if snapshot.digest != newest.subject.digest:
        raise ClearanceRefused(
            f"{snapshot.uri} is not version {newest.version} of {dataset}: expected "
            f"{newest.subject.digest}, found {snapshot.digest}",
            next_step="find out who changed it, or record the new version",
        )
    arrived = sorted(_arrivals(evidence, newest.tree))
    if arrived != sorted(record.line() for record in snapshot.manifest.files):
        raise ClearanceRefused(
            f"the tree of version {newest.version} of {dataset} is over other files than it names"
        )
    return versions


def _arrivals(evidence: Evidence, tree: Tree) -> list[bytes]:
    """Return the records of a version in the order in which they arrived."""
    path = evidence.arrivals_path(tree.root)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ReceiptError(
            f"cannot read the list of arrivals {path}: {error.strerror}",
            next_step="it is evidence: restore it from a backup; or, if that version was forged "
            "with an expired key, set `revoked_at` of the key in the policy",
        ) from error
    root = merkle_root(leaf_hash(line) for line in lines)
    if (len(lines), root.hex()) != (tree.size, tree.root.hex):
        raise ReceiptError(f"the list of arrivals {path} was edited: it has another root")
    return lines


def _new_lines(snapshot: Snapshot, before: Sequence[bytes]) -> list[bytes]:
    """Return the records that were not there before, sorted by path."""
    known = set(before)
    lines = {record.line() for record in snapshot.manifest.files}
    if gone := sorted(known - lines):
        named = ", ".join(_path(line) for line in gone[:_NAMED])
        raise SubjectError(
            f"{snapshot.uri} did not only grow: {len(gone)} files of the version before are gone "
            f"or changed: {named}",
            next_step="restore them; a data set that changes is recorded as another one",
        )
    return [record.line() for record in snapshot.manifest.files if record.line() not in known]


def _path(line: bytes) -> str:
    (record,) = Manifest.parse(line + b"\n").files
    return record.path
