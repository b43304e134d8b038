"""Asking AWS about one thing: each call once, all of them within a bounded time.

Several questions are answered by the same call. It is made when the first of them is asked;
its answer, or that there is none, then serves all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from sluicegate.stages.encryption.aws import Aws, Unknown, ask

__all__ = ["SECONDS", "Answered", "Calls", "Reply"]

Reply = Mapping[str, Any]
"""What boto3 returns."""

Answered = Reply | Unknown | None
"""A value, "cannot tell", or "that is not configured"."""

SECONDS: Final = 180.0
"""After this long nothing further is asked. A bucket takes about fifteen calls, which a slow
endpoint answers in a second each; one that does not answer at all is given up after the
first calls instead of after all of them."""


@dataclass(slots=True)
class Calls:
    """Makes calls and remembers what was answered."""

    aws: Aws
    """Where clients come from."""
    seconds: float = SECONDS
    """Time for all calls together; one that has begun is not cut short."""
    doubt: str = ""
    """What a refusal may also mean, added to its reason."""
    _answers: dict[str, Answered] = field(default_factory=dict, repr=False)
    _began: float = field(default_factory=time.monotonic, repr=False)

    def once(
        self, what: str, action: str, call: Callable[[], Reply], *, about: str = ""
    ) -> Answered:
        """Return the answer of a call, made now or before.

        Args:
            what: the call in the words of the API, e.g. ``s3.get_bucket_policy``.
            action: the IAM action that it needs; empty if none.
            call: makes it with boto3.
            about: what it asks about, where the same call is made about several things.
        """
        name = f"{what} {about}"
        if name not in self._answers:
            self._answers[name] = self._make(what, action, call)
        return self._answers[name]

    def _make(self, what: str, action: str, call: Callable[[], Reply]) -> Answered:
        if time.monotonic() - self._began > self.seconds:
            return Unknown(f"{what}: not asked, because the calls before it took too long")
        # `ask` is generic in a value that is never None; Answered says the same.
        answer = cast("Answered", ask(what, call))
        if isinstance(answer, Unknown) and action and "access denied" in answer.reason:
            return Unknown(f"{answer.reason}; it needs {action}{self.doubt}")
        return answer
