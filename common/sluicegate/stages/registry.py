"""Stages by name: the words that policies, receipts and the command line use.

A distribution adds its own stages through the entry-point group ``sluicegate.stages``
(``my-stage = "package.module:MyStage"``). A built-in name cannot be taken over.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.base import Field, Stage, stage_fields

__all__ = ["BUILT_IN", "build_stage", "stage_names", "stage_type"]

BUILT_IN: Final[Mapping[str, str]] = {
    "back-up-model": "sluicegate.stages.backup:BackUpModel",
    "check-encryption": "sluicegate.stages.encryption.stage:CheckEncryption",
    "check-suite": "sluicegate.stages.validation.check_suite:CheckSuite",
    "inspect-files": "sluicegate.stages.files:InspectFiles",
    "scan-for-poisoning": "sluicegate.stages.poisoning:ScanForPoisoning",
    "scan-text": "sluicegate.stages.text:ScanText",
    "validate-dataset": "sluicegate.stages.validation:ValidateDataset",
    "verify-provenance": "sluicegate.stages.provenance:VerifyProvenance",
}
_GROUP: Final = "sluicegate.stages"


@cache
def _added() -> Mapping[str, str]:
    """Read the entry points once: that looks into every installed distribution."""
    return {point.name: point.value for point in entry_points(group=_GROUP)}


def stage_names() -> tuple[str, ...]:
    """Return the names of all stages that are installed, sorted."""
    return tuple(sorted({*BUILT_IN, *_added()}))


def stage_type(name: str) -> type[Stage]:
    """Return the class of a stage.

    Raises:
        ConfigurationError: no such stage, or its module cannot be imported.
    """
    target = BUILT_IN.get(name) or _added().get(name)
    if target is None:
        raise ConfigurationError(
            f"there is no stage {name!r}", next_step=f"stages: {', '.join(stage_names())}"
        )
    module, _, attribute = target.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a foreign module does when it is imported
        raise ConfigurationError(f"the stage {name!r} cannot be imported from {target}") from error
    if not isinstance(kind, type) or getattr(kind, "name", None) != name:
        raise ConfigurationError(f"{target} is not a stage named {name!r}")
    return kind


def build_stage(name: str, options: Mapping[str, object], *, base: Path | None = None) -> Stage:
    """Build a stage from plain options, as a policy or a command line gives them.

    Args:
        name: the stage's name.
        options: by field name, with ``_`` or ``-``; the types must be right.
        base: folder that relative paths of configuration files start from.

    Raises:
        ConfigurationError: no such stage, an unknown or missing option, a wrong type.
    """
    kind = stage_type(name)
    fields = {field.name: field for field in stage_fields(kind)}
    values: dict[str, Any] = {}
    for key, value in options.items():
        field = fields.get(key.replace("-", "_"))
        if field is None:
            raise ConfigurationError(
                f"{name} has no option {key!r}", next_step=f"options: {', '.join(fields)}"
            )
        if field.name in values:
            raise ConfigurationError(f"{name}: the option {field.name} is given twice")
        values[field.name] = _convert(name, field, value, base)
    missing = [field.name for field in fields.values() if field.required]
    if lacking := [field for field in missing if field not in values]:
        raise ConfigurationError(f"{name} needs the option {', '.join(lacking)}")
    return kind(**values)


def _convert(stage: str, field: Field, value: object, base: Path | None) -> object:
    if field.many:
        items = value if isinstance(value, tuple | list) else (value,)
        return tuple(_convert_one(stage, field, item, base) for item in items)
    return _convert_one(stage, field, value, base)


def _convert_one(stage: str, field: Field, value: object, base: Path | None) -> object:
    checked = _check(stage, field, value)
    if field.file and base is not None:
        return str(base / str(checked))
    return checked


def _check(stage: str, field: Field, value: object) -> object:
    if field.kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not field.kind:
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        raise ConfigurationError(
            f"{stage}: option {field.name} is {words[field.kind]}, not {type(value).__name__}"
        )
    return value
