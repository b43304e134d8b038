"""``VerifyProvenance``: is everything that went into a subject accounted for?

The stage walks from the subject back to its sources along the signed statements of the
ledger (:mod:`sluicegate.receipts.lineage` says by which law), and compares data from outside
with what its publisher vouches for.
"""

from sluicegate.stages.provenance.stage import VerifyProvenance

__all__ = ["VerifyProvenance"]
