"""Croissant descriptions of datasets: the digests that they state for single files.

A description lists what a dataset is distributed as. A ``FileObject`` with a ``sha256`` says
which bytes are meant; a ``FileSet`` is a pattern, and vouches for nothing. Objects inside
an archive are not files of the subject, so the archive's own digest covers them.

A description names files by address. An address relative to the description is the path in
the subject, character for character, as other readers take it. An absolute one is a path
below ``base_url`` if that is given, and otherwise its last component.

Limits: terms are read by their usual names, and a context that gives one of them another
meaning is refused rather than followed. The format has no signature of its own.

Source: Croissant format specification 1.0 (and 1.1, the same here), MLCommons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.errors import ReceiptError
from sluicegate.receipts.published.model import (
    MAX_LIST_BYTES,
    Collector,
    Published,
    PublishedFile,
    check_listed_name,
)

__all__ = ["read_croissant"]

_PROFILE: Final = re.compile(r"https?://mlcommons\.org/croissant/1\.[0-9]+/?")
_TERMS: Final = (
    "distribution",
    "contentUrl",
    "contentSize",
    "sha256",
    "containedIn",
    "encodingFormat",
    "conformsTo",
)
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_EXACT_SIZE: Final = re.compile(r"([0-9]{1,18})( ?(B|[bB]ytes))?")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_REPOSITORY: Final = "git+"
"""How the encoding format of a repository starts: a container that is no archive."""


def read_croissant(data: bytes, *, base_url: str = "") -> Published:
    """Read a description in JSON-LD.

    Args:
        data: the description.
        base_url: where the files were fetched from; addresses below it become paths.

    Raises:
        ReceiptError: not a Croissant 1.x description, a path that leaves the subject or has
            two digests, or no file with a SHA-256.
    """
    if len(data) > MAX_LIST_BYTES:
        raise ReceiptError(f"the Croissant description is larger than {MAX_LIST_BYTES} bytes")
    try:
        value = parse_json(data)
    except ValueError as error:
        raise ReceiptError(f"the Croissant description is {error}") from error
    if not isinstance(value, Mapping):
        raise ReceiptError("the Croissant description is no JSON object")
    _check_context(value.get("@context"))
    if not any(_PROFILE.fullmatch(profile) for profile in _texts(value.get("conformsTo"))):
        raise ReceiptError(
            "the description does not say that it conforms to Croissant 1.x",
            next_step="expected conformsTo: http://mlcommons.org/croissant/1.0",
        )
    objects = [item for item in _many(value.get("distribution")) if isinstance(item, Mapping)]
    return _collect(objects, base_url)


def _collect(objects: list[Mapping[str, Json]], base_url: str) -> Published:
    found = Collector("the Croissant description")
    repositories = {_text(item.get("@id")) for item in objects if _is_repository(item)} - {""}
    for item in objects:
        if not _is_a(item, "FileObject") or _is_repository(item):
            continue
        inside = set(_texts(item.get("containedIn")))
        if not inside <= repositories:
            continue  # inside an archive: no file of the subject
        label = _text(item.get("@id")) or _text(item.get("name")) or "a file"
        address = _text(item.get("contentUrl"))
        path = _path(address, base_url, label) if address else label
        digest = _text(item.get("sha256"))
        if address and _SHA256.fullmatch(digest):
            found.add(path, PublishedFile(Digest(digest.lower()), _size(item.get("contentSize"))))
        else:
            found.add_weak(path)
    return found.published()


def _path(address: str, base_url: str, label: str) -> str:
    where = f"the Croissant description, {label[:80]!a},"
    base = f"{base_url.rstrip('/')}/"
    if base_url and address.startswith(base):
        path = unquote(re.split("[?#]", address.removeprefix(base))[0])
    elif _ABSOLUTE.match(address):
        path = unquote(re.split("[?#]", address)[0].rpartition("/")[2])
    else:
        path = address
    return check_listed_name(path, where=where)


def _size(value: Json) -> int | None:
    """Return a size that is exact; ``12.5 kB`` is none."""
    if type(value) is int and value >= 0:
        return value
    exact = _EXACT_SIZE.fullmatch(_text(value).strip())
    return int(exact[1]) if exact else None


def _check_context(context: Json) -> None:
    for part in _many(context):
        if not isinstance(part, Mapping):
            continue
        for term in _TERMS:
            meaning = part.get(term)
            identity = meaning.get("@id") if isinstance(meaning, Mapping) else meaning
            if identity is not None and re.split(r"[:/#]", str(identity))[-1] != term:
                raise ReceiptError(
                    f"the Croissant description gives {term!r} another meaning than usual",
                    next_step="use the context that the Croissant specification prints",
                )


def _is_repository(item: Mapping[str, Json]) -> bool:
    formats = _texts(item.get("encodingFormat"))
    return any(kind.startswith(_REPOSITORY) for kind in formats)


def _is_a(item: Mapping[str, Json], kind: str) -> bool:
    return any(re.split(r"[:/#]", name)[-1] == kind for name in _texts(item.get("@type")))


def _many(value: Json) -> list[Json]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _texts(value: Json) -> list[str]:
    """Return texts, whether given as such, as references by ``@id``, or in a list."""
    texts = [item.get("@id") if isinstance(item, Mapping) else item for item in _many(value)]
    return [text for text in texts if isinstance(text, str)]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
