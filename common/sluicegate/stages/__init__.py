"""Stages: each examines one kind of risk; one package a stage, independent of each other.

``base`` says what a stage is, ``registry`` finds stages by name. The names below are
imported when they are first used: who builds one stage does not load the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sluicegate.stages.backup import BackUpModel
    from sluicegate.stages.base import Context, Option, Stage
    from sluicegate.stages.encryption import CheckEncryption
    from sluicegate.stages.files import InspectFiles
    from sluicegate.stages.poisoning import ScanForPoisoning
    from sluicegate.stages.provenance import VerifyProvenance
    from sluicegate.stages.text import ScanText
    from sluicegate.stages.validation import CheckSuite, ValidateDataset

__all__ = [
    "BackUpModel",
    "CheckEncryption",
    "CheckSuite",
    "Context",
    "InspectFiles",
    "Option",
    "ScanForPoisoning",
    "ScanText",
    "Stage",
    "ValidateDataset",
    "VerifyProvenance",
]

_HOMES: Final = {
    "BackUpModel": "sluicegate.stages.backup",
    "CheckEncryption": "sluicegate.stages.encryption",
    "CheckSuite": "sluicegate.stages.validation",
    "Context": "sluicegate.stages.base",
    "InspectFiles": "sluicegate.stages.files",
    "Option": "sluicegate.stages.base",
    "ScanForPoisoning": "sluicegate.stages.poisoning",
    "ScanText": "sluicegate.stages.text",
    "Stage": "sluicegate.stages.base",
    "ValidateDataset": "sluicegate.stages.validation",
    "VerifyProvenance": "sluicegate.stages.provenance",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
