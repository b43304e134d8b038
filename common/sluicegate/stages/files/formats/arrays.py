"""Arrays and models: headers that say where bytes lie, compared with the bytes there are.

Sources: NumPy, "NEP 1: a simple file format"; safetensors, "Format" and its 2023 security
audit by Trail of Bits; GGUF specification, version 3; ONNX, ``onnx.proto``; HDF5 File Format
Specification 3.0, section II.A.
"""

from __future__ import annotations

import ast
import json
import math
import re
import struct
from itertools import pairwise
from typing import Any, Final

from sluicegate.stages.files.examination import (
    Examination,
    MalformedError,
    Place,
    UnreadableError,
)
from sluicegate.stages.files.formats.brackets import Brackets
from sluicegate.stages.files.views import View

__all__ = ["is_onnx", "walk_gguf", "walk_hdf5", "walk_npy", "walk_safetensors"]

NPY_HEADER: Final = 1 << 17
"""Bytes of a NumPy header: room for a record of a few thousand fields."""

MOST_DIMENSIONS: Final = 64
"""Dimensions of an array: as many as NumPy has. Products of more would take long to work out."""

DEEPEST_RECORD: Final = 20
"""Brackets inside each other in the description of a record."""

SAFE_HEADER: Final = 16 << 20
"""Bytes of a safetensors header; the format allows 100 MB, models of any size need 2."""

_NPY: Final = re.compile(
    r"\{'descr': (?P<descr>.+), 'fortran_order': (?:True|False), "
    r"'shape': \((?P<shape>[\d, ]*)\),? ?\}\s*",
    re.DOTALL,
)
_PLAIN: Final = re.compile(r"[<>|=]?([biufcmMSUV])(\d{1,18})(?:\[[\w/]+\])?", re.ASCII)
"""A type as NumPy writes it. NumPy reads many other spellings, of objects as well."""
_OBJECT: Final = re.compile(r"[<>|=]?O\d*")


def walk_npy(view: View, place: Place, found: Examination) -> None:
    """Check a NumPy array: no objects, and exactly the bytes that its shape needs.

    Raises:
        MalformedError: the header is broken or does not fit the bytes.
    """
    major = view.at(6, 1)
    wide = major in (b"\x02", b"\x03")
    if major not in (b"\x01", b"\x02", b"\x03"):
        raise MalformedError("a NumPy file of a version that does not exist")
    length = int.from_bytes(view.at(8, 4 if wide else 2), "little")
    start = (12 if wide else 10) + length
    if length > NPY_HEADER or start > view.size:
        raise MalformedError(f"a NumPy header of {length} bytes")
    text = view.at(start - length, length).decode("latin-1")
    match = _NPY.fullmatch(text)
    if match is None:
        raise MalformedError("a NumPy header that is no plain description of an array")
    try:
        width = _width(_literal(match["descr"]))
    except _ObjectsError:
        found.fail(
            "files.executable_content",
            place.says("a NumPy array of objects: they are pickled, and run code when loaded"),
        )
        return
    _fits(width, match["shape"], view.size - start)


class _ObjectsError(Exception):
    """The array holds Python objects."""


