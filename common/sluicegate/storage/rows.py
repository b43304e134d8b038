"""A subject's rows as leaves of a Merkle tree, so that single rows can be spoken about.

The data of a leaf is ``sha256(columns) || row``: a row under other column names is another
row. Rows come in the order of the files' paths and of the rows in each file. What a row's
bytes are depends on the format (:meth:`Format.encode <sluicegate.storage.formats.base.Format>`
says how) and is the same after rows were set aside, so the trees of a remainder and of what
was set aside hold the very leaves of their parent's tree.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from sluicegate.canonical import Digest
from sluicegate.errors import SubjectError
from sluicegate.merkle import RootBuilder, leaf_hash
from sluicegate.model import RowId
from sluicegate.storage.formats import Format
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import data_files

__all__ = ["RowTree", "check_partition", "row_leaves", "row_tree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTree:
    """The tree over all rows of a subject."""

    size: int
    """Number of rows."""
    root: Digest
    """RFC 6962 root over their leaf hashes."""


def row_leaves(snapshot: Snapshot) -> Iterator[tuple[RowId, bytes]]:
    """Yield each row's id and the data of its leaf, from verified bytes.

    Raises:
        SubjectError: the subject is not tabular, or cannot be read.
        SubjectChangedError: the bytes are not those of the snapshot.
    """
    for path, form in data_files(snapshot):
        with snapshot.open(path) as source:
            for ordinal, data in enumerate(_leaves_of(form, source, path)):
                yield RowId(path, ordinal), data


def _leaves_of(form: Format, source: IO[bytes], path: str) -> Iterator[bytes]:
    encoded = form.encode(source, name=path)
    columns = hashlib.sha256(next(encoded)).digest()
    for row in encoded:
        yield columns + row


def row_tree(snapshot: Snapshot) -> RowTree:
    """Return the tree over a subject's rows.

    Raises:
        SubjectError: as :func:`row_leaves`, or there are no rows.
    """
    builder = RootBuilder()
    for _, data in row_leaves(snapshot):
        builder.add(leaf_hash(data))
    if not builder.size:
        raise SubjectError(f"{snapshot.uri} has no rows")
    return RowTree(size=builder.size, root=Digest(builder.root().hex()))


def check_partition(whole: Snapshot, *parts: Snapshot) -> None:
    """Return if every row of the whole is in exactly one of the parts, and nothing else is.

    So a quarantine can be checked by somebody who was not there: nothing was lost, nothing
    was added, nothing was changed. Rows that are equal are counted. One 32-byte hash is kept
    for each different row.

    Raises:
        SubjectError: it is not so; says how many rows are missing and how many are too many,
            and in which file the first one is.
    """
    left: Counter[bytes] = Counter()
    where: dict[bytes, RowId] = {}
    for row, data in row_leaves(whole):
        leaf = leaf_hash(data)
        left[leaf] += 1
        where.setdefault(leaf, row)
    for part in parts:
        for row, data in row_leaves(part):
            leaf = leaf_hash(data)
            if not left[leaf]:
                raise SubjectError(
                    f"row {row.ordinal} of {row.file} in {part.uri} is not in {whole.uri}, or is "
                    "there less often",
                    next_step="somebody added or changed rows; compare with the derivation receipt",
                )
            left[leaf] -= 1
    if missing := +left:
        first = where[next(iter(missing))]
        raise SubjectError(
            f"{missing.total()} rows of {whole.uri} are in none of its parts; the first is row "
            f"{first.ordinal} of {first.file}",
            next_step="somebody removed rows; compare with the derivation receipt",
        )
