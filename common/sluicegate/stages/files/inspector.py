"""Leading each file, and each member of a container, to what walks its type.

The order is always the same: what is it by its bytes, may it be that, does it agree with its
name, is it something else besides, and is it in order to its end.
"""

from __future__ import annotations

import tempfile
from typing import Final

from sluicegate.stages.files.archives.inflating import inflate_stream
from sluicegate.stages.files.archives.tars import walk_tar
from sluicegate.stages.files.archives.zips import kind_of_zip, walk_zip
from sluicegate.stages.files.asking import decode, inflate, read_markup
from sluicegate.stages.files.examination import (
    Examination,
    ExceededError,
    MalformedError,
    Place,
    UnreadableError,
)
from sluicegate.stages.files.formats.arrays import (
    is_onnx,
    walk_gguf,
    walk_hdf5,
    walk_npy,
    walk_safetensors,
)
from sluicegate.stages.files.formats.documents import (
    risk_of_part,
    walk_ole2,
    walk_pdf,
    walk_rtf,
)
from sluicegate.stages.files.formats.pickles import is_old_pickle, walk_pickle
from sluicegate.stages.files.formats.pictures import see_end, walk_picture
from sluicegate.stages.files.formats.plain import text_kind, walk_text
from sluicegate.stages.files.formats.recordings import walk_recording
from sluicegate.stages.files.kinds import (
    COMPRESSED,
    DOCUMENTS_IN_ZIP,
    GROUPS,
    NEVER,
    agrees,
    claimed_kind,
    inner_name,
)
from sluicegate.stages.files.signatures import binary_kind, second_kind
from sluicegate.stages.files.views import View, whole

__all__ = ["inspect_file", "kind_of"]

UNKNOWN: Final = "unknown"
"""The type of bytes that nothing here knows."""

_TEXTS: Final = frozenset({"csv", "tsv", "json", "jsonl", "text", "html"})
_CHILD_TABLES: Final = frozenset({"parquet", "arrow", "orc", "avro"})
_PILLOW: Final = {
    "png": "PNG",
    "jpeg": "JPEG",
    "gif": "GIF",
    "webp": "WEBP",
    "bmp": "BMP",
    "tiff": "TIFF",
}
"""Pillow's names of formats."""


def inspect_file(view: View, name: str, found: Examination) -> None:
    """Examine one file of a subject; everything remarkable goes to ``found``."""
    try:
        _inspect(view, Place(name=name), found)
    except ExceededError as error:
        found.complete = False
        if error.unknown:
            found.unknown(error.check, str(error))
        else:
            found.fail(error.check, str(error), **error.evidence)


def kind_of(view: View, claimed: str) -> str:
    """Return the type by content; the claimed one only tells kinds of text apart."""
    if not view.size:
        return "empty"
    kind = binary_kind(view)
    if kind == "zip":
        return kind_of_zip(view)
    if kind:
        return kind
    if is_old_pickle(view, text=claimed in (*_TEXTS, "xml")):
        return "pickle"
    if text := text_kind(view, claimed):
        return text
    if is_onnx(view):
        return "onnx"
    return "encrypted" if claimed == "encrypted" else UNKNOWN


def _inspect(view: View, place: Place, found: Examination) -> None:
    """Examine a file or a member; only a limit that is reached goes up."""
    found.tick()
    found.depth = max(found.depth, place.depth)
    claimed = claimed_kind(place.name)
    kind = kind_of(view, claimed)
    if not place.depth:
        found.kind = kind
    _see_type(view, kind, claimed, place, found)
    _see_depth(kind, place, found)
    try:
        real = _walk(view, kind, place, found)
    except MalformedError as error:
        found.complete = False
        found.fail("files.structure", place.says(f"{kind}: {error}"))
    except UnreadableError as error:
        found.complete = False
        found.unknown("files.readable", place.says(str(error)))
    else:
        if not place.depth:
            found.kind = real


