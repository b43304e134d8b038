"""Greetings that no good client sends: would a server agree to what is broken?

A TLS library of today cannot offer export ciphers, RC4 or SSL 3 any more, and some systems
also forbid it TLS 1.0. So the first message of a handshake is written here, with nothing
but the retired things in it, and the server's first flight is read until it is complete. No
key is agreed on and nothing secret is sent: the connection ends there.

Versions from SSL 3 to TLS 1.2 (RFC 6101, 2246, 4346, 5246). With ``modern=True`` the
greeting is one of TLS 1.3 and 1.2 (RFC 8446): the control, to see that a server which hangs
up on a bad greeting answers to a good one.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.stages.encryption.transit.wire import Link, NoAnswerError

__all__ = [
    "MODERN_CIPHERS",
    "OLD_CIPHERS",
    "VERSIONS",
    "WEAK_CIPHERS",
    "Accepted",
    "Refused",
    "greet",
]

VERSIONS: Final = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1"}
"""Versions that RFC 7568 and RFC 8996 retire, by their numbers on the wire."""

WEAK_CIPHERS: Final[dict[str, tuple[int, ...]]] = {
    "without encryption (NULL)": (
        0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010, 0xC015,
    ),
    "without a certificate (anonymous)": (
        0x0034, 0x003A, 0x0046, 0x0089, 0x006C, 0x006D, 0x00A6, 0x00A7, 0x00BF, 0x00C5,
        0x0018, 0x001A, 0x001B, 0x009B, 0xC016, 0xC017, 0xC018, 0xC019,
    ),
    "of export grade": (
        0x0003, 0x0006, 0x0008, 0x000B, 0x000E, 0x0011, 0x0014, 0x0017, 0x0019, 0x0062, 0x0064,
    ),
    "with RC4": (0x0004, 0x0005, 0xC002, 0xC007, 0xC00C, 0xC011),
    "with single DES": (0x0009, 0x000C, 0x000F, 0x0012, 0x0015),
    "with 3DES": (0x000A, 0x000D, 0x0010, 0x0013, 0x0016, 0xC003, 0xC008, 0xC00D, 0xC012),
    "with IDEA": (0x0007,),
}  # fmt: skip
"""Cipher suites that nobody should accept, by what is wrong, as the IANA registry numbers them.
RC4: RFC 7465; DES and IDEA: RFC 5469; 3DES: CVE-2016-2183; export: CVE-2015-0204."""

DHE_CIPHERS: Final = (0x009E, 0x009F, 0xCCAA, 0x0067, 0x006B, 0x0033, 0x0039)
"""Suites whose key is agreed on in a group of numbers that the server chooses."""

_ECDHE: Final = (0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9, 0xC023, 0xC024, 0xC027, 0xC028)
_CBC: Final = (0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035, 0x0033, 0x0039, 0x0041, 0x0084)
_RSA: Final = (0x009C, 0x009D, 0x003C, 0x003D)

MODERN_CIPHERS: Final = (0x1301, 0x1302, 0x1303, *_ECDHE, *DHE_CIPHERS, *_RSA, *_CBC)
"""What clients of today offer, and what those of yesterday did."""

OLD_CIPHERS: Final = (
    *_CBC, *(one for family in ("with 3DES", "with RC4") for one in WEAK_CIPHERS[family]),
    *WEAK_CIPHERS["without encryption (NULL)"], *WEAK_CIPHERS["without a certificate (anonymous)"],
    *WEAK_CIPHERS["of export grade"], *WEAK_CIPHERS["with single DES"], *WEAK_CIPHERS["with IDEA"],
)  # fmt: skip
"""Every suite that versions before TLS 1.2 can use and that some server may have."""

_FLIGHT_BYTES: Final = 256 << 10
"""Longest first flight that is read; one with a chain of ten certificates takes 20 KB."""

_NONE: Final = -1
_INTERNAL_ERROR: Final = b"\x50"
"""An alert that may mean anything, so it counts no more than hanging up."""

_ALERT: Final = 21
_HANDSHAKE: Final = 22
_SERVER_HELLO: Final = 2
_KEY_EXCHANGE: Final = 12
_CERTIFICATE_REQUEST: Final = 13
_HELLO_DONE: Final = 14
_EPHEMERAL: Final = frozenset(
    {*DHE_CIPHERS, 0x0011, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0033, 0x0039}
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server agreed to a greeting."""

    version: int
    """As on the wire: 0x0301 is TLS 1.0."""
    cipher: int
    group_bits: int = 0
    """Size of the Diffie-Hellman group; 0 where none was used."""
    wants_certificate: bool = False
    """The server asks the client for a certificate."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not agree."""

    how: str
    """``alert``, ``closed`` or ``not TLS``."""


