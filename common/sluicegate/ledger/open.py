"""From a policy's settings to the ledger they mean."""

from __future__ import annotations

from sluicegate.errors import ConfigurationError
from sluicegate.ledger.base import Ledger
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.link_objects import LinkObjects
from sluicegate.ledger.note import NoteSigner
from sluicegate.ledger.objects import ObjectLedger
from sluicegate.ledger.s3_objects import S3Objects
from sluicegate.ledger.settings import LedgerSettings

__all__ = ["open_ledger"]


def open_ledger(settings: LedgerSettings, signer: NoteSigner | None = None) -> Ledger:
    """Return the ledger of a policy; nothing is read or written yet.

    Args:
        settings: where it is and whose it is.
        signer: its signing key, for writers of a signed ledger.

    Raises:
        ConfigurationError: a location that cannot hold a ledger, or a signer that is not the
            ledger's.
    """
    if signer is not None and settings.key is not None and signer.verifier != settings.key:
        raise ConfigurationError(
            f"the signing key is not the ledger's: expected {settings.key}",
            next_step="use the private key of the vkey under `ledger` in the policy",
        )
    location = settings.location
    origin = signer.name if signer is not None else settings.origin
    if location.scheme == "s3":
        objects = S3Objects(
            location, object_lock=settings.object_lock, retain_days=settings.retain_days
        )
        return ObjectLedger(objects, origin=origin, signer=signer)
    if location.scheme != "file":
        raise ConfigurationError(
            f"a ledger cannot lie in {location.scheme}://", next_step="use a folder or s3://"
        )
    foreign = "journal" if settings.links else "batch"
    if (location.local / foreign).exists():
        raise ConfigurationError(
            f"{location.local} holds another kind of ledger",
            next_step="`sharing` under `ledger` in the policy says which: `links` for a folder "
            "without working locks; it cannot be changed later",
        )
    if settings.links:
        return ObjectLedger(LinkObjects(location.local), origin=origin, signer=signer)
    return FolderLedger(location.local, origin=origin, signer=signer)
