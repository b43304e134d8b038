"""The scan: all measures of all claims in one pass, the rows that failed in a second one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import Json
from sluicegate.errors import StageError
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.scan.base import Claim, Measure, Unclaimed
from sluicegate.stages.validation.scan.columns import as_frame, opened, repeated_names
from sluicegate.stages.validation.scan.failures import failures
from sluicegate.stages.validation.scan.finder import Found, Wanted, find_rows, names_of
from sluicegate.stages.validation.scan.measures.counting import Total
from sluicegate.stages.validation.scan.plan import Plan
from sluicegate.stages.validation.scan.remembered import Remembered
from sluicegate.storage.batches import BatchReader
from sluicegate.storage.snapshot import Snapshot

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BATCH_ROWS", "Outcome", "run"]

BATCH_ROWS: Final = 1 << 19
"""Most rows of a batch: then what a batch costs, however few rows it has, hardly counts.
Batches of wide rows have fewer."""

_NO_ROW: Final = "the row condition selects no row: nothing was examined"
_UNCLEAR: Final = "two columns have the same name: it is not clear which one is meant"

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much."""


def _silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a scan came to."""

    answers: Mapping[int, Answer]
    """By the expectation's index, with the positions of failing rows."""
    left: Mapping[int, str]
    """What Great Expectations has to answer: the reason, by the expectation's index."""
    parts: tuple[tuple[str, int], ...]
    """Each file's path and row count, in order; empty if no row had to be read."""
    samples: Mapping[int, tuple[Json, ...]] = field(default_factory=dict)
    """Up to five values that are not as expected, of failed expectations; only on request."""


def run(
    source: Snapshot | BatchReader,
    planned: Plan,
    *,
    progress: Progress = _silent,
    samples: bool = False,
    batch_rows: int = BATCH_ROWS,
) -> Outcome:
    """Answer what was planned.

    Args:
        source: the data.
        planned: made for the columns of this data.
        progress: told how many files are done.
        samples: also give values that are not as expected.
        batch_rows: most rows that are examined at one time; changes no outcome.

    Raises:
        SubjectError: a file is not what its name says, or there are no rows.
        SubjectChangedError: the bytes are not those of the snapshot.
        StageError: there is no room for temporary files.
    """
    with opened(source) as reader:
        if repeated_names(reader):
            unclear = {one.index: Answer.unknown(_UNCLEAR) for one in planned.suite.expectations}
            return Outcome(answers=unclear, left={}, parts=())
        if not planned.claims:
            return Outcome(answers=planned.answers, left=planned.left, parts=())
        scan = _Scan(planned)
        try:
            parts = scan.read(reader, progress, batch_rows)
            answers, left, wanted = scan.conclude()
            found = {} if samples else scan.remembered(wanted)
            unseen = [one for one in wanted if one.claim.expectation.index not in found]
            found |= find_rows(reader, unseen, samples=samples, batch_rows=batch_rows)
        except OSError as error:
            raise StageError(
                f"the scan cannot use its temporary files: {type(error).__name__}",
                next_step="make room in the folder for temporary files (TMPDIR)",
            ) from error
    given: dict[int, tuple[Json, ...]] = {}
    for index, rows in found.items():
        try:
            answers[index] = rows.named(answers[index])
            given[index] = rows.samples
        except Unclaimed as reason:
            del answers[index]
            left[index] = str(reason)
    return Outcome(answers=answers, left=left, parts=parts, samples=given if samples else {})


