"""Four attacks on the secured flow. Prints, as JSON lines, what became of each.

Each attack has what an operator of the orchestrator has: the API, and write access to
storage. None has the signing key.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import digits_secured as example
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Completed

from sluicegate.clearance import Clearance
from sluicegate.cli.pipelines import altered, forge_verdict, rewritten_ledger
from sluicegate.policy.load import load_policy
from sluicegate.signing import open_evidence
from sluicegate_prefect import gate, secure


@flow
def prepare() -> tuple[str, Clearance]:
    """Pass the digits through all gates once, as the secured flow does."""
    raw = example.ingest()
    return raw, secure(raw, purpose="train")


@flow
def gate_marked_completed(raw: str, clearance: Clearance) -> None:  # noqa: ARG001
    """Set a gate's task run to Completed by hand, and train on what was ingested."""
    stage = load_policy().purpose("train").requirements[-1].stage
    state = gate(stage, raw, return_state=True)
    with get_client(sync_client=True) as client:
        client.set_task_run_state(state.state_details.task_run_id, Completed(), force=True)
    example.train(raw)


@flow
def receipt_edited(raw: str, clearance: Clearance) -> None:  # noqa: ARG001
    """Rewrite the verdict in a receipt's file."""
    evidence = open_evidence(load_policy())
    path = evidence.receipt_path(clearance.receipts[0].digest)
    with altered(path, forge_verdict):
        example.train(clearance)


@flow
def data_changed_after_the_gate(raw: str, clearance: Clearance) -> None:
    """Put the poisoned file where the cleared one lies."""
    poisoned = Path(raw).read_bytes()
    with altered(Path(clearance.uri.removeprefix("file://")), lambda _: poisoned):
        example.train(clearance)


@flow
def ledger_rewritten(raw: str, clearance: Clearance) -> None:  # noqa: ARG001
    """Replace the ledger by one of the attacker's making."""
    with rewritten_ledger(open_evidence(load_policy())):
        example.train(clearance)


def main() -> int:
    refused = 0
    raw, clearance = prepare()
    metrics = Path(os.environ["DIGITS_DIR"]) / "prefect_secured.json"
    attacks = (
        gate_marked_completed,
        receipt_edited,
        data_changed_after_the_gate,
        ledger_rewritten,
    )
    for attack in attacks:
        metrics.unlink(missing_ok=True)
        state = attack(raw, clearance, return_state=True)
        reason = str(state.result(raise_on_failure=False)).partition("\n")[0]
        stopped = state.is_failed() and not metrics.exists()
        refused += stopped
        print(json.dumps({"attack": attack.fn.__doc__, "refused": stopped, "reason": reason}))
    return 0 if refused == len(attacks) else 1


if __name__ == "__main__":
    raise SystemExit(main())
