"""Types that their first bytes tell.

Signatures are facts of the formats, from their specifications; the order matters where one
is the beginning of another. Types of text have none: see ``formats.plain``. Formats that a
signature cannot tell apart (zip and what is built on it, RIFF, pickles of old protocols) are
told by the module that walks them.
"""

from __future__ import annotations

import codecs
import re
import struct
from typing import Final

from sluicegate.stages.files.views import View

__all__ = ["HEAD", "binary_kind", "second_kind"]

HEAD: Final = 4096
"""Bytes at the beginning that signatures are looked for in."""

_AT_START: Final = (
    (b"PAR1", "parquet"),
    (b"PARE", "encrypted"),
    (b"ARROW1\x00\x00", "arrow"),
    (b"FEA1", "feather-v1"),
    (b"ORC", "orc"),
    (b"Obj\x01", "avro"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"%PDF-", "pdf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole2"),
    (b"{\\rtf", "rtf"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"SQLite format 3\x00", "sqlite"),
    (b"GGUF", "gguf"),
    (b"age-encryption.org/", "encrypted"),
    (b"-----BEGIN PGP MESSAGE", "encrypted"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "encrypted"),
    (b"Salted__", "encrypted"),
    (b"$ANSIBLE_VAULT;", "encrypted"),
    (b"LUKS\xba\xbe", "encrypted"),
    (b"\x7fELF", "elf"),
    (b"\xfe\xed\xfa\xce", "macho"),
    (b"\xfe\xed\xfa\xcf", "macho"),
    (b"\xce\xfa\xed\xfe", "macho"),
    (b"\xcf\xfa\xed\xfe", "macho"),
    (b"\xca\xfe\xba\xbe", "java"),
    (b"\x00asm", "wasm"),
    (b"dex\n", "dex"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "shortcut"),
    (b"!<arch>\n", "package"),
    (b"\xed\xab\xee\xdb", "package"),
    (b"MSCF\x00\x00\x00\x00", "package"),
    (b"\xac\xed\x00\x05", "java-object"),
    (b"RDX2\n", "r-data"),
    (b"RDX3\n", "r-data"),
    (b"X\n\x00\x00\x00\x02", "r-data"),
    (b"X\n\x00\x00\x00\x03", "r-data"),
    (b"ID3", "mp3"),
)

_SHEBANG: Final = (b"#!/", b"#! /", b"\xef\xbb\xbf#!/", b"<?php")


_WORDS: Final = frozenset({b"PAR1", b"PARE", b"FEA1", b"ORC", b"BZh", b"GGUF", b"ID3", b"dex\n"})
"""Signatures that are words: what begins with one and is text throughout, as a table whose first
column is ``ORCID`` or ``PARENT``, is none of these types."""


def _is_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters; the last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return len(head.translate(None, _CONTROLS)) == len(head)


_CONTROLS: Final = bytes({*range(9), 11, 12, *range(14, 32), 127})


def binary_kind(view: View) -> str:
    """Return the type that the first bytes tell; empty if none does."""
    head = view.at(0, HEAD)
    for signature, kind in _AT_START:
        if head.startswith(signature):
            return "" if signature in _WORDS and _is_text(head) else kind
    if head.lstrip().lower().startswith(_SHEBANG):
        return "script"
    return _told_by_structure(view, head)


