"""A first suite, learned from data that is trusted.

Whoever can add a few rows to the reference can move whatever is read off its ends, and the
suite then lets those rows pass for ever. So nothing here trusts a single row: bounds follow
from the bulk of the data (:mod:`~sluicegate.stages.validation.learning.tails`), categories
that came once are left out, and each expectation says in plain words what was seen, what was
left out and why, for the person who approves the file.

One pass, in memory that does not grow with the data
(:mod:`~sluicegate.stages.validation.learning.samples`): counts are exact; quantiles are exact
up to a quarter of a million rows and from a sample beyond.
"""

from __future__ import annotations

from sluicegate.stages.validation.learning.options import Wishes
from sluicegate.stages.validation.learning.suite import learn_suite, suite_json, suite_yaml

__all__ = ["Wishes", "learn_suite", "suite_json", "suite_yaml"]
