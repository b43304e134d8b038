"""The names of things in a vault. Every one is a plain path below the vault's own place."""

from __future__ import annotations

import re
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.errors import ConfigurationError

__all__ = [
    "blob_name",
    "check_name",
    "head_name",
    "manifest_name",
    "receipt_name",
    "version_name",
]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_RESERVED: Final = frozenset({"HEAD", "incoming"})


def check_name(what: str, name: str) -> str:
    """Return the name of a model or version, if it can be part of a path and of a key.

    Raises:
        ConfigurationError: it cannot.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigurationError(
            f"{name!a} cannot be the name of a {what}",
            next_step="use up to 100 letters, digits, '.', '_', '+' and '-', beginning with a "
            f"letter or digit; not {' or '.join(sorted(_RESERVED))}",
        )
    return name


def version_name(digest: Digest) -> str:
    """Return the name of a version that nobody named: from its own digest."""
    return f"sha256-{digest.hex[:16]}"


def blob_name(digest: Digest) -> str:
    """Return the name of a file's bytes."""
    return f"blobs/sha256/{digest.hex[:2]}/{digest.hex}"


def manifest_name(model: str, version: str) -> str:
    """Return the name of the manifest of a version."""
    return f"{_version(model, version)}/manifest.ndjson"


def receipt_name(model: str, version: str, digest: Digest) -> str:
    """Return the name of a receipt that speaks for a version."""
    return f"{_version(model, version)}/receipts/{digest.hex}.sigstore.json"


def _version(model: str, version: str) -> str:
    return f"models/{check_name('model', model)}/{check_name('version', version)}"


def head_name(model: str) -> str:
    """Return the name of the pointer of a model."""
    return f"models/{check_name('model', model)}/HEAD"
