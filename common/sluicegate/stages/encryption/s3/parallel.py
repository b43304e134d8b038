"""Ask many things at once and come back in bounded time, whatever the server does.

The threads are daemons on purpose: a server that sends one byte every few seconds holds a
thread for longer than any socket timeout, and must hold neither the caller nor the end of
the process. What was not answered in time stays ``None``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from sluicegate.storage.base import Progress, no_progress

__all__ = ["Limits", "bounded", "gather"]

T = TypeVar("T")

_TICK: Final = 0.2
"""Seconds between two looks at the clock; also how often progress is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to stop asking."""

    threads: int = 64
    """Questions under way at the same time."""
    floor_seconds: float = 180.0
    """Time for any number of questions: several tries of one answer with their waits."""
    least_rate: float = 50.0
    """Answers a second below which it is not worth to go on; S3 gives hundreds. So 10**5
    objects end after about 36 minutes at the latest."""
    dead_in_a_row: int = 64
    """So many questions in a row without any answer of the server: it is down."""

    def seconds(self, count: int) -> float:
        """Return how long so many questions may take in all."""
        return self.floor_seconds + count / self.least_rate


@dataclass(slots=True)
class _Work(Generic[T]):
    """What the threads share; every access holds the lock."""

    answers: list[T | None]
    limits: Limits
    lock: threading.Lock = field(default_factory=threading.Lock)
    idle: threading.Event = field(default_factory=threading.Event)
    following: int = 0
    done: int = 0
    running: int = 0
    dead: int = 0
    stopped: str = ""
    error: BaseException | None = None

    def take(self) -> int | None:
        """Return the next question, None if there is none to be asked any more."""
        with self.lock:
            if self.stopped or self.error or self.following >= len(self.answers):
                return None
            self.following += 1
            return self.following - 1

    def put(self, at: int, answer: T, *, dead: bool) -> None:
        """Keep an answer, unless the caller has gone already."""
        with self.lock:
            if self.stopped == _LATE:
                return
            self.answers[at] = answer
            self.done += 1
            self.dead = self.dead + 1 if dead else 0
            if self.dead >= self.limits.dead_in_a_row and not self.stopped:
                self.stopped = _DEAD

    def leave(self, error: BaseException | None) -> None:
        """Note that a thread has ended."""
        with self.lock:
            self.error = self.error or error
            self.running -= 1
            if not self.running:
                self.idle.set()

    def close(self) -> tuple[list[T | None], str]:
        """Take no answers any more; return those that came and why others did not."""
        with self.lock:
            why = self.stopped or _LATE
            self.stopped = _LATE
            return list(self.answers), why


_LATE: Final = "not asked or not answered in the time that so many objects may take"
_DEAD: Final = "not asked, because the service stopped answering"


def gather(
    ask: Callable[[int], T],
    count: int,
    *,
    dead: Callable[[T], bool],
    limits: Limits,
    progress: Progress = no_progress,
) -> tuple[list[T | None], str]:
    """Ask ``count`` questions in threads.

    Args:
        ask: answers question number 0, 1 …; called from many threads.
        count: how many there are.
        dead: whether an answer says that the server gave none.
        limits: when to stop.
        progress: told how many are answered.

    Returns:
        The answers in the order of the questions, None where there is none, and the reason
        for those.

    Raises:
        Exception: what ``ask`` raised, the first of them.
    """
    work: _Work[T] = _Work(answers=[None] * count, limits=limits)

    def loop() -> None:
        try:
            while (at := work.take()) is not None:
                answer = ask(at)
                work.put(at, answer, dead=dead(answer))
        except BaseException as error:  # noqa: BLE001  raised again in the calling thread
            work.leave(error)
        else:
            work.leave(None)

    work.running = min(limits.threads, count)
    for _ in range(work.running):
        threading.Thread(target=loop, daemon=True, name="sluicegate-s3").start()
    end = time.monotonic() + limits.seconds(count)
    try:
        while count and not work.idle.wait(_TICK) and time.monotonic() < end:
            progress("asking objects", work.done, count)
    finally:  # also when the caller is interrupted: nothing is asked any more
        answers, why = work.close()
    if work.error is not None:
        raise work.error
    return answers, why


def bounded(call: Callable[[], T], seconds: float) -> T | None:
    """Make one call that may hang, and wait so long for it at most.

    Returns:
        What it returned; None if it took longer. Its thread is left behind then.

    Raises:
        Exception: what it raised.
    """
    limits = Limits(threads=1, floor_seconds=seconds, least_rate=float("inf"))
    answers, _ = gather(lambda _: call(), 1, dead=lambda _: False, limits=limits)
    return answers[0]
