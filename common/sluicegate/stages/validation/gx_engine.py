"""Great Expectations as a library: one batch, all expectations, nothing dropped.

GX keeps process-wide state (a current project, log levels) and says much in log lines and
tracebacks, data values among it. Here its state is put back afterwards, its log lines are
off while it runs, and of an exception only the name of its class is kept.
"""

from __future__ import annotations

import builtins
import logging
import math
import re
import sys
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sluicegate.errors import ConfigurationError, MissingExtraError, StageError
from sluicegate.stages.validation.answers import GX, Answer
from sluicegate.stages.validation.forbidden import REFUSED_TYPES
from sluicegate.stages.validation.suite import Expectation, Suite, closest, refusal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GxEngine"]

_ONE_AT_A_TIME: Final = threading.RLock()
"""GX has one current project in a process: two threads would validate in each other's."""

_RESULT_FORMAT: Final = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}
"""All row positions, no values. GX ignores an option that it does not know: do not rename."""

_SILENT: Final = logging.CRITICAL + 1
_LOGGER: Final = "great_expectations"
_EXCEPTION_LINE: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_.]*)(?::|$)", re.MULTILINE)


class GxEngine:
    """A suite that GX understands completely, ready to be asked.

    Args:
        suite: the suite.

    Raises:
        ConfigurationError: a type or an argument that GX does not know or take; GX itself
            would drop the expectation and validate the rest.
        MissingExtraError: GX is not installed.
    """

    def __init__(self, suite: Suite) -> None:
        """Import GX and resolve every expectation."""
        _import_gx()
        with _alone():
            for expectation in suite.expectations:
                _resolve(expectation)

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
        asked = {str(uuid.UUID(int=one.index + 1)): one for one in expectations}
        with _alone():
            try:
                results = _validate(frame, asked)
            except Exception as error:  # noqa: BLE001  GX raises anything, and quotes cells
                raise StageError(
                    f"Great Expectations failed with {type(error).__name__}",
                    next_step="run the suite with GX on a small sample to see why",
                ) from None
        answered = [result.expectation_config.id for result in results]
        if sorted(answered) != sorted(asked):
            raise StageError(
                f"Great Expectations answered {len(answered)} of {len(asked)} expectations",
                next_step="report this with the suite: no expectation may go unanswered",
            )
        return {
            asked[result.expectation_config.id].index: _answer(result, frame) for result in results
        }


def _import_gx() -> None:
    logger = logging.getLogger(_LOGGER)
    with _ONE_AT_A_TIME:
        level = logger.level
        # Before the import: it logs a line for each of about 200 functions of its interface.
        logger.setLevel(_SILENT)
        try:
            import great_expectations  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("great_expectations", "gx", "validate-dataset") from error
        finally:
            logger.setLevel(level)


@contextmanager
def _alone() -> Iterator[None]:
    """Use GX silently, and leave its process-wide state as it was."""
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.exceptions.exceptions import DataContextRequiredError

    logger = logging.getLogger(_LOGGER)
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(_SILENT)
        try:
            project = project_manager.get_current_project()
        except DataContextRequiredError:
            project = None
        try:
            yield
        finally:
            project_manager.set_project(project)
            logger.setLevel(level)


def _resolve(expectation: Expectation) -> None:
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    path = f"$.expectations[{expectation.index}]"
    try:
        kind = get_expectation_impl(expectation.type)
    except ExpectationNotFoundError:
        known = set(list_registered_expectation_implementations()) - set(REFUSED_TYPES)
        raise refusal(
            expectation.where,
            f"{path}.type",
            "a type that GX knows",
            repr(expectation.type),
            next_step=closest(_snake_case(expectation.type), known)
            or "import the module that defines it before the gate runs",
        ) from None
    _refuse_sql(kind, expectation, path)
    try:
        kind(**expectation.kwargs)
    except ValidationError as error:
        raise _bad_kwargs(expectation, kind, error.errors()[0], path) from None
    except Exception as error:  # noqa: BLE001  plug-ins validate as they like
        raise refusal(
            expectation.where,
            f"{path}.kwargs",
            "arguments that GX takes",
            f"what it refuses with {type(error).__name__}",
            next_step="see the expectation's documentation",
        ) from None


