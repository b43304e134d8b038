"""Encrypted archives: zip with AES, 7z with an encrypted header.

Sources: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4; WinZip, "AES Encryption Information",
sections II and III; 7-Zip, ``DOC/7zFormat.txt``.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Final

from sluicegate.stages.encryption.files.structure import (
    Envelope,
    MalformedError,
    Standing,
    UndecidedError,
    check_noise,
    exactly,
    number,
    size_of,
)

__all__ = ["SEVEN_ZIP", "ZIP", "read_seven_zip", "read_zip"]

ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of a zip archive, with entries and without."""
SEVEN_ZIP: Final = b"7z\xbc\xaf\x27\x1c"
"""First bytes of a 7z archive."""

_DIRECTORY: Final = 64 << 20
"""Largest central directory read, in bytes; room for about half a million entries."""
_AES: Final = 99
_AES_FIELD: Final = 0x9901
_SALTS: Final = {1: 8, 2: 12, 3: 16}
"""Octets of the salt by strength: AES with 128, 192, 256 bits."""
_STRONG: Final = 0x40
_DESCRIPTOR: Final = 24
"""Longest data descriptor between two entries, in bytes."""


def read_zip(source: IO[bytes]) -> Envelope:
    """Look at every entry of a zip archive, in the directory and in place.

    Raises:
        MalformedError: it is no readable archive.
        UndecidedError: bytes belong to no entry, or the directory is too large or encrypted.
    """
    entries = _entries(source)
    files = [one for one in entries if one.file_size or not one.is_dir()]
    if not files:
        return Envelope("zip", Standing.CLEAR, "a zip archive without files")
    if not any(one.flag_bits & 1 for one in files):
        return Envelope("zip", Standing.CLEAR, "a zip archive whose entries are not encrypted")
    if not all(one.flag_bits & 1 for one in files):
        return Envelope("zip", Standing.CLEAR, "a zip archive with some entries not encrypted")
    if any(one.flag_bits & _STRONG for one in files):
        raise UndecidedError("an encryption of zip archives that is not documented enough to judge")
    if any(one.compress_type != _AES for one in files):
        return Envelope(
            "zip",
            Standing.WEAK,
            "ZipCrypto, which is broken: the content can be found from a few known bytes",
        )
    ends = _ends(entries, source)
    for one in files:
        _check_entry(source, one, ends[one.header_offset])
    return Envelope("zip", Standing.ENCRYPTED, "names and sizes of the files inside are in clear")


def _entries(source: IO[bytes]) -> list[zipfile.ZipInfo]:
    size = size_of(source)
    source.seek(max(0, size - (1 << 16) - 22))
    tail = source.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise MalformedError("it has no directory at its end")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length == 0xFFFFFFFF or length > _DIRECTORY:
        raise UndecidedError(f"its directory is larger than {_DIRECTORY >> 20} MiB")
    try:
        with zipfile.ZipFile(source) as archive:
            return sorted(archive.infolist(), key=lambda one: one.header_offset)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
        raise MalformedError("its directory cannot be read") from error


def _ends(entries: Sequence[zipfile.ZipInfo], source: IO[bytes]) -> dict[int, int]:
    """Return where the room of each entry ends: where the next one begins."""
    starts = [one.header_offset for one in entries]
    if starts[0] != 0 or len(set(starts)) != len(starts):
        raise UndecidedError("bytes before its first entry belong to none")
    source.seek(0)
    with zipfile.ZipFile(source) as archive:
        return dict(zip(starts, [*starts[1:], archive.start_dir], strict=True))


def _check_entry(source: IO[bytes], entry: zipfile.ZipInfo, end: int) -> None:
    strength = _strength(entry.extra)
    source.seek(entry.header_offset)
    local = exactly(source, 30)
    flags, method = struct.unpack_from("<6xHH", local)
    name, extra = struct.unpack_from("<26xHH", local)
    exactly(source, name)
    if not flags & 1 or method != _AES or _strength(exactly(source, extra)) != strength:
        raise MalformedError("an entry differs from the directory")
    start = source.tell()
    if entry.compress_size < _SALTS[strength] + 12:
        raise MalformedError("an entry is too short to be encrypted")
    if not 0 <= end - start - entry.compress_size <= _DESCRIPTOR:
        raise UndecidedError("bytes between its entries belong to none")
    check_noise(source, start, start + entry.compress_size)


