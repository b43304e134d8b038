"""Where private keys live: one kind of place a module, found by the scheme of its URI.

A location without a scheme is the path of a private key file. Everything else has one::

    awskms:///alias/gates                                        AWS KMS
    pkcs11:token=gates;object=receipts?module-path=/usr/lib/…    a hardware token, an HSM

A distribution adds further places through the entry-point group ``sluicegate.signers``
(``my-vault = "package.module:load"``): a function that takes the location and the key
password and returns a :class:`~sluicegate.receipts.keys.Signer`. The scheme of a built-in
place cannot be taken over.

What a place returns as a signature is not believed: every signer that keeps its key
elsewhere verifies the signature with the public key before it hands it out.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from sluicegate.errors import ConfigurationError, SluicegateError
from sluicegate.receipts.keys import FileSigner, PublicKey, Signer

__all__ = ["BUILT_IN", "GROUP", "Loader", "load", "schemes"]

Loader = Callable[[str, bytes | None], Signer]
"""Takes the whole location and the key password, if there is one."""

BUILT_IN: Final[Mapping[str, str]] = {
    "awskms": "sluicegate.receipts.signers.kms:load",
    "pkcs11": "sluicegate.receipts.signers.pkcs11:load",
}
"""Loader of each scheme; imported only when a key of that kind is used."""
GROUP: Final = "sluicegate.signers"
"""Entry-point group of further loaders."""
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
"""RFC 3986, section 3.1."""


@cache
def _added() -> Mapping[str, str]:
    """Read the entry points once: that looks into every installed distribution."""
    return {point.name.lower(): point.value for point in entry_points(group=GROUP)}


def schemes() -> tuple[str, ...]:
    """Return the schemes that :func:`load` knows, sorted."""
    return tuple(sorted({*BUILT_IN, *_added()}))


def load(location: str, password: bytes | None = None) -> Signer:
    """Return the signer at a location: the path of a private key file, or a URI.

    Args:
        location: see the module's text.
        password: opens a key file; for a token it is the PIN, unless the URI names a source.

    Raises:
        KeyFileError: missing, readable by others, of another kind, or under another password.
        ConfigurationError: an unknown scheme, or the loader cannot be imported.
        MissingExtraError: the library for this kind of place is not installed.
        SluicegateError: the place did not answer; a retry may help.
    """
    match = _SCHEME.match(location)
    scheme = match.group(1).lower() if match else ""
    target = BUILT_IN.get(scheme) or _added().get(scheme)
    if target is not None:
        return _call(scheme, target, location, password)
    if "://" in location or scheme == "file":
        # The location is not repeated: of an unknown kind, it may hold a secret.
        raise ConfigurationError(
            f"there is no kind of signing key {scheme!r}",
            next_step=f"use the path of a key file, or one of: {', '.join(schemes())}",
        )
    return FileSigner.load(Path(location), password)


def _call(scheme: str, target: str, location: str, password: bytes | None) -> Signer:
    signer = _loader(scheme, target)(location, password)
    if not isinstance(getattr(signer, "public_key", None), PublicKey):
        raise ConfigurationError(
            f"{target}, which loads {scheme!r} keys, returned something that is not a signer"
        )
    return signer


def _loader(scheme: str, target: str) -> Loader:
    module, _, attribute = target.partition(":")
    try:
        loader = getattr(importlib.import_module(module), attribute)
    except SluicegateError:
        raise
    except Exception as error:  # whatever a foreign module does when it is imported
        raise ConfigurationError(
            f"the loader of {scheme!r} keys cannot be imported from {target}"
        ) from error
    if not callable(loader):
        raise ConfigurationError(f"{target} is not a function that loads {scheme!r} keys")
    return loader  # type: ignore[no-any-return]
