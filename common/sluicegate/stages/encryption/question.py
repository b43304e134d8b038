"""Questions: the checks of this stage, with what they mean and what they take.

A question is written down once, beside the code that answers it: its id, its severity, the
API calls and IAM actions that it takes, how to mend what it finds, and the controls that it
gives evidence for. The least-privilege policy and the table in the documentation are made
of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sluicegate.model import Check, Finding, Severity

__all__ = ["Controls", "Kind", "Permission", "Question"]


class Kind(StrEnum):
    """What a question is about; says which controls it always gives evidence for."""

    AT_REST = "at rest"
    IN_TRANSIT = "in transit"

    @property
    def mitigations(self) -> tuple[str, ...]:
        """MITRE ATLAS mitigations (data release 5.6): M0012 encrypt, M0005 control access."""
        return _MITIGATIONS[self]


_MITIGATIONS: Final = {
    Kind.AT_REST: ("AML.M0012", "AML.M0005"),
    Kind.IN_TRANSIT: ("AML.M0012",),
}


@dataclass(frozen=True, slots=True)
class Permission:
    """One IAM action, and what it must be allowed on."""

    action: str
    """As in an IAM policy: ``s3:GetObjectVersion``. Not always named like the API call."""
    on: str
    """Which resources: ``bucket``, ``objects``, ``key``, or a name of the area; see
    :attr:`sluicegate.stages.encryption.scope.Area.resources`. ``*`` where the action takes
    no resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Ids of controls in published catalogues; a check gives evidence for them."""

    fsbp: tuple[str, ...] = ()
    """AWS Foundational Security Best Practices, e.g. ``S3.5``."""
    cis: tuple[str, ...] = ()
    """CIS Amazon Web Services Foundations Benchmark 3.0.0, e.g. ``2.1.1``."""
    nist: tuple[str, ...] = ()
    """NIST SP 800-53 Rev. 5, e.g. ``SC-28(1)``."""
    csf: tuple[str, ...] = ()
    """NIST Cybersecurity Framework 2.0, e.g. ``PR.DS-01``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One check that this stage can make."""

    id: str
    """``encryption.thing``; stable."""
    asks: str
    """The question in words, with a question mark."""
    kind: Kind
    severity: Severity
    """What a failure means; policy turns it into an action."""
    calls: tuple[str, ...] = ()
    """API calls it takes: ``s3.head_object``; other protocols in words: ``TLS handshake``."""
    permissions: tuple[Permission, ...] = ()
    """IAM permissions that the calls take. Empty where none is needed."""
    remedy: str
    """How to mend what it finds: the command or the Terraform setting."""
    controls: Controls = Controls()
    simulator: str = ""
    """What a simulated AWS (moto) cannot show of it; empty if it shows all."""

    @property
    def control_ids(self) -> tuple[str, ...]:
        """Ids of all controls that it gives evidence for, each with its catalogue."""
        named = (
            ("FSBP", self.controls.fsbp),
            ("CIS AWS", self.controls.cis),
            ("NIST 800-53", self.controls.nist),
            ("NIST CSF", self.controls.csf),
            ("ATLAS", self.kind.mitigations),
        )
        return tuple(f"{catalogue} {one}" for catalogue, ids in named for one in ids)

    def passed(self, target: str = "") -> Check:
        """Answer: nothing is wrong."""
        return Check.passed(self.id, severity=self.severity, target=target)

    def failed(self, findings: Sequence[Finding], target: str = "") -> Check:
        """Answer: this is wrong."""
        return Check.failed(self.id, findings, severity=self.severity, target=target)

    def unknown(self, reason: str, target: str = "") -> Check:
        """Answer: could not tell, and why."""
        return Check.unknown(self.id, reason, severity=self.severity, target=target)
