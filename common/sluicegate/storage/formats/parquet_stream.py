"""Parquet row by row: how many rows may be decoded at once, and that none are left out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.storage.formats.base import unreadable
from sluicegate.storage.formats.parquet_footer import Chunk, RowGroup, read_footer
from sluicegate.storage.formats.parquet_pages import DICTIONARY, Page, walk_pages

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Chunks", "Group", "open_parquet", "stream_rows"]

_TEXT_BYTES: Final = 32 << 20
"""Most bytes of variable length in one column of a batch, by the worst case."""

_MOST_PAGE: Final = 256 << 20
"""Largest page. Writers make pages of about a megabyte; a page is inflated as a whole."""

_DELTA_BYTE_ARRAY: Final = 7
"""``Encoding`` in which a value repeats the beginning of the one before it."""

_INDEXED: Final = (2, 8)
"""``PLAIN_DICTIONARY`` and ``RLE_DICTIONARY``: a page of these holds no bytes of its own."""

_ROWS: Final = 1 << 16
"""Rows of a batch that a dictionary must not make larger than :data:`_TEXT_BYTES`."""

_VIEW: Final = 16
"""Bytes that each text takes beside its own (Arrow columnar format, variable-size views)."""

_THRIFT_STRINGS: Final = 64 << 20
_THRIFT_CONTAINERS: Final = 1 << 20

_BUFFER: Final = 1 << 20
"""Bytes of a column chunk that are read at once, where row groups are large."""

_SMALL: Final = 48 << 20
"""Bytes of a row group that are read as a whole: that takes half the time."""


def stream_rows(
    source: IO[bytes],
    *,
    columns: Sequence[str],
    rows: int,
    name: str,
    chunks: Chunks | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file in order, in batches of bounded memory.

    Args:
        source: the file.
        columns: top-level columns to read.
        rows: most rows of a batch.
        name: of the file, for messages.
        chunks: of these columns, if their pages were looked at before.

    Raises:
        SubjectError: pages and footer disagree, or a page is too large.
        ValueError: the pages cannot be read.
    """
    file = open_parquet(source)
    careful = open_parquet(source, buffer_size=_BUFFER)
    chunks = chunks or Chunks(source, file, frozenset(columns), name)
    plan: list[tuple[int, bool, list[int]]] = []
    for number, group in enumerate(chunks.groups()):
        at_once = min(rows, group.rows_at_once)
        small = group.stored <= _SMALL
        if plan and plan[-1][:2] == (at_once, small):
            plan[-1][2].append(number)
        else:
            plan.append((at_once, small, [number]))
    for at_once, small, groups in plan:
        yield from (file if small else careful).iter_batches(
            batch_size=at_once, row_groups=groups, columns=list(columns), use_threads=False
        )


def open_parquet(
    source: IO[bytes], *, read_dictionary: list[str] | None = None, buffer_size: int = 0
) -> Any:
    """Open a file for reading, with limits on what its footer may make the reader allocate."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        _native(source),
        read_dictionary=read_dictionary,
        buffer_size=buffer_size,
        thrift_string_size_limit=_THRIFT_STRINGS,
        thrift_container_size_limit=_THRIFT_CONTAINERS,
    )


def _native(source: IO[bytes]) -> Any:
    """Return the same bytes as a file that needs no Python to be read.

    Arrow reads ahead in threads of its own. One that still reads through a Python object when
    the interpreter ends, because somebody stopped half-way, aborts the process.
    """
    import pyarrow as pa

    inner = getattr(source, "_file", source)
    if isinstance(inner, io.BytesIO):
        return pa.BufferReader(inner.getvalue())
    try:
        return pa.OSFile(f"/dev/fd/{source.fileno()}")
    except (OSError, AttributeError):  # no file of the system, or no such folder
        return source


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What the pages of a row group say about the chosen columns."""

    rows: int
    rows_at_once: int
    """How many can be decoded at once, whatever they hold."""
    row_bytes: int
    """A bound of the mean size of a decoded row, by row groups."""
    largest_page: int
    """Bytes, inflated."""
    stored: int
    """Bytes in the file."""


