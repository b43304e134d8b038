"""The rows of an S3 Inventory report, in columns: which status has each object?

Row groups are read one batch after the other, so memory grows with the objects that are
asked about and not with the bucket.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from sluicegate.errors import MissingExtraError
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.s3.head import NO_MODE, Head, Miss
from sluicegate.stages.encryption.s3.inventory import DataFile, Report, Source, verified
from sluicegate.stages.encryption.s3.listing import Listing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["NEEDED", "modes_in"]

NEEDED: Final = {
    "key": "Key",
    "size": "Size",
    "etag": "ETag",
    "lastmodifieddate": "LastModifiedDate",
    "encryptionstatus": "EncryptionStatus",
}
"""Columns that must be there, and what they are called in an inventory's configuration."""
_USED: Final = ("bucket", *NEEDED, "islatest", "isdeletemarker")
_ROWS: Final = 1 << 17
"""Rows that are decoded at a time, about 40 MB of them."""
_LOOKUP: Final = 1 << 19
"""Rows below the subject's prefix that are looked up together at most, about 60 MB of them:
each look-up begins with a hash table of all keys that are asked about."""
_BLOCK: Final = 8 << 20
"""Bytes of CSV that are parsed at a time; no row may be longer."""
_MOST_ROWS: Final = 1_000_000_000
"""Rows that are read: about half an hour. Compressed files may claim to hold any number."""
_NOT_SSE: Final = "NOT-SSE"
_MOST_STATUSES: Final = 50
"""Different values of EncryptionStatus that are told apart; S3 has five."""


@dataclass(slots=True)
class _Match:
    """What is known of the wanted objects so far; columns in their order."""

    bucket: str
    prefix: str
    """What all keys begin with."""
    keys: pa.Array
    sizes: np.ndarray[Any, Any]
    listing: Listing
    etags: pa.Array
    times: np.ndarray[Any, Any]
    """How many rows describe the object."""
    same: np.ndarray[Any, Any]
    """Whether the row and today's listing describe the same object."""
    status: np.ndarray[Any, Any]
    """Index into ``statuses``."""
    statuses: list[str] = field(default_factory=list)
    rows: int = 0
    """Rows read."""
    kept: list[pa.RecordBatch] = field(default_factory=list)
    """Rows below the prefix that were not looked up yet."""
    waiting: int = 0
    """How many these are."""


def modes_in(
    report: Report, source: Source, keys: Sequence[str], sizes: Sequence[int], listing: Listing
) -> list[Head | Miss] | Unknown:
    """Return the mode of each object as the report says it.

    Args:
        report: the manifest.
        source: where the data files lie.
        keys: whole keys of the objects, each once.
        sizes: their lengths in bytes, as of the snapshot.
        listing: what S3 lists of them now.

    Returns:
        One answer for each key: only the mode is known; or why the report cannot be used.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    lacking = [name for column, name in NEEDED.items() if column not in report.columns]
    if lacking:
        return Unknown(
            f"the inventory has no {', '.join(lacking)}: add them to its optional fields"
        )
    try:
        import numpy as np
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", "reading an S3 Inventory report") from error
    count = len(keys)
    match = _Match(
        bucket=report.bucket,
        prefix=commonprefix([min(keys), max(keys)]) if keys else "",  # noqa: RUF071
        keys=pa.array(keys, pa.string()),
        sizes=np.asarray(sizes, np.int64),
        listing=listing,
        etags=pa.array(listing.etags, pa.string()),
        times=np.zeros(count, np.int32),
        same=np.zeros(count, bool),
        status=np.zeros(count, np.int16),
    )
    for file in report.files:
        failed = _read(report, source, file, match)
        if failed is not None:
            return failed
    _look_up(match)
    if len(match.statuses) > _MOST_STATUSES:
        return Unknown(f"the inventory has more than {_MOST_STATUSES} different statuses")
    return _answers(match)


def _read(report: Report, source: Source, file: DataFile, match: _Match) -> Unknown | None:
    import pyarrow as pa

    name = file.key.rpartition("/")[2]
    batches = _parquet if report.kind == "Parquet" else _csv
    with verified(source, file) as content:
        if isinstance(content, Unknown):
            return content
        try:
            for batch in batches(content, report.columns):
                match.rows += batch.num_rows
                if match.rows > _MOST_ROWS:
                    return Unknown(f"the inventory has more than {_MOST_ROWS} rows")
                _take(match, batch)
        except (pa.ArrowException, OSError, EOFError, KeyError, TypeError, ValueError) as error:
            return Unknown(f"the inventory's {name} cannot be read: {type(error).__name__}")
    return None


def _parquet(content: IO[bytes], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read batches; the names in the file count, those of the manifest are only checked."""
    import pyarrow.parquet as pq

    del columns
    file = pq.ParquetFile(content)
    names = {name.lower().replace("_", ""): name for name in file.schema_arrow.names}
    wanted = {names[name]: name for name in _USED if name in names}
    for batch in file.iter_batches(batch_size=_ROWS, columns=list(wanted)):
        yield batch.rename_columns([wanted[name] for name in batch.schema.names])


