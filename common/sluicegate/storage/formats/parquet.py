"""Apache Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.base import Limits, check_ordinals, unreadable

if TYPE_CHECKING:
    import pandas

__all__ = ["Parquet"]

_BATCH_ROWS: Final = 1 << 16
_THRIFT_STRINGS: Final = 64 << 20
_THRIFT_CONTAINERS: Final = 1 << 20


class Parquet:
    """Columnar files. The decoded size is measured while reading, never believed."""

    suffixes = (".parquet", ".pq")

    def read(self, source: IO[bytes], *, name: str, limits: Limits) -> pandas.DataFrame:
        """Decode batch by batch under the memory limit; see :class:`Format`."""
        with _failures(name):
            import pyarrow as pa

            file = _open(source)
            batches, decoded = [], 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                decoded += batch.nbytes
                if decoded > limits.max_decoded_bytes:
                    raise SubjectError(
                        f"{name} decodes to more than {limits.max_decoded_bytes:,} bytes",
                        next_step="split the file, or find out why it is so compressible",
                    )
                batches.append(batch)
            table = pa.Table.from_batches(batches, schema=file.schema_arrow)
            # Pandas metadata is the writer's word: a column that it calls an index would
            # disappear from the columns, and from every examination.
            return table.to_pandas(ignore_metadata=True)

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Rewrite row group by row group, keeping schema and metadata; see :class:`Format`."""
        with _failures(name):
            import pyarrow as pa
            import pyarrow.compute as pc
            import pyarrow.parquet as pq

            file = _open(source)
            rows = file.metadata.num_rows
            check_ordinals(drop, rows, name)
            unwanted, start = set(drop), 0
            options = {"compression": "zstd", "version": "2.6", "store_schema": True}
            with (
                pq.ParquetWriter(kept, file.schema_arrow, **options) as out,
                pq.ParquetWriter(removed, file.schema_arrow, **options) as aside,
            ):
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    mask = [start + at in unwanted for at in range(batch.num_rows)]
                    start += batch.num_rows
                    chosen = pa.array(mask, type=pa.bool_())
                    aside.write_batch(batch.filter(chosen))
                    out.write_batch(batch.filter(pc.invert(chosen)))
            return int(rows)


def _open(source: IO[bytes]) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        source,
        thrift_string_size_limit=_THRIFT_STRINGS,
        thrift_container_size_limit=_THRIFT_CONTAINERS,
    )


@contextmanager
def _failures(name: str) -> Iterator[None]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "a Parquet file") from error
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise unreadable(name, "Parquet", type(error).__name__) from error
