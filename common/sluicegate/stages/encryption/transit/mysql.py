"""MySQL and MariaDB: greeting, request for TLS, and a log-in without it.

Client/server protocol 4.1, MySQL Internals, "Connection Phase".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sluicegate.stages.encryption.transit.wire import Link, NoAnswerError

__all__ = [
    "INSECURE_TRANSPORT",
    "Greeting",
    "log_in",
    "read_greeting",
    "read_packet",
    "ssl_request",
]

INSECURE_TRANSPORT: Final = 3159
"""``ER_SECURE_TRANSPORT_REQUIRED``: ``require_secure_transport`` is on."""

_SSL: Final = 0x0800
_CAPABILITIES: Final = 0x0001 | 0x0200 | 0x8000 | 0x00080000
"""LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH."""

_PACKET_BYTES: Final = 1 << 14
"""Longest packet of the connection phase that is read; usual ones have a hundred bytes."""

PROBE_USER: Final = b"sluicegate_probe"
"""Nobody's name: a failed log-in must not count against the pipeline's user."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server says first."""

    offers_tls: bool
    sequence: int
    """Number of the packet, from which the client goes on."""


def read_greeting(link: Link) -> Greeting:
    """Read the server's greeting.

    Raises:
        NoAnswerError: not MySQL, an error instead of a greeting, or too slow.
    """
    sequence, body = read_packet(link)
    if body[:1] == b"\xff":
        raise NoAnswerError(f"MySQL: the server refuses connections (error {error_code(body)})")
    _, end, rest = body[1:].partition(b"\0")  # the version, as text
    if body[:1] != b"\x0a" or not end or len(rest) < 15:
        raise NoAnswerError("MySQL: the answer is not MySQL's")
    capabilities = int.from_bytes(rest[13:15], "little")  # thread id 4, data 8, filler 1
    return Greeting(bool(capabilities & _SSL), sequence)


def ssl_request(greeting: Greeting) -> bytes:
    """Return the packet after which TLS begins."""
    return _packet(greeting.sequence + 1, _head(_CAPABILITIES | _SSL))


def log_in(greeting: Greeting) -> bytes:
    """Return a log-in of nobody, without TLS and without a password."""
    body = _head(_CAPABILITIES) + PROBE_USER + b"\0" + b"\0" + b"mysql_native_password\0"
    return _packet(greeting.sequence + 1, body)


def read_packet(link: Link) -> tuple[int, bytes]:
    """Return number and body of one packet, read as one step.

    Raises:
        NoAnswerError: too long or too slow.
    """
    deadline = link.deadline()
    head = link.exactly(4, deadline)
    length = int.from_bytes(head[:3], "little")
    if not 0 < length <= _PACKET_BYTES:
        raise NoAnswerError("MySQL: the answer is not MySQL's")
    return head[3], link.exactly(length, deadline)


def error_code(body: bytes) -> int:
    """Return the number in an error packet."""
    return int.from_bytes(body[1:3], "little")


def _head(capabilities: int) -> bytes:
    return struct.pack("<IIB23x", capabilities, 1 << 24, 45)


def _packet(sequence: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([sequence & 0xFF]) + body
