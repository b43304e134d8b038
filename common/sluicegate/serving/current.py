"""What a server asks before it serves."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from sluicegate.clearance import PolicySource
from sluicegate.errors import ClearanceRefused
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.serving.history import History
from sluicegate.serving.memory import remember, remembered_in
from sluicegate.serving.pointer import settled
from sluicegate.serving.served import Served
from sluicegate.signing import open_evidence
from sluicegate.storage.vault import check_name, open_vault
from sluicegate.testimony import LedgerRecords, Testimony

__all__ = ["current", "recall"]


def current(
    model: str,
    policy: PolicySource = None,
    *,
    vault: str | None = None,
    seen: str | os.PathLike[str] | None = None,
    max_age: timedelta | None = None,
    purpose: str | None = None,
    now: datetime | None = None,
) -> Served:
    """Return the version of a model that serves.

    Verified: the ledger as the policy asks, the whole chain of heads with their keys, that the
    vault's pointer agrees, that nothing newer was seen before, and that the head is recent.

    Args:
        model: name of the model.
        policy: the server's own policy.
        vault: the vault, if it is not the one that the newest head names.
        seen: file in which the newest head is remembered; by default the one that
            ``SLUICEGATE_HEADS_SEEN`` names, else one beside the policy's ``ledger.remember``.
            Without any, a ledger that was cut short is not noticed.
        max_age: how old the newest head may be. An attacker who shows an old state forever is
            seen by this; somebody must then promote again at least that often.
        purpose: also verify that the version may be used for this purpose, now.
        now: the instant to judge by.

    Raises:
        ClearanceRefused: nothing may be served; says why.
        SluicegateError: could not tell.
    """
    check_name("model", model)
    rules = load_policy(policy)
    moment = now or datetime.now(UTC)
    evidence = open_evidence(rules)
    place = open_vault(vault) if vault else None
    _, history, _ = settled(lambda: LedgerRecords(evidence, rules, moment), model, place)
    recall(rules, history, seen)
    head = history.serving()
    if max_age is not None and moment - head.says.issued > max_age:
        raise ClearanceRefused(
            f"the newest head of {model}, {head}, is of {head.says.issued:%Y-%m-%d %H:%M}: older "
            f"than {max_age}. Either nobody promoted since, or an old state is being shown",
            next_step="compare the ledger with another copy; promote the version again if it is "
            "still the right one",
        )
    served = Served.of(head)
    if purpose is not None:
        need = rules.purpose(purpose)
        Testimony(evidence, rules, moment).require(
            need, served.subject.digest, uri=served.subject.uri
        )
    return served


def recall(policy: Policy, history: History, seen: str | os.PathLike[str] | None) -> None:
    """Compare a history with what this machine saw before, if it remembers anything.

    Raises:
        ClearanceRefused: the history ends earlier, or is another one.
        LedgerError: what is remembered cannot be read or written.
    """
    path = remembered_in(policy, seen)
    if path is not None:
        settings = policy.ledger_settings
        remember(path, f"{settings.origin} {settings.location}", history)
