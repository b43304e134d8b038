"""When two measures are the same one."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Final

from sluicegate.stages.validation.scan.base import Rows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["key_of"]


_ALL: Final = Rows()


def key_of(name: str, *parts: pl.Expr | str | float | None, rows: Rows = _ALL) -> str:
    """Return a key that only the same question about the same rows has.

    The text of an expression shortens long lists, so it is the serialised form that counts.
    An expression that cannot be serialised is its own question.

    Args:
        name: of the measure.
        parts: all that it depends on.
        rows: which rows it is about.
    """
    taken = hashlib.sha256()
    for part in (name, *parts, rows.condition):
        data = _bytes(part)
        taken.update(len(data).to_bytes(8, "big") + data)
    return f"{name}:{taken.hexdigest()}"


def _bytes(part: pl.Expr | str | float | None) -> bytes:
    import polars as pl

    if not isinstance(part, pl.Expr):
        return repr(part).encode()
    try:
        return part.meta.serialize()
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        return uuid.uuid4().bytes
