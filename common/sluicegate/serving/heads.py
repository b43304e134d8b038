"""Saying which version serves: one new signed head, verified before it is signed.

Nothing is copied. Before a head is signed: the chain of heads is whole, the vault's pointer
agrees with it, the version means the bytes that its receipts say, every one of these bytes
is in the vault, and the version is cleared for deployment under the policy of now. After it
is logged, the ledger is read again: of two who do this at once, the first one logged counts,
and the other is told.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from sluicegate.clearance import PolicySource
from sluicegate.errors import ClearanceRefused, ConfigurationError
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import Signer
from sluicegate.serving.change import Change
from sluicegate.serving.current import recall
from sluicegate.serving.history import History, read_history
from sluicegate.serving.meaning import Meaning, find_version, meaning_of
from sluicegate.serving.pointer import publish
from sluicegate.serving.served import Served
from sluicegate.signing import open_evidence
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.vault import check_name, open_vault
from sluicegate.testimony import LedgerRecords

__all__ = ["DEPLOY", "list_heads", "mend_head", "promote", "roll_back"]

DEPLOY: Final = "deploy"
"""The purpose that a version must be cleared for."""


def promote(
    model: str,
    version: str,
    policy: PolicySource = None,
    *,
    reason: str = "",
    purpose: str = DEPLOY,
    without_clearance: bool = False,
    signer: Signer | None = None,
    run: RunIdentity | None = None,
    seen: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> Served:
    """Let a version of a model serve from now on.

    Args:
        model: name of the model.
        version: a version that was backed up. The one that serves already may be promoted
            again, which makes its head younger.
        policy: the policy.
        reason: why, for the record.
        purpose: what the version must be cleared for.
        without_clearance: go on although the policy has no such purpose; an event
            ``override.clearance`` is logged as well. Where the policy has it, nothing helps.
        signer: holds a key that the policy trusts for ``head``; by default the one of
            :func:`~sluicegate.signing.load_signer`.
        run: which run this is, for the record.
        seen: as for :func:`~sluicegate.serving.current.current`.
        progress: told about long work.

    Raises:
        ClearanceRefused: it must not serve, or somebody else was first; says why.
        ConfigurationError: the key may not sign heads.
        SluicegateError: could not conclude.
    """
    change = Change.begin(model, policy, signer, run, reason, seen, progress)
    check_name("version", version)
    meant = find_version(change.records, change.evidence, change.history, version)
    vault = open_vault(meant.vault)
    change.check_pointer(vault)
    return change.carry_out(
        "promote",
        version,
        meant.subject,
        vault,
        purpose=purpose,
        without_clearance=without_clearance,
    )


def roll_back(
    model: str,
    policy: PolicySource = None,
    *,
    to: str | int | None = None,
    reason: str,
    purpose: str = DEPLOY,
    without_clearance: bool = False,
    signer: Signer | None = None,
    run: RunIdentity | None = None,
    seen: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> Served:
    """Let an earlier version of a model serve again: a new head, with the next epoch.

    Args:
        model: name of the model.
        policy: the policy.
        to: name of a version that served before, or the epoch in which it did; by default the
            version that served before the present one was promoted. Needed where the key of
            that head has expired.
        reason: why, for the record; needed.
        purpose: as for :func:`promote`; the version must be cleared for it under the policy
            of now, not of then.
        without_clearance: as for :func:`promote`.
        signer: as for :func:`promote`.
        run: which run this is, for the record.
        seen: as for :func:`~sluicegate.serving.current.current`.
        progress: told about long work.

    Raises:
        ClearanceRefused: it must not serve, or somebody else was first; says why.
        ConfigurationError: no reason is given, or the key may not sign heads.
        SluicegateError: could not conclude.
    """
    if not reason.strip():
        raise ConfigurationError("a roll-back needs a reason, for whoever asks later")
    change = Change.begin(model, policy, signer, run, reason, seen, progress)
    version, meant = _target(change, to)
    vault = open_vault(meant.vault)
    change.check_pointer(vault)
    return change.carry_out(
        "roll-back",
        version,
        meant.subject,
        vault,
        purpose=purpose,
        without_clearance=without_clearance,
    )


def list_heads(
    model: str, policy: PolicySource = None, *, seen: str | os.PathLike[str] | None = None
) -> History:
    """Return the heads of a model that count, and those that lost a race.

    Raises:
        ClearanceRefused: the chain is broken, or ends before what was seen.
        SluicegateError: could not tell.
    """
    check_name("model", model)
    rules = load_policy(policy)
    history = read_history(LedgerRecords(open_evidence(rules), rules, datetime.now(UTC)), model)
    recall(rules, history, seen)
    return history


def mend_head(
    model: str, policy: PolicySource = None, *, seen: str | os.PathLike[str] | None = None
) -> Served:
    """Point the vault to the ledger's newest head again, after an interruption.

    Signs nothing: the ledger says what is the newest.

    Raises:
        ClearanceRefused: the chain is broken, ends before what was seen, or something speaks
            against its newest head.
        SluicegateError: could not tell, or the vault cannot be written.
    """
    check_name("model", model)
    rules = load_policy(policy)
    evidence = open_evidence(rules)

    def read() -> LedgerRecords:
        return LedgerRecords(evidence, rules, datetime.now(UTC))

    records = read()
    history = read_history(records, model)
    recall(rules, history, seen)
    served = Served.of(history.serving())
    publish(records, read, model, open_vault(served.vault))
    return served


def _target(change: Change, to: str | int | None) -> tuple[str, Meaning]:
    """Return the version to go back to, and what it means."""
    history = change.history
    history.serving()
    if isinstance(to, str):
        if all(head.says.version != to for head in history.heads):
            raise _never_served(history, to)
        return to, find_version(change.records, change.evidence, history, to)
    head = history.before() if to is None else history.epoch_at(to)
    if head is None:
        raise _never_served(history, f"epoch {to}")
    if to is None and head.record.objection:
        raise ClearanceRefused(
            f"{head}, which would be gone back to, does not count (any more): "
            f"{head.record.objection}. It cannot say which version served before",
            next_step="name the version to serve",
        )
    return head.says.version, meaning_of(head, change.records, change.evidence, history)


def _never_served(history: History, what: str) -> ClearanceRefused:
    names = ", ".join(dict.fromkeys(head.says.version for head in history.heads))
    return ClearanceRefused(
        f"{history.model} never served {what}, so there is no going back to it",
        next_step=f"versions that served: {names}; promote a version that did not",
    )
