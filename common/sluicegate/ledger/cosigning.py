"""Asking witnesses for cosignatures, and publishing them with the checkpoint.

The client side of C2SP tlog-witness. A witness is asked with the size that it should have seen
last; if that is wrong, it says which, and is asked again with a proof from there. What it
answers is verified before it is published. Plain http goes to this machine only.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger.base import Ledger
from sluicegate.ledger.memory import LedgerRewrittenError
from sluicegate.ledger.note import Cosignature, NoteVerifier, SignedCheckpoint
from sluicegate.ledger.signatures import merge_signatures
from sluicegate.ledger.tiles import TileTree
from sluicegate.ledger.witness import SIZE_TYPE, write_request

__all__ = ["Collected", "CosignedLedger", "collect_cosignatures"]

_SECONDS: Final = 10.0
"""For connecting to a witness, and again for its answer."""
_MAX_ANSWER_BYTES: Final = 16 << 10
"""A few signature lines."""
_ROUNDS: Final = 3
"""Questions to one witness: the size may change between two of them."""
_AT_ONCE: Final = 8
"""Witnesses asked at the same time."""
_ATTACH_ATTEMPTS: Final = 5
"""Others may attach signatures to the same checkpoint."""
_NUMBER: Final = re.compile(r"(0|[1-9][0-9]{0,18})\n")


class CosignedLedger(Ledger, Protocol):
    """A ledger whose checkpoint can be published with further signatures."""

    def attach(self, note: bytes) -> bool:
        """Publish the newest checkpoint with all signatures of ``note``; False if outdated."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What came of asking witnesses."""

    checkpoint: SignedCheckpoint
    """The checkpoint with the cosignatures."""
    cosignatures: tuple[Cosignature, ...]
    """Those that were verified."""
    failures: Mapping[str, str]
    """Why a witness, by its address, gave none."""
    contradicted: bool
    """Whether a witness saw something else than this ledger: longer, or forked."""
    attached: bool
    """Whether they were published; not if the ledger grew meanwhile."""


def collect_cosignatures(
    ledger: CosignedLedger,
    witnesses: Mapping[str, NoteVerifier],
    *,
    log: NoteVerifier,
    seconds: float = _SECONDS,
) -> Collected:
    """Let witnesses cosign the newest checkpoint, and publish it with what they answer.

    Args:
        ledger: the ledger.
        witnesses: their keys by the address that ``/add-checkpoint`` is added to.
        log: the ledger's key.
        seconds: longest wait for a connection, and for an answer.

    Raises:
        ConfigurationError: an address that is not https, nor http on this machine.
        LedgerError: the ledger is empty, not signed by its key, or cannot be read or written.
    """
    addresses = {url: _address(url) for url in witnesses}
    signed = ledger.checkpoint()
    if signed is None:
        raise LedgerError("an empty ledger has no checkpoint to cosign")
    signed.verify(log)

    def ask(url: str) -> bytes | LedgerError:
        try:
            return _cosignature(ledger, signed, addresses[url], witnesses[url], seconds)
        except LedgerError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(witnesses, pool.map(ask, witnesses), strict=True))
    lines = [answer for answer in answers.values() if isinstance(answer, bytes)]
    cosigned = SignedCheckpoint.parse(signed.note + b"".join(lines))
    return Collected(
        checkpoint=cosigned,
        cosignatures=cosigned.cosignatures(witnesses.values()),
        failures={url: a.what for url, a in answers.items() if isinstance(a, LedgerError)},
        contradicted=any(isinstance(a, LedgerRewrittenError) for a in answers.values()),
        attached=bool(lines) and _attach(ledger, cosigned),
    )


