"""The files of a tiled log: their names and contents, reading, proving and growing.

A tile is 256 hashes, one next to the other: at level 0 the hashes of entries, above it each
hash is the root over one full tile of the level below. The tiles at the right edge are
*partial*: named by how wide they are, and never hashed upwards. A bundle holds the entries
of one level 0 tile, each behind its length. So any proof reads a few tiles, whatever the
size of the log, and a file once written never changes.

Nothing here knows whether the tiles are true: who uses a root or a proof compares it with a
checkpoint whose signature was verified.

Source: C2SP tlog-tiles; tree and proofs as in RFC 6962, section 2.1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.errors import LedgerError
from sluicegate.ledger.base import MAX_ENTRY_BYTES, TileSource
from sluicegate.merkle import EMPTY_ROOT, leaf_hash, merkle_root, node_hash

__all__ = [
    "HASH_BYTES",
    "TILE_WIDTH",
    "Edge",
    "Growth",
    "TileTree",
    "decode_entries",
    "encode_entries",
    "entries_path",
    "grow",
    "tile_path",
]

TILE_WIDTH: Final = 256
"""Hashes in a full tile, as tlog-tiles fixes it."""
HASH_BYTES: Final = 32
"""SHA-256."""
_HEIGHT: Final = 8
"""Levels of the tree in one tile: 256 = 2 ** 8."""
_MAX_LEVEL: Final = 63
"""As in tlog-tiles; a log never gets beyond level 7."""
_LENGTH_BYTES: Final = 2
_TILES_KEPT: Final = 32
"""Tiles held in memory by one reader: more than two paths through the largest log take."""
_REPAIR: Final = (
    "if a writer was killed or power failed, the next append repairs the newest files; "
    "otherwise keep the files as evidence and restore the ledger from a copy"
)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the name of a tile: ``tile/<level>/<index>[.p/<width>]``.

    Raises:
        ValueError: the level is not 0 to 63, the index negative, or the width not 1 to 256.
    """
    if not 0 <= level <= _MAX_LEVEL:
        raise ValueError(f"a tile's level is 0 to {_MAX_LEVEL}, not {level}")
    return f"tile/{level}/{_numbered(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the name of a bundle of entries: ``tile/entries/<index>[.p/<width>]``.

    Raises:
        ValueError: the index is negative, or the width not 1 to 256.
    """
    return f"tile/entries/{_numbered(index, width)}"


def _numbered(index: int, width: int) -> str:
    if index < 0 or not 1 <= width <= TILE_WIDTH:
        raise ValueError(f"there is no tile {index} of width {width}")
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return name if width == TILE_WIDTH else f"{name}.p/{width}"


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return a bundle: each entry behind its length, a big-endian 16-bit number.

    Raises:
        LedgerError: an entry is empty or longer than 65,535 bytes.
    """
    parts: list[bytes] = []
    for entry in entries:
        if not 0 < len(entry) <= MAX_ENTRY_BYTES:
            raise LedgerError(f"an entry has 1 to {MAX_ENTRY_BYTES} bytes, not {len(entry)}")
        parts += (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)
    return b"".join(parts)


def decode_entries(bundle: bytes, count: int, *, name: str) -> list[bytes]:
    """Return the entries of a bundle.

    Args:
        bundle: what :func:`encode_entries` wrote.
        count: how many entries it must hold, no more and no fewer.
        name: of the file, for messages.

    Raises:
        LedgerError: an entry is cut short or empty, or something stands behind the last one.
    """
    entries: list[bytes] = []
    at, end = 0, len(bundle)
    for number in range(count):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(bundle[at:start], "big")
        if start > end or at > end or at == start:
            raise LedgerError(
                f"{name} is damaged at its entry {number}, byte {start - _LENGTH_BYTES}: "
                f"expected {count} entries",
                next_step=_REPAIR,
            )
        entries.append(bundle[start:at])
    if at != end:
        raise LedgerError(
            f"{name} is damaged: {end - at} bytes stand behind its {count} entries",
            next_step=_REPAIR,
        )
    return entries


