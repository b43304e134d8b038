"""Probabilities as integers: sums and bins that no order and no processor changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["BINS", "DOUBT_SCALE", "EPSILON", "SCALE", "TINY", "bins_of", "ratio_of"]

EPSILON: Final = 1e-6
"""A class is confident from its threshold less this on, and a rival must beat the label by
more than this: what cleanlab allows for rounding."""

SCALE: Final = 2**46
"""Fixed-point unit of sums of probabilities: 65,536 of them fit an int64 (2^62), and 2^-46
is finer than a float32 and 100 times coarser than a float64's rounding."""

TINY: Final = 1e-9
"""No probability counts as less: ratios stay finite, and below a billion."""

BINS: Final = 512
"""Ratios of probabilities from 1 to 1e9, 30 powers of two with 16 bins each."""

DOUBT_SCALE: Final = 2**30
"""Fixed-point unit of the probabilities that are summed by bin: 2^33 rows fit an int64."""

_BIN_SHIFT: Final = 48
_FIRST_BIN: Final = 1023 << 4


def bins_of(ratios: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the bin of each ratio: exponent and first four bits of the fraction.

    Args:
        ratios: 1 … 1e9.
    """
    import numpy as np

    bins: npt.NDArray[np.int64] = (ratios.view(np.int64) >> _BIN_SHIFT) - _FIRST_BIN
    return bins


def ratio_of(at: int) -> float:
    """Return the least ratio of a bin."""
    return float(2.0 ** (at // 16) * (1 + at % 16 / 16))
