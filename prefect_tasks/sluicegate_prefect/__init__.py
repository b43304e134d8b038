"""sluicegate for Prefect: gates as tasks, and consumers that verify for themselves.

::

    from sluicegate_prefect import requires_clearance, secure

    @task
    @requires_clearance(purpose="train")
    def train(dataset): ...

    @flow
    def nightly(uri):
        train(secure(ingest(uri), purpose="train"))

Importing this package imports neither Prefect nor anything heavy: Prefect imports it when
a server or worker starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sluicegate.clearance import Clearance, Cleared, requires_clearance
    from sluicegate_prefect.serving import promote, roll_back
    from sluicegate_prefect.tasks import gate, secure

__all__ = [
    "Clearance",
    "Cleared",
    "gate",
    "promote",
    "requires_clearance",
    "roll_back",
    "secure",
]

_HOMES: Final = {
    "Clearance": "sluicegate.clearance",
    "Cleared": "sluicegate.clearance",
    "gate": "sluicegate_prefect.tasks",
    "promote": "sluicegate_prefect.serving",
    "requires_clearance": "sluicegate.clearance",
    "roll_back": "sluicegate_prefect.serving",
    "secure": "sluicegate_prefect.tasks",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
