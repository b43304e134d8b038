"""A witness: signs a log's checkpoints after making sure that the log only grew.

Whoever runs a log can show different people different histories, each signed. A witness
remembers the last checkpoint of each log and signs the next one only with a proof that it
continues that. So a log that is cosigned by witnesses whom it does not control has one
history, or none.

Everything that is answered is written down before. The state is one file a log; a witness whose
state was lost must not begin anew without anybody noticing, so every log is admitted once, on
request, and a missing file or folder is an error.

Source: C2SP tlog-witness (``add-checkpoint``) and tlog-cosignature (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger.memory import Memory
from sluicegate.ledger.note import (
    COSIGNATURE,
    ED25519,
    MAX_NOTE_BYTES,
    Checkpoint,
    NoteSigner,
    NoteVerifier,
    SignedCheckpoint,
    cosign,
    sign_checkpoint,
)
from sluicegate.ledger.proofs import verify_consistency
from sluicegate.ledger.signatures import write_note
from sluicegate.merkle import EMPTY_ROOT

__all__ = ["MAX_REQUEST_BYTES", "Answer", "Witness", "write_request"]

MAX_PROOF_LINES: Final = 63
"""What tlog-witness allows: no tree is deeper."""
MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + 64 * 64
"""A note, a proof of 63 lines of 45 bytes, and the line with the old size."""
SIZE_TYPE: Final = "text/x.tlog.size"
"""Media type of the answer 409, which says what size the witness saw last."""
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")
_KEPT_FORKS: Final = 16
"""Pairs of contradicting checkpoints kept as evidence; the first one is proof enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a witness answers."""

    status: int
    """HTTP status, as tlog-witness defines it."""
    body: str
    media_type: str = "text/plain; charset=utf-8"


class _RefusedError(Exception):
    """A request that is answered with something else than a cosignature."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


