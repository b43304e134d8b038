"""Labels and probabilities in files: read in pieces, larger than memory, never unpickled.

Arrays are read from ``.npy`` files at the offset of each batch. Parquet columns are copied
into such an array first, a batch at a time: then any row is one seek away, and shards of a
file can be read by several processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.stages.poisoning.confident.probabilities import Batch, batch_rows, working

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ArrayFile", "FileShard", "Samples", "open_array", "open_samples", "spool_columns"]

_COPIED_ROWS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """An array in a file, in C order."""

    path: Path
    dtype: str
    """Type of the values, as numpy writes it (``<f4``)."""
    shape: tuple[int, ...]
    offset: int
    """Where the values begin, in bytes."""

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows ``start`` to ``stop``.

        Raises:
            SubjectError: the file has become shorter.
        """
        import numpy as np

        values = np.dtype(self.dtype)
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        with self.path.open("rb") as file:
            at = self.offset + start * width * values.itemsize
            found = np.fromfile(file, dtype=values, count=(stop - start) * width, offset=at)
        if len(found) != (stop - start) * width:
            raise SubjectError(f"{self.path} is shorter than its header says")
        return found.reshape(stop - start, *self.shape[1:])


def open_array(path: Path) -> ArrayFile:
    """Read the header of a ``.npy`` file.

    Raises:
        SubjectError: it is not there, is no array, holds Python objects, is not in C order,
            or is shorter than its header says.
    """
    import numpy as np
    from numpy.lib import format as npy

    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError, EOFError) as error:
        raise SubjectError(
            f"{path} cannot be read as a .npy array ({type(error).__name__})",
            next_step="write it with numpy.save(path, array, allow_pickle=False)",
        ) from error
    if dtype.hasobject:
        raise SubjectError(
            f"{path} holds Python objects: reading them would run code",
            next_step="convert the array to numbers before saving it",
        )
    if fortran and len(shape) > 1:
        raise SubjectError(
            f"{path} is in column order", next_step="save numpy.ascontiguousarray(array)"
        )
    need = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < need:
        raise SubjectError(f"{path} has {size:,} bytes; its header promises {need:,}")
    return ArrayFile(path, dtype.str, tuple(int(side) for side in shape), offset)


def spool_columns(
    path: Path, columns: Sequence[str], folder: Path, *, name: str
) -> tuple[ArrayFile, tuple[str, ...]]:
    """Copy columns of a Parquet file into an array file.

    Args:
        path: the Parquet file.
        columns: which columns; none for all that are numbers, or the only one.
        folder: where to put the array.
        name: what to call it.

    Returns:
        The array, float64 of shape (rows, columns), and the names of the columns.

    Raises:
        SubjectError: the file cannot be read.
        ConfigurationError: columns that are not there or hold no numbers.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SubjectError(
            f"{path} cannot be read as Parquet ({type(error).__name__})",
            next_step="give a .npy file or a Parquet file",
        ) from error
    schema = file.schema_arrow
    unknown = [column for column in columns if column not in schema.names]
    if unknown:
        raise ConfigurationError(
            f"{path} has no column {unknown[0]!r}",
            next_step=f"name columns of {', '.join(map(repr, schema.names[:20]))}",
        )
    chosen = tuple(columns) or tuple(f.name for f in schema if _numeric(f.type))
    bad = [column for column in chosen if not _numeric(schema.field(column).type)]
    if bad or not chosen:
        raise ConfigurationError(
            f"{path}: {f'column {bad[0]!r} holds' if bad else 'its columns hold'} no numbers",
            next_step="name columns of numbers after a colon: FILE.parquet:COLUMN,COLUMN",
        )
    place = folder / f"{name}.f8"
    rows = 0
    with place.open("wb") as out:
        for batch in file.iter_batches(batch_size=_COPIED_ROWS, columns=list(chosen)):
            values = np.empty((batch.num_rows, len(chosen)))
            for at, column in enumerate(chosen):
                cells = batch.column(batch.schema.get_field_index(column))
                values[:, at] = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
            values.tofile(out)
            rows += batch.num_rows
    return ArrayFile(place, "<f8", (rows, len(chosen)), 0), chosen


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


@dataclass(frozen=True, slots=True)
class Samples:
    """Labels and the probabilities of one or more models, for the same rows."""

    labels: ArrayFile
    models: tuple[ArrayFile, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.labels.shape[0]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.models[0].shape[1]

    def shards(self, count: int = 1) -> tuple[FileShard, ...]:
        """Cut the rows into at most ``count`` shards of about equal size."""
        step = max(-(-self.rows // count), 1)
        return tuple(
            FileShard(self, start, min(start + step, self.rows))
            for start in range(0, self.rows, step)
        )

    def of_model(self, at: int) -> Samples:
        """Return the same rows with one of the models."""
        return Samples(self.labels, (self.models[at],))


@dataclass(frozen=True, slots=True)
class FileShard:
    """Consecutive rows of files: a description, read where it is scanned."""

    samples: Samples
    start: int
    stop: int

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in batches; several models are averaged in float64.

        Raises:
            SubjectError: labels that are no class.
        """
        import numpy as np

        models = self.samples.models
        width = np.dtype(models[0].dtype).itemsize if len(models) == 1 else 8
        step = batch_rows(self.samples.classes, max(width, 4))
        for start in range(self.start, self.stop, step):
            stop = min(start + step, self.stop)
            if len(models) == 1:
                p = working(models[0].read(start, stop))
            else:
                p = np.zeros((stop - start, self.samples.classes))
                for model in models:
                    p += model.read(start, stop)
                p /= len(models)
            labels = self.samples.labels.read(start, stop).reshape(-1)
            yield Batch(start, _codes(labels, self.samples.classes, start), p)


