"""Which rows models learn from, and in which order: content decides, not place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.stages.poisoning.crossfit import MAX_TRAINING_ROWS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["canonical_order", "training_rows"]


def canonical_order(content: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    """Return the order of rows by a keyed hash of all that is known of them.

    Args:
        content: shape (rows, columns): rows that are equal in all columns are interchangeable.
        seed: key of the hash.
    """
    import numpy as np

    from sluicegate.stages.poisoning.columns import Features
    from sluicegate.stages.poisoning.data import row_keys

    nothing = np.zeros((len(content), 0), dtype=bool)
    values = np.asarray(content, dtype=np.float64) + 0.0  # -0.0 becomes 0.0
    keys = row_keys(Features(names=(), constant=(), x=values, missing=nothing), seed)
    return np.argsort(keys, kind="stable")


def training_rows(allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the allowed rows, the first 20,000: in canonical order, a random sample."""
    import numpy as np

    return np.flatnonzero(allowed)[:MAX_TRAINING_ROWS]
