"""Pictures: their structure from the first byte to the last, and their size in pixels.

The pixels are compared with the limit before anything is decoded. The decoding itself is done
by the child; what is asked here is whether all bytes belong to the picture.

Sources: W3C PNG (Third Edition); ITU-T T.81, annex B; GIF89a specification; TIFF 6.0; RFC
9649 (WebP); Microsoft, "Bitmap Storage".
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from sluicegate.stages.files.examination import (
    Examination,
    ExceededError,
    MalformedError,
    Place,
)
from sluicegate.stages.files.views import View

__all__ = ["ACTIVE", "WALKERS", "see_active", "see_end", "walk_picture"]

ACTIVE: Final = re.compile(
    rb"<\s*(?:script|iframe|svg|html)\b|<\?php|javascript:|\x00PK\x03\x04", re.IGNORECASE
)
"""What has no business in the comment of a picture: markup that runs where it is shown."""

COMMENT: Final = 1 << 20
"""Bytes of one comment that are looked at."""

MOST_PARTS: Final = 1_000_000
"""Chunks, segments or blocks of one picture."""


def walk_picture(view: View, kind: str, place: Place, found: Examination) -> None:
    """Walk a picture to its end, and say if bytes follow.

    Raises:
        MalformedError: it is no picture of its type.
        ExceededError: it has too many pixels.
    """
    see_end(view, WALKERS[kind](view, place, found), place, found)


def see_end(view: View, end: int, place: Place, found: Examination) -> None:
    """Say if a format ends before, or only after, the file does; zero bytes are padding.

    Raises:
        MalformedError: the file is cut off.
    """
    if end > view.size:
        raise MalformedError("it is cut off")
    rest = view.size - end
    if rest and any(block.strip(b"\0\r\n") for block in view.blocks(end)):
        found.fail(
            "files.polyglot", place.says(f"{rest} bytes behind the end of the format"), bytes=rest
        )


def see_active(data: bytes, place: Place, found: Examination) -> None:
    """Say if a comment or other free text holds active markup."""
    if ACTIVE.search(data):
        found.fail("files.polyglot", place.says("active markup in the metadata"))


def see_pixels(width: int, height: int, found: Examination) -> None:
    """Compare a size with the limit.

    Raises:
        ExceededError: it is larger.
        MalformedError: it is nothing.
    """
    if not width or not height:
        raise MalformedError("a picture without pixels")
    if width * height > found.limits.pixels:
        raise ExceededError(
            "files.expansion",
            f"a picture of {width} x {height} pixels, more than {found.limits.pixels}; it was "
            "not decoded",
            width=width,
            height=height,
            allowed=found.limits.pixels,
        )


def _unpack(form: str, view: View, at: int) -> tuple[Any, ...]:
    """Return numbers (and bytes) from a place; raise if the file ends before."""
    data = view.at(at, struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise MalformedError("it is cut off")
    return struct.unpack(form, data)


def _png(view: View, place: Place, found: Examination) -> int:
    at: int = 8
    seen_data = False
    for number in range(MOST_PARTS):
        length, name = int(_unpack(">I", view, at)[0]), view.at(at + 4, 4)
        if length > view.size - at - 12:
            raise MalformedError("a PNG chunk that reaches beyond the file")
        if (number == 0) != (name == b"IHDR"):
            raise MalformedError("a PNG that does not begin with its header")
        if name == b"IHDR":
            width, height = _unpack(">II", view, at + 8)
            see_pixels(width, height, found)
        _see_png_sum(view, at, length)
        if name in (b"tEXt", b"iTXt"):
            see_active(view.at(at + 8, min(length, COMMENT)), place, found)
        seen_data = seen_data or name == b"IDAT"
        at += 12 + length
        if name == b"IEND":
            if not seen_data:
                raise MalformedError("a PNG without a picture")
            return at
        found.tick()
    raise MalformedError("a PNG of too many chunks")


def _see_png_sum(view: View, at: int, length: int) -> None:
    crc = 0
    for block in view.part(at + 4, length + 4).blocks():
        crc = zlib.crc32(block, crc)
    if (crc,) != _unpack(">I", view, at + 8 + length):
        raise MalformedError("a PNG chunk with a wrong checksum")


_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NO_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(view: View, place: Place, found: Examination) -> int:
    end = _one_jpeg(view, 0, place, found)
    while view.at(end, 3) == b"\xff\xd8\xff":  # cameras put previews behind the picture
        end = _one_jpeg(view, end, place, found)
    return end


def _one_jpeg(view: View, start: int, place: Place, found: Examination) -> int:
    at, framed = start + 2, False
    for _ in range(MOST_PARTS):
        found.tick()
        mark, code = _unpack("BB", view, at)
        if mark != 0xFF:
            raise MalformedError("a JPEG with bytes between its segments")
        if code == 0xFF:
            at += 1
            continue
        if code == 0xD9:
            if not framed:
                raise MalformedError("a JPEG without a picture")
            return at + 2
        if code in _NO_LENGTH:
            at += 2
            continue
        length = _unpack(">H", view, at + 2)[0]
        if length < 2:
            raise MalformedError("a JPEG segment of an impossible length")
        if code in _FRAMES:
            height, width = _unpack(">HH", view, at + 5)
            see_pixels(width, height or 1, found)
            framed = True
        if code == 0xFE or 0xE1 <= code <= 0xEF:
            see_active(view.at(at + 4, length - 2), place, found)
        at += 2 + length
        if code == 0xDA:
            at = _scan_end(view, at)
    raise MalformedError("a JPEG of too many segments")


def _scan_end(view: View, at: int) -> int:
    """Return where the compressed data that begins at ``at`` ends: at the next marker."""
    while block := view.at(at, 1 << 18):
        if match := _SCAN_END.search(block):
            return at + match.start()
        at += max(1, len(block) - 1)
    raise MalformedError("it is cut off")


def _gif(view: View, place: Place, found: Examination) -> int:
    width, height, flags = _unpack("<HHB", view, 6)
    see_pixels(width, height, found)
    at = 13 + _palette(flags)
    for _ in range(MOST_PARTS):
        found.tick()
        kind = view.at(at, 1)
        if kind == b";":
            return at + 1
        if kind == b"!":
            label = view.at(at + 1, 1)
            at, text = _sub_blocks(view, at + 2, keep=label in (b"\xfe", b"\xff", b"\x01"))
            see_active(text, place, found)
        elif kind == b",":
            _, _, width, height, flags = _unpack("<4HB", view, at + 1)
            see_pixels(width, height, found)
            at, _ = _sub_blocks(view, at + 11 + _palette(flags), keep=False)
        else:
            raise MalformedError("a GIF with something between its blocks")
    raise MalformedError("a GIF of too many blocks")


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _sub_blocks(view: View, at: int, *, keep: bool) -> tuple[int, bytes]:
    text = bytearray()
    while size := _unpack("B", view, at)[0]:
        if keep and len(text) < COMMENT:
            text += view.at(at + 1, size)
        at += 1 + size
    return at + 1, bytes(text)


def _bmp(view: View, place: Place, found: Examination) -> int:  # noqa: ARG001
    size, _, data, header = _unpack("<4I", view, 2)
    form = "<HH" if header == 12 else "<ii"
    width, height = _unpack(form, view, 18)
    see_pixels(abs(width), abs(height), found)
    if data > view.size:
        raise MalformedError("a BMP whose pixels lie outside of the file")
    return size or view.size


def _tiff(view: View, place: Place, found: Examination) -> int:  # noqa: ARG001
    """Walk the directories: none twice, none outside. Where the last byte lies, none says."""
    order = "<" if view.at(0, 1) == b"I" else ">"
    big = _unpack(order + "H", view, 2)[0] == 43
    at = _unpack(order + ("Q" if big else "I"), view, 8 if big else 4)[0]
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) > 10_000:
            raise MalformedError("a TIFF whose directories go in a circle")
        seen.add(at)
        found.tick()
        count = _unpack(order + ("Q" if big else "H"), view, at)[0]
        if count > 4096:
            raise MalformedError("a TIFF directory of too many entries")
        _see_tiff_size(view, at + (8 if big else 2), count, order, found, big=big)
        at += (8 + 20 * count) if big else (2 + 12 * count)
        at = _unpack(order + ("Q" if big else "I"), view, at)[0]
    if not seen:
        raise MalformedError("a TIFF without a picture")
    return view.size


def _see_tiff_size(
    view: View, at: int, count: int, order: str, found: Examination, *, big: bool
) -> None:
    sizes = {}
    for number in range(count):
        place = at + number * (20 if big else 12)
        tag, kind = _unpack(order + "HH", view, place)
        if tag in (256, 257):
            where = place + (12 if big else 8)
            sizes[tag] = _unpack(order + ("H" if kind == 3 else "I"), view, where)[0]
    if len(sizes) == 2:
        see_pixels(sizes[256], sizes[257], found)


def _webp(view: View, place: Place, found: Examination) -> int:
    size = int(_unpack("<I", view, 4)[0])
    end, at, seen = 8 + size + size % 2, 12, 0
    if end - size % 2 > view.size:
        raise MalformedError("it is cut off")
    while at + 8 <= 8 + size:
        found.tick()
        name, length = _unpack("<4sI", view, at)
        if length > 8 + size - at - 8:
            raise MalformedError("a WebP chunk that reaches beyond the file")
        if name == b"VP8X":
            data = view.at(at + 8, 10)
            width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (4, 7))
            see_pixels(width, height, found)
        if name in (b"EXIF", b"XMP "):
            see_active(view.at(at + 8, min(length, COMMENT)), place, found)
        seen += 1
        at += 8 + length + length % 2
    if not seen:
        raise MalformedError("a WebP without a picture")
    return min(end, view.size)


WALKERS: Final[Mapping[str, Callable[[View, Place, Examination], int]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "gif": _gif,
    "bmp": _bmp,
    "tiff": _tiff,
    "webp": _webp,
}
"""What walks a picture of each type and returns where it ends."""