def _literal(text: str) -> object:
    """Return the description of a type, as the literal that it is."""
    depth = deepest = 0
    for mark in text:
        depth += (mark in "[({") - (mark in "])}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST_RECORD:
        raise MalformedError("a NumPy header with records nested too deep")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise MalformedError("a NumPy header whose type is no plain description") from None


def _width(descr: object) -> int:
    """Return the bytes of a cell of a type.

    Raises:
        MalformedError: it is not spelt as NumPy spells it. What else NumPy would take it for
            is not guessed: it may be an object.
        _ObjectsError: it is an object, or a record with one.
    """
    if isinstance(descr, str):
        if _OBJECT.fullmatch(descr):
            raise _ObjectsError
        if plain := _PLAIN.fullmatch(descr):
            return int(plain[2]) * (4 if plain[1] == "U" else 1)
    if isinstance(descr, list) and descr:
        return sum(map(_field_width, descr))
    raise MalformedError("a NumPy header with a type that is not spelt as NumPy spells it")


def _field_width(described: object) -> int:
    """Return the bytes of one field of a record: a name, a type and perhaps a shape."""
    if not isinstance(described, tuple) or len(described) not in (2, 3):
        raise MalformedError("a NumPy header with a field that has no name and type")
    shape = described[2] if len(described) == 3 else ()
    if not isinstance(shape, tuple) or len(shape) > MOST_DIMENSIONS:
        raise MalformedError("a NumPy header with a broken shape")
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        raise MalformedError("a NumPy header with a broken shape")
    return _width(described[1]) * math.prod(shape)


def _fits(width: int, shape: str, rest: int) -> None:
    numbers = [part.strip() for part in shape.split(",") if part.strip()]
    if len(numbers) > MOST_DIMENSIONS or any(
        not part.isdigit() or len(part) > 19 for part in numbers
    ):
        raise MalformedError("a NumPy header with a broken shape")
    needed = math.prod(int(part) for part in numbers) * width
    if needed != rest:
        raise MalformedError(f"a NumPy array that needs another number of bytes than {rest}")


_WIDTHS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "F8_E4M3": 8, "F8_E5M2": 8,
    "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}  # fmt: skip
"""Bits of a number by the name of its type."""


def walk_safetensors(view: View, place: Place, found: Examination) -> None:  # noqa: ARG001
    """Check tensors: their ranges fill the file without overlap or gap, as the format demands.

    Raises:
        MalformedError: the header is broken or does not fit the bytes.
        UnreadableError: the header is too long.
    """
    length = int.from_bytes(view.at(0, 8), "little")
    if length > view.size - 8:
        raise MalformedError("a safetensors header that reaches beyond the file")
    if length > SAFE_HEADER:
        raise UnreadableError(f"a safetensors header of {length} bytes, more than {SAFE_HEADER}")
    data = view.at(8, length)
    depth = Brackets(deepest=4)
    depth.feed(data)
    try:
        header = json.loads(data.decode(), object_pairs_hook=_unique)
    except ValueError:
        raise MalformedError("a safetensors header that is no JSON") from None
    if not isinstance(header, dict):
        raise MalformedError("a safetensors header that is no object")
    header.pop("__metadata__", None)
    spans = sorted(_span(tensor) for tensor in header.values())
    edges = [(0, 0), *spans, (view.size - 8 - length,) * 2]
    if any(one[1] != two[0] for one, two in pairwise(edges)):
        raise MalformedError("tensors that overlap, leave gaps, or do not fill the file")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError
    return dict(pairs)


def _span(tensor: Any) -> tuple[int, int]:
    """Return where a tensor lies, once its length fits its type and shape."""
    try:
        start, end = tensor["data_offsets"]
        width, shape = _WIDTHS[tensor["dtype"]], [*tensor["shape"]]
    except (KeyError, TypeError, ValueError):
        raise MalformedError("a tensor without type, shape or place") from None
    if len(shape) > MOST_DIMENSIONS or not all(
        type(size) is int and 0 <= size < 1 << 63 for size in (*shape, start, end)
    ):
        raise MalformedError("a tensor of an impossible size")
    if width * math.prod(shape) != (end - start) * 8:
        raise MalformedError("a tensor whose bytes do not fit its type and shape")
    return start, end


def walk_gguf(view: View, place: Place, found: Examination) -> None:  # noqa: ARG001
    """Check the counts of a GGUF model against its size; its tensors are not walked.

    Raises:
        MalformedError: an unknown version, or more than the file can hold.
    """
    head = view.at(0, 24)
    if len(head) < 24:
        raise MalformedError("a GGUF header that is cut off")
    version, tensors, pairs = struct.unpack_from("<IQQ", head, 4)
    if version not in (2, 3):
        raise MalformedError("a GGUF file of a version that does not exist")
    if tensors * 24 + pairs * 13 > view.size:
        raise MalformedError("a GGUF header that claims more than the file can hold")


def walk_hdf5(view: View, place: Place, found: Examination) -> None:
    """Check the superblock of HDF5: its end of file is the file's end.

    Raises:
        MalformedError: the superblock is broken, or bytes are missing.
    """
    version = view.at(8, 1)[:1]
    if version in (b"\0", b"\1"):
        at = 24 + (4 if version == b"\1" else 0) + 16
        width = view.at(13, 1)
    elif version in (b"\2", b"\3"):
        at, width = 12 + 16, view.at(9, 1)
    else:
        raise MalformedError("an HDF5 file of a version that does not exist")
    if width != b"\x08":
        raise UnreadableError("an HDF5 file with addresses of another width than 8 bytes")
    end = int.from_bytes(view.at(at, 8), "little")
    if end > view.size:
        raise MalformedError("an HDF5 file that is cut off")
    if end < view.size:
        found.fail("files.polyglot", place.says(f"{view.size - end} bytes behind the HDF5 file"))
    found.unknown(
        "files.expansion", place.says("what HDF5 data sets expand to is not measured here")
    )


_ONNX_FIELDS: Final = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Numbers and wire types of the fields of ``ModelProto``."""

MOST_FIELDS: Final = 10_000
"""Fields of an ONNX model at its top: one graph, and some functions and notes."""


def is_onnx(view: View) -> bool:
    """Whether the bytes are one ONNX model: protobuf has no signature, so it is walked."""
    at = count = 0
    seen: set[int] = set()
    while at < view.size:
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        count += 1
        if _ONNX_FIELDS.get(number) != wire or count > MOST_FIELDS:
            return False
        value, at = _varint(view, at)
        if at < 0:
            return False
        at += value if wire == 2 else 0
        seen.add(number)
    return at == view.size and {1, 7} <= seen


def _varint(view: View, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(view.at(at, 10)):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    return 0, -1 << 63
