"""Waiting for other writers: randomly, ever longer, and not for ever."""

from __future__ import annotations

import random
import time
from typing import Final

from sluicegate.errors import LedgerError

__all__ = ["Patience"]

_FIRST_SECONDS: Final = 0.01
"""About what a conditional write takes on a fast store."""
_LONGEST_SECONDS: Final = 1.0
"""Beyond it, waiting longer does not spread writers any better."""
_RANDOM: Final = random.SystemRandom()


class Patience:
    """Pauses with full jitter, until a deadline."""

    def __init__(self, seconds: float, *, waiting_for: str) -> None:
        """Wait at most ``seconds`` in all; ``waiting_for`` goes into the message."""
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._pause = _FIRST_SECONDS
        self._waiting_for = waiting_for

    def wait(self) -> None:
        """Pause once.

        Raises:
            LedgerError: the time is over.
        """
        if time.monotonic() >= self._deadline:
            raise LedgerError(
                f"gave up after {self._seconds:g} s: {self._waiting_for}",
                next_step="retry; if it stays like this, fewer writers should append more "
                "entries at a time",
            )
        time.sleep(_RANDOM.uniform(self._pause / 4, self._pause))
        self._pause = min(self._pause * 2, _LONGEST_SECONDS)
