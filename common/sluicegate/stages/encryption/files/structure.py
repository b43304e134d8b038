"""What all readers of encrypted formats share: verdicts, bounded reading, a test for noise.

A format is believed only as far as its structure goes: every length must add up to the end of
the file. Structure cannot show that the key is a good one, or that only the right people have
it. It can be faked around clear text; so payloads must also look like noise, which clear text
does not. Compressed data does look like noise: the reverse is never concluded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Final

__all__ = [
    "WHOLE_BYTES",
    "Envelope",
    "MalformedError",
    "Standing",
    "UndecidedError",
    "check_noise",
    "exactly",
    "looks_random",
    "number",
    "size_of",
    "whole",
]

WHOLE_BYTES: Final = 64 << 20
"""Formats that are text (armour, tokens) are decoded in memory up to this size; writers of
such formats hold the whole message in memory too, so that real ones are far smaller."""

_SAMPLE: Final = 4096
"""Bytes looked at for noise, from the start and from the middle of a payload."""

_FEWEST: Final = 256
"""Below this many bytes clear text and noise cannot be told apart with confidence."""

_CHI_SQUARE: Final = 500.0
"""Most that Pearson's statistic over 256 byte values may be. Noise has mean 255 and standard
deviation 22.6 whatever the length, so that this is more than ten of them away; text of 256
bytes has above 1500."""


class Standing(StrEnum):
    """How a file stands."""

    ENCRYPTED = "encrypted"
    WEAK = "weak"
    """Encrypted in a way that does not hold."""
    CLEAR = "clear"
    """Readable without a key, wholly or in part."""
    BROKEN = "broken"
    """Begins like an encrypted format, and is not one to its end."""
    UNTOLD = "cannot be told"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one file is, by its structure."""

    kind: str
    """The format: ``age``, ``openpgp``, ``zip`` …; ``none`` where no known one begins."""
    standing: Standing
    note: str = ""
    """What is wrong, or what stays in clear. The same for all files that have it, and without
    any data value."""


class MalformedError(ValueError):
    """The file breaks the rules of the format that it begins like."""


class UndecidedError(ValueError):
    """The file can be neither confirmed nor refuted within the bounds."""


def exactly(source: IO[bytes], count: int) -> bytes:
    """Read this many bytes.

    Raises:
        MalformedError: the file ends before.
    """
    data = source.read(count) if count else b""
    if len(data) != count:
        raise MalformedError("it ends before its structure does")
    return data


def number(source: IO[bytes], octets: int) -> int:
    """Read an unsigned number, most significant octet first.

    Raises:
        MalformedError: the file ends before.
    """
    return int.from_bytes(exactly(source, octets), "big")


def size_of(source: IO[bytes]) -> int:
    """Return the length of the file in bytes; leaves the position as it was."""
    here = source.tell()
    end = source.seek(0, io.SEEK_END)
    source.seek(here)
    return end


def whole(source: IO[bytes]) -> bytes:
    """Return all bytes of a file that must fit into memory.

    Raises:
        UndecidedError: it is larger than :data:`WHOLE_BYTES`.
    """
    if size_of(source) > WHOLE_BYTES:
        raise UndecidedError(f"text of more than {WHOLE_BYTES >> 20} MiB is not decoded")
    source.seek(0)
    return source.read()


def looks_random(sample: bytes) -> bool:
    """Return whether bytes could be ciphertext: Pearson's chi-square over the byte values.

    True for anything shorter than 256 bytes: nothing can be said of it.
    """
    if len(sample) < _FEWEST:
        return True
    squares = sum(sample.count(value) ** 2 for value in set(sample))
    return squares * 256 / len(sample) - len(sample) <= _CHI_SQUARE


def check_noise(source: IO[bytes], start: int, end: int) -> None:
    """Look whether a payload could be ciphertext, at its start and in its middle.

    Raises:
        MalformedError: it could not: what it holds is in clear.
    """
    for sample in _samples(source, start, end):
        if not looks_random(sample):
            raise MalformedError("its payload is not ciphertext: the bytes are far from random")


def _samples(source: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    for position in (start, start + (end - start) // 2):
        source.seek(position)
        yield source.read(max(0, min(_SAMPLE, end - position)))
