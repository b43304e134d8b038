"""Training sessions: what was made from which cleared data, by which code, with which result."""

from __future__ import annotations

from sluicegate.session.decorator import records_training
from sluicegate.session.training import TrainingSession, training_session

__all__ = ["TrainingSession", "records_training", "training_session"]
