"""What parent and child say to each other: one JSON object a line, checked when it is read.

=============  =============================================================================
from child     means
=============  =============================================================================
``ready``      every plug-in was imported, every expectation was resolved
``refused``    the suite cannot be asked: ``what``, ``next_step``; the child ends
``ask``        this expectation is being asked now
``answer``     its answer
``lost``       whoever asked this one (none: who read the data) is gone: ``why``
``done``       nothing is left to do
=============  =============================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import GX, MOST_ROWS, Answer
from sluicegate.stages.validation.gx.questions import Question

__all__ = ["MOST_LINE", "ChildLimits", "Task", "decode_answer", "encode", "encode_answer"]

MOST_LINE: Final = 4 << 20
"""Longest line in bytes. An answer names at most :data:`MOST_ROWS` rows, so 2 MB will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLimits:
    """What the child process may take.

    A pattern with catastrophic backtracking runs for years; anything that ends in minutes is
    left alone by the defaults.
    """

    start_seconds: float = 180.0
    """Wall time to import Great Expectations and the plug-ins, and to resolve the suite."""
    question_cpu_seconds: int = 300
    """CPU time for one expectation."""
    question_seconds: float = 600.0
    """Wall time for one expectation, and for reading the data."""
    total_seconds: float = 3600.0
    """Wall time for everything; what is not answered by then is unknown."""
    memory_bytes: int = 8 << 30
    """Memory beyond what the imports take: for the data, its copies, and Great Expectations'
    own columns (about 40 times the data at worst)."""

    def __post_init__(self) -> None:
        """Refuse limits that do not limit.

        Raises:
            ValueError: one is zero, negative, or no finite number.
        """
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that the child needs to know."""

    questions: tuple[Question, ...]
    plugins: tuple[str, ...]
    limits: ChildLimits
    frame: int | None
    """Descriptor of the rows; None where the suite is to be resolved and nothing else."""

    def to_json(self) -> bytes:
        """Return it as JSON."""
        value = {
            "questions": [_plain(one) for one in self.questions],
            "plugins": list(self.plugins),
            "limits": asdict(self.limits),
            "frame": self.frame,
        }
        return json.dumps(value).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Task:
        """Read what :meth:`to_json` wrote."""
        value = json.loads(data)
        return cls(
            questions=tuple(Question(**one) for one in value["questions"]),
            plugins=tuple(value["plugins"]),
            limits=ChildLimits(**value["limits"]),
            frame=value["frame"],
        )


def _plain(question: Question) -> dict[str, Json]:
    return {
        "index": question.index,
        "type": question.type,
        "kwargs": dict(question.kwargs),
        "own_kwargs": dict(question.own_kwargs),
        "where": question.where,
        "mask": question.mask,
    }


def encode(message: Mapping[str, Json]) -> bytes:
    """Return a message as a line."""
    return json.dumps(message).encode() + b"\n"


def encode_answer(index: int, answer: Answer) -> bytes:
    """Return an answer as a line."""
    return encode(
        {
            "answer": index,
            "success": answer.success,
            "reason": answer.reason,
            "elements": answer.elements,
            "missing": answer.missing,
            "unexpected": answer.unexpected,
            "positions": sorted(answer.positions),
            "capped": answer.capped,
            "observed": answer.observed,
        }
    )


def decode_answer(message: Mapping[str, Any]) -> Answer:
    """Return the answer of a message, which is trusted no further than its types.

    Raises:
        ValueError: it is none.
    """
    positions, observed = message.get("positions"), message.get("observed")
    success, reason, capped = (message.get(key) for key in ("success", "reason", "capped"))
    counts = {key: message.get(key) for key in ("elements", "missing", "unexpected")}
    if not (
        (success is None or isinstance(success, bool))
        and isinstance(reason, str)
        and isinstance(capped, bool)
        and isinstance(positions, list)
        and len(positions) <= MOST_ROWS
        and all(_is_count(one) for one in positions)
        and all(one is None or _is_count(one) for one in counts.values())
        and (observed is None or isinstance(observed, str | int | float))
    ):
        raise ValueError("not an answer")
    if success is None:
        return Answer.unknown(reason or "Great Expectations gave no reason", engine=GX)
    return Answer(
        engine=GX,
        success=success,
        positions=frozenset(positions),
        capped=capped,
        observed=observed,
        elements=counts["elements"],
        missing=counts["missing"],
        unexpected=counts["unexpected"],
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
