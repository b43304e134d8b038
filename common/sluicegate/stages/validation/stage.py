"""The stage: suite and snapshot in, report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from sluicegate.model import Report
from sluicegate.stages.base import Context, Option
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.columns import repeated_columns
from sluicegate.stages.validation.gx_engine import GxEngine
from sluicegate.stages.validation.rendering import render
from sluicegate.stages.validation.strict import judge, settled
from sluicegate.stages.validation.suite import Expectation, Suite, parse_suite
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ValidateDataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateDataset:
    """Hold a data set against the expectations that its owner wrote down.

    Each expectation becomes one check, with its own severity. A question that the data
    gave no opportunity to ask (an empty column, a condition that selects no row) is unknown
    and never passed.
    """

    name: ClassVar[str] = "validate-dataset"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False
    check_ids: ClassVar[tuple[str, ...]] = (
        "validation.expect_*",
        "validation.unique_column_names",
    )
    # A subset of a valid data set can be invalid: too few rows, a class that is missing.

    suite: Annotated[str | Path, Option("Great Expectations suite, JSON", file=True)]
    """Path of the suite file, as GX writes it."""

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Ask every question of the suite; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            ConfigurationError: the suite is not one that can be asked safely and completely.
            SubjectError: the snapshot is not a table, or has no rows.
            StageError: GX did not answer each expectation exactly once.
            MissingExtraError: GX, pandas or the library for the file format is missing.
        """
        # 1. The whole suite is understood, or refused, before the data is touched.
        suite = parse_suite(context.file("suite"))
        engine = GxEngine(suite)
        # 2. Which column a name means must be clear before any column is examined.
        table = read_table(snapshot)
        repeated = repeated_columns(snapshot, table.frame)
        # 3. One answer to each expectation.
        context.progress("validating", 0, len(suite.expectations))
        answers = _unclear(suite) if repeated else _answers(suite, engine, table.frame)
        context.progress("validating", len(suite.expectations), len(suite.expectations))
        return render(suite, table, answers, repeated=repeated, samples=context.samples)


def _unclear(suite: Suite) -> dict[int, Answer]:
    why = "two columns have the same name: it is not clear which one is meant"
    return {one.index: Answer.unknown(why) for one in suite.expectations}


def _answers(suite: Suite, engine: GxEngine, frame: pd.DataFrame) -> dict[int, Answer]:
    answers: dict[int, Answer] = {}
    # Expectations on the same rows share one batch: GX hashes all rows of each batch.
    groups: dict[object, tuple[pd.DataFrame, list[Expectation]]] = {}
    for one in suite.expectations:
        before = settled(one, frame)
        if before is None and one.condition not in groups:
            try:
                groups[one.condition] = (_select(one, frame), [])
            except (TypeError, ValueError, ArithmeticError, NotImplementedError) as error:
                before = Answer.unknown(
                    f"the row condition cannot be applied to this data: {type(error).__name__}"
                )
        if before is None:
            groups[one.condition][1].append(one)
        else:
            answers[one.index] = before
    for rows, expectations in groups.values():
        answers.update(_ask(engine, rows, expectations))
    return answers


def _select(expectation: Expectation, frame: pd.DataFrame) -> pd.DataFrame:
    if expectation.condition is None:
        return frame
    # The index keeps the positions in the whole table, which name the rows in findings.
    return frame.loc[expectation.condition.selects(frame)]


def _ask(
    engine: GxEngine, rows: pd.DataFrame, expectations: list[Expectation]
) -> dict[int, Answer]:
    asked = expectations if len(rows) else [one for one in expectations if one.counts_rows]
    given = engine.answer(rows, asked) if asked else {}
    nothing = Answer.unknown("the row condition selects no row: nothing was examined")
    return {
        one.index: judge(one, rows, given[one.index]) if one.index in given else nothing
        for one in expectations
    }
