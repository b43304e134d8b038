"""Security expectations for Great Expectations itself: importing this registers them.

::

    import great_expectations as gx
    import sluicegate.expectations as secure

    suite.add_expectation(
        secure.ExpectColumnCategoriesToBeFrozen(column="country", categories=["CH", "DE"])
    )

A suite file that names them then loads and runs in plain GX, on pandas data, with the same
verdicts and counts as in sluicegate; and sluicegate runs it without this import.
"""

from __future__ import annotations

from typing import Any, Final

from sluicegate.errors import MissingExtraError
from sluicegate.stages.validation.expectations.registration import CannotTell, register

try:
    _REGISTERED: Final = register()
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("great_expectations"):
        raise
    raise MissingExtraError("great_expectations", "gx", "sluicegate.expectations") from error

_CLASSES: Final = {one.__name__: one for one in _REGISTERED.values()}

__all__ = ["CannotTell"]


def __getattr__(name: str) -> Any:
    """Return a class of an expectation by its name."""
    if name in _CLASSES:
        return _CLASSES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what the module offers: its classes too."""
    return sorted({*globals(), *_CLASSES})
