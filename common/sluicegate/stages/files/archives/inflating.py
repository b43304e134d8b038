"""Inflating: what comes out is counted while it comes, and nothing believes a header.

Sources: RFC 1950, 1951 and 1952; the bzip2 and xz formats.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final, Protocol

from sluicegate.stages.files.examination import Examination, MalformedError, UnreadableError
from sluicegate.stages.files.limits import BLOCK
from sluicegate.stages.files.views import View

__all__ = ["Decoder", "decoder_for", "inflate_stream", "pump"]

LZMA_MEMORY: Final = 128 << 20
"""Memory for one xz or lzma stream, in bytes; the highest preset, -9, needs 65 MiB to read."""

MOST_MEMBERS: Final = 1_000_000
"""Members in one compressed stream: bgzip writes one for each 64 KB."""


class Decoder(Protocol):
    """What one compressed member is read with."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most ``max_length`` more bytes."""
        ...


class _Stored:
    """Bytes that are not compressed."""

    eof = False
    unused_data = b""
    needs_input = True

    def decompress(self, data: bytes, max_length: int, /) -> bytes:  # noqa: ARG002
        return data


def decoder_for(kind: str) -> Any:
    """Return a decoder for ``gzip``, ``zlib``, ``deflate``, ``bzip2``, ``xz`` or ``stored``."""
    if kind == "stored":
        return _Stored()
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    if kind == "xz":
        return lzma.LZMADecompressor(memlimit=LZMA_MEMORY)
    return zlib.decompressobj({"gzip": 31, "zlib": 15, "deflate": -15}[kind])


def pump(decoder: Any, data: bytes) -> Iterator[bytes]:
    """Give a decoder some bytes, and yield all that comes of them, in bounded pieces.

    Raises:
        MalformedError: the bytes are not what the decoder reads.
        UnreadableError: the stream asks for more memory than is allowed.
    """
    rest, first = data, True
    while not decoder.eof and (rest or first or _holds_more(decoder)):
        first = False
        try:
            piece = decoder.decompress(rest, BLOCK)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
            if isinstance(error, lzma.LZMAError) and "emory" in str(error):
                raise UnreadableError("a stream that needs too much memory to read") from None
            raise MalformedError("compressed data that cannot be inflated") from None
        rest = getattr(decoder, "unconsumed_tail", b"")
        if piece:
            yield piece
        elif not rest:
            return


def _holds_more(decoder: Any) -> bool:
    """Whether a decoder can give more without getting more (those that keep their input)."""
    return not getattr(decoder, "needs_input", True)


def inflate_stream(view: View, kind: str, sink: IO[bytes], found: Examination) -> int:
    """Inflate all members of a gzip, bzip2, xz or zlib stream into a file.

    Returns:
        Where the stream ends: bytes behind it belong to nothing.

    Raises:
        MalformedError: a member is broken or cut off.
        UnreadableError: it needs too much memory.
        ExceededError: it expands too far.
    """
    at, members = 0, 0
    while at < view.size and (members == 0 or _continues(view, at, kind)):
        at += _member(view.part(at, view.size), decoder_for(kind), sink, found)
        members += 1
        if members > MOST_MEMBERS:
            raise UnreadableError(f"more than {MOST_MEMBERS} members in one stream")
    return at + _padding(view, at) if kind in ("gzip", "xz") else at


def _member(view: View, decoder: Any, sink: IO[bytes], found: Examination) -> int:
    """Inflate one member; return its length as it lies there."""
    at, size = 0, min(view.size, BLOCK)
    while not decoder.eof:
        block = view.at(at, size)
        at += len(block)
        before = sink.tell()
        for piece in pump(decoder, block):
            found.spend(len(piece))
            sink.write(piece)
        if not block and not decoder.eof and sink.tell() == before:
            raise MalformedError("compressed data that ends too early")
    return at - len(decoder.unused_data)


_MAGIC: Final = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00"}


def _continues(view: View, at: int, kind: str) -> bool:
    magic = _MAGIC.get(kind)
    return magic is not None and view.at(at, len(magic)) == magic


def _padding(view: View, at: int) -> int:
    """Return how many zero bytes follow: gzip on tape and xz may be padded with them."""
    rest: Iterable[bytes] = view.blocks(at)
    zeros = 0
    for block in rest:
        if block.strip(b"\0"):
            return 0
        zeros += len(block)
    return zeros
