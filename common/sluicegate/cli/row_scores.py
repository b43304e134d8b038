"""``--findings-out``: what a stage thinks of single rows, as a Parquet file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sluicegate.errors import ConfigurationError, MissingExtraError
from sluicegate.stages.base import RowScores
from sluicegate.storage.local import write_atomically

__all__ = ["row_score_file"]

_COLUMNS: Final = (
    ("row", "int64"),
    ("file", "string"),
    ("ordinal", "int64"),
    ("channel", "string"),
    ("score", "double"),
    ("p_value", "double"),
    ("flagged", "bool"),
    ("evidence", "string"),
)


@contextmanager
def row_score_file(path: Path | None, *, every: bool) -> Iterator[RowScores | None]:
    """Yield what writes scores of rows to a file, which appears when the block ends well.

    Args:
        path: the file to write; ``None`` for no file.
        every: write all rows, and not only flagged ones.

    Raises:
        ConfigurationError: the file cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    if path is None:
        yield None
        return
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "writing scores of rows") from error
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _COLUMNS])
    with tempfile.TemporaryFile(prefix="sluicegate-") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:

            def write(columns: Mapping[str, Sequence[Any]]) -> None:
                arrays = [
                    pa.array(columns[name], type=schema.field(name).type, from_pandas=False)
                    for name, _ in _COLUMNS
                ]
                table = pa.Table.from_arrays(arrays, schema=schema)
                writer.write_table(table if every else table.filter(table["flagged"]))

            yield write
        file.seek(0)
        try:
            write_atomically(path, file)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {path}: {error.strerror}",
                next_step="check the folder and the free space",
            ) from error
