"""Time-based one-time passwords: a code of six digits, another one every 30 seconds.

Only the computation; what was used already, and how often somebody guessed, is kept by
:mod:`sluicegate.approving.enrolment`. A code proves that somebody holds the secret now. It
does not say what for: whoever sees a code can use it for something else within a minute, if
they are first. A security key (:mod:`sluicegate.approving.webauthn`) signs what it is for.

Source: RFC 6238 (TOTP), RFC 4226 (HOTP).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError

__all__ = ["ALGORITHMS", "PERIOD", "WINDOW", "TotpSecret", "step_of"]

PERIOD: Final = 30
"""Seconds for which a code is shown; what RFC 6238 recommends and every app takes."""
WINDOW: Final = 1
"""Steps before and after the present one that are accepted, for clocks that differ and codes
that are typed slowly; RFC 6238, 5.2, recommends one."""
ALGORITHMS: Final = {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256}
"""Hash functions. Many apps know only SHA-1, whose collisions do not matter to HMAC."""
_DIGITS: Final = 6
_SECRET_BYTES: Final = 20
"""Length of a secret; RFC 4226, 4, recommends 160 bits."""
_ISSUER: Final = "sluicegate"


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpSecret:
    """What an authenticator app and the approval service share.

    Raises:
        ConfigurationError: the algorithm is not one of :data:`ALGORITHMS`, or the secret is
            shorter than 128 bits.
    """

    id: str
    """Names this enrolment; another one of the same person has another id."""
    secret: bytes = field(repr=False)
    algorithm: str = "SHA1"

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ConfigurationError(
                f"there is no TOTP algorithm {self.algorithm!r}",
                next_step=f"algorithms: {', '.join(ALGORITHMS)}",
            )
        if len(self.secret) < 16:
            raise ConfigurationError("a TOTP secret has at least 128 bits (RFC 4226, 4)")

    @classmethod
    def new(cls, algorithm: str = "SHA1") -> TotpSecret:
        """Make a secret.

        Raises:
            ConfigurationError: there is no such algorithm.
        """
        return cls(
            id=secrets.token_hex(8), secret=secrets.token_bytes(_SECRET_BYTES), algorithm=algorithm
        )

    def uri(self, name: str) -> str:
        """Return the ``otpauth://`` URI that an app reads, mostly as a QR code. It is secret.

        Source: Key URI format of Google Authenticator.
        """
        secret = base64.b32encode(self.secret).decode().rstrip("=")
        return (
            f"otpauth://totp/{_ISSUER}:{quote(name, safe='')}?secret={secret}&issuer={_ISSUER}"
            f"&algorithm={self.algorithm}&digits={_DIGITS}&period={PERIOD}"
        )

    def code(self, step: int) -> str:
        """Return the code of a time step.

        Source: RFC 4226, 5.3: dynamic truncation.
        """
        mac = hmac.new(self.secret, step.to_bytes(8, "big"), ALGORITHMS[self.algorithm]).digest()
        offset = mac[-1] & 0x0F
        number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
        return f"{number % 10**_DIGITS:0{_DIGITS}d}"

    def match(self, code: str, step: int) -> int | None:
        """Return the latest step around ``step`` that has this code, if any.

        Takes the same time whichever it is. That the step was not used before is for the
        caller to see to.

        Args:
            code: what was typed; blanks between digits do not count.
            step: the present time step; see :func:`step_of`.
        """
        typed = "".join(code.split()).encode("utf-8", "replace")
        found = None
        for candidate in range(max(step - WINDOW, 0), step + WINDOW + 1):
            if hmac.compare_digest(self.code(candidate).encode(), typed):
                found = candidate
        return found

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, which is secret."""
        return {
            "id": self.id,
            "secret": base64.b64encode(self.secret).decode(),
            "algorithm": self.algorithm,
        }

    @classmethod
    def from_json(cls, value: Json) -> TotpSecret:
        """Read the JSON form, or raise KeyError, TypeError or ValueError."""
        return cls(
            id=str(value["id"]),
            secret=base64.b64decode(value["secret"], validate=True),
            algorithm=str(value["algorithm"]),
        )


def step_of(seconds: float) -> int:
    """Return the time step of an instant, in seconds since 1970."""
    return int(seconds // PERIOD)
