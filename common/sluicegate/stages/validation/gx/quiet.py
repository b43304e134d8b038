"""Import GX and use it, silently, without leaving a trace in this process.

GX keeps process-wide state (a current project, log levels) and says much in log lines and
tracebacks, data values among it.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sluicegate.errors import MissingExtraError

__all__ = ["alone", "import_gx"]

_ONE_AT_A_TIME: Final = threading.RLock()
"""GX has one current project in a process: two threads would validate in each other's."""

_SILENT: Final = logging.CRITICAL + 1
_LOGGER: Final = "great_expectations"


def import_gx() -> None:
    """Import GX.

    Raises:
        MissingExtraError: it is not installed.
    """
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
def alone() -> Iterator[None]:
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