class _Active:
    """One measure, and what it has seen so far."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.expressions = measure.expressions()
        self.state = measure.start()


class _Scan:
    """All measures, each once."""

    def __init__(self, planned: Plan) -> None:
        self._planned = planned
        self._totals = {
            claim.expectation.index: Total(planned.rows[claim.expectation.index])
            for claim in planned.claims
            if claim.expectation.condition is not None
        }
        needed: list[Measure] = [*self._totals.values()]
        needed += [one for claim in planned.claims for one in claim.measures.values()]
        self._failures = failures()
        self._broken: dict[str, str] = {}
        self._active: dict[str, _Active] = {}
        for measure in needed:
            if measure.key not in self._active:
                self._active[measure.key] = _Active(measure)
        self._remembered = Remembered({key: one.measure for key, one in self._active.items()})

    def read(
        self, reader: BatchReader, progress: Progress, batch_rows: int
    ) -> tuple[tuple[str, int], ...]:
        """Take in all rows; return each file's path and row count."""
        counts: dict[str, int] = dict.fromkeys(reader.paths, 0)
        last = ""
        for batch in reader.frames(columns=self._names(), rows=batch_rows):
            if batch.path != last:
                last = batch.path
                progress("scanning", reader.paths.index(last), len(reader.paths))
            counts[batch.path] += batch.rows
            self._take(as_frame(batch.data), batch.start)
        progress("scanning", len(reader.paths), len(reader.paths))
        return tuple(counts.items())

    def _names(self) -> set[str]:
        """Return the columns that any claim or measure may look at."""
        names: set[str] = set()
        for claim in self._planned.claims:
            names |= names_of(claim)
        for active in self._active.values():
            names.update(getattr(active.measure, "columns", ()))
            for expression in active.expressions:
                names.update(expression.meta.root_names())
        return names & set(self._planned.columns)

    def _take(self, frame: pl.DataFrame, start: int) -> None:
        values = self._select(frame, self._active)
        if values is None:
            # One of them cannot be computed on this data: it alone is to blame.
            values = {}
            for key, active in list(self._active.items()):
                values |= self._select(frame, {key: active}) or {}
        self._remembered.take(frame, start, values)
        for key, taken in values.items():
            try:
                self._active[key].state.add(taken, frame)
            except self._failures as error:
                self._break(key, error)

    def _select(
        self, frame: pl.DataFrame, active: Mapping[str, _Active]
    ) -> dict[str, Sequence[Any]] | None:
        """Compute the expressions of measures; None if that fails for some of several."""
        named = {
            f"{number}:{at}": expression
            for number, one in enumerate(active.values())
            for at, expression in enumerate(one.expressions)
        }
        try:
            selected = _select(frame, named)
        except self._failures as error:
            if len(active) > 1:
                return None
            self._break(next(iter(active)), error)
            return None
        return {
            key: [selected[f"{number}:{at}"] for at in range(len(one.expressions))]
            for number, (key, one) in enumerate(active.items())
        }

    def _break(self, key: str, error: BaseException) -> None:
        self._broken[key] = type(error).__name__
        del self._active[key]

    def remembered(self, wanted: Iterable[Wanted]) -> dict[int, Found]:
        """Return the rows that were kept, by the expectation's index."""
        found: dict[int, Found] = {}
        for one in wanted:
            rows = None if callable(one.marks) else self._remembered.positions(one.marks)
            if rows is not None:
                found[one.claim.expectation.index] = Found(positions=rows, count=len(rows))
        return found

    def conclude(self) -> tuple[dict[int, Answer], dict[int, str], list[Wanted]]:
        """Return answers, what is left with its reason, and the rows to look for."""
        measured = self._finish()
        answers, left = dict(self._planned.answers), dict(self._planned.left)
        wanted: list[Wanted] = []
        for claim in self._planned.claims:
            index = claim.expectation.index
            keys = {name: measure.key for name, measure in claim.measures.items()}
            if why := [self._broken[key] for key in keys.values() if key in self._broken]:
                left[index] = f"it cannot be computed on this data: {why[0]}"
                continue
            try:
                found = {name: measured[key] for name, key in keys.items()}
                answers[index] = self._conclude(claim, found, measured)
            except Unclaimed as reason:
                left[index] = str(reason)
                continue
            if answers[index].success is False and (marks := claim.failing(found)) is not None:
                wanted.append(Wanted(claim=claim, marks=marks))
        return answers, left, wanted

    def _conclude(
        self, claim: Claim, found: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> Answer:
        total = self._totals.get(claim.expectation.index)
        if total is not None and not claim.expectation.counts_rows:
            if total.key in self._broken:
                raise Unclaimed(f"its condition cannot be applied: {self._broken[total.key]}")
            if not measured[total.key]:
                return Answer.unknown(_NO_ROW)
        return claim.conclude(found)

    def _finish(self) -> dict[str, Any]:
        measured: dict[str, Any] = {}
        for key in list(self._active):
            try:
                measured[key] = self._active[key].state.finish()
            except self._failures as error:
                self._break(key, error)
        return measured


def _select(frame: pl.DataFrame, named: Mapping[str, pl.Expr]) -> dict[str, Any]:
    """Compute aggregations, each of which comes to one value.

    Raises:
        ValueError: one of them does not.
    """
    if not named:
        return {}
    selected = frame.lazy().select(**named).collect(engine="in-memory")
    if selected.height != 1:
        raise ValueError("a measure's expression is no aggregation")
    return {column.name: column[0] for column in selected}
