"""A publisher's list of whichever kind, with whichever signature."""

from __future__ import annotations

from typing import Final

from sluicegate.errors import ReceiptError
from sluicegate.receipts.oms import Trust
from sluicegate.receipts.published.bundles import read_oms
from sluicegate.receipts.published.checksums import read_checksums
from sluicegate.receipts.published.croissant import read_croissant
from sluicegate.receipts.published.model import Published
from sluicegate.receipts.published.signature import verify_detached

__all__ = ["read_published"]

_BUNDLE: Final = b'"application/vnd.dev.sigstore.bundle'
"""What only the media type of a bundle holds, among the kinds that are read."""


def read_published(
    data: bytes,
    *,
    name: str = "",
    signature: bytes | None = None,
    trust: Trust | None = None,
    base_url: str = "",
) -> Published:
    """Read a list, telling by its content which kind it is.

    Args:
        data: the checksum file, bundle or Croissant description.
        name: what the file is called, for signatures that bind a name.
        signature: the content of a signature file beside it; it must verify.
        trust: whose signatures count; needed for a bundle and for a signature.
        base_url: where the files were fetched from, for Croissant.

    Raises:
        ReceiptError: not a list of a known kind, or signed by nobody that is trusted.
    """
    is_json = data.lstrip()[:1] == b"{"
    is_bundle = is_json and _BUNDLE in data
    if (is_bundle or signature is not None) and trust is None:
        raise ReceiptError(
            "the publisher's list is signed, and no key of the publisher is trusted",
            next_step="name the publisher's public key or the authority of its certificates",
        )
    if is_bundle and trust is not None:
        if signature is not None:
            raise ReceiptError("a bundle carries its own signature; give none beside it")
        return read_oms(data, trust)
    signatory = None
    if signature is not None and trust is not None:
        signatory = verify_detached(data, signature, trust, name=name)
    published = read_croissant(data, base_url=base_url) if is_json else read_checksums(data)
    return published if signatory is None else published.by(str(signatory))
