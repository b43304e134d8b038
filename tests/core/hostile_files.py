"""Makers of files for the tests of InspectFiles: honest ones of every type, and hostile ones.

Honest files come from the libraries that people use. Hostile ones are made here: as small as
they can be, never run, and harmless where they lie.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import wave
import zipfile
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyarrow import csv as arrow_csv
from pyarrow import feather, ipc, orc, parquet

CSV = "id,name,note\n" + "".join(f'{i},"n, {i}","said ""{i}"""\n' for i in range(50))
TABLE = pa.table({
    "id": range(1000),
    "name": [f"n{i % 7}" for i in range(1000)],
    "list": [[i, i + 1] for i in range(1000)],
    "nested": [{"a": i, "b": ["x", str(i)]} for i in range(1000)],
})  # fmt: skip


def sink(write: Any) -> bytes:
    """Return what a function writes into a file."""
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""

    def write(out: io.BytesIO) -> None:
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    return sink(write)


def tar_of(members: dict[str, bytes], **attributes: Any) -> bytes:
    """Return a tar archive; attributes go to every member."""

    def write(out: io.BytesIO) -> None:
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                for key, value in attributes.items():
                    setattr(info, key, value)
                archive.addfile(info, io.BytesIO(data) if info.isreg() else None)

    return sink(write)


def arrow_file(table: pa.Table, *, stream: bool = False) -> bytes:
    def write(out: io.BytesIO) -> None:
        make = ipc.new_stream if stream else ipc.new_file
        with make(out, table.schema) as writer:
            writer.write_table(table)

    return sink(write)


def picture(form: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """Return a picture of noise by Pillow."""
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return sink(lambda out: Image.fromarray(noise).save(out, form, **options))


def animation() -> bytes:
    frames = [Image.new("P", (20, 20), i) for i in range(4)]
    return sink(
        lambda out: frames[0].save(
            out, "GIF", save_all=True, append_images=frames[1:], comment=b"made by hand"
        )
    )


def _wav(out: io.BytesIO) -> None:
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))


def mp3() -> bytes:
    """Return an MP3 of silence with both tags: 20 frames of 128 kbit/s."""
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    return b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + frame * 20 + b"TAG" + bytes(125)


def box(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + name + data


def mp4() -> bytes:
    return box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", box(b"mvhd", bytes(100))) + box(b"mdat")


def pdf(body: bytes = b"") -> bytes:
    return b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog " + body + (
        b">>\nendobj\nxref\n0 1\n0000000000 65535 f \ntrailer\n<< /Root 1 0 R >>\n"
        b"startxref\n60\n%%EOF\n"
    )  # fmt: skip


def docx(**more: bytes) -> bytes:
    """Return what a word processor saves, with further parts by name."""
    types = b'<?xml version="1.0"?><Types xmlns="urn:t"><Default Extension="xml"/></Types>'
    parts = {"[Content_Types].xml": types, "word/document.xml": b"<w><p>text</p></w>"}
    return zip_of(parts | more)


def safetensors() -> bytes:
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "I64", "shape": [1], "data_offsets": [24, 32]},
    }).encode()  # fmt: skip
    return struct.pack("<Q", len(header)) + header + bytes(32)


def avro(codec: bytes = b"deflate", rows: int = 100, block: bytes = b"\x02" * 100) -> bytes:
    """Return an Avro file of ints, as the specification writes it."""

    def number(value: int) -> bytes:
        value, out = value << 1, bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    def text(data: bytes) -> bytes:
        return number(len(data)) + data

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(block) + packer.flush() if codec == b"deflate" else block
    if codec == b"snappy":
        packed = pa.compress(block, codec="snappy", asbytes=True)
        packed += zlib.crc32(block).to_bytes(4, "big")
    header = number(2) + text(b"avro.schema") + text(b'"int"') + text(b"avro.codec") + text(codec)
    sync = bytes(range(16))
    return b"Obj\x01" + header + b"\0" + sync + number(rows) + text(packed) + sync


def numpy_file(array: Any, **options: Any) -> bytes:
    return sink(lambda out: np.save(out, array, **options))


def compressed(data: bytes, codec: str) -> bytes:
    """Return a stream of a codec that Arrow knows."""
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, codec) as stream:
        stream.write(data)
    return buffer.getvalue().to_pybytes()


