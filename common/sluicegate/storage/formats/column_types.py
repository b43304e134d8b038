"""Which type a column of text files has: what pandas would make of all its values together.

Neither CSV nor JSON says. A reader that guesses from the first rows guesses wrong; so all rows
are read once for their types, a piece at a time, and the pieces' types are joined here. Where
the result depends on more than that (integers beyond 64 bits, values of several types), the
column is called ``mixed`` and given as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.storage.formats.base import CONTENT

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MIXED", "JsonColumn", "join_csv_types", "join_schemas"]

MIXED: Final = "mixed"

_INT64: Final = range(-(1 << 63), 1 << 63)
_UINT64: Final = range(1 << 64)


def join_csv_types(pieces: Iterable[str]) -> str:
    """Return the type of a column of delimited text from those of its pieces.

    Args:
        pieces: ``empty``, ``int64``, ``uint64``, ``float64``, ``bool``, ``bool?`` (some are
            missing), ``str`` or ``mixed``.

    Returns:
        One of these; a column without any value is ``float64``, as pandas reads it.
    """
    kinds = set(pieces)
    if MIXED in kinds:
        return MIXED
    if "str" in kinds:
        return "str"
    gaps = "empty" in kinds
    kinds.discard("empty")
    if not kinds or kinds <= {"int64", "float64"}:
        return "float64" if gaps or kinds != {"int64"} else "int64"
    if kinds <= {"bool", "bool?"}:
        return "bool?" if gaps or "bool?" in kinds else "bool"
    if kinds == {"uint64"} and not gaps:
        return "uint64"
    return "str" if kinds <= {"bool", "bool?", "int64", "float64"} and not gaps else MIXED


@dataclass(slots=True)
class JsonColumn:
    """What is known of one member of JSON objects."""

    seen: set[type] = field(default_factory=set)
    count: int = 0
    """Objects that have it."""
    low: int = 0
    high: int = 0

    def take(self, value: Any) -> None:
        """Take in one value."""
        kind = type(value)
        self.count += 1
        self.seen.add(kind)
        if kind is int:
            self.low, self.high = min(self.low, value), max(self.high, value)

    def type_in(self, rows: int) -> tuple[pa.DataType, dict[bytes, bytes] | None]:
        """Return type and metadata, for that many objects in all."""
        import pyarrow as pa

        kinds = self.seen - {type(None)}
        gaps = self.count < rows or type(None) in self.seen
        if not kinds:
            return (pa.float64() if self.count < rows else pa.null()), None
        if kinds == {str}:
            return pa.string(), None
        if kinds == {bool}:
            return pa.bool_(), None
        if kinds <= {int, float}:
            return self._number(kinds, gaps=gaps)
        return pa.string(), {CONTENT: b"nested" if kinds <= {list, dict} else MIXED.encode()}

    def _number(
        self, kinds: set[type], *, gaps: bool
    ) -> tuple[pa.DataType, dict[bytes, bytes] | None]:
        import pyarrow as pa

        signed = self.low in _INT64 and self.high in _INT64
        if not signed and (self.low < 0 or self.high not in _UINT64):
            return pa.string(), {CONTENT: MIXED.encode()}
        if gaps or float in kinds:
            return pa.float64(), None
        return (pa.int64() if signed else pa.uint64()), None


def join_schemas(schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """Return the schema of several files together, which have the same columns.

    Numbers are widened as pandas widens them when it puts tables together; other columns whose
    types differ are ``mixed``, and given as text.
    """
    import pyarrow as pa

    first, *others = schemas.values()
    fields = list(first)
    for other in others:
        fields = [
            one if one.type == two.type and _content(one) == _content(two) else _joined(one, two)
            for one, two in zip(fields, other, strict=True)
        ]
    return pa.schema(
        [
            one.with_nullable(any(schema.field(at).nullable for schema in schemas.values()))
            for at, one in enumerate(fields)
        ]
    )


def _content(one: pa.Field) -> bytes | None:
    return (one.metadata or {}).get(CONTENT)


def _joined(one: pa.Field, two: pa.Field) -> pa.Field:
    import numpy as np
    import pyarrow as pa

    def numeric(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    if numeric(one.type) and numeric(two.type) and _content(one) is _content(two) is None:
        wide = np.result_type(one.type.to_pandas_dtype(), two.type.to_pandas_dtype())
        return one.with_type(pa.from_numpy_dtype(wide))
    return one.with_type(pa.string()).with_metadata({**(one.metadata or {}), CONTENT: b"mixed"})
