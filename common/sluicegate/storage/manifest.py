"""The manifest of a subject: every file's path, size and SHA-256, under one Merkle root.

The root binds names, sizes and bytes together: renaming, moving or truncating a file gives
another root. On disk a manifest is NDJSON, one canonical JSON record a line, sorted by the
UTF-8 bytes of the path, so that two people who list the same files write the same bytes.

A manifest of a million files is built in bounded memory and held as its own lines; records
become objects only when somebody looks at them.

Two names that are equal after Unicode normalisation (NFC) are refused: a file system that
normalises would merge them, and a person cannot tell them apart. Names that differ only in
case are different files, as they are on Linux and S3.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final, overload

from sluicegate.canonical import Digest, Json, canonical_json, parse_json
from sluicegate.errors import SubjectError
from sluicegate.merkle import RootBuilder
from sluicegate.storage.lines import Lines, LinesWriter
from sluicegate.storage.names import TwinNames
from sluicegate.storage.places import Places
from sluicegate.storage.records import (
    MAX_LINE,
    FileRecord,
    Place,
    RecordRow,
    encode_rows,
    parse_line,
    parse_rows,
    require_ascending,
)
from sluicegate.storage.sorting import SortedRows, blocks

__all__ = ["FileRecord", "Manifest", "ManifestBuilder", "Place", "Records"]

_BLOCK: Final = 1 << 13
"""Records that are formatted and hashed together; more take memory and win nothing."""

_READ: Final = 1 << 20
"""Bytes of a stored manifest that are read at once."""

_sha256: Final = hashlib.sha256().copy
"""Start a hash: copying a started one costs half of starting one."""


class Records(Sequence[FileRecord]):
    """The records of a manifest, made when they are looked at."""

    __slots__ = ("_lines", "_places")

    def __init__(self, lines: Lines, places: Places) -> None:
        self._lines = lines
        self._places = places

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, at: int) -> FileRecord: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[FileRecord, ...]: ...
    def __getitem__(self, at: int | slice) -> FileRecord | tuple[FileRecord, ...]:
        if isinstance(at, slice):
            return tuple(self[one] for one in range(*at.indices(len(self))))
        count = len(self._lines)
        at = at + count if at < 0 else at
        if not 0 <= at < count:
            raise IndexError(f"record {at} of a manifest of {count}")
        return self._record(parse_line(self._lines[at]))

    def __iter__(self) -> Iterator[FileRecord]:
        return map(self._record, self.rows())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Records) and self._lines is other._lines:
            return True
        if not isinstance(other, Records | tuple):
            return NotImplemented
        return len(self) == len(other) and all(map(FileRecord.__eq__, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} records>"

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[RecordRow]:
        """Yield ``(path, size, sha256)`` of each record, a third of the cost of records."""
        for block in self._lines.blocks(start, stop):
            yield from map(parse_line, block[:-1].split(b"\n"))

    def path(self, at: int) -> str:
        """Return the path of one record; ``at`` is 0 to ``len - 1``."""
        return parse_line(self._lines[at])[0]

    def _record(self, row: RecordRow) -> FileRecord:
        path, size, sha256 = row
        place = self._places.find(path) if self._places else None
        return FileRecord(path=path, size=size, sha256=Digest(sha256), place=place)


class Manifest:
    """All files of a subject, sorted by path; see :meth:`of` and :meth:`parse`."""

    __slots__ = ("_dir_hash", "_lines", "_places", "digest", "files", "ndjson_digest", "size")

    digest: Digest
    """The Merkle root: what sluicegate means by "the digest of a subject"."""
    files: Records
    """Records sorted by the UTF-8 bytes of their paths."""
    size: int
    """Total length in bytes."""
    ndjson_digest: Digest
    """SHA-256 of :meth:`ndjson`."""

    def __init__(
        self, lines: Lines, places: Places, *, digest: Digest, size: int, sums: tuple[str, str]
    ) -> None:
        """Take over what was built or restored; use :meth:`of` or :meth:`parse`."""
        self._lines, self._places = lines, places
        self.files = Records(lines, places)
        self.digest = digest
        self.size = size
        self.ndjson_digest = Digest(sums[0])
        self._dir_hash = sums[1]

    @classmethod
    def of(cls, records: Iterable[FileRecord]) -> Manifest:
        """Build a manifest from records in any order, of any number.

        Raises:
            SubjectError: there are no files, two have the same path or one that is equal
                after Unicode normalisation, or a path is not a plain relative one.
        """
        places: list[tuple[str, Place]] = []

        def rows() -> Iterator[RecordRow]:
            for record in records:
                if record.place is not None:
                    places.append((record.path, record.place))
                yield record.path, record.size, record.sha256.hex

        ordered = SortedRows(rows())
        builder = ManifestBuilder()
        builder.extend(ordered)
        ordered.close()
        for path, place in sorted(places, key=lambda one: one[0]):
            builder.add_place(path, place)
        return builder.manifest()

    @classmethod
    def parse(cls, source: bytes | IO[bytes], *, places: bytes = b"") -> Manifest:
        """Read a stored manifest, trusting nothing: what two readers could read differently.

        Args:
            source: what :meth:`ndjson` wrote, as bytes or an open file; read in bounded memory.
            places: what :meth:`places_ndjson` wrote.

        Raises:
            SubjectError: empty, a line that is not in canonical form, a path that could leave
                the folder, unsorted, listed twice, equal after Unicode normalisation, or
                anything behind the last newline. The message names the line or the path.
        """
        builder = ManifestBuilder()
        first = 1
        for block in _whole_lines(source):
            rows = parse_rows(block, first=first)
            builder.extend(rows)
            first += len(rows)
        manifest = builder.manifest()
        return manifest.with_places(places) if places else manifest

    def with_places(self, ndjson: bytes) -> Manifest:
        """Return the manifest with the sidecar of places that was stored beside it.

        Raises:
            SubjectError: the sidecar is damaged, or names files that are not listed.
        """
        builder = ManifestBuilder()
        for number, line in enumerate(ndjson.removesuffix(b"\n").split(b"\n"), 1):
            try:
                document = parse_json(line)
                path = document.pop("path")
                builder.add_place(path, Place.from_json(document))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SubjectError(f"line {number} of the places is damaged") from error
            self.find(path)
        return Manifest(
            self._lines,
            builder.places(),
            digest=self.digest,
            size=self.size,
            sums=(self.ndjson_digest.hex, self._dir_hash),
        )

    @classmethod
    def restored(cls, blocks: Iterable[bytes], summary: Json) -> Manifest:
        """Take back a manifest from where nobody else can write, without hashing it again.

        Args:
            blocks: what :meth:`ndjson_blocks` yielded, cut between any two lines.
            summary: what :meth:`summary` returned.

        Raises:
            ValueError: the two cannot belong together.
        """
        writer = LinesWriter()
        for block in blocks:
            writer.write(block, [len(line) + 1 for line in block[:-1].split(b"\n")])
        lines = writer.finish()
        if len(lines) != summary["files"]:
            raise ValueError("the manifest is not the one of the summary")
        return cls(
            lines,
            Places(LinesWriter().finish()),
            digest=Digest(summary["merkleRoot"]),
            size=int(summary["bytes"]),
            sums=(Digest(summary["sha256"]).hex, Digest(summary["dirHash1"]).hex),
        )

    def summary(self) -> dict[str, Json]:
        """Return the digests by which others know the manifest, and what it sums up to."""
        return {
            "bytes": self.size,
            "dirHash1": self._dir_hash,
            "files": len(self),
            "merkleRoot": self.digest.hex,
            "sha256": self.ndjson_digest.hex,
        }

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Manifest of {len(self)} files, {self.digest}>"

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (self.ndjson(), self.places_ndjson())

    def find(self, path: str) -> FileRecord:
        """Return the record of one file, without making the others.

        Raises:
            SubjectError: the manifest does not list it.
        """
        return self.files[self.index(path)]

    def index(self, path: str) -> int:
        """Return the number of a file's record: the index of its leaf in the tree.

        Raises:
            SubjectError: the manifest does not list it.
        """
        at = bisect_left(range(len(self)), path, key=self.files.path)
        if at < len(self) and self.files.path(at) == path:
            return at
        raise SubjectError(f"{path!r} is not in the manifest of the subject")

    def ndjson(self) -> bytes:
        """Return the manifest as it is stored: one record a line, sorted by path."""
        return self._lines.tobytes()

    def ndjson_blocks(self) -> Iterator[bytes]:
        """Yield what :meth:`ndjson` returns, a megabyte at a time."""
        return self._lines.blocks()

    def places_ndjson(self) -> bytes:
        """Return the sidecar: a line for each file whose place is known, sorted by path.

        Not bound by the digest of the subject. Empty when no place is known.
        """
        return self._places.ndjson()

    def place(self, path: str) -> Place | None:
        """Return where the store keeps a file, None when that is not known."""
        return self._places.find(path)

    def leaves(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the 32-byte leaf hashes of records ``start`` to ``stop``."""
        for block in self._lines.blocks(start, stop):
            for line in block[:-1].split(b"\n"):
                hasher = _sha256()
                hasher.update(b"\0" + line)
                yield hasher.digest()

    def dir_hash(self) -> str:
        """Return the ``dirHash1`` of the in-toto digest set (Go's h1 dirhash, hexadecimal).

        Other tools can recompute it with ``sha256sum``.
        """
        return self._dir_hash


