"""``sluicegate disclose``: show one file or row of a data set and nothing else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from sluicegate.canonical import canonical_json
from sluicegate.cli.terminal import PASSED, emit, read_json
from sluicegate.disclosure import commit, disclose, load_secret, summary, verify_disclosure
from sluicegate.errors import ConfigurationError
from sluicegate.model import RowId
from sluicegate.storage.local import write_atomically

__all__ = ["add_disclose"]

_MAX_BYTES: Final = 64 << 20
"""Largest disclosure that is read: one row is at most as long as the longest line."""


def add_disclose(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "disclose",
        help="show that one file or row belongs to a data set, without showing the rest",
        description="Commit to a data set once; later show single files or rows of it.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    made = actions.add_parser("commit", help="sign and log a salted tree over a data set")
    made.add_argument("--of", choices=("files", "rows"), default="files", help="what is a leaf")
    shown = actions.add_parser("prove", help="write a document that shows one leaf")
    chosen = shown.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--file", help="show this file of the data set")
    chosen.add_argument("--row", metavar="FILE:NUMBER", help="show this row, counted from 0")
    shown.add_argument("--purpose", help="also show that the data set may be used for this")
    shown.add_argument("--out", required=True, help="where to write the document")
    for action, run in ((made, _commit), (shown, _prove)):
        action.add_argument("subject", metavar="SUBJECT", help="path or URI of the data set")
        action.add_argument("--secret", required=True, help="file of the secret behind the salts")
        action.set_defaults(run=run)
    checked = actions.add_parser("verify", help="check such a document, offline")
    checked.add_argument("document", metavar="FILE", help="what `prove` wrote")
    checked.set_defaults(run=_verify)
    for action in (made, shown, checked):
        action.add_argument("--policy", help="policy file (default: $SLUICEGATE_POLICY)")
        action.add_argument("--json", action="store_true", help="print JSON")


def _commit(args: argparse.Namespace) -> int:
    secret = load_secret(Path(args.secret), create=True)
    ref = commit(args.subject, of=args.of, secret=secret, policy=args.policy)
    if args.json:
        emit({"receipt": str(ref.digest), "ledger_index": ref.index})
    else:
        print(f"committed to the {args.of} of {args.subject}: ledger entry {ref.index}")
        print(f"  keep {args.secret}: without it nothing can be shown, with it all can be guessed")
    return PASSED


def _prove(args: argparse.Namespace) -> int:
    document = disclose(
        args.subject,
        leaf=args.file if args.file is not None else _row(args.row),
        secret=load_secret(Path(args.secret)),
        policy=args.policy,
        purpose=args.purpose,
    )
    try:
        write_atomically(Path(args.out), canonical_json(document))
    except OSError as error:
        raise ConfigurationError(f"cannot write {args.out}: {error.strerror}") from error
    if args.json:
        emit(document)
    else:
        print(f"leaf {document['index']} of {document['size']} {document['of']}: {args.out}")
    return PASSED


def _row(text: str) -> RowId:
    file, separator, number = text.rpartition(":")
    if not separator or not number.isdecimal():
        raise ConfigurationError(f"a row is written FILE:NUMBER, not {text!r}")
    return RowId(file, int(number))


def _verify(args: argparse.Namespace) -> int:
    shown = summary(
        verify_disclosure(
            read_json(Path(args.document), what="the disclosure", limit=_MAX_BYTES),
            policy=args.policy,
        )
    )
    if args.json:
        emit(shown)
        return PASSED
    print(f"leaf {shown['index']} of {shown['size']} {shown['of']} of {shown['subject']}")
    print(f"  {json.dumps(shown['data'], ensure_ascii=True)}")
    for stage, verdict in shown["verdicts"]:
        print(f"  {stage}: {verdict}")
    return PASSED
