"""Sums without rounding: the same whatever the order and the batches.

A float is an integer times a power of two. It is cut into digits of 18 bits on one grid for
all numbers; sums of digits, and of products of two digits, over 65,536 rows stay below 2**53,
where float arithmetic is exact, so they run at the speed of matrix products. Batches are added
as Python integers. Means and standard deviations are rounded once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from sluicegate.stages.validation.scan.base import Rows, State
from sluicegate.stages.validation.scan.measures.keys import key_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ExactSum", "Moments", "MomentsFound", "SumFound"]

_BITS: Final = 18
"""Bits of a digit: 2 * 18 + 16 < 53, so a sum of 2**16 products of two digits is exact."""

_ROWS: Final = 1 << 16
"""Numbers that are cut into digits at once."""

_DIGITS: Final = 5
"""Digits of one round: all 53 bits of every number down to 2**-35 of the largest. Smaller ones
are taken in further rounds."""

_EXACT: Final = 1 << 53
"""Integers up to here are floats without loss (IEEE 754, binary64)."""


_OVERFLOWING: Final = 1 << 1023
"""From here on a sum of squares may be infinite as a float (IEEE 754, binary64)."""

_VANISHING: Final = Fraction(1, 1 << 900)
"""Below it squares lose bits, and below 2**-1074 become 0 (IEEE 754, binary64)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumFound:
    """An exact sum of the present values."""

    count: int
    """Values that were added, infinities among them."""
    finite: Fraction
    """Sum of the finite ones, exact."""
    positive_infinities: int = 0
    negative_infinities: int = 0

    @property
    def value(self) -> float:
        """The sum, rounded once; infinite or NaN as in float arithmetic if infinities occur."""
        return _with_infinities(self, _rounded(self.finite))

    @property
    def integer(self) -> int | None:
        """The exact sum where it is an integer and nothing was infinite."""
        if self.infinities or self.finite.denominator != 1:
            return None
        return self.finite.numerator

    @property
    def infinities(self) -> int:
        """How many values are infinite."""
        return self.positive_infinities + self.negative_infinities

    @property
    def mean(self) -> float | None:
        """The mean, rounded once; None without values."""
        if not self.count:
            return None
        return _with_infinities(self, _rounded(self.finite / self.count))


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentsFound(SumFound):
    """Exact sums of the present values and of their squares."""

    squares: Fraction
    """Sum of the squares of the finite values, exact."""

    def variance(self, ddof: int = 1) -> Fraction | None:
        """Return the exact variance; None with too few values, or with infinities."""
        if self.count <= ddof or self.infinities:
            return None
        return (self.squares - self.finite**2 / self.count) / (self.count - ddof)

    @property
    def beyond_floats(self) -> bool:
        """Whether squares of these values leave the range of floats.

        Arithmetic in floats then comes to an infinite spread, or to none, and not to this one.
        """
        spread = self.squares - self.finite**2 / self.count if self.count else Fraction(0)
        return self.squares >= _OVERFLOWING or 0 < spread < _VANISHING

    def stdev(self, ddof: int = 1) -> float | None:
        """Return the standard deviation, rounded once; None as :meth:`variance`."""
        variance = self.variance(ddof)
        return None if variance is None else _root(variance)


def _with_infinities(found: SumFound, finite: float) -> float:
    if found.positive_infinities and found.negative_infinities:
        return math.nan
    if found.infinities:
        return math.inf if found.positive_infinities else -math.inf
    return finite


