"""Would a server serve without TLS? It is spoken to in plain text, on the port that is named.

The least that the protocol has is said: no request for data, no log-in of a real user, no
password. A server that hangs up says nothing certain by that; whether it does so because
plain text is refused, the caller sees from its TLS.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from sluicegate.stages.encryption.transit import mysql
from sluicegate.stages.encryption.transit.endpoint import Endpoint, Mode
from sluicegate.stages.encryption.transit.starttls import greeting, smtp_reply
from sluicegate.stages.encryption.transit.wire import ClosedError, Link, NoAnswerError, Route

__all__ = ["Plain", "Reply", "speak"]


class Plain(StrEnum):
    """What became of an attempt to talk in plain text."""

    SERVED = "served"
    REFUSED = "refused"
    """In so many words."""
    CLOSED = "closed"
    """The server hung up, or sent a TLS alert."""


class Reply(NamedTuple):
    """How a server took plain text."""

    plain: Plain
    words: str
    """What it did, for people."""


def speak(endpoint: Endpoint, route: Route) -> Reply:
    """Talk to a server in plain text.

    Raises:
        NoAnswerError: nothing could be learnt.
    """
    try:
        with route.open() as link:
            return _PROBES[endpoint.protocol](endpoint, link)
    except ClosedError:
        return Reply(Plain.CLOSED, "the server hangs up")


_ALERT: Final = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02", re.DOTALL)
"""A TLS alert in plain: what a TLS server says to other bytes."""

_SOME: Final = 4096
"""Bytes of an answer that are looked at."""

_REFUSE_HTTP: Final = (400, 426)
"""Status codes by which servers tell a client of plain HTTP that this port wants TLS."""


def _http(endpoint: Endpoint, link: Link) -> Reply:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    request = f"HEAD / HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\nConnection: close\r\n\r\n"
    link.send(request.encode("ascii"))
    first = link.exactly(5)
    if _ALERT.match(first):
        return Reply(Plain.CLOSED, "the server sends a TLS alert")
    if first != b"HTTP/":
        raise NoAnswerError("HTTP: the answer is not HTTP")
    line = link.line(_SOME, link.deadline()).decode("ascii", "replace")
    code = line.partition(" ")[2][:3]
    if not code.isdigit():
        raise NoAnswerError("HTTP: the answer is not HTTP")
    words = f"HTTP is answered with status {code}"
    if endpoint.mode is Mode.TLS and (int(code) in _REFUSE_HTTP or code.startswith("3")):
        return Reply(Plain.REFUSED, words)
    if endpoint.mode is Mode.TLS and code.startswith("5"):
        raise NoAnswerError(words)
    if code.startswith("3"):
        words += "; a redirect comes too late: the request was in plain text"
    return Reply(Plain.SERVED, words)


def _redis(endpoint: Endpoint, link: Link) -> Reply:
    del endpoint
    link.send(b"PING\r\n")
    answer = link.exactly(5)
    if _ALERT.match(answer):
        return Reply(Plain.CLOSED, "the server sends a TLS alert")
    if answer[:1] in (b"+", b"-"):
        return Reply(Plain.SERVED, "the command PING is answered")
    raise NoAnswerError("Redis: the answer is not Redis'")


def _kafka(endpoint: Endpoint, link: Link) -> Reply:
    del endpoint
    body = struct.pack("!hhih", 18, 0, _CORRELATION, -1)  # ApiVersions 0, no client id
    link.send(struct.pack("!i", len(body)) + body)
    answer = link.exactly(5)
    if _ALERT.match(answer):
        return Reply(Plain.CLOSED, "the server sends a TLS alert")
    answer += link.exactly(3)
    if int.from_bytes(answer[4:8], "big") == _CORRELATION:
        return Reply(Plain.SERVED, "the request ApiVersions is answered")
    raise NoAnswerError("Kafka: the answer is not Kafka's")


_CORRELATION: Final = 0x51C1CE
"""Number by which an answer is known as one to this module's request."""


def _amqp(endpoint: Endpoint, link: Link) -> Reply:
    del endpoint
    link.send(b"AMQP\x00\x00\x09\x01")
    answer = link.exactly(5)
    if _ALERT.match(answer):
        return Reply(Plain.CLOSED, "the server sends a TLS alert")
    if answer[:3] == b"\x01\x00\x00" or answer[:4] == b"AMQP":
        return Reply(Plain.SERVED, "the header of AMQP is answered")
    raise NoAnswerError("AMQP: the answer is not AMQP")