def honest() -> dict[str, bytes]:
    """Return an honest file of every type that passes with the default options, by name."""
    rows = "".join(json.dumps({"id": i, "text": f'}}{i}\\"['}) + "\n" for i in range(100)).encode()
    text = PngInfo()
    text.add_text("Comment", "taken < 5 minutes ago; see <b>notes</b>")
    exif = Image.Exif()
    exif[0x010E] = "a photo"
    return {
        "a.parquet": sink(lambda out: parquet.write_table(TABLE, out, compression="zstd")),
        "plain.parquet": sink(lambda out: parquet.write_table(TABLE, out, use_dictionary=False)),
        "a.arrow": arrow_file(TABLE),
        "stream.arrows": arrow_file(TABLE, stream=True),
        "a.feather": sink(lambda out: feather.write_feather(TABLE, out)),
        "a.orc": sink(lambda out: orc.write_table(TABLE, out)),
        "a.avro": avro(),
        "null.avro": avro(b"null"),
        "snappy.avro": avro(b"snappy"),
        "a.csv": CSV.encode(),
        "bom.csv": b"\xef\xbb\xbf" + CSV.encode(),
        "crlf.csv": CSV.replace("\n", "\r\n").encode(),
        "arrow.csv": sink(lambda out: arrow_csv.write_csv(TABLE.select(["id", "name"]), out)),
        "one.csv": b"id\n1\n2\n",
        "inch.csv": b'item,size\npipe,5" wide\nrod,6" long, really\n'.replace(b", really", b""),
        "lines.csv": b'a,b\n1,"two\nlines, here"\n2,x\n',
        "orc.csv": b"ORC,tribe\n1,2\n",
        "a.tsv": b"a\tb\n1\t2\n",
        "a.json": json.dumps({"a": [1, {"b": ']}\\" '}], "é": None}, indent=1).encode(),
        "a.jsonl": rows,
        "words.txt": "Über alle Gipfel\nist Ruh'. {not json\n".encode(),
        "README": b"read me\n",
        "_SUCCESS": b"",
        "a.xml": b'<?xml version="1.0"?><a x="1"><b>t</b><!-- c --></a>',
        "a.png": picture("PNG", pnginfo=text),
        "a.jpg": picture("JPEG", exif=exif),
        "progressive.jpg": picture("JPEG", progressive=True),
        "a.gif": animation(),
        "a.webp": picture("WEBP"),
        "a.bmp": picture("BMP"),
        "a.tif": picture("TIFF", compression="tiff_lzw"),
        "a.wav": sink(_wav),
        "a.mp3": mp3(),
        "a.mp4": mp4(),
        "a.npy": numpy_file(np.zeros((3, 4), dtype="<f8")),
        "record.npy": numpy_file(np.zeros(5, dtype=[("a", "<i4"), ("b", "<f8", (2,))])),
        "a.npz": sink(lambda out: np.savez_compressed(out, x=np.arange(9), y=np.ones(3))),
        "a.safetensors": safetensors(),
        "a.csv.gz": gzip.compress(CSV.encode()),
        "two.csv.gz": gzip.compress(CSV.encode()) + gzip.compress(b'1,"b",c\n'),
        "a.csv.bz2": bz2.compress(CSV.encode()),
        "a.csv.xz": lzma.compress(CSV.encode()),
        "a.csv.zst": compressed(CSV.encode(), "zstd"),
        "a.zip": zip_of({"x/a.csv": CSV.encode(), "x/b.json": b"{}"}),
        "stored.zip": zip_of({"a.csv": CSV.encode()}, zipfile.ZIP_STORED),
        "bz.zip": zip_of({"a.csv": CSV.encode()}, zipfile.ZIP_BZIP2),
        "a.tar": tar_of({"x/a.csv": CSV.encode(), "x" * 150 + ".csv": CSV.encode()}),
        "a.tar.gz": gzip.compress(tar_of({"a.csv": CSV.encode(), "é.csv": CSV.encode()})),
        "dense.csv.gz": gzip.compress(b"id,label\n" + b"1234567,yes\n2345678,no\n" * 400_000, 4),
    }


DOCUMENTS = {
    "a.pdf": pdf(),
    "a.docx": docx(),
    "a.rtf": b"{\\rtf1 text}",
}
"""Honest documents, which pass where ``types`` allows documents."""


class Runs:
    """Would run a harmless function if somebody unpickled it."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of few bytes that claims to be of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def parquet_bomb() -> bytes:
    """Return 2 MB of Parquet that decode to 20 GB: rows share one long dictionary value."""
    rows, groups = 20_000_000, 20
    part = pa.DictionaryArray.from_arrays(
        np.zeros(rows // groups, dtype=np.int32), pa.array(["x" * 1000])
    )
    table = pa.table({"a": part})

    def write(out: io.BytesIO) -> None:
        with parquet.ParquetWriter(out, table.schema, compression="none") as writer:
            for _ in range(groups):
                writer.write_table(table, row_group_size=rows // groups)

    return sink(write)


def nested_zips(depth: int) -> bytes:
    """Return a zip in a zip in a zip …, with zeros in the middle."""
    data = zip_of({"0.csv": bytes(10_000_000)})
    for level in range(depth):
        data = zip_of({f"{level}-{i}.zip": data for i in range(8)})
    return data


def overlapping_zip() -> bytes:
    """Return a zip whose entries all point at the same compressed bytes."""
    data = bytearray(zip_of({f"{i}.csv": b"a\n" * 1000 for i in range(1)}))
    at = data.rfind(b"PK\x01\x02")
    end = data.rfind(b"PK\x05\x06")
    entry = bytes(data[at:end])
    record = bytearray(data[end:])
    entries = b"".join(entry.replace(b"0.csv", f"{i}.csv".encode()) for i in range(9))
    struct.pack_into("<HHI", record, 8, 9, 9, len(entries))
    return bytes(data[:at]) + entries + bytes(record)


def pickled() -> bytes:
    return pickle.dumps({"weights": Runs()})


def encrypted_zip() -> bytes:
    """Return a zip whose entry says that it is encrypted."""
    data = bytearray(zip_of({"a.csv": b"a,b\n1,2\n"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rfind(signature) + offset] |= 1
    return bytes(data)
