"""Comma- and tab-separated text (RFC 4180), with one header line, UTF-8."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from typing import IO, TYPE_CHECKING, Final

from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.base import Limits, check_ordinals, unreadable

if TYPE_CHECKING:
    import pandas

__all__ = ["Delimited"]

_MAX_FIELD: Final = 64 << 20
"""Longest field, in characters. The csv module's own limit, 128 KiB, is short for text."""


class Delimited:
    """Text with one record a line; quoted fields may hold line breaks.

    Rows are split without being parsed and written again: what is kept is kept byte for
    byte.
    """

    def __init__(self, delimiter: str, *suffixes: str) -> None:
        """Read files with these endings, whose fields are separated by ``delimiter``."""
        self.delimiter = delimiter
        self.suffixes = suffixes

    def read(self, source: IO[bytes], *, name: str, limits: Limits) -> pandas.DataFrame:
        """Parse with pandas; the record count must match our own; see :class:`Format`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "tables", "a CSV file") from error
        records = sum(1 for _ in self._records(source, name)) - 1
        source.seek(0)
        try:
            frame = pd.read_csv(
                source, sep=self.delimiter, encoding="utf-8", low_memory=False, index_col=False
            )
        except (ValueError, pd.errors.ParserError, OverflowError) as error:
            raise unreadable(name, "delimited text", type(error).__name__) from error
        if len(frame) != records:
            raise unreadable(
                name,
                "delimited text",
                f"two parsers disagree on the number of rows ({len(frame)} and {records})",
            )
        if int(frame.memory_usage(deep=False).sum()) > limits.max_decoded_bytes:
            raise SubjectError(f"{name} decodes to more than {limits.max_decoded_bytes:,} bytes")
        return frame

    def split(
        self,
        source: IO[bytes],
        drop: Collection[int],
        *,
        name: str,
        kept: IO[bytes],
        removed: IO[bytes],
    ) -> int:
        """Copy each record's own bytes to one side or the other; see :class:`Format`."""
        records = self._records(source, name)
        header = next(records)
        kept.write(header)
        removed.write(header)
        unwanted, rows = set(drop), 0
        for rows, record in enumerate(records, start=1):
            (removed if rows - 1 in unwanted else kept).write(record)
        check_ordinals(drop, rows, name)
        return rows

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield the header and each record as it is written; see :class:`Format`."""
        for record in self._records(source, name):
            yield record.strip(b"\r\n")

    def _records(self, source: IO[bytes], name: str) -> Iterator[bytes]:
        """Yield the raw bytes of each record, the header first, blank lines attached."""
        taken: list[str] = []

        def lines() -> Iterator[str]:
            for line in _text_lines(source):
                if "\x00" in line:
                    raise unreadable(name, "delimited text", "it holds NUL bytes")
                taken.append(line)
                yield line

        csv.field_size_limit(_MAX_FIELD)
        width, number = 0, 0
        try:
            for fields in csv.reader(lines(), delimiter=self.delimiter, strict=True):
                if not fields:
                    continue  # a blank line: stays with the record that follows
                width = width or len(fields)
                if len(fields) != width:  # readers drop, fill or shift: each sees other data
                    raise unreadable(
                        name,
                        "delimited text",
                        f"row {number} has {len(fields)} fields, the header {width}",
                    )
                number += 1
                yield "".join(taken).encode()
                taken.clear()
        except UnicodeDecodeError as error:
            raise unreadable(name, "delimited text", "it is not UTF-8") from error
        except csv.Error as error:
            raise unreadable(name, "delimited text", str(error)) from error
        if not width:
            raise unreadable(name, "delimited text", "it has no header line")


def _text_lines(source: IO[bytes]) -> Iterator[str]:
    """Decode line by line, keeping line ends, and leave the file open."""
    for line in source:
        yield line.decode("utf-8")
