"""Pages from templates: everything that is printed is escaped, and what cannot be seen is shown."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sluicegate.canonical import Json
from sluicegate.reports.drawing import visible

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["template"]


@cache
def template(name: str) -> Template:
    """Return a template of this package; a value that it lacks is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sluicegate.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _shown(value: Json) -> Json:
    """Return what is printed for a value; markup, which only templates make, as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(value)
    return value
