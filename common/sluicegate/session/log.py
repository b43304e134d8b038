"""Parameters and metrics of a session: bounded, finite where JSON is, and without secrets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any, Final

from sluicegate.canonical import Json, canonical_json
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.storage.redaction import redact

__all__ = ["MetricLog", "describe_parameters", "number"]

_MOST_POINTS: Final = 10_000
"""Values of all metrics that are kept one by one; beyond, only count, last and extremes. A
million of them would make the record larger than many models."""
_MOST_METRICS: Final = 1000
_MOST_NAME: Final = 200
_MOST_BYTES: Final = 256 << 10
"""Of parameters, as JSON."""
_EXACT: Final = 2**53
"""Integers from here on are not the same in every reader of JSON (RFC 8785)."""
_DEEPEST: Final = 12


def number(value: Any) -> int | float | str:
    """Return a number as JSON can hold it: those that it cannot as text.

    Takes what has ``__float__``, such as scalars of numpy and of tensor libraries.

    Raises:
        ConfigurationError: it is no number.
    """
    if isinstance(value, int) and abs(value) < _EXACT:
        return int(value)
    return _as_json(_as_float(value))


def _as_float(value: Any) -> float:
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise ConfigurationError(f"a metric is a number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"a metric is a single number; {type(value).__name__} holds none or many"
        ) from error


def _as_json(value: float) -> float | str:
    """Return a number that reads back as itself in canonical JSON, or its text."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    # Written as integers from there on, which readers may refuse or round.
    return value if abs(value) < _EXACT else repr(value)


class MetricLog:
    """Metrics by name, in the order in which they were logged."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._kept = 0

    def add(self, name: str, value: Any, step: int | None = None) -> None:
        """Log one value.

        Raises:
            ConfigurationError: the name or the step is unusable, the value is no number, or
                there are too many names.
        """
        if not isinstance(name, str) or not 1 <= len(name) <= _MOST_NAME or not name.isprintable():
            raise ConfigurationError(f"the name of a metric has 1 to {_MOST_NAME} characters")
        if step is not None and (type(step) is not int or not 0 <= step < _EXACT):
            raise ConfigurationError("the step of a metric is a whole number from 0")
        if name not in self._series and len(self._series) >= _MOST_METRICS:
            raise ConfigurationError(f"a session has at most {_MOST_METRICS} metrics")
        plain = number(value)
        keep = self._kept < _MOST_POINTS
        self._kept += keep
        series = self._series.setdefault(name, _Series())
        series.add(plain, _as_float(value), step, keep=keep)

    def to_json(self) -> dict[str, Json]:
        """Return all metrics, by name."""
        return {name: series.to_json() for name, series in self._series.items()}


class _Series:
    """The values of one metric."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Json = None
        self._low: float | None = None
        self._high: float | None = None
        self._points: list[Json] = []

    def add(self, value: float | str, exact: float, step: int | None, *, keep: bool) -> None:
        self._count += 1
        self._last = value
        if math.isfinite(exact):
            self._low = exact if self._low is None else min(self._low, exact)
            self._high = exact if self._high is None else max(self._high, exact)
        if keep:
            self._points.append([step, value])

    def to_json(self) -> dict[str, Json]:
        return {
            "count": self._count,
            "last": self._last,
            "min": None if self._low is None else _as_json(self._low),
            "max": None if self._high is None else _as_json(self._high),
            "points": self._points,
        }


def describe_parameters(parameters: Mapping[str, Any]) -> dict[str, Json]:
    """Return parameters as JSON, without what is or may be a secret.

    What JSON does not know is named by its type; paths and dates become text.

    Raises:
        ConfigurationError: they are too many or too large.
    """
    try:
        value = redact(_plain(parameters, 0))
    except SubjectError as error:
        raise ConfigurationError("a session's parameters hold too many values") from error
    if len(canonical_json(value)) > _MOST_BYTES:
        raise ConfigurationError(
            f"a session's parameters are larger than {_MOST_BYTES} bytes",
            next_step="write them to a file and make that one of the inputs",
        )
    return dict(value)


def _plain(value: Any, depth: int) -> Json:
    if depth > _DEEPEST:
        return {"omitted": "nested too deeply"}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(one, depth + 1) for one in items]
    if isinstance(value, int):
        # Seeds have 64 bits, and every one of them counts.
        return value if abs(value) < _EXACT else f"{value:#x}"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Path | PathLike):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0:
        return number(value)
    return {"type": f"{type(value).__module__}.{type(value).__qualname__}"[:_MOST_NAME]}
