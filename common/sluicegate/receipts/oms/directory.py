"""Sign a folder, and compare a folder with what was signed.

Every file counts: hidden ones, empty ones, what version control keeps. Symbolic links are
refused. The one exception is the bundle itself if it lies inside the folder, and it is the
file whose path the caller gives, not one that a list names.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from sluicegate.canonical import Digest, sha256_hex
from sluicegate.errors import (
    ClearanceRefused,
    KeyFileError,
    MissingExtraError,
    SubjectError,
)
from sluicegate.receipts.keys import PublicKey, Signer
from sluicegate.receipts.oms.certificates import MAX_CHAIN, load_certificates, to_der
from sluicegate.receipts.oms.envelope import Envelope, seal
from sluicegate.receipts.oms.statement import WHOLE, OmsStatement, write_statement
from sluicegate.receipts.oms.trust import Signatory, Trust
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.manifest import Manifest
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri

__all__ = ["Verified", "sign", "verify"]

_NAMED: Final = 5
"""How many files of a kind a refusal names."""
_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a bundle vouches for, once signature and every file were checked."""

    name: str
    """What the signer called the model or dataset: a claim, not a path."""
    digest: Digest
    """The subject digest of the list. It binds no names; see the snapshot's for that."""
    algorithm: str
    """How the signer hashed the files."""
    signatory: Signatory
    """Who signed."""
    bundle: Digest
    """SHA-256 of the bundle's bytes."""
    snapshot: Snapshot
    """The files as they were verified; read them through it."""


def sign(
    subject: str | os.PathLike[str] | Snapshot,
    signer: Signer,
    *,
    certificates: bytes = b"",
    bundle_path: Path | None = None,
    progress: Progress = no_progress,
) -> bytes:
    """Sign all files of a subject and return the bundle's bytes.

    Args:
        subject: a path, a URI, or a snapshot that was taken.
        signer: who signs, by an ECDSA P-256 key.
        certificates: the signer's certificate and those of its issuers, in PEM, leaf first.
        bundle_path: where the bundle will be stored; left out of the list if that is inside
            the subject.
        progress: told how many bytes are hashed.

    Raises:
        SubjectError: the subject cannot be read, is empty, or holds links or unsafe names.
        KeyFileError: the first certificate is not about the signer's key.
        ReceiptError: there are too many files for a flat list.
    """
    chain = _chain(certificates, signer.public_key) if certificates else ()
    snapshot = _without(_snapshot(subject, progress), bundle_path)
    name = snapshot.uri.name or str(snapshot.uri)
    payload = write_statement(snapshot.manifest, name, whole=_is_file(snapshot))
    return seal(payload, signer, chain=chain)


def verify(
    subject: str | os.PathLike[str] | Snapshot,
    bundle: bytes,
    trust: Trust,
    *,
    bundle_path: Path | None = None,
    progress: Progress = no_progress,
) -> Verified:
    """Return what a bundle vouches for, or raise: there is no other answer.

    Args:
        subject: a path, a URI, or a snapshot that was taken.
        bundle: the bundle's bytes.
        trust: whose signatures count.
        bundle_path: where the bundle lies; that file alone may be in the subject unsigned.
        progress: told how many bytes are hashed.

    Raises:
        ReceiptError: the bundle is malformed, unsafe, or signed by nobody that is trusted.
        ClearanceRefused: the files are not exactly those that were signed.
        SubjectError: the subject cannot be read.
    """
    envelope = Envelope.parse(bundle)
    payload, signatory = envelope.verify(trust)
    statement = OmsStatement.parse(payload)
    try:
        snapshot = _snapshot(subject, progress)
    except SubjectError as error:
        if isinstance(subject, Snapshot) or not (foreign := _foreign(subject)):
            raise
        raise ClearanceRefused(
            f"{subject} holds what no signature covers: {foreign!a} is no plain file",
            next_step="a link can lead elsewhere after the check; put files in place of links",
        ) from error
    snapshot = _without(snapshot, bundle_path, holding=envelope.digest)
    _compare(statement, snapshot)
    return Verified(
        name=statement.name,
        digest=statement.digest,
        algorithm=statement.algorithm,
        signatory=signatory,
        bundle=envelope.digest,
        snapshot=snapshot,
    )


