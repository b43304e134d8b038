"""Tabular file formats: one file each, chosen by the ending of a file's name.

A new format is one module with a class that does what
:class:`~sluicegate.storage.formats.base.Format` says, and one entry in :data:`FORMATS`.
"""

from __future__ import annotations

from typing import Final

from sluicegate.storage.formats.arrow_ipc import ArrowIpc
from sluicegate.storage.formats.base import Format, Limits
from sluicegate.storage.formats.delimited import Delimited
from sluicegate.storage.formats.json_lines import JsonLines
from sluicegate.storage.formats.parquet import Parquet

__all__ = ["FORMATS", "Format", "Limits", "format_of"]

FORMATS: Final[tuple[Format, ...]] = (
    Parquet(),
    Delimited(",", ".csv"),
    Delimited("\t", ".tsv"),
    JsonLines(),
    ArrowIpc(),
)


def format_of(path: str) -> Format | None:
    """Return the format of a file by the ending of its name, or None."""
    lower = path.lower()
    return next((form for form in FORMATS if lower.endswith(form.suffixes)), None)
