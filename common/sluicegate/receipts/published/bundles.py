"""Bundles of OpenSSF Model Signing as a publisher's list: signed, and complete."""

from __future__ import annotations

from sluicegate.canonical import Digest
from sluicegate.errors import ReceiptError
from sluicegate.receipts.oms import Envelope, OmsStatement, Trust
from sluicegate.receipts.oms.statement import WHOLE
from sluicegate.receipts.published.model import Published, PublishedFile, check_listed_name

__all__ = ["read_oms"]


def read_oms(bundle: bytes, trust: Trust) -> Published:
    """Verify a bundle and return what it lists.

    The list is complete unless the signer left paths out: what lies there nobody signed.

    Raises:
        ReceiptError: malformed, signed by nobody that is trusted, or not over SHA-256.
    """
    payload, signatory = Envelope.parse(bundle).verify(trust)
    statement = OmsStatement.parse(payload)
    if statement.algorithm != "sha256":
        raise ReceiptError(
            f"the bundle lists {statement.algorithm} digests; manifests hold SHA-256",
            next_step="verify it with `sluicegate oms verify`, or ask for SHA-256",
        )
    files = {
        _path(name, statement): PublishedFile(Digest(digest), statement.sizes.get(name))
        for name, digest in statement.files.items()
    }
    return Published(files=files, signer=str(signatory), complete=not statement.ignored)


def _path(name: str, statement: OmsStatement) -> str:
    if name != WHOLE:
        return name
    return check_listed_name(statement.name, where="the bundle")
