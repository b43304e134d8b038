"""Moments in time: bounds as people write them, columns as files hold them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DAY", "NOW", "clock", "is_moment", "moment", "outside", "outside_text"]

NOW: Final = "now"
"""The moment at which a question is asked."""

TOLERANCE: Final = timedelta(minutes=5)
"""How far the clock that wrote the data may be from ours. Source: the tolerance that Kerberos
(RFC 4120, section 5.5.1, "typically five minutes") made usual."""

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second."""

DAY: Final = 86_400 * SECOND
"""Nanoseconds in a day without leap seconds, which no column type knows."""

_TEXT: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9])"
    r"(?::([0-5][0-9])(?:[.,]([0-9]{1,9}))?)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?$"
)
"""A date, or a date and a time of day, in the extended format; neither leap seconds nor 24:00.
Source: ISO 8601-1:2019, sections 5.2.2 and 5.4.2; RFC 3339, section 5.6."""

_PATTERN: Final = re.compile(_TEXT.replace("$", r"\Z"))
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1


def clock() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def is_moment(text: str) -> bool:
    """Whether a text is ``now`` or a moment in ISO 8601."""
    return text == NOW or _parsed(text) is not None


def moment(text: str, *, latest: bool, now: datetime) -> int:
    """Return a bound, in nanoseconds from 1970 in UTC.

    Args:
        text: for which :func:`is_moment` holds. A bound without a time zone is in UTC.
        latest: whether it is the last moment that is within. A date then means its last
            moment, and ``now`` allows for a clock that is ahead; else the first, and behind.
        now: the present moment.
    """
    if text == NOW:
        shifted = now + TOLERANCE if latest else now - TOLERANCE
        return _nanoseconds(shifted)
    found = _parsed(text)
    if found is None:
        raise ValueError("not a moment")
    return found + DAY - 1 if latest and len(text) == len("2024-02-29") else found


def _parsed(text: str) -> int | None:
    match = _PATTERN.match(text)
    if not match:
        return None
    try:
        day = date.fromisoformat(match[1])
    except ValueError:
        return None
    _, hour, minute, second, part, sign, ahead, more = (group or "0" for group in match.groups())
    offset = (int(ahead) * 3600 + int(more) * 60) * (-1 if sign == "-" else 1)
    days = day.toordinal() - date(1970, 1, 1).toordinal()
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second) - offset
    return seconds * SECOND + int(part.ljust(9, "0"))


def _nanoseconds(at: datetime) -> int:
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since // timedelta(microseconds=1)) * 1000


def outside(ticks: pl.Expr, tick: int, low: int | None, high: int | None) -> pl.Expr:
    """Return which ticks from 1970 are before the first or after the last moment.

    Args:
        ticks: integers.
        tick: nanoseconds in one.
        low: the first moment, in nanoseconds.
        high: the last moment, in nanoseconds.
    """
    import polars as pl

    ticks = ticks.cast(pl.Int64)
    found = pl.lit(value=False)
    if low is not None:
        least = max(-(-low // tick), _LEAST)
        found = found | (ticks < least if least <= _MOST else ticks.is_not_null())
    if high is not None:
        most = min(high // tick, _MOST)
        found = found | (ticks > most if most >= _LEAST else ticks.is_not_null())
    return found & ticks.is_not_null()


def outside_text(text: pl.Expr, low: int | None, high: int | None) -> pl.Expr:
    """Return which texts are no moment, or are before the first or after the last.

    Args:
        text: ISO 8601; without a time zone, in UTC.
        low: the first moment, in nanoseconds.
        high: the last moment, in nanoseconds.
    """
    import polars as pl

    at = _nanoseconds_of(text)
    fits = text.str.contains(_TEXT) & at.is_not_null()
    for bound, within in ((low, pl.Expr.__ge__), (high, pl.Expr.__le__)):
        if bound is not None:
            fits = fits & within(at, pl.lit(bound, dtype=pl.Int128))
    return ~fits.fill_null(value=False) & text.is_not_null()


def _nanoseconds_of(text: pl.Expr) -> pl.Expr:
    """Return texts of the right form as nanoseconds from 1970; null for a day that is none.

    Most years have too many of them for 64 bits.
    """
    import polars as pl

    day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    # Without seconds, the zone may stand in their place.
    second = pl.when(text.str.slice(16, 1) == ":").then(_digits(text, 17)).otherwise(0)
    minutes = _digits(text, 11) * 60 + _digits(text, 14) - _offset(text)
    seconds = day.to_physical().cast(pl.Int64) * 86_400 + minutes * 60 + second
    part = text.str.slice(19).str.extract(r"^[.,]([0-9]+)").fill_null("")
    part = part.str.pad_end(9, "0").cast(pl.Int64, strict=False)
    return seconds.cast(pl.Int128) * SECOND + part


def _offset(text: pl.Expr) -> pl.Expr:
    """Return how many minutes the zone of a text is ahead of UTC."""
    import polars as pl

    zone = text.str.slice(16).str.extract(r"([+-][0-9:]{2,5})$").str.replace(":", "", literal=True)
    digits = zone.str.pad_end(5, "0").cast(pl.Int64, strict=False).fill_null(0)
    # +0930 is 930: 9 hours of 100 instead of 60 each.
    return digits - 40 * (digits / 100).cast(pl.Int64)


def _digits(text: pl.Expr, at: int) -> pl.Expr:
    """Return two digits of a text as a number; 0 where there are none."""
    import polars as pl

    return text.str.slice(at, 2).cast(pl.Int64, strict=False).fill_null(0)