def _see_type(view: View, kind: str, claimed: str, place: Place, found: Examination) -> None:
    """Compare what it is with what it may be and with what it says it is."""
    if kind in NEVER:
        found.fail("files.executable_content", place.says(f"it is executable: {kind}"))
    elif claimed in NEVER:
        message = place.says(f"its name is that of something executable: {claimed}")
        found.fail("files.executable_content", message)
    if place.free:
        if risk := risk_of_part(place.name, view):
            found.fail("files.executable_content", place.says(risk))
        return
    if kind == "empty":
        if not place.name.rpartition("/")[2].startswith(("_", ".")):
            found.fail("files.structure", place.says("an empty file"))
        return
    if kind not in found.limits.types:
        found.fail("files.type_allowed", place.says(f"the type {kind} is not on the list"))
    if not agrees(claimed, kind):
        message = place.says(f"it is called {claimed} and holds {kind}")
        found.fail("files.type_matches", message, claimed=claimed, real=kind)
    if second := second_kind(view, kind):
        found.fail("files.polyglot", place.says(f"it is {kind} and {second} at once"))


def _see_depth(kind: str, place: Place, found: Examination) -> None:
    container = kind in GROUPS["containers"] or kind in DOCUMENTS_IN_ZIP or kind in COMPRESSED
    if container and place.depth >= found.limits.depth:
        raise ExceededError(
            "files.nesting",
            place.says(f"containers inside each other, more than {found.limits.depth}"),
            allowed=found.limits.depth,
        )
    if kind in ("zip", "tar") and place.archives and not found.limits.nested_archives:
        raise ExceededError("files.nesting", place.says("an archive inside an archive"))


def _walk(view: View, kind: str, place: Place, found: Examination) -> str:
    """Walk what it is; return that, where walking told it more exactly.

    Raises:
        MalformedError: it breaks the rules of its type.
        UnreadableError: nobody can tell.
        ExceededError: a limit is reached.
    """
    if kind in _TEXTS:
        return walk_text(view, kind, place, found) if not place.free or kind != "text" else kind
    if kind == "xml":
        return _walk_xml(view, place, found)
    if kind in _CHILD_TABLES:
        decode(view, kind, place, found)
    elif kind in _PILLOW:
        walk_picture(view, kind, place, found)
        decode(view, "image", place, found, kind=_PILLOW[kind])
    elif kind == "zip" or kind in DOCUMENTS_IN_ZIP:
        walk_zip(view, place, found, _inspect, kind)
    elif kind == "tar":
        walk_tar(view, place, found, _inspect)
    elif kind in COMPRESSED or kind == "lz4":
        _walk_stream(view, kind, place, found)
    elif kind in _WALKERS:
        _WALKERS[kind](view, place, found)
    elif kind in GROUPS["recordings"]:
        walk_recording(view, kind, place, found)
    elif kind in _CLOSED:
        raise UnreadableError(_CLOSED[kind])
    return kind


_WALKERS: Final = {
    "pickle": walk_pickle,
    "npy": walk_npy,
    "safetensors": walk_safetensors,
    "gguf": walk_gguf,
    "hdf5": walk_hdf5,
    "pdf": walk_pdf,
    "ole2": walk_ole2,
    "rtf": walk_rtf,
}

_CLOSED: Final = {
    "encrypted": "it is encrypted",
    "7z": "7z archives are not looked into here",
    "rar": "rar archives are not looked into here",
    "feather-v1": "the first version of Feather is not read here",
    "sqlite": "databases are not looked into here",
    "onnx": "ONNX graphs are not looked into here",
}
"""Types that cannot be walked to the end, and why."""


def _walk_xml(view: View, place: Place, found: Examination) -> str:
    facts = read_markup(view, place, found)
    root = str(facts["root"])
    if facts["active"] and root in ("svg", "html"):
        found.fail(
            "files.executable_content",
            place.says(f"{root} with {', '.join(map(str, facts['active']))}"),
        )
    real = root if root in ("svg", "html") else "xml"
    if real != "xml" and not place.free and real not in found.limits.types:
        found.fail("files.type_allowed", place.says(f"the type {real} is not on the list"))
    return real


def _walk_stream(view: View, kind: str, place: Place, found: Examination) -> None:
    """Inflate a compressed stream into a file, and inspect what came out."""
    inside = place.inside(inner_name(place.name), archive=False, free=place.free)
    with tempfile.TemporaryFile() as sink:
        if kind in ("zstd", "lz4"):
            inflate(view, kind, sink, place, found)
        else:
            see_end(view, inflate_stream(view, kind, sink, found), place, found)
        sink.flush()
        _inspect(whole(sink), inside, found)
