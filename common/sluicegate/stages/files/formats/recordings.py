"""Sound and video: the structure around the samples, to the last byte. Nothing is decoded.

Sources: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" (RIFF);
ISO/IEC 11172-3 and 13818-3 (frames of MP3); id3.org, ID3v2.4; ISO/IEC 14496-12 (boxes).
"""

from __future__ import annotations

import struct
from typing import Final

from sluicegate.stages.files.examination import Examination, MalformedError, Place
from sluicegate.stages.files.formats.pictures import see_end
from sluicegate.stages.files.views import View

__all__ = ["walk_recording"]

MOST_PARTS: Final = 5_000_000
"""Chunks, frames or boxes of one file: a day and a half of MP3."""


def walk_recording(view: View, kind: str, place: Place, found: Examination) -> None:
    """Walk a recording to its end, and say if bytes follow.

    Raises:
        MalformedError: it is no recording of its type.
    """
    walker = {"wav": _wav, "mp3": _mp3, "mp4": _mp4}[kind]
    see_end(view, walker(view, found), place, found)


def _wav(view: View, found: Examination) -> int:
    order = ">" if view.at(0, 4) == b"RIFX" else "<"
    size = int(struct.unpack(order + "I", view.at(4, 4))[0])
    names: set[bytes] = set()
    at, end = 12, 8 + size
    if end > view.size:
        raise MalformedError("it is cut off")
    while at + 8 <= end:
        found.tick()
        name, length = struct.unpack(order + "4sI", view.at(at, 8))
        if length > end - at - 8:
            raise MalformedError("a RIFF chunk that reaches beyond the file")
        names.add(name)
        at += 8 + length + length % 2
    if not {b"fmt ", b"data"} <= names:
        raise MalformedError("a WAVE file without format or samples")
    return min(end + end % 2, view.size)


_RATES: Final = {
    3: (44100, 48000, 32000),
    2: (22050, 24000, 16000),
    0: (11025, 12000, 8000),
}
_BITS: Final = {
    (1, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits a second by version (1, or 2 and 2.5) and layer, as the header counts layers: 3 is I."""


def _frame(head: bytes) -> int:
    """Return the length of the frame that begins here, in bytes; 0 if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bits, rate, pad = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or bits in (0, 15) or rate == 3:
        return 0
    speed = _BITS[1 if version == 3 else 2, layer][bits - 1] * 1000
    hertz = _RATES[version][rate]
    if layer == 3:
        return (12 * speed // hertz + pad) * 4
    samples = 72 if layer == 1 and version != 3 else 144
    return samples * speed // hertz + pad


def _mp3(view: View, found: Examination) -> int:
    at = 0
    if view.at(0, 3) == b"ID3":
        head = view.at(0, 10)
        if len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
            raise MalformedError("an ID3 tag of an impossible length")
        at = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frames = 0
    while frames < MOST_PARTS and (length := _frame(view.at(at, 4))):
        at += length
        frames += 1
        found.tick()
    if frames < 2:
        raise MalformedError("an MP3 file without sound")
    at = min(at, view.size)  # the last frame may be cut, as encoders leave it
    if view.at(at, 8) == b"APETAGEX":
        at += _ape(view, at)
    return at + 128 if view.at(at, 3) == b"TAG" else at


def _ape(view: View, at: int) -> int:
    size = int.from_bytes(view.at(at + 12, 4), "little")
    return size + 32


def _mp4(view: View, found: Examination) -> int:
    at, names = 0, set()
    for _ in range(MOST_PARTS):
        if at >= view.size:
            break
        found.tick()
        head = view.at(at, 16)
        if len(head) < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in head[4:8]):
            break
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        size = size or view.size - at
        if size < 8 or size > view.size - at:
            break
        names.add(head[4:8])
        at += size
    if not names & {b"moov", b"moof"} or b"ftyp" not in names:
        raise MalformedError("an MP4 file without a description of what it holds")
    return at
