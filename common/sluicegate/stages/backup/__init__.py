"""Back a model up, and examine the backup; see :mod:`sluicegate.stages.backup.stage`."""

from __future__ import annotations

from sluicegate.stages.backup.stage import BackUpModel

__all__ = ["BackUpModel"]
