"""What is learned about timestamps: a window, and nothing from the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sluicegate.canonical import Json
from sluicegate.model import Severity
from sluicegate.stages.validation.learning.entries import Entry
from sluicegate.stages.validation.learning.numbers import BETWEEN, bounds_of
from sluicegate.stages.validation.learning.options import Wishes
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile
from sluicegate.stages.validation.learning.tails import Bounds

__all__ = ["time_entries"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)


def time_entries(column: ColumnProfile, profile: Profile, wishes: Wishes) -> list[Entry]:
    """Return the window of a column of moments or days.

    Data goes on: whatever ends with the reference's last day would refuse tomorrow's. So the
    window is open to the present, unless the reference itself lies in the future.
    """
    found = bounds_of(column, profile)
    if found is None:
        return []
    first = _moment(found.below).replace(hour=0, minute=0, second=0, microsecond=0)
    last = _moment(found.above) + timedelta(days=1)
    future = _moment(found.high) > wishes.now
    why = _why(found, first, last, future=future)
    if not wishes.plain:
        return [
            Entry(
                type="expect_column_timestamps_to_be_within",
                kwargs={
                    "column": column.name,
                    "not_before": _written(first, zone=True),
                    "not_after": _written(last, zone=True) if future else "now",
                },
                severity=Severity.WARNING,
                why=why,
            )
        ]
    if column.arrow.startswith("date"):
        return []  # Great Expectations does not compare days with text
    kwargs: dict[str, Json] = {
        "column": column.name,
        "min_value": _written(first, zone=column.zone),
    }
    if future:
        kwargs["max_value"] = _written(last, zone=column.zone)
    return [Entry(type=BETWEEN, kwargs=kwargs, severity=Severity.WARNING, why=why)]


def _moment(microseconds: float) -> datetime:
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _LAST if microseconds > 0 else _FIRST
    return min(max(moment, _FIRST), _LAST)


def _written(moment: datetime, *, zone: bool) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if zone else "")


def _why(found: Bounds, first: datetime, last: datetime, *, future: bool) -> str:
    low, high = _moment(found.low), _moment(found.high)
    text = (
        f"99.8 % of the moments lie between {low:%Y-%m-%d} and {high:%Y-%m-%d} (UTC where there "
        f"is no time zone). By the shape of the early side, none is expected before "
        f"{first:%Y-%m-%d}."
    )
    if found.trimmed:
        text += f" {found.trimmed:,} lay apart and were left out: look at them."
    if future:
        return f"{text} The reference itself reaches into the future, up to {last:%Y-%m-%d}."
    return f"{text} None is expected after the moment of the examination."
