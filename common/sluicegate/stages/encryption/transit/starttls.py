"""Requests for TLS in plain text: SMTP (RFC 3207), PostgreSQL, MySQL.

Each brings a connection to the point where TLS begins, and takes not one byte more from the
server: what somebody on the way put behind the answer is then read as TLS, and fails.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from sluicegate.stages.encryption.transit import mysql
from sluicegate.stages.encryption.transit.endpoint import Endpoint, Mode
from sluicegate.stages.encryption.transit.wire import Link, NoAnswerError

__all__ = ["NotOfferedError", "before_tls", "greeting", "smtp_reply"]

_SSL_REQUEST: Final = struct.pack("!II", 8, 80877103)
"""PostgreSQL's SSLRequest."""

_LINES: Final = 100
"""Lines of one reply that are read; servers have about ten."""

_LINE_BYTES: Final = 2048
"""Longest line that is read; RFC 5321 allows 512."""


class NotOfferedError(Exception):
    """The server has no TLS to offer, or refuses it. The text says which."""


def before_tls(endpoint: Endpoint) -> Callable[[Link], None]:
    """Return what to speak before TLS begins; it does nothing where TLS begins at once.

    The function raises :class:`NotOfferedError` if the server does not go along.
    """
    if endpoint.mode is not Mode.STARTTLS:
        return _nothing
    return {"smtp": _smtp, "postgresql": _postgresql, "mysql": _mysql}[endpoint.protocol]


def greeting(link: Link) -> set[str]:
    """Read an SMTP server's greeting, send EHLO, and return what it offers, in upper case.

    Raises:
        NoAnswerError: not SMTP, busy, or too slow.
    """
    code, _ = smtp_reply(link)
    if code != 220:
        raise NoAnswerError(f"SMTP: the server greets with code {code}")
    link.send(b"EHLO client.invalid\r\n")
    code, lines = smtp_reply(link)
    if code in (500, 502):
        return set()  # a server of RFC 821, which has no extensions
    if code != 250:
        raise NoAnswerError(f"SMTP: EHLO is answered with code {code}")
    return {line.upper() for line in lines[1:]}


def smtp_reply(link: Link) -> tuple[int, list[str]]:
    """Return code and lines of one reply (RFC 5321, section 4.2), read as one step.

    Raises:
        NoAnswerError: not SMTP, too long, or too slow.
    """
    deadline = link.deadline()
    lines: list[str] = []
    while len(lines) < _LINES:
        text = link.line(_LINE_BYTES, deadline).decode("ascii", "replace")
        if len(text) < 3 or not (text[:3].isascii() and text[:3].isdigit()):
            raise NoAnswerError("SMTP: the answer is not SMTP")
        lines.append(text[4:].strip())
        if text[3:4] != "-":
            return int(text[:3]), lines
    raise NoAnswerError("SMTP: the answer is too long")


def _nothing(link: Link) -> None:
    del link


def _smtp(link: Link) -> None:
    if "STARTTLS" not in greeting(link):
        raise NotOfferedError("the server does not offer STARTTLS")
    link.send(b"STARTTLS\r\n")
    code, _ = smtp_reply(link)
    if code != 220:
        raise NotOfferedError(f"the server offers STARTTLS and then answers with code {code}")


def _postgresql(link: Link) -> None:
    link.send(_SSL_REQUEST)
    answer = link.exactly(1)
    if answer == b"N":
        raise NotOfferedError("the server has no TLS (its setting ssl is off)")
    if answer == b"E":
        raise NotOfferedError("the server answers the request for TLS with an error")
    if answer != b"S":
        raise NoAnswerError("PostgreSQL: the answer is not PostgreSQL's")


def _mysql(link: Link) -> None:
    hello = mysql.read_greeting(link)
    if not hello.offers_tls:
        raise NotOfferedError("the server has no TLS (CLIENT_SSL is not among its capabilities)")
    link.send(mysql.ssl_request(hello))
