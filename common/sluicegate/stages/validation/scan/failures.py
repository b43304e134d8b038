"""What goes wrong when a question does not fit the data, rather than because of a bug."""

from __future__ import annotations

__all__ = ["failures"]


def failures() -> tuple[type[BaseException], ...]:
    """Return the exceptions of computations on data: overflow, unfit types, odd values.

    What polars calls a panic is among them: it is one expression that it cannot evaluate.
    """
    import re

    import polars as pl
    import pyarrow as pa

    return (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        pa.ArrowException,
        ArithmeticError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        re.error,
    )
