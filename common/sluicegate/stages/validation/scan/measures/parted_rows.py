"""Rows that are compared with all others, more of them than memory holds."""

from __future__ import annotations

import io
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PartedRows", "compact"]

_MEMORY: Final = 48 << 20
"""Bytes of rows that wait in memory, and that one part may have when it is examined."""

_PARTS: Final = 64

_DEEPEST: Final = 6
"""How often a part is parted again: 64 to the sixth parts of :data:`_MEMORY` each."""

_HASH: Final = "__hash__"
_COUNT: Final = "__count__"


class PartedRows:
    """Collects rows, and says in the end which of them are equal to others."""

    def __init__(self, columns: Sequence[str], *, memory: int = _MEMORY, depth: int = 0) -> None:
        """Take the columns' names; ``memory`` is for tests to change."""
        self._columns, self._memory, self._depth = list(columns), memory, depth
        self._seed = secrets.randbits(64)
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._parts: list[list[tuple[int, int]]] = []
        self._file: IO[bytes] | None = None
        self.total = 0
        """Rows so far."""

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows of these columns."""
        self.total += rows.height
        self._waiting.append(rows)
        self._bytes += int(rows.estimated_size())
        if self._bytes > self._memory:
            self._spill()

    def _spill(self) -> None:
        """Write what waits, one piece for each part."""
        import polars as pl

        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
            self._parts = [[] for _ in range(_PARTS)]
        file = self._file
        rows = pl.concat(self._waiting)
        self._waiting, self._bytes = [], 0
        # Rows that were parted before come with their counts: many equal ones became one.
        rows = self._counted(rows) if self._depth else rows
        hashes = rows.select(self._columns).hash_rows(self._seed).alias(_HASH)
        parts = (hashes % _PARTS).cast(pl.UInt8).alias("part")
        order = parts.arg_sort()
        counts = dict(parts.value_counts().rows())
        rows, start = rows.with_columns(hashes)[order], 0
        for part in range(_PARTS):
            if height := counts.get(part, 0):
                self._parts[part].append(_write(file, rows.slice(start, height)))
                start += height

    def _read(self, part: int) -> Iterator[pl.DataFrame]:
        import polars as pl

        file = self._file
        if file is None:
            return
        for start, size in self._parts[part]:
            file.seek(start)
            yield pl.read_ipc(io.BytesIO(file.read(size)))

    def finish(self, most: int, most_bytes: int) -> tuple[int, int, pl.DataFrame | None]:
        """Compare, and let go of memory and file.

        Args:
            most: repeated rows to return: the least ones.
            most_bytes: and the memory that they may take.

        Returns:
            Rows that are equal to another; different rows; the repeated ones, each once, or
            None if they take too much memory.

        Raises:
            MemoryError: too many different rows with one hash, which chance does not bring.
        """
        import polars as pl

        try:
            rows, distinct = 0, 0
            kept: pl.DataFrame | None = None
            full = False
            for counted, unseen in self._groups():
                rows += int(counted[_COUNT].sum())
                distinct += unseen + counted.height
                if counted.height and not full:
                    found = counted.select(self._columns)
                    kept = found if kept is None else pl.concat([kept, found])
                    kept = kept.sort(self._columns).head(most)
                    full = kept.estimated_size() > most_bytes
            return rows, distinct, None if full else kept
        finally:
            self.close()

    def _groups(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """Yield repeated rows with their counts, and how many other rows there are."""
        import polars as pl

        if self._file is None:
            if self._waiting:
                rows = pl.concat(self._waiting)
                self._waiting = []
                if not self._depth:
                    hashes = rows.select(self._columns).hash_rows(self._seed)
                    rows = rows.with_columns(hashes.alias(_HASH))
                yield self._repeated(rows)
            return
        if self._waiting:
            self._spill()
        for part in range(_PARTS):
            if sum(size for _, size in self._parts[part]) <= 2 * self._memory:
                if held := list(self._read(part)):
                    yield self._repeated(pl.concat(held))
            else:
                yield from self._again(part)

    def _again(self, part: int) -> Iterator[tuple[pl.DataFrame, int]]:
        """Part a part that is too large, by another hash."""
        if self._depth == _DEEPEST:
            raise MemoryError("too many different rows with one hash")
        inner = PartedRows(self._columns, memory=self._memory, depth=self._depth + 1)
        try:
            for rows in self._read(part):
                inner.add(self._counted(rows.drop(_HASH)))
            yield from inner._groups()
        finally:
            inner.close()

    def _counted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return different rows with their counts."""
        import polars as pl

        count = pl.col(_COUNT).sum() if _COUNT in rows.columns else pl.len().cast(pl.Int64)
        return rows.group_by(self._columns).agg(count.alias(_COUNT))

    def _repeated(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """Return rows that are there more than once, and how many other rows there are."""
        import polars as pl

        others = 0
        if _COUNT not in rows.columns:
            # Equal rows have equal hashes: where a hash is alone, nothing needs comparing.
            alone = rows[_HASH].is_unique()
            others = int(alone.sum())
            rows = rows.filter(~alone)
        counted = self._counted(rows)
        repeated = counted.filter(pl.col(_COUNT) > 1)
        return repeated, others + counted.height - repeated.height

    def close(self) -> None:
        """Let go of memory and file."""
        self._waiting, self._parts = [], []
        if self._file is not None:
            self._file.close()
            self._file = None


def compact(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the same rows without the texts of others: few rows otherwise hold all of a batch.

    Texts that are chosen from a series are views of its memory.
    """
    import polars as pl

    texts = [one.name for one in rows if one.dtype in (pl.String, pl.Binary)]
    oldest = pl.CompatLevel.oldest()
    own = [
        pl.Series(name, pl.from_arrow(rows[name].to_arrow(compat_level=oldest))) for name in texts
    ]
    return rows.with_columns(own) if own else rows


def _write(file: IO[bytes], rows: pl.DataFrame) -> tuple[int, int]:
    """Append rows to a file; return where they begin, and their size."""
    held, start = io.BytesIO(), file.seek(0, io.SEEK_END)
    rows.write_ipc(held, compression="uncompressed")
    file.write(held.getbuffer())
    return start, held.tell()
