"""``sluicegate promote``, ``rollback``, ``restore`` and ``heads``: which version serves."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import Final

from sluicegate.canonical import Json
from sluicegate.cli.backup import add_head_options, describe, head_signer
from sluicegate.cli.options import add_endpoint, use_endpoint
from sluicegate.cli.terminal import PASSED, Progress, emit
from sluicegate.errors import ConfigurationError
from sluicegate.policy.load import load_policy
from sluicegate.serving import current, list_heads, mend_head, promote, restore, roll_back
from sluicegate.serving.history import Head, History
from sluicegate.serving.served import Served

__all__ = ["add_heads", "add_promote", "add_restore", "add_rollback"]

_EPILOG = "exit codes:\n  0  done\n  1  refused\n  2  could not conclude (never a pass)\n"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")


def add_promote(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``promote``."""
    parser = _command(
        commands,
        "promote",
        "let a version that was backed up serve",
        "Sign a new head for a version: after its bytes in the vault, its receipts and the chain "
        "of heads were verified. A version that serves already gets a younger head.",
    )
    parser.add_argument("version", metavar="VERSION", help="name of the version")
    add_head_options(parser, reason_needed=False)
    parser.set_defaults(run=_run_promote)


def add_rollback(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``rollback``."""
    parser = _command(
        commands,
        "rollback",
        "let an earlier version of a model serve again",
        "Sign a new head for a version that served before. Nothing is copied; everything is "
        "verified first: the chain of heads, the vault byte by byte, the version's clearance.",
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--to", metavar="VERSION", help="which version (default: the one that served before)"
    )
    target.add_argument("--to-epoch", type=int, metavar="N", help="the version of this epoch")
    add_head_options(parser, reason_needed=True)
    parser.set_defaults(run=_run_rollback)


def add_restore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``restore``."""
    parser = _command(
        commands,
        "restore",
        "copy a version out of the vault, verified byte by byte",
        "Write a version of a model into a new folder: every byte verified, all of it or nothing.",
    )
    parser.add_argument(
        "--version", metavar="V", help="which version (default: the one that serves)"
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--purpose", help="also verify that it may be used for this purpose")
    _add_reading(parser)
    parser.set_defaults(run=_run_restore)


def add_heads(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``heads``."""
    parser = _command(
        commands,
        "heads",
        "list which versions of a model served, and verify what serves now",
        "List the chain of heads, then do what a server does before it serves.",
    )
    parser.add_argument(
        "--mend",
        action="store_true",
        help="point the vault to the ledger's newest head first, after an interruption",
    )
    _add_reading(parser)
    parser.set_defaults(run=_run_heads)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, long: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=long,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """Add what commands have in common that verify as a server does."""
    parser.add_argument("--vault", help="the vault, if it is not the one that the head names")
    parser.add_argument(
        "--seen",
        metavar="FILE",
        help="remember the newest head here (default: $SLUICEGATE_HEADS_SEEN, or beside the "
        "policy's ledger.remember)",
    )
    parser.add_argument(
        "--max-age", metavar="AGE", help="refuse a head that is older, e.g. 30d or 12h"
    )
    parser.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY, policy.yaml)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_endpoint(parser)


def _run_promote(args: argparse.Namespace) -> int:
    use_endpoint(args)
    policy, progress = load_policy(args.policy), Progress()
    served = promote(
        args.model,
        args.version,
        policy,
        reason=args.reason,
        without_clearance=args.without_clearance,
        signer=head_signer(args.signing_key, policy),
        progress=progress,
    )
    progress.clear()
    return _show(served, as_json=args.json)


def _run_rollback(args: argparse.Namespace) -> int:
    use_endpoint(args)
    policy, progress = load_policy(args.policy), Progress()
    served = roll_back(
        args.model,
        policy,
        to=args.to if args.to_epoch is None else args.to_epoch,
        reason=args.reason,
        without_clearance=args.without_clearance,
        signer=head_signer(args.signing_key, policy),
        progress=progress,
    )
    progress.clear()
    return _show(served, as_json=args.json)


def _run_restore(args: argparse.Namespace) -> int:
    use_endpoint(args)
    progress = Progress()
    folder = restore(
        args.model,
        args.to,
        args.policy,
        version=args.version,
        vault=args.vault,
        seen=args.seen,
        max_age=_duration(args.max_age),
        purpose=args.purpose,
        progress=progress,
    )
    progress.clear()
    if args.json:
        emit({"model": args.model, "version": args.version, "folder": str(folder)})
    else:
        print(f"restored, every byte verified: {folder}")
    return PASSED


def _run_heads(args: argparse.Namespace) -> int:
    use_endpoint(args)
    policy = load_policy(args.policy)
    if args.mend:
        mend_head(args.model, policy, seen=args.seen)
    history = list_heads(args.model, policy, seen=args.seen)
    if not args.json:
        _list(history)
    served = current(
        args.model,
        policy,
        vault=args.vault,
        seen=args.seen,
        max_age=_duration(args.max_age),
    )
    if args.json:
        emit(
            {
                "model": args.model,
                "serving": served.to_json(),
                "heads": [_row(head) for head in history.heads],
                "superseded": [_row(head) for head in history.superseded],
            }
        )
    else:
        describe(served)
    return PASSED


def _show(served: Served, *, as_json: bool) -> int:
    if as_json:
        emit(served.to_json())
    else:
        describe(served)
    return PASSED


def _list(history: History) -> None:
    for head in history.heads:
        says = head.says
        reason = f"  {says.reason}" if says.reason else ""
        print(
            f"{says.epoch:>5}  {says.issued:%Y-%m-%d %H:%M}  {says.action:<9}  {says.version}"
            f"  {says.subject.digest.short}  {head.record.key}{reason}"
        )
    for head in history.superseded:
        print(f"    -  lost a race and does not count: {head}")


def _row(head: Head) -> dict[str, Json]:
    return Served.of(head).to_json() | {"objection": head.record.objection}


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"--max-age is a number and s, m, h, d or w, not {text!r}")
    return timedelta(seconds=int(match.group(1)) * _SECONDS[match.group(2)])
