"""Security expectations as classes of Great Expectations.

Each type becomes a class that GX loads from suite files, writes back, and runs in checkpoints
on pandas data, in the same way as its own. The judge is the one of the scan. GX has no third
outcome: where nobody can tell, the class raises :class:`CannotTell`, which GX reports as a
failure with an exception.

Results hold no values beyond those that GX itself adds under the result format that was asked
for, and details without any value: counts by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.answers import Answer
from sluicegate.stages.validation.expectations import SPECS
from sluicegate.stages.validation.expectations.arguments import AROUND, COLUMN, MOSTLY, Argument
from sluicegate.stages.validation.expectations.frames import unexpected
from sluicegate.stages.validation.expectations.spec import Shape, Spec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CannotTell", "class_name", "register"]

MODULE: Final = "sluicegate.expectations"
"""Where the classes say they live: the module that registers them."""

_OWN_FIELDS: Final = (COLUMN.name, MOSTLY.name)
"""Arguments that GX's base classes have themselves."""


class CannotTell(Exception):  # noqa: N818  an outcome, not an error
    """Nobody can tell whether the expectation holds; the message says why."""


def class_name(kind: str) -> str:
    """Return the name of the class of an expectation type, as GX names its own."""
    return "".join(word.capitalize() for word in kind.split("_"))


@cache
def register() -> Mapping[str, type]:
    """Register every security expectation in GX, and return the classes by type.

    May be called again: it has no further effect.

    Raises:
        ImportError: Great Expectations is not installed.
    """
    return MappingProxyType({kind: _registered(spec) for kind, spec in SPECS.items()})


def _registered(spec: Spec) -> type:
    _answering(spec)
    if spec.shape is Shape.ROWS:
        _judging_rows(spec)
        return _row_class(spec)
    return _whole_class(spec)


def _metric(spec: Spec) -> str:
    """Return the name of the metric that is the answer."""
    return f"sluicegate.{spec.type.removeprefix('expect_')}"


def _row_metric(spec: Spec) -> str:
    """Return the name of the metric that judges rows."""
    return f"column_values.sluicegate_{spec.type.removeprefix('expect_')}"


def _values(spec: Spec, *, without: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one.name for one in spec.arguments if one.name not in without)


