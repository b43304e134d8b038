"""Trusted data, batch by batch, to a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError, MissingExtraError, SubjectError
from sluicegate.stages.validation.learning.options import Wishes
from sluicegate.stages.validation.learning.profile import ColumnProfile, Profile, What
from sluicegate.stages.validation.learning.samples import RowSample
from sluicegate.stages.validation.learning.shapes import SHAPES, matches
from sluicegate.storage.base import Progress, no_progress
from sluicegate.storage.batches import Batch, read_batches
from sluicegate.storage.snapshot import Snapshot
from sluicegate.text.registry import RULES, rule

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from sluicegate.text.base import TextRule

__all__ = ["ASKED_RULES", "read_profile"]

ASKED_RULES: Final = tuple(name for name in RULES if name != "urls")
"""Rules about texts that need no list of the user's own."""

_SEED: Final = 0x51_01CE
"""Of the hashes that draw rows, mixed with the digest of the data: so whoever plants rows
cannot choose them without choosing the bytes around them, too."""


def read_profile(
    snapshots: Sequence[Snapshot], wishes: Wishes, *, progress: Progress = no_progress
) -> Profile:
    """Read trusted data once.

    Args:
        snapshots: one or several references with the same columns.
        wishes: what the user says about them.
        progress: told how many bytes' worth of references are read.

    Raises:
        SubjectError: no table, no rows, or references with different columns.
        ConfigurationError: a label or key column that is not there.
        MissingExtraError: polars or pyarrow is missing.
    """
    try:
        import polars  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "polars", "validation", "learning a suite") from error
    reader = _Reader(_seed(snapshots), wishes)
    for at, snapshot in enumerate(snapshots):
        before = reader.rows
        for batch in read_batches(snapshot):
            reader.add(batch, str(snapshot.uri))
        reader.parts.append(reader.rows - before)
        progress("learning", at + 1, len(snapshots))
    return reader.finish()


def _seed(snapshots: Sequence[Snapshot]) -> int:
    return _SEED ^ int(snapshots[0].digest.hex[:16], 16)


