"""All that is wrong with a suite, collected: people mend a file in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, ParamSpec, TypeVar

from sluicegate.errors import ConfigurationError, MissingExtraError

__all__ = ["Problems"]

_ENOUGH: Final = 100
"""Most problems of one file: nobody reads more, and a hostile file could have millions."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _EnoughError(Exception):
    """There is no point in reading on."""


class Problems:
    """A list of refusals that does not grow beyond all bounds."""

    def __init__(self) -> None:
        """Begin with none."""
        self.found: list[ConfigurationError] = []

    def add(self, problem: ConfigurationError) -> None:
        """Note a problem; within :meth:`until_enough`, the last of too many ends the reading."""
        self.found.append(problem)
        if len(self.found) >= _ENOUGH:
            raise _EnoughError

    def attempt(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Return what a function returns, or note what it refuses and return ``None``."""
        try:
            return function(*args, **kwargs)
        except MissingExtraError:
            raise  # a problem of the installation, not of the file
        except ConfigurationError as error:
            self.add(error)
            return None

    @contextmanager
    def until_enough(self) -> Iterator[None]:
        """Read until there are too many problems; they are kept."""
        with suppress(_EnoughError):
            yield
