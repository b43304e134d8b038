"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import pytest

from tests.scenes import Scene


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Return a project folder of its own, and keep the environment's settings out of it."""
    for name in ("SLUICEGATE_POLICY", "SLUICEGATE_SIGNING_KEY", "SLUICEGATE_KEY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return Scene(tmp_path)