class ManifestBuilder:
    """Takes records that are sorted by path, in bounded memory."""

    def __init__(self) -> None:
        self._tree = RootBuilder()
        self._whole = hashlib.sha256()
        self._dir_hash = hashlib.sha256()
        self._size = 0
        self._lines = LinesWriter()
        self._places = LinesWriter()
        self._names = TwinNames()
        self._last = ""
        self._last_place = ""

    def extend(self, rows: Iterable[RecordRow]) -> None:
        """Append records.

        Raises:
            SubjectError: unsorted or listed twice, not a plain relative path, not a length.
        """
        for block in blocks(rows, _BLOCK):
            self._extend(block)

    def _extend(self, rows: Sequence[RecordRow]) -> None:
        paths, sizes, digests = zip(*rows, strict=True)
        encoded = encode_rows(paths, sizes, digests)
        require_ascending(self._last, paths)
        self._last = paths[-1]
        pieces = encoded.split(b"\n")
        pieces.pop()
        lengths = list(map(len, pieces))  # a newline more and a zero byte less
        if max(lengths) > MAX_LINE:
            raise SubjectError(f"a path of the subject is too long: over {MAX_LINE} bytes")
        block = encoded.replace(b"\0", b"")
        self._lines.write(block, lengths)
        self._whole.update(block)
        self._tree.extend(_leaves(pieces))
        listed = [f"{one}  {path}\n" for one, path in zip(digests, paths, strict=True)]
        self._dir_hash.update("".join(listed).encode())
        self._size += sum(sizes)
        self._names.extend(paths)

    def add_place(self, path: str, place: Place) -> None:
        """Append where one file lies, in the order of the paths.

        Raises:
            SubjectError: out of order.
        """
        require_ascending(self._last_place, [path])
        self._last_place = path
        line = canonical_json({"path": path, **place.to_json()}) + b"\n"
        self._places.write(line, (len(line),))

    def manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            SubjectError: there are no files, or names are equal after Unicode normalisation.
        """
        if not self._last:
            raise SubjectError(
                "the subject holds no files", next_step="an empty folder cannot be examined"
            )
        manifest = Manifest(
            self._lines.finish(),
            self.places(),
            digest=Digest(self._tree.root().hex()),
            size=self._size,
            sums=(self._whole.hexdigest(), self._dir_hash.hexdigest()),
        )
        self._names.require_none(row[0] for row in manifest.files.rows())
        return manifest

    def places(self) -> Places:
        """Return what is known of where files lie."""
        return Places(self._places.finish())


def _leaves(pieces: Iterable[bytes]) -> list[bytes]:
    hashes = []
    for piece in pieces:
        hasher = _sha256()
        hasher.update(piece)
        hashes.append(hasher.digest())
    return hashes


def _whole_lines(source: bytes | IO[bytes]) -> Iterator[bytes]:
    """Cut a stored manifest into blocks of whole lines."""
    rest = b""
    for piece in _pieces(source):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
        if len(rest) > MAX_LINE:
            raise SubjectError(f"the manifest holds a line of more than {MAX_LINE} bytes")
    if rest:
        raise SubjectError(
            "the manifest does not end with a newline: it was cut off, or something was added",
            next_step="get the manifest from where it was written",
        )


def _pieces(source: bytes | IO[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        for at in range(0, len(source), _READ):
            yield source[at : at + _READ]
        return
    while piece := source.read(_READ):
        yield piece


def _unpickled(ndjson: bytes, places: bytes) -> Manifest:
    return Manifest.parse(ndjson, places=places)