class Witness:
    """The state of a witness and its key; any number of threads and processes may share it."""

    def __init__(
        self,
        state: Path,
        signer: NoteSigner,
        logs: Iterable[NoteVerifier],
        *,
        admit: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Begin, or go on, with the state in a folder.

        Args:
            state: folder with one file for each log; made when a log is admitted.
            signer: the witness's own key.
            logs: keys of the logs that are cosigned; several of one origin may be in use.
            admit: take up logs that the folder does not know yet, as at the first start. A
                folder that is missing may be one that was lost, so it is no reason by itself.
            clock: tells the time.

        Raises:
            ConfigurationError: not a witness's key, no log's key, the same key for both, or
                a log that the folder does not know.
            LedgerError: the state cannot be read or written.
        """
        self._logs: dict[str, list[NoteVerifier]] = {}
        for log in logs:
            if log.kind != ED25519 or log.public == signer.verifier.public:
                raise ConfigurationError(f"{log.name} is a witness's key, or this witness's own")
            self._logs.setdefault(log.name, []).append(log)
        if signer.kind != COSIGNATURE or not self._logs:
            raise ConfigurationError("a witness has a key of its own and at least one log to watch")
        self._signer = signer
        self._clock = clock or _now
        self._state = state
        for origin in self._logs:
            self._admit(origin, allowed=admit)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request.

        Raises:
            LedgerError: the state cannot be read or written, or is older than the clock
                allows; nothing was signed.
        """
        try:
            old, proof, signed = _parse(body)
            self._authenticate(signed)
            if old > signed.checkpoint.size:
                raise _refused(400, "the old size is larger than the checkpoint's")
            memory = self._memory(signed.checkpoint.origin)
            with memory.locked():
                return self._cosign(memory, old, proof, signed)
        except _RefusedError as refused:
            return refused.answer

    def _admit(self, origin: str, *, allowed: bool) -> None:
        if not allowed and not self._state.exists():
            raise self._unknown(origin)
        memory = self._memory(origin)
        with memory.locked():
            if memory.read() is not None:
                return
            if not allowed:
                raise self._unknown(origin)
            empty = Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
            memory.write(sign_checkpoint(empty, None))

    def _unknown(self, origin: str) -> ConfigurationError:
        return ConfigurationError(
            f"the state in {self._state} knows nothing of the log {origin!r}",
            next_step="if the log is new here, start once with --admit; if not, the state was "
            "lost: restore it, or this witness may cosign a fork",
        )

    def _memory(self, origin: str) -> Memory:
        return Memory(self._state / f"{hashlib.sha256(origin.encode()).hexdigest()}.note")

    def _authenticate(self, signed: SignedCheckpoint) -> None:
        keys = self._logs.get(signed.checkpoint.origin)
        if keys is None:
            raise _refused(404, "this witness does not watch that log")
        for key in keys:
            try:
                signed.verify(key)
            except LedgerError:
                continue
            return
        raise _refused(403, "no signature by a key of that log verifies")

    def _cosign(
        self, memory: Memory, old: int, proof: list[bytes], signed: SignedCheckpoint
    ) -> Answer:
        last = memory.read()
        if last is None or last.checkpoint.origin != signed.checkpoint.origin:
            raise LedgerError(f"the state of the log {signed.checkpoint.origin!r} is gone")
        if last.checkpoint.size != old:
            raise _conflict(last.checkpoint.size)
        self._must_continue(memory, last, proof, signed)
        now = self._time_after(last)
        line = cosign(signed, self._signer, clock=lambda: now)
        known = {(key.name, key.id) for key in self._logs[signed.checkpoint.origin]}
        own = [one for one in signed.signatures if one[:2] in known]
        memory.write(write_note(signed.checkpoint.text(), own) + line.encode())
        return Answer(status=200, body=line)

    def _must_continue(
        self, memory: Memory, last: SignedCheckpoint, proof: list[bytes], signed: SignedCheckpoint
    ) -> None:
        old, new = last.checkpoint, signed.checkpoint
        if old.size == new.size and old.root != new.root:
            if len(list(self._state.glob("*-found"))) < _KEPT_FORKS:
                memory.keep(last, signed)
            raise _conflict(old.size)
        try:
            if old.size == 0 or old.size == new.size:
                if proof:
                    raise LedgerError("this needs no proof, and one was given")
                return
            verify_consistency(
                size1=old.size, size2=new.size, root1=old.root, root2=new.root, proof=proof
            )
        except LedgerError as error:
            raise _refused(422, error.what) from error

    def _time_after(self, last: SignedCheckpoint) -> datetime:
        """Return the time; a clock that went back would sign that an old state is the newest."""
        now = self._clock()
        for earlier in last.cosignatures([self._signer.verifier]):
            if now.replace(microsecond=0) < earlier.time:
                raise LedgerError(
                    f"the clock says {now:%FT%TZ}, and this witness signed at "
                    f"{earlier.time:%FT%TZ} already",
                    next_step="set the clock; nothing is signed before that",
                )
        return now


def write_request(old: int, proof: Iterable[bytes], note: bytes) -> bytes:
    """Return the body of an ``add-checkpoint`` request."""
    lines = [f"old {old}\n", *(f"{base64.b64encode(node).decode()}\n" for node in proof), "\n"]
    return "".join(lines).encode() + note


def _parse(body: bytes) -> tuple[int, list[bytes], SignedCheckpoint]:
    head, _, note = body.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n")
        match = _OLD.fullmatch(first)
        proof = [base64.b64decode(line, validate=True) for line in rest]
        signed = SignedCheckpoint.parse(note)
    except (UnicodeDecodeError, binascii.Error, LedgerError) as error:
        raise _refused(400, "expected an old size, a proof, an empty line, a checkpoint") from error
    if match is None or len(proof) > MAX_PROOF_LINES or any(len(node) != 32 for node in proof):
        raise _refused(400, "the old size or the proof is malformed")
    return int(match[1]), proof, signed


def _refused(status: int, why: str) -> _RefusedError:
    return _RefusedError(Answer(status=status, body=f"{why}\n"))


def _conflict(size: int) -> _RefusedError:
    return _RefusedError(Answer(status=409, body=f"{size}\n", media_type=SIZE_TYPE))


def _now() -> datetime:
    return datetime.now(UTC)
