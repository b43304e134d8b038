"""Detectors that see data in pieces, and give the same answer however it was cut.

A detector's state is a commutative monoid: ``init`` is its neutral element, ``merge`` is
associative and does not care about order, and ``update`` followed by ``merge`` equals one
``update`` with all batches. So counts are integers, sums are integers in fixed point (sums
of floats depend on their order), and whatever is kept of rows is kept with their ids.

A detector that needs several passes is several detectors: what ``finalize`` of one returns
configures the next.

Shards are read where they are scanned: what travels is a small description of where the
batches are, and a state back. Any :class:`concurrent.futures.Executor` runs them: none for
this process, a process pool, ``distributed.Client.get_executor()``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Protocol, TypeVar

from sluicegate.storage.base import Progress, no_progress

__all__ = ["Detector", "Shard", "examine", "scan"]

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
B_co = TypeVar("B_co", covariant=True)
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

IN_FLIGHT = 16
"""Most shards that are under way at once: bounds what waits to be merged."""


class Detector(Protocol[B_contra, S, R_co]):
    """One pass over all rows. Implementations pickle, and hold no data but their settings."""

    def init(self) -> S:
        """Return the state of no rows."""
        ...

    def update(self, state: S, batch: B_contra, /) -> S:
        """Return the state with the rows of a batch added; may change ``state``."""
        ...

    def merge(self, one: S, other: S, /) -> S:
        """Return the state of the rows of both; may change ``one``."""
        ...

    def finalize(self, state: S, /) -> R_co:
        """Return what the rows of a state say together."""
        ...


class Shard(Protocol[B_co]):
    """Where some of the rows are: pickles, and reads its batches when asked."""

    def batches(self) -> Iterator[B_co]:
        """Yield the shard's rows, in batches of bounded size."""
        ...


def scan(detector: Detector[B, S, R], shard: Shard[B]) -> S:
    """Return a detector's state after one shard: the part that runs anywhere."""
    state = detector.init()
    for batch in shard.batches():
        state = detector.update(state, batch)
    return state


def examine(
    detector: Detector[B, S, R],
    shards: Sequence[Shard[B]],
    *,
    executor: Executor | None = None,
    progress: Progress = no_progress,
    what: str = "scanning",
) -> R:
    """Run one pass over all shards and return its result.

    Args:
        detector: what to look for.
        shards: all rows, each in exactly one shard.
        executor: where to scan; ``None`` for one shard after the other, here. Detector,
            shards and states must pickle for an executor of other processes.
        progress: told about each shard.
        what: what to call the pass when telling.

    Raises:
        Exception: whatever a shard raises; shards not yet begun are cancelled.
    """
    state = detector.init()
    for done, part in enumerate(_parts(detector, shards, executor), start=1):
        state = detector.merge(state, part)
        progress(what, done, len(shards))
    return detector.finalize(state)


def _parts(
    detector: Detector[B, S, R], shards: Iterable[Shard[B]], executor: Executor | None
) -> Iterator[S]:
    """Yield the state of every shard, as they become ready."""
    if executor is None:
        for shard in shards:
            yield scan(detector, shard)
        return
    waiting = iter(shards)
    running: set[Future[S]] = set()
    try:
        while True:
            for shard in waiting:
                running.add(executor.submit(scan, detector, shard))
                if len(running) >= IN_FLIGHT:
                    break
            if not running:
                return
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
    finally:
        for future in running:
            future.cancel()
