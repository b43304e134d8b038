"""The objects of a prefix as S3 lists them now: sizes, ETags and dates, in columns.

A listing does not tell how objects are stored; it tells whether they are still those that a
report of yesterday describes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.encryption.aws import Aws, Unknown, ask
from sluicegate.stages.encryption.s3.heads import Bucket

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Listing", "list_now"]

_MOST_PAGES: Final = 20_000
"""Pages that are read, of 1,000 objects each: prefixes with more than 2 * 10**7 objects."""
_FLUSH: Final = 100_000
"""Objects that are kept as Python values before they go into the columns."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Columns in the order of the keys that were asked about."""

    sizes: np.ndarray[Any, Any]
    """Bytes; -1 where the key is not listed."""
    modified: np.ndarray[Any, Any]
    """Seconds since 1970; -1 where the key is not listed."""
    etags: np.ndarray[Any, Any]
    """Without quotation marks; None where the key is not listed."""


def list_now(aws: Aws, bucket: Bucket, prefix: str, keys: Sequence[str]) -> Listing | Unknown:
    """List a prefix and return what belongs to these keys.

    Args:
        aws: where to ask.
        bucket: which bucket.
        prefix: what all keys begin with.
        keys: whole keys, each once.

    Returns:
        Their columns, or why they could not be listed.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(keys, pa.string())
    sizes, modified = np.full(len(keys), -1, np.int64), np.full(len(keys), -1, np.int64)
    etags = np.full(len(keys), None, object)

    def call() -> Listing:
        for rows in _chunks(aws, bucket, prefix):
            names, lengths, dates, tags = zip(*rows, strict=True)
            at = pc.index_in(pa.array(names, pa.string()), value_set=wanted)
            ours = at.is_valid().to_numpy(zero_copy_only=False)
            to = at.drop_null().to_numpy()
            sizes[to] = np.array(lengths, np.int64)[ours]
            modified[to] = np.array(dates, np.int64)[ours]
            etags[to] = np.array(tags, object)[ours]
        return Listing(sizes, modified, etags)

    answer = ask("s3.list_objects_v2", call)
    if isinstance(answer, Unknown) and "denied" in answer.reason:
        return Unknown(f"{answer.reason}; it takes s3:ListBucket")
    return answer or Unknown("s3.list_objects_v2: no answer")


def _chunks(aws: Aws, bucket: Bucket, prefix: str) -> Iterator[list[tuple[str, int, int, str]]]:
    pages = aws.client("s3").get_paginator("list_objects_v2")
    rows: list[tuple[str, int, int, str]] = []
    for number, page in enumerate(pages.paginate(Prefix=prefix, **bucket.arguments())):
        if number >= _MOST_PAGES:
            break
        for one in page.get("Contents", ()):
            changed = int(one["LastModified"].timestamp())
            rows.append((one["Key"], one["Size"], changed, one["ETag"].strip('"')))
        if len(rows) >= _FLUSH:
            yield rows
            rows = []
    if rows:
        yield rows
