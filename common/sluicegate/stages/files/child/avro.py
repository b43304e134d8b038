"""Avro object container files: every block is inflated and counted, no record is decoded.

Source: Apache Avro 1.12 specification, "Object Container Files".
"""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from typing import IO, Any, Final

from sluicegate.stages.files.child.counting import Counter, Refused

__all__ = ["read_avro"]

SYNC: Final = 16
"""Bytes of the marker after each block."""

HEADER: Final = 16 << 20
"""Longest entry of the header, in bytes: a schema is shorter."""

MOST_ENTRIES: Final = 1000
"""Entries of the header: the schema, the codec, and what a writer notes besides."""


def read_avro(question: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Walk the blocks of a file.

    Raises:
        Refused: it expands too far, or uses a codec that cannot be read here.
    """
    counter = Counter(question)
    with os.fdopen(os.dup(descriptor), "rb") as source:
        source.seek(4)
        codec = _header(source).get(b"avro.codec", b"null")
        sync = _exactly(source, SYNC)
        while (rows := _number(source, end=True)) is not None:
            size = _number(source)
            if size is None or size < 0 or rows < 0 or size > question["memory"]:
                raise ValueError
            counter.rows += rows
            room = question["allowed"] - counter.bytes
            counter.spend(max(rows, _inflated(_exactly(source, size), codec, room)))
            if _exactly(source, SYNC) != sync:
                raise ValueError
    return counter.facts()


def _header(source: IO[bytes]) -> dict[bytes, bytes]:
    """Read the map of metadata: blocks of entries, a count of zero ends it."""
    entries: dict[bytes, bytes] = {}
    while count := _number(source):
        if count < 0:
            count = -count
            _number(source)
        for _ in range(count):
            key = _text(source)
            entries[key] = _text(source)
            if len(entries) > MOST_ENTRIES:
                raise ValueError
    if b"avro.schema" not in entries:
        raise ValueError
    return entries


def _text(source: IO[bytes]) -> bytes:
    length = _number(source)
    if length is None or not 0 <= length <= HEADER:
        raise ValueError
    return _exactly(source, length)


def _exactly(source: IO[bytes], count: int) -> bytes:
    data = source.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _number(source: IO[bytes], *, end: bool = False) -> int | None:
    """Read a zigzag number of up to ten bytes; ``None`` at the end of the file, if allowed."""
    value = 0
    for at in range(10):
        byte = source.read(1)
        if not byte:
            if end and at == 0:
                return None
            raise EOFError
        value |= (byte[0] & 0x7F) << (7 * at)
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)
    raise ValueError


def _inflated(data: bytes, codec: bytes, room: int) -> int:
    """Return how many bytes a block holds; stops soon after there is no more room."""
    if codec == b"null":
        return len(data)
    if codec == b"deflate":
        return _count(zlib.decompressobj(-15), data, room)
    if codec == b"bzip2":
        return _count(bz2.BZ2Decompressor(), data, room)
    if codec == b"xz":
        return _count(lzma.LZMADecompressor(), data, room)
    if codec == b"zstandard":
        return _count_zstd(data, room)
    if codec == b"snappy":
        return _count_snappy(data, room)
    raise Refused({"unreadable": "an Avro codec that is not known here"})


def _count(decoder: Any, data: bytes, room: int) -> int:
    """Inflate one stream piece by piece; it must end with the data."""
    total, rest = 0, data
    while not decoder.eof and total <= room:
        piece = decoder.decompress(rest, 1 << 20)
        rest = getattr(decoder, "unconsumed_tail", b"")
        if not piece and not rest and getattr(decoder, "needs_input", True) and not decoder.eof:
            raise EOFError
        total += len(piece)
    if decoder.unused_data:
        raise ValueError
    return total


def _count_zstd(data: bytes, room: int) -> int:
    import pyarrow

    total = 0
    stream = pyarrow.input_stream(pyarrow.BufferReader(data), compression="zstd")
    while total <= room and (piece := stream.read(1 << 20)):
        total += len(piece)
    return total


def _count_snappy(data: bytes, room: int) -> int:
    """Decode a snappy block, whose first number says how long it is; the decoder checks it."""
    import io

    import pyarrow

    claimed = _raw_varint(io.BytesIO(data))
    if claimed > room:
        return claimed
    out = pyarrow.decompress(data[:-4], decompressed_size=claimed, codec="snappy")
    if zlib.crc32(out) != int.from_bytes(data[-4:], "big"):
        raise ValueError
    return claimed


def _raw_varint(source: IO[bytes]) -> int:
    value = 0
    for at in range(5):
        byte = _exactly(source, 1)
        value |= (byte[0] & 0x7F) << (7 * at)
        if byte[0] < 0x80:
            return value
    raise ValueError