def _answering(spec: Spec) -> None:
    """Define the metric that is the whole answer, for GX's registry."""
    from great_expectations.execution_engine.pandas_execution_engine import (
        PandasExecutionEngine,
    )
    from great_expectations.expectations.metrics.metric_provider import metric_value
    from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

    @metric_value(engine=PandasExecutionEngine)
    def _pandas(
        cls: type,  # noqa: ARG001  GX passes it by name
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> Answer:
        frame = execution_engine.get_domain_records(domain_kwargs=metric_domain_kwargs)
        given = dict(metric_value_kwargs)
        if _one_column(spec):
            given[COLUMN.name] = metric_domain_kwargs[COLUMN.name]
        return spec.judge_frame(frame, _given(spec, given))

    domain = ("batch_id", "table", "row_condition", "condition_parser")
    type(
        f"Sluicegate{class_name(spec.type)}Answer",
        (TableMetricProvider,),
        {
            "__module__": MODULE,
            "metric_name": _metric(spec),
            "domain_keys": (*domain, "column") if _one_column(spec) else domain,
            "value_keys": _values(spec, without=("column",) if _one_column(spec) else ()),
            "_pandas": _pandas,
        },
    )


def _one_column(spec: Spec) -> bool:
    return COLUMN in spec.arguments


def _judging_rows(spec: Spec) -> None:
    """Define the metric that says which values are as expected, for GX's registry."""
    from great_expectations.execution_engine.pandas_execution_engine import (
        PandasExecutionEngine,
    )
    from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (  # noqa: E501
        column_condition_partial,
    )
    from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (  # noqa: E501
        ColumnMapMetricProvider,
    )

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(_cls: type, column: pd.Series, **kwargs: Any) -> pd.Series:
        given = _given(spec, {**kwargs, "column": str(column.name)})
        return ~unexpected(spec, column, given)

    type(
        f"Sluicegate{class_name(spec.type)}Rows",
        (ColumnMapMetricProvider,),
        {
            "__module__": MODULE,
            "condition_metric_name": _row_metric(spec),
            "condition_value_keys": _values(spec, without=_OWN_FIELDS),
            "_pandas": _pandas,
        },
    )


def _given(spec: Spec, kwargs: Mapping[str, Json]) -> dict[str, Json]:
    """Return the arguments of a type among those that GX hands over, without absent ones."""
    known = {one.name for one in spec.arguments}
    return {key: value for key, value in kwargs.items() if key in known and value is not None}


def _row_class(spec: Spec) -> type:
    from great_expectations.expectations.expectation import ColumnMapExpectation

    def get_validation_dependencies(self: Any, *args: Any, **kwargs: Any) -> Any:
        dependencies = ColumnMapExpectation.get_validation_dependencies(self, *args, **kwargs)
        _depend_on_answer(self, spec, dependencies, kwargs.get("runtime_configuration"))
        return dependencies

    def _validate(
        self: Any, metrics: dict[str, Any], runtime_configuration: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        answer = _told(metrics[_metric(spec)])
        outcome: dict[str, Any] = ColumnMapExpectation._validate(  # noqa: SLF001  as GX's own do
            self, metrics, runtime_configuration, **kwargs
        )
        outcome["success"] = answer.success
        outcome.setdefault("result", {})["details"] = {"problems": list(answer.problems)}
        return outcome

    body = {
        "map_metric": _row_metric(spec),
        "success_keys": _values(spec, without=("column",)),
        "args_keys": _values(spec, without=()),
        "get_validation_dependencies": get_validation_dependencies,
        "_validate": _validate,
    }
    return _expectation(spec, ColumnMapExpectation, body)


def _depend_on_answer(
    expectation: Any, spec: Spec, dependencies: Any, runtime_configuration: Any
) -> None:
    from great_expectations.expectations.registry import get_metric_kwargs
    from great_expectations.validator.metric_configuration import MetricConfiguration

    name = _metric(spec)
    taken = get_metric_kwargs(
        metric_name=name,
        configuration=expectation.configuration,
        runtime_configuration=runtime_configuration,
    )
    metric = MetricConfiguration(
        metric_name=name,
        metric_domain_kwargs=taken["metric_domain_kwargs"],
        metric_value_kwargs=taken["metric_value_kwargs"],
    )
    dependencies.set_metric_configuration(metric_name=name, metric_configuration=metric)


def _whole_class(spec: Spec) -> type:
    from great_expectations.expectations.expectation import (
        BatchExpectation,
        ColumnAggregateExpectation,
    )

    def _validate(_self: Any, metrics: dict[str, Any], **_: Any) -> dict[str, Any]:
        return _result(_told(metrics[_metric(spec)]))

    body: dict[str, Any] = {
        "metric_dependencies": (_metric(spec),),
        "success_keys": _values(spec, without=("column",) if _one_column(spec) else ()),
        "args_keys": _values(spec, without=()),
        "_validate": _validate,
    }
    if _one_column(spec):
        return _expectation(spec, ColumnAggregateExpectation, body)
    if spec.shape is Shape.TABLE:
        return _expectation(spec, BatchExpectation, body)
    return _expectation(spec, BatchExpectation, {**body, **_conditioned()})


def _conditioned() -> dict[str, Any]:
    """Return what lets an expectation about several columns take a row condition."""
    from great_expectations.expectations.model_field_types import ConditionParser
    from great_expectations.expectations.row_conditions import RowConditionType

    return {
        "domain_keys": ("batch_id", "row_condition", "condition_parser"),
        "row_condition": None,
        "condition_parser": None,
        "__annotations__": {
            "row_condition": RowConditionType,
            "condition_parser": ConditionParser | None,
        },
    }


def _told(answer: Answer) -> Answer:
    if answer.success is None:
        raise CannotTell(answer.reason)
    return answer


def _result(answer: Answer) -> dict[str, Any]:
    result: dict[str, Any] = {
        "observed_value": answer.observed,
        "details": {"problems": list(answer.problems)},
    }
    counts = {
        "element_count": answer.elements,
        "missing_count": answer.missing,
        "unexpected_count": answer.unexpected,
    }
    result.update({key: value for key, value in counts.items() if value is not None})
    return {"success": answer.success, "result": result}


def _expectation(spec: Spec, base: Any, body: dict[str, Any]) -> type:
    """Define the class; GX registers it when it is made."""
    from great_expectations.compatibility import pydantic

    annotations = dict(body.pop("__annotations__", {}))
    for one in spec.arguments:
        if one.name not in base.__fields__:
            annotations[one.name] = _annotation(one)
            if not one.required:
                body[one.name] = one.default
    checked: Callable[..., Any] = pydantic.root_validator(pre=True, allow_reuse=True)
    body |= {
        "__module__": MODULE,
        "__doc__": _documentation(spec),
        "__annotations__": annotations,
        "sluicegate_spec": spec,
        "_sluicegate_check": checked(_checker(spec)),
    }
    annotations["sluicegate_spec"] = ClassVar[Any]
    made: type = type(base)(class_name(spec.type), (base,), body)
    return made


def _checker(spec: Spec) -> Callable[[type, dict[str, Any]], dict[str, Any]]:
    """Return a validator that refuses what the strict loader of suites refuses."""
    known = {one.name for one in spec.arguments} | AROUND

    def check(_cls: type, values: dict[str, Any]) -> dict[str, Any]:
        try:
            spec.check({key: value for key, value in values.items() if key in known - AROUND})
        except ConfigurationError as error:
            raise ValueError(f"{error.what}; {error.next_step}") from None
        return values

    return check


def _documentation(spec: Spec) -> str:
    lines = [f"    {one.name}: {one.kind}; {one.explanation}." for one in spec.arguments]
    return "\n".join([spec.summary, "", "Args:", *lines])


def _annotation(argument: Argument) -> Any:
    found = _python_type(argument.form.holds)
    return found if argument.required else found | None


def _python_type(holds: str) -> Any:
    """Return the type of a field; strict, so that GX changes no value when it reads one."""
    from great_expectations.compatibility import pydantic as p

    inner = holds.removeprefix("list of ")
    if inner != holds:
        return list[_python_type(inner)]  # type: ignore[misc]
    number = p.StrictInt | p.StrictFloat
    return {
        "text": p.StrictStr,
        "boolean": p.StrictBool,
        "number": number,
        "scalar": p.StrictBool | p.StrictInt | p.StrictFloat | p.StrictStr,
        "object": dict[str, Any],
    }[inner]
