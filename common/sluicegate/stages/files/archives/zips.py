"""Zip archives: every entry in the directory and in place, and nothing beside them.

Sources: PKWARE APPNOTE 6.3.10; Fifield 2019, "A better zip bomb" (entries that overlap);
CWE-409, CWE-22.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from typing import Final

from sluicegate.stages.files.archives.directory import (
    Directory,
    Entry,
    Local,
    entries_of,
    read_directory,
    read_local,
)
from sluicegate.stages.files.archives.inflating import decoder_for, pump
from sluicegate.stages.files.archives.names import Names, problem_of
from sluicegate.stages.files.examination import (
    Examination,
    MalformedError,
    Place,
    UnreadableError,
    shown,
)
from sluicegate.stages.files.limits import BLOCK
from sluicegate.stages.files.views import SPOOL, View, whole

__all__ = ["kind_of_zip", "walk_zip"]

_METHODS: Final = {0: "stored", 8: "deflate", 12: "bzip2", 95: "xz"}
"""Ways of compressing that are read here, by their number in the format."""

_DESCRIPTOR: Final = (12, 16, 20, 24)
"""Lengths that the record behind a member may have: with a signature or not, zip64 or not."""

_FREE: Final = ("ooxml", "odf", "pytorch", "java")
"""What is built on zip, of parts that need not be on the list themselves."""

Inspect = Callable[[View, Place, Examination], None]
"""What each member is given to."""


def kind_of_zip(view: View) -> str:
    """Tell what is built on zip by the names inside; ``zip`` if nothing known, or unreadable."""
    try:
        names = {entry.name for entry in entries_of(view, read_directory(view))}
    except (MalformedError, UnreadableError):
        return "zip"
    if "[Content_Types].xml" in names:
        return "ooxml"
    if "META-INF/MANIFEST.MF" in names or "AndroidManifest.xml" in names:
        return "java"
    if "META-INF/manifest.xml" in names and "content.xml" in names:
        return "odf"
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "pytorch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"


def walk_zip(view: View, place: Place, found: Examination, inspect: Inspect, kind: str) -> None:
    """Look at every entry, inflate it, and inspect what comes out.

    Raises:
        MalformedError: the directory is broken.
        UnreadableError: the directory cannot be read here.
        ExceededError: a limit is reached.
    """
    directory = read_directory(view)
    _see_around(view, directory, place, found)
    names, spans = Names(), []
    for entry in entries_of(view, directory):
        found.count_entry()
        inside = place.inside(entry.name, archive=kind == "zip", free=kind in _FREE)
        _see_name(entry, names, inside, found)
        try:
            local = read_local(view, entry)
            spans.append((entry.offset, local.start + entry.packed))
            _see_header(entry, local, inside, found)
            _open(view, entry, local, inside, found, inspect)
        except MalformedError as error:
            found.fail("files.structure", inside.says(str(error)))
        except UnreadableError as error:
            found.unknown("files.readable", inside.says(str(error)))
    _see_spans(view, sorted(spans), directory, place, found)


def _see_around(view: View, directory: Directory, place: Place, found: Examination) -> None:
    if directory.shift:
        found.fail(
            "files.polyglot",
            place.says(f"{directory.shift} bytes in front of the zip archive"),
            bytes=directory.shift,
        )
    if view.size != directory.end:
        found.fail(
            "files.polyglot",
            place.says(f"{abs(view.size - directory.end)} bytes behind the zip archive"),
            bytes=abs(view.size - directory.end),
        )
    if directory.start + directory.size != directory.records:
        found.fail("files.structure", place.says("bytes between the zip directory and its end"))


def _see_name(entry: Entry, names: Names, inside: Place, found: Examination) -> None:
    if problem := names.problem(entry.name, folder=entry.folder):
        found.fail("files.paths", inside.says(problem))
    if entry.special:
        found.fail("files.paths", inside.says(f"{entry.special} in a zip archive"))
    if entry.odd_name:
        problem = problem_of(entry.odd_name)
        found.fail(
            "files.paths" if problem else "files.structure",
            inside.says(f"a second name, {shown(entry.odd_name)}{problem and ': '}{problem}"),
        )


def _see_header(entry: Entry, local: Local, inside: Place, found: Examination) -> None:
    """Compare the directory with what stands in front of the bytes."""
    if local.raw_name != entry.raw_name:
        found.fail("files.structure", inside.says("another name in front of its bytes"))
    if local.method != entry.method:
        found.fail("files.structure", inside.says("another compression in front of its bytes"))
    if not entry.agrees(local):
        found.fail("files.structure", inside.says("another size or checksum in front of its bytes"))
    if (local.flags ^ entry.flags) & 1:
        found.fail("files.structure", inside.says("directory and entry differ about encryption"))


def _open(
    view: View, entry: Entry, local: Local, inside: Place, found: Examination, inspect: Inspect
) -> None:
    """Inflate an entry, compare it with what was promised, and inspect it."""
    if entry.encrypted:
        raise UnreadableError("an encrypted entry")
    if entry.folder:
        if entry.size or entry.packed:
            raise MalformedError("a folder that holds bytes")
        return
    method = _METHODS.get(entry.method)
    if method is None:
        raise UnreadableError(f"a compression that is not known here, number {entry.method}")
    if local.start + entry.packed > view.size:
        raise MalformedError("an entry that reaches beyond the archive")
    with tempfile.SpooledTemporaryFile(max_size=SPOOL) as sink:
        decoder, crc = decoder_for(method), 0
        packed = view.part(local.start, entry.packed)
        for block in packed.blocks():
            for piece in pump(decoder, block):
                found.spend(len(piece))
                crc = zlib.crc32(piece, crc)
                sink.write(piece)
        if method != "stored" and not decoder.eof:
            raise MalformedError("an entry whose compressed data ends too early")
        if decoder.unused_data:
            found.fail("files.polyglot", inside.says("bytes behind the compressed data"))
        if sink.tell() != entry.size or crc != entry.crc:
            found.fail(
                "files.structure",
                inside.says("its size or checksum is not what the directory says"),
            )
        sink.flush()
        inspect(whole(sink), inside, found)


def _see_spans(
    view: View,
    spans: list[tuple[int, int]],
    directory: Directory,
    place: Place,
    found: Examination,
) -> None:
    """Look for entries that share bytes, and for bytes that belong to none."""
    end = directory.shift
    for start, stop in spans:
        if start < end:
            found.fail("files.expansion", place.says("entries of a zip archive that share bytes"))
            return
        _see_gap(view, end, start, place, found)
        end = max(end, stop)
    _see_gap(view, end, directory.start, place, found)


def _see_gap(view: View, start: int, stop: int, place: Place, found: Examination) -> None:
    gap = stop - start
    if gap <= 0 or gap in _DESCRIPTOR:
        return
    if view.at(start, 4) == b"PK\x06\x08" or view.at(stop - 16, 16) == b"APK Sig Block 42":
        return
    if gap > BLOCK or view.at(start, gap).strip(b"\0"):
        found.fail("files.polyglot", place.says(f"{gap} bytes that belong to no entry"), bytes=gap)
