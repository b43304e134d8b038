"""Great Expectations as a library: one batch, all expectations, nothing dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sluicegate.errors import StageError
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.gx.questions import Question
from sluicegate.stages.validation.gx.quiet import alone, import_gx
from sluicegate.stages.validation.gx.resolving import resolve
from sluicegate.stages.validation.gx.results import RESULT_FORMAT, answer_of
from sluicegate.stages.validation.suites.model import Expectation, Suite

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GxEngine", "pandas_batches", "put"]


class GxEngine:
    """A suite that GX understands completely, ready to be asked in this process.

    Without limits: an expectation may take any time and memory. See
    :class:`~sluicegate.stages.validation.gx.child.GxChild`.

    Args:
        suite: the suite.

    Raises:
        ConfigurationError: a type or an argument that GX does not know or take; GX itself
            would drop the expectation and validate the rest.
        MissingExtraError: GX is not installed.
    """

    def __init__(self, suite: Suite) -> None:
        """Import GX and resolve every expectation."""
        import_gx()
        with alone():
            for expectation in suite.expectations:
                resolve(Question.of(expectation))

    def answer(self, frame: pd.DataFrame, expectations: Sequence[Expectation]) -> dict[int, Answer]:
        """Ask expectations of the suite about these rows.

        Args:
            frame: the rows; index labels are positions in the whole table.
            expectations: what to ask, at least one.

        Returns:
            One answer for each expectation, by its index in the suite.

        Raises:
            StageError: GX failed as a whole, or did not answer each one exactly once.
        """
        with alone():
            try:
                batch = pandas_batches().get_batch({"dataframe": frame})
                return {one.index: put(batch, Question.of(one), len(frame)) for one in expectations}
            except StageError:
                raise
            except Exception as error:  # noqa: BLE001  GX raises anything, and quotes cells
                raise StageError(
                    f"Great Expectations failed with {type(error).__name__}",
                    next_step="run the suite with GX on a small sample to see why",
                ) from None


def pandas_batches() -> Any:
    """Return a batch definition of GX that takes data frames, in a context of its own."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    return (
        context.data_sources.add_pandas("snapshot")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("rows")
    )


def put(batch: Any, question: Question, rows: int, *, most_rows: int | None = None) -> Answer:
    """Put a question to a batch of GX; call it inside of :func:`alone`.

    Each in a validation of its own: within one, GX keeps a column's quantiles under the
    column's name alone, and answers a second list of them with the values of the first.

    Args:
        batch: the batch.
        question: what to ask.
        rows: how many rows the batch has.
        most_rows: most rows that the answer names; all when None.

    Raises:
        StageError: GX did not answer exactly this question.
    """
    import great_expectations as gx

    # GX drops what it does not know, and goes on: an id of our own tells whose the answer is.
    suite = gx.ExpectationSuite(name="suite", expectations=[question.entry()])
    results = list(batch.validate(suite, result_format=dict(RESULT_FORMAT)).results)
    if [result.expectation_config.id for result in results] != [question.key]:
        raise StageError(
            f"Great Expectations gave {len(results)} answers to one expectation",
            next_step="report this with the suite: no expectation may go unanswered",
        )
    return answer_of(results[0], rows, most_rows=most_rows)
