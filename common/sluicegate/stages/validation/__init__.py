"""Validate a tabular data set against a Great Expectations suite, and fail closed.

The suite file is the user's own, in unchanged Great Expectations format. Great Expectations
(GX) answers most questions as they were meant; where it would answer yes to a question that
it did not really ask, or would run code that a suite file holds, this package refuses the
suite, answers "unknown", or asks more strictly. It is never more lenient than GX.

* :mod:`~sluicegate.stages.validation.stage`: the stage; how its parts are put together.
* :mod:`~sluicegate.stages.validation.suite`: bytes of a suite file to values, strictly.
* :mod:`~sluicegate.stages.validation.forbidden`: what no suite may hold: code, SQL, network
  references, questions that ask nothing.
* :mod:`~sluicegate.stages.validation.conditions`: row conditions, parsed and applied here,
  because GX hands them to an evaluator of expressions.
* :mod:`~sluicegate.stages.validation.answers`: what an engine says about one expectation.
* :mod:`~sluicegate.stages.validation.gx_engine`: GX, used as a library.
* :mod:`~sluicegate.stages.validation.strict`: the rules that are stricter than GX.
* :mod:`~sluicegate.stages.validation.columns`: column names that occur twice.
* :mod:`~sluicegate.stages.validation.rendering`: answers to checks and table rows.

Another engine needs to give an :class:`~sluicegate.stages.validation.answers.Answer` for
each expectation that it understands, and to leave the others to GX.
"""

from __future__ import annotations

from sluicegate.stages.validation.stage import ValidateDataset

__all__ = ["ValidateDataset"]
