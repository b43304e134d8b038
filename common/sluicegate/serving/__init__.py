"""Which version of a model serves: signed heads, going back to an earlier one, restoring.

::

    promote("churn", "v7", reason="release 7", policy="policy.yaml")
    roll_back("churn", reason="v7 drifts", policy="policy.yaml")
    served = current("churn", policy="policy.yaml")       # what a server asks
    restore("churn", "/srv/model", policy="policy.yaml")  # verified bytes, or nothing
"""

from __future__ import annotations

from sluicegate.serving.current import current
from sluicegate.serving.heads import list_heads, mend_head, promote, roll_back
from sluicegate.serving.restore import restore
from sluicegate.serving.served import Served

__all__ = [
    "Served",
    "current",
    "list_heads",
    "mend_head",
    "promote",
    "restore",
    "roll_back",
]
