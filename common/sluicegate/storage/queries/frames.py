"""Data frames as subjects: for tasks that make their rows in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.queries.parquet import ROW_GROUP, parquet_file, plain_schema
from sluicegate.storage.snapshot import store_for
from sluicegate.storage.uri import SubjectUri

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["frame_batches", "write_subject"]


def write_subject(
    frame: pd.DataFrame | pl.DataFrame | pl.LazyFrame | pa.Table,
    target: str | os.PathLike[str] | SubjectUri,
) -> SubjectUri:
    """Write a data frame as one Parquet file, and return it as a subject.

    The same rows with the same types give the same bytes, in whatever order a library holds
    them in memory and whichever of the three libraries it is, as long as pyarrow is the same
    version. Two things differ between libraries and are kept: pandas reads NaN as missing,
    the others do not.

    Args:
        frame: of pandas, polars or pyarrow; of pandas with its default index only.
        target: path or URI of the file, ending in ``.parquet``.

    Returns:
        The subject: what to hand to the gates.

    Raises:
        SubjectError: no rows, an index that would be lost, two columns of one name, a column
            of mixed types, or the target cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    uri = target if isinstance(target, SubjectUri) else SubjectUri.parse(target)
    if not uri.name.endswith(".parquet"):
        raise SubjectError(
            f"{uri} does not end in .parquet", next_step="readers go by the name of a file"
        )
    schema, batches, _ = frame_batches(frame)
    with parquet_file(schema, batches, None) as file:
        store_for(uri).write(uri, file)
    return uri


def frame_batches(frame: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch], int]:
    """Return a data frame as its plain schema, its batches and its number of rows.

    Raises:
        SubjectError: as :func:`write_subject`.
        MissingExtraError: pyarrow is not installed.
    """
    table = _arrow(frame)
    schema = plain_schema(table.schema)
    # In slices: text of several GB does not fit into one chunk of the plain type.
    slices = (table.slice(at, ROW_GROUP) for at in range(0, table.num_rows, ROW_GROUP))
    batches = (
        batch for piece in slices for batch in _cast(piece, schema).combine_chunks().to_batches()
    )
    return schema, batches, table.num_rows


def _cast(table: Any, schema: Any) -> Any:
    import pyarrow as pa

    try:
        return table.replace_schema_metadata(None).cast(schema)
    except pa.ArrowException as error:
        raise SubjectError(
            f"the data frame cannot be written as Parquet: {type(error).__name__}"
        ) from None


def _arrow(frame: Any) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "a data frame as a subject") from error
    if isinstance(frame, pa.Table):
        return frame
    library = type(frame).__module__.partition(".")[0]
    if library == "polars":
        # The streaming engine has been seen to hang; a frame is taken whole in any case.
        whole = frame.collect(engine="in-memory") if hasattr(frame, "collect") else frame
        return whole.to_arrow()
    if library == "pandas":
        return _of_pandas(frame)
    raise SubjectError(
        f"a {type(frame).__name__} of {library} is no data frame that can be written",
        next_step="convert it to pandas, polars or pyarrow; Spark writes Parquet by itself",
    )


def _of_pandas(frame: Any) -> Any:
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise SubjectError(f"a {type(frame).__name__} of pandas is no data frame")
    if list(frame.columns) != [str(name) for name in frame.columns]:
        raise SubjectError(
            "the data frame has columns whose names are not texts", next_step="rename them"
        )
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise SubjectError(
            "the data frame has an index of its own, which would be lost",
            next_step="call reset_index() and keep it as a column, or reset_index(drop=True)",
        )
    if not frame.columns.is_unique:
        raise SubjectError("two columns have the same name", next_step="rename one")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise SubjectError(
            f"the data frame cannot be written as Parquet: {type(error).__name__}",
            next_step="keep one kind of value in each column",
        ) from None
