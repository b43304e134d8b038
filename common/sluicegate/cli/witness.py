"""``sluicegate witness``: watch other people's ledgers, and cosign what only grew."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from sluicegate.cli.terminal import PASSED, emit
from sluicegate.errors import ConfigurationError
from sluicegate.ledger.keys import load_note_signer, new_note_key
from sluicegate.ledger.note import COSIGNATURE, NoteVerifier
from sluicegate.ledger.witness import Witness
from sluicegate.ledger.witness_server import WitnessServer

__all__ = ["add_witness"]

_PASSWORD: Final = "SLUICEGATE_KEY_PASSWORD"  # noqa: S105  the name of a variable
_MAX_VKEY_BYTES: Final = 4096


def add_witness(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "witness",
        help="cosign ledgers that only grew",
        description="A witness for ledgers, as C2SP tlog-witness describes it.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_new(actions)
    _add_serve(actions)


def _add_new(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "new",
        help="make a witness's key",
        description="Make an Ed25519 key for a witness. A password is read from "
        f"${_PASSWORD}, if that is set.",
    )
    parser.add_argument("name", metavar="NAME", help="such as witness.example.org/w1")
    parser.add_argument("--key", type=Path, required=True, help="file for the private key")
    parser.add_argument("--vkey", type=Path, required=True, help="file for the public key")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_new)


def _add_serve(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "serve",
        help="answer add-checkpoint on this machine",
        description="Answer add-checkpoint requests on a loopback address. Put a reverse proxy "
        "that speaks https in front of it.",
    )
    parser.add_argument("--state", type=Path, required=True, help="folder with what was seen")
    parser.add_argument("--key", type=Path, required=True, help="the witness's private key")
    parser.add_argument("--name", required=True, help="the witness's name, as in its vkey")
    parser.add_argument(
        "--log",
        action="append",
        required=True,
        metavar="VKEY",
        help="key of a log to watch, or a file that holds one",
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="(default %(default)s)"
    )
    parser.add_argument(
        "--admit",
        action="store_true",
        help="take up logs that the state does not know yet: at the first start, and for each new "
        "log; never by habit, or a lost state begins anew and a fork is cosigned",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_serve)


def _new(args: argparse.Namespace) -> int:
    signer = new_note_key(
        args.key, args.vkey, name=args.name, kind=COSIGNATURE, password=_password()
    )
    if args.json:
        emit({"vkey": str(signer.verifier)})
    else:
        print(signer.verifier)
    return PASSED


def _serve(args: argparse.Namespace) -> int:
    signer = load_note_signer(args.key, name=args.name, kind=COSIGNATURE, password=_password())
    witness = Witness(args.state, signer, map(_vkey, args.log), admit=args.admit)
    host, _, port = args.listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError("--listen takes an address and a port, such as 127.0.0.1:8080")
    with WitnessServer(witness, host.strip("[]"), int(port)) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        if args.json:
            emit({"url": server.url, "vkey": str(signer.verifier)})
        else:
            print(f"{server.url}  {signer.verifier}")
        sys.stdout.flush()
        server.serve_forever()
    return PASSED


def _vkey(text: str) -> NoteVerifier:
    path = Path(text)
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_VKEY_BYTES).decode()
    except FileNotFoundError:
        return NoteVerifier.parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the key {path}: {type(error).__name__}") from error
    return NoteVerifier.parse(text)


def _password() -> bytes | None:
    password = os.environ.get(_PASSWORD)
    return password.encode() if password else None
