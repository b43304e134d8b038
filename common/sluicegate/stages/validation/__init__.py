"""Validate a tabular data set against a Great Expectations suite, and fail closed.

The suite file is the user's own, in unchanged Great Expectations format. Great Expectations
(GX) answers most questions as they were meant; where it would answer yes to a question that
it did not really ask, or would run code that a suite file holds, this package refuses the
suite, answers "unknown", or asks more strictly. It is never more lenient than GX.

* :mod:`~sluicegate.stages.validation.stage`: the stage; how its parts are put together.
* :mod:`~sluicegate.stages.validation.suites`: suite files and data contracts to values, strictly.
* :mod:`~sluicegate.stages.validation.scan`: most expectations, as one pass over the data.
* :mod:`~sluicegate.stages.validation.expectations`: expectations about security.
* :mod:`~sluicegate.stages.validation.gx`: GX, in a child process, for what the scan leaves over.
* :mod:`~sluicegate.stages.validation.strict`: the rules that are stricter than GX.
* :mod:`~sluicegate.stages.validation.answers`: what an engine says about one expectation.
* :mod:`~sluicegate.stages.validation.rendering`, :mod:`~sluicegate.stages.validation.figures`:
  answers to checks, tables and figures.
* :mod:`~sluicegate.stages.validation.learning`: a first suite, from data that is trusted.
* :mod:`~sluicegate.stages.validation.comparing`: what got weaker from one suite to the next.
* :mod:`~sluicegate.stages.validation.check_suite`: suites as subjects.
"""

from __future__ import annotations

from sluicegate.stages.validation.check_suite import CheckSuite
from sluicegate.stages.validation.stage import ValidateDataset

__all__ = ["CheckSuite", "ValidateDataset"]
