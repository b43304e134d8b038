"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os

import hypothesis
import pytest

from tests.scenes import Scene

# A loaded machine is no failure; the suite as a whole has its time.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Return a project folder of its own, and keep the environment's settings out of it."""
    for name in [name for name in os.environ if name.startswith("SLUICEGATE_")]:
        monkeypatch.delenv(name, raising=False)
    return Scene(tmp_path)