def _refuse_sql(kind: Any, expectation: Expectation, path: str) -> None:
    """Refuse types that carry SQL under another name: subclasses, and those of plug-ins."""
    from great_expectations.expectations.registry import get_expectation_impl

    refused = tuple(get_expectation_impl(name) for name in REFUSED_TYPES)
    if issubclass(kind, refused) or any("query" in field for field in kind.__fields__):
        raise refusal(
            expectation.where,
            f"{path}.type",
            "a type that can be asked of files",
            f"{expectation.type!r}, which runs SQL",
            next_step="remove the expectation, or express it with a column expectation",
        )


def _bad_kwargs(
    expectation: Expectation, kind: Any, error: Mapping[str, Any], path: str
) -> ConfigurationError:
    at = ".".join(str(part) for part in error["loc"] if part != "__root__")
    inherited = {"id", "meta", "notes", "description", "severity", "rendered_content"}
    fields = sorted(set(kind.__fields__) - inherited)
    what = f"{path}.kwargs.{at}" if at else f"{path}.kwargs"
    if error["type"] == "value_error.extra":
        return refusal(
            expectation.where,
            what,
            "absent",
            "an argument that this type does not have",
            next_step=closest(at, fields) or f"its arguments are {', '.join(fields)}",
        )
    if error["type"] == "value_error.missing":
        return refusal(
            expectation.where,
            what,
            "present",
            "nothing",
            next_step=f"add {at!r} to kwargs",
        )
    reason = str(error["msg"]).splitlines()[0][:200]
    return refusal(
        expectation.where,
        what,
        "what GX takes",
        f"another value ({reason})",
        next_step="see the expectation's documentation",
    )


def _snake_case(name: str) -> str:
    """Turn a class name into a type name: people copy either."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _validate(frame: Any, asked: Mapping[str, Expectation]) -> Sequence[Any]:
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
    # GX groups results by its own order: ids of our own tell which result is whose.
    entries = [
        {"type": one.type, "kwargs": one.own_kwargs, "id": key} for key, one in asked.items()
    ]
    suite = gx.ExpectationSuite(name="suite", expectations=entries)
    outcome = whole.get_batch({"dataframe": frame}).validate(
        suite, result_format=dict(_RESULT_FORMAT)
    )
    return list(outcome.results)


def _answer(result: Any, frame: Any) -> Answer:
    raised = _exception_name(result.exception_info)
    if raised:
        return Answer.unknown(f"Great Expectations could not tell: {raised}", engine=GX)
    details = dict(result.result or {})
    unexpected, rows = details.get("unexpected_count"), details.get("unexpected_index_list")
    positions = frozenset(int(row) for row in rows or ())
    # Distinct-value expectations count values, not rows: they name no rows.
    named = rows is not None and len(positions) == unexpected
    return Answer(
        engine=GX,
        success=bool(result.success),  # it may be a numpy.bool_
        elements=int(details.get("element_count", len(frame))),
        missing=_count(details.get("missing_count")) if "element_count" in details else None,
        unexpected=_count(unexpected) if "element_count" in details else None,
        positions=positions if named else frozenset(),
        observed=_plain(details.get("observed_value")),
    )


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _plain(value: Any) -> str | int | float | None:
    """Return an aggregate as a JSON scalar; collections of values are left out."""
    if value is None or isinstance(value, list | tuple | dict | set):
        return None
    scalar = value.item() if callable(getattr(value, "item", None)) else value
    if isinstance(scalar, float) and math.isfinite(scalar):
        return scalar
    if isinstance(scalar, int) and abs(scalar) < 1 << 53:
        return scalar
    return str(scalar)[:100]


def _exception_name(info: Any) -> str:
    """Return the class of an exception that GX caught, or nothing when there was none.

    Nothing else of it may get out: messages quote cells, tracebacks show paths.
    """
    if not isinstance(info, dict) or not info:
        return ""
    entries = [info] if "raised_exception" in info else list(info.values())
    caught = [entry for entry in entries if entry["raised_exception"]]
    if not caught:
        return ""
    # GX wraps what happened in a class of its own: the first class that is not GX's is why.
    for entry in caught:
        for name in _EXCEPTION_LINE.findall(entry["exception_traceback"] or ""):
            if _is_exception(name) and not name.startswith("great_expectations."):
                return str(name.rpartition(".")[2])
    return "MetricResolutionError"


def _is_exception(name: str) -> bool:
    """Whether a name is a loaded exception class: a line of a message could look like one."""
    module, _, kind = name.rpartition(".")
    found = getattr(sys.modules.get(module) if module else builtins, kind, None)
    return isinstance(found, type) and issubclass(found, BaseException)
