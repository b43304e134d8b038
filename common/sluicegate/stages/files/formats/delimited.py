"""CSV and TSV: every record as wide as the first, none too long, quotes closed.

Quoted fields are replaced by one pattern for a whole block, and what remains is counted line by
line: no field is built. A quote opens a field only where a field begins, as in RFC 4180
and the common readers.
"""

from __future__ import annotations

import re
from itertools import repeat
from typing import Final

from sluicegate.stages.files.examination import ExceededError, MalformedError
from sluicegate.stages.files.limits import BLOCK, Limits

__all__ = ["Delimited"]

_CANDIDATES: Final = (b",", b";", b"\t", b"|")


def _quoted(delimiter: bytes) -> re.Pattern[bytes]:
    """A quoted field; two NULs stop one that does not end in its block, and it takes one."""
    mark = re.escape(delimiter)
    return re.compile(rb"(?<![^\n" + mark + rb'])"[^"\0]*+(?:""[^"\0]*+)*+["\0]')


class Delimited:
    """Walks a table of text block by block.

    Attributes:
        records: records so far, the header counted.
        width: fields of the first one.
        odd: records with another number of fields.
    """

    def __init__(self, limits: Limits, *, delimiter: bytes = b"") -> None:
        """Begin.

        Args:
            limits: lengths and widths that are allowed.
            delimiter: what stands between fields; found from the first record if empty.
        """
        self._limits = limits
        self._delimiter = delimiter
        self._pattern: re.Pattern[bytes] | None = None
        self._carry = b""
        self._cut_away = 0
        self.records = 0
        self.width = 0
        self.odd = 0
        self.first_odd = 0

    def feed(self, data: bytes) -> None:
        """Walk the next block.

        Raises:
            ExceededError: a record is too long, or has too many fields.
            MalformedError: there is a NUL.
        """
        if b"\0" in data:
            raise MalformedError("a table of text with a NUL")
        data = self._carry + data
        end = data.rfind(b"\n") + 1
        if not end:
            self._keep(data)
            return
        rest = self._cut(data[:end])
        if rest is None:
            self._split(data)
            return
        self._count(rest)
        self._cut_away = 0
        self._keep(data[end:])

    def _split(self, data: bytes) -> None:
        """Count the records in front of one whose quoted field goes on behind the last line.

        Of that record the closed fields are kept as single letters, and their length as a
        number, which may be too large by what was cut out of the same block before it.
        """
        start = self._open_field(data)
        rest = self._quotes(data).sub(b"q", data[:start])
        begin = rest.rfind(b"\n") + 1
        self._count(rest[:begin])
        gone = start - len(rest)
        self._cut_away = min(gone, BLOCK) if begin else self._cut_away + gone
        self._keep(rest[begin:] + data[start:])

    def _open_field(self, data: bytes) -> int:
        """Return where the quoted field begins that is still open at the end."""
        at = 0
        for match in self._quotes(data).finditer(data + b"\0\0"):
            at = match.start()
        return at

    def _keep(self, data: bytes) -> None:
        if len(data) + self._cut_away > self._limits.line_bytes:
            raise ExceededError(
                "files.lines",
                f"a record longer than {self._limits.line_bytes} bytes: stopped there",
                allowed=self._limits.line_bytes,
            )
        self._carry = data

    def _quotes(self, data: bytes) -> re.Pattern[bytes]:
        if self._pattern is None:
            if not self._delimiter:
                line = data.partition(b"\n")[0]
                self._delimiter = max(_CANDIDATES, key=lambda mark: line.count(mark))
            self._pattern = _quoted(self._delimiter)
        return self._pattern

    def _cut(self, data: bytes) -> bytes | None:
        """Return whole lines, a letter for each quoted field; ``None`` if one is still open."""
        pattern = self._quotes(data)
        if b'"' not in data:
            return data
        rest = pattern.sub(b"q", data + b"\0\0")
        return rest[:-2] if rest.endswith(b"\0\0") else None

    def _count(self, data: bytes) -> None:
        lines = [line for line in data.split(b"\n") if line and line != b"\r"]
        if not lines:
            return
        widths = list(map(bytes.count, lines, repeat(self._delimiter)))
        if not self.width:
            self.width = widths[0] + 1
            if self.width > self._limits.columns:
                raise ExceededError(
                    "files.structure", f"{self.width} columns, more than {self._limits.columns}"
                )
        odd = len(widths) - widths.count(self.width - 1)
        if odd and not self.odd:
            first = next(at for at, width in enumerate(widths) if width != self.width - 1)
            self.first_odd = self.records + first + 1
        self.odd += odd
        self.records += len(lines)

    def close(self) -> None:
        """End.

        Raises:
            MalformedError: a quoted field is still open, records differ in their width, or
                there is none.
        """
        if self._carry:
            rest = self._cut(self._carry + b"\n")
            if rest is None:
                raise MalformedError("a quoted field that is never closed")
            self._count(rest)
        if not self.records:
            raise MalformedError("a table without a header")
        if self.odd:
            raise MalformedError(
                f"{self.odd} of {self.records} records have not the {self.width} fields of the "
                f"first; the first of them is record {self.first_odd}"
            )
