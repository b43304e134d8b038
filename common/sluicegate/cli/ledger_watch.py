"""``sluicegate ledger watch`` and ``ledger cosign``: keep a ledger honest."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from sluicegate.canonical import Digest, Json, sha256_hex
from sluicegate.cli.terminal import (
    COULD_NOT_CONCLUDE,
    NOT_CLEARED,
    PASSED,
    emit,
    report_failure,
    visible,
)
from sluicegate.errors import ClearanceRefused, ConfigurationError, LedgerError, ReceiptError
from sluicegate.evidence import ReceiptRef
from sluicegate.ledger.cosigning import CosignedLedger, collect_cosignatures
from sluicegate.ledger.memory import LedgerRewrittenError, Memory
from sluicegate.ledger.note import NoteVerifier
from sluicegate.ledger.open import open_ledger
from sluicegate.ledger.watch import Watch
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Policy
from sluicegate.receipts.statement import EventStatement, VerdictStatement
from sluicegate.testimony import authenticate

__all__ = ["add_cosign", "add_watch"]

_EVERY_SECONDS: Final = 60.0
_FAILURES: Final = 5
"""Rounds in a row in which nothing could be read, before watching ends."""


def add_watch(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``watch`` to the actions of ``sluicegate ledger``."""
    parser = actions.add_parser(
        "watch",
        help="tell new entries, and whether the ledger was rewritten",
        description="Compare the ledger with what this monitor saw last, prove that it only "
        "grew, and print one line for each new entry. Exits 1 if the ledger was rewritten, "
        "truncated or forked; both checkpoints are kept beside the state.",
    )
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY)")
    parser.add_argument("--once", action="store_true", help="look once instead of again and again")
    parser.add_argument(
        "--every", type=float, default=_EVERY_SECONDS, metavar="SECONDS", help="pause between looks"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="what was seen last (default: below $XDG_STATE_HOME); not where writers of the "
        "ledger can reach it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON value for each look")
    parser.set_defaults(run=_watch)


def add_cosign(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``cosign`` to the actions of ``sluicegate ledger``."""
    parser = actions.add_parser(
        "cosign",
        help="let witnesses cosign the newest checkpoint",
        description="Ask witnesses of the policy to cosign the newest checkpoint, verify what "
        "they answer and publish it. Exits 1 if a witness saw another ledger.",
    )
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY)")
    parser.add_argument(
        "--witness",
        action="append",
        required=True,
        metavar="NAME=URL",
        help="name of a witness of the policy, and the address it is asked at",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_cosign)


def _watch(args: argparse.Namespace) -> int:
    policy = load_policy(args.policy)
    settings = policy.ledger_settings
    watch = Watch(
        ledger=open_ledger(settings),
        settings=settings,
        memory=Memory(args.state or _state_of(str(settings.location))),
    )
    failures = 0
    while True:
        rows: list[Json] = []
        try:
            watch.look(_teller(policy, rows, as_json=args.json))
            failures = 0
        except LedgerRewrittenError as error:
            return _rewritten(error, as_json=args.json)
        except LedgerError as error:
            failures += 1
            if args.once or failures == _FAILURES:
                raise
            print(f"sluicegate: cannot look now: {visible(error.what)}", file=sys.stderr)
        if args.json and not failures:
            emit({"outcome": "passed", **_size_of(watch), "entries": rows})
        if args.once:
            return PASSED
        time.sleep(args.every)


def _size_of(watch: Watch) -> dict[str, Json]:
    checkpoint = watch.checkpoint
    if checkpoint is None:
        return {"size": 0, "root": None}
    return {"size": checkpoint.size, "root": checkpoint.root.hex()}


def _teller(policy: Policy, rows: list[Json], *, as_json: bool) -> Callable[[int, bytes], None]:
    def tell(index: int, entry: bytes) -> None:
        row = _describe(index, entry, policy)
        rows.append(row)
        if not as_json:
            what = (
                f"{row['issued']}  {row['stage']:<20} {row['verdict']:<12} {row['uri']}"
                if "stage" in row
                else f"unreadable or not trusted: {row['why']}"
            )
            print(visible(f"{index:>6}  {what}"), flush=True)

    return tell


def _describe(index: int, entry: bytes, policy: Policy) -> dict[str, Json]:
    digest = Digest.of(entry)
    row: dict[str, Json] = {"index": index, "digest": str(digest)}
    try:
        statement = authenticate(ReceiptRef(index, digest), entry, policy).statement
    except (ReceiptError, ClearanceRefused) as error:
        return row | {"why": error.what}
    verdict = "-"
    if isinstance(statement, VerdictStatement):
        verdict = statement.verdict.value
    elif isinstance(statement, EventStatement):
        verdict = statement.kind
    return row | {
        "stage": statement.stage,
        "verdict": verdict,
        "subject": str(statement.subject.digest),
        "uri": statement.subject.uri,
        "issued": statement.issued.isoformat(),
    }


def _rewritten(error: LedgerRewrittenError, *, as_json: bool) -> int:
    if as_json:
        emit(
            {
                "outcome": "refused",
                "error": type(error).__name__,
                "message": error.what,
                "next": error.next_step,
                "evidence": list(error.evidence),
            }
        )
    print(f"sluicegate: refused: {error}", file=sys.stderr)
    return NOT_CLEARED


def _state_of(location: str) -> Path:
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "sluicegate" / "watched" / f"{sha256_hex(location.encode())[:32]}.note"


def _cosign(args: argparse.Namespace) -> int:
    settings = load_policy(args.policy).ledger_settings
    if settings.key is None:
        raise ConfigurationError(
            "a ledger without a key has nothing to cosign",
            next_step="name `key` under `ledger` in the policy",
        )
    witnesses = dict(_witness(text, settings.witnesses) for text in args.witness)
    # Every kind of ledger that open_ledger returns can attach signatures.
    ledger = cast("CosignedLedger", open_ledger(settings))
    found = collect_cosignatures(ledger, witnesses, log=settings.key)
    names = sorted(cosignature.witness.name for cosignature in found.cosignatures)
    if args.json:
        emit(
            {
                "size": found.checkpoint.checkpoint.size,
                "cosigned_by": list[Json](names),
                "published": found.attached,
                "failures": dict(found.failures),
            }
        )
    else:
        print(f"{found.checkpoint.checkpoint.size} entries, cosigned by {', '.join(names) or '-'}")
    for url, why in found.failures.items():
        print(f"sluicegate: {url}: {why}", file=sys.stderr)
    if found.contradicted:
        return NOT_CLEARED
    enough = found.attached and len(names) >= max(settings.witnessed_by, 1)
    if not enough and not found.failures:
        error = LedgerError("the ledger grew meanwhile", next_step="collect again")
        return report_failure(error, as_json=False)
    return PASSED if enough else COULD_NOT_CONCLUDE


def _witness(text: str, known: tuple[NoteVerifier, ...]) -> tuple[str, NoteVerifier]:
    name, _, url = text.partition("=")
    for witness in known:
        if witness.name == name and url:
            return url, witness
    raise ConfigurationError(
        f"the policy lists no witness {name!r}, or no address follows it",
        next_step="list its vkey under `ledger: witnesses`, and write --witness NAME=URL",
    )
