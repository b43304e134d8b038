"""The list that is signed: an in-toto statement with every file's name and digest.

The statement's subject digest is the SHA-256 of the raw file digests, joined in the order
of the list. It binds neither names nor sizes: the folders ``{a: X, b: Y}`` and
``{c: X, d: Y}`` share it. So names are compared one by one wherever a list is verified, and
the lists written here carry ``dirHash1`` beside it, which binds names to digests.

Sources: OpenSSF Model Signing v1.0; in-toto Statement v1 and its digest set (``dirHash1``).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.errors import ReceiptError, SubjectError
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.uri import check_member_path

__all__ = ["PREDICATE_TYPE", "WHOLE", "OmsStatement", "check_equivalents", "write_statement"]

PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
WHOLE: Final = "."
"""The name of the only file when the signed thing is a file and not a folder."""

_SHA256: Final = "sha256"
_DIGEST: Final[Mapping[str, re.Pattern[str]]] = {
    _SHA256: re.compile(r"[0-9a-f]{64}"),
    "blake2b": re.compile(r"[0-9a-f]{128}"),
    "blake3": re.compile(r"[0-9a-f]{64}"),
}
"""Algorithms of the format by their names in a list, and how their digests look."""
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode
_PLAIN_NAME: Final = re.compile(r"(?:[\w-][\w. +-]*/)*[\w-][\w. +-]*", re.ASCII)
"""Names that are safe at a glance, as almost all are; the others are looked at closely."""
_SERIALIZATION: Final = {"method", "hash_type", "allow_symlinks", "ignore_paths"}
_RESOURCE: Final = {"name", "algorithm", "digest", "size"}
_MAX_NAME: Final = 4096
"""Longest name of a subject or file, in characters: the longest path that Linux opens."""


def write_statement(manifest: Manifest, name: str, *, whole: bool = False) -> bytes:
    """Return the payload to sign for the files of a manifest.

    Args:
        manifest: the files.
        name: what the model or dataset is called.
        whole: the manifest is about one file, and not about a folder that holds one.

    Raises:
        SubjectError: the name has control characters, or two files' names differ only in
            their Unicode form.
    """
    if not _presentable(name):
        raise SubjectError(
            f"the subject has no printable name: {name[:200]!a}", next_step="rename it"
        )
    rows = list(manifest.files.rows())
    check_equivalents(path for path, _, _ in rows)
    joined = hashlib.sha256(bytes.fromhex("".join(digest for _, _, digest in rows)))
    digests = {_SHA256: joined.hexdigest(), "dirHash1": manifest.dir_hash()}
    serialization: Json = {
        "method": "files",
        "hash_type": _SHA256,
        "allow_symlinks": False,
        "ignore_paths": [],
    }
    # The long list is put together as text, which takes a quarter of the time.
    head = f'{{"algorithm":"{_SHA256}","digest":"'
    listed = ",".join(
        f'{head}{digest}","name":{_quoted(WHOLE if whole else path)}}}' for path, _, digest in rows
    )
    return (
        f'{{"_type":"{STATEMENT_TYPE}",'
        f'"predicate":{{"resources":[{listed}],"serialization":{_compact(serialization)}}},'
        f'"predicateType":"{PREDICATE_TYPE}",'
        f'"subject":{_compact([{"digest": digests, "name": name}])}}}'
    ).encode()


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def check_equivalents(names: Iterable[str]) -> None:
    """Return if no two names are the same text in different Unicode forms.

    A file system that normalises names would merge such files, and people cannot tell them
    apart.

    Raises:
        SubjectError: two are.

    Source: Unicode Standard Annex 15, Normalization Form C.
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.isascii():  # its own normal form, and never that of another text
            continue
        normal = unicodedata.normalize("NFC", name)
        if (other := seen.setdefault(normal, name)) != name:
            raise SubjectError(
                f"two names differ only in their Unicode form: {other!a} and {name!a}",
                next_step="rename one of them",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OmsStatement:
    """A signed list of files; its signature is the caller's to verify first."""

    name: str
    """What the signer called the model or dataset."""
    digest: Digest
    """SHA-256 over the joined file digests: binds no names."""
    dir_hash: str | None
    """``dirHash1`` if the signer stated it."""
    algorithm: str
    """``sha256``, ``blake2b`` or ``blake3``: of every file's digest."""
    files: Mapping[str, str]
    """Digest in hexadecimal by path, in the order of the list."""
    sizes: Mapping[str, int]
    """Size in bytes by path, where the signer stated one."""
    ignored: tuple[str, ...]
    """Paths that the signer left out: nothing may lie there."""

    @classmethod
    def parse(cls, payload: bytes) -> OmsStatement:
        """Read the payload of a bundle **whose signature was verified**.

        Raises:
            ReceiptError: not such a list, of another serialisation, with unsafe, repeated or
                equivalent names, or one that contradicts its own digest.
        """
        try:
            value = parse_json(payload)
            name, digests = _subject(value)
            predicate = value["predicate"]
            algorithm, ignored = _serialization(predicate["serialization"])
            files, sizes = _resources(predicate["resources"], algorithm)
            check_equivalents(files)
        except SubjectError as error:
            raise ReceiptError(f"the signed list is unsafe: {error.what}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiptError(
                f"the signed payload is no list of files of OpenSSF Model Signing v1.0: {error}"
            ) from error
        stated = Digest(digests[_SHA256])
        joined = hashlib.sha256(b"".join(map(bytes.fromhex, files.values()))).hexdigest()
        if joined != stated.hex:
            raise ReceiptError(
                f"the signed list contradicts itself: its digests give {joined[:12]}, "
                f"its subject says {stated.short}"
            )
        return cls(
            name=name,
            digest=stated,
            dir_hash=digests.get("dirHash1"),
            algorithm=algorithm,
            files=files,
            sizes=sizes,
            ignored=ignored,
        )


def _subject(value: Json) -> tuple[str, dict[str, str]]:
    if value["_type"] != STATEMENT_TYPE:
        raise ValueError("it is no in-toto statement v1")
    if value["predicateType"] != PREDICATE_TYPE:
        raise ValueError(f"its predicate is {str(value['predicateType'])[:80]!a}")
    subjects = value["subject"]
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise ValueError("it has not exactly one subject")
    name, digests = subjects[0]["name"], subjects[0]["digest"]
    if not isinstance(name, str) or not _presentable(name):
        raise ValueError("its subject has no printable name")
    for key in (_SHA256, "dirHash1"):
        if key in digests or key == _SHA256:
            Digest(digests[key])
    return name, digests


def _presentable(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME and all(" " <= char != "\x7f" for char in name)


def _serialization(value: Json) -> tuple[str, tuple[str, ...]]:
    if value["method"] != "files":
        raise ReceiptError(
            f"the list is serialised by {str(value['method'])[:40]!a}, expected 'files'",
            next_step="sign again file by file: lists of shards leave out empty files",
        )
    if unknown := set(value) - _SERIALIZATION:
        raise ValueError(f"its serialisation has unknown members {_shown(unknown)}")
    algorithm = value["hash_type"]
    if algorithm not in _DIGEST:
        raise ValueError(f"its hash is {str(algorithm)[:40]!a}, expected {', '.join(_DIGEST)}")
    if not isinstance(value["allow_symlinks"], bool):
        raise TypeError("allow_symlinks is not true or false")
    ignored = value.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
        raise ValueError("ignore_paths is not a list of paths")
    return algorithm, tuple(
        check_member_path(path.removesuffix("/"), where="ignore_paths") for path in ignored
    )


def _resources(value: Json, algorithm: str) -> tuple[dict[str, str], dict[str, int]]:
    if not isinstance(value, list) or not value:
        raise ValueError("it lists no files")
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    looks = _DIGEST[algorithm]
    for resource in value:
        if not _RESOURCE.issuperset(resource):
            raise ValueError(f"a file has unknown members {_shown(set(resource) - _RESOURCE)}")
        name, digest = resource["name"], resource["digest"]
        if not _PLAIN_NAME.fullmatch(name) and (name != WHOLE or len(value) > 1):
            check_member_path(name, where="the list")
        if name in files:
            raise ValueError(f"{name!a} is listed twice")
        if resource["algorithm"] != algorithm:
            raise ValueError(f"{name!a} is hashed by another algorithm than the list says")
        if not looks.fullmatch(digest):
            raise ValueError(f"the digest of {name!a} is no {algorithm} in hexadecimal")
        files[name] = digest
        if "size" in resource:
            sizes[name] = _size(resource["size"], name)
    return files, sizes


def _size(value: Json, name: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"the size of {name!a} is no number of bytes")
    return value


def _shown(names: set[str]) -> str:
    return ", ".join(f"{str(name)[:40]!a}" for name in sorted(names, key=str)[:3])
