"""Subjects as tables: read all rows with their ids, or set some rows aside."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.errors import SubjectError
from sluicegate.model import RowId
from sluicegate.storage.formats import FORMATS, Format, Limits, format_of
from sluicegate.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas

__all__ = ["Table", "read_table", "row_ids", "split_file"]

_MARKERS: Final = ("_SUCCESS",)
"""Empty marker files that writers leave in a folder of data files."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All rows of a snapshot in file order, and where each row came from."""

    frame: pandas.DataFrame
    """The rows; position ``i`` is row ``i`` of the concatenated files, index 0…n-1."""
    parts: tuple[tuple[str, int], ...]
    """Each file's path and row count, in the order in which they were concatenated."""

    def row_ids(self, positions: Iterable[int]) -> tuple[RowId, ...]:
        """Return the row ids of positions in :attr:`frame`, in ascending order.

        Raises:
            IndexError: a position is beyond the table.
        """
        return row_ids(self.parts, positions)


def row_ids(parts: Iterable[tuple[str, int]], positions: Iterable[int]) -> tuple[RowId, ...]:
    """Return the row ids of positions in a data set, in ascending order.

    Args:
        parts: each file's path and row count, in the order of the data set.
        positions: from 0, over all files.

    Raises:
        IndexError: a position is beyond the data set.
    """
    wanted = sorted({int(position) for position in positions})
    if wanted and wanted[0] < 0:
        raise IndexError(f"position {wanted[0]} of a data set")
    ids, start, at = [], 0, 0
    for path, rows in parts:
        while at < len(wanted) and wanted[at] < start + rows:
            ids.append(RowId(path, wanted[at] - start))
            at += 1
        start += rows
    if at < len(wanted):
        raise IndexError(f"position {wanted[-1]} of a data set with {start} rows")
    return tuple(ids)


def read_table(
    snapshot: Snapshot,
    *,
    limits: Limits | None = None,
    columns: Collection[str] | None = None,
) -> Table:
    """Read every data file of a snapshot into one table, from verified bytes.

    Args:
        snapshot: the snapshot.
        limits: what one file may cost.
        columns: names of the columns that will be looked at, where not all will be; others may
            be left out, and then nobody sees whether the files agree on them.

    Raises:
        SubjectError: no tabular file, several formats in one folder, files with different
            columns, no rows, or content that is not what its name says.
        SubjectChangedError: the bytes are not those of the snapshot.
        MissingExtraError: the library for the format is not installed.
    """
    frames: list[pandas.DataFrame] = []
    parts: list[tuple[str, int]] = []
    for path, form in data_files(snapshot):
        with snapshot.open(path) as source:
            frame = form.read(source, name=path, limits=limits or Limits(), columns=columns)
        if frames and list(frame.columns) != list(frames[0].columns):
            raise SubjectError(
                f"{path} has other columns than {parts[0][0]}",
                next_step="examine files with different schemas as separate subjects",
            )
        frames.append(frame)
        parts.append((path, len(frame)))
    if not any(rows for _, rows in parts):
        raise SubjectError(f"{snapshot.uri} has no rows", next_step="an empty data set cannot pass")
    return Table(_concatenate(frames), tuple(parts))


def _concatenate(frames: list[Any]) -> Any:
    if len(frames) == 1:
        return frames[0]
    import pandas as pd

    return pd.concat(frames, ignore_index=True)


def data_files(snapshot: Snapshot) -> tuple[tuple[str, Format], ...]:
    """Return the data files of a snapshot, each with its format, sorted by path.

    Raises:
        SubjectError: a file of no known tabular format, or of another format than the rest:
            whoever reads the folder later might read it, and no stage would have.
    """
    found = []
    for file in snapshot.manifest.files:
        if file.path.rpartition("/")[2] in _MARKERS and file.size == 0:
            continue
        form = format_of(file.path)
        if form is None:
            known = ", ".join(suffix for one in FORMATS for suffix in one.suffixes)
            raise SubjectError(
                f"{file.path} of {snapshot.uri} is not a tabular file",
                next_step=f"name files by their format ({known}); keep other files elsewhere",
            )
        found.append((file.path, form))
    if len({id(form) for _, form in found}) > 1:
        raise SubjectError(
            f"{snapshot.uri} mixes file formats",
            next_step="keep one format in a folder: readers pick files by their ending, and "
            "would skip the others unexamined",
        )
    if not found:
        raise SubjectError(f"{snapshot.uri} holds no data files")
    return tuple(found)


@contextmanager
def split_file(
    snapshot: Snapshot, path: str, drop: Collection[int]
) -> Iterator[tuple[IO[bytes], IO[bytes], int]]:
    """Split one data file into the rows to keep and the rows to set aside.

    Args:
        snapshot: the snapshot that holds the file.
        path: the file.
        drop: ordinals of the rows to set aside.

    Yields:
        Both halves, open for reading from their start, and the file's number of rows.

    Raises:
        SubjectError: not a tabular file, or rows that it does not have.
    """
    form = format_of(path)
    if form is None:
        raise SubjectError(f"{path} is not a tabular file: its rows cannot be set aside")
    with tempfile.TemporaryFile() as kept, tempfile.TemporaryFile() as removed:
        with snapshot.open(path) as source:
            rows = form.split(source, drop, name=path, kept=kept, removed=removed)
        kept.seek(0)
        removed.seek(0)
        yield kept, removed, rows
