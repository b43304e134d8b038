"""``@task.cleared``: a task that verifies before its function runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import task_decorator_factory
from airflow.providers.standard.decorators.python import _PythonDecoratedOperator

from sluicegate.clearance import requires_clearance
from sluicegate_airflow.outcomes import decisions_fail, reject_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

__all__ = ["ClearedOperator", "cleared"]


class ClearedOperator(_PythonDecoratedOperator):
    """A Python task whose subject is verified by the task itself, on its own worker.

    Whatever the state of the tasks before it says, and whatever stands in XCom: the
    function receives a :class:`~sluicegate.clearance.Cleared`, or the task fails.
    """

    custom_operator_name: str = "@task.cleared"

    def __init__(
        self,
        *,
        purpose: str,
        policy: str | os.PathLike[str] | None = None,
        argument: str | None = None,
        **kwargs: Any,
    ) -> None:
        reject_defaults(
            "@task.cleared", ("purpose", "policy", "argument"), kwargs.get("default_args") or {}
        )
        # Found here, a wrong `argument` is an error of the DAG file and not of every run.
        requires_clearance(purpose, policy=policy, argument=argument)(kwargs["python_callable"])
        super().__init__(**kwargs)
        self.purpose = purpose
        self.policy = policy
        self.argument = argument

    def execute(self, context: Context) -> Any:
        """Verify, then call the function.

        Raises:
            AirflowFailException: the clearance was refused. Never retried.
        """
        guard = requires_clearance(self.purpose, policy=self.policy, argument=self.argument)
        self.python_callable = guard(self.python_callable)
        with decisions_fail():
            return super().execute(context)


def cleared(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task that receives a verified subject, or does not run.

    Args:
        python_callable: the function, when used without arguments.
        **kwargs: ``purpose``: what the function does with the subject, as the policy names
            it; ``policy``: the policy file; ``argument``: the parameter that takes the
            subject, by default the first; and everything that ``@task`` takes.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=ClearedOperator, **kwargs
    )
