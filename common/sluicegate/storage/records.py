"""The records of a manifest, and the canonical lines that bind them.

A record is one line of canonical JSON (RFC 8785) with the keys ``path``, ``sha256`` and
``size``; a manifest is such lines, each followed by a newline, sorted by the UTF-8 bytes of
the path. For millions of records a general serialiser is too slow, so lines are formatted
here, a block of them at a time. Reading goes the other way and trusts nothing: what was read
is written again and must give the bytes that were read.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from sluicegate.canonical import Digest, Json
from sluicegate.errors import SubjectError
from sluicegate.storage.uri import check_member_path

__all__ = [
    "MAX_LINE",
    "MAX_SIZE",
    "FileRecord",
    "Place",
    "RecordRow",
    "encode_rows",
    "parse_line",
    "parse_rows",
    "require_ascending",
]

MAX_SIZE: Final = 2**53 - 1
"""Largest length of a file in bytes: the largest integer that every JSON reader keeps exact."""

MAX_LINE: Final = 1 << 15
"""Longest line of a manifest in bytes: a path may take up to 4096 bytes on Linux and 1024 on
S3, so this is ample, and a reader need not buffer more."""

RecordRow: TypeAlias = tuple[str, int, str]
"""``(path, size, sha256)``, the digest in hexadecimal: a record without the objects around it."""

_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode
"""Writes a string as RFC 8785 does: checked for every character by the tests."""

_CONTROL: Final = bytes([*range(32), 127, ord("\\")])
"""Bytes that no path inside a subject holds (see ``check_member_path``)."""

_ROW: Final = re.compile(
    r'\{"path":"([^"\\\n]*(?:\\"[^"\\\n]*)*)","sha256":"([0-9a-f]{64})","size":([0-9]{1,16})\}\n'
)
_LINE: Final = re.compile(_ROW.pattern.removesuffix(r"\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a store keeps the bytes of a file, and what the store itself says of them.

    No part of the Merkle leaf: the digest of a subject must not depend on where it lies.
    """

    version_id: str = ""
    """The store's version of the object; empty where it keeps none."""
    algorithm: str = ""
    """Algorithm of the store's own checksum (``sha256``); empty when there is none."""
    value: str = ""
    """The store's own checksum in base64, with ``-N`` behind it if made of N parts."""
    kind: str = ""
    """``FULL_OBJECT``, ``COMPOSITE``, or empty when the store does not say."""
    part_size: int = 0
    """Length of each part but the last, in bytes; 0 when not made of parts or not known."""

    def to_json(self) -> dict[str, Json]:
        """Return the fields that hold something."""
        document: dict[str, Json] = {}
        if self.version_id:
            document["versionId"] = self.version_id
        if self.value:
            document["checksum"] = {
                "algorithm": self.algorithm,
                "type": self.kind,
                "value": self.value,
            }
        if self.part_size:
            document["partSize"] = self.part_size
        return document

    @classmethod
    def from_json(cls, value: Json) -> Place:
        """Read what :meth:`to_json` writes.

        Raises:
            ValueError: another shape.
        """
        if not isinstance(value, dict) or not set(value) <= {"versionId", "checksum", "partSize"}:
            raise ValueError("not a place")
        checksum = value.get("checksum") or {"algorithm": "", "type": "", "value": ""}
        if not isinstance(checksum, dict) or set(checksum) != {"algorithm", "type", "value"}:
            raise ValueError("not a checksum")
        texts = (value.get("versionId", ""), *checksum.values())
        part = value.get("partSize", 0)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a field of a place is not text")
        if type(part) is not int or not 0 <= part <= MAX_SIZE:
            raise ValueError("the part size is not a length in bytes")
        return cls(
            version_id=texts[0],
            algorithm=checksum["algorithm"],
            value=checksum["value"],
            kind=checksum["type"],
            part_size=part,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of a subject, as its bytes were when the snapshot was taken."""

    path: str
    """Path inside the subject, with ``/``."""
    size: int
    """Length in bytes."""
    sha256: Digest
    """Digest of the content."""
    place: Place | None = field(default=None, compare=False, repr=False)
    """Where the store keeps it; not bound by the digest of the subject."""

    def line(self) -> bytes:
        """Return the record's canonical JSON, without a line end: the leaf of the tree.

        Raises:
            SubjectError: the path is not Unicode text, or the size is not a length.
        """
        _require_length(self.path, self.size)
        text = f'{{"path":{_quoted(self.path)},"sha256":"{self.sha256.hex}","size":{self.size}}}'
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise SubjectError(f"the path {self.path!a} is not Unicode text") from error


def encode_rows(paths: Sequence[str], sizes: Sequence[int], digests: Sequence[str]) -> bytes:
    """Return the lines of records, given by columns, each behind a NUL.

    ``NUL line NEWLINE NUL line NEWLINE …``: RFC 6962 hashes a leaf behind a zero byte, so the
    pieces between newlines are hashed as they are, and without the zero bytes this is the
    stored manifest.

    Raises:
        SubjectError: a path is not a plain relative path, or a size is not a length.
    """
    quoted: Iterable[str] = paths
    if not _plain_paths(paths) or not _plain_sizes(sizes):
        for path, size in zip(paths, sizes, strict=True):
            check_member_path(path, where="the manifest")
            _require_length(path, size)
        quoted = [_quoted(path)[1:-1] for path in paths]
    lines = [
        f'\0{{"path":"{path}","sha256":"{digest}","size":{size}}}\n'
        for path, digest, size in zip(quoted, digests, sizes, strict=True)
    ]
    return "".join(lines).encode()


def _plain_paths(paths: Sequence[str]) -> bool:
    """Say whether all are in order and need no escaping; a no is not a fault yet."""
    text = "/\0/".join(["", *paths, ""])
    if '"' in text or "//" in text or "/./" in text or "/../" in text:
        return False
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return False
    # Every separator is one NUL, and no other byte may fall away: also no NUL inside a path.
    return len(data) - len(data.translate(None, _CONTROL)) == len(paths) + 1


def _plain_sizes(sizes: Sequence[int]) -> bool:
    return set(map(type, sizes)) == {int} and 0 <= min(sizes) <= max(sizes) <= MAX_SIZE


def _require_length(path: str, size: int) -> None:
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise SubjectError(f"{path!a} has a size that is no length in bytes")


def require_ascending(before: str, later_ones: Sequence[str]) -> None:
    """Refuse paths that are not sorted, or occur twice.

    Paths compare by code point, which for Unicode text is the order of the UTF-8 bytes.

    Args:
        before: the path in front of the first one; empty at the start.
        later_ones: the paths behind it.

    Raises:
        SubjectError: names the first path that is out of order.
    """
    paths = [before, *later_ones]
    if all(map(operator.lt, paths, paths[1:])):
        return
    for earlier, later in pairwise(paths):
        if earlier == later:
            raise SubjectError(f"the subject lists {later!r} twice")
        if earlier > later:
            raise SubjectError(
                f"the manifest is not sorted: {later!a} stands behind {earlier!a}",
                next_step="sort the lines by the UTF-8 bytes of the path",
            )


def parse_line(line: bytes) -> RecordRow:
    """Read one line of a manifest that was checked when it was built.

    Raises:
        ValueError: not a line that :meth:`FileRecord.line` writes.
    """
    match = _LINE.fullmatch(line.decode())
    if match is None:
        raise ValueError("not a record of a manifest")
    return _row(match.groups())


def parse_rows(block: bytes, *, first: int) -> list[RecordRow]:
    """Read whole lines of a manifest from elsewhere.

    Args:
        block: lines, each with its newline.
        first: number of the first line, for messages; lines count from 1.

    Raises:
        SubjectError: a line is not the canonical form of a record with a plain relative path.
    """
    try:
        rows = [_row(found) for found in _ROW.findall(block.decode())]
        if encode_rows(*_columns(rows)).replace(b"\0", b"") == block:
            return rows
    except (UnicodeDecodeError, SubjectError):
        pass  # said again below, with the number of the line
    raise SubjectError(_fault(block, first), next_step="get the manifest from where it was written")


def _columns(rows: Sequence[RecordRow]) -> tuple[list[str], list[int], list[str]]:
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def _row(found: Sequence[str]) -> RecordRow:
    path, digest, size = found
    return path.replace('\\"', '"'), int(size), digest


def _fault(block: bytes, first: int) -> str:
    """Say which line of a block is at fault, and why."""
    for number, line in enumerate(block.split(b"\n"), first):
        where = f"line {number} of the manifest"
        try:
            row = parse_line(line)
            check_member_path(row[0], where=where)
            if encode_rows(*_columns([row]))[1:-1] != line:
                return f"{where} is not in canonical form"
        except SubjectError as error:
            return error.what
        except ValueError:
            return f"{where} is not a record: expected path, sha256 and size, in canonical form"
    return f"the manifest is damaged at or behind line {first}"
