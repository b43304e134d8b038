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

__all__ = ["GxEngine", "pandas_batch", "put"]


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
        questions = [Question.of(one) for one in expectations]
        with alone():
            try:
                return put(pandas_batch(frame), questions, len(frame))
            except StageError:
                raise
            except Exception as error:  # noqa: BLE001  GX raises anything, and quotes cells
                raise StageError(
                    f"Great Expectations failed with {type(error).__name__}",
                    next_step="run the suite with GX on a small sample to see why",
                ) from None


def pandas_batch(frame: pd.DataFrame) -> Any:
    """Return a batch of GX with these rows, in a context of its own; GX hashes all of them."""
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
    whole = (
        context.data_sources.add_pandas("snapshot")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("rows")
    )
    return whole.get_batch({"dataframe": frame})


def put(
    batch: Any, questions: Sequence[Question], rows: int, *, most_rows: int | None = None
) -> dict[int, Answer]:
    """Put questions to a batch of GX; call it inside of :func:`alone`.

    Args:
        batch: the batch.
        questions: what to ask, at least one.
        rows: how many rows the batch has.
        most_rows: most rows that one answer names; all when None.

    Returns:
        One answer for each question, by index.

    Raises:
        StageError: GX did not answer each one exactly once.
    """
    import great_expectations as gx

    # GX groups results by its own order: ids of our own tell which result is whose.
    asked = {one.key: one for one in questions}
    suite = gx.ExpectationSuite(name="suite", expectations=[one.entry() for one in questions])
    results = list(batch.validate(suite, result_format=dict(RESULT_FORMAT)).results)
    answered = [result.expectation_config.id for result in results]
    if sorted(answered) != sorted(asked):
        raise StageError(
            f"Great Expectations answered {len(answered)} of {len(asked)} expectations",
            next_step="report this with the suite: no expectation may go unanswered",
        )
    return {
        asked[result.expectation_config.id].index: answer_of(result, rows, most_rows=most_rows)
        for result in results
    }
