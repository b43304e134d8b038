"""Subjects as streams of rows: larger than memory, from verified bytes, batch by batch.

What a batch costs does not depend on the file: the decoders below choose how many rows to
decode at once by what those rows can come to, and small pieces are put together again. A file
of a few kilobytes that decodes to gigabytes therefore takes time and no memory; one that goes
beyond all reason is refused on the way.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self

from sluicegate.errors import SubjectError
from sluicegate.storage.formats import Format
from sluicegate.storage.formats.base import HEADER
from sluicegate.storage.formats.column_types import join_schemas
from sluicegate.storage.formats.parquet import Parquet
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import data_files

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = ["Batch", "BatchReader", "Frame", "read_batches"]

_ENOUGH_BYTES: Final = 32 << 20
"""Pieces are put together up to this size."""

_BATCH_ROWS: Final = 1 << 16
"""Most rows of a piece that is not decoded by polars."""

_MOST_EXPANSION: Final = 1000
_UNSUSPICIOUS: Final = 1 << 30
"""A file may decode to this many bytes, and to :data:`_MOST_EXPANSION` times its own size
beyond: whole columns of one value reach a few hundred; a bomb, ten thousand."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some consecutive rows of one file."""

    path: str
    """The file, as a path inside the subject."""
    ordinal: int
    """Position of the first row in its file, from 0."""
    start: int
    """Position of the first row in the data set: files count in the order of their paths."""
    data: pa.RecordBatch


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """As :class:`Batch`, in the form in which the rows are there soonest."""

    path: str
    ordinal: int
    start: int
    data: pl.DataFrame | pa.RecordBatch

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return _height(self.data)


