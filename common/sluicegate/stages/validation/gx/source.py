"""A suite asked on the data source itself, beside the extract that a receipt binds.

Some questions are about a database (SQL that a suite holds, LIKE patterns, collation), and
some teams want GX to answer where the data lies. GX then asks the source, and the answers hold
for the extract only if the source still held the extract's rows. So the batch is read again
*after* the last answer, written as Parquet in the same order, and must be the extract byte for
byte; otherwise nothing was concluded. The extract itself is the reading before. What this does
not show: rows that were changed behind the first reading and changed back before the second.

SQL in a suite runs with the rights of the connection: it can read other tables and, if the
connection may, write. It is asked only with explicit consent; use a role that may only read.
A limit on time is the database's matter (``statement_timeout`` and its like).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ConfigurationError, SubjectChangedError, SubjectError
from sluicegate.stages.validation.answers import GX, Answer
from sluicegate.stages.validation.gx.engine import put
from sluicegate.stages.validation.gx.questions import Question
from sluicegate.stages.validation.gx.quiet import alone, import_gx
from sluicegate.stages.validation.gx.resolving import resolve, runs_sql
from sluicegate.stages.validation.strict import judge, settled
from sluicegate.stages.validation.suites.model import Expectation, Suite
from sluicegate.storage import gx_batches
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core.batch_definition import BatchDefinition

__all__ = ["SourceAnswers", "answer_on_source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAnswers:
    """What GX said about a data source, and which one that was."""

    answers: Mapping[int, Answer]
    """By index in the suite; there is one for each expectation."""
    where: Mapping[str, Json]
    """The description of the batch, as the extract has it; no connection string."""


def answer_on_source(
    batch_definition: BatchDefinition[Any],
    suite: Suite,
    extract: Snapshot,
    *,
    batch_parameters: Mapping[str, Any] | None = None,
    consent_to_sql: bool = False,
) -> SourceAnswers:
    """Ask GX every expectation of a suite on the data source.

    Args:
        batch_definition: the batch, of a SQL data source.
        suite: the questions. Those with a row condition are unknown here: GX would evaluate
            it; ask them of the extract.
        extract: what :func:`~sluicegate.storage.gx_batches.capture` wrote of this batch.
        batch_parameters: as they were for the extract.
        consent_to_sql: whether SQL that the suite holds may run.

    Raises:
        ConfigurationError: a type or an argument that GX does not take, or SQL without consent.
        SubjectChangedError: the source does not hold the rows of the extract.
        SubjectError: the source cannot be read, or the extract is none.
        StageError: GX did not answer each expectation exactly once.
        MissingExtraError: GX or a library for the source is missing.
    """
    import_gx()
    with alone():
        for one in suite.expectations:
            _admit(Question.of(one), consent_to_sql=consent_to_sql)
    description, digest = _of_extract(extract)
    frame = read_table(extract).frame
    answers = {}
    with alone():
        batch = _batch(batch_definition, batch_parameters)
        for one in suite.expectations:
            answers[one.index] = _answer(one, frame, batch)
        order_by = description.get("order_by")
        columns = [str(name) for name in order_by] if isinstance(order_by, list) else None
        _require_same(batch_definition, batch_parameters, columns, digest)
    return SourceAnswers(answers=answers, where=description)


def _admit(question: Question, *, consent_to_sql: bool) -> None:
    resolve(question, on_database=True)
    if runs_sql(question) and not consent_to_sql:
        raise ConfigurationError(
            f"validation suite, {question.where}: {question.type!r} runs SQL on the data source",
            next_step="read it, and consent to SQL for this suite; or remove the expectation",
        )


def _of_extract(snapshot: Snapshot) -> tuple[dict[str, Json], Digest]:
    files = list(snapshot.manifest.files)
    if len(files) != 1:
        raise SubjectError(f"{snapshot.uri} is no extract: it holds {len(files)} files")
    with snapshot.open(files[0].path) as source:
        description = gx_batches.read_description(source)
    if not description:
        raise SubjectError(
            f"{snapshot.uri} does not say what it is an extract of",
            next_step="write it with sluicegate.storage.gx_batches.capture",
        )
    return description, files[0].sha256


def _batch(batch_definition: Any, parameters: Mapping[str, Any] | None) -> Any:
    try:
        return batch_definition.get_batch(dict(parameters) if parameters else None)
    except Exception as error:  # noqa: BLE001  drivers raise anything, and quote connections
        raise SubjectError(
            f"GX cannot read the batch {batch_definition.name!r}: {type(error).__name__}",
            next_step="call get_batch with the same parameters to see why",
        ) from None


def _answer(one: Expectation, frame: pd.DataFrame, batch: Any) -> Answer:
    if one.condition is not None:
        return Answer.unknown("a row condition is not evaluated on a data source", engine=GX)
    if (before := settled(one, frame)) is not None:
        return before
    try:
        answer = put(batch, Question.of(one), len(frame))
    except Exception as error:  # noqa: BLE001  GX and drivers raise anything, and quote cells
        return Answer.unknown(f"Great Expectations failed with {type(error).__name__}", engine=GX)
    return judge(one, frame, answer)


def _require_same(
    batch_definition: Any,
    parameters: Mapping[str, Any] | None,
    order_by: Sequence[str] | None,
    digest: Digest,
) -> None:
    with gx_batches.extract(batch_definition, parameters, order_by) as (file, said):
        if _digest_of(file) != digest:
            raise SubjectChangedError(
                f"the batch {said['batch']!r} of {said['source']!r} does not hold the rows of "
                "the extract any more",
                next_step="capture it again, and find out who writes to it meanwhile",
            )


def _digest_of(file: IO[bytes]) -> Digest:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return Digest(digest.hexdigest())
