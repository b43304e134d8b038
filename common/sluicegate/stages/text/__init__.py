"""Scan the texts of a data set for what no reader sees and what a program would execute.

* :mod:`~sluicegate.stages.text.stage`: the stage; how its parts are put together.
* :mod:`~sluicegate.stages.text.settings`: its options, and the rules that they make.
* :mod:`~sluicegate.stages.text.cells`: batches of rows to texts, also out of nested columns.
* :mod:`~sluicegate.stages.text.tally`: what was found so far, in memory that does not grow.
* :mod:`~sluicegate.stages.text.rendering`: tallies to checks, metrics and a table.

The rules themselves are in :mod:`sluicegate.text`.
"""

from __future__ import annotations

from sluicegate.stages.text.stage import ScanText

__all__ = ["ScanText"]
