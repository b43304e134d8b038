"""Types of columns, in the names of pandas and numpy.

What a name means is asked of numpy and pandas themselves; which type pandas would give the
column follows from the file's type, and from whether a value is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.stages.validation.scan.base import Claim, Column, Kind, Rows, Unclaimed
from sluicegate.stages.validation.scan.claims.ranges import zoned
from sluicegate.stages.validation.scan.claims.rules import Whole, column_of, gaps, has_gaps
from sluicegate.stages.validation.scan.measures import Present, Total
from sluicegate.stages.validation.suites.model import Expectation

__all__ = ["column_type", "in_type_list", "of_type"]

_PYTHON: Final[Mapping[str, type]] = {
    "none": type(None),
    "bool": bool,
    "int": int,
    "long": int,
    "float": float,
    "bytes": bytes,
    "complex": complex,
    "str": str,
    "string_types": str,
    "list": list,
    "dict": dict,
}
"""Names of Python types that GX knows, in any case of letters."""


def of_type(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_of_type``."""
    name = expectation.kwargs.get("type_")
    if not isinstance(name, str):
        raise Unclaimed("type_ is not a name")
    return _whole(expectation, columns, rows, lambda actual: actual.type in _classes(name))


def in_type_list(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_values_to_be_in_type_list``."""
    names = expectation.kwargs.get("type_list")
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise Unclaimed("type_list is not a list of names")

    def judge(actual: Any) -> bool:
        known = [one for name in names for one in (*_classes(name), *_instances(name))]
        return actual in known

    return _whole(expectation, columns, rows, judge)


def column_type(expectation: Expectation, columns: Mapping[str, Column], rows: Rows) -> Claim:
    """Plan ``expect_column_type_to_be``."""
    import numpy as np
    import pandas as pd

    name = expectation.kwargs.get("type_")
    if not isinstance(name, str):
        raise Unclaimed("type_ is not a name")
    try:
        wanted: Any = pd.api.types.pandas_dtype(name)
    except (TypeError, ValueError, ImportError, NotImplementedError):
        raise Unclaimed("pandas does not know the type") from None

    def judge(actual: Any) -> bool:
        if _is_generic(wanted):
            return isinstance(actual, np.dtype) and actual.kind == wanted.kind
        if isinstance(actual, pd.StringDtype) and isinstance(wanted, pd.StringDtype):
            return str(actual) == str(wanted)
        return bool(actual in (wanted, name))

    return _whole(expectation, columns, rows, judge)


def _is_generic(wanted: Any) -> bool:
    """Whether a type of times names no unit, and so stands for all of them."""
    import numpy as np

    times = isinstance(wanted, np.dtype) and wanted.kind in "mM"
    return times and bool(np.datetime_data(wanted)[0] == "generic")


def _whole(
    expectation: Expectation, columns: Mapping[str, Column], rows: Rows, judge: Any
) -> Claim:
    column = column_of(expectation, columns)
    if column.kind == Kind.DATE:
        raise Unclaimed("pandas holds dates as objects: GX looks at each")

    def conclude(found: Mapping[str, Any]) -> tuple[bool, Any]:
        actual = _dtype(column, gapped=has_gaps(column, found))
        return bool(judge(actual)), _observed(expectation, actual)

    return Whole(
        expectation=expectation,
        measures=gaps(column) | {"total": Total(rows), "present": Present(column.name, rows)},
        judge=conclude,
    )


def _observed(expectation: Expectation, actual: Any) -> str:
    about_column = expectation.type == "expect_column_type_to_be"
    return str(actual) if about_column else str(actual.type.__name__)


def _dtype(column: Column, *, gapped: bool) -> Any:
    """Return the type that pandas gives a column when it reads the file."""
    import numpy as np
    import pandas as pd

    if column.kind == Kind.TEXT:
        return pd.StringDtype(na_value=np.nan)
    if column.kind == Kind.DATETIME:
        unit = getattr(column.dtype, "time_unit", "ns")
        if zoned(column):
            zone = getattr(column.dtype, "time_zone", None)
            return pd.DatetimeTZDtype(unit=unit, tz=zone)
        return np.dtype(f"datetime64[{unit}]")
    if column.kind == Kind.BOOLEAN:
        if gapped:
            raise Unclaimed("pandas holds truth values with gaps as objects")
        return np.dtype("bool")
    if column.kind == Kind.INTEGER:
        return np.dtype("float64" if gapped else str(column.dtype).lower())
    return np.dtype("float32" if column.kind == Kind.FLOAT32 else "float64")


def _classes(name: str) -> list[Any]:
    """Return the classes of values that a name stands for, as GX looks it up."""
    import numpy as np
    import pandas as pd

    found: list[Any] = []
    try:
        found.append(np.dtype(name).type)
    except TypeError:
        for place in (pd, pd.core.dtypes.dtypes):
            one = getattr(place, name, None)
            if isinstance(one, type):
                found.append(one)
    native = _PYTHON.get(name.lower())
    return found if native is None else [*found, native]


def _instances(name: str) -> list[Any]:
    """Return the types of columns that a name stands for in a list of types."""
    import numpy as np
    import pandas as pd

    try:
        return [np.dtype(name)]
    except TypeError:
        kind = getattr(pd, name, None)
    if not isinstance(kind, type):
        return []
    try:
        made = kind()
    except TypeError:
        return []
    return [made] if isinstance(made, pd.api.extensions.ExtensionDtype) else []
