"""The session as a decorator, for functions that train."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, Final

from sluicegate.clearance import PolicySource
from sluicegate.errors import ConfigurationError
from sluicegate.receipts.keys import Signer
from sluicegate.session.training import training_session
from sluicegate.storage.uri import SubjectUri

__all__ = ["records_training"]

_SESSION: Final = "session"
"""Name of the parameter that gets the session, if the function has it."""


def records_training(
    purpose: str = "train",
    *,
    policy: PolicySource = None,
    activity: str = "train",
    signer: Signer | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function that trains: it gets verified data, and its run is recorded.

    The first parameter takes a subject and gets the ``Cleared``; a parameter ``session``
    gets the session. All other arguments are recorded as parameters. A path or URI that the
    function returns is an output.

    Args:
        purpose: what the data must be cleared for.
        policy: the policy or its file.
        activity: what is done, for the receipt.
        signer: holds the key.

    Raises:
        ConfigurationError: when decorating: not a plain function, or without a parameter for
            the data.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        data = _first_parameter(function, signature)

        @functools.wraps(function)
        def train(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind_partial(*args, **kwargs)
            if data not in bound.arguments:
                raise ConfigurationError(f"{function.__name__}() was called without {data!r}")
            bound.apply_defaults()
            parameters = {
                name: value
                for name, value in bound.arguments.items()
                if name not in (data, _SESSION)
            }
            with training_session(
                policy,
                inputs=[bound.arguments[data]],
                activity=activity,
                purpose=purpose,
                parameters=parameters,
                signer=signer,
            ) as session:
                bound.arguments[data] = session.data
                if _SESSION in signature.parameters:
                    bound.arguments[_SESSION] = session
                result = function(*bound.args, **bound.kwargs)
                if isinstance(result, str | os.PathLike | SubjectUri):
                    session.output(result)
            return result

        return train

    return decorate


def _first_parameter(function: Callable[..., Any], signature: inspect.Signature) -> str:
    """Return the name of the parameter that takes the data."""
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise ConfigurationError(
            f"{function.__name__}() is no plain function",
            next_step="use `with training_session(...)` inside it",
        )
    for name, parameter in signature.parameters.items():
        named = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if named and name != _SESSION:
            return name
    raise ConfigurationError(f"{function.__name__}() has no parameter to take the data")
