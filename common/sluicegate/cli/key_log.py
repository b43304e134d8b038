"""Change the keys of a policy, and log that it was done.

The log entry is an event whose subject is the new policy, signed by a key here that may sign
events under it. The change is made in any case, and said if it could not be logged: a
revocation must not wait for a ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sluicegate.canonical import Json
from sluicegate.errors import SluicegateError
from sluicegate.model import RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.statement import Subject
from sluicegate.signing import load_signer, record_event
from sluicegate.storage.uri import SubjectUri

__all__ = ["change"]


def change(
    path: Path,
    kind: str,
    details: Mapping[str, str],
    edit: Callable[[], bytes],
    *,
    signer: Signer | None = None,
) -> dict[str, Json]:
    """Edit the policy and log that it was; return where it was logged, or why it was not."""
    content = edit()
    policy = load_policy(path)
    subject = Subject.of_document(path.name, content, uri=str(SubjectUri.parse(path)))
    run = RunIdentity(orchestrator="cli")
    why = "no key here may sign events"
    for candidate in _signers(policy, signer):
        try:
            chosen = candidate()
            ref = record_event(kind, subject, details, policy=policy, signer=chosen, run=run)
        except SluicegateError as error:
            why = error.what
        else:
            return {"logged_at": ref.index}
    return {"logged_at": None, "not_logged": why}


def _signers(policy: Policy, given: Signer | None) -> Iterator[Callable[[], Signer]]:
    if given is not None:
        yield lambda: given
    yield lambda: load_signer(policy)