class BatchReader:
    """A snapshot that is read more than once: for its types, its rows, and some rows again.

    The verified copy of a single file is made once and kept until the end; files of a folder
    are verified each time they are read. A context manager.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        """Find the files; nothing is read yet.

        Raises:
            SubjectError: as :func:`~sluicegate.storage.tables.data_files`.
        """
        self.snapshot = snapshot
        self._files: Sequence[tuple[str, Format]] = data_files(snapshot)
        self._copy: IO[bytes] | None = None
        self._schemas: dict[str, pa.Schema] = {}
        self._schema: pa.Schema | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the copy."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The data files, in the order in which they are read."""
        return tuple(path for path, _ in self._files)

    @property
    def schema(self) -> pa.Schema:
        """Columns and types that all rows have together; reads the files when first asked.

        Raises:
            SubjectError: a file is not what its name says, or has other columns than another.
            SubjectChangedError: the bytes are not those of the snapshot.
        """
        if self._schema is None:
            first = ""
            for path, form in self._files:
                with _Opened(self, path) as source:
                    found = form.survey(source, name=path)
                first = first or path
                if found.names != self._schemas.get(first, found).names:
                    raise SubjectError(
                        f"{path} has other columns than {first}",
                        next_step="examine files with different schemas as separate subjects",
                    )
                self._schemas[path] = found
            self._schema = join_schemas(self._schemas)
        return self._schema

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names as the files have them: a repeated name stays repeated."""
        headers: tuple[str, ...] = ()
        for schema in (self.schema, *self._schemas.values()):
            headers = tuple(
                (field.metadata or {}).get(HEADER, field.name.encode()).decode() for field in schema
            )
            if len(set(headers)) < len(headers):
                break
        return headers

    def batches(
        self, *, columns: Collection[str] | None = None, rows: int = 1 << 16
    ) -> Iterator[Batch]:
        """Yield all rows in file order; see :func:`read_batches`."""
        import pyarrow as pa

        for one in self._read(columns, rows, frames=False):
            if isinstance(one.data, pa.RecordBatch):
                yield Batch(one.path, one.ordinal, one.start, one.data)

    def frames(
        self, *, columns: Collection[str] | None = None, rows: int = 1 << 19
    ) -> Iterator[Frame]:
        """Yield all rows in file order, decoded by whatever is fastest; see :func:`read_batches`.

        The types are those of :attr:`schema`, as polars has them where rows come from it.
        """
        yield from self._read(columns, rows, frames=True)

    def _read(self, columns: Collection[str] | None, rows: int, *, frames: bool) -> Iterator[Frame]:
        schema, start = self.schema, 0
        names = schema.names if columns is None else [one for one in schema.names if one in columns]
        if missing := [name for name in columns or () if name not in schema.names]:
            near = difflib.get_close_matches(missing[0], schema.names, n=1)
            raise SubjectError(
                f"{self.snapshot.uri} has no column {missing[0]!r}",
                next_step=f"did you mean {near[0]!r}?" if near else "name columns that it has",
            )
        names = names or schema.names[:1]  # rows are counted by what they hold
        if len(set(names)) < len(names):
            raise SubjectError(f"{self.snapshot.uri} has two columns of one name")
        for path, form in self._files:
            own = schema.with_metadata(self._schemas[path].metadata)
            ordinal = 0
            with _Opened(self, path) as source:
                pieces: Iterator[pl.DataFrame | pa.RecordBatch]
                if frames and isinstance(form, Parquet):
                    pieces = form.frames(source, name=path, schema=own, columns=names, rows=rows)
                else:
                    most = min(rows, _BATCH_ROWS)
                    pieces = form.batches(source, name=path, schema=own, columns=names, rows=most)
                size = self.snapshot.manifest.find(path).size
                for data in _together(_reasonable(pieces, size, path), rows):
                    yield Frame(path, ordinal, start + ordinal, data)
                    ordinal += _height(data)
            start += ordinal
        if not start:
            raise SubjectError(
                f"{self.snapshot.uri} has no rows", next_step="an empty data set cannot pass"
            )

    def open(self, path: str) -> IO[bytes]:
        """Return the verified bytes of a file; who calls it does not close it if it is kept."""
        if len(self._files) > 1:
            return self.snapshot.open(path)
        if self._copy is None:
            self._copy = self.snapshot.open(path)
        self._copy.seek(0)
        return self._copy

    def keeps(self, source: IO[bytes]) -> bool:
        """Whether a file stays open after it was read."""
        return source is self._copy


class _Opened:
    """Closes a file at the end, unless the reader keeps it."""

    def __init__(self, reader: BatchReader, path: str) -> None:
        self._reader, self._path = reader, path

    def __enter__(self) -> IO[bytes]:
        self._source = self._reader.open(self._path)
        return self._source

    def __exit__(self, *unused: object) -> None:
        if not self._reader.keeps(self._source):
            self._source.close()


def _reasonable(
    pieces: Iterator[pl.DataFrame | pa.RecordBatch], size: int, path: str
) -> Iterator[pl.DataFrame | pa.RecordBatch]:
    decoded, most = 0, max(_UNSUSPICIOUS, size * _MOST_EXPANSION)
    for piece in pieces:
        decoded += _decoded_bytes(piece)
        if decoded > most:
            raise SubjectError(
                f"{path} decodes to more than {_MOST_EXPANSION:,} times its {size:,} bytes",
                next_step="find out why it is so compressible, and who wrote it",
            )
        yield piece


def _decoded_bytes(piece: pl.DataFrame | pa.RecordBatch) -> int:
    """Return the memory that the values would take if none of them was shared."""
    import polars as pl

    if not isinstance(piece, pl.DataFrame):
        return int(piece.nbytes)
    total = 0
    for column in piece:
        if column.dtype == pl.String:
            total += int(column.str.len_bytes().sum()) + 4 * len(column)
        else:
            total += int(column.estimated_size())
    return total


def _height(piece: pl.DataFrame | pa.RecordBatch) -> int:
    import pyarrow as pa

    return int(piece.num_rows if isinstance(piece, pa.RecordBatch) else piece.height)


def _together(
    pieces: Iterator[pl.DataFrame | pa.RecordBatch], rows: int
) -> Iterator[pl.DataFrame | pa.RecordBatch]:
    """Put small batches together, in order; frames are as large as they should be."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count = size = 0
    for piece in pieces:
        height = _height(piece)
        if held and (count + height > rows or size > _ENOUGH_BYTES):
            yield pa.concat_batches(held) if len(held) > 1 else held[0]
            held, count, size = [], 0, 0
        if not isinstance(piece, pa.RecordBatch):
            yield piece
        elif height:
            held.append(piece)
            count, size = count + height, size + piece.nbytes
    if held:
        yield pa.concat_batches(held) if len(held) > 1 else held[0]


def read_batches(
    snapshot: Snapshot, *, columns: Collection[str] | None = None, rows: int = 1 << 16
) -> Iterator[Batch]:
    """Yield all rows of a snapshot in file order, in batches that fit into memory.

    Args:
        snapshot: the data set.
        columns: those to read; all when None. They come in file order.
        rows: most rows in a batch.

    Raises:
        SubjectError: as :func:`~sluicegate.storage.tables.read_table`, or no such column, a
            repeated column name, or a file that decodes to beyond all reason.
        SubjectChangedError: the bytes are not those of the snapshot.
        MissingExtraError: the library for the format is not installed.
    """
    with BatchReader(snapshot) as reader:
        yield from reader.batches(columns=columns, rows=rows)
