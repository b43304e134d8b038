"""Where a subject comes from: a walk along signed statements, back to the sources.

The law of the walk: whatever went into a link must be, by every digest that both statements
give, the subject of exactly one earlier statement that is trusted: a production, a
derivation or, for data from outside, an admission. What breaks the law is a
:class:`Problem`, which names the link, its ledger entry and both digests.

Nothing here reads a file, a key or a clock. That a statement is signed by a key which may
say so is the business of whoever made the :class:`~sluicegate.receipts.records.Records`.

Limits: a walk sees what was logged. An input that a producer did not record is not there to
be missed, and nobody can tell from statements alone whether a training run really read the
bytes that it names.

Source: SLSA provenance v1 (``resolvedDependencies``); in-toto specification, artifact rules.
"""

from sluicegate.receipts.lineage.checks import CLOCK_SKEW
from sluicegate.receipts.lineage.graph import graph_of
from sluicegate.receipts.lineage.history import HELD, RELEASED, SEEN, History
from sluicegate.receipts.lineage.model import Chain, Edge, Fault, Link, Origin, Problem
from sluicegate.receipts.lineage.walk import trace

__all__ = [
    "CLOCK_SKEW",
    "HELD",
    "RELEASED",
    "SEEN",
    "Chain",
    "Edge",
    "Fault",
    "History",
    "Link",
    "Origin",
    "Problem",
    "graph_of",
    "trace",
]