class _Reader:
    def __init__(self, seed: int, wishes: Wishes) -> None:
        self.wishes = wishes
        self.rows = 0
        self.parts: list[int] = []
        self._profile = Profile(columns={}, sample=RowSample(seed))
        self._schema: pa.Schema | None = None
        self._rules: dict[str, TextRule] = {}

    def add(self, batch: Batch, uri: str) -> None:
        """Take in one batch."""
        import polars as pl

        self._agree(batch.data.schema, uri)
        frame = pl.DataFrame(pl.from_arrow(batch.data))
        sampled: dict[str, Any] = {}
        for column in self._profile.columns.values():
            values = frame[column.name]
            numbers = self._column(column, values)
            if numbers is not None:
                sampled[column.name] = numbers
        if sampled or self._profile.columns:
            self._profile.sample.add(self.rows, sampled, frame.height)
        self._profile.whole_rows.add(frame.hash_rows(seed=1).to_numpy())
        if len(self.wishes.keys) > 1:
            key = frame.select(self.wishes.keys)
            self._profile.key.add(key.hash_rows(seed=1).to_numpy())
            self._profile.key_nulls += key.height - key.drop_nulls().height
        self.rows += frame.height

    def _agree(self, schema: pa.Schema, uri: str) -> None:
        """Take the columns of the first batch; hold the others against them."""
        if self._schema is None:
            self._schema = schema
            self._profile.columns = {field.name: _column(field) for field in schema}
            self._check_wishes()
            return
        if schema.names != self._schema.names:
            raise SubjectError(
                f"{uri} has other columns than the first reference",
                next_step="learn one suite for each kind of table",
            )
        for field in schema:
            known = self._profile.columns[field.name]
            other = _column(field)
            if other.arrow == known.arrow or other.arrow == "null":
                known.nullable = known.nullable or other.nullable
            elif known.arrow == "null" or {known.arrow, other.arrow} == {"int64", "double"}:
                wider = other if known.arrow == "null" else known
                known.what, known.arrow, known.integers = wider.what, wider.arrow, False
                known.arrow = "double" if known.what is What.NUMBER else known.arrow
                known.nullable = True
            else:
                raise SubjectError(
                    f"column {field.name!r} of {uri} is {other.arrow}, and was {known.arrow}",
                    next_step="give references with the same types, or convert one of them",
                )

    def _check_wishes(self) -> None:
        known = list(self._profile.columns)
        for wish in (*self.wishes.keys, *([self.wishes.label] if self.wishes.label else ())):
            if wish not in known:
                raise ConfigurationError(
                    f"the reference has no column {wish!r}",
                    next_step=f"its columns are {', '.join(known[:20])}",
                )

    def _column(self, column: ColumnProfile, values: pl.Series) -> Any:
        """Take in the values of one column; return numbers to sample, or None."""
        if values.dtype.is_float():
            values = values.fill_nan(None)
        column.nulls += values.null_count()
        column.stretches.append((len(values), values.null_count()))
        if column.name == self.wishes.label and column.what is not What.OTHER:
            _count(column, values)
        if column.what is What.TEXT:
            return self._text(column, values)
        if column.what is What.NUMBER:
            return _number(column, values)
        if column.what is What.FLAG:
            _count(column, values)
        elif column.what is What.TIME:
            return _microseconds(values).to_numpy()
        return None

    def _text(self, column: ColumnProfile, values: pl.Series) -> Any:
        import polars as pl

        text = values.cast(pl.String).alias("text")
        _count(column, text)
        column.repeats.add(text.drop_nulls().hash(seed=1).to_numpy())
        found = pl.DataFrame([text]).select(matches(pl.col("text"))).row(0)
        counts = column.shapes or [0] * len(SHAPES)
        column.shapes = [a + int(b or 0) for a, b in zip(counts, found, strict=True)]
        for name in ASKED_RULES:
            if name not in self._rules:
                self._rules[name] = rule(name)
            marked = _marked(self._rules[name], text)
            column.marked[name] = column.marked.get(name, 0) + marked
        return text.str.len_chars().cast(pl.Float64).to_numpy()

    def finish(self) -> Profile:
        """Return the profile of all batches."""
        if not self.rows:
            raise SubjectError("the reference has no rows", next_step="give data to learn from")
        self._profile.rows, self._profile.parts = self.rows, self.parts
        return self._profile


def _marked(asked: TextRule, text: pl.Series) -> int:
    """Return how many texts of a batch a rule finds fault with, each different one judged once."""
    import polars as pl

    frame = pl.DataFrame([text])
    suspects = frame.filter(asked.suspects(pl.col("text")).fill_null(value=False))
    counts = suspects["text"].value_counts(name="rows")
    return sum(rows for one, rows in counts.iter_rows() if asked.marks(one))


def _number(column: ColumnProfile, values: pl.Series) -> Any:
    import numpy as np
    import polars as pl

    numbers = values.cast(pl.Float64).to_numpy()
    column.infinite += int(np.isinf(numbers).sum())
    finite = numbers[np.isfinite(numbers)]
    column.whole = column.whole and bool((finite == np.rint(finite)).all())
    if column.integers:
        column.repeats.add(values.drop_nulls().hash(seed=1).to_numpy())
    return numbers


def _count(column: ColumnProfile, values: pl.Series) -> None:
    if not column.domain.closed:
        return
    counts = values.drop_nulls().alias("value").value_counts(name="rows")
    column.domain.add(dict(counts.iter_rows()))


def _microseconds(values: pl.Series) -> pl.Series:
    import polars as pl

    naive = pl.Datetime("us") if values.dtype == pl.Date else values.dtype
    return values.cast(naive).dt.epoch("us").cast(pl.Float64)


def _column(field: pa.Field) -> ColumnProfile:
    what, integers = _what(field.type)
    return ColumnProfile(
        name=field.name,
        what=what,
        arrow=str(field.type),
        nullable=field.nullable,
        integers=integers,
        zone=getattr(field.type, "tz", None) is not None,
    )


def _what(kind: pa.DataType) -> tuple[What, bool]:
    """Return what an Arrow type holds, and whether it is a type of whole numbers."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return What.NUMBER, True
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return What.NUMBER, False
    if pa.types.is_boolean(kind):
        return What.FLAG, False
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return What.TEXT, False
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return What.TIME, False
    return What.OTHER, False
