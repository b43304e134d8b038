"""Data from outside against what its publisher vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json, parse_json
from sluicegate.errors import ConfigurationError, KeyFileError, ReceiptError
from sluicegate.model import Check, Finding
from sluicegate.receipts.oms import KeyTrust
from sluicegate.receipts.published import (
    Comparison,
    Published,
    compare,
    read_checksums,
    read_croissant,
    read_oms,
    verify_detached,
)
from sluicegate.stages.base import Context
from sluicegate.stages.provenance.settings import Settings
from sluicegate.storage.snapshot import Snapshot

__all__ = ["CHECK", "Vouched", "ask_publisher", "read_published"]

CHECK: Final = "provenance.published"
_SHOWN: Final = 1000
"""Most files that one finding names."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a publisher says of the subject."""

    check: Check
    detail: str
    """A few words for the table of steps."""

    @property
    def for_all(self) -> bool:
        """Whether the publisher vouches for every file."""
        return self.check.outcome.value == "passed"


def ask_publisher(settings: Settings, snapshot: Snapshot, context: Context) -> Vouched | None:
    """Return what the publisher says, or None if nobody asked.

    Raises:
        ConfigurationError: the publisher's key is unusable, or missing where the list is one
            that must be signed.
    """
    if settings.published is None:
        return None
    content = context.file("published")
    try:
        published = read_published(
            content,
            key=context.files.get("published_key"),
            signature=context.files.get("published_signature"),
            name=_name(settings.published),
        )
    except ReceiptError as error:
        finding = Finding(message=f"what the publisher vouches for cannot be used: {error.what}")
        return Vouched(Check.failed(CHECK, [finding]), "unusable")
    found = compare(snapshot, published, lists=_copies(settings, snapshot, context))
    return Vouched(_judge(found), _told(found, published))


def read_published(
    content: bytes, *, key: bytes | None, signature: bytes | None, name: str
) -> Published:
    """Read a publisher's list of any kind, and verify it if there is a key.

    Args:
        content: the list.
        key: public key of the publisher, PEM.
        signature: what lies beside the list, if it is not signed itself.
        name: file name of the list, which some signatures bind.

    Raises:
        ReceiptError: malformed, or not signed by that key.
        ConfigurationError: a bundle without a key, a key without anything that is signed.
    """
    trust = _trust(key) if key is not None else None
    signer = None
    if trust is not None and signature is not None:  # before anything of the list is parsed
        signer = str(verify_detached(content, signature, trust, name=name))
    value = _object(content)
    if value is not None and "dsseEnvelope" in value:
        if trust is None:
            raise ConfigurationError(
                "verify-provenance: a bundle is worth as much as its signer, and no "
                "published_key says who that is",
                next_step="give the publisher's public key as published_key",
            )
        return read_oms(content, trust)
    if trust is not None and signer is None:
        raise ConfigurationError(
            "verify-provenance: published_key is given, and published carries no signature",
            next_step="give the signature that lies beside it as published_signature",
        )
    published = read_croissant(content) if value is not None else read_checksums(content)
    return published.by(signer) if signer else published


def _trust(key: bytes) -> KeyTrust:
    try:
        return KeyTrust((key,))
    except KeyFileError as error:
        raise ConfigurationError(f"verify-provenance: published_key: {error.what}") from error


def _object(content: bytes) -> Mapping[str, Json] | None:
    """Return the JSON object that a list is, or None for a list in plain text."""
    if not content.lstrip().startswith(b"{"):
        return None
    try:
        value = parse_json(content)
    except ValueError as error:
        raise ReceiptError(f"it is {error}") from error
    return value if isinstance(value, Mapping) else None


def _copies(settings: Settings, snapshot: Snapshot, context: Context) -> list[str]:
    """Return the paths at which the list and its signature lie in the subject themselves.

    Each may lie at the top, under its own name: the same bytes under another name could be read
    as something else.
    """
    given = {"published": settings.published, "published_signature": settings.published_signature}
    own = {
        _name(given[field]): Digest.of(context.files[field]).hex
        for field in given
        if field in context.files
    }
    return [path for path, _, digest in snapshot.manifest.files.rows() if own.get(path) == digest]


def _name(place: str | Path | None) -> str:
    return str(place).rpartition("/")[2]


def _judge(found: Comparison) -> Check:
    findings = [
        Finding(
            message=f"{len(paths)} files {what}",
            files=paths[:_SHOWN],
            evidence={"files": len(paths)},
        )
        for paths, what in (
            (found.changed, "are not the bytes that the publisher vouches for"),
            (found.unlisted, "are not in the publisher's list"),
        )
        if paths
    ]
    if found.missing:
        names: list[Json] = list(found.missing[:_SHOWN])
        findings.append(
            Finding(
                message=f"{len(found.missing)} files of the publisher's list are not there",
                evidence={"files": len(found.missing), "missing": names},
            )
        )
    if findings:
        return Check.failed(CHECK, findings)
    if found.vouched:
        return Check.passed(CHECK)
    return Check.unknown(
        CHECK, f"the publisher lists {len(found.weak)} files without a digest that binds"
    )


def _told(found: Comparison, published: Published) -> str:
    by = f"signed by {published.signer}" if published.signer else "not signed"
    total = len(found.matching) + len(found.changed) + len(found.unlisted)
    return f"{len(found.matching)} of {total} files vouched for; the list is {by}"
