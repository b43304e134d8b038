"""What tests of transit share: run the room on URLs, and read its checks."""

from __future__ import annotations

import datetime as dt

from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.stages.encryption.transit import AREA
from tests.core.tls_servers import ROOT


def scope_of(*urls, wanted="*", trusted=ROOT.pem, timeout=1.0, days=14, now=None):
    """Return a run of the stage; it has no subject, which this room does not ask about."""
    settings = Settings(
        endpoints=urls,
        checks=(f"encryption.{wanted}",),
        ca_bundle="bundle" if trusted else None,
        certificate_days=days,
        timeout=timeout,
    )
    return Scope(
        settings=settings,
        snapshot=None,
        context=Context(files={"ca_bundle": trusted.encode()} if trusted else {}),
        aws=Aws(),
        now=now or dt.datetime.now(dt.UTC),
    )


def look(*urls, **options):
    """Return the checks of the room for some URLs."""
    return list(AREA.examine(scope_of(*urls, **options)))


def by_id(checks):
    """Return checks by the last part of their ids."""
    return {check.id.split(".")[1]: check for check in checks}


def outcome(checks):
    """Return the outcome of the one check."""
    (check,) = checks
    return check.outcome.value
