"""Which types of expectations there are: of GX, of this package, and of the user's plug-ins."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final, Protocol

from sluicegate.canonical import Json
from sluicegate.errors import ConfigurationError
from sluicegate.stages.validation.suites.catalogue import CATALOGUE
from sluicegate.stages.validation.suites.forbidden import ONLY_SQL
from sluicegate.stages.validation.suites.model import closest, refusal

__all__ = ["Spec", "check_custom", "find_type", "security_types"]

_SECURITY: Final = "sluicegate.stages.validation.expectations"
"""Where the types of this package are. By name: they know suites, and not the other way
round."""

_REGISTRY: Final = "great_expectations.expectations.registry"
"""Where GX registers types, those of plug-ins among them."""


_IMPORT: Final = "for a type of your own, import the module that defines it before the gate runs"


class Spec(Protocol):
    """What a type of this package takes and asks."""

    def check(self, kwargs: Mapping[str, Json], path: str) -> None:
        """Check its arguments.

        Raises:
            ConfigurationError: they are not what it takes.
        """
        ...

    def explain(self, kwargs: Mapping[str, Json]) -> str:
        """Return what checked arguments ask, in one line of English."""
        ...


def security_types() -> Mapping[str, Spec]:
    """Return the types of this package."""
    specs: Mapping[str, Spec] = getattr(import_module(_SECURITY), "SPECS", {})
    return specs


def find_type(kind: str, where: str, path: str) -> ConfigurationError | None:
    """Return what to say of a type that nobody knows; nothing for one that is known.

    A type of a plug-in is registered with GX when the plug-in is imported, so without GX in
    this process there is none.
    """
    if kind in CATALOGUE or kind in security_types() or kind in _registered():
        return None
    known = (CATALOGUE - ONLY_SQL) | set(security_types()) | set(_registered())
    return refusal(
        where,
        path,
        "a type that GX knows",
        repr(kind[:100]),
        next_step=f"{closest(_snake_case(kind), known)} {_IMPORT}".strip(),
    )


def check_custom(kind: str, kwargs: Mapping[str, Json], path: str) -> None:
    """Check the arguments of a type of this package; the types of plug-ins are left to GX.

    Raises:
        ConfigurationError: they are not what it takes.
    """
    spec = None if kind in CATALOGUE else security_types().get(kind)
    if spec is not None:
        spec.check(kwargs, path)


def _registered() -> list[str]:
    registry = sys.modules.get(_REGISTRY)
    names = getattr(registry, "list_registered_expectation_implementations", list)
    return list(names())


def _snake_case(name: str) -> str:
    """Turn a class name into a type name: people copy either."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:200]).lower()
