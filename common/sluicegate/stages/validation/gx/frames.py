"""Rows on their way to another process: as Arrow, never as pickle, and the same when read.

Columns of Python objects have no Arrow type of their own. Where all cells are dates, decimals
or bytes, Arrow keeps them; numbers, texts, lists and dictionaries beside each other, as JSON
lines hold them, travel as one JSON text a cell. What neither can hold is refused.

Which rows an expectation is about travels beside them, as one bit a row: the rows themselves
are sent once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.errors import StageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["read_frame", "write_frame"]

_ARROW_KEEPS: Final = frozenset({"bytes", "decimal", "date", "boolean", "empty"})
"""Kinds of object columns, as ``pandas.api.types.infer_dtype`` names them, that are the same
after Arrow. Texts are not: pandas makes its own text type of them."""

_ROWS: Final = 1 << 16
_HEADER: Final = b"sluicegate.columns"


def write_frame(
    frame: pd.DataFrame, out: IO[bytes], masks: Sequence[NDArray[np.bool_]] = ()
) -> None:
    """Write rows, with their index labels, as an Arrow IPC stream.

    Args:
        frame: the rows; the index holds integers, and column names are texts.
        out: where to.
        masks: selections of rows, each as one boolean a row.

    Raises:
        StageError: a column that can be sent neither as Arrow nor as JSON.
    """
    import pyarrow as pa

    fields, arrays = [], []
    names = [str(name) for name in frame.columns]
    for at, name in enumerate(names):
        array, how = _column(frame.iloc[:, at], name)
        arrays.append(array)
        fields.append({"name": name, **how})
    arrays.append(pa.array(frame.index.to_numpy(), type=pa.int64()))
    arrays += [pa.array(mask, type=pa.bool_()) for mask in masks]
    table = pa.table(arrays, names=[str(at) for at in range(len(arrays))])
    table = table.replace_schema_metadata({_HEADER: json.dumps(fields).encode()})
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS)


def read_frame(source: IO[bytes]) -> tuple[pd.DataFrame, tuple[NDArray[np.bool_], ...]]:
    """Return the rows and the masks that :func:`write_frame` wrote."""
    import pandas as pd
    import pyarrow as pa

    with pa.ipc.open_stream(source) as reader:
        table = reader.read_all()
    fields = json.loads(table.schema.metadata[_HEADER])
    index = pd.Index(table.column(len(fields)).to_numpy())
    masks = tuple(column.to_numpy() for column in table.columns[len(fields) + 1 :])
    columns = [_series(table.column(at), field) for at, field in enumerate(fields)]
    if not columns:
        return pd.DataFrame(index=index), masks
    frame = pd.concat(columns, axis=1)
    frame.columns = pd.Index([field["name"] for field in fields])
    frame.index = index
    return frame, masks


def _column(series: Any, name: str) -> tuple[Any, dict[str, str]]:
    import pandas as pd
    import pyarrow as pa

    try:
        if series.dtype == object:
            kind = pd.api.types.infer_dtype(series, skipna=True)
            if kind not in _ARROW_KEEPS and (cells := _json_cells(series)) is not None:
                return pa.array(cells, type=pa.large_string()), {"as": "json"}
            return pa.array(series, from_pandas=True), {"as": "object"}
        return pa.array(series, from_pandas=True), {"as": str(series.dtype)}
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StageError(
            f"column {name!r} cannot be handed to the process of Great Expectations: "
            f"{type(error).__name__}",
            next_step="keep one kind of value in the column, or store the data as Parquet",
        ) from None


def _json_cells(series: Any) -> list[str] | None:
    try:
        return [json.dumps(value) for value in series]
    except (TypeError, ValueError, RecursionError):
        return None


def _series(column: Any, field: dict[str, str]) -> Any:
    import pandas as pd

    how = field["as"]
    if how == "json":
        cells = [json.loads(cell) for cell in column.to_pylist()]
        return pd.Series(cells, dtype="object")
    series = column.to_pandas()
    return series if str(series.dtype) == how else series.astype(how)