def _strength(extra: bytes) -> int:
    """Return the strength that the AES field states; exactly one must be there."""
    found = []
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _AES_FIELD:
            found.append(extra[4 : 4 + length])
        extra = extra[4 + length :]
    if len(found) != 1 or len(found[0]) != 7:
        raise MalformedError("an entry has no proper AES field")
    version, vendor, strength, _method = struct.unpack("<H2sBH", found[0])
    if version not in (1, 2) or vendor != b"AE" or strength not in _SALTS:
        raise MalformedError("an entry has no proper AES field")
    return int(strength)


_HEADER: Final = 64 << 20
_AES_CODER: Final = bytes.fromhex("06f10701")
_MOST: Final = 1 << 16
_HEADER_ID, _MAIN, _PACK, _UNPACK, _SIZES, _FOLDER, _CRC, _ENCODED = 1, 4, 6, 7, 9, 11, 10, 23


def read_seven_zip(source: IO[bytes]) -> Envelope:
    """Read the headers of a 7z archive: which methods its folders are packed with.

    Raises:
        MalformedError: it is cut short, or a checksum does not match.
        UndecidedError: the list of files is compressed, so that methods are not visible.
    """
    source.seek(6)
    exactly(source, 2)
    crc, fields = struct.unpack("<I20s", exactly(source, 24))
    offset, length, header_crc = struct.unpack("<QQI", fields)
    if zlib.crc32(fields) != crc or 32 + offset + length != size_of(source):
        raise MalformedError("it is cut short, or damaged")
    if not length:
        return Envelope("7z", Standing.CLEAR, "a 7z archive without files")
    if length > _HEADER:
        raise UndecidedError(f"its header is larger than {_HEADER >> 20} MiB")
    source.seek(32 + offset)
    header = exactly(source, length)
    if zlib.crc32(header) != header_crc:
        raise MalformedError("it is cut short, or damaged")
    reader = io.BytesIO(header)
    kind = number(reader, 1)
    if kind == _HEADER_ID and number(reader, 1) != _MAIN:
        raise UndecidedError("its header has parts that are not known")
    folders = _folders(reader)
    encrypted = [_AES_CODER in coders for coders in folders]
    if kind == _ENCODED and all(encrypted):
        check_noise(source, 32, 32 + offset)
        return Envelope("7z", Standing.ENCRYPTED)
    if kind == _ENCODED:
        raise UndecidedError("its list of files is compressed but not encrypted (7z: use -mhe=on)")
    if kind == _HEADER_ID and all(encrypted):
        check_noise(source, 32, 32 + offset)
        return Envelope("7z", Standing.ENCRYPTED, "names and sizes of the files are in clear")
    if kind == _HEADER_ID:
        return Envelope("7z", Standing.CLEAR, "a 7z archive with files that are not encrypted")
    raise MalformedError("its header is of an unknown kind")


def _folders(reader: IO[bytes]) -> list[list[bytes]]:
    """Return the methods of each folder, from the streams' description."""
    if number(reader, 1) != _PACK:
        raise MalformedError("its header does not describe its streams")
    _variable(reader)
    streams = _bounded(reader)
    while (kind := number(reader, 1)) != 0:
        if kind != _SIZES:
            raise UndecidedError("its header has parts that are not known")
        for _ in range(streams):
            _variable(reader)
    if number(reader, 1) != _UNPACK or number(reader, 1) != _FOLDER:
        raise MalformedError("its header does not describe its folders")
    count = _bounded(reader)
    if number(reader, 1):
        raise UndecidedError("its folders are described elsewhere")
    if not count:
        raise MalformedError("its header does not describe its folders")
    return [_coders(reader) for _ in range(count)]


def _coders(reader: IO[bytes]) -> list[bytes]:
    methods, inputs, outputs = [], 0, 0
    for _ in range(_bounded(reader)):
        flags = number(reader, 1)
        methods.append(exactly(reader, flags & 0x0F))
        inputs += _bounded(reader) if flags & 0x10 else 1
        outputs += _bounded(reader) if flags & 0x10 else 1
        if flags & 0x20:
            exactly(reader, _bounded(reader))
    pairs = outputs - 1
    for _ in range(2 * max(pairs, 0)):
        _variable(reader)
    packed = inputs - pairs
    for _ in range(packed if packed > 1 else 0):
        _variable(reader)
    return methods


def _bounded(reader: IO[bytes]) -> int:
    value = _variable(reader)
    if value > _MOST:
        raise UndecidedError(f"its header counts more than {_MOST} of something")
    return value


def _variable(reader: IO[bytes]) -> int:
    """Read a number of 1 to 9 octets, as 7zFormat.txt describes it."""
    first, mask, value = number(reader, 1), 0x80, 0
    for shift in range(8):
        if not first & mask:
            return value | (first & (mask - 1)) << (8 * shift)
        value |= number(reader, 1) << (8 * shift)
        mask >>= 1
    return value
