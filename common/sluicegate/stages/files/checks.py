"""The questions that the stage asks of a data set, and how bad each failure is.

*Critical* is what honest writers do not produce: it looks like an attack on whoever opens the
file, and the whole subject is blocked. *Warning* is a file that is of no use or not expected:
its findings name it, so that a quarantine can set it aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluicegate.model import Severity

__all__ = ["CHECKS"]

CHECKS: Final[Mapping[str, Severity]] = {
    "files.count": Severity.CRITICAL,
    "files.total_size": Severity.CRITICAL,
    "files.size": Severity.WARNING,
    "files.type_allowed": Severity.WARNING,
    "files.type_matches": Severity.WARNING,
    "files.executable_content": Severity.CRITICAL,
    "files.polyglot": Severity.CRITICAL,
    "files.paths": Severity.CRITICAL,
    "files.expansion": Severity.CRITICAL,
    "files.nesting": Severity.CRITICAL,
    "files.lines": Severity.WARNING,
    "files.structure": Severity.WARNING,
    "files.readable": Severity.WARNING,
}
"""Every check by id, and what its failure means."""
