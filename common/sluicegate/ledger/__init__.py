"""The ledger: an append-only log of receipts, as an RFC 6962 tree in C2SP tlog-tiles.

``base`` says what a ledger does; ``folder`` does it with locks, ``objects`` without (S3, shared
folders). ``tiles`` are its files, ``note`` its checkpoints, ``proofs`` checks what others show,
``trust`` is what a consumer believes, ``witness`` and ``watch`` see to it that it only grows.
"""

from sluicegate.ledger.proofs import verify_consistency, verify_inclusion

__all__ = ["verify_consistency", "verify_inclusion"]