def greet(
    link: Link, host: str, version: int, ciphers: Sequence[int], *, modern: bool = False
) -> Accepted | Refused:
    """Send one greeting and read the server's first flight.

    Args:
        link: a connection on which TLS may begin.
        host: for SNI; addresses are not sent (RFC 6066, section 3).
        version: highest version to offer.
        ciphers: all suites to offer.
        modern: also offer TLS 1.3.

    Raises:
        ClosedError: the server hangs up.
        NoAnswerError: silent, too slow, or endless.
    """
    link.send(_client_hello(host, version, ciphers, modern=modern))
    return _read(link)


def _client_hello(host: str, version: int, ciphers: Sequence[int], *, modern: bool) -> bytes:
    suites = b"".join(struct.pack("!H", one) for one in (*ciphers, 0x00FF))
    body = struct.pack("!H", version) + os.urandom(32)
    body += _vector(os.urandom(32) if modern else b"", 1) + _vector(suites, 2) + b"\x01\x00"
    if version > 0x0300:  # SSL 3 has no extensions
        body += _vector(_extensions(host, version, modern=modern), 2)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return struct.pack("!BHH", _HANDSHAKE, min(version, 0x0301), len(message)) + message


def _extensions(host: str, version: int, *, modern: bool) -> bytes:
    groups = (0x001D, 0x0017, 0x0018, 0x0019)
    signatures = (
        0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B,
        0x0401, 0x0501, 0x0601, 0x0203, 0x0201, 0x0202, 0x0402, 0x0101,
    )  # fmt: skip
    parts = [
        (0x000A, _vector(b"".join(struct.pack("!H", one) for one in groups), 2)),
        (0x000B, b"\x01\x00"),
    ]
    if not _is_address(host):
        name = b"\x00" + _vector(host.rstrip(".").encode("ascii"), 2)
        parts.insert(0, (0x0000, _vector(name, 2)))
    if version >= 0x0303:
        known = b"".join(struct.pack("!H", one) for one in signatures)
        parts.append((0x000D, _vector(known, 2)))
    if modern:
        share = struct.pack("!H", 0x001D) + _vector(os.urandom(32), 2)
        parts += [(0x002B, _vector(b"\x03\x04\x03\x03", 1)), (0x0033, _vector(share, 2))]
    return b"".join(struct.pack("!H", kind) + _vector(data, 2) for kind, data in parts)


def _read(link: Link) -> Accepted | Refused:
    """Read messages until the server has said all that it says before the client's turn."""
    accepted: Accepted | None = None
    for kind, body in _messages(link):
        if kind == _NONE:
            return Refused(body.decode())
        if accepted is None:
            if kind != _SERVER_HELLO or len(body) < 38:
                return Refused("not TLS")
            accepted = _server_hello(body)
            if _extension(body, 0x002B):  # TLS 1.3: the rest of the flight is encrypted
                return Accepted(0x0304, accepted.cipher)
        elif kind == _KEY_EXCHANGE and accepted.cipher in _EPHEMERAL and len(body) >= 2:
            prime = body[2 : 2 + int.from_bytes(body[:2], "big")]
            bits = int.from_bytes(prime, "big").bit_length()
            accepted = Accepted(accepted.version, accepted.cipher, bits)
        elif kind == _CERTIFICATE_REQUEST:
            accepted = Accepted(
                accepted.version, accepted.cipher, accepted.group_bits, wants_certificate=True
            )
        elif kind == _HELLO_DONE:
            return accepted
    raise NoAnswerError("the server's first flight is too long")


def _messages(link: Link) -> Iterator[tuple[int, bytes]]:
    """Yield handshake messages; last, with the kind _NONE, how the server refused instead."""
    deadline, waiting, taken = link.deadline(), b"", 0
    while taken < _FLIGHT_BYTES:
        kind, major, length = struct.unpack("!BBxH", link.exactly(5, deadline))
        if kind not in (_ALERT, _HANDSHAKE) or major != 3 or not 0 < length <= 1 << 14:
            yield _NONE, b"not TLS"
            return
        record = link.exactly(length, deadline)
        taken += 5 + length
        if kind == _ALERT:
            if record[:1] == b"\x01" and record != b"\x01\x00":
                continue  # a warning; the server goes on
            yield _NONE, b"closed" if record[1:2] == _INTERNAL_ERROR else b"alert"
            return
        waiting += record
        while len(waiting) >= 4 and len(waiting) >= 4 + int.from_bytes(waiting[1:4], "big"):
            end = 4 + int.from_bytes(waiting[1:4], "big")
            yield waiting[0], waiting[4:end]
            waiting = waiting[end:]


def _server_hello(body: bytes) -> Accepted:
    version = int.from_bytes(body[:2], "big")
    after = 35 + body[34]
    return Accepted(version, int.from_bytes(body[after : after + 2], "big"))


def _extension(body: bytes, wanted: int) -> bool:
    """Return whether a ServerHello carries an extension."""
    rest = body[35 + body[34] + 5 :]
    while len(rest) >= 4:
        kind, length = struct.unpack("!HH", rest[:4])
        if kind == wanted:
            return True
        rest = rest[4 + length :]
    return False


def _vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
