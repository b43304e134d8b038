"""Feature columns as numbers: one wild value must not blind the models to a column.

An attacker writes the cells. A single 1e30 would stretch a column's standard deviation
until all other values look alike; an infinity or a NaN would stop the models altogether.
So gaps and infinities are filled with the column's median (and remembered: a gap can be a
trigger), and values far outside of the column's usual spread are moved to its border.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError, SubjectError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas

__all__ = [
    "MAX_CATEGORIES",
    "Features",
    "read_features",
    "require_columns",
    "texts_of",
    "times_of",
]

MAX_CATEGORIES: Final = 64
"""Most different values of a text column. Their order carries no meaning, so a linear
model gets little from them; a column with more is rather free text or a key."""

SPREAD_LIMIT: Final = 20.0
"""How many usual deviations from its median a value may lie before it is moved to that
border. The usual deviation is the median distance of all values that differ from the
median: to widen it, an attacker has to own half of them. One row in a thousand at the
border adds less than half to a column's variance. Values beyond it count as equal."""

LARGEST: Final = 1e30
"""No value is beyond this: its square fits a float64, and trees compare in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features of every row, ready for a model."""

    names: tuple[str, ...]
    """Column names, in file order; only columns that vary."""
    constant: tuple[str, ...]
    """Columns left out because all rows agree in them."""
    x: npt.NDArray[np.float64]
    """Shape (rows, features): finite values; text as rank of its value in code point order."""
    missing: npt.NDArray[np.bool_]
    """Shape (rows, features): where a value was missing or infinite, and was filled."""


def require_columns(frame: pandas.DataFrame, wanted: Iterable[str], option: str) -> None:
    """Refuse columns that a table does not have, and suggest what may have been meant.

    Args:
        frame: the table.
        wanted: column names.
        option: the stage's field that names them, for the message.

    Raises:
        ConfigurationError: a column is not there.
        SubjectError: the table has two columns of the same name.
    """
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        raise SubjectError(
            "two columns have the same name: readers would disagree on which one is meant",
            next_step="give every column its own name",
        )
    for name in wanted:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "name a column of the data set"
            raise ConfigurationError(f"{option}: there is no column {name!r}", next_step=hint)


def read_features(frame: pandas.DataFrame, names: Sequence[str]) -> Features:
    """Encode columns as numbers.

    Args:
        frame: the rows.
        names: columns of ``frame`` to encode, each holding numbers, booleans or text.

    Raises:
        ConfigurationError: columns that are neither, or text with more than
            :data:`MAX_CATEGORIES` different values. All of them are named at once.
    """
    import numpy as np

    x = np.empty((len(frame), len(names)))
    refused = []
    for at, name in enumerate(names):
        values = _numbers(frame[name])
        if values is None:
            refused.append(name)
        else:
            x[:, at] = values
    if refused:
        raise ConfigurationError(
            f"columns {', '.join(map(repr, refused))} are neither numbers, booleans nor text "
            f"with at most {MAX_CATEGORIES} different values",
            next_step="list the columns to examine in `features`, or these in `exclude`",
        )
    return _varying(tuple(names), x)


def texts_of(cells: pandas.Series[Any]) -> list[str]:
    """Return cells of text columns as text; what is missing is empty."""
    pairs = zip(cells.tolist(), cells.isna().tolist(), strict=True)
    return ["" if missing else str(cell) for cell, missing in pairs]


def times_of(column: pandas.Series[Any], name: str) -> npt.NDArray[np.float64]:
    """Return a column of times as numbers: seconds since 1970, or what it holds if numbers.

    Text is read as numbers or as dates, whichever more of its cells are. Where a date in
    text can be read with the day or the month first, it is read with the month first.

    Args:
        column: times, numbers, or text that holds one of these.
        name: the column's name, for the message.

    Returns:
        Shape (rows,): NaN where there is no time.

    Raises:
        ConfigurationError: most cells hold neither.
    """
    import numpy as np
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    values = _numbers(column) if kind != "string" else _plain(column)
    if values is None or (kind == "string" and np.isfinite(values).mean() <= 0.5):
        read = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
        moments = read.dt.tz_localize(None).to_numpy()  # in units that reach its furthest date
        values = (moments - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    if len(values) and np.isnan(values).mean() > 0.5:
        raise ConfigurationError(
            f"column {name!r} holds no times", next_step="name a column of times or numbers"
        )
    return np.where(np.isfinite(values), values, np.nan)


def _varying(names: tuple[str, ...], x: npt.NDArray[np.float64]) -> Features:
    import numpy as np

    missing = ~np.isfinite(x)
    for at in range(x.shape[1]):
        x[:, at] = _tame(x[:, at], missing[:, at])
    kept = (np.ptp(x, axis=0) > 0) | (missing.any(axis=0) & ~missing.all(axis=0))
    return Features(
        names=tuple(name for name, keep in zip(names, kept, strict=True) if keep),
        constant=tuple(name for name, keep in zip(names, kept, strict=True) if not keep),
        x=x[:, kept],
        missing=missing[:, kept],
    )


def _numbers(column: pandas.Series[Any]) -> npt.NDArray[np.float64] | None:
    """Return a column as float64 with NaN for gaps, or None if it cannot be."""
    import numpy as np
    import pandas as pd

    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"):
        return _floats(column)
    if kind not in ("string", "categorical"):
        return None
    found, categories = pd.factorize(column.astype(object))  # -1 where missing
    if len(categories) > MAX_CATEGORIES:
        return None
    ranks = np.argsort(np.argsort([str(category) for category in categories]))
    values = np.append(ranks, np.nan)[found]  # the last element stands for -1
    return np.asarray(values, dtype=np.float64)


def _floats(column: pandas.Series[Any]) -> npt.NDArray[np.float64]:
    """Return numbers as float64; whole numbers beyond its range are gaps."""
    import numpy as np

    try:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    except OverflowError:
        return np.array([_float(value) for value in column.tolist()], dtype=np.float64)


def _float(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.nan


def _plain(column: pandas.Series[Any]) -> npt.NDArray[np.float64]:
    """Return the numbers that text holds, NaN where it holds none."""
    import numpy as np
    import pandas as pd

    return np.asarray(
        pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    )


def _tame(
    values: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Fill gaps with the median and move far outliers to the border."""
    import numpy as np

    known = np.clip(values[~missing], -LARGEST, LARGEST)
    if not len(known):
        return np.zeros(len(values))
    middle = float(np.median(known))
    distances = np.abs(known - middle)
    if distances.any():
        border = SPREAD_LIMIT * float(np.median(distances[distances > 0]))
        known = np.clip(known, max(middle - border, -LARGEST), min(middle + border, LARGEST))
    filled = np.full(len(values), middle)
    filled[~missing] = known
    return filled + 0.0  # -0.0 becomes 0.0: equal values have equal bytes
