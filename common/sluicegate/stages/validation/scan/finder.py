"""The second pass: which rows are not as expected, over the columns that it takes to tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.stages.validation.answers import MOST_ROWS, Answer
from sluicegate.stages.validation.scan.base import Claim, RowFinder, Unclaimed
from sluicegate.stages.validation.scan.columns import as_frame
from sluicegate.stages.validation.scan.failures import failures
from sluicegate.storage.batches import BatchReader

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Found", "Wanted", "find_rows", "names_of"]

_SAMPLES: Final = 5
"""Values of one expectation that a report may show, if the policy allows any."""

_SAMPLE_CHARS: Final = 200
"""Most characters of a value that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wanted:
    """A claim that failed, and what marks its rows."""

    claim: Claim
    marks: pl.Expr | RowFinder


@dataclass(slots=True)
class Found:
    """Rows of one claim."""

    positions: list[int] = field(default_factory=list)
    count: int = 0
    """All of them, also those beyond the positions."""
    samples: tuple[Json, ...] = ()
    broken: str = ""
    """Why the rows could not be told."""

    def named(self, answer: Answer) -> Answer:
        """Return an answer with these rows.

        Raises:
            Unclaimed: they are not those that were counted.
        """
        if self.broken:
            raise Unclaimed(f"its rows cannot be told: {self.broken}")
        counted = answer.unexpected
        if counted is not None and self.count > counted:
            raise Unclaimed("more rows were found than were counted")
        capped = self.count > len(self.positions) or (counted is not None and self.count < counted)
        return replace(answer, positions=frozenset(self.positions), capped=capped)


def names_of(claim: Claim) -> set[str]:
    """Return the columns that an expectation and its condition name."""
    condition = claim.expectation.condition
    return {*claim.expectation.columns, *(condition.columns if condition else ())}


def find_rows(
    reader: BatchReader,
    wanted: Iterable[Wanted],
    *,
    samples: bool,
    batch_rows: int,
) -> dict[int, Found]:
    """Look for the rows of failed claims; read nothing if there are none.

    Args:
        reader: the data.
        wanted: what to look for.
        samples: also keep some of the values.
        batch_rows: most rows that are examined at one time.

    Returns:
        What was found, by the expectation's index; at most
        :data:`~sluicegate.stages.validation.answers.MOST_ROWS` positions of each, all counted.
    """
    search = {one.claim.expectation.index: _Search(one, samples=samples) for one in wanted}
    names = {name for one in search.values() for name in one.names}
    known = names & set(reader.schema.names)
    if search:
        for batch in reader.frames(columns=known, rows=batch_rows):
            frame = as_frame(batch.data)
            for index, marked in _marks(frame, search).items():
                search[index].take(frame, marked, batch.start)
    return {index: one.found for index, one in search.items()}


class _Search:
    """One claim's rows, as far as they were found."""

    def __init__(self, wanted: Wanted, *, samples: bool) -> None:
        self.marks, self._samples = wanted.marks, samples
        self._columns = wanted.claim.expectation.columns
        self.names = names_of(wanted.claim)
        if not callable(self.marks):
            self.names |= set(self.marks.meta.root_names())
        self.found = Found()

    def take(self, frame: pl.DataFrame, marked: pl.Series, start: int) -> None:
        rows = marked.fill_null(value=False).arg_true()
        self.found.count += len(rows)
        left = MOST_ROWS - len(self.found.positions)
        if left > 0 and len(rows):
            self.found.positions.extend(start + at for at in rows.head(left).to_list())
        missing = _SAMPLES - len(self.found.samples)
        if self._samples and missing > 0 and len(rows):
            shown = frame[rows.head(missing)].select(self._columns).rows()
            self.found.samples += tuple(_shown(row) for row in shown)


def _marks(frame: pl.DataFrame, search: Mapping[int, _Search]) -> dict[int, pl.Series]:
    """Return the marks of each claim on a batch; those of expressions in one go."""
    problems = failures()
    expressions = {
        str(index): one.marks
        for index, one in search.items()
        if not callable(one.marks) and not one.found.broken
    }
    marked: dict[int, pl.Series] = {}
    try:
        selected = (
            frame.lazy().select(**expressions).collect(engine="in-memory") if expressions else None
        )
        if selected is not None and selected.height == frame.height:
            marked = {int(column.name): column for column in selected}
    except problems:
        marked = {}  # they are computed one by one, to see which it is
    for index, one in search.items():
        if index in marked or one.found.broken:
            continue
        try:
            marked[index] = _mark(frame, one.marks)
        except problems as error:
            one.found.broken = type(error).__name__
    return marked


def _mark(frame: pl.DataFrame, marks: pl.Expr | RowFinder) -> pl.Series:
    found = (
        marks(frame)
        if callable(marks)
        else frame.lazy().select(marks).collect(engine="in-memory").to_series()
    )
    if len(found) != frame.height:
        raise ValueError("not one mark for each row")
    return found


def _shown(row: tuple[Any, ...]) -> Json:
    values: list[Json] = [_plain(value) for value in row]
    return values[0] if len(values) == 1 else values


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)[:_SAMPLE_CHARS]
