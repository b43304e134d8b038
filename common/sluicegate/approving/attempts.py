"""What one attempt to confirm an approval comes to, and what is remembered of it.

Pure: an approver's state and an attempt in, the next state and an answer out.

* A time step that was used, or is before one that was used, is not accepted again.
* A question that was answered is not accepted again; requests are too old after
  :data:`REQUEST_LIFE`, so questions need not be remembered for longer.
* Five wrong attempts in five minutes close the door for five minutes; a hundred without a
  right one, until the approver is enrolled again. With three of 10^6 codes good at any time,
  that leaves a guesser a chance of 3 in 10 000.
* A clock behind one that was seen before decides nothing: codes that were shown on a screen
  last week would be good again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sluicegate.approving.totp import WINDOW, TotpSecret, step_of
from sluicegate.approving.webauthn import WebAuthnCredential, verify_assertion
from sluicegate.canonical import Digest, Json
from sluicegate.errors import ClearanceRefused

__all__ = ["REQUEST_LIFE", "Approver", "Factor", "check_attempt", "use_assertion", "use_code"]

REQUEST_LIFE: Final = timedelta(minutes=15)
"""How long a request may wait for its answer. Enough to look at a report."""
_WRONG: Final = 5
"""Wrong attempts within :data:`_WHILE` before the door is closed (RFC 4226, 7.3, asks for a
limit and leaves the number open)."""
_WHILE: Final = 300
"""Seconds for which a wrong attempt counts."""
_IN_A_ROW: Final = 100
"""Wrong attempts without a right one before a factor is dead; NIST SP 800-63B, 5.2.2."""
_SKEW: Final = 60
"""Seconds by which the clocks of machines that sign approvals may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A second factor that was used up."""

    kind: str
    """``totp``, ``webauthn``, or ``none`` where nobody asked for one."""
    digest: Digest
    """Of what was used: the same for the same code, in whatever process."""
    document: bytes = b""
    """What anybody needs to check it again; its SHA-256 is then :attr:`digest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person's factors, and what was used up of them."""

    name: str
    totp: TotpSecret | None = None
    keys: tuple[WebAuthnCredential, ...] = ()
    last_step: int = -1
    """Newest time step that was accepted."""
    seen: int = 0
    """Newest instant of an attempt, seconds since 1970."""
    wrong: tuple[int, ...] = ()
    """Instants of wrong attempts that still count."""
    in_a_row: int = 0
    """Wrong attempts since the last right one."""
    answered: Mapping[str, int] = field(default_factory=dict)
    """SHA-256 of questions that were answered, and until when to remember them."""

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, which is secret."""
        return {
            "name": self.name,
            "totp": self.totp.to_json() if self.totp else None,
            "webauthn": [key.to_json() for key in self.keys],
            "lastStep": self.last_step,
            "seen": self.seen,
            "wrong": list(self.wrong),
            "inARow": self.in_a_row,
            "answered": dict(self.answered),
        }

    @classmethod
    def from_json(cls, value: Json) -> Approver:
        """Read the JSON form, or raise KeyError, TypeError, ValueError or AttributeError."""
        return cls(
            name=str(value["name"]),
            totp=None if value["totp"] is None else TotpSecret.from_json(value["totp"]),
            keys=tuple(map(WebAuthnCredential.from_json, value["webauthn"])),
            last_step=int(value["lastStep"]),
            seen=int(value["seen"]),
            wrong=tuple(map(int, value["wrong"])),
            in_a_row=int(value["inARow"]),
            answered={str(key): int(until) for key, until in value["answered"].items()},
        )


def check_attempt(approver: Approver, now: datetime) -> None:
    """Return if an attempt may be made at all; one that may not leaves no trace.

    Raises:
        ClearanceRefused: the clock was set back, or there were too many wrong attempts.
    """
    seconds = int(now.timestamp())
    ahead = approver.last_step - WINDOW > step_of(seconds + _SKEW)
    if ahead or seconds + _SKEW < approver.seen:
        raise ClearanceRefused(
            f"the clock is behind the last attempt of {approver.name}: it was set back",
            next_step="set the clock right; codes that were used must not become good again",
        )
    if approver.in_a_row >= _IN_A_ROW:
        raise ClearanceRefused(
            f"{approver.name} is locked after {_IN_A_ROW} wrong attempts in a row",
            next_step=f"find out who guessed; then `sluicegate approvers remove {approver.name}` "
            "and enrol them again",
        )
    if len(_recent(approver.wrong, seconds)) >= _WRONG:
        raise ClearanceRefused(
            f"{_WRONG} wrong attempts of {approver.name} within {_WHILE // 60} minutes",
            next_step=f"wait for {_WHILE // 60} minutes; if it was not {approver.name}, find out "
            "who guessed",
        )


def use_code(approver: Approver, code: str, now: datetime) -> tuple[Approver, Factor | str]:
    """Return the state after a code was tried, and the factor or why it is not accepted."""
    seconds = int(now.timestamp())
    if approver.totp is None:
        return _failed(approver, seconds), f"{approver.name} has no authenticator app enrolled"
    step = approver.totp.match(code, step_of(seconds))
    if step is None:
        return _failed(approver, seconds), f"the code of {approver.name} is wrong"
    if step <= approver.last_step:
        return _failed(approver, seconds), f"the code of {approver.name} was used before"
    used: Json = {
        "kind": "totp",
        "approver": approver.name,
        "credential": approver.totp.id,
        "step": step,
    }
    after = replace(_succeeded(approver, seconds), last_step=step)
    return after, Factor(kind="totp", digest=Digest.of_json(used))


def use_assertion(
    approver: Approver, assertion: Mapping[str, Any], question: Json, now: datetime
) -> tuple[Approver, Factor | str]:
    """Return the state after an assertion was tried, and the factor or why it is not accepted.

    Raises:
        MissingExtraError: ``fido2`` is not installed.
    """
    seconds = int(now.timestamp())
    answered = {key: until for key, until in approver.answered.items() if until >= seconds}
    name = Digest.of_json(question).hex
    if name in answered:
        return _failed(approver, seconds), "this request was answered before"
    try:
        found = verify_assertion(assertion, approver.keys, question=question)
    except ClearanceRefused as error:
        return _failed(approver, seconds), error.what
    # The clock may be behind by the skew when the answer is tried again.
    answered[name] = seconds + int(REQUEST_LIFE.total_seconds()) + 2 * _SKEW
    keys = tuple(
        found.credential if key.id == found.credential.id else key for key in approver.keys
    )
    after = replace(_succeeded(approver, seconds), keys=keys, answered=answered)
    return after, Factor(kind="webauthn", digest=Digest.of(found.document), document=found.document)


def _failed(approver: Approver, seconds: int) -> Approver:
    return replace(
        approver,
        seen=max(approver.seen, seconds),
        wrong=(*_recent(approver.wrong, seconds), seconds),
        in_a_row=approver.in_a_row + 1,
    )


def _succeeded(approver: Approver, seconds: int) -> Approver:
    return replace(
        approver,
        seen=max(approver.seen, seconds),
        wrong=_recent(approver.wrong, seconds),
        in_a_row=0,
    )


def _recent(wrong: tuple[int, ...], seconds: int) -> tuple[int, ...]:
    return tuple(moment for moment in wrong if moment > seconds - _WHILE)
