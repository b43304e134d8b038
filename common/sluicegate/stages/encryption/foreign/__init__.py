"""Findings that other tools reported, in the same report and under the same policy.

Prowler, AWS Security Hub, Trivy, Grype and everything that writes SARIF see what this stage
does not ask about. Their reports are configured as files, bound by digest like any other
configuration, and read without the tools being installed.

``model`` is what all formats are turned into; ``prowler`` (OCSF, too), ``asff``, ``sarif``,
``trivy`` and ``grype`` each read one; ``read`` tells them apart; ``concern`` says whether a
finding is about the subject; ``judge`` makes checks of it all.

A limit: a report is believed. Whoever can write it can leave a finding out, so it should
come from the same pipeline or carry a signature that is checked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluicegate.stages.encryption.foreign.judge import examine
from sluicegate.stages.encryption.foreign.questions import QUESTIONS
from sluicegate.stages.encryption.scope import Area
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS"]


def _resources(settings: Settings, subject: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    """Return the reports. Nothing is asked of any service, and nothing needs a permission."""
    del subject
    names = tuple(f"reports[{index}]" for index in range(len(settings.reports)))
    return {"reports": names} if names else {}


AREA: Final = Area(name="foreign", questions=QUESTIONS, resources=_resources, examine=examine)