def _attach(ledger: CosignedLedger, cosigned: SignedCheckpoint) -> bool:
    for left in reversed(range(_ATTACH_ATTEMPTS)):
        current = ledger.checkpoint()
        merged = merge_signatures(current, cosigned) if current else None
        if merged is None:
            return False
        try:
            return ledger.attach(merged)
        except LedgerError:
            again = ledger.checkpoint()
            if not left or again is None or current is None or again.note == current.note:
                raise  # nobody else was at it: this is another failure
    return False


def _cosignature(
    ledger: Ledger,
    signed: SignedCheckpoint,
    address: SplitResult,
    witness: NoteVerifier,
    seconds: float,
) -> bytes:
    """Return a verified signature line of a witness.

    Raises:
        LedgerError: it gave none; says why.
    """
    size, old = signed.checkpoint.size, 0
    tree = TileTree(ledger.tiles, size)
    for _ in range(_ROUNDS):
        proof = tree.consistency_proof(old) if old else ()
        status, kind, body = _post(address, write_request(old, proof, signed.note), seconds)
        if status == http.HTTPStatus.OK:
            return _verified(signed, witness, body)
        match = _NUMBER.fullmatch(body.decode("ascii", "replace"))
        if status != http.HTTPStatus.CONFLICT or kind != SIZE_TYPE or match is None:
            raise LedgerError(f"the witness {witness.name} answered {status}")
        seen = int(match[1])
        if seen > size:
            raise LedgerRewrittenError(
                f"the witness {witness.name} saw {seen} entries of this ledger, which has {size}: "
                "it was truncated or rolled back, or somebody else collects as well"
            )
        if seen == old:
            raise LedgerRewrittenError(
                f"the witness {witness.name} cosigned another ledger of {seen} entries: it was "
                "forked"
            )
        old = seen
    raise LedgerError(f"the witness {witness.name} changes its mind all the time")


def _verified(signed: SignedCheckpoint, witness: NoteVerifier, body: bytes) -> bytes:
    answer = SignedCheckpoint.parse(signed.note + body)
    if not answer.cosignatures([witness]):
        raise LedgerError(f"the witness {witness.name} answered without a cosignature of its own")
    lines = body.splitlines(keepends=True)
    start = f"\u2014 {witness.name} ".encode()
    for line in lines:
        one = SignedCheckpoint.parse(signed.note + line)
        if line.startswith(start) and one.cosignatures([witness]):
            return line
    raise LedgerError(f"the witness {witness.name} answered without a cosignature of its own")


def _address(url: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        port_is_one = False
    plain = parts.username is None and not parts.query and not parts.fragment
    if not parts.hostname or not plain or not port_is_one:
        raise ConfigurationError("a witness's address is https://host/prefix, without credentials")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ConfigurationError(
            f"the witness {parts.hostname} is not asked over {parts.scheme or 'nothing'}",
            next_step="use https; http is for witnesses on this machine",
        )
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _post(address: SplitResult, body: bytes, seconds: float) -> tuple[int, str, bytes]:
    """Return status, media type and body of an answer; follows no redirect."""
    host = address.hostname or ""
    connection = (
        http.client.HTTPSConnection(
            host, address.port, timeout=seconds, context=ssl.create_default_context()
        )
        if address.scheme == "https"
        else http.client.HTTPConnection(host, address.port, timeout=seconds)
    )
    try:
        connection.connect()
        timer = threading.Timer(seconds, _hang_up, [connection.sock])
        timer.daemon = True
        timer.start()
        try:
            path = f"{address.path.rstrip('/')}/add-checkpoint"
            connection.request("POST", path, body, {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            content = answer.read(_MAX_ANSWER_BYTES + 1)
        finally:
            timer.cancel()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LedgerError(
            f"the witness at {host} gave no answer: {type(error).__name__}"
        ) from error
    finally:
        connection.close()
    if len(content) > _MAX_ANSWER_BYTES:
        raise LedgerError(f"the witness at {host} answered more than {_MAX_ANSWER_BYTES} bytes")
    return answer.status, answer.getheader("Content-Type", "").partition(";")[0], content


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
