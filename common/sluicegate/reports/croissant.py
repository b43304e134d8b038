"""A dataset as a Croissant 1.0 description: each file with its size and SHA-256.

An export, and never evidence: it is not signed. Whoever fetches the files can check them by
it, and :mod:`sluicegate.receipts.published` reads it back.

Source: Croissant format specification 1.0, MLCommons.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final
from urllib.parse import quote

from sluicegate.canonical import Json
from sluicegate.storage.manifest import FileRecord

__all__ = ["croissant_dataset"]

_PROFILE: Final = "http://mlcommons.org/croissant/1.0"
_PREFIXES: Final = {
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
}
_TERMS: Final = (
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
"""Terms of the vocabulary that the context maps to themselves."""
_FORMATS: Final = {
    "arrow": "application/vnd.apache.arrow.file",
    "csv": "text/csv",
    "gz": "application/gzip",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/jsonlines",
    "ndjson": "application/jsonlines",
    "parquet": "application/vnd.apache.parquet",
    "png": "image/png",
    "tar": "application/x-tar",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "wav": "audio/wav",
    "zip": "application/zip",
}
"""Media types by extension; a fixed list, so that the same files give the same description
on every machine."""
_UNKNOWN_FORMAT: Final = "application/octet-stream"


def croissant_dataset(
    files: Iterable[FileRecord],
    *,
    name: str,
    published: date,
    description: str = "",
    version: str = "",
    url: str = "",
    license: str = "",
    base_url: str = "",
) -> dict[str, Json]:
    """Return the description of a dataset.

    Args:
        files: its files, for example those of a manifest.
        name: what the dataset is called.
        published: the day it was published.
        description: a sentence about it.
        version: its version, MAJOR.MINOR.PATCH.
        url: the page that presents it.
        license: the licence, as a URL or an SPDX identifier.
        base_url: where the files can be fetched; without it their addresses are their paths,
            relative to the description.
    """
    optional = {"version": version, "url": url, "license": license}
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": _PROFILE,
        "name": name,
        "description": description or name,
        "datePublished": published.isoformat(),
        **{key: text for key, text in optional.items() if text},
        "distribution": [_file(file, base_url) for file in files],
    }


def _context() -> dict[str, Json]:
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        **_PREFIXES,
        **{term: f"cr:{term}" for term in _TERMS},
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
    }


def _file(file: FileRecord, base_url: str) -> dict[str, Json]:
    quoted = quote(file.path)
    return {
        "@type": "cr:FileObject",
        "@id": quoted,
        "name": file.path,
        "contentUrl": f"{base_url.rstrip('/')}/{quoted}" if base_url else file.path,
        "contentSize": f"{file.size} B",
        "encodingFormat": _format(file.path),
        "sha256": file.sha256.hex,
    }


def _format(path: str) -> str:
    extension = path.rpartition("/")[2].rpartition(".")[2].lower()
    return _FORMATS.get(extension, _UNKNOWN_FORMAT)