class Chunks:
    """The column chunks of some columns."""

    def __init__(self, source: IO[bytes], file: Any, columns: frozenset[str], name: str) -> None:
        """Take an open file and its columns to be read; pages are looked at when asked."""
        self._source, self._file, self._columns, self._name = source, file, columns, name
        self._encoded: Any = None
        self._groups: list[Group] = []

    def groups(self) -> Sequence[Group]:
        """Return all row groups, in order.

        Raises:
            SubjectError: pages and footer disagree, or a page is too large.
            ValueError: the pages cannot be read.
        """
        if not self._groups:
            self._groups = [
                self._group(at, footer) for at, footer in enumerate(read_footer(self._source))
            ]
            if len(self._groups) != self._file.metadata.num_row_groups:
                raise ValueError("its footer is read in two ways")
        return self._groups

    def _group(self, group: int, footer: RowGroup) -> Group:
        if len(footer.chunks) != len(self._file.schema):
            raise ValueError("a row group has other columns than the schema")
        least, row, largest, stored = _TEXT_BYTES, 0, 0, 0
        for at, chunk in enumerate(footer.chunks):
            column = self._file.schema.column(at)
            if self._wanted(column.path):
                pages = self._pages(chunk)
                each = self._bytes_a_row(footer, pages, column, group)
                least = min(least, _TEXT_BYTES // max(1, each))
                row += each + (_VIEW if column.physical_type == "BYTE_ARRAY" else 0)
                largest = max(largest, *(page.size for page in pages), 0)
                stored += chunk.size
        return Group(
            rows=footer.rows,
            rows_at_once=max(1, least),
            row_bytes=row,
            largest_page=largest,
            stored=stored,
        )

    def _wanted(self, path: str) -> bool:
        return any(path == name or path.startswith(f"{name}.") for name in self._columns)

    def _bytes_a_row(self, footer: RowGroup, pages: Sequence[Page], column: Any, group: int) -> int:
        values = sum(page.values for page in pages if page.kind != DICTIONARY)
        if column.max_repetition_level == 0:
            if values != footer.rows:
                raise unreadable(
                    self._name,
                    "Parquet",
                    f"row group {group} has {values:,} rows in its pages and "
                    f"{footer.rows:,} in the footer",
                )
            values = 1
        else:
            values = -(-values // max(1, footer.rows))
        if column.physical_type != "BYTE_ARRAY":
            return 8 * values
        return values * max((self._bytes_a_value(page, column, group) for page in pages), default=0)

    def _pages(self, chunk: Chunk) -> list[Page]:
        pages = list(walk_pages(self._source, chunk.start, chunk.size))
        if any(page.size > _MOST_PAGE for page in pages):
            raise unreadable(self._name, "Parquet", f"a page has over {_MOST_PAGE:,} bytes")
        return pages

    def _bytes_a_value(self, page: Page, column: Any, group: int) -> int:
        """Return a bound of the mean over any longer stretch of values."""
        if page.kind == DICTIONARY:
            # Each value may be the longest of the dictionary, any number of times.
            small = page.size * _ROWS <= _TEXT_BYTES or "." in column.path
            return page.size if small else self._longest(column.path, group)
        if page.encoding in _INDEXED or not page.values:
            return 0
        return page.size if page.encoding == _DELTA_BYTE_ARRAY else -(-page.size // page.values)

    def _longest(self, column: str, group: int) -> int:
        """Return the bytes of the longest value in the dictionary of a column chunk."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._encoded is None:
            names = [self._file.schema.column(at).path for at in range(len(self._file.schema))]
            self._encoded = open_parquet(self._source, read_dictionary=names, buffer_size=_BUFFER)
        batches = self._encoded.iter_batches(
            batch_size=1, row_groups=[group], columns=[column], use_threads=False
        )
        values = next(batches).column(0)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
