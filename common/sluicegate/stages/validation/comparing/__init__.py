"""What got weaker from one suite to the next, for whoever reviews the change.

Whoever proposes a change to a suite can open the gate with one number. A line-by-line
comparison shows the number among many; this says which way it moved. What cannot be compared
(another pattern, another baseline) is never called harmless.

* :mod:`~sluicegate.stages.validation.comparing.directions`: which way each argument is strict.
* :mod:`~sluicegate.stages.validation.comparing.arguments`: two values of one argument.
* :mod:`~sluicegate.stages.validation.comparing.matching`: which expectation became which.
* :mod:`~sluicegate.stages.validation.comparing.suites`: two suites.
"""

from __future__ import annotations

from sluicegate.stages.validation.comparing.changes import Change, Effect
from sluicegate.stages.validation.comparing.suites import compare_suites, weakenings

__all__ = ["Change", "Effect", "compare_suites", "weakenings"]