def _codes(labels: npt.NDArray[Any], classes: int, start: int) -> npt.NDArray[np.int64]:
    """Return labels as class codes."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        wrong = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise SubjectError(
            f"row {start + at} has label {labels[at]}; there are {classes} columns of "
            f"probabilities, so labels are whole numbers from 0 to {classes - 1}",
            next_step="number the classes in the order of the columns, from 0",
        )
    return np.ascontiguousarray(labels, dtype=np.int64)


def open_samples(labels: str, models: Sequence[str], folder: Path) -> Samples:
    """Open the files that a user named.

    Args:
        labels: a ``.npy`` file, or ``FILE.parquet:COLUMN``.
        models: for each model a ``.npy`` file, or ``FILE.parquet:COLUMN,COLUMN…``; without
            columns all numeric ones but the label's.
        folder: for copies of Parquet columns; the caller's to remove.

    Raises:
        SubjectError: files that cannot be read, or whose shapes do not fit.
        ConfigurationError: columns that are not there.
    """
    path, columns = _location(labels)
    if path.suffix == ".npy":
        given = open_array(path)
    else:
        given, columns = spool_columns(path, columns, folder, name="labels")
    if len(given.shape) != 1 and given.shape[1:] != (1,):
        raise SubjectError(
            f"{labels} has shape {given.shape}, not (rows,)",
            next_step="give one label for each row; of a Parquet file, name its column",
        )
    _check_type(labels, given, "iuf", "whole numbers, the index of each class")
    opened = []
    for at, model in enumerate(models):
        place, wanted = _location(model)
        if place.suffix == ".npy":
            array = open_array(place)
        else:
            wanted = wanted or _all_but(place, columns if place == path else ())
            array, _ = spool_columns(place, wanted, folder, name=f"model-{at}")
        _check_type(model, array, "f", "floating-point probabilities")
        opened.append(array)
        _check_shape(model, array, given, opened[0])
    return Samples(given, tuple(opened))


def _location(text: str) -> tuple[Path, tuple[str, ...]]:
    """Split ``FILE.parquet:a,b`` into file and columns; a file of that very name wins."""
    path, colon, columns = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), ()
    return Path(path), tuple(columns.split(","))


def _all_but(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the numeric columns of a file, without some."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return ()  # said better when the columns are copied
    return tuple(f.name for f in schema if _numeric(f.type) and f.name not in columns)


def _check_type(name: str, array: ArrayFile, kinds: str, expected: str) -> None:
    import numpy as np

    if np.dtype(array.dtype).kind not in kinds:
        raise SubjectError(
            f"{name} holds values of type {np.dtype(array.dtype)}", next_step=f"give {expected}"
        )


def _check_shape(name: str, array: ArrayFile, labels: ArrayFile, first: ArrayFile) -> None:
    if len(array.shape) != 2 or array.shape[1] < 2:
        raise SubjectError(
            f"{name} has shape {array.shape}, not (rows, classes) with at least 2 classes",
            next_step="give one column of probabilities for each class",
        )
    if array.shape[0] != labels.shape[0]:
        raise SubjectError(
            f"{name} has {array.shape[0]} rows; there are {labels.shape[0]} labels",
            next_step="give probabilities of the same rows, in the same order",
        )
    if array.shape != first.shape:
        raise SubjectError(
            f"{name} has {array.shape[1]} classes; the first model has {first.shape[1]}",
            next_step="give models that know the same classes, in the same order",
        )
    if not array.shape[0]:
        raise SubjectError(f"{name} has no rows", next_step="give at least one row")
