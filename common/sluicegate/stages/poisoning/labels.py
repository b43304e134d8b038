"""The label column: class names, codes, and the rows and classes that should not be.

A class that was relabelled completely leaves no trace in any row: only comparison with a
list of expected labels finds it. An empty label is a gap, never a class of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas

__all__ = ["MAX_CLASSES", "LabelProblems", "Labels", "label_problems", "read_labels"]

_NUMERIC: Final = ("integer", "floating", "mixed-integer-float", "decimal")
"""What pandas calls kinds of numbers."""

MAX_CLASSES: Final = 1000
"""Most classes. Every row gets one probability for each class, so memory is rows times
classes; more classes than ImageNet's 1000 mean a continuous column or a key."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The label of every row of a table."""

    codes: npt.NDArray[np.int64]
    """Shape (rows,): index into :attr:`classes`, or -1 where the label is missing."""
    classes: tuple[str, ...]
    """Names of the classes that occur; numbers ascending, text in code point order.
    Whole numbers are named without a decimal point, booleans ``false`` and ``true``."""
    numeric: bool
    """Whether the labels are numbers, which decides how names are ordered."""

    def ordered(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return names in the order of :attr:`classes`: by number if labels are numbers."""
        return tuple(sorted(names, key=lambda name: _rank(name, numeric=self.numeric)))


@dataclass(frozen=True, slots=True, eq=False)
class LabelProblems:
    """What is wrong with the labels before any model looks at them."""

    missing: npt.NDArray[np.int64]
    """Positions of rows without a label, ascending."""
    unexpected: npt.NDArray[np.int64]
    """Positions of rows whose label is not an expected one, ascending."""
    unexpected_names: tuple[str, ...]
    """Labels that occur and are not expected."""
    absent: tuple[str, ...]
    """Expected labels that no row has."""

    def __bool__(self) -> bool:
        """Return whether anything is wrong."""
        return bool(len(self.missing) or len(self.unexpected) or self.absent)


def read_labels(column: pandas.Series[Any], name: str) -> Labels:
    """Read a label column.

    Args:
        column: the label of every row; numbers, booleans or text.
        name: the column's name, for messages.

    Raises:
        ConfigurationError: values that are no labels (lists, dates, mixed types), or more
            than :data:`MAX_CLASSES` different ones.
    """
    import numpy as np
    import pandas as pd

    kind = pd.api.types.infer_dtype(column, skipna=True)
    present = column.notna().to_numpy(dtype=bool)
    if kind in ("string", "categorical"):
        column = column.astype(object).map(str)
        present = present & column.map(lambda text: bool(text.strip())).to_numpy(dtype=bool)
    elif kind not in (*_NUMERIC, "boolean", "empty"):
        raise ConfigurationError(
            f"the label column {name!r} holds values of type {kind}",
            next_step="labels are text, booleans or numbers of one type",
        )
    found, values = pd.factorize(column[present])
    if len(values) > MAX_CLASSES:
        raise ConfigurationError(
            f"the label column {name!r} has {len(values)} different values, "
            f"more than {MAX_CLASSES} classes",
            next_step="name a column of classes; a continuous target is not supported",
        )
    names = [_class_name(value) for value in values]
    order = sorted(range(len(names)), key=lambda at: _rank(names[at], numeric=kind in _NUMERIC))
    codes = np.full(len(column), -1, dtype=np.int64)
    codes[present] = np.argsort(order)[found] if order else found
    return Labels(codes, tuple(names[at] for at in order), kind in _NUMERIC)


def _class_name(value: object) -> str:
    import numpy as np

    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def _rank(name: str, *, numeric: bool) -> tuple[bool, float, str]:
    if not numeric:
        return False, 0.0, name
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def label_problems(labels: Labels, expected: tuple[str, ...]) -> LabelProblems:
    """Find missing labels and, if some are expected, unexpected and absent ones.

    Args:
        labels: the labels of all rows.
        expected: names of the classes there should be; empty if that is not known.
    """
    import numpy as np

    strange = [
        code for code, name in enumerate(labels.classes) if expected and name not in expected
    ]
    return LabelProblems(
        missing=np.flatnonzero(labels.codes < 0),
        unexpected=np.flatnonzero(np.isin(labels.codes, strange)),
        unexpected_names=tuple(labels.classes[code] for code in strange),
        absent=tuple(name for name in labels.ordered(expected) if name not in labels.classes),
    )