def _rounded(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _root(value: Fraction) -> float:
    """Return the square root, rounded once."""
    if not value:
        return 0.0
    shift = 140 - value.numerator.bit_length() + value.denominator.bit_length()
    shift += shift % 2
    top, bottom = value.numerator, value.denominator
    top, bottom = (top << shift, bottom) if shift >= 0 else (top, bottom << -shift)
    whole, left = divmod(top, bottom)
    root = math.isqrt(whole)
    # 70 bits, the last of which also says "and a bit more": enough to round to 53 correctly.
    root = root | 1 if left or root * root != whole else root
    return _rounded(Fraction(root) / Fraction(2) ** (shift // 2))


@dataclass(slots=True)
class _Scaled:
    """A sum of integers times powers of two."""

    parts: dict[int, int] = field(default_factory=dict)

    def add(self, number: int, exponent: int) -> None:
        self.parts[exponent] = self.parts.get(exponent, 0) + number

    def exact(self) -> Fraction:
        if not self.parts:
            return Fraction(0)
        low = min(self.parts)
        total = sum(number << (exponent - low) for exponent, number in self.parts.items())
        return Fraction(total << low) if low >= 0 else Fraction(total, 1 << -low)


@dataclass(slots=True)
class _Summing:
    squared: bool
    count: int = 0
    infinities: list[int] = field(default_factory=lambda: [0, 0])
    sums: _Scaled = field(default_factory=_Scaled)
    squares: _Scaled = field(default_factory=_Scaled)

    def add(self, values: Sequence[Any], _frame: pl.DataFrame) -> None:
        import polars as pl

        series: pl.Series = values[0]
        if series.dtype == pl.Boolean:
            series = series.cast(pl.Int64)
        if not (series.dtype.is_integer() or series.dtype.is_float()):
            raise TypeError("only numbers have a sum")
        numbers = series.to_numpy()
        self.count += len(numbers)
        for at in range(0, len(numbers), _ROWS):
            self._take(numbers[at : at + _ROWS])

    def _take(self, numbers: Any) -> None:
        if numbers.dtype.kind == "f":
            self._floats(numbers)
        elif not self.squared:
            low, high = _halves(numbers)
            self.sums.add(low, 0)
            self.sums.add(high, 32)
        elif max(abs(int(numbers.min())), abs(int(numbers.max()))) < _EXACT:
            self._finite(numbers.astype("float64"))
        else:
            self._products([0, _BITS, 2 * _BITS, 3 * _BITS], _integer_digits(numbers))

    def _floats(self, numbers: Any) -> None:
        import numpy as np

        numbers = numbers.astype("float64", copy=False)
        finite = np.isfinite(numbers)
        if not finite.all():
            if np.isnan(numbers).any():
                raise ArithmeticError("a number is not one (NaN)")
            self.infinities[0] += int((numbers == np.inf).sum())
            self.infinities[1] += int((numbers == -np.inf).sum())
            numbers = numbers[finite]
        self._finite(numbers)

    def _finite(self, numbers: Any) -> None:
        import numpy as np

        while len(numbers):
            largest = max(abs(float(numbers.min())), abs(float(numbers.max())))
            if not largest:
                return
            top = (math.frexp(largest)[1] - 1) // _BITS * _BITS
            shifts = [top - _BITS * at for at in range(_DIGITS)]
            digits, rest = _float_digits(numbers, shifts)
            left = np.flatnonzero(rest)
            if len(left):
                # Too small for this grid: not at all now, and whole in the next round.
                digits[:, left] = 0
            self._products(shifts, digits)
            numbers = numbers[left]

    def _products(self, shifts: list[int], digits: Any) -> None:
        for shift, total in zip(shifts, digits.sum(axis=1), strict=True):
            self.sums.add(int(total), shift)
        if not self.squared:
            return
        products = digits @ digits.T
        for one, row in zip(shifts, products, strict=True):
            for other, total in zip(shifts, row, strict=True):
                self.squares.add(int(total), one + other)

    def finish(self) -> SumFound:
        shared: dict[str, Any] = {
            "count": self.count,
            "finite": self.sums.exact(),
            "positive_infinities": self.infinities[0],
            "negative_infinities": self.infinities[1],
        }
        if self.squared:
            return MomentsFound(squares=self.squares.exact(), **shared)
        return SumFound(**shared)


def _halves(numbers: Any) -> tuple[int, int]:
    """Return the sums of the lower and the upper 32 bits of integers, without overflow."""
    import numpy as np

    wide = numbers.astype("uint64" if numbers.dtype == np.uint64 else "int64", copy=False)
    mask = wide.dtype.type(0xFFFFFFFF)
    return int((wide & mask).sum()), int((wide >> wide.dtype.type(32)).sum())


def _integer_digits(numbers: Any) -> Any:
    """Return four digits of 64-bit integers, the lowest first; the last one has the sign."""
    import numpy as np

    kind = np.uint64 if numbers.dtype == np.uint64 else np.int64
    left = numbers.astype(kind)
    digits = np.empty((4, len(left)))
    for at in range(3):
        digits[at] = left & kind((1 << _BITS) - 1)
        left >>= kind(_BITS)
    digits[3] = left
    return digits


def _float_digits(numbers: Any, shifts: list[int]) -> tuple[Any, Any]:
    """Cut floats into digits at these powers of two; return them, and what is left over."""
    import numpy as np

    digits, rest = np.empty((len(shifts), len(numbers))), numbers.copy()
    plain = shifts[-1] > -900 and shifts[0] < 900  # where 2**shift and 2**-shift are floats
    whole = np.empty(len(numbers))
    for digit, shift in zip(digits, shifts, strict=True):
        if plain:
            np.multiply(rest, 2.0**-shift, out=digit)
            np.trunc(digit, out=digit)
            np.multiply(digit, 2.0**shift, out=whole)
        else:
            np.trunc(np.ldexp(rest, -shift), out=digit)
            np.ldexp(digit, shift, out=whole)
        rest -= whole
    return digits, rest


@dataclass(frozen=True, slots=True, eq=False)
class ExactSum:
    """The sum of the present values of a numeric expression, exactly."""

    expression: pl.Expr
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("sum", self.expression, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Summing(squared=False)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The sum and the sum of squares of the present values of a numeric expression, exactly."""

    expression: pl.Expr
    rows: Rows = field(default_factory=Rows)

    @property
    def key(self) -> str:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return key_of("moments", self.expression, rows=self.rows)

    def expressions(self) -> tuple[pl.Expr, ...]:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return (self.rows.of(self.expression).drop_nulls().implode(),)

    def start(self) -> State:
        """See :class:`~sluicegate.stages.validation.scan.base.Measure`."""
        return _Summing(squared=True)
