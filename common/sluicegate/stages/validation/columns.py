"""Column names that occur twice: the question "which x?" has no safe answer.

Readers resolve a repeated name differently: the first, the last, both, or renamed. What was
validated under the name need not be what the training task reads under it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sluicegate.storage.formats.delimited import Delimited
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import data_files

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["repeated_columns"]

_RENAMED: Final = re.compile(r"(.+)\.[0-9]+", re.DOTALL)
"""What pandas makes of the second ``x`` in a header: ``x.1``."""


def repeated_columns(snapshot: Snapshot, frame: pd.DataFrame) -> tuple[int, ...]:
    """Return the positions, from 0, of columns whose name occurred before them.

    Args:
        snapshot: where the table came from.
        frame: the table as it was read.
    """
    names = [str(name) for name in frame.columns]
    repeated = _repeated(names)
    if repeated or not _may_be_renamed(names):
        return repeated
    # Only now, because it reads the files again: ask the header lines themselves.
    for path, form in data_files(snapshot):
        if isinstance(form, Delimited):
            repeated = _repeated(_header(snapshot, path, form.delimiter))
            if repeated:
                return repeated
    return ()


def _repeated(names: Sequence[str]) -> tuple[int, ...]:
    seen: set[str] = set()
    found = []
    for position, name in enumerate(names):
        if name in seen:
            found.append(position)
        seen.add(name)
    return tuple(found)


def _may_be_renamed(names: Sequence[str]) -> bool:
    known = set(names)
    matches = (_RENAMED.fullmatch(name) for name in names)
    return any(match and match[1] in known for match in matches) or (
        sum(name.startswith("Unnamed: ") for name in names) > 1
    )


def _header(snapshot: Snapshot, path: str, delimiter: str) -> list[str]:
    with (
        snapshot.open(path) as source,
        io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text,
    ):
        return next((fields for fields in csv.reader(text, delimiter=delimiter) if fields), [])
