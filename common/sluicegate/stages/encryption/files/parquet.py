"""Parquet modular encryption: what of a file can be read without its keys.

With an encrypted footer a file begins and ends with ``PARE``; with a footer in clear it keeps
``PAR1`` and says for each column whether it is encrypted. Neither is believed: columns that
were given no key are stored in clear, behind an encrypted footer too, and a footer may claim
what is not so. Encrypted parts are framed (length, nonce, ciphertext), so the frames are
followed from the first byte of a column to its last, and must hold noise.

The names of columns, the number of rows and all else in a plain footer stay readable. Source:
Apache Parquet, ``Encryption.md`` (sections 4 and 5) and ``parquet.thrift``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    UndecidedError,
    exactly,
    looks_random,
    size_of,
)
from sluicegate.stages.encryption.files.thrift import read_struct

__all__ = ["CLEAR_FOOTER", "ENCRYPTED_FOOTER", "Layout", "read_layout"]

CLEAR_FOOTER: Final = b"PAR1"
ENCRYPTED_FOOTER: Final = b"PARE"

_FOOTER: Final = 16 << 20
"""Largest plain footer read, in bytes: about 100 000 column chunks."""
_FRAMES: Final = 1 << 20
"""Frames followed in one file; with pages of 1 MiB, as writers make them, that is 500 GiB."""
_SMALLEST: Final = 12
"""Octets of the nonce, which every frame begins with."""
_SAMPLE: Final = 1 << 14
"""Bytes of ciphertext looked at in each column, 256 of a frame."""
_PAGE_HEADER: Final = 1 << 16

# Field numbers of parquet.thrift.
_META_ROW_GROUPS, _META_ALGORITHM = 4, 8
_GROUP_COLUMNS = 1
_CHUNK_FILE, _CHUNK_META, _CHUNK_CRYPTO = 1, 3, 8
_COLUMN_PATH, _COLUMN_SIZE, _COLUMN_DATA, _COLUMN_DICTIONARY, _COLUMN_STATISTICS = 3, 7, 9, 11, 12
_PAGE_TYPE, _PAGE_SIZE, _PAGE_COMPRESSED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Layout:
    """What of one Parquet file is encrypted."""

    modular: bool
    """Whether the file uses modular encryption at all."""
    clear: tuple[str, ...] = ()
    """Columns whose values can be read without a key, sorted."""
    leaking: tuple[str, ...] = ()
    """Encrypted columns whose least and greatest value stand in the plain footer, sorted."""
    hidden: bool = False
    """The footer is encrypted: names are not known; some column is stored in clear."""
    doubt: str = ""
    """Why it cannot be told whether every column is encrypted; empty where it can."""
    footer: bool = False
    """The footer is encrypted."""

    def envelope(self) -> Envelope:
        """Return how the file stands as a whole."""
        if not self.modular:
            return Envelope("parquet", Standing.CLEAR, "Parquet without modular encryption")
        if self.clear or self.hidden:
            note = "Parquet with columns that are stored in clear"
            return Envelope("parquet-modular", Standing.CLEAR, note)
        if self.leaking:
            note = "Parquet whose plain footer holds values of encrypted columns"
            return Envelope("parquet-modular", Standing.CLEAR, note)
        if self.doubt:
            return Envelope("parquet-modular", Standing.UNTOLD, self.doubt)
        note = "" if self.footer else "names of columns, types and counts of rows are in clear"
        return Envelope("parquet-modular", Standing.ENCRYPTED, note)


def read_layout(source: IO[bytes]) -> Layout:
    """Read the footer of a Parquet file and follow its encrypted columns.

    Raises:
        MalformedError: it is no whole Parquet file.
        UndecidedError: its footer is too large to be read.
    """
    size = size_of(source)
    source.seek(0)
    head = exactly(source, 4)
    if size < 12:
        raise MalformedError("it ends before its structure does")
    source.seek(size - 8)
    tail = exactly(source, 8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != head or length > size - 12:
        raise MalformedError("its end is missing")
    start = size - 8 - length
    if head == ENCRYPTED_FOOTER:
        return _hidden(source, start, length)
    if length > _FOOTER:
        raise UndecidedError(f"its footer is larger than {_FOOTER >> 20} MiB")
    source.seek(start)
    meta, _ = read_struct(exactly(source, length))
    return _described(source, meta, start)


def _hidden(source: IO[bytes], start: int, length: int) -> Layout:
    """Judge a file with an encrypted footer: all up to it must be frames."""
    source.seek(start)
    crypto = exactly(source, min(length, 1 << 20))
    _, end = read_struct(crypto)
    framed = int.from_bytes(crypto[end : end + 4], "little")
    if end + 4 + framed != length or framed < _SMALLEST + 16 + 1:
        raise MalformedError("its encrypted footer is malformed")
    try:
        _follow(source, 4, start)
    except _NoFrameError as stop:
        if _page_starts(source, stop.at):
            return Layout(modular=True, footer=True, hidden=True)
        doubt = "Parquet with parts that are framed neither as encrypted nor as pages in clear"
        return Layout(modular=True, footer=True, doubt=doubt)
    except MalformedError:
        return Layout(modular=True, footer=True, hidden=True)
    return Layout(modular=True, footer=True)


def _described(source: IO[bytes], meta: dict[int, Any], end: int) -> Layout:
    """Judge a file with a plain footer, column by column."""
    chunks = list(_chunks(meta))
    modular = _META_ALGORITHM in meta or any(_CHUNK_CRYPTO in chunk for chunk in chunks)
    if not modular:
        return Layout(modular=False)
    states: dict[str, set[str]] = defaultdict(set)
    budget = _FRAMES
    for chunk in chunks:
        name, state, used = _column(source, chunk, end, budget)
        states[name].add(state)
        budget -= used
    doubtful = any("doubt" in state for state in states.values())
    doubt = "Parquet with columns that cannot be followed" if doubtful else ""
    if not chunks:
        doubt = "Parquet that holds no rows: nothing shows whether columns would be encrypted"
    return Layout(
        modular=True,
        clear=tuple(sorted(name for name, state in states.items() if "clear" in state)),
        leaking=tuple(sorted(name for name, state in states.items() if "leaking" in state)),
        doubt=doubt,
    )


def _chunks(meta: dict[int, Any]) -> Iterator[dict[int, Any]]:
    for group in _dicts(meta.get(_META_ROW_GROUPS)):
        yield from _dicts(group.get(_GROUP_COLUMNS))


def _dicts(value: Any) -> list[dict[int, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise MalformedError("its metadata is not that of Parquet")
    return value


def _column(
    source: IO[bytes], chunk: dict[int, Any], end: int, budget: int
) -> tuple[str, str, int]:
    """Return the name of a column, how this part of it stands, and the frames it took."""
    meta = chunk.get(_CHUNK_META)
    if not isinstance(meta, dict):
        return "?", "doubt", 0
    path = meta.get(_COLUMN_PATH)
    parts = path if isinstance(path, list) and all(isinstance(p, bytes) for p in path) else [b"?"]
    name = ".".join(part.decode("utf-8", "replace") for part in parts)
    if _CHUNK_CRYPTO not in chunk:
        return name, "clear", 0
    if _CHUNK_FILE in chunk:
        return name, "doubt", 0
    offsets = [meta.get(key) for key in (_COLUMN_DATA, _COLUMN_DICTIONARY)]
    known = [one for one in offsets if isinstance(one, int) and one >= 4]
    length = meta.get(_COLUMN_SIZE)
    if not known or not isinstance(length, int) or length <= 0 or min(known) + length > end:
        return name, "doubt", 0
    try:
        used = _follow(source, min(known), min(known) + length, budget)
    except _NoFrameError as stop:
        return name, "clear" if _page_starts(source, stop.at) else "doubt", 0
    except UndecidedError:
        return name, "doubt", budget
    except MalformedError:
        return name, "clear", 0
    return name, "leaking" if _COLUMN_STATISTICS in meta else "encrypted", used


class _NoFrameError(Exception):
    """At this byte no encrypted part begins."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def _follow(source: IO[bytes], at: int, end: int, budget: int = _FRAMES) -> int:
    """Follow frames from one byte to another; return how many there are.

    Raises:
        _NoFrameError: something else stands between.
        MalformedError: the frames hold clear text.
        UndecidedError: there are too many.
    """
    sample, frames = bytearray(), 0
    while at < end:
        if frames >= budget:
            raise UndecidedError(f"it has more than {_FRAMES} encrypted parts")
        source.seek(at)
        head = source.read(4 + (256 if len(sample) < _SAMPLE else 0))
        length = int.from_bytes(head[:4], "little")
        if length < _SMALLEST or at + 4 + length > end:
            raise _NoFrameError(at)
        sample += head[4 : 4 + length]
        at += 4 + length
        frames += 1
    if not looks_random(bytes(sample)):
        raise MalformedError("its encrypted parts hold clear text")
    return frames


def _page_starts(source: IO[bytes], at: int) -> bool:
    """Return whether the header of a page in clear begins at this byte."""
    source.seek(at)
    try:
        header, _ = read_struct(source.read(_PAGE_HEADER))
    except MalformedError:
        return False
    sizes = [header.get(_PAGE_SIZE), header.get(_PAGE_COMPRESSED)]
    return header.get(_PAGE_TYPE) in (0, 1, 2, 3) and all(
        isinstance(one, int) and one >= 0 for one in sizes
    )
