"""Approvals: a named person agrees, with a second factor, to one use of exactly these bytes.

``request`` asks, ``approve`` checks and signs. ``enrolment`` keeps the secrets in a ``sealed``
file, with what was used up of them (``attempts``). ``totp`` and ``webauthn`` are the two kinds
of second factor, ``security_key`` talks to one that is plugged in. What consumers make of an
approval is :mod:`sluicegate.policy.approvals`.
"""

from __future__ import annotations

from sluicegate.approving.approve import approve, refuse
from sluicegate.approving.enrolment import ApproverBook
from sluicegate.approving.request import ApprovalRequest, request_approval

__all__ = ["ApprovalRequest", "ApproverBook", "approve", "refuse", "request_approval"]
