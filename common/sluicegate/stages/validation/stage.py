"""The stage: suite and snapshot in, report out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError, MissingExtraError
from sluicegate.model import Report
from sluicegate.stages.base import Context, Option
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.gx.child import ChildLimits, GxChild
from sluicegate.stages.validation.rendering import SAMPLE_CHARS, SAMPLES, Examined, render
from sluicegate.stages.validation.scan.columns import repeated_names, scan_columns
from sluicegate.stages.validation.scan.plan import plan
from sluicegate.stages.validation.scan.run import run
from sluicegate.stages.validation.strict import judge, settled, too_sparse
from sluicegate.stages.validation.suites.catalogue import CATALOGUE
from sluicegate.stages.validation.suites.conditions import Condition
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.stages.validation.suites.parse import parse_suite
from sluicegate.storage.batches import BatchReader
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import read_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["ValidateDataset"]

_ENGINES: Final = ("auto", "gx")
_KNOWN: Final = CATALOGUE | frozenset(SPECS)
"""Types whose arguments name all columns that they look at."""

_SECURITY: Final = "sluicegate.stages.validation.expectations.registration"
"""Makes the security expectations known to GX, for those that the scan cannot answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateDataset:
    """Hold a data set against the expectations that its owner wrote down.

    Each expectation becomes one check, with its own severity. A question that the data
    gave no opportunity to ask (an empty column, a condition that selects no row) is unknown
    and never passed.

    Most types of expectation are answered by one scan of the data in bounded memory. The
    others are put to Great Expectations in a child process with limits, which takes the
    columns that they name into memory.
    """

    name: ClassVar[str] = "validate-dataset"
    version: ClassVar[str] = "2"
    hereditary: ClassVar[bool] = False
    check_ids: ClassVar[tuple[str, ...]] = (
        "validation.contract_rule",
        "validation.expect_*",
        "validation.unique_column_names",
    )
    # A subset of a valid data set can be invalid: too few rows, a class that is missing.

    suite: Annotated[
        str | Path, Option("Great Expectations suite or data contract, JSON or YAML", file=True)
    ]
    """Path of the suite file, as GX writes it; or an Open Data Contract Standard contract."""
    table: Annotated[
        str, Option("which schema object of a data contract the data is, if it has several")
    ] = ""
    engine: Annotated[str, Option("auto, or gx to leave every expectation to GX")] = "auto"
    plugins: Annotated[
        tuple[str, ...], Option("Python module that registers expectations of your own in GX")
    ] = ()
    """Imported in the child process only."""
    unknown_if_missing: Annotated[
        float,
        Option(
            "missing share from which an expectation about values is unknown, unless the suite "
            "says of the column how many may be missing; above 1 for never"
        ),
    ] = 0.5
    gx_seconds: Annotated[float, Option("seconds that GX may take for its expectations")] = 3600.0
    gx_memory: Annotated[int, Option("bytes of memory that GX may take")] = 8 << 30

    def __post_init__(self) -> None:
        """Refuse options that make no sense, before anything runs."""
        if self.engine not in _ENGINES:
            raise ConfigurationError(
                f"validate-dataset: engine is {' or '.join(_ENGINES)}, not {self.engine!r}",
                next_step="leave it out, unless GX is to be compared with the scan",
            )
        if not self.unknown_if_missing > 0:
            raise ConfigurationError(
                "validate-dataset: unknown_if_missing is a share above 0",
                next_step="0.5 means: half of the values; 2 turns the rule off",
            )
        if not self.gx_seconds > 0 or self.gx_memory <= 0:
            raise ConfigurationError(
                "validate-dataset: gx_seconds and gx_memory are above 0",
                next_step="leave them out for an hour and 8 GiB",
            )

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        """Ask every question of the suite; see :class:`~sluicegate.stages.base.Stage`.

        Raises:
            ConfigurationError: the suite is not one that can be asked safely and completely.
            SubjectError: the snapshot is not a table, or has no rows.
            StageError: GX did not answer each expectation exactly once.
            MissingExtraError: a library for the file format or for an expectation is missing.
        """
        if find_spec("polars") is None:
            raise MissingExtraError("polars", "validation", "validate-dataset")
        # 1. The whole suite is understood, or refused, before the data is touched.
        suite = parse_suite(
            context.file("suite"),
            name=Path(self.suite).name,
            table=self.table,
            plugins=bool(self.plugins),
        )
        child = self._child(suite)
        # 2. Everything that one pass over the data can answer.
        with BatchReader(snapshot) as reader:
            repeated = repeated_names(reader)
            planned = plan(suite, scan_columns(reader), makers={} if self.engine == "gx" else None)
            scanned = run(reader, planned, progress=context.progress, samples=context.samples)
        examined = Examined(
            parts=scanned.parts, columns=len(planned.columns), samples=scanned.samples
        )
        # 3. The rest is for GX.
        answers = dict(scanned.answers)
        rest = [one for one in suite.expectations if one.index in scanned.left]
        if rest:
            context.progress("Great Expectations", 0, len(rest))
            asked, examined = _ask_gx(child, snapshot, rest, examined, samples=context.samples)
            answers |= asked
            context.progress("Great Expectations", len(rest), len(rest))
        answers = too_sparse(suite, answers, missing=self.unknown_if_missing)
        return render(suite, examined, answers, repeated=repeated, samples=context.samples)

    def _child(self, suite: Suite) -> GxChild:
        """Return where GX will run; refuse types that it does not know either."""
        child = GxChild(
            plugins=(_SECURITY, *self.plugins),
            limits=ChildLimits(
                total_seconds=self.gx_seconds,
                question_seconds=min(self.gx_seconds, ChildLimits().question_seconds),
                memory_bytes=self.gx_memory,
            ),
        )
        foreign = [
            one for one in suite.expectations if one.type not in CATALOGUE and one.type not in SPECS
        ]
        if foreign:
            child.check(foreign)
        return child