def _told_by_structure(view: View, head: bytes) -> str:
    """Tell types whose signature is short, or lies further in, by two facts at once."""
    if head[:4] in (b"RIFF", b"RIFX"):
        return {b"WAVE": "wav", b"WEBP": "webp"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return "mp4"
    if is_tar(head):
        return "tar"
    if _is_pe(view, head):
        return "pe"
    if head[:2] == b"BM" and head[14:18] in (
        b"\x0c\0\0\0",
        b"\x28\0\0\0",
        b"\x6c\0\0\0",
        b"\x7c\0\0\0",
    ):
        return "bmp"
    if head[:4] == b"\xff\xff\xff\xff" and _is_arrow_stream(view, head):
        return "arrow"
    if _is_safetensors(view, head):
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    if len(head) > 2 and head[0] == 0x78 and head[1] in (0x01, 0x5E, 0x9C, 0xDA):
        return "" if _is_text(head) else "zlib"
    if _is_mp3_frame(head):
        return "mp3"
    if (
        head[2:4] == b"\r\n"
        and len(head) >= 16
        and head[4:8] in (b"\0\0\0\0", b"\1\0\0\0", b"\3\0\0\0")
    ):
        return "pyc"
    return ""


def is_tar(head: bytes) -> bool:
    """Whether a block is a tar header: by its checksum, as the oldest tars have no signature.

    Source: POSIX.1-2017, pax, "ustar Interchange Format".
    """
    block = head[:512]
    if len(block) < 512 or block[0] == 0:
        return False
    text = block[148:156].strip(b" \0")
    if not text or not all(48 <= digit < 56 for digit in text):
        return False
    blank = block[:148] + b" " * 8 + block[156:]
    signed = sum(blank) - 256 * sum(byte > 127 for byte in blank)
    return int(text, 8) in (sum(blank), signed)


def _is_pe(view: View, head: bytes) -> bool:
    """Whether it is a program for DOS or Windows: MZ, and PE where that points (or no text)."""
    if head[:2] not in (b"MZ", b"ZM") or len(head) < 64:
        return False
    at = struct.unpack_from("<I", head, 60)[0]
    return view.at(at, 2) in (b"PE", b"NE", b"LE", b"LX") or b"\0" in head[:64]


def _is_arrow_stream(view: View, head: bytes) -> bool:
    if len(head) < 8:
        return False
    length = int(struct.unpack_from("<I", head, 4)[0])
    return 16 <= length <= view.size - 8


def _is_safetensors(view: View, head: bytes) -> bool:
    if len(head) < 10:
        return False
    length = int(struct.unpack_from("<Q", head)[0])
    return head[8:10] in (b'{"', b"{}", b"{ ") and 2 <= length <= view.size - 8


def _is_mp3_frame(head: bytes) -> bool:
    """Whether it begins with an MPEG audio frame. Source: ISO/IEC 11172-3, 2.4.1.3."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer != 0 and head[2] >> 4 not in (0, 15) and head[2] >> 2 & 3 != 3


_WITHIN: Final = (b"%PDF-", "pdf", 1024)


def second_kind(view: View, kind: str) -> str:
    """Return another type that the same bytes are as well; empty if there is none.

    Asked are the formats that readers find elsewhere than at the first byte: a PDF header
    within the first 1024 bytes (as readers accept), a zip directory at the end, a tar header,
    an ISO 9660 volume.

    Source: Albertini, "Abusing file formats", PoC||GTFO 0x07; Magazinius et al. 2013,
    "Polyglots: crossing origins by crossing formats".
    """
    head = view.at(0, HEAD)
    if kind != "pdf" and head.find(_WITHIN[0], 1, _WITHIN[2]) > 0 and _looks_like_pdf(view):
        return "pdf"
    if kind not in ("zip", "tar", *_ON_ZIP) and _zip_directory(view):
        return "zip"
    if kind != "tar" and head[257:262] == b"ustar" and is_tar(head):
        return "tar"
    if kind != "package" and view.at(32769, 5) == b"CD001":
        return "iso"
    return _markup_in(head, kind) or _script_around(view, head, kind)


_PICTURES: Final = frozenset({"png", "jpeg", "gif", "webp", "bmp", "tiff", "wav", "mp3", "mp4"})
_MARKUP: Final = re.compile(rb"<\s*(?:html|script|body|iframe)\b|<\?php", re.IGNORECASE)


def _markup_in(head: bytes, kind: str) -> str:
    """Return ``html`` if a browser that guesses types would take a picture for a page."""
    return "html" if kind in _PICTURES and _MARKUP.search(head, 0, 1024) else ""


def _script_around(view: View, head: bytes, kind: str) -> str:
    """Return ``script`` if a signature is the beginning of a program whose rest is a comment.

    ``GIF89a/*`` and ``BM/*`` are valid JavaScript until the comment ends.
    """
    if kind not in _PICTURES or b"/*" not in head[2:12]:
        return ""
    return "script" if b"*/" in view.at(0, 1 << 20) or b"*/" in view.tail(1 << 20) else ""


_ON_ZIP: Final = ("ooxml", "odf", "npz", "pytorch", "java")


def _looks_like_pdf(view: View) -> bool:
    """Whether the rest has what a reader of PDF needs: a trailer or a cross-reference."""
    tail = view.tail(2048)
    return b"startxref" in tail or b"%%EOF" in tail or b"trailer" in tail


def _zip_directory(view: View) -> bool:
    """Whether a reader of zip would find a directory at the end.

    Both ways of finding it are tried: where the end record says, and just in front of it, as
    readers do that forgive data in front of an archive.
    """
    tail = view.tail(65557)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= 22:
            entries, size, offset = struct.unpack_from("<HII", tail, at + 10)
            end = view.size - len(tail) + at
            places = (offset, end - size)
            if entries and any(view.at(place, 4) == b"PK\x01\x02" for place in places):
                return True
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return False