def _mongodb(endpoint: Endpoint, link: Link) -> Reply:
    del endpoint
    document = b"\x10hello\0\x01\0\0\0" + b"\x02$db\0\x06\0\0\0admin\0"
    document = struct.pack("<i", len(document) + 5) + document + b"\0"
    body = struct.pack("<iii", _CORRELATION, 0, 2013) + bytes(5) + document
    link.send(struct.pack("<i", len(body) + 4) + body)
    answer = link.exactly(5)
    if _ALERT.match(answer):
        return Reply(Plain.CLOSED, "the server sends a TLS alert")
    answer += link.exactly(11)
    if int.from_bytes(answer[8:12], "little") == _CORRELATION:
        return Reply(Plain.SERVED, "the command hello is answered")
    raise NoAnswerError("MongoDB: the answer is not MongoDB's")


def _smtp(endpoint: Endpoint, link: Link) -> Reply:
    """Offers of log-in, or a mail, before STARTTLS. The mail has no sender and no content."""
    if endpoint.mode is Mode.TLS:
        link.send(b"EHLO client.invalid\r\n")
        first = link.exactly(5)
        if _ALERT.match(first):
            return Reply(Plain.CLOSED, "the server sends a TLS alert")
        if first[:3].isdigit():
            return Reply(Plain.SERVED, "EHLO is answered")
        raise NoAnswerError("SMTP: the answer is not SMTP")
    if any(offer.startswith(("AUTH ", "AUTH=")) for offer in greeting(link)):
        return Reply(Plain.SERVED, "log-in is offered before STARTTLS")
    link.send(b"MAIL FROM:<>\r\n")
    code, _ = smtp_reply(link)
    if code == 530:
        return Reply(Plain.REFUSED, "code 530: STARTTLS first")
    if code == 250:
        return Reply(Plain.SERVED, "a mail is accepted before STARTTLS")
    raise NoAnswerError(f"SMTP: MAIL is answered with code {code}")


def _postgresql(endpoint: Endpoint, link: Link) -> Reply:
    """A start-up message without SSLRequest; the connection ends before any log-in."""
    user = endpoint.user or "sluicegate_probe"
    fields = ("user", user, "database", endpoint.database or user)
    body = struct.pack("!I", 196608) + b"".join(one.encode() + b"\0" for one in fields) + b"\0"
    link.send(struct.pack("!I", len(body) + 4) + body)
    deadline = link.deadline()
    head = link.exactly(5, deadline)
    if _ALERT.match(head):
        return Reply(Plain.CLOSED, "the server sends a TLS alert")
    length = int.from_bytes(head[1:], "big") - 4
    if head[:1] == b"R":
        return Reply(Plain.SERVED, "the server goes on to the log-in")
    if head[:1] != b"E" or not 0 < length <= _SOME:
        raise NoAnswerError("PostgreSQL: the answer is not PostgreSQL's")
    return _error(endpoint, link.exactly(length, deadline))


def _error(endpoint: Endpoint, body: bytes) -> Reply:
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    state = fields.get(b"C", b"").decode("ascii", "replace")[:5]
    refused = state == "28000" or (state in ("08P01", "08004") and b"SSL" in fields.get(b"M", b""))
    if not refused:
        raise NoAnswerError(f"PostgreSQL: the server answers with SQLSTATE {state}")
    if state == "28000" and not endpoint.user:
        raise NoAnswerError(
            "PostgreSQL: plain text is refused to a user that the URL does not name, which says "
            "nothing of the pipeline's; name it"
        )
    return Reply(Plain.REFUSED, f"SQLSTATE {state}")


def _mysql(endpoint: Endpoint, link: Link) -> Reply:
    """A log-in of nobody. MySQL and MariaDB ask for TLS only after a good one; others before."""
    del endpoint
    hello = mysql.read_greeting(link)
    if not hello.offers_tls:
        return Reply(Plain.SERVED, "the server has nothing but plain text")
    link.send(mysql.log_in(hello))
    _, body = mysql.read_packet(link)
    if body[:1] == b"\x00":
        return Reply(Plain.SERVED, "anybody may log in")
    code = mysql.error_code(body) if body[:1] == b"\xff" else 0
    if code == mysql.INSECURE_TRANSPORT:
        return Reply(Plain.REFUSED, f"error {code}")
    raise NoAnswerError(
        "MySQL: the server asks for TLS only after a good log-in, which is not tried in plain "
        "text; it can be asked in a session (user in the URL, MYSQL_PWD, driver PyMySQL)"
    )


_PROBES: Final[dict[str, Callable[[Endpoint, Link], Reply]]] = {
    "http": _http,
    "https": _http,
    "redis": _redis,
    "rediss": _redis,
    "kafka": _kafka,
    "amqp": _amqp,
    "amqps": _amqp,
    "mongodb": _mongodb,
    "smtp": _smtp,
    "smtps": _smtp,
    "postgresql": _postgresql,
    "mysql": _mysql,
}
"""How to talk in plain text, by protocol."""