def _ask_gx(
    child: GxChild,
    snapshot: Snapshot,
    expectations: Sequence[Expectation],
    examined: Examined,
    *,
    samples: bool,
) -> tuple[dict[int, Answer], Examined]:
    """Return GX's answers after all stricter rules, and what is known of the rows now."""
    table = read_table(snapshot, columns=_needed(expectations))
    answers: dict[int, Answer] = {}
    selected: dict[Condition, NDArray[np.bool_]] = {}
    asked: list[Expectation] = []
    for one in expectations:
        before = settled(one, table.frame) or _select(one, table.frame, selected)
        if before is None:
            asked.append(one)
        else:
            answers[one.index] = before
    answers |= _ask(child, table.frame, asked, selected)
    shown = dict(examined.samples)
    if samples:
        shown |= {
            one.index: found
            for one in expectations
            if (found := _samples(table.frame, one, answers[one.index]))
        }
    return answers, replace(examined, parts=examined.parts or table.parts, samples=shown)


def _needed(expectations: Sequence[Expectation]) -> frozenset[str] | None:
    """Return the columns that expectations are about; None where one may look at any."""
    if any(one.type not in _KNOWN or not one.columns for one in expectations):
        return None
    asked = {name for one in expectations for name in one.columns}
    return frozenset(asked).union(*(one.condition.columns for one in expectations if one.condition))


def _select(
    one: Expectation, frame: pd.DataFrame, selected: dict[Condition, NDArray[np.bool_]]
) -> Answer | None:
    """Note which rows an expectation is about; return its answer if that cannot be said."""
    if one.condition is None:
        return None
    try:
        if one.condition not in selected:
            selected[one.condition] = one.condition.selects(frame).to_numpy(dtype=bool)
    except (TypeError, ValueError, ArithmeticError, NotImplementedError) as error:
        return Answer.unknown(
            f"the row condition cannot be applied to this data: {type(error).__name__}"
        )
    if selected[one.condition].any() or one.counts_rows:
        return None
    return Answer.unknown("the row condition selects no row: nothing was examined")


def _ask(
    child: GxChild,
    frame: pd.DataFrame,
    expectations: Sequence[Expectation],
    selected: Mapping[Condition, NDArray[np.bool_]],
) -> dict[int, Answer]:
    """Ask GX in one process, and judge what it says."""
    given = child.answer(frame, expectations, selected=selected)
    groups: dict[Condition | None, list[Expectation]] = {}
    for one in expectations:
        groups.setdefault(one.condition, []).append(one)
    answers: dict[int, Answer] = {}
    for condition, asked in groups.items():
        # The index keeps the positions in the whole table, which name the rows in findings.
        rows = frame if condition is None else frame.loc[selected[condition]]
        answers |= {one.index: judge(one, rows, given[one.index]) for one in asked}
    return answers


def _samples(frame: pd.DataFrame, one: Expectation, answer: Answer) -> tuple[Json, ...]:
    """Return values that are not as expected, as text; the policy allows it."""
    if not answer.positions or not one.columns:
        return ()
    rows = frame.iloc[sorted(answer.positions)[:SAMPLES]][list(one.columns)]
    shown = [
        [str(value)[:SAMPLE_CHARS] for value in row]
        for row in rows.itertuples(index=False, name=None)
    ]
    return tuple(row[0] if len(row) == 1 else row for row in shown)
