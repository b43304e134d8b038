"""The ledger: an append-only log of receipts. ``base`` says what it does, ``file`` does it."""