def _csv(content: IO[bytes], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read batches of a gzipped CSV without a header; keys in it are URL-encoded."""
    import pyarrow as pa
    from pyarrow import csv

    types = {
        "size": pa.int64(),
        "lastmodifieddate": pa.timestamp("ms", "UTC"),
        "islatest": pa.bool_(),
        "isdeletemarker": pa.bool_(),
    }
    used = [name for name in _USED if name in columns]
    with gzip.open(content) as plain:
        reader = csv.open_csv(
            plain,
            read_options=csv.ReadOptions(column_names=list(columns), block_size=_BLOCK),
            convert_options=csv.ConvertOptions(
                include_columns=used,
                column_types={name: types.get(name, pa.string()) for name in used},
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
        for batch in reader:
            at = batch.schema.get_field_index("key")
            yield batch.set_column(at, "key", _decoded(batch.column(at)))


def _decoded(keys: pa.Array) -> pa.Array:
    """Decode URL-encoded keys; only those that need it cost anything."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = pc.match_substring_regex(keys, "[%+]")
    if not pc.any(encoded).as_py():
        return keys
    plain = [unquote_plus(key) if key else key for key in keys.filter(encoded).to_pylist()]
    return pc.replace_with_mask(keys, encoded, pa.array(plain, pa.string()))


def _take(match: _Match, batch: pa.RecordBatch) -> None:
    """Keep those rows of a batch that may be wanted, in types of our own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    key = batch.column("key").cast(pa.string())
    ours = pc.starts_with(key, match.prefix)
    for name, kept in (("islatest", True), ("isdeletemarker", False)):
        if name in batch.schema.names:
            ours = pc.and_(ours, pc.fill_null(pc.equal(batch.column(name), kept), kept))
    if "bucket" in batch.schema.names:
        ours = pc.and_(ours, pc.equal(batch.column("bucket"), match.bucket))
    rows = batch.filter(ours)
    if not rows.num_rows:
        return
    changed = pc.cast(rows.column("lastmodifieddate"), pa.timestamp("ms")).cast(pa.int64())
    columns = {
        "key": key.filter(ours),
        "size": rows.column("size").cast(pa.int64()),
        "seconds": pc.divide(pc.fill_null(changed, -2000), 1000),
        "etag": pc.utf8_trim(rows.column("etag").cast(pa.string()), characters='"'),
        "status": pc.fill_null(rows.column("encryptionstatus").cast(pa.string()), _NOT_SSE),
    }
    match.kept.append(pa.RecordBatch.from_pydict(columns))
    match.waiting += rows.num_rows
    if match.waiting >= _LOOKUP:
        _look_up(match)


def _look_up(match: _Match) -> None:
    """Find the wanted ones among the kept rows and note what they say."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not match.kept:
        return
    table = pa.Table.from_batches(match.kept)
    match.kept.clear()
    match.waiting = 0
    at = pc.index_in(table.column("key"), value_set=match.keys).combine_chunks()
    ours = at.is_valid()
    rows, to = table.drop_columns("key").filter(ours), at.drop_null().to_numpy()
    np.add.at(match.times, to, 1)
    sizes = pc.fill_null(rows.column("size"), -1).to_numpy()
    same_tag = pc.equal(rows.column("etag"), match.etags.take(at.drop_null()))
    match.same[to] = (
        (sizes == match.sizes[to])
        & (rows.column("seconds").to_numpy() == match.listing.modified[to])
        & same_tag.fill_null(fill_value=False).to_numpy()
    )
    match.status[to] = _codes(match, rows.column("status"))


def _codes(match: _Match, statuses: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return the numbers of statuses, noting new ones until there are too many."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    known = {status: at for at, status in enumerate(match.statuses)}
    for status in pc.unique(statuses).to_pylist()[: _MOST_STATUSES + 1]:
        known.setdefault(status, len(known))
    match.statuses = list(known)
    codes = pc.index_in(statuses, value_set=pa.array(match.statuses, pa.string()))
    numbers: np.ndarray[Any, Any] = codes.fill_null(0).to_numpy().astype(np.int16)
    return numbers


def _answers(match: _Match) -> list[Head | Miss]:
    """Return one answer for each object; equal ones are the same value."""
    import numpy as np

    heads: list[Head | Miss] = [
        Head(mode=NO_MODE if status == _NOT_SSE else status) for status in match.statuses
    ]
    gone = len(heads)
    heads += [
        Miss("s3.list_objects_v2: the object is not there any more"),
        Miss("the inventory does not list the object"),
        Miss("the inventory lists the object more than once"),
        Miss("the object was written again after the inventory, or is another one there"),
    ]
    which = match.status.astype(np.int32)
    which[~match.same] = gone + 3
    which[match.times > 1] = gone + 2
    which[match.times == 0] = gone + 1
    which[match.listing.modified < 0] = gone
    return [heads[at] for at in which.tolist()]