class TileTree:
    """The first ``size`` entries of a log, read through its tiles.

    Safe to use while the log grows: where a partial tile is gone because the full one exists
    by now, that one is read. Memory is bounded, whatever the size.
    """

    def __init__(self, source: TileSource, size: int) -> None:
        """Read a tree of ``size`` entries from ``source``.

        Raises:
            ValueError: the size is negative.
        """
        if size < 0:
            raise ValueError(f"a tree has 0 entries or more, not {size}")
        self.size: Final = size
        self._source = source
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def leaf_hashes(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the leaf hashes of entries ``start`` to ``stop`` (not included).

        Raises:
            LedgerError: a tile is missing or damaged, or the tree is smaller.
        """
        stop = self._within(stop)
        for index in range(start // TILE_WIDTH, -(-stop // TILE_WIDTH)):
            first = index * TILE_WIDTH
            tile = self._tile(0, index)
            for at in range(max(start - first, 0), min(stop - first, TILE_WIDTH)):
                yield tile[at * HASH_BYTES : (at + 1) * HASH_BYTES]

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield ``(index, entry)`` from ``start``, each compared with its leaf hash.

        Raises:
            LedgerError: a file is missing or damaged; says which, and which entry.
        """
        if start < 0:
            raise ValueError(f"entries are counted from 0, not {start}")
        for index in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            first = index * TILE_WIDTH
            bundle = self._bundle(index)
            self._compare(0, index, self._tile(0, index), list(map(leaf_hash, bundle)))
            for number in range(max(start, first), first + len(bundle)):
                yield number, bundle[number - first]

    def entry(self, index: int) -> bytes:
        """Return one entry, compared with its leaf hash.

        Raises:
            LedgerError: there is no such entry, or it is damaged.
        """
        if not 0 <= index < self.size:
            raise LedgerError(f"a ledger of {self.size} entries has no entry {index}")
        entry = self._bundle(index // TILE_WIDTH)[index % TILE_WIDTH]
        if leaf_hash(entry) != self._node(0, index):
            raise self._differs(0, index)
        return entry

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` entries, as the tiles say it.

        Reads O(log size) tiles.

        Raises:
            LedgerError: a tile is missing or damaged, or the tree is smaller.
        """
        return self._span(0, self._within(size))

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the audit path of an entry in the tree of ``size``, nearest sibling first.

        Raises:
            LedgerError: there is no such entry or tree, or a tile is missing or damaged.
        """
        start, stop = 0, self._within(size)
        if not 0 <= index < stop:
            raise LedgerError(f"a ledger of {stop} entries has no entry {index}")
        path: list[bytes] = []
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                path.append(self._span(middle, stop))
                stop = middle
            else:
                path.append(self._span(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency_proof(self, size1: int, size2: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the first ``size1`` entries are a prefix of the first ``size2``.

        Empty for equal sizes.

        Raises:
            LedgerError: the sizes are no trees of this log, or the older one is empty, about
                which nothing can be proven; a tile is missing or damaged.

        Source: RFC 6962, section 2.1.2.
        """
        start, stop = 0, self._within(size2)
        if not 0 < size1 <= stop:
            raise LedgerError(f"nothing proves that {size1} entries are a prefix of {stop}")
        proof: list[bytes] = []
        while size1 != stop:
            middle = start + _split(stop - start)
            if size1 <= middle:
                proof.append(self._span(middle, stop))
                stop = middle
            else:
                proof.append(self._span(start, middle))
                start = middle
        if start:  # the verifier does not know this subtree: it is not the whole older tree
            proof.append(self._span(start, stop))
        return tuple(reversed(proof))

    def check(self) -> bytes:
        """Read every file of this tree, compute every hash anew, and return the root.

        Whoever calls it compares that with a checkpoint's.

        Raises:
            LedgerError: a file is missing or damaged; says which, and which entry or hash.
        """
        edge: list[list[bytes]] = [[]]
        done: list[int] = [0]
        for index in range(-(-self.size // TILE_WIDTH)):
            edge[0] = list(map(leaf_hash, self._bundle(index)))
            level = 0
            while len(edge[level]) == TILE_WIDTH:
                self._compare(level, done[level], self._tile(level, done[level]), edge[level])
                if level + 1 == len(edge):
                    edge.append([])
                    done.append(0)
                edge[level + 1].append(merkle_root(edge[level]))
                edge[level] = []
                done[level] += 1
                level += 1
        for level, hashes in enumerate(edge):
            if hashes:
                self._compare(level, done[level], self._tile(level, done[level]), hashes)
        return _root(edge)

    def edge(self, level: int) -> list[bytes]:
        """Return the hashes of the partial tile of a level; none where there is no such tile.

        Raises:
            LedgerError: the tile is missing or damaged.
        """
        index = (self.size >> _HEIGHT * level) // TILE_WIDTH
        tile = self._tile(level, index) if self._width(level, index) else b""
        return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise LedgerError(f"a ledger of {self.size} entries has no tree of {size}")
        return size

    def _span(self, start: int, stop: int) -> bytes:
        """Return MTH over entries ``start`` to ``stop``; every span of a proof is aligned."""
        peaks: list[bytes] = []
        while start < stop:
            bits = (stop - start).bit_length() - 1
            peaks.append(self._node(bits, start >> bits))
            start += 1 << bits
        return _fold(peaks)

    def _node(self, bits: int, index: int) -> bytes:
        """Return the root over the ``index``-th whole subtree of ``2 ** bits`` entries."""
        level, above = divmod(bits, _HEIGHT)
        first = index << above
        tile = self._tile(level, first // TILE_WIDTH)
        at = first % TILE_WIDTH * HASH_BYTES
        hashes = tile[at : at + (HASH_BYTES << above)]
        return merkle_root(
            hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)
        )

    def _width(self, level: int, index: int) -> int:
        return min((self.size >> _HEIGHT * level) - index * TILE_WIDTH, TILE_WIDTH)

    def _tile(self, level: int, index: int) -> bytes:
        """Return the hashes that this tree has in a tile."""
        kept = self._kept.get((level, index))
        if kept is not None:
            self._kept.move_to_end((level, index))
            return kept
        width = self._width(level, index)
        names = dict.fromkeys((tile_path(level, index, width), tile_path(level, index)))
        for name, full in zip(names, (width, TILE_WIDTH), strict=False):
            content = self._source.read(name)
            if content is not None and len(content) == full * HASH_BYTES:
                tile = content[: width * HASH_BYTES]
                break
        else:
            raise self._unreadable(next(iter(names)))
        self._kept[level, index] = tile
        if len(self._kept) > _TILES_KEPT:
            self._kept.popitem(last=False)
        return tile

    def _bundle(self, index: int) -> list[bytes]:
        """Return the entries that this tree has in a bundle, not yet compared with hashes."""
        width = self._width(0, index)
        name = entries_path(index, width)
        content = self._source.read(name)
        if content:
            return decode_entries(content, width, name=name)
        full = entries_path(index)
        content = self._source.read(full) if width < TILE_WIDTH else None
        if content is None:
            raise self._unreadable(name)
        return decode_entries(content, TILE_WIDTH, name=full)[:width]

    def _compare(self, level: int, index: int, tile: bytes, hashes: list[bytes]) -> None:
        if b"".join(hashes) == tile:
            return
        for at, found in enumerate(hashes):
            if found != tile[at * HASH_BYTES : (at + 1) * HASH_BYTES]:
                raise self._differs(level, index * TILE_WIDTH + at)

    def _differs(self, level: int, index: int) -> LedgerError:
        number, at = divmod(index, TILE_WIDTH)
        name = tile_path(level, number, self._width(level, number))
        if level:
            below = tile_path(level - 1, index)
            what = f"hash {at} of {name} is not the root over {below}"
        else:
            bundle = entries_path(number, self._width(0, number))
            what = f"entry {index} in {bundle} is not the one that hash {at} of {name} stands for"
        return LedgerError(f"the ledger is damaged: {what}", next_step=_REPAIR)

    def _unreadable(self, name: str) -> LedgerError:
        return LedgerError(
            f"the ledger says that it has {self.size} entries, and {name} is missing or has the "
            "wrong length",
            next_step=_REPAIR,
        )


def _split(size: int) -> int:
    """Return the largest power of two below ``size``: where RFC 6962 splits a tree."""
    return 1 << (size - 1).bit_length() - 1


def _fold(peaks: list[bytes]) -> bytes:
    """Return the root over whole subtrees that stand side by side, the largest first."""
    if not peaks:
        return EMPTY_ROOT
    node = peaks.pop()
    while peaks:
        node = node_hash(peaks.pop(), node)
    return node


def _peaks(hashes: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the roots over the whole subtrees that hashes of one level make, left to right."""
    at = 0
    while at < len(hashes):
        width = 1 << (len(hashes) - at).bit_length() - 1
        yield merkle_root(hashes[at : at + width])
        at += width


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The right edge of a tree: all that the next entries build upon."""

    size: int
    """Number of entries of the tree."""
    root: bytes
    """Root over them, 32 bytes."""
    entries: tuple[bytes, ...]
    """Those of the last bundle, if it is not full."""
    hashes: tuple[tuple[bytes, ...], ...]
    """Those of the partial tile of each level, from the bottom up; empty where there is none."""

    @classmethod
    def read(cls, source: TileSource, size: int) -> Edge:
        """Read it from the tiles; the last bundle is compared with its hashes.

        Raises:
            LedgerError: a file of the right edge is missing or damaged.
        """
        tree = TileTree(source, size)
        levels = range(-(-size.bit_length() // _HEIGHT))
        entries = tuple(entry for _, entry in tree.entries(size - size % TILE_WIDTH))
        hashes = tuple(tuple(tree.edge(level)) for level in levels)
        return cls(size=size, root=_root(hashes), entries=entries, hashes=hashes)


def _root(hashes: Sequence[Sequence[bytes]]) -> bytes:
    return _fold([peak for level in reversed(hashes) for peak in _peaks(level)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What appending entries to a tree of a certain size adds to its files."""

    files: Mapping[str, bytes]
    """Content by name, in the order in which they may be published: bundles, then tiles from
    the bottom up. Full ones that were not there before, and the new partial ones."""
    size: int
    """Number of entries afterwards."""
    root: bytes
    """Root afterwards, 32 bytes."""
    old_root: bytes
    """Root of the tree that was grown, as its tiles say it: to be compared with the last
    checkpoint before anything is signed."""
    edge: Edge
    """The right edge afterwards, for growing on without reading it again."""


def grow(
    source: TileSource, size: int, entries: Sequence[bytes], *, edge: Edge | None = None
) -> Growth:
    """Return the files that a tree has once ``entries`` stand behind its first ``size``.

    The same entries in the same order give the same files, whoever computes them and however
    they are divided into calls. Reads only the right edge of the tree; its last bundle is
    compared with its hashes, so that damage is not copied into a full bundle.

    Args:
        source: the files of the tree.
        size: how many entries it has.
        entries: what stands behind them.
        edge: its right edge, if the caller has it from growing the tree before; then nothing
            is read.

    Raises:
        LedgerError: a file of the right edge is missing or damaged, or an entry is empty or
            too long; nothing was written.
    """
    if edge is None or edge.size != size:
        edge = Edge.read(source, size)
    files: dict[str, bytes] = {}
    part = edge.entries
    for number, part in _runs(size // TILE_WIDTH, edge.entries, entries):
        files[entries_path(number, len(part))] = encode_entries(part)
    tail = part if len(part) < TILE_WIDTH else ()
    levels: list[tuple[bytes, ...]] = []
    new: Sequence[bytes] = list(map(leaf_hash, entries))
    while new or len(levels) < len(edge.hashes):
        level = len(levels)
        old = edge.hashes[level] if level < len(edge.hashes) else ()
        above, rest = [], old
        for number, rest in _runs(size >> _HEIGHT * (level + 1), old, new):
            files[tile_path(level, number, len(rest))] = b"".join(rest)
            if len(rest) == TILE_WIDTH:
                above.append(merkle_root(rest))
        levels.append(rest if len(rest) < TILE_WIDTH else ())
        new = above
    grown = Edge(size=size + len(entries), root=_root(levels), entries=tail, hashes=tuple(levels))
    return Growth(files=files, size=grown.size, root=grown.root, old_root=edge.root, edge=grown)


def _runs(
    number: int, old: tuple[bytes, ...], new: Sequence[bytes]
) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """Yield ``(index, content)`` of the tiles that ``new`` makes behind a partial one."""
    if new:
        everything = (*old, *new)
        for at in range(0, len(everything), TILE_WIDTH):
            yield number + at // TILE_WIDTH, everything[at : at + TILE_WIDTH]