def _chain(pem: bytes, key: PublicKey) -> tuple[bytes, ...]:
    certificates = load_certificates(pem)
    if len(certificates) > MAX_CHAIN:
        raise KeyFileError(f"a signature carries at most {MAX_CHAIN} certificates")
    certified = (
        certificates[0]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    if sha256_hex(certified) != key.id:
        raise KeyFileError(
            "the first certificate is not about the signing key",
            next_step="put the signer's own certificate first, then those of its issuers",
        )
    return tuple(to_der(certificate) for certificate in certificates)


def _snapshot(subject: str | os.PathLike[str] | Snapshot, progress: Progress) -> Snapshot:
    if isinstance(subject, Snapshot):
        return subject
    return take_snapshot(SubjectUri.parse(subject), progress=progress)


def _without(snapshot: Snapshot, path: Path | None, *, holding: Digest | None = None) -> Snapshot:
    """Return the snapshot without the file at a path, if that lies inside and is what it holds.

    Only the bytes that were verified are left out: others at that path are as foreign as any.
    """
    inside = _member(snapshot.uri, path)
    found = [digest for name, _, digest in snapshot.manifest.files.rows() if name == inside]
    if not found or (holding is not None and found != [holding.hex]):
        return snapshot
    others = Manifest.of(file for file in snapshot.manifest.files if file.path != inside)
    return replace(snapshot, manifest=others)


def _member(uri: SubjectUri, path: Path | None) -> str | None:
    """Return a path as the name of a file inside a local folder, if it lies there."""
    if path is None or uri.scheme != "file":
        return None
    root = Path(os.path.realpath(uri.path))
    file = Path(os.path.realpath(path.parent)) / path.name
    return file.relative_to(root).as_posix() if root in file.parents else None


def _is_file(snapshot: Snapshot) -> bool:
    if snapshot.uri.scheme == "file":
        return snapshot.uri.local.is_file()
    return snapshot.is_single_file


def _foreign(subject: str | os.PathLike[str]) -> str | None:
    """Return the first name below a local folder that is no plain file or folder."""
    uri = SubjectUri.parse(subject)
    if uri.scheme != "file":
        return None
    for folder, folders, files in os.walk(uri.path):
        for path in (Path(folder, name) for name in sorted(folders + files)):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return path.relative_to(uri.local).as_posix()
    return None


def _compare(statement: OmsStatement, snapshot: Snapshot) -> None:
    """Raise unless the files are those of the list, name by name."""
    listed, sizes = statement.files, statement.sizes
    if WHOLE in listed:
        listed, sizes = _whole(statement, snapshot)
    found = {path: (size, digest) for path, size, digest in snapshot.manifest.files.rows()}
    _refuse_ignored(statement, [*listed, *found])
    digest_of = _digester(statement.algorithm, snapshot)
    changed = [
        path
        for path, (size, digest) in found.items()
        if path in listed
        and (
            sizes.get(path, size) != size
            or (digest if digest_of is None else digest_of(path)) != listed[path]
        )
    ]
    missing = [path for path in listed if path not in found]
    extra = [path for path in found if path not in listed]
    groups = {"changed": changed, "missing": missing, "not signed": extra}
    if wrong := [f"{what}: {_shown(paths)}" for what, paths in groups.items() if paths]:
        raise ClearanceRefused(
            f"{snapshot.uri} is not what was signed as {statement.name!a}; {'; '.join(wrong)}",
            next_step="fetch the signed version again, or ask its publisher for a new signature",
        )
    if statement.dir_hash is not None and statement.algorithm == "sha256":
        actual = snapshot.manifest.dir_hash()
        if actual != statement.dir_hash:
            raise ClearanceRefused(
                f"{snapshot.uri} has dirHash1 {actual[:12]}, signed was {statement.dir_hash[:12]}"
            )


def _whole(
    statement: OmsStatement, snapshot: Snapshot
) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """Return digest and size of a bundle about one file, under the name that was signed."""
    if not _is_file(snapshot):
        raise ClearanceRefused(f"the bundle signs one file, and {snapshot.uri} is a folder")
    sizes = {statement.name: statement.sizes[WHOLE]} if statement.sizes else {}
    return {statement.name: statement.files[WHOLE]}, sizes


def _refuse_ignored(statement: OmsStatement, paths: Iterable[str]) -> None:
    ignored = frozenset(statement.ignored)
    if not ignored:
        return
    if under := {path for path in paths if not ignored.isdisjoint(_and_parents(path))}:
        raise ClearanceRefused(
            f"the signer left out {_shown(statement.ignored)}, so nobody signed what lies there: "
            f"{_shown(under)}",
            next_step="remove these files from this copy, or ask the publisher to sign them, too",
        )


def _and_parents(path: str) -> Iterator[str]:
    yield path
    while path := path.rpartition("/")[0]:
        yield path


def _digester(algorithm: str, snapshot: Snapshot) -> Callable[[str], str] | None:
    """Return what hashes a file of the snapshot, or nothing if its manifest has the digests."""
    if algorithm == "sha256":
        return None
    new: Callable[[], Any] = hashlib.blake2b if algorithm == "blake2b" else _blake3()

    def digest(path: str) -> str:
        hasher = new()
        with snapshot.open(path) as source:
            while chunk := source.read(_CHUNK):
                hasher.update(chunk)
        return str(hasher.hexdigest())

    return digest


def _blake3() -> Callable[[], Any]:
    try:
        module = importlib.import_module("blake3")
    except ModuleNotFoundError as error:
        raise MissingExtraError("blake3", "oms", "a signature over BLAKE3 digests") from error
    return module.blake3  # type: ignore[no-any-return]


def _shown(paths: Iterable[str]) -> str:
    names = sorted(paths)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"{name!a}" for name in names[:_NAMED]) + more
