"""OpenPGP messages: encrypted, or only signed, compressed or wrapped.

Source: RFC 9580, sections 4.2 (packets), 5.1, 5.3, 5.13 and 10.3 (grammar), 6 (armour). The
packet of tag 20, which GnuPG writes for keys that ask for OCB, is from its own draft.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    UndecidedError,
    check_noise,
    number,
    size_of,
    whole,
)

__all__ = ["ARMOUR", "read_armoured", "read_packets", "starts_packets"]

ARMOUR: Final = b"-----BEGIN PGP MESSAGE-----"
"""First line of an armoured message."""

_ARMOUR: Final = re.compile(
    rb"-----BEGIN PGP MESSAGE-----[ \t]*\r?\n(?:[A-Za-z]+: [^\r\n]*\r?\n)*[ \t]*\r?\n"
    rb"(?P<body>[A-Za-z0-9+/=\r\n]*?)(?:\r?\n=(?P<crc>[A-Za-z0-9+/]{4}))?\r?\n"
    rb"-----END PGP MESSAGE-----\s*"
)
_SESSION_KEYS: Final = {1: (3, 6), 3: (4, 5, 6)}
"""Versions of the packets that carry a session key: for a public key, for a password."""
_CHECKED: Final = 8 << 20
"""Most bytes whose armour's checksum is computed, which takes seconds; RFC 9580 does not
demand it, and the lengths of the packets are checked all the same."""
_SKIPPED: Final = (10, 21)
"""Marker and padding packets mean nothing."""
_MOST_PACKETS: Final = 1 << 14
"""Packets and parts of packets followed: 64 MiB in the smallest parts that RFC 9580 allows
first (512 bytes) are more, writers take larger ones as the message grows."""
_SMALLEST: Final = {1: 1 + 18 + 2 + 22, 2: 36 + 1 + 32}
"""Least length of the encrypted packet by version: prefix and digest, or salt and tags."""
_OTHERS: Final = {
    2: "signed",
    4: "signed",
    8: "compressed",
    11: "in clear",
}


@dataclass(frozen=True, slots=True)
class _Packet:
    tag: int
    start: int
    """Where its body begins; of a body in parts, where the first part does."""
    length: int
    """Octets of the body, over all parts."""
    first: int
    """Octets of the first part."""


_BY_PASSWORD: Final = 3
"""Tag of a symmetric-key encrypted session key packet."""
_SHORT_BLOCKS: Final = (1, 2, 3, 4)
"""IDEA, 3DES, CAST5 and Blowfish: nothing may be encrypted with them (RFC 9580, section 9.3)."""


def starts_packets(head: bytes) -> bool:
    """Return whether a file begins with a plausible OpenPGP packet of a message.

    Binary packets have no magic number: only those are taken for one whose first packet is
    complete in itself and of a version that exists.
    """
    try:
        first = next(_packets(io.BytesIO(head), len(head)), None)
    except MalformedError:
        return False
    if first is None or first.start >= len(head):
        return False
    version = head[first.start]
    if first.tag == 10:
        return head[first.start : first.start + 3] == b"PGP"
    return first.tag in _SESSION_KEYS and version in _SESSION_KEYS[first.tag] and first.length > 3


def read_armoured(source: IO[bytes]) -> Envelope:
    """Read an armoured message, and check its checksum where it has one.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: it is too large.
    """
    match = _ARMOUR.fullmatch(whole(source).lstrip())
    if match is None:
        raise MalformedError("its armour is cut short or malformed")
    try:
        data = base64.b64decode(
            match["body"].replace(b"\r", b"").replace(b"\n", b""), validate=True
        )
    except binascii.Error as error:
        raise MalformedError("its armour is not base64") from error
    checked = match["crc"] and len(data) <= _CHECKED
    if checked and base64.b64decode(match["crc"]) != _crc24(data).to_bytes(3, "big"):
        raise MalformedError("the checksum of its armour does not match")
    return read_packets(io.BytesIO(data))


def read_packets(source: IO[bytes]) -> Envelope:
    """Read a message in packets: session keys, then one encrypted packet up to the end.

    Raises:
        MalformedError: it breaks the format.
        UndecidedError: nothing in it says how its session key is found, or it has too many packets.
    """
    source.seek(0)
    end, keys, short = size_of(source), 0, False
    for count, packet in enumerate(_packets(source, end)):
        if count > _MOST_PACKETS:
            raise UndecidedError(f"it has more than {_MOST_PACKETS} packets")
        if packet.tag in _SKIPPED:
            continue
        if packet.tag in _SESSION_KEYS:
            following = source.tell()
            source.seek(packet.start)
            version = number(source, 1)
            if version not in _SESSION_KEYS[packet.tag]:
                raise MalformedError("a packet with a session key has an unknown version")
            if packet.tag == _BY_PASSWORD and version == 4:
                short = short or number(source, 1) in _SHORT_BLOCKS
            source.seek(following)
            keys += 1
        else:
            found = _content(source, packet, keys, end)
            if short:
                return Envelope("openpgp", Standing.WEAK, "its cipher has blocks of 64 bits only")
            return found
    raise MalformedError("there is no ciphertext behind its session keys")


def _content(source: IO[bytes], packet: _Packet, keys: int, end: int) -> Envelope:
    if packet.tag not in (9, 18, 20):
        what = _OTHERS.get(packet.tag, "of another kind")
        return Envelope("openpgp", Standing.CLEAR, f"an OpenPGP message that is only {what}")
    followers = [one for one in _packets(source, end) if one.tag not in _SKIPPED]
    if followers:
        raise MalformedError("something follows its ciphertext")
    source.seek(packet.start)
    version = number(source, 1)
    if packet.tag == 18 and version not in _SMALLEST:
        raise MalformedError("its encrypted packet has an unknown version")
    if packet.length < _SMALLEST.get(version, _SMALLEST[1]):
        raise MalformedError("its ciphertext is cut short")
    if not keys:
        raise UndecidedError("it carries no session key, not even a wrapped one")
    check_noise(source, packet.start + 36, packet.start + packet.first)
    if packet.tag == 9:
        return Envelope("openpgp", Standing.WEAK, "nothing protects the ciphertext from changes")
    return Envelope("openpgp", Standing.ENCRYPTED, "ids of the recipients' keys may be in clear")


def _packets(source: IO[bytes], end: int) -> Iterator[_Packet]:
    """Walk the packets from here on; each body must fit, in all its parts."""
    while source.tell() < end:
        first = number(source, 1)
        if not first & 0x80:
            raise MalformedError("a packet does not begin where it should")
        if first & 0x40:
            yield _new_format(source, first & 0x3F, end)
        else:
            yield _old_format(source, first, end)


def _new_format(source: IO[bytes], tag: int, end: int) -> _Packet:
    start, first, length, parts = 0, 0, 0, 0
    while True:
        size, partial = _length(source)
        here = source.tell()
        if here + size > end:
            raise MalformedError("a packet is longer than the file")
        if not parts:
            start, first = here, size
        length, parts = length + size, parts + 1
        source.seek(here + size)
        if not partial:
            return _Packet(tag, start, length, first)
        if parts > _MOST_PACKETS * 64:
            raise UndecidedError("a packet has too many parts")


def _length(source: IO[bytes]) -> tuple[int, bool]:
    octet = number(source, 1)
    if octet < 192:
        return octet, False
    if octet < 224:
        return ((octet - 192) << 8) + number(source, 1) + 192, False
    if octet < 255:
        return 1 << (octet & 0x1F), True
    return number(source, 4), False


def _old_format(source: IO[bytes], first: int, end: int) -> _Packet:
    kind = first & 3
    length = number(source, 1 << kind) if kind < 3 else end - source.tell()
    start = source.tell()
    if start + length > end:
        raise MalformedError("a packet is longer than the file")
    source.seek(start + length)
    return _Packet((first >> 2) & 0xF, start, length, length)


def _crc24(data: bytes) -> int:
    """Return the checksum of RFC 9580, section 6.1.1."""
    crc = 0xB704CE
    for octet in data:
        crc = ((crc << 8) ^ _CRC24[(crc >> 16) ^ octet]) & 0xFFFFFF
    return crc


def _crc24_table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        value = index << 16
        for _ in range(8):
            value = (value << 1) ^ (0x1864CFB if value & 0x800000 else 0)
        table.append(value & 0xFFFFFF)
    return tuple(table)


_CRC24: Final = _crc24_table()
