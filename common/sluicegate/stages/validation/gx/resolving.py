"""Types and arguments that GX really has: it drops what it does not know, and goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.gx.questions import Question
from sluicegate.stages.validation.suites.forbidden import REFUSED_TYPES
from sluicegate.stages.validation.suites.model import closest, refusal

__all__ = ["resolve", "runs_sql"]

_LIKE: Final = "_match_like_pattern"
"""Types that need a SQL database, and hold no SQL themselves."""


def resolve(question: Question, *, on_database: bool = False) -> None:
    """Return if GX can be asked this; call it inside of :func:`alone`.

    Args:
        question: what is to be asked.
        on_database: whether it will be asked of a data source that speaks SQL. Whoever says
            so has looked at :func:`runs_sql` first.

    Raises:
        ConfigurationError: a type or an argument that GX does not know or take.
    """
    from great_expectations.compatibility.pydantic import ValidationError

    path = f"$.expectations[{question.index}]"
    kind = _kind(question, path)
    if not on_database and runs_sql(question):
        raise refusal(
            question.where,
            f"{path}.type",
            "a type that can be asked of files",
            f"{question.type!r}, which runs SQL",
            next_step="remove the expectation, or express it with a column expectation",
        )
    try:
        kind(**question.kwargs)
    except ValidationError as error:
        raise _bad_kwargs(question, kind, error.errors()[0], path) from None
    except Exception as error:  # noqa: BLE001  plug-ins validate as they like
        raise refusal(
            question.where,
            f"{path}.kwargs",
            "arguments that GX takes",
            f"what it refuses with {type(error).__name__}",
            next_step="see the expectation's documentation",
        ) from None


def runs_sql(question: Question) -> bool:
    """Whether a question carries SQL, or reads another table than the one it is about.

    Under another name, too: subclasses, and types of plug-ins with a query among their
    arguments.

    Raises:
        ConfigurationError: GX does not know the type.
    """
    from great_expectations.expectations.registry import get_expectation_impl

    kind = _kind(question, f"$.expectations[{question.index}]")
    carriers = tuple(get_expectation_impl(name) for name in REFUSED_TYPES if _LIKE not in name)
    return issubclass(kind, carriers) or any("query" in field for field in kind.__fields__)


def _kind(question: Question, path: str) -> Any:
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    try:
        return get_expectation_impl(question.type)
    except ExpectationNotFoundError:
        known = set(list_registered_expectation_implementations()) - set(REFUSED_TYPES)
        raise refusal(
            question.where,
            f"{path}.type",
            "a type that GX knows",
            repr(question.type),
            next_step=closest(_snake_case(question.type), known)
            or "import the module that defines it before the gate runs",
        ) from None


def _bad_kwargs(
    question: Question, kind: Any, error: Mapping[str, Any], path: str
) -> ConfigurationError:
    at = ".".join(str(part) for part in error["loc"] if part != "__root__")
    inherited = {"id", "meta", "notes", "description", "severity", "rendered_content"}
    fields = sorted(set(kind.__fields__) - inherited)
    what = f"{path}.kwargs.{at}" if at else f"{path}.kwargs"
    if error["type"] == "value_error.extra":
        return refusal(
            question.where,
            what,
            "absent",
            "an argument that this type does not have",
            next_step=closest(at, fields) or f"its arguments are {', '.join(fields)}",
        )
    if error["type"] == "value_error.missing":
        return refusal(
            question.where,
            what,
            "present",
            "nothing",
            next_step=f"add {at!r} to kwargs",
        )
    reason = str(error["msg"]).splitlines()[0][:200]
    return refusal(
        question.where,
        what,
        "what GX takes",
        f"another value ({reason})",
        next_step="see the expectation's documentation",
    )


def _snake_case(name: str) -> str:
    """Turn a class name into a type name: people copy either."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
