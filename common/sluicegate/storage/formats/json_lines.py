"""JSON Lines: one JSON object a line, UTF-8."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO, TYPE_CHECKING, Final

from sluicegate.canonical import Json, parse_json
from sluicegate.errors import MissingExtraError, SubjectError
from sluicegate.storage.formats.base import Limits, check_ordinals, unreadable

if TYPE_CHECKING:
    import pandas

__all__ = ["JsonLines"]

_MAX_LINE: Final = 64 << 20


class JsonLines:
    """One object a line.

    Parsed with the standard library: a parser that a deeply nested line cannot crash.
    """

    suffixes = (".jsonl", ".ndjson")

    def read(self, source: IO[bytes], *, name: str, limits: Limits) -> pandas.DataFrame:
        """Parse line by line; see :class:`Format`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", "tables", "a JSON Lines file") from error
        rows, size = [], 0
        for number, line in _lines(source, name):
            size += len(line)
            if size > limits.max_decoded_bytes:
                raise SubjectError(f"{name} is larger than {limits.max_decoded_bytes:,} bytes")
            rows.append(_parse(line, number, name))
        if not rows:
            raise unreadable(name, "JSON Lines", "it holds no objects")
        try:
            frame = pd.DataFrame.from_records(rows)
        except (ValueError, TypeError, OverflowError) as error:
            raise unreadable(name, "JSON Lines", type(error).__name__) from error
        if len(frame) != len(rows):
            raise unreadable(name, "JSON Lines", "its objects have no members")
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
        """Copy each line's own bytes to one side or the other; see :class:`Format`."""
        unwanted, rows = set(drop), 0
        for rows, (number, line) in enumerate(_lines(source, name), start=1):
            _parse(line, number, name)
            (removed if rows - 1 in unwanted else kept).write(line)
        check_ordinals(drop, rows, name)
        return rows

    def encode(self, source: IO[bytes], *, name: str) -> Iterator[bytes]:
        """Yield nothing for the columns, then each line; see :class:`Format`."""
        yield b""
        for number, line in _lines(source, name):
            _parse(line, number, name)
            yield line.strip(b"\r\n")


def _lines(source: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := source.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise unreadable(name, "JSON Lines", f"line {number} is over {_MAX_LINE:,} bytes")
        if line.strip():
            yield number, line if line.endswith(b"\n") else line + b"\n"


def _parse(line: bytes, number: int, name: str) -> dict[str, Json]:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise unreadable(name, "JSON Lines", f"line {number}: {error}") from error
    if not isinstance(value, dict):
        raise unreadable(name, "JSON Lines", f"line {number} is not an object")
    return value
