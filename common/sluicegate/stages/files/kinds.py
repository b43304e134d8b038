"""Types of files: their groups, their endings, and which of them a data set may hold.

A type is known by a short name (``parquet``, ``png``, ``elf``). Each belongs to a group, and
the option ``types`` of the stage names types or groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sluicegate.errors import ConfigurationError

__all__ = [
    "COMPRESSED",
    "DEFAULT_TYPES",
    "DOCUMENTS_IN_ZIP",
    "GROUPS",
    "KINDS",
    "NEVER",
    "agrees",
    "chosen_types",
    "claimed_kind",
    "inner_name",
]

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "tables": ("parquet", "arrow", "feather-v1", "orc", "avro", "csv", "tsv", "json", "jsonl"),
    "text": ("text", "xml"),
    "images": ("png", "jpeg", "gif", "webp", "bmp", "tiff"),
    "recordings": ("wav", "mp3", "mp4"),
    "arrays": ("npy", "npz", "safetensors"),
    "containers": ("gzip", "bzip2", "xz", "zstd", "zip", "tar"),
    "active": ("html", "svg"),
    "documents": ("pdf", "ooxml", "odf", "ole2", "rtf"),
    "stores": ("hdf5", "sqlite"),
    "models": ("gguf", "onnx", "pytorch"),
    "pickles": ("pickle", "zlib"),
    "opaque": ("7z", "rar", "lz4", "encrypted"),
    "executables": ("elf", "pe", "macho", "script", "java", "wasm", "dex", "shortcut", "package"),
    "objects": ("java-object", "r-data", "pyc"),
}
"""Every type, by group."""

KINDS: Final = frozenset(kind for group in GROUPS.values() for kind in group)
"""Every type that can be told."""

NEVER: Final = frozenset({*GROUPS["executables"], *GROUPS["objects"]})
"""Types that run when they are opened; no option allows them."""

DEFAULT_TYPES: Final = ("tables", "text", "images", "recordings", "arrays", "containers")
"""Groups that are data, whose structure can be walked to the end."""

DOCUMENTS_IN_ZIP: Final = frozenset({"ooxml", "odf", "npz", "pytorch", "java"})
"""Types that are zip archives of known parts."""

COMPRESSED: Final[Mapping[str, tuple[str, ...]]] = {
    "gzip": (".gz", ".tgz"),
    "bzip2": (".bz2", ".tbz2", ".tbz"),
    "xz": (".xz", ".txz"),
    "zstd": (".zst", ".zstd", ".tzst"),
    "zlib": (".z", ".zlib"),
}
"""Endings of compressed streams, which another name may stand in front of."""

_ENDINGS: Final[Mapping[str, str]] = {
    "parquet": "parquet pq parq",
    "arrow": "arrow arrows ipc feather",
    "orc": "orc",
    "avro": "avro",
    "csv": "csv",
    "tsv": "tsv tab",
    "json": "json geojson ipynb",
    "jsonl": "jsonl ndjson",
    "text": "txt text md rst log yaml yml toml ini cfg",
    "xml": "xml xsd rdf",
    "png": "png",
    "jpeg": "jpg jpeg jpe jfif",
    "gif": "gif",
    "webp": "webp",
    "bmp": "bmp dib",
    "tiff": "tif tiff",
    "wav": "wav wave",
    "mp3": "mp3",
    "mp4": "mp4 m4a m4v mov",
    "npy": "npy",
    "npz": "npz",
    "safetensors": "safetensors",
    "zip": "zip",
    "tar": "tar",
    "html": "html htm xhtml",
    "svg": "svg",
    "pdf": "pdf",
    "ooxml": "docx xlsx pptx docm xlsm pptm dotx dotm xltx xltm potx ppsx ppsm xlam xlsb",
    "odf": "odt ods odp odg",
    "ole2": "doc xls ppt msi msg dot xlt",
    "rtf": "rtf",
    "hdf5": "h5 hdf5 hdf he5",
    "sqlite": "sqlite sqlite3 db",
    "gguf": "gguf",
    "onnx": "onnx",
    "pytorch": "pt pth ckpt",
    "pickle": "pkl pickle joblib dill p",
    "7z": "7z",
    "rar": "rar",
    "lz4": "lz4",
    "encrypted": "gpg pgp age enc asc",
    "elf": "so o ko",
    "pe": "exe dll sys scr com cpl ocx",
    "macho": "dylib",
    "script": "sh bash zsh py pyw js mjs vbs vbe ps1 psm1 bat cmd php pl rb lua hta wsf jse r",
    "java": "jar war apk class",
    "wasm": "wasm",
    "dex": "dex",
    "shortcut": "lnk url desktop",
    "package": "deb rpm cab dmg iso",
    "java-object": "ser",
    "r-data": "rds rda rdata",
    "pyc": "pyc",
}
_BY_ENDING: Final = {
    ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()
} | {ending[1:]: kind for kind, endings in COMPRESSED.items() for ending in endings}

_SHORT_TAR: Final = {".tgz", ".tbz2", ".tbz", ".txz", ".tzst"}

_AGREE: Final[Mapping[str, frozenset[str]]] = {
    "arrow": frozenset({"arrow", "feather-v1"}),
    "csv": frozenset({"csv", "text", "tsv"}),
    "tsv": frozenset({"tsv", "text", "csv"}),
    "text": frozenset({"text", "csv", "tsv", "json", "jsonl", "xml"}),
    "jsonl": frozenset({"jsonl", "json"}),
    "json": frozenset({"json"}),
    "xml": frozenset({"xml", "svg"}),
    "html": frozenset({"html", "xml"}),
    "pytorch": frozenset({"pytorch", "pickle", "zip"}),
    "pickle": frozenset({"pickle", "zlib", "gzip", "bzip2", "xz"}),
    "elf": frozenset({"elf", "macho"}),
    "script": frozenset({"script", "text", "html", "json"}),
    "r-data": frozenset({"r-data", "gzip", "bzip2", "xz"}),
    "java": frozenset({"java", "zip"}),
}
"""Types by content that an ending may honestly stand for, where that is not one alone."""


def _ending(name: str) -> str:
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return ending.lower() if dot and stem else ""


def claimed_kind(name: str) -> str:
    """Return the type that a name claims by its last ending; empty if it claims none."""
    return _BY_ENDING.get(_ending(name), "")


def inner_name(name: str) -> str:
    """Return the name that what a compressed stream holds would have: without its ending."""
    base = name.rpartition("/")[2]
    ending = f".{_ending(base)}"
    if ending in _SHORT_TAR:
        return base[: -len(ending)] + ".tar"
    known = {one for endings in COMPRESSED.values() for one in endings}
    return base[: -len(ending)] if ending in known else base


def agrees(claimed: str, real: str) -> bool:
    """Whether a file that claims one type by its name may hold the other."""
    return not claimed or real in _AGREE.get(claimed, {claimed})


def chosen_types(names: Iterable[str]) -> frozenset[str]:
    """Return the types that names of types and groups stand for.

    Raises:
        ConfigurationError: an unknown name, a type that is never allowed, or none at all.
    """
    chosen: set[str] = set()
    for name in names:
        if name not in KINDS and name not in GROUPS:
            raise ConfigurationError(
                f"inspect-files: types: there is no type {name!r}",
                next_step=f"groups: {', '.join(GROUPS)}; types: {', '.join(sorted(KINDS))}",
            )
        chosen |= set(GROUPS.get(name, (name,)))
    if banned := sorted(chosen & NEVER):
        raise ConfigurationError(
            f"inspect-files: types: {', '.join(banned)} run when they are opened and are never "
            "allowed",
            next_step="leave them out; what must be run is no data set",
        )
    if not chosen:
        raise ConfigurationError(
            "inspect-files: types: no type is allowed",
            next_step=f"leave the option out for {', '.join(DEFAULT_TYPES)}",
        )
    return frozenset(chosen)
