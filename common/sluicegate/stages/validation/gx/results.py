"""Results of GX as answers: counts and rows, no data value, no text of an exception."""

from __future__ import annotations

import builtins
import math
import re
import sys
from typing import Any, Final

from sluicegate.stages.validation.answers import GX, Answer

__all__ = ["RESULT_FORMAT", "answer_of"]

RESULT_FORMAT: Final = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}
"""All row positions, no values. GX ignores an option that it does not know: do not rename."""

_EXCEPTION_LINE: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_.]*)(?::|$)", re.MULTILINE)


def answer_of(result: Any, rows: int, *, most_rows: int | None = None) -> Answer:
    """Return what GX said about one expectation.

    Args:
        result: GX's own result object, asked for with :data:`RESULT_FORMAT`.
        rows: how many rows it was asked about.
        most_rows: most rows to name; all when None.
    """
    raised = _exception_name(result.exception_info)
    if raised:
        return Answer.unknown(f"Great Expectations could not tell: {raised}", engine=GX)
    details = dict(result.result or {})
    unexpected, labels = details.get("unexpected_count"), details.get("unexpected_index_list")
    positions = sorted({int(row) for row in labels or ()})
    # Expectations about sets of values count different values, not rows: they name no rows, and
    # what they call missing are members of the set that no row has.
    named = labels is not None and len(positions) == unexpected
    counted = "element_count" in details
    return Answer(
        engine=GX,
        success=bool(result.success),  # it may be a numpy.bool_
        elements=int(details.get("element_count", rows)),
        missing=_count(details.get("missing_count")) if counted else None,
        unexpected=_count(unexpected) if counted or "partial_unexpected_list" in details else None,
        positions=frozenset(positions[:most_rows]) if named else frozenset(),
        capped=named and most_rows is not None and len(positions) > most_rows,
        observed=_plain(details.get("observed_value")),
    )


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _plain(value: Any) -> str | int | float | None:
    """Return an aggregate as a JSON scalar; collections of values are left out."""
    if value is None or isinstance(value, list | tuple | dict | set):
        return None
    scalar = value.item() if callable(getattr(value, "item", None)) else value
    if isinstance(scalar, float) and math.isfinite(scalar):
        return scalar
    if isinstance(scalar, int) and abs(scalar) < 1 << 53:
        return scalar
    return str(scalar)[:100]


def _exception_name(info: Any) -> str:
    """Return the class of an exception that GX caught, or nothing when there was none.

    Nothing else of it may get out: messages quote cells, tracebacks show paths.
    """
    if not isinstance(info, dict) or not info:
        return ""
    entries = [info] if "raised_exception" in info else list(info.values())
    caught = [entry for entry in entries if entry["raised_exception"]]
    if not caught:
        return ""
    # GX wraps what happened in a class of its own: the first class that is not GX's is why.
    for entry in caught:
        for name in _EXCEPTION_LINE.findall(entry["exception_traceback"] or ""):
            if _is_exception(name) and not name.startswith("great_expectations."):
                return str(name.rpartition(".")[2])
    return "MetricResolutionError"


def _is_exception(name: str) -> bool:
    """Whether a name is a loaded exception class: a line of a message could look like one."""
    module, _, kind = name.rpartition(".")
    found = getattr(sys.modules.get(module) if module else builtins, kind, None)
    return isinstance(found, type) and issubclass(found, BaseException)
