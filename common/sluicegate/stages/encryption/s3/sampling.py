"""How many objects must be asked, and which.

If ``bad`` of ``population`` objects are bad, a sample of n drawn without repeats holds none
of them with the hypergeometric probability ``C(population - bad, n) / C(population, n)``.
The sample is large enough when that is at most one in a hundred: then either fewer are bad,
or the draw was a one-in-a-hundred accident. Which objects are drawn is decided by a hash of
their names under the digest of the whole subject: the same subject gives the same sample,
and nobody can tell which objects will be asked before all bytes are written. Who can choose
bytes and try many times can, and that is a limit of a draw without a secret.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import ceil
from typing import Final

from sluicegate.errors import ConfigurationError
from sluicegate.storage.manifest import FileRecord, Manifest

__all__ = ["ACCIDENT", "draw", "sample_size"]

ACCIDENT: Final = 0.01
"""Chance of drawing no bad object although there are so many; the setting promises 99 %."""


def sample_size(population: int, share: float) -> int:
    """Return the smallest sample that rules out this share of bad objects at 99 %.

    Args:
        population: number of objects, at least 1.
        share: the share to rule out, above 0 and at most 1.

    Returns:
        A number of objects, at most ``population``.

    Raises:
        ConfigurationError: the share is not a share.
    """
    if not 0 < share <= 1:
        raise ConfigurationError(
            f"sample is the share of bad objects to rule out, not {share}",
            next_step="give a number above 0 and at most 1, such as 0.001",
        )
    # By its decimal digits: 0.07 * 100 as floats is a little more than 7.
    bad = ceil(Fraction(str(share)) * population)
    missed, drawn = 1.0, 0
    while missed > ACCIDENT and drawn < population:
        missed *= max(population - bad - drawn, 0) / (population - drawn)
        drawn += 1
    return drawn


def draw(manifest: Manifest, count: int) -> tuple[FileRecord, ...]:
    """Return ``count`` files of a manifest, in its order; the same for the same manifest."""
    if count >= len(manifest.files):
        return tuple(manifest.files)
    key = manifest.digest.hex.encode()[:64]
    ranked = sorted(
        range(len(manifest.files)),
        key=lambda at: hashlib.blake2b(
            manifest.files[at].path.encode(), key=key, digest_size=16
        ).digest(),
    )
    return tuple(manifest.files[at] for at in sorted(ranked[:count]))
